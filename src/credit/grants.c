/*
 * grants.c
 *		Listing the credit that is in grants.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_list_grants);

static KeptQuery list_grants_query = {
	.sql = "SELECT id, type, amount::numeric, remaining::numeric, priority, nullif(expires_at, 'infinity'), created_at"
	" FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at > $2"
	" ORDER BY priority, expires_at, seq, id LIMIT $3",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * grants_read answers with the live grants of a user in burn order, the first
 * ones or ALL_ROWS.
 */
Datum
grants_read(FunctionCallInfo fcinfo, const pg_uuid_t *user, int max_rows)
{
	QueryArgs	args = {0};

	query_begin();
	args_uuid(&args, user);
	args_time(&args, clock_now());
	if (max_rows == ALL_ROWS)
		args_null(&args);
	else
		args_int8(&args, max_rows);
	query_read_into(fcinfo, &list_grants_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_list_grants returns the live grants of a user. It takes no lock.
 */
Datum
ducto_list_grants(PG_FUNCTION_ARGS)
{
	return grants_read(fcinfo, arg_uuid(fcinfo, 0, "user_id"), ALL_ROWS);
}
