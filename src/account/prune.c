/*
 * prune.c
 *		Removing reservations that ended long ago.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "account/account.h"
#include "account/hold.h"
#include "base/cluster.h"
#include "base/keep.h"
#include "base/progress.h"
#include "base/query.h"

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

/* On a cluster one by one, under the account's lock. */
static KeptQuery hold_prune_query = {
	.sql = "DELETE FROM ducto.reservations r WHERE r.account_id = $2 AND r.id = $3 AND " PRUNABLE("r") REMOVED_BY_DUCTO("r.state"),
	.types = {TIMESTAMPTZOID, UUIDOID, UUIDOID}
};

/* Reservations that are being removed, and those that are next. */
typedef struct Prune
{
	TimestampTz before;
	int64		pruned;
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
 * Remove the next reservations.
 */
static void
prune_batch(Prune *prune)
{
	Assert(prune->n > 0 && prune->n <= PRUNE_BATCH);
	CHECK_FOR_INTERRUPTS();
	query_begin();
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
	progress_begin(&prune->progress);
	args_time(&args, before);
	args_int8(&args, max_rows);
	query_each(&holds_old_query, &args, false, prune_next, prune);
	if (prune->n > 0)
		prune_batch(prune);
	return prune->pruned;
}
