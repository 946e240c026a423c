/*
 * plans.c
 *		Plans of users: allowance and features.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/funds.h"
#include "account/ledger.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/period.h"
#include "base/query.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/zone.h"
#include "credit/here.h"
#include "credit/plans.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_set_user_plan);
PG_FUNCTION_INFO_V1(ducto_get_user_plan);
PG_FUNCTION_INFO_V1(ducto_check_allowance);
PG_FUNCTION_INFO_V1(ducto_increment_usage_window);
PG_FUNCTION_INFO_V1(ducto_check_feature);

/*
 * Tell whether two texts are the same, or both NULL.
 */
static bool
text_is(const char *one, const char *other)
{
	return one == NULL || other == NULL ? one == other : strcmp(one, other) == 0;
}

/*
 * Note that a locked account gets a plan in the place of another, NULL for none.
 */
static void
plan_tell(Account *acc, const char *before, const char *plan_id)
{
	JsonOut		payload;

	if (text_is(before, plan_id))
		return;
	event_begin(&payload);
	event_text(&payload, "from", before);
	event_text(&payload, "to", plan_id);
	event_add(acc, NULL, EVENT_PLAN_CHANGED, &payload);
}

/*
 * Tell whether a locked account has a plan, or none, already, and a cycle that
 * goes on as chosen.
 */
static bool
plan_goes_on(const Account *acc, const char *plan_id, const CycleChoice *choice)
{
	return text_is(acc->plan_id, plan_id) && !TIMESTAMP_IS_NOBEGIN(acc->cycle.end) &&
		(choice == NULL || (acc->anchor == choice->anchor && text_is(acc->zone_name, choice->zone_name)));
}

/*
 * Give a user a plan in the place of another at once, where that is all there is
 * to do. False: nothing was written.
 */
static bool
plan_try_assign(const pg_uuid_t *user, UserPlan *plan, const CycleChoice *choice)
{
	Account		acc;
	char	   *before;

	if (choice != NULL && (!TIMESTAMP_IS_NOBEGIN(choice->anchor) || choice->zone_name != NULL))
		return false;
	if (!account_try_switch(user, plan, &acc, &before))
		return false;
	plan_tell(&acc, before, plan->id);
	events_write(&acc);
	return true;
}

/*
 * plan_assign gives a user a plan or, for NULL, takes it away. Cycles are as
 * chosen, or go on as they do for NULL. It locks the account, and writes nothing
 * where the user has the plan already. The caller has connected to SPI.
 */
Rejection
plan_assign(const pg_uuid_t *user, char *plan_id, const CycleChoice *choice)
{
	Account		acc;
	UserPlan	plan = {0};
	bool		same;

	if (plan_id != NULL && !plan_lock(plan_id, &plan))
	{
		account_check_user(user);
		return plan_missing(plan_id);
	}
	if (plan_id != NULL && plan_try_assign(user, &plan, choice))
		return ACCEPTED;
	account_lock_or_create(user, &acc);
	plan_tell(&acc, acc.plan_id, plan_id);
	same = plan_goes_on(&acc, plan_id, choice);
	if (!text_is(acc.plan_id, plan_id))
		acc.plan_id = plan_id;
	if (choice != NULL)
	{
		acc.anchor = choice->anchor;
		acc.zone_name = choice->zone_name;
		acc.zone = zone_find(acc.zone_name);
	}
	acc.plan = plan;
	if (same && acc.caps == 0 && !caps_are_stale(&acc))
		return ACCEPTED;
	if (!same)
		account_begin_cycle(&acc);
	if (acc.caps > 0)
		caps_make(&acc);
	if (caps_are_stale(&acc))
		caps_sync(&acc);
	account_store(&acc);
	return ACCEPTED;
}

/*
 * ducto_set_user_plan gives a user a plan or takes it away. It locks the
 * account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_set_user_plan(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	char	   *plan_id = arg_text(fcinfo, 1, "plan_id");
	CycleChoice choice = {
		.anchor = PG_ARGISNULL(2) ? DT_NOBEGIN : arg_time(fcinfo, 2, "anchor"),
		.zone_name = arg_zone(fcinfo, 3, "timezone"),
	};
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	query_begin();
	rejection = plan_assign(user, plan_id, &choice);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_text(&row, plan_id);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * user_plan_read answers with the plan of a user.
 */
Datum
user_plan_read(FunctionCallInfo fcinfo, const pg_uuid_t *user)
{
	UserPlan	plan;
	ResultRow	row;
	Datum		result;

	query_begin();
	account_read_plan(user, &plan);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_text(&row, plan.id);
	result_text(&row, plan.name);
	result_money(&row, plan.free_allowance);
	result_metadata(&row, plan.features);
	result_text(&row, billing_modes[plan_billing_mode(&plan)]);
	result_metadata(&row, plan.per_operation);
	if (plan.max_concurrent > 0)
		result_int4(&row, plan.max_concurrent);
	else
		result_null(&row);
	if (plan.has_floor)
		result_money(&row, plan.overdraft_floor);
	else
		result_null(&row);
	result = result_end(&row);
	query_end();
	return result;
}

/*
 * ducto_get_user_plan returns the plan of a user. It takes no lock.
 */
Datum
ducto_get_user_plan(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Datum		result;

	if (call_reads(fcinfo, user, ducto_get_user_plan, &result))
		PG_RETURN_DATUM(result);
	PG_RETURN_DATUM(user_plan_read(fcinfo, user));
}

/*
 * Answer with the allowance of a plan, NULL for none, in the cycle of an
 * account.
 */
static Datum
allowance_result(FunctionCallInfo fcinfo, const Account *acc, const char *plan_id, Money free_allowance,
				 Rejection rejection)
{
	Period		cycle = account_cycle(acc, acc->now);
	Spend		used = plan_id != NULL ? allowance_used(acc, acc->now) : 0;
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_text(&row, plan_id);
	result_money(&row, free_allowance);
	result_spend(&row, used);
	result_money(&row, (Money) Max(free_allowance - used, 0));
	result_datum(&row, DateADTGetDatum(period_date(cycle.start, acc->zone)));
	result_datum(&row, DateADTGetDatum(period_date(cycle.end - 1, acc->zone)));
	result_time(&row, cycle.end);
	return result_end_with_error(&row, rejection);
}

/*
 * ducto_check_allowance returns what a user's plan allows in this cycle and
 * what of it is used. It takes no lock.
 */
Datum
ducto_check_allowance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Account		acc;
	RollTotals	totals;
	Datum		result;

	if (call_reads(fcinfo, user, ducto_check_allowance, &result))
		PG_RETURN_DATUM(result);
	query_begin();
	account_project(user, &acc, DT_NOEND, &totals);
	account_require_user(&acc);
	result = allowance_result(fcinfo, &acc, acc.plan.id, acc.plan.free_allowance, ACCEPTED);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * Book usage that the allowance of a plan pays, whether it suffices or not, at
 * once where that is all there is to do. False: nothing was booked.
 */
static bool
window_try_book(const pg_uuid_t *user, const UserPlan *plan, LedgerEntry *entry, Account *acc)
{
	if (entry->allowance_consumed == 0 || setting_chain() ||
		!account_try_consume(user, plan, entry->allowance_consumed, acc))
		return false;
	if (!ledger_insert(acc, entry))
		row_missing("ledger");
	return true;
}

/*
 * Book it on a locked account.
 */
static void
window_book(Account *acc, LedgerEntry *entry)
{
	if (entry->allowance_consumed == 0)
		return;
	allowance_consume(acc, entry->allowance_consumed);
	ledger_append(acc, entry);
	account_store(acc);
}

/*
 * usage_increment counts usage that was metered elsewhere on the allowance of a
 * plan. It locks the account. The caller has connected to SPI.
 */
Rejection
usage_increment(const pg_uuid_t *user, const char *plan_id, Money amount, Account *acc, UserPlan *plan)
{
	LedgerEntry entry = {.type = TYPE_USAGE, .operation_type = "usage", .allowance_consumed = amount};
	bool		exists;

	if (plan_find(plan_id, plan, false) && window_try_book(user, plan, &entry, acc))
		return ACCEPTED;
	exists = account_lock(user, acc);
	if (text_is(acc->plan.id, plan_id))
		*plan = acc->plan;
	else if (!plan_find(plan_id, plan, false))
		return plan_missing(plan_id);
	if (!exists)
		account_lock_or_create(user, acc);
	window_book(acc, &entry);
	return ACCEPTED;
}

/*
 * ducto_increment_usage_window counts usage that was metered elsewhere. It
 * locks the account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_increment_usage_window(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	char	   *plan_id;
	Money		amount = arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	Account		acc;
	UserPlan	plan;
	Rejection	rejection;
	Datum		result;

	arg_require(fcinfo, 1, "plan_id");
	plan_id = arg_text(fcinfo, 1, "plan_id");
	query_begin();
	rejection = usage_increment(user, plan_id, amount, &acc, &plan);
	result = allowance_result(fcinfo, &acc, plan.id, plan.free_allowance, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_check_feature tells whether a user's plan has a feature. It takes no
 * lock.
 */
Datum
ducto_check_feature(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	char	   *feature;
	Account		acc;
	JsonbValue	value;
	bool		has_feature;
	ResultRow	row;
	Datum		result;

	if (call_reads(fcinfo, user, ducto_check_feature, &result))
		PG_RETURN_DATUM(result);
	arg_require(fcinfo, 1, "feature");
	feature = arg_text(fcinfo, 1, "feature");
	query_begin();
	account_read_user(user, &acc);
	value.type = jbvNull;
	has_feature = plan_has_feature(&acc.plan, feature, &value);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_text(&row, feature);
	if (value.type == jbvNull)
		result_null(&row);
	else
		result_datum(&row, JsonbPGetDatum(JsonbValueToJsonb(&value)));
	result_bool(&row, has_feature);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
