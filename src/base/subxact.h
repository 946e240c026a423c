#ifndef DUCTO_BASE_SUBXACT_H
#define DUCTO_BASE_SUBXACT_H

#include "postgres.h"

/* What is done in a subtransaction; false: it is to be taken back. */
typedef bool (*SubxactWork) (void *state);

extern bool subxact_try(SubxactWork work, void *state, ErrorData **error);

#endif
