#ifndef DUCTO_KEEP_H
#define DUCTO_KEEP_H

#include "query.h"

extern uint64 query_remove(KeptQuery *query, QueryArgs *args);

#endif
