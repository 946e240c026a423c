/*
 * there.c
 *		The calls that are made on the node of a cluster which has the account:
 *		those of every day.
 */
#include "postgres.h"

#include "base/sent.h"
#include "base/there.h"
#include "credit/here.h"
#include "credit/reserve.h"
#include "credit/there.h"

PG_FUNCTION_INFO_V1(ducto_charge_there);
PG_FUNCTION_INFO_V1(ducto_reserve_there);
PG_FUNCTION_INFO_V1(ducto_deduct_there);
PG_FUNCTION_INFO_V1(ducto_add_credits_there);
PG_FUNCTION_INFO_V1(ducto_charge_usage_there);
PG_FUNCTION_INFO_V1(ducto_renew_there);
PG_FUNCTION_INFO_V1(ducto_release_there);
PG_FUNCTION_INFO_V1(ducto_settle_there);

extern PGDLLEXPORT Datum ducto_charge(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_reserve(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_deduct(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_add_credits(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_charge_usage(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_renew(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_release(PG_FUNCTION_ARGS);
extern PGDLLEXPORT Datum ducto_settle(PG_FUNCTION_ARGS);

/* Where team_id is among the arguments. */
#define RESERVE_TEAM	12
#define DEDUCT_TEAM		10
#define RENEW_TEAM		3
#define RELEASE_TEAM	2

/* Each is planned with its values, as Citus sees from them where to send it. */
static KeptQuery charge_query = {
	.sql = SENT_CALL("ducto.charge_there($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"),
	.types = THERE_TYPES(UUIDOID, NUMERICOID, TEXTOID, JSONBOID, TEXTOID, NUMERICOID, TEXTOID, BOOLOID, TEXTOID, TEXTOID),
	.anew = true
};
static KeptQuery reserve_query = {
	.sql = SENT_CALL("ducto.reserve_there($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"),
	.types = THERE_TYPES(UUIDOID, NUMERICOID, TEXTOID, JSONBOID, NUMERICOID, INT4OID, TEXTOID, TEXTOID, NUMERICOID, INT4OID,
						 TEXTOID, TEXTOID, UUIDOID, BOOLOID, BOOLOID),
	.anew = true
};
static KeptQuery deduct_query = {
	.sql = SENT_CALL("ducto.deduct_there($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"),
	.types = THERE_TYPES(UUIDOID, UUIDOID, NUMERICOID, TEXTOID, JSONBOID, TEXTOID, TEXTOID, BOOLOID, BOOLOID, BOOLOID, UUIDOID),
	.anew = true
};
static KeptQuery add_credits_query = {
	.sql = SENT_CALL("ducto.add_credits_there($1, $2, $3, $4, $5, $6, $7, $8)"),
	.types = THERE_TYPES(UUIDOID, NUMERICOID, TEXTOID, JSONBOID, TIMESTAMPTZOID, TEXTOID, INT4OID),
	.anew = true
};
static KeptQuery charge_usage_query = {
	.sql = SENT_CALL("ducto.charge_usage_there($1, $2, $3, $4, $5, $6, $7)"),
	.types = THERE_TYPES(UUIDOID, JSONBOID, UUIDOID, TEXTOID, JSONBOID, TEXTOID),
	.anew = true
};
static KeptQuery renew_query = {
	.sql = SENT_CALL("ducto.renew_there($1, $2, $3, $4, $5)"),
	.types = THERE_TYPES(UUIDOID, UUIDOID, INT4OID, UUIDOID),
	.anew = true
};
static KeptQuery release_query = {
	.sql = SENT_CALL("ducto.release_there($1, $2, $3, $4)"),
	.types = THERE_TYPES(UUIDOID, UUIDOID, UUIDOID),
	.anew = true
};
static KeptQuery settle_query = {
	.sql = SENT_CALL("ducto.settle_there($1, $2, $3, $4, $5, $6)"),
	.types = THERE_TYPES(UUIDOID, UUIDOID, JSONBOID, BOOLOID, TEXTOID),
	.anew = true
};

/*
 * charge_there makes a call of ducto_charge where the account is, as call_there
 * does.
 */
bool
charge_there(FunctionCallInfo fcinfo, Datum *result)
{
	return call_inside(fcinfo, ducto_charge, result) || call_there(fcinfo, &charge_query, result);
}

/*
 * reserve_there makes a call of ducto_reserve where the account is. A team's
 * pool is elsewhere.
 */
bool
reserve_there(FunctionCallInfo fcinfo, Datum *result)
{
	return PG_ARGISNULL(RESERVE_TEAM) &&
		(call_inside(fcinfo, ducto_reserve, result) || call_there(fcinfo, &reserve_query, result));
}

/*
 * deduct_there makes a call of ducto_deduct where the account is.
 */
bool
deduct_there(FunctionCallInfo fcinfo, Datum *result)
{
	return PG_ARGISNULL(DEDUCT_TEAM) &&
		(call_inside(fcinfo, ducto_deduct, result) || call_there(fcinfo, &deduct_query, result));
}

/*
 * add_credits_there makes a call of ducto_add_credits where the account is.
 */
bool
add_credits_there(FunctionCallInfo fcinfo, Datum *result)
{
	return call_inside(fcinfo, ducto_add_credits, result) || call_there(fcinfo, &add_credits_query, result);
}

/*
 * charge_usage_there makes a call of ducto_charge_usage where the account is.
 */
bool
charge_usage_there(FunctionCallInfo fcinfo, Datum *result)
{
	return call_inside(fcinfo, ducto_charge_usage, result) || call_there(fcinfo, &charge_usage_query, result);
}

/*
 * renew_there makes a call of ducto_renew where the account is.
 */
bool
renew_there(FunctionCallInfo fcinfo, Datum *result)
{
	return PG_ARGISNULL(RENEW_TEAM) &&
		(call_inside(fcinfo, ducto_renew, result) || call_there(fcinfo, &renew_query, result));
}

/*
 * release_there makes a call of ducto_release where the account is. What is
 * not found there may be a team's.
 */
bool
release_there(FunctionCallInfo fcinfo, Datum *result)
{
	return PG_ARGISNULL(RELEASE_TEAM) &&
		(call_inside(fcinfo, ducto_release, result) ||
		 call_there_unless(fcinfo, &release_query, release_reasons[RELEASE_NOT_FOUND], result));
}

/*
 * settle_there makes a call of ducto_settle where the account is.
 */
bool
settle_there(FunctionCallInfo fcinfo, Datum *result)
{
	return call_inside(fcinfo, ducto_settle, result) || call_there(fcinfo, &settle_query, result);
}

/*
 * ducto.charge_there is ducto_charge on the node of the account.
 */
Datum
ducto_charge_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_charge));
}

/*
 * ducto.reserve_there is ducto_reserve on the node of the account.
 */
Datum
ducto_reserve_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_reserve));
}

/*
 * ducto.deduct_there is ducto_deduct on the node of the account.
 */
Datum
ducto_deduct_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_deduct));
}

/*
 * ducto.add_credits_there is ducto_add_credits on the node of the account.
 */
Datum
ducto_add_credits_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_add_credits));
}

/*
 * ducto.charge_usage_there is ducto_charge_usage on the node of the account.
 */
Datum
ducto_charge_usage_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_charge_usage));
}

/*
 * ducto.renew_there is ducto_renew on the node of the account.
 */
Datum
ducto_renew_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_renew));
}

/*
 * ducto.release_there is ducto_release on the node of the account.
 */
Datum
ducto_release_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_release));
}

/*
 * ducto.settle_there is ducto_settle on the node of the account.
 */
Datum
ducto_settle_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(call_here(fcinfo, ducto_settle));
}
