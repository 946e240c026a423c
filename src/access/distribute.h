#ifndef DUCTO_ACCESS_DISTRIBUTE_H
#define DUCTO_ACCESS_DISTRIBUTE_H

#include "postgres.h"

#include "base/result.h"

#define SHARDS_DEFAULT	32

/* A table, and what is to be done with it. */
typedef struct DistributedTable
{
	char	   *name;			/* with its schema */
	char	   *key;			/* by which it is distributed; NULL for none */
	bool		local;			/* it stays on the coordinator */
	bool		done;			/* it is distributed already */
} DistributedTable;

extern void require_coordinator(const char *doing, const char *function);
extern void lock_pause(int64 *waited, long pause);
extern void tables_lock(void);
extern void distribute_settings(int shards);
extern DistributedTable *distributed_tables(int *n);
extern void distributed_table_empty(const DistributedTable *table);
extern void result_step(ResultRow *row, const char *object, const char *action);

#endif
