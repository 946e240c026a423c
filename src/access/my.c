/*
 * my.c
 *		What end users see of their own accounts: the identity comes from the
 *		claims of the JWT that PostgREST has checked, never from an argument.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/account.h"
#include "account/event.h"
#include "base/args.h"
#include "base/query.h"
#include "base/request.h"
#include "base/uuid.h"
#include "credit/here.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_my_balance);
PG_FUNCTION_INFO_V1(ducto_my_grants);
PG_FUNCTION_INFO_V1(ducto_my_transactions);
PG_FUNCTION_INFO_V1(ducto_my_events);
PG_FUNCTION_INFO_V1(ducto_my_plan);

/* All claims as a JSON object, and before PostgREST 9 the one that counts here. */
#define CLAIMS_SETTING	"request.jwt.claims"
#define SUB_SETTING		"request.jwt.claim.sub"

/* What one call of an end user reads at most. */
#define MY_MAX_ROWS		1000

/*
 * Raise the error for a call that does not say who calls.
 */
pg_noreturn static void
identity_reject(const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("the user who calls is not known: %s", problem),
			 errhint("Call it through PostgREST with the JWT of a user, whose claim \"sub\" is the user's id.")));
}

/*
 * Return the claim sub of a JSON object.
 */
static char *
claims_sub(char *json)
{
	char	   *sub = NULL;

	switch (json_member(json, "sub", &sub))
	{
		case MEMBER_TEXT:
			break;
		case MEMBER_MISSING:
			identity_reject(CLAIMS_SETTING " has no text \"sub\"");
		case MEMBER_NO_OBJECT:
			identity_reject(CLAIMS_SETTING " is no JSON object");
		case MEMBER_NO_JSON:
			identity_reject(CLAIMS_SETTING " is no valid JSON");
	}
	return sub;
}

/*
 * Return the id of the user who calls.
 */
static pg_uuid_t *
identity_get(void)
{
	char	   *claims = request_setting(CLAIMS_SETTING);
	char	   *sub = claims != NULL ? claims_sub(claims) : request_setting(SUB_SETTING);

	if (sub == NULL)
		identity_reject(CLAIMS_SETTING " is not set");
	if (!uuid_has_form(sub))
		identity_reject("the claim \"sub\" is no uuid");
	return DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(sub)));
}

/*
 * Reject a team's id: its pool is not one user's to see.
 */
static const pg_uuid_t *
identity_check(const pg_uuid_t *user)
{
	Account		acc;

	query_begin();
	account_load(user, &acc, ACCOUNT_READ);
	query_end();
	if (acc.team)
		identity_reject("the claim \"sub\" is the id of a team");
	return user;
}

/*
 * ducto_my_balance returns the credits of the user who calls, as
 * ducto_get_balance does. It takes no lock.
 */
Datum
ducto_my_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = identity_get();
	Datum		result;

	if (call_reads(fcinfo, user, ducto_my_balance, &result))
		PG_RETURN_DATUM(result);
	PG_RETURN_DATUM(balance_read(fcinfo, identity_check(user)));
}

/*
 * ducto_my_grants returns the live grants of the user who calls, as
 * ducto_list_grants does, the first MY_MAX_ROWS. It takes no lock.
 */
Datum
ducto_my_grants(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = identity_get();
	Datum		result;

	if (call_reads(fcinfo, user, ducto_my_grants, &result))
		PG_RETURN_DATUM(result);
	return grants_read(fcinfo, identity_check(user), MY_MAX_ROWS);
}

/*
 * ducto_my_transactions returns a page of the ledger of the user who calls, as
 * ducto_list_transactions does. It takes no lock. Arguments and errors: see
 * its COMMENT.
 */
Datum
ducto_my_transactions(PG_FUNCTION_ARGS)
{
	int			max_rows = arg_int_between(fcinfo, 0, "max_rows", 1, MY_MAX_ROWS, DEFAULT_PAGE);
	pg_uuid_t  *user = identity_get();
	Datum		result;

	if (call_reads(fcinfo, user, ducto_my_transactions, &result))
		PG_RETURN_DATUM(result);
	return transactions_read(fcinfo, identity_check(user), max_rows, arg_uuid_or_null(fcinfo, 1));
}

/*
 * ducto_my_events returns the events of the user who calls that are the user's
 * to see, the newest first. It takes no lock.
 */
Datum
ducto_my_events(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {
		EVENT_BALANCE_LOW, EVENT_BALANCE_EXHAUSTED, EVENT_BALANCE_RECOVERED, EVENT_ALLOWANCE_USED, EVENT_CAP_USED,
		EVENT_GRANT_EXPIRING
	};
	Datum		shown[lengthof(kinds)];
	pg_uuid_t  *user = identity_get();
	Datum		result;

	if (call_reads(fcinfo, user, ducto_my_events, &result))
		PG_RETURN_DATUM(result);
	for (int i = 0; i < lengthof(kinds); i++)
		shown[i] = CStringGetTextDatum(kinds[i]);
	return events_read(fcinfo, identity_check(user),
					   PointerGetDatum(construct_array(shown, lengthof(kinds), TEXTOID, -1, false, TYPALIGN_INT)),
					   DEFAULT_PAGE, NULL);
}

/*
 * ducto_my_plan returns the plan of the user who calls, as ducto_get_user_plan
 * does. It takes no lock.
 */
Datum
ducto_my_plan(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = identity_get();
	Datum		result;

	if (call_reads(fcinfo, user, ducto_my_plan, &result))
		PG_RETURN_DATUM(result);
	PG_RETURN_DATUM(user_plan_read(fcinfo, identity_check(user)));
}
