#ifndef DUCTO_BASE_LISTEN_H
#define DUCTO_BASE_LISTEN_H

#include "postgres.h"

/* Is told which relation has changed, InvalidOid for any. */
typedef void (*RelationListener) (Oid relation);

extern void relations_listen(RelationListener listener);

#endif
