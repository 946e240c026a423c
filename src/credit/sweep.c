/*
 * sweep.c
 *		Booking what is past its time on accounts that nobody uses.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/resowner.h"
#include "utils/syscache.h"

#include "account/alert.h"
#include "account/claim.h"
#include "account/hold.h"
#include "account/roll.h"
#include "account/rollset.h"
#include "account/wave.h"
#include "analytics/rollup.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/result.h"
#include "base/shard.h"
#include "base/there.h"
#include "base/uuid.h"
#include "credit/sweep.h"
#include "credit/swept.h"

#define DEFAULT_PRUNED	10000	/* reservations */
#define ROWS_AT_ONCE	10000	/* closed or expired in one transaction of ducto_sweep */

PG_FUNCTION_INFO_V1(ducto_sweep_expired);
PG_FUNCTION_INFO_V1(ducto_expire_reservations);
PG_FUNCTION_INFO_V1(ducto_prune_reservations);
PG_FUNCTION_INFO_V1(ducto_due_accounts);
PG_FUNCTION_INFO_V1(ducto_sweep_accounts);
PG_FUNCTION_INFO_V1(ducto_expiring_accounts);
PG_FUNCTION_INFO_V1(ducto_tell_expiring);
PG_FUNCTION_INFO_V1(ducto_tell_expiring_shard);
PG_FUNCTION_INFO_V1(ducto_sweep);

/* As the index grants_due has it. */
#define GRANT_IS_DUE "live AND expires_at AT TIME ZONE 'UTC' <= $1 AT TIME ZONE 'UTC'"

/* As the index accounts_cycle has it; a plan that never gave anything has nothing to book. */
#define CYCLES_DUE \
	"SELECT a.id FROM ducto.accounts a WHERE a.plan_id IS NOT NULL AND a.cycle_end AT TIME ZONE 'UTC' <= $1 AT TIME ZONE 'UTC'" \
	" AND a.plan_id IN (SELECT t.plan_id FROM ducto.plan_allowances t WHERE t.grants <> '[]')"

/* Accounts with something due, in the order of their ids. */
static KeptQuery due_grants_query = {
	.sql = "SELECT account_id FROM ducto.grants WHERE " GRANT_IS_DUE " UNION " CYCLES_DUE " ORDER BY account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

/* Their index has the open ones alone, in this order. */
static KeptQuery due_holds_query = {
	.sql = "SELECT DISTINCT account_id FROM ducto.reservations WHERE state = 'open' AND expires_at <= $1"
	" ORDER BY account_id",
	.types = {TIMESTAMPTZOID}
};

static KeptQuery due_query = {
	.sql = "SELECT account_id FROM ducto.grants WHERE " GRANT_IS_DUE
	" UNION SELECT account_id FROM ducto.reservations WHERE state = 'open' AND expires_at <= $1"
	" UNION " CYCLES_DUE
	" ORDER BY account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

/*
 * Keep the ids of the last result, 16 bytes each.
 */
static pg_uuid_t *
ids_keep(int64 n)
{
	pg_uuid_t  *ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * Max(n, 1));

	for (int64 i = 0; i < n; i++)
		ids[i] = row_uuid(i, 1);
	rows_free();
	return ids;
}

/*
 * Find the accounts with something due, in the order of their ids.
 */
static int64
due_accounts(KeptQuery *query, pg_uuid_t **ids)
{
	QueryArgs	args = {0};
	int64		n;

	args_time(&args, clock_now());
	n = (int64) query_run(query, &args, SPI_OK_SELECT);
	*ids = ids_keep(n);
	return n;
}

/*
 * Tell of the credit of an account that expires soon, in memory of its own,
 * unless another session has it locked: the next sweep does it then.
 */
static void
expiring_tell(const pg_uuid_t *id)
{
	Account		acc;

	CHECK_FOR_INTERRUPTS();
	query_begin();
	if (account_try_lock(id, &acc))
		alerts_tell_expiring(&acc);
	query_end();
}

/*
 * Tell of the credit of accounts that expires soon, one after the other.
 */
static void
expiring_tell_each(const pg_uuid_t *ids, int64 n)
{
	for (int64 i = 0; i < n; i++)
		expiring_tell(&ids[i]);
}

/*
 * Append whose credit is to be told of on the shards of a wave.
 */
static void
tell_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	wave_args_accounts(wave, args);
	args_carried(args);
}

/*
 * Note that it was told of on a shard.
 */
static void
tell_answer(ShardPart *part, uint64 row, void *state)
{
	part->next = part->end;
}

/* What ducto.tell_expiring_shard is called with, and answers. */
#define TELL_CALL "ducto.tell_expiring_shard(1, ($2)[w.n], " OF_SHARD("$3") ", $6)"
#define TELL_TYPES {UUIDARRAYOID, INT8ARRAYOID, UUIDARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID}

static WaveWork tell_work = {
	.together = {.sql = ON_SHARDS(TELL_CALL), .types = TELL_TYPES},
	.alone = {.sql = ON_ANY_SHARD(TELL_CALL), .types = TELL_TYPES},
	.arguments = tell_arguments,
	.answer = tell_answer
};

/*
 * Tell of the credit of accounts that expires soon, on a cluster where they are,
 * on all nodes at once.
 */
static void
expiring_tell_all(const pg_uuid_t *ids, int64 n)
{
	Wave		wave;

	if (!shard_may_be_entered())
	{
		expiring_tell_each(ids, n);
		return;
	}
	wave_begin(&wave, ids, n);
	while (wave_next(&wave, true))
	{
		query_begin();
		wave_run(&wave, &tell_work, NULL);
		query_end();
	}
}

/*
 * Tell of all credit that expires soon.
 */
static void
expiring_tell_due(void)
{
	int64		n = (int64) alerts_expiring(clock_now());

	expiring_tell_all(ids_keep(n), n);
}

/*
 * sweep_expired books the expiry of credit that is past its time, or only
 * computes it, and tells how much that is. It returns the accounts that it is
 * of. The caller has connected to SPI.
 */
int64
sweep_expired(bool dry_run, int64 max_accounts, Spend *expired)
{
	Sweep		sweep;
	pg_uuid_t  *ids;
	int64		n = due_accounts(&due_grants_query, &ids);

	sweep_begin(&sweep, ids);
	sweep.max_accounts = max_accounts;
	sweep.dry_run = dry_run;
	sweep_all(&sweep, n);
	*expired = sweep.expired;
	if (!dry_run)
		expiring_tell_due();
	return sweep.accounts;
}

/*
 * sweep_reservations closes reservations that are past their time, and returns
 * how many. The caller has connected to SPI.
 */
int64
sweep_reservations(int64 max_rows)
{
	Sweep		sweep;
	pg_uuid_t  *ids;
	int64		n = due_accounts(&due_holds_query, &ids);

	sweep_begin(&sweep, ids);
	sweep.max_closed = max_rows;
	sweep_all(&sweep, n);
	return sweep.closed;
}

/*
 * ducto_sweep_expired books the expiry of credit that is past its time. It
 * locks the accounts in the order of their ids and skips locked ones.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_sweep_expired(PG_FUNCTION_ARGS)
{
	bool		dry_run = arg_bool_default(fcinfo, 0, false);
	int64		max_accounts = PG_ARGISNULL(1) ? PG_INT64_MAX : arg_int_between(fcinfo, 1, "max_accounts", 1, PG_INT32_MAX, 0);
	int64		accounts;
	Spend		expired;
	ResultRow	row;
	Datum		result;

	query_begin();
	accounts = sweep_expired(dry_run, max_accounts, &expired);
	result_begin(&row, fcinfo);
	result_int8(&row, accounts);
	result_spend(&row, expired);
	result_bool(&row, dry_run);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_expire_reservations closes reservations that are past their time. It
 * locks the accounts in the order of their ids and skips locked ones.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_expire_reservations(PG_FUNCTION_ARGS)
{
	int64		max_rows = PG_ARGISNULL(0) ? PG_INT64_MAX : arg_int_between(fcinfo, 0, "max_rows", 1, PG_INT32_MAX, 0);
	int64		closed;

	query_begin();
	closed = sweep_reservations(max_rows);
	query_end();
	PG_RETURN_INT64(closed);
}

/*
 * ducto_prune_reservations removes reservations that ended long ago. It locks
 * their accounts in the order of their ids and skips locked ones. Arguments and
 * errors: see its COMMENT.
 */
Datum
ducto_prune_reservations(PG_FUNCTION_ARGS)
{
	TimestampTz before = arg_time(fcinfo, 0, "before");
	int			max_rows = arg_int_between(fcinfo, 1, "max_rows", 1, PG_INT32_MAX, DEFAULT_PRUNED);
	int64		pruned;

	query_begin();
	pruned = holds_prune(before, max_rows);
	query_end();
	PG_RETURN_INT64(pruned);
}

/*
 * Return accounts, in turns, as an array in the memory of the caller.
 */
static Datum
accounts_array(pg_uuid_t *ids, int64 n, MemoryContext caller)
{
	QueryArgs	array = {0};

	accounts_by_turns(ids, n);
	MemoryContextSwitchTo(caller);
	args_uuid_array(&array, ids, (int) n);
	return array.values[0];
}

/*
 * ducto.due_accounts returns the accounts with something due, for
 * ducto_sweep.
 */
Datum
ducto_due_accounts(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	pg_uuid_t  *ids;
	int64		n;
	Datum		array;

	query_begin();
	n = due_accounts(&due_query, &ids);
	array = accounts_array(ids, n, caller);
	query_end();
	PG_RETURN_DATUM(array);
}

/*
 * ducto.sweep_accounts rolls given accounts forward and skips locked ones, for
 * ducto_sweep: as many as one transaction should do. It returns with how many
 * it is done.
 */
Datum
ducto_sweep_accounts(PG_FUNCTION_ARGS)
{
	Sweep		sweep;
	ArrayType  *ids = arg_ids(fcinfo, 0, "account_ids", "accounts");

	query_begin();
	sweep_begin(&sweep, (pg_uuid_t *) ARR_DATA_PTR(ids));
	sweep.max_entries = sweep.max_closed = ROWS_AT_ONCE;
	sweep.in_parts = true;
	sweep_all(&sweep, ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)));
	query_end();
	PG_RETURN_INT32((int32) sweep.next);
}

/*
 * ducto.expiring_accounts returns the accounts with credit that expires soon
 * and is not told of, for ducto_sweep.
 */
Datum
ducto_expiring_accounts(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	int64		n;
	Datum		array;

	query_begin();
	n = (int64) alerts_expiring(clock_now());
	array = accounts_array(ids_keep(n), n, caller);
	query_end();
	PG_RETURN_DATUM(array);
}

/*
 * ducto.tell_expiring tells of the credit of given accounts that expires soon,
 * for ducto_sweep.
 */
Datum
ducto_tell_expiring(PG_FUNCTION_ARGS)
{
	ArrayType  *ids = arg_ids(fcinfo, 0, "account_ids", "accounts");
	int			n = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));

	query_begin();
	expiring_tell_all((pg_uuid_t *) ARR_DATA_PTR(ids), n);
	query_end();
	PG_RETURN_VOID();
}

/*
 * Tell of the credit of accounts of a shard that expires soon.
 */
static Datum
tell_expiring_shard(PG_FUNCTION_ARGS)
{
	ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(2);
	int			n = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));

	query_begin();
	expiring_tell_each((pg_uuid_t *) ARR_DATA_PTR(ids), n);
	query_end();
	PG_RETURN_INT64(n);
}

/*
 * ducto.tell_expiring_shard does it for accounts of a shard of this node, for a
 * sweep on another one.
 */
Datum
ducto_tell_expiring_shard(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"found", "shard", "account_ids"};

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	PG_RETURN_DATUM(call_on_shard(fcinfo, PG_GETARG_INT64(1), tell_expiring_shard));
}

/*
 * Return a function of a schema. ducto_sweep runs with the rights of its
 * caller and reaches the functions that it needs by their ids: being allowed
 * to call it is all the caller needs.
 */
static Oid
helper_function(Oid schema, const char *name, Oid argtype)
{
	oidvector  *types = buildoidvector(&argtype, OidIsValid(argtype) ? 1 : 0);
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
										   PointerGetDatum(types), ObjectIdGetDatum(schema));

	if (!OidIsValid(function))
		elog(ERROR, "function %s is gone", name);
	return function;
}

/*
 * Roll up the ledger and commit after every batch, with a notice where there
 * are several.
 */
static void
roll_up_in_batches(Oid schema)
{
	Oid			function = helper_function(schema, "ducto_rollup", INT4OID);
	int64		entries;
	int64		done = 0;

	do
	{
		entries = DatumGetInt64(OidFunctionCall1(function, Int32GetDatum(ROLLUP_BATCH)));
		SPI_commit();
		done += entries;
		if (done >= ROLLUP_BATCH)
			ereport(NOTICE, (errmsg("rolled up " INT64_FORMAT " entries", done)));
	} while (entries >= ROLLUP_BATCH);
}

/*
 * Remove events that were acknowledged long ago and commit after every batch.
 */
static void
prune_events_in_batches(Oid tables)
{
	Oid			function = helper_function(tables, "prune_events", InvalidOid);

	while (DatumGetInt64(OidFunctionCall0(function)) > 0)
		SPI_commit();
}

/*
 * Return the ids that a function without arguments returns, in the memory
 * context of the caller.
 */
static int
ids_of(Oid schema, const char *name, Datum **ids)
{
	int			n;

	deconstruct_array(DatumGetArrayTypeP(OidFunctionCall0(helper_function(schema, name, InvalidOid))),
					  UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, ids, NULL, &n);
	return n;
}

/*
 * Tell of the credit that expires soon and commit after every batch of accounts.
 */
static void
tell_expiring_in_batches(Oid tables, int batch_size)
{
	Datum	   *ids;
	int			n = ids_of(tables, "expiring_accounts", &ids);

	for (int done = 0; done < n; done += batch_size)
	{
		ArrayType  *batch = construct_array(ids + done, Min(batch_size, n - done), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);

		OidFunctionCall1(helper_function(tables, "tell_expiring", UUIDARRAYOID), PointerGetDatum(batch));
		pfree(batch);
		SPI_commit();
	}
}

/*
 * ducto_sweep expires everything that is past its time, rolls up the ledger
 * and commits after every batch. Arguments and errors: see its COMMENT.
 */
Datum
ducto_sweep(PG_FUNCTION_ARGS)
{
	int			batch_size = arg_int_between(fcinfo, 0, "batch_size", 1, PG_INT32_MAX, 1000);
	bool		atomic = !(fcinfo->context && IsA(fcinfo->context, CallContext) &&
						   !castNode(CallContext, fcinfo->context)->atomic);
	Oid			tables = get_namespace_oid("ducto", false);
	Datum	   *ids;
	int			n;
	MemoryContext caller = CurrentMemoryContext;

	if (atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("ducto_sweep commits and cannot run inside a transaction"),
				 errhint("Call it on its own, or use ducto_sweep_expired.")));
	if (SPI_connect_ext(SPI_OPT_NONATOMIC) != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect_ext failed");
	MemoryContextSwitchTo(caller);
	n = ids_of(tables, "due_accounts", &ids);
	for (int done = 0; done < n;)
	{
		int			batch = Min(batch_size, n - done);
		ArrayType  *array = construct_array(ids + done, batch, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);

		done += DatumGetInt32(OidFunctionCall1(helper_function(tables, "sweep_accounts", UUIDARRAYOID),
											   PointerGetDatum(array)));
		pfree(array);
		SPI_commit();
		ereport(NOTICE, (errmsg("swept %d of %d accounts", done, n)));
	}
	tell_expiring_in_batches(tables, batch_size);
	prune_events_in_batches(tables);
	roll_up_in_batches(get_func_namespace(fcinfo->flinfo->fn_oid));
	SPI_finish();
	PG_RETURN_VOID();
}
