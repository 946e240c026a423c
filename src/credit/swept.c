/*
 * swept.c
 *		Sweeping accounts: many together, those that fail left out, and on a
 *		cluster each where it is.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "account/claim.h"
#include "account/roll.h"
#include "account/rollset.h"
#include "account/wave.h"
#include "base/args.h"
#include "base/cluster.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/subxact.h"
#include "base/there.h"
#include "base/uuid.h"
#include "credit/swept.h"

PG_FUNCTION_INFO_V1(ducto_sweep_shard);

#define SWEEP_BATCH		1000	/* accounts of one subtransaction, at least */
#define SWEEP_BATCHES	32		/* other sessions have it easy with less than 64 subtransactions */

/* What ducto.sweep_shard is called with, and answers. */
#define SWEEP_SQL(on_shards) \
	"SELECT s.n, s.a[1]::integer, s.a[2]::bigint, s.a[3]::bigint, s.a[4]::bigint, s.a[5] FROM (" \
	on_shards("ducto.sweep_shard(1, ($2)[w.n], " OF_SHARD("$3") ", $6, $7, $8, $9, $10) AS a") ") s"
#define SWEEP_TYPES \
	{UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, BOOLOID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID}

enum
{
	SWEPT_NEXT = WAVE_ANSWER, SWEPT_ACCOUNTS, SWEPT_ENTRIES, SWEPT_CLOSED, SWEPT_EXPIRED
};

/*
 * Tell whether a sweep has booked as much as it may.
 */
static bool
sweep_is_full(const Sweep *sweep)
{
	return sweep->accounts >= sweep->max_accounts || sweep->entries >= sweep->max_entries ||
		sweep->closed >= sweep->max_closed;
}

/*
 * Return how much more a sweep may book.
 */
static RollLimits
sweep_limits(const Sweep *sweep)
{
	RollLimits	limits = {
		.closed = sweep->max_closed - sweep->closed,
		.entries = sweep->max_entries - sweep->entries,
	};

	return limits;
}

/*
 * Sweep the next account, in memory of its own. One that is only done in part
 * is the next again.
 */
static void
sweep_account(Sweep *sweep)
{
	const pg_uuid_t *id = &sweep->ids[sweep->next];
	RollLimits	limits = sweep_limits(sweep);
	RollTotals	totals;
	Account		acc;

	CHECK_FOR_INTERRUPTS();
	query_begin();
	if (sweep->dry_run)
		account_project(id, &acc, DT_NOEND, &totals);
	else
		account_sweep(id, &limits, &totals);
	query_end();
	sweep->accounts += totals.expired > 0 ? 1 : 0;
	sweep->entries += totals.entries;
	sweep->closed += totals.closed;
	sweep->expired = spend_add(sweep->expired, totals.expired, "expired_amount");
	if (!totals.left || totals.entries + totals.closed == 0)
		sweep->next++;
}

/*
 * Return how many accounts from the next on are swept together, up to the id
 * number end: as many as the limits let be done, where each has something due,
 * in the order of their ids. Too few are swept one by one; so is one that an
 * operation around this one works on.
 */
static int64
sweep_width(const Sweep *sweep, int64 end)
{
	const pg_uuid_t *ids = sweep->ids + sweep->next;
	int64		most = Min(end - sweep->next, SET_MOST);
	int64		n = 0;

	if (sweep->dry_run || sweep->next < sweep->alone_until || accounts_are_apart())
		return 0;
	most = Min(most, sweep->max_accounts - sweep->accounts);
	most = Min(most, sweep->max_closed - sweep->closed);
	while (n < most && (n == 0 || memcmp(&ids[n - 1], &ids[n], UUID_LEN) < 0) && !account_is_claimed(&ids[n]))
		n++;
	return n < SET_LEAST ? 0 : n;
}

/*
 * Sweep the next accounts together, or the next one.
 */
static void
sweep_some(Sweep *sweep, int64 end)
{
	int64		n = sweep_width(sweep, end);
	RollLimits	limits = sweep_limits(sweep);
	SetTotals	totals;

	sweep->set_end = sweep->next + n;
	if (n == 0)
	{
		sweep_account(sweep);
		return;
	}
	accounts_sweep(sweep->ids + sweep->next, (int) n, &limits, &totals);
	sweep->next += totals.done;
	sweep->accounts += totals.accounts;
	sweep->entries += totals.entries;
	sweep->closed += totals.closed;
	sweep->expired = spend_add(sweep->expired, totals.expired, "expired_amount");
}

/*
 * Tell whether an error is more than that of one account: somebody ends the
 * statement, the server lacks something, the transaction cannot write or has to
 * be retried.
 */
static bool
ends_sweep(const ErrorData *error)
{
	int			class = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_QUERY_CANCELED) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES) ||
		class == ERRCODE_TO_CATEGORY(ERRCODE_INVALID_TRANSACTION_STATE);
}

/* A part of a sweep. */
typedef struct SweepUntil
{
	Sweep	   *sweep;
	int64		end;			/* of the ids */
} SweepUntil;

/*
 * Sweep accounts up to an id.
 */
static bool
sweep_until(void *state)
{
	const SweepUntil *until = state;

	while (until->sweep->next < until->end && !sweep_is_full(until->sweep))
		sweep_some(until->sweep, until->end);
	return true;
}

/*
 * Sweep accounts up to the id number end in a subtransaction. When one of them
 * fails nothing has been done, and it returns the error; the sweep is at that
 * account then, or at the first of its set.
 */
static ErrorData *
sweep_try(Sweep *sweep, int64 end)
{
	SweepUntil	until = {sweep, end};
	ErrorData  *error;

	(void) subxact_try(sweep_until, &until, &error);
	if (error != NULL && ends_sweep(error))
		ReThrowError(error);
	return error;
}

/*
 * Warn of an account that was left out.
 */
static void
sweep_warn(const pg_uuid_t *id, ErrorData *error)
{
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("account %s was not swept: %s", uuid_to_cstring(id), error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->hint != NULL ? errhint("%s", error->hint) : 0));
}

/*
 * Sweep accounts up to the id number end. One that fails is left out, with a
 * warning: those before it are done over without it. Where it is one of a set,
 * these are swept one by one to find it.
 */
static void
sweep_through(Sweep *sweep, int64 end)
{
	int64		batch = Max(SWEEP_BATCH, end / SWEEP_BATCHES);

	while (sweep->next < end && !sweep_is_full(sweep))
	{
		Sweep		before = *sweep;
		ErrorData  *error = sweep_try(sweep, Min(end, sweep->next + batch));
		int64		failed = sweep->next;
		int64		set_end = sweep->set_end;

		if (error == NULL)
			continue;
		*sweep = before;
		sweep_through(sweep, failed);
		if (sweep->next < failed)
			return;
		if (set_end > failed)
			sweep->alone_until = set_end;
		else
		{
			sweep_warn(&sweep->ids[failed], error);
			sweep->next++;
		}
		FreeErrorData(error);
	}
}

/*
 * sweep_begin starts a sweep of accounts without limits.
 */
void
sweep_begin(Sweep *sweep, const pg_uuid_t *ids)
{
	memset(sweep, 0, sizeof(Sweep));
	sweep->ids = ids;
	sweep->max_accounts = sweep->max_entries = sweep->max_closed = PG_INT64_MAX;
}

/*
 * Append what the shards of a wave are to be swept with: where limits may be
 * met in part, each has its share of them.
 */
static void
sweep_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	Sweep	   *sweep = state;

	wave_args_accounts(wave, args);
	args_bool(args, sweep->dry_run);
	args_int8(args, sweep->max_accounts - sweep->accounts);
	args_int8(args, Max((sweep->max_entries - sweep->entries) / wave->n, 1));
	args_int8(args, Max((sweep->max_closed - sweep->closed) / wave->n, 1));
	args_carried(args);
}

/*
 * Add what was booked on a shard.
 */
static void
sweep_answer(ShardPart *part, uint64 row, void *state)
{
	Sweep	   *sweep = state;

	part->next += row_int4(row, SWEPT_NEXT);
	sweep->accounts += row_int8(row, SWEPT_ACCOUNTS);
	sweep->entries += row_int8(row, SWEPT_ENTRIES);
	sweep->closed += row_int8(row, SWEPT_CLOSED);
	sweep->expired = spend_add(sweep->expired, row_spend(row, SWEPT_EXPIRED), "expired_amount");
	sweep->in_part = sweep->in_part || part->next < part->end;
}

static WaveWork sweep_work = {
	.together = {.sql = SWEEP_SQL(ON_SHARDS), .types = SWEEP_TYPES},
	.alone = {.sql = SWEEP_SQL(ON_ANY_SHARD), .types = SWEEP_TYPES},
	.arguments = sweep_arguments,
	.answer = sweep_answer
};

/*
 * Sweep accounts up to the id number n where they are: on all nodes at once,
 * unless that could be more than a limit lets be.
 */
static void
sweep_shards(Sweep *sweep, int64 n)
{
	bool		all_nodes = sweep->in_parts || (sweep->max_accounts == PG_INT64_MAX && sweep->max_closed == PG_INT64_MAX);
	Wave		wave;

	wave_begin(&wave, sweep->ids, n);
	while (!sweep->in_part && !sweep_is_full(sweep) && wave_next(&wave, all_nodes))
	{
		query_begin();
		wave_run(&wave, &sweep_work, sweep);
		query_end();
	}
	sweep->next = wave_done(&wave, n);
}

/*
 * sweep_all sweeps accounts up to the id number n, on a cluster those of each
 * shard where they are. The caller has connected to SPI.
 */
void
sweep_all(Sweep *sweep, int64 n)
{
	if (shard_may_be_entered())
		sweep_shards(sweep, n);
	else
		sweep_through(sweep, n);
}

/*
 * Answer of ducto.sweep_shard.
 */
static Datum
sweep_shard(PG_FUNCTION_ARGS)
{
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(2);
	MemoryContext caller = CurrentMemoryContext;
	Sweep		sweep;
	Datum		answer[5];

	query_begin();
	sweep_begin(&sweep, (pg_uuid_t *) ARR_DATA_PTR(ids));
	sweep.dry_run = PG_GETARG_BOOL(3);
	sweep.max_accounts = PG_GETARG_INT64(4);
	sweep.max_entries = PG_GETARG_INT64(5);
	sweep.max_closed = PG_GETARG_INT64(6);
	sweep_through(&sweep, ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)));
	query_end();
	MemoryContextSwitchTo(caller);
	answer[0] = NumericGetDatum(int64_to_numeric(sweep.next));
	answer[1] = NumericGetDatum(int64_to_numeric(sweep.accounts));
	answer[2] = NumericGetDatum(int64_to_numeric(sweep.entries));
	answer[3] = NumericGetDatum(int64_to_numeric(sweep.closed));
	answer[4] = spend_to_datum(sweep.expired);
	return PointerGetDatum(construct_array(answer, lengthof(answer), NUMERICOID, -1, false, TYPALIGN_INT));
}

/*
 * ducto.sweep_shard sweeps accounts of a shard of this node, for a sweep on
 * another one.
 */
Datum
ducto_sweep_shard(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"found", "shard", "account_ids", "dry_run", "max_accounts", "max_entries", "max_closed"};

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	PG_RETURN_DATUM(call_on_shard(fcinfo, PG_GETARG_INT64(1), sweep_shard));
}
