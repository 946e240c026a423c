#ifndef DUCTO_BASE_LISTEN_H
#define DUCTO_BASE_LISTEN_H

#include "postgres.h"
#include "utils/relcache.h"

/* Is told which relation has changed, InvalidOid for any. */
typedef void (*RelationListener) (Oid relation);

extern void relations_listen(RelationListener listener);
extern Oid table_named(const char *name);
extern const char *table_of_part(const char *relation);
extern void table_changed(Relation table);

#endif
