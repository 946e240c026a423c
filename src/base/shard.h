#ifndef DUCTO_BASE_SHARD_H
#define DUCTO_BASE_SHARD_H

#include "postgres.h"

#include "base/query.h"

extern bool shard_may_be_entered(void);
extern int64 shard_entered(void);
extern int64 shard_suspend(void);
extern KeptQuery *shard_query(KeptQuery *query);
extern int64 shard_enter(int64 shard);
extern Oid shard_table(const char *name);
extern bool shard_is_written(int64 shard);
extern void shard_leave(int64 before);

#endif
