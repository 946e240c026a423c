/*
 * eventack.c
 *		Acknowledging events.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/event.h"
#include "account/wave.h"
#include "base/args.h"
#include "base/cluster.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"

PG_FUNCTION_INFO_V1(ducto_ack_events_shard);

/* Waits for those who take or acknowledge them, all in one order. */
static KeptQuery events_lock_query = {
	.sql = "SELECT id FROM ducto.events WHERE id = ANY ($1) AND acked_at IS NULL ORDER BY account_id, number FOR NO KEY UPDATE",
	.types = {UUIDARRAYOID}
};

/* The caller has the rows' locks. */
static KeptQuery events_ack_query = {
	.sql = "UPDATE ducto.events SET acked_at = $2 WHERE id = ANY ($1) AND acked_at IS NULL",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID}
};

/* On a cluster they are found first, without a lock, */
static KeptQuery events_unacked_query = {
	.sql = "SELECT account_id, number FROM ducto.events WHERE id = ANY ($1) AND acked_at IS NULL ORDER BY account_id, number",
	.types = {UUIDARRAYOID}
};

/* and then those of a shard locked and acknowledged together, in the same order; */
static KeptQuery shard_lock_query = {
	.sql = "SELECT e.id FROM ducto.events e, unnest($1, $2) o (account_id, number)"
	" WHERE e.account_id = o.account_id AND e.number = o.number AND e.acked_at IS NULL"
	" ORDER BY e.account_id, e.number FOR NO KEY UPDATE OF e",
	.types = {UUIDARRAYOID, INT8ARRAYOID}
};
static KeptQuery shard_ack_query = {
	.sql = "UPDATE ducto.events e SET acked_at = $3 FROM unnest($1, $2) o (account_id, number)"
	" WHERE e.account_id = o.account_id AND e.number = o.number AND e.acked_at IS NULL",
	.types = {UUIDARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID}
};

/* What ducto.ack_events_shard is called with, and answers. */
#define ACK_CALL "ducto.ack_events_shard(1, ($2)[w.n], " OF_SHARD("$3") ", " OF_SHARD("$6") ", $7, $8)"
#define ACK_TYPES \
	{UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID}

/* Events that are acknowledged. */
typedef struct Acks
{
	EventKeys	events;
	TimestampTz now;
	int64		acked;
} Acks;

/*
 * Append what is to be acknowledged on the shards of a wave.
 */
static void
ack_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	const Acks *acks = state;

	args_events_of_wave(args, wave, &acks->events);
	args_time(args, acks->now);
	args_carried(args);
}

/*
 * Count what was acknowledged on a shard.
 */
static void
ack_answer(ShardPart *part, uint64 row, void *state)
{
	((Acks *) state)->acked += row_int8(row, WAVE_ANSWER);
	part->next = part->end;
}

static WaveWork ack_work = {
	.together = {.sql = ON_SHARDS(ACK_CALL), .types = ACK_TYPES},
	.alone = {.sql = ON_ANY_SHARD(ACK_CALL), .types = ACK_TYPES},
	.arguments = ack_arguments,
	.answer = ack_answer
};

/*
 * Acknowledge the events of a part one by one.
 */
static void
ack_one_by_one(const Wave *wave, ShardPart *part, Acks *acks)
{
	for (; part->next < part->end; part->next++)
		if (event_ack(&wave->accounts[part->next], acks->events.numbers[wave->places[part->next]], acks->now))
			acks->acked++;
}

/*
 * Acknowledge events of a cluster, and return how many were not yet. It waits for
 * those who do it, too, so one shard comes after the other, in the order of their
 * numbers.
 */
static int64
ack_by_shard(Datum ids, TimestampTz now)
{
	Acks		acks = {.now = now};
	QueryArgs	args = {0};
	bool		inside = shard_may_be_entered();
	Wave		wave;

	args_datum(&args, ids);
	events_find(&events_unacked_query, &args, &acks.events);
	wave_begin(&wave, acks.events.accounts, acks.events.n);
	while (wave_next(&wave, false))
	{
		if (inside)
			wave_run(&wave, &ack_work, &acks);
		else
			ack_one_by_one(&wave, wave.now[0], &acks);
	}
	return acks.acked;
}

/*
 * Acknowledge events by one lock and one update, and return how many were not
 * yet.
 */
static int64
ack_together(Datum ids, TimestampTz now)
{
	QueryArgs	lock = {0};
	QueryArgs	args = {0};

	args_datum(&lock, ids);
	if (query_run(&events_lock_query, &lock, SPI_OK_SELECT) == 0)
		return 0;
	args_datum(&args, ids);
	args_time(&args, now);
	return (int64) query_run(&events_ack_query, &args, SPI_OK_UPDATE);
}

/*
 * events_ack acknowledges events by their ids, an array, and returns how many
 * were not yet.
 */
int64
events_ack(Datum ids, TimestampTz now)
{
	return cluster_is_used() ? ack_by_shard(ids, now) : ack_together(ids, now);
}

/*
 * Acknowledge events of a shard.
 */
static Datum
ack_events_shard(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};
	int64		acked = 0;

	query_begin();
	args_datum(&args, PG_GETARG_DATUM(2));
	args_datum(&args, PG_GETARG_DATUM(3));
	if (query_run(&shard_lock_query, &args, SPI_OK_SELECT) > 0)
	{
		args_time(&args, PG_GETARG_TIMESTAMPTZ(4));
		acked = (int64) query_run(&shard_ack_query, &args, SPI_OK_UPDATE);
	}
	query_end();
	PG_RETURN_INT64(acked);
}

/*
 * ducto.ack_events_shard acknowledges events of accounts of a shard of this node,
 * for a call on another one.
 */
Datum
ducto_ack_events_shard(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"found", "shard", "account_ids", "numbers", "now"};

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	PG_RETURN_DATUM(call_on_shard(fcinfo, PG_GETARG_INT64(1), ack_events_shard));
}
