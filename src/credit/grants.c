/*
 * grants.c
 *		Listing the credit that is in grants.
 */
#include "postgres.h"

#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "credit/here.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_list_grants);

static KeptQuery list_grants_query = {
	.sql = "SELECT id, type, amount::numeric, remaining::numeric, priority, nullif(expires_at, 'infinity'), created_at"
	" FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at > $2"
	" ORDER BY priority, expires_at, seq, id LIMIT $3",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID}
};

/* As the table will have them: $4 to $6 are of grants that live on, $7 to $14 of those that are not there yet. */
static KeptQuery list_projected_query = {
	.sql = "SELECT id, type, amount, remaining, priority, nullif(expires_at, 'infinity'), created_at FROM ("
	"SELECT g.id, g.type, g.amount, coalesce(r.remaining, g.remaining) AS remaining, g.priority,"
	" coalesce(r.expires_at, g.expires_at) AS expires_at, g.created_at, g.seq"
	" FROM ducto.grants g LEFT JOIN unnest($4, $5, $6) AS r(id, remaining, expires_at) ON r.id = g.id"
	" WHERE g.account_id = $1 AND g.live AND (g.expires_at > $2 OR r.id IS NOT NULL)"
	" UNION ALL SELECT n.id, n.type, n.amount, n.remaining, n.priority::integer, n.expires_at, n.created_at, n.seq"
	" FROM unnest($7, $8, $9, $10, $11, $12, $13, $14) AS n(id, seq, type, amount, remaining, priority, expires_at, created_at)) g"
	" ORDER BY g.priority, g.expires_at, g.seq, g.id LIMIT $3",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID, UUIDARRAYOID, NUMERICARRAYOID, TIMESTAMPTZARRAYOID, UUIDARRAYOID, INT8ARRAYOID,
		TEXTARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID, INT8ARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID}
};

/*
 * Append the grants of the table that live on.
 */
static void
args_living_on(QueryArgs *args, const Grant *grants, int n)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	Money	   *amounts = palloc(sizeof(Money) * Max(n, 1));
	TimestampTz *times = palloc(sizeof(TimestampTz) * Max(n, 1));
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (grants[i].gift != NULL)
			continue;
		ids[count] = grants[i].id;
		amounts[count] = grants[i].remaining;
		times[count++] = grants[i].expires_at;
	}
	args_uuid_array(args, ids, count);
	args_money_array(args, amounts, count);
	args_time_array(args, times, count);
}

/*
 * Append the grants that the table does not have yet.
 */
static void
args_given(QueryArgs *args, const Grant *grants, int n)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	int64	   *numbers = palloc(sizeof(int64) * Max(n, 1) * 2);
	Money	   *amounts = palloc(sizeof(Money) * Max(n, 1) * 2);
	TimestampTz *times = palloc(sizeof(TimestampTz) * Max(n, 1) * 2);
	const char **types = palloc(sizeof(char *) * Max(n, 1));
	int			count = 0;

	for (int i = 0; i < n; i++)
	{
		if (grants[i].gift == NULL)
			continue;
		ids[count] = grants[i].id;
		types[count] = entry_types[grants[i].gift->type];
		numbers[count] = grants[i].seq;
		numbers[n + count] = grants[i].gift->priority;
		amounts[count] = grants[i].gift->amount;
		amounts[n + count] = grants[i].remaining;
		times[count] = grants[i].expires_at;
		times[n + count++] = grants[i].gift->given_at;
	}
	args_uuid_array(args, ids, count);
	args_int8_array(args, numbers, count);
	args_text_array(args, types, count);
	args_money_array(args, amounts, count);
	args_money_array(args, amounts + n, count);
	args_int8_array(args, numbers + n, count);
	args_time_array(args, times, count);
	args_time_array(args, times + n, count);
}

/*
 * grants_read answers with the live grants of a user in burn order, the first
 * ones or ALL_ROWS.
 */
Datum
grants_read(FunctionCallInfo fcinfo, const pg_uuid_t *user, int max_rows)
{
	QueryArgs	args = {0};
	Account		acc;
	Grant	   *grants = NULL;
	int			n;

	query_begin();
	n = account_project_grants(user, &acc, &grants);
	args_uuid(&args, user);
	args_time(&args, acc.now);
	if (max_rows == ALL_ROWS)
		args_null(&args);
	else
		args_int8(&args, max_rows);
	if (n == 0)
		query_read_into(fcinfo, &list_grants_query, &args);
	else
	{
		args_living_on(&args, grants, n);
		args_given(&args, grants, n);
		query_read_into(fcinfo, &list_projected_query, &args);
	}
	query_end();
	return (Datum) 0;
}

/*
 * ducto_list_grants returns the live grants of a user. It takes no lock.
 */
Datum
ducto_list_grants(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Datum		result;

	if (call_reads(fcinfo, user, ducto_list_grants, &result))
		PG_RETURN_DATUM(result);
	return grants_read(fcinfo, user, ALL_ROWS);
}
