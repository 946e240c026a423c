#ifndef DUCTO_BASE_KEEP_H
#define DUCTO_BASE_KEEP_H

#include "base/query.h"

extern uint64 query_remove(KeptQuery *query, QueryArgs *args);

#endif
