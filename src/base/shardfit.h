#ifndef DUCTO_BASE_SHARDFIT_H
#define DUCTO_BASE_SHARDFIT_H

#include "postgres.h"
#include "nodes/parsenodes.h"

/* Returns what a table is on a shard. */
typedef Oid (*TablePart) (const void *shard, Oid table);

extern Query *shard_fit(Query *query, TablePart part, const void *shard);

#endif
