/*
 * prune.c
 *		Removing reservations that ended long ago.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"

#include "account/account.h"
#include "account/hold.h"
#include "account/wave.h"
#include "base/args.h"
#include "base/cluster.h"
#include "base/keep.h"
#include "base/progress.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"

PG_FUNCTION_INFO_V1(ducto_prune_shard);

#define PRUNE_BATCH	10000		/* reservations that are removed at once */

/* What ended before a time, but for what remembers the key of a deduct of 0. */
#define PRUNABLE(r) r ".state <> 'open' AND " r ".closed_at < $1 AND " r ".closing_key IS NULL"

static KeptQuery holds_old_query = {
	.sql = "SELECT h.account_id, h.id FROM ducto.reservations h WHERE " PRUNABLE("h") " LIMIT $2",
	.types = {TIMESTAMPTZOID, INT8OID},
	.whole = true
};

/* Under the lock of their accounts, so that nobody is reading them for an operation; they are looked at again under it. */
static KeptQuery holds_prune_query = {
	.sql = "WITH old AS MATERIALIZED (SELECT account_id, id FROM unnest($2, $3) AS o (account_id, id)),"
	" locked AS MATERIALIZED (SELECT a.id FROM ducto.accounts a WHERE a.id = ANY ($2) ORDER BY a.id FOR NO KEY UPDATE SKIP LOCKED)"
	" DELETE FROM ducto.reservations r USING old o, locked l"
	" WHERE r.account_id = l.id AND o.account_id = l.id AND r.id = o.id AND " PRUNABLE("r"),
	.types = {TIMESTAMPTZOID, UUIDARRAYOID, UUIDARRAYOID}
};

/* What ducto.prune_shard is called with, and answers. */
#define PRUNE_CALL "ducto.prune_shard(1, ($2)[w.n], " OF_SHARD("$3") ", " OF_SHARD("$6") ", $7, $8)"
#define PRUNE_TYPES \
	{UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, UUIDARRAYOID, TIMESTAMPTZOID, TEXTARRAYOID}

/* Where no shard may be entered one by one, under the account's lock. */
static KeptQuery hold_prune_query = {
	.sql = "DELETE FROM ducto.reservations r WHERE r.account_id = $2 AND r.id = $3 AND " PRUNABLE("r") REMOVED_BY_DUCTO("r.state"),
	.types = {TIMESTAMPTZOID, UUIDOID, UUIDOID}
};

/* Reservations that are being removed, and those that are next. */
typedef struct Prune
{
	TimestampTz before;
	int64		pruned;
	bool		on_shards;		/* where the accounts are */
	Progress	progress;
	int			n;
	pg_uuid_t	accounts[PRUNE_BATCH];
	pg_uuid_t	ids[PRUNE_BATCH];
} Prune;

/*
 * Remove reservations by one statement, and return how many it did.
 */
static int64
prune_at_once(const Prune *prune)
{
	QueryArgs	args = {0};

	args_time(&args, prune->before);
	args_uuid_array(&args, prune->accounts, prune->n);
	args_uuid_array(&args, prune->ids, prune->n);
	return (int64) query_remove(&holds_prune_query, &args);
}

/*
 * Remove reservations one by one, those of an account that nobody has locked,
 * and return how many.
 */
static int64
prune_one_by_one(const Prune *prune)
{
	Account		acc;
	int64		pruned = 0;

	for (int i = 0; i < prune->n; i++)
	{
		QueryArgs	args = {0};

		if (!account_load(&prune->accounts[i], &acc, ACCOUNT_SKIP_LOCKED))
			continue;
		args_time(&args, prune->before);
		args_uuid(&args, &prune->accounts[i]);
		args_uuid(&args, &prune->ids[i]);
		pruned += (int64) query_remove(&hold_prune_query, &args);
	}
	return pruned;
}

/*
 * Append what is to be removed on the shards of a wave.
 */
static void
prune_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	Prune	   *prune = state;
	int			n;
	int64	   *places = wave_places(wave, &n);
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * n);

	for (int i = 0; i < n; i++)
		ids[i] = prune->ids[places[i]];
	wave_args_accounts(wave, args);
	args_uuid_array(args, ids, n);
	args_time(args, prune->before);
	args_carried(args);
}

/*
 * Count what was removed on a shard.
 */
static void
prune_answer(ShardPart *part, uint64 row, void *state)
{
	((Prune *) state)->pruned += row_int8(row, WAVE_ANSWER);
	part->next = part->end;
}

static WaveWork prune_work = {
	.together = {.sql = ON_SHARDS(PRUNE_CALL), .types = PRUNE_TYPES},
	.alone = {.sql = ON_ANY_SHARD(PRUNE_CALL), .types = PRUNE_TYPES},
	.arguments = prune_arguments,
	.answer = prune_answer
};

/*
 * Remove the next reservations.
 */
static void
prune_batch(Prune *prune)
{
	Assert(prune->n > 0 && prune->n <= PRUNE_BATCH);
	CHECK_FOR_INTERRUPTS();
	query_begin();
	if (prune->on_shards)
		wave_all(prune->accounts, prune->n, &prune_work, prune);
	else
		prune->pruned += cluster_is_used() ? prune_one_by_one(prune) : prune_at_once(prune);
	query_end();
	prune->n = 0;
	if (progress_is_due(&prune->progress))
		ereport(NOTICE, (errmsg("removed " INT64_FORMAT " reservations", prune->pruned)));
}

/*
 * Add a reservation that may be removed.
 */
static bool
prune_next(TupleTableSlot *slot, void *state)
{
	Prune	   *prune = state;
	bool		isnull;

	Assert(prune->n < PRUNE_BATCH);
	prune->accounts[prune->n] = *DatumGetUUIDP(slot_getattr(slot, 1, &isnull));
	prune->ids[prune->n] = *DatumGetUUIDP(slot_getattr(slot, 2, &isnull));
	if (++prune->n == PRUNE_BATCH)
		prune_batch(prune);
	return true;
}

/*
 * holds_prune removes reservations that ended before a time, at most so many,
 * of accounts that nobody has locked, and returns how many. It reads the table
 * once.
 */
int64
holds_prune(TimestampTz before, int64 max_rows)
{
	QueryArgs	args = {0};
	Prune	   *prune = palloc0(sizeof(Prune));

	prune->before = before;
	prune->on_shards = shard_may_be_entered();
	progress_begin(&prune->progress);
	args_time(&args, before);
	args_int8(&args, max_rows);
	query_each(&holds_old_query, &args, false, prune_next, prune);
	if (prune->n > 0)
		prune_batch(prune);
	return prune->pruned;
}

/*
 * Remove reservations of a shard.
 */
static Datum
prune_shard(PG_FUNCTION_ARGS)
{
	ArrayType  *accounts = PG_GETARG_ARRAYTYPE_P(2);
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(3);
	Prune	   *prune = palloc0(sizeof(Prune));

	prune->before = PG_GETARG_TIMESTAMPTZ(4);
	prune->n = ArrayGetNItems(ARR_NDIM(accounts), ARR_DIMS(accounts));
	if (prune->n > PRUNE_BATCH || prune->n != ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)))
		arg_reject("ids", "an array of another length", "\"account_ids\" must have an account for each.");
	memcpy(prune->accounts, ARR_DATA_PTR(accounts), sizeof(pg_uuid_t) * prune->n);
	memcpy(prune->ids, ARR_DATA_PTR(ids), sizeof(pg_uuid_t) * prune->n);
	query_begin();
	prune->pruned = prune_at_once(prune);
	query_end();
	PG_RETURN_INT64(prune->pruned);
}

/*
 * ducto.prune_shard removes reservations of accounts of a shard of this node, for
 * a call on another one.
 */
Datum
ducto_prune_shard(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"found", "shard", "account_ids", "ids", "before"};

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	PG_RETURN_DATUM(call_on_shard(fcinfo, PG_GETARG_INT64(1), prune_shard));
}
