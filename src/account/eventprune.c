/*
 * eventprune.c
 *		Removing events that were acknowledged long ago.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/event.h"
#include "account/wave.h"
#include "base/args.h"
#include "base/cluster.h"
#include "base/keep.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"

PG_FUNCTION_INFO_V1(ducto_prune_events_shard);

/* Leaves what another session prunes to it. */
static KeptQuery events_prune_query = {
	.sql = "DELETE FROM ducto.events WHERE (account_id, number) IN (SELECT account_id, number FROM ducto.events"
	" WHERE acked_at < $1 ORDER BY acked_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
	.types = {TIMESTAMPTZOID, INT8OID}
};

/* On a cluster, which locks no rows of several accounts at once, they are found before. */
static KeptQuery events_old_query = {
	.sql = "SELECT account_id, number FROM ducto.events WHERE acked_at < $1 ORDER BY acked_at LIMIT $2",
	.types = {TIMESTAMPTZOID, INT8OID}
};

/* Those of a shard are removed together; */
static KeptQuery events_shard_query = {
	.sql = "DELETE FROM ducto.events WHERE (account_id, number) IN (SELECT e.account_id, e.number"
	" FROM unnest($1, $2) o (account_id, number) JOIN ducto.events e ON e.account_id = o.account_id AND e.number = o.number"
	" FOR UPDATE OF e SKIP LOCKED)",
	.types = {UUIDARRAYOID, INT8ARRAYOID}
};

/* where no shard may be entered one by one: what two sessions prune is gone for the second. */
static KeptQuery event_prune_query = {
	.sql = "DELETE FROM ducto.events WHERE account_id = $1 AND number = $2" REMOVED_BY_DUCTO("kind"),
	.types = {UUIDOID, INT8OID}
};

/* What ducto.prune_events_shard is called with, and answers. */
#define PRUNE_CALL "ducto.prune_events_shard(1, ($2)[w.n], " OF_SHARD("$3") ", " OF_SHARD("$6") ", $7)"
#define PRUNE_TYPES \
	{UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TEXTARRAYOID}

/* Events that are removed. */
typedef struct OldEvents
{
	EventKeys	events;
	int64		pruned;
} OldEvents;

/*
 * Remove events one by one.
 */
static void
prune_one_by_one(OldEvents *old)
{
	for (int i = 0; i < old->events.n; i++)
	{
		QueryArgs	args = {0};

		args_uuid(&args, &old->events.accounts[i]);
		args_int8(&args, old->events.numbers[i]);
		old->pruned += (int64) query_remove(&event_prune_query, &args);
	}
}

/*
 * Append what is to be removed on the shards of a wave.
 */
static void
prune_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	const OldEvents *old = state;

	args_events_of_wave(args, wave, &old->events);
	args_carried(args);
}

/*
 * Count what was removed on a shard.
 */
static void
prune_answer(ShardPart *part, uint64 row, void *state)
{
	((OldEvents *) state)->pruned += row_int8(row, WAVE_ANSWER);
	part->next = part->end;
}

static WaveWork prune_work = {
	.together = {.sql = ON_SHARDS(PRUNE_CALL), .types = PRUNE_TYPES},
	.alone = {.sql = ON_ANY_SHARD(PRUNE_CALL), .types = PRUNE_TYPES},
	.arguments = prune_arguments,
	.answer = prune_answer
};

/*
 * events_prune removes events that were acknowledged before a time, the first
 * of them, and returns how many.
 */
int64
events_prune(TimestampTz before, int64 max_rows)
{
	QueryArgs	args = {0};
	OldEvents	old = {0};

	args_time(&args, before);
	args_int8(&args, max_rows);
	if (!cluster_is_used())
		return (int64) query_remove(&events_prune_query, &args);
	events_find(&events_old_query, &args, &old.events);
	if (shard_may_be_entered())
		wave_all(old.events.accounts, old.events.n, &prune_work, &old);
	else
		prune_one_by_one(&old);
	return old.pruned;
}

/*
 * Remove events of a shard.
 */
static Datum
prune_events_shard(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};
	int64		pruned;

	query_begin();
	args_datum(&args, PG_GETARG_DATUM(2));
	args_datum(&args, PG_GETARG_DATUM(3));
	pruned = (int64) query_remove(&events_shard_query, &args);
	query_end();
	PG_RETURN_INT64(pruned);
}

/*
 * ducto.prune_events_shard removes events of accounts of a shard of this node, for
 * a call on another one.
 */
Datum
ducto_prune_events_shard(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"found", "shard", "account_ids", "numbers"};

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	PG_RETURN_DATUM(call_on_shard(fcinfo, PG_GETARG_INT64(1), prune_events_shard));
}
