/*
 * charge.c
 *		Charging in one step, without a reservation.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/funds.h"
#include "account/key.h"
#include "base/args.h"
#include "base/query.h"
#include "base/there.h"
#include "credit/debit.h"
#include "credit/there.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_charge);
PG_FUNCTION_INFO_V1(ducto_charge_usage);

/*
 * charge_terms is the door of ducto_charge but for the amount.
 */
void
charge_terms(FunctionCallInfo fcinfo, Debit *debit)
{
	debit->user = arg_uuid(fcinfo, 0, "user_id");
	debit->key = arg_key(fcinfo, 2, "idempotency_key");
	debit->metadata = arg_metadata(fcinfo, 3, "metadata");
	debit->model = arg_text(fcinfo, 4, "model");
	debit->has_floor = !PG_ARGISNULL(5);
	debit->floor = PG_ARGISNULL(5) ? 0 : arg_money(fcinfo, 5, "min_balance", MONEY_NOT_NEGATIVE);
	debit->operation_type = arg_text_default(fcinfo, 6, "operation_type", "usage");
	debit->skip_allowance = arg_bool_default(fcinfo, 7, false);
	debit->required_feature = arg_text(fcinfo, 8, "required_feature");
	debit->overrun = arg_overrun(fcinfo, 9);
}

/*
 * Return the floor of a charge: what was asked for, else the overdraft floor
 * of the user's plan, else 0.
 */
static Money
charge_floor(const Account *acc, const Debit *debit)
{
	Policy		policy;

	if (debit->has_floor)
		return debit->floor;
	plan_policy(&acc->plan, debit->operation_type, &policy);
	return policy.has_floor && policy.billing_mode == BILLING_OVERDRAFT ? policy.overdraft_floor : 0;
}

/*
 * charge_decide decides whether a locked account admits a charge, how much of it
 * by overrun, and lets its caps count that.
 */
Rejection
charge_decide(Account *acc, const Debit *debit, DebitPlan *plan)
{
	Money		floor = charge_floor(acc, debit);
	Money		limit = account_headroom(acc, floor, debit->skip_allowance);
	CapChange	change = {.model = debit->model};
	CapVerdict	verdict;
	JsonbValue	value;

	Assert(debit->amount >= 0);
	plan->charge = debit->overrun == OVERRUN_CLAMP ? Min(debit->amount, limit) : debit->amount;
	plan->allowance = debit->skip_allowance ? 0 : Min(allowance_left(acc, acc->now), plan->charge);
	plan->shortfall = debit->amount - plan->charge;
	Assert(plan->allowance >= 0 && plan->allowance <= plan->charge);
	change.spent = plan->charge - plan->allowance;
	if (debit->required_feature != NULL && !plan_has_feature(&acc->plan, debit->required_feature, &value))
		return feature_missing(&acc->plan, debit->required_feature);
	if (plan->charge > limit && debit->overrun != OVERRUN_FULL)
		return caps_would_deny(acc, &change, false) ? CAP_REACHED : account_lacks(debit->amount, account_available(acc), floor);
	if (!caps_admit(acc, &change, &verdict))
		return CAP_REACHED;
	plan->cap_warning = verdict.warning;
	return ACCEPTED;
}

/*
 * ducto_charge charges credits in one step, without a reservation. It locks
 * the account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_charge(PG_FUNCTION_ARGS)
{
	Debit		debit;
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	if (charge_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	memset(&debit, 0, sizeof(debit));
	charge_terms(fcinfo, &debit);
	debit.amount = arg_money(fcinfo, 1, "amount", MONEY_NOT_NEGATIVE);
	query_begin();
	rejection = debit_make(&debit, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * charge_of_usage makes a charge that of a usage, at its price.
 */
void
charge_of_usage(Debit *debit)
{
	PricedUsage *priced = debit->priced;

	debit->model = priced->usage.model;
	debit->skip_allowance |= priced->usage.fixed_job != NULL;
	debit->amount = priced->price.total;
}

/*
 * Charge the price of a usage: by the version that was active when this
 * backend last looked, if it still is. A call that was sent to the account
 * looks first, as Citus lets it ask no other table in the account's update.
 */
static Rejection
charge_usage(Debit *debit, Deduction *deduction)
{
	PricedUsage *priced = debit->priced;
	Pricing    *assumed = call_is_from_elsewhere() ? pricing_get_active(false) : pricing_assume_active();
	Pricing    *active;

	debit->operation_type = "usage";
	if (assumed != NULL)
	{
		usage_price(priced, assumed, NULL);
		charge_of_usage(debit);
		if (debit_at_once(debit, deduction))
			return ACCEPTED;
	}
	active = pricing_get_active(false);
	if (assumed == NULL || active != assumed)
		usage_price(priced, active, NULL);
	charge_of_usage(debit);
	return debit_in_steps(debit, deduction);
}

/*
 * ducto_charge_usage charges what a usage costs, with a reservation or
 * without. It locks the account. Arguments, rejections and errors: see its
 * COMMENT.
 */
Datum
ducto_charge_usage(PG_FUNCTION_ARGS)
{
	PricedUsage priced = {0};
	Debit		debit = {.priced = &priced};
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	if (charge_usage_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	debit.user = arg_uuid(fcinfo, 0, "user_id");
	arg_usage(fcinfo, 1, "usage", &priced.usage);
	debit.reservation = arg_uuid_or_null(fcinfo, 2);
	debit.key = arg_key(fcinfo, 3, "idempotency_key");
	debit.metadata = arg_metadata(fcinfo, 4, "metadata");
	debit.overrun = arg_overrun(fcinfo, 5);

	query_begin();
	rejection = debit.reservation != NULL ? settle_usage(&debit, &deduction) : charge_usage(&debit, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
