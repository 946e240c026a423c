/*
 * events.c
 *		The outbox: taking, acknowledging and listing events.
 */
#include "postgres.h"

#include "credit/here.h"
#include "utils/array.h"

#include "account/event.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/uuid.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_take_events);
PG_FUNCTION_INFO_V1(ducto_ack_events);
PG_FUNCTION_INFO_V1(ducto_list_events);
PG_FUNCTION_INFO_V1(ducto_prune_events);

#define TAKEN_AT_ONCE		100
#define MAX_TAKEN			10000
#define LEASE_SECONDS		60
#define MAX_LEASE_SECONDS	86400

/* Newest first. */
static KeptQuery list_query = {
	.sql = "SELECT id, account_id, user_id, team_id, kind, payload, created_at, attempt FROM ducto.events"
	" WHERE account_id = $1 AND number < $2 AND ($3 IS NULL OR kind = ANY ($3)) ORDER BY number DESC LIMIT $4",
	.types = {UUIDOID, INT8OID, TEXTARRAYOID, INT8OID}
};

static KeptQuery number_query = {
	.sql = "SELECT number FROM ducto.events WHERE id = $1 AND account_id = $2",
	.types = {UUIDOID, UUIDOID}
};

/*
 * Return an optional list of kinds of events, each of which there is; 0 for
 * none.
 */
static Datum
arg_kinds(FunctionCallInfo fcinfo, int n)
{
	ArrayType  *kinds;
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(n))
		return (Datum) 0;
	kinds = PG_GETARG_ARRAYTYPE_P(n);
	deconstruct_array(kinds, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		char	   *kind = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		const char *const *known = event_kinds;

		while (kind != NULL && *known != NULL && strcmp(kind, *known) != 0)
			known++;
		if (kind == NULL || *known == NULL)
			arg_reject("kinds", kind == NULL ? "null" : psprintf("\"%s\"", kind),
					   "\"kinds\" must be balance_low, balance_exhausted, balance_recovered, topup_due, allowance_used, cap_used, "
					   "grant_expiring, reservation_expired, plan_changed or reversal_shortfall.");
	}
	return PointerGetDatum(kinds);
}

/*
 * ducto_take_events leases events that nobody has acknowledged and nobody has
 * leased. It locks their rows and skips locked ones. Arguments and errors: see
 * its COMMENT.
 */
Datum
ducto_take_events(PG_FUNCTION_ARGS)
{
	int			max_rows = arg_int_between(fcinfo, 0, "max_rows", 1, MAX_TAKEN, TAKEN_AT_ONCE);
	int			lease = arg_int_between(fcinfo, 1, "lease_seconds", 1, MAX_LEASE_SECONDS, LEASE_SECONDS);
	Datum		kinds = arg_kinds(fcinfo, 2);
	TimestampTz now = clock_now();
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	query_begin();
	events_take(now, now + lease * USECS_PER_SEC, max_rows, kinds, row.store);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_ack_events acknowledges events, which are not taken any more then. It
 * locks their rows. Arguments and errors: see its COMMENT.
 */
Datum
ducto_ack_events(PG_FUNCTION_ARGS)
{
	ArrayType  *ids = arg_ids(fcinfo, 0, "ids", "events");
	int64		acked;

	query_begin();
	acked = events_ack(PointerGetDatum(ids), clock_now());
	query_end();
	PG_RETURN_INT64(acked);
}

/*
 * events_read answers with a page of the events of an account, those before
 * one unless that is NULL, of given kinds or, for 0, of all.
 */
Datum
events_read(FunctionCallInfo fcinfo, const pg_uuid_t *account, Datum kinds, int max_rows, const pg_uuid_t *before)
{
	QueryArgs	args = {0};
	int64		end = PG_INT64_MAX;

	query_begin();
	if (before != NULL)
	{
		QueryArgs	look = {0};

		args_uuid(&look, before);
		args_uuid(&look, account);
		if (query_read(&number_query, &look) == 0)
			arg_reject("before", uuid_to_cstring(before), "\"before\" must be the id of an event of this account.");
		end = row_int8(0, 1);
	}
	args_uuid(&args, account);
	args_int8(&args, end);
	if (kinds == (Datum) 0)
		args_null(&args);
	else
		args_datum(&args, kinds);
	args_int8(&args, max_rows);
	query_read_into(fcinfo, &list_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_list_events returns the events of an account, the newest first. It
 * takes no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_list_events(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *account = arg_uuid(fcinfo, 0, "account_id");
	Datum		kinds = arg_kinds(fcinfo, 1);
	int			max_rows = arg_int_between(fcinfo, 2, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE);
	Datum		result;

	if (call_reads(fcinfo, account, ducto_list_events, &result))
		PG_RETURN_DATUM(result);
	return events_read(fcinfo, account, kinds, max_rows, PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3));
}

/*
 * ducto.prune_events removes events that were acknowledged longer ago than
 * ducto.event_retention, for ducto_sweep: as many as one transaction should do.
 * It returns how many.
 */
Datum
ducto_prune_events(PG_FUNCTION_ARGS)
{
	int64		pruned;

	query_begin();
	pruned = events_prune(clock_now() - setting_event_retention() * USECS_PER_SEC, MAX_TAKEN);
	query_end();
	PG_RETURN_INT64(pruned);
}
