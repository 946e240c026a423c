#ifndef DUCTO_BASE_CLUSTER_H
#define DUCTO_BASE_CLUSTER_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/uuid.h"

#include "base/args.h"

extern bool cluster_is_there(void);
extern bool cluster_has_any(List *tables);
extern bool cluster_is_used(void);
extern bool cluster_was_used(void);
extern uint64 cluster_changes(void);
extern int64 cluster_shard(const pg_uuid_t *account);
extern int	cluster_node(const pg_uuid_t *account);
extern void cluster_touch(void);
pg_noreturn extern void cluster_raise_moved(const char *detail);
extern void cluster_shard_stays(const pg_uuid_t *account);
extern int64 cluster_keep_here(const pg_uuid_t *account);
extern int64 cluster_look_here(const pg_uuid_t *account);
extern void cluster_require_seen(const pg_uuid_t *account);
extern bool cluster_has_here(int64 shard);
extern bool cluster_is_elsewhere(const pg_uuid_t *account);
extern bool cluster_is_alone(const pg_uuid_t *account);
extern bool cluster_is_coordinating(void);

#endif
