/*
 * read.c
 *		What the SDKs read of users, teams and the pricing. Nothing is locked.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "account/funds.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/period.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/caps.h"
#include "credit/teams.h"
#include "sdk/answer.h"

PG_FUNCTION_INFO_V1(ducto_sdk_get_credits_balance);
PG_FUNCTION_INFO_V1(ducto_sdk_get_available_credits);
PG_FUNCTION_INFO_V1(ducto_sdk_get_user_plan);
PG_FUNCTION_INFO_V1(ducto_sdk_check_plan_allowance);
PG_FUNCTION_INFO_V1(ducto_sdk_check_spend_cap);
PG_FUNCTION_INFO_V1(ducto_sdk_get_team_balance);
PG_FUNCTION_INFO_V1(ducto_sdk_get_team_members);
PG_FUNCTION_INFO_V1(ducto_sdk_get_active_pricing_config);
PG_FUNCTION_INFO_V1(ducto_sdk_get_pricing_config);
PG_FUNCTION_INFO_V1(ducto_sdk_get_pricing_history);
PG_FUNCTION_INFO_V1(ducto_sdk_get_pricing_configs);

#define VERSION_ANSWER \
	"SELECT jsonb_build_object('id', id, 'config', config, 'version', version, 'label', label) FROM ducto.pricing WHERE "

static KeptQuery active_query = {
	.sql = VERSION_ANSWER "active"
};

static KeptQuery version_query = {
	.sql = VERSION_ANSWER "version = $1",
	.types = {INT4OID}
};

static KeptQuery history_query = {
	.sql = "SELECT id, version, label, active, created_at FROM ducto.pricing ORDER BY version DESC"
};

static KeptQuery configs_query = {
	.sql = "SELECT jsonb_build_object('id', id, 'version', version, 'label', label, 'active', active, 'created_at', created_at)"
	" FROM ducto.pricing ORDER BY version DESC"
};

/*
 * ducto_sdk_get_credits_balance is ducto_get_balance for the SDKs.
 */
Datum
ducto_sdk_get_credits_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	JsonOut		out = {0};
	Account		acc;
	Datum		answer;

	query_begin();
	account_show(user, &acc);
	sdk_begin(&out, ACCEPTED);
	put_uuid(&out, "user_id", user);
	put_money(&out, "balance", acc.balance);
	put_text(&out, "lifetime_purchased", spend_to_cstring(acc.lifetime_purchased));
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_get_available_credits is ducto_get_balance for the SDKs, of what is
 * held.
 */
Datum
ducto_sdk_get_available_credits(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	JsonOut		out = {0};
	Account		acc;
	Datum		answer;

	query_begin();
	account_show(user, &acc);
	sdk_begin(&out, ACCEPTED);
	put_uuid(&out, "user_id", user);
	put_money(&out, "balance", acc.balance);
	put_money(&out, "reserved", acc.held);
	put_money(&out, "available", account_available(&acc));
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_get_user_plan is ducto_get_user_plan for the SDKs.
 */
Datum
ducto_sdk_get_user_plan(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	JsonOut		out = {0};
	UserPlan	plan;
	Datum		answer;

	query_begin();
	account_read_plan(user, &plan);
	sdk_begin(&out, ACCEPTED);
	put_uuid(&out, "user_id", user);
	put_plan(&out, plan.id);
	put_text(&out, "plan_name", plan.name);
	put_money(&out, "free_allowance", plan.free_allowance);
	put_object(&out, "features", plan.features);
	put_text(&out, "default_billing_mode", billing_modes[plan_billing_mode(&plan)]);
	put_object(&out, "per_operation", plan.per_operation);
	if (plan.max_concurrent > 0)
		put_int(&out, "max_concurrent", plan.max_concurrent);
	else
		put_text(&out, "max_concurrent", NULL);
	put_text(&out, "overdraft_floor", plan.has_floor ? money_to_cstring(plan.overdraft_floor) : NULL);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_check_plan_allowance is ducto_check_allowance for the SDKs.
 */
Datum
ducto_sdk_check_plan_allowance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	JsonOut		out = {0};
	Account		acc;
	RollTotals	totals;
	Datum		answer;

	query_begin();
	account_project(user, &acc, DT_NOEND, &totals);
	account_require_user(&acc);
	sdk_begin(&out, ACCEPTED);
	if (acc.plan.id == NULL)
		put_text(&out, "allowance_remaining", "0");
	else
	{
		Period		cycle = account_cycle(&acc, acc.now);

		put_plan(&out, acc.plan.id);
		put_money(&out, "allowance_remaining", allowance_left(&acc, acc.now));
		put_date(&out, "period_start", period_date(cycle.start, acc.zone));
		put_date(&out, "period_end", period_date(cycle.end - 1, acc.zone));
	}
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_check_spend_cap is ducto_check_spend_cap for the SDKs.
 */
Datum
ducto_sdk_check_spend_cap(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	const char *model = arg_text_default(fcinfo, 1, "p_model", "");
	Money		amount = 0;
	JsonOut		out = {0};
	CapCheck	check;
	Datum		answer;

	if (!PG_ARGISNULL(2) && !sdk_amount(fcinfo, 2, SDK_NOT_NEGATIVE, &amount, &answer))
		PG_RETURN_DATUM(answer);
	query_begin();
	cap_check(user, model, amount, &check);
	sdk_begin(&out, ACCEPTED);
	put_bool(&out, "capped", check.capped);
	put_text(&out, "current_spend", spend_to_cstring(check.current_spend));
	put_text(&out, "cap_limit", check.applies ? money_to_cstring(check.limit) : NULL);
	put_text(&out, "action", cap_actions[check.action]);
	put_text(&out, "model", check.model);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_get_team_balance is ducto_get_team_balance for the SDKs.
 */
Datum
ducto_sdk_get_team_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "p_team_id");
	JsonOut		out = {0};
	TeamBalance balance;
	Datum		answer;

	query_begin();
	if (sdk_begin(&out, team_read(team, &balance)))
	{
		put_uuid(&out, "team_id", team);
		put_text(&out, "name", balance.name);
		put_money(&out, "balance", balance.balance);
		put_int(&out, "member_count", balance.members);
	}
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * Put a member of a team into the result of a function.
 */
static bool
put_member(TupleTableSlot *slot, void *state)
{
	ResultRow  *row = state;
	JsonOut		out = {0};

	slot_getallattrs(slot);
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	put_uuid(&out, "user_id", DatumGetUUIDP(slot->tts_values[LISTED_MEMBER]));
	put_text(&out, "role", TextDatumGetCString(slot->tts_values[LISTED_ROLE]));
	if (slot->tts_isnull[LISTED_CAP])
		put_text(&out, "spend_cap", NULL);
	else
		put_figure(&out, "spend_cap", slot->tts_values[LISTED_CAP]);
	put_figure(&out, "total_spent", slot->tts_values[LISTED_SPENT]);
	put_time(&out, "joined_at", DatumGetTimestampTz(slot->tts_values[LISTED_JOINED_AT]));
	result_datum(row, JsonbPGetDatum(jsonout_end(&out)));
	result_put(row);
	return true;
}

/*
 * ducto_sdk_get_team_members is ducto_get_team_members for the SDKs.
 */
Datum
ducto_sdk_get_team_members(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "p_team_id");
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	query_begin();
	team_members(team, put_member, &row);
	query_end();
	return (Datum) 0;
}

/*
 * Answer with the object that a query has found, NULL for none.
 */
static Datum
object_found(FunctionCallInfo fcinfo, KeptQuery *query, QueryArgs *args)
{
	Datum		answer = (Datum) 0;

	query_begin();
	fcinfo->isnull = query_read(query, args) == 0;
	if (!fcinfo->isnull)
	{
		Jsonb	   *found = DatumGetJsonbP(row_datum(0, 1));

		answer = PointerGetDatum(SPI_palloc(VARSIZE(found)));
		memcpy(DatumGetPointer(answer), found, VARSIZE(found));
	}
	query_end();
	return answer;
}

/*
 * ducto_sdk_get_active_pricing_config is ducto_get_active_pricing for the SDKs.
 */
Datum
ducto_sdk_get_active_pricing_config(PG_FUNCTION_ARGS)
{
	QueryArgs	none = {0};

	return object_found(fcinfo, &active_query, &none);
}

/*
 * ducto_sdk_get_pricing_config is ducto_get_pricing_config for the SDKs.
 */
Datum
ducto_sdk_get_pricing_config(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};

	arg_require(fcinfo, 0, "p_version");
	args_int4(&args, PG_GETARG_INT32(0));
	return object_found(fcinfo, &version_query, &args);
}

/*
 * ducto_sdk_get_pricing_history is ducto_get_pricing_history for the SDKs. What it
 * tells of a version is little, and need not stream.
 */
Datum
ducto_sdk_get_pricing_history(PG_FUNCTION_ARGS)
{
	QueryArgs	none = {0};
	ResultRow	row;
	uint64		n;

	result_set_begin(&row, fcinfo);
	query_begin();
	n = query_read(&history_query, &none);
	for (uint64 i = 0; i < n; i++)
	{
		for (int column = 1; column <= row.desc->natts; column++)
			if (row_is_null(i, column))
				result_null(&row);
			else
				result_datum(&row, row_datum(i, column));
		result_put(&row);
	}
	query_end();
	return (Datum) 0;
}

/*
 * ducto_sdk_get_pricing_configs is ducto_get_pricing_history for the SDKs, an
 * object for each version.
 */
Datum
ducto_sdk_get_pricing_configs(PG_FUNCTION_ARGS)
{
	QueryArgs	none = {0};

	query_begin();
	query_read_into(fcinfo, &configs_query, &none);
	query_end();
	return (Datum) 0;
}
