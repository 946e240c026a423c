/*
 * my.c
 *		What end users see of their own accounts: the identity comes from the
 *		claims of the JWT that PostgREST has checked, never from an argument.
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"

#include "account.h"
#include "args.h"
#include "query.h"
#include "reads.h"
#include "uuid.h"

PG_FUNCTION_INFO_V1(ducto_my_balance);
PG_FUNCTION_INFO_V1(ducto_my_grants);
PG_FUNCTION_INFO_V1(ducto_my_transactions);
PG_FUNCTION_INFO_V1(ducto_my_plan);

/* All claims as a JSON object, and before PostgREST 9 the one that counts here. */
#define CLAIMS_SETTING	"request.jwt.claims"
#define SUB_SETTING		"request.jwt.claim.sub"

/* What one call of an end user reads at most. */
#define MY_MAX_ROWS		1000

/* What the parser of claims has seen. */
typedef struct ClaimsState
{
	int			depth;
	bool		in_sub;			/* at the value of the outer object's sub */
	bool		is_object;
	char	   *sub;			/* NULL for none, or one that is no string */
} ClaimsState;

/* The parser's actions return a code since PostgreSQL 16. */
#if PG_VERSION_NUM >= 160000
#define ACTION		static JsonParseErrorType
#define ACTION_END	return JSON_SUCCESS
#else
#define ACTION		static void
#define ACTION_END	return
#endif

/*
 * Enter an object.
 */
ACTION
claims_object_start(void *state)
{
	ClaimsState *claims = state;

	if (claims->depth == 0)
		claims->is_object = true;
	claims->depth++;
	ACTION_END;
}

/*
 * Enter an array.
 */
ACTION
claims_array_start(void *state)
{
	((ClaimsState *) state)->depth++;
	ACTION_END;
}

/*
 * Leave an object or an array.
 */
ACTION
claims_end(void *state)
{
	((ClaimsState *) state)->depth--;
	ACTION_END;
}

/*
 * Start a member of an object: of members with one name the last counts, as in
 * jsonb.
 */
ACTION
claims_field_start(void *state, char *name, bool isnull)
{
	ClaimsState *claims = state;

	if (claims->depth == 1)
	{
		claims->in_sub = strcmp(name, "sub") == 0;
		if (claims->in_sub)
			claims->sub = NULL;
	}
	ACTION_END;
}

/*
 * Take the value of sub.
 */
ACTION
claims_scalar(void *state, char *token, JsonTokenType type)
{
	ClaimsState *claims = state;

	if (claims->depth == 1 && claims->in_sub && type == JSON_TOKEN_STRING)
		claims->sub = token;
	ACTION_END;
}

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
	ClaimsState state = {0};
	JsonSemAction actions = {
		.semstate = &state,
		.object_start = claims_object_start,
		.object_end = claims_end,
		.array_start = claims_array_start,
		.array_end = claims_end,
		.object_field_start = claims_field_start,
		.scalar = claims_scalar,
	};
	JsonLexContext *lexer;

#if PG_VERSION_NUM >= 170000
	lexer = makeJsonLexContextCstringLen(NULL, json, (int) strlen(json), GetDatabaseEncoding(), true);
#else
	lexer = makeJsonLexContextCstringLen(json, (int) strlen(json), GetDatabaseEncoding(), true);
#endif
	if (pg_parse_json(lexer, &actions) != JSON_SUCCESS)
		identity_reject(CLAIMS_SETTING " is no valid JSON");
	if (!state.is_object)
		identity_reject(CLAIMS_SETTING " is no JSON object");
	if (state.sub == NULL)
		identity_reject(CLAIMS_SETTING " has no text \"sub\"");
	return state.sub;
}

/*
 * Return the value of a setting as a copy, NULL when it is unset or empty.
 */
static char *
setting_get(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value != NULL && value[0] != '\0' ? pstrdup(value) : NULL;
}

/*
 * Return the id of the user who calls. A team's id is none: its pool is not
 * one user's to see.
 */
static pg_uuid_t *
identity_get(void)
{
	char	   *claims = setting_get(CLAIMS_SETTING);
	char	   *sub = claims != NULL ? claims_sub(claims) : setting_get(SUB_SETTING);
	pg_uuid_t  *user;
	Account		acc;

	if (sub == NULL)
		identity_reject(CLAIMS_SETTING " is not set");
	if (!uuid_has_form(sub))
		identity_reject("the claim \"sub\" is no uuid");
	user = DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(sub)));
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
	PG_RETURN_DATUM(balance_read(fcinfo, identity_get()));
}

/*
 * ducto_my_grants returns the live grants of the user who calls, as
 * ducto_list_grants does, the first MY_MAX_ROWS. It takes no lock.
 */
Datum
ducto_my_grants(PG_FUNCTION_ARGS)
{
	return grants_read(fcinfo, identity_get(), MY_MAX_ROWS);
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

	return transactions_read(fcinfo, identity_get(), max_rows, PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1));
}

/*
 * ducto_my_plan returns the plan of the user who calls, as ducto_get_user_plan
 * does. It takes no lock.
 */
Datum
ducto_my_plan(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(user_plan_read(fcinfo, identity_get()));
}
