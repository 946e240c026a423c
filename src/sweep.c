/*
 * sweep.c
 *		Booking what is past its time on accounts that nobody uses.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "args.h"
#include "clock.h"
#include "query.h"
#include "result.h"
#include "roll.h"

#define ROLLUP_BATCH	100000	/* entries */

PG_FUNCTION_INFO_V1(ducto_sweep_expired);
PG_FUNCTION_INFO_V1(ducto_expire_reservations);
PG_FUNCTION_INFO_V1(ducto_due_accounts);
PG_FUNCTION_INFO_V1(ducto_sweep_accounts);
PG_FUNCTION_INFO_V1(ducto_sweep);

/* As the index grants_due has it. */
#define GRANT_IS_DUE "live AND expires_at AT TIME ZONE 'UTC' <= $1 AT TIME ZONE 'UTC'"

/* Accounts with something due, in the order of their ids. */
static KeptQuery due_grants_query = {
	.sql = "SELECT DISTINCT account_id FROM ducto.grants WHERE " GRANT_IS_DUE " ORDER BY account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

static KeptQuery due_holds_query = {
	.sql = "SELECT DISTINCT account_id FROM ducto.reservations WHERE state = 'open' AND expires_at <= $1"
	" ORDER BY account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

static KeptQuery due_query = {
	.sql = "SELECT account_id FROM ducto.grants WHERE " GRANT_IS_DUE
	" UNION SELECT account_id FROM ducto.reservations WHERE state = 'open' AND expires_at <= $1"
	" ORDER BY account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

/*
 * Find the accounts with something due: 16 bytes each are kept.
 */
static uint64
due_accounts(KeptQuery *query, pg_uuid_t **ids)
{
	QueryArgs	args = {0};
	uint64		n;

	args_time(&args, clock_now());
	n = query_run(query, &args, SPI_OK_SELECT);
	*ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		(*ids)[i] = row_uuid(i, 1);
	SPI_freetuptable(SPI_tuptable);
	return n;
}

/*
 * Roll one account forward, or only compute it, in memory of its own.
 */
static void
sweep_account(const pg_uuid_t *id, bool dry_run, int64 max_closed, RollTotals *totals)
{
	Account		acc;

	CHECK_FOR_INTERRUPTS();
	query_begin();
	if (dry_run)
		account_project(id, &acc, DT_NOEND, totals);
	else
		account_sweep(id, max_closed, totals);
	query_end();
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
	int64		max_accounts = arg_int_between(fcinfo, 1, "max_accounts", 1, PG_INT32_MAX, PG_INT32_MAX);
	int64		count = 0;
	Spend		amount = 0;
	pg_uuid_t  *ids;
	uint64		n;
	ResultRow	row;
	Datum		result;

	query_begin();
	n = due_accounts(&due_grants_query, &ids);
	for (uint64 i = 0; i < n && (PG_ARGISNULL(1) || count < max_accounts); i++)
	{
		RollTotals	totals;

		sweep_account(&ids[i], dry_run, PG_INT64_MAX, &totals);
		count += totals.expired > 0 ? 1 : 0;
		amount = spend_add(amount, totals.expired, "expired_amount");
	}
	result_begin(&row, fcinfo);
	result_datum(&row, Int64GetDatum(count));
	result_spend(&row, amount);
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
	int64		left = arg_int_between(fcinfo, 0, "max_rows", 1, PG_INT32_MAX, PG_INT32_MAX);
	int64		closed = 0;
	pg_uuid_t  *ids;
	uint64		n;

	if (PG_ARGISNULL(0))
		left = PG_INT64_MAX;
	query_begin();
	n = due_accounts(&due_holds_query, &ids);
	for (uint64 i = 0; i < n && closed < left; i++)
	{
		RollTotals	totals;

		sweep_account(&ids[i], false, left - closed, &totals);
		closed += totals.closed;
	}
	query_end();
	PG_RETURN_INT64(closed);
}

/*
 * ducto.due_accounts returns the accounts with something due, for
 * ducto_sweep.
 */
Datum
ducto_due_accounts(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	QueryArgs	array = {0};
	pg_uuid_t  *ids;
	uint64		n;

	query_begin();
	n = due_accounts(&due_query, &ids);
	MemoryContextSwitchTo(caller);
	args_uuid_array(&array, ids, (int) n);
	query_end();
	PG_RETURN_DATUM(array.values[0]);
}

/*
 * ducto.sweep_accounts rolls given accounts forward and skips locked ones,
 * for ducto_sweep.
 */
Datum
ducto_sweep_accounts(PG_FUNCTION_ARGS)
{
	Datum	   *ids;
	int			n;

	arg_require(fcinfo, 0, "account_ids");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		RollTotals	totals;

		sweep_account(DatumGetUUIDP(ids[i]), false, PG_INT64_MAX, &totals);
	}
	PG_RETURN_VOID();
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
 * Roll up the ledger and commit after every batch.
 */
static void
roll_up_in_batches(Oid schema)
{
	Oid			function = helper_function(schema, "ducto_rollup", INT4OID);
	int64		entries;

	do
	{
		entries = DatumGetInt64(OidFunctionCall1(function, Int32GetDatum(ROLLUP_BATCH)));
		SPI_commit();
		if (entries > 0)
			ereport(NOTICE, (errmsg("rolled up " INT64_FORMAT " entries", entries)));
	} while (entries >= ROLLUP_BATCH);
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
	deconstruct_array(DatumGetArrayTypeP(OidFunctionCall0(helper_function(tables, "due_accounts", InvalidOid))),
					  UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &ids, NULL, &n);
	for (int done = 0; done < n;)
	{
		int			batch = Min(batch_size, n - done);
		ArrayType  *array = construct_array(ids + done, batch, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR);

		OidFunctionCall1(helper_function(tables, "sweep_accounts", UUIDARRAYOID), PointerGetDatum(array));
		pfree(array);
		done += batch;
		SPI_commit();
		ereport(NOTICE, (errmsg("swept %d of %d accounts", done, n)));
	}
	roll_up_in_batches(get_func_namespace(fcinfo->flinfo->fn_oid));
	SPI_finish();
	PG_RETURN_VOID();
}
