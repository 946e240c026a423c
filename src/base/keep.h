#ifndef DUCTO_BASE_KEEP_H
#define DUCTO_BASE_KEEP_H

#include "base/query.h"

/*
 * A condition that every row keeps, on a column of text: by it a shard of a
 * cluster knows a removal that ducto has asked for on another node.
 */
#define REMOVAL_MARK	"'removed by ducto'"
#define REMOVED_BY_DUCTO(column)	" AND " column " IS DISTINCT FROM " REMOVAL_MARK

extern uint64 query_remove(KeptQuery *query, QueryArgs *args);
extern void query_empty(KeptQuery *query, QueryArgs *args);
extern bool keep_is_emptying(void);

#endif
