#ifndef DUCTO_BASE_SHARD_H
#define DUCTO_BASE_SHARD_H

#include "postgres.h"

#include "base/query.h"

/* A row from the shard that an account is on, so that what stands beside it is executed there. */
#define ON_SHARD_OF(account)	"SELECT count(*) AS n FROM ducto.accounts WHERE id = " account

extern bool shard_may_be_entered(void);
extern int64 shard_entered(void);
extern int64 shard_suspend(void);
extern KeptQuery *shard_query(KeptQuery *query);
extern int64 shard_enter(int64 shard);
extern void shard_leave(int64 before);

#endif
