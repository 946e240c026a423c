/*
 * deduct.c
 *		Charging what a reserved operation really cost.
 */
#include "postgres.h"

#include "account/funds.h"
#include "account/hold.h"
#include "account/key.h"
#include "base/args.h"
#include "base/query.h"
#include "base/uuid.h"
#include "credit/debit.h"
#include "credit/there.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_deduct);

/*
 * Door of ducto_deduct.
 */
static void
settle_request(FunctionCallInfo fcinfo, Debit *debit)
{
	debit->user = arg_uuid(fcinfo, 0, "user_id");
	debit->reservation = arg_uuid(fcinfo, 1, "reservation_id");
	debit->amount = arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	debit->key = arg_key(fcinfo, 3, "idempotency_key");
	debit->metadata = arg_metadata(fcinfo, 4, "metadata");
	debit->model = arg_text(fcinfo, 5, "model");
	debit->overrun = arg_overrun(fcinfo, 6);
	debit->final = arg_bool_default(fcinfo, 7, true);
	debit->allow_late = arg_bool_default(fcinfo, 8, true);
	debit->skip_is_null = PG_ARGISNULL(9);
	debit->skip_allowance = arg_bool_default(fcinfo, 9, false);
	debit->team = arg_uuid_or_null(fcinfo, 10);
	if (!debit->final && debit->amount == 0)
		arg_reject("amount", money_to_cstring(0),
				   "\"amount\" must be greater than 0 when \"final\" is false.");
}

/*
 * Return how much of an amount can be charged: what the reservation holds
 * always, and beyond it the headroom of the account. A hold that counted on
 * the allowance backs nothing when it is to be skipped.
 */
static Money
settle_limit(const Account *acc, const Hold *hold, bool skip_allowance)
{
	Account		without = *acc;

	if (hold->state != HOLD_OPEN)
		return account_headroom(acc, hold->floor, skip_allowance);
	if (!skip_allowance || hold->skip_allowance)
		return hold->remaining + account_headroom(acc, hold->floor, skip_allowance);
	account_free(&without, hold->remaining, false, hold_promise(hold));
	return account_headroom(&without, hold->floor, true);
}

/*
 * Decide what of a charge the allowance pays: what is left of it, or what an
 * open hold was admitted on of it. Beyond that the promises pay what the hold
 * has and the balance has not: credits were spent on the strength of them.
 */
static Money
settle_allowance(const Account *acc, const Hold *hold, Money charge)
{
	Money		own = hold->state == HOLD_OPEN ? Min(hold_promise(hold), acc->promised) : 0;
	Money		paid = Min(charge, Max(allowance_left(acc, acc->now), own));
	Money		held = hold->state == HOLD_OPEN ? Min(charge, hold->remaining) : 0;
	Money		uncovered = held - paid - Max(acc->balance, 0);

	if (uncovered > 0 && !hold->skip_allowance)
		paid += Min(uncovered, Max(acc->promised - paid, 0));
	return paid;
}

/*
 * Decide whether an amount keeps to the ceiling of a reservation, if it has
 * one: what is left of it, or was when it expired.
 */
static Rejection
settle_ceiling(const Hold *hold, Money amount)
{
	Money		left = hold->state == HOLD_OPEN ? hold->remaining : hold->ceiling;

	if (!hold->has_ceiling || amount <= left)
		return ACCEPTED;
	return rejection_because(CEILING_REACHED, "Needed: %s; left of reservation %s: %s.", money_to_cstring(amount),
							 uuid_to_cstring(&hold->id), money_to_cstring(left));
}

/*
 * Return what becomes of what a reservation and its account do not have.
 */
static Overrun
settle_overrun(const Hold *hold, const Debit *debit)
{
	if (debit->overrun != OVERRUN_BY_MODE)
		return debit->overrun;
	return hold->billing_mode == BILLING_OVERDRAFT ? OVERRUN_FULL : OVERRUN_CLAMP;
}

/*
 * settle_decide decides what of an amount is charged: as much as the limit, and
 * the rest by overrun.
 */
Rejection
settle_decide(const Account *acc, const Hold *hold, const Debit *debit, DebitPlan *plan)
{
	bool		late = hold->state == HOLD_EXPIRED;
	Money		own = late ? 0 : hold->remaining;
	Rejection	ceiling = settle_ceiling(hold, debit->amount);
	Overrun		overrun = settle_overrun(hold, debit);
	bool		skip_allowance = debit->skip_is_null ? hold->skip_allowance : debit->skip_allowance;
	Money		limit;

	if (hold->state == HOLD_SETTLED || hold->state == HOLD_RELEASED)
		return hold_rejection(hold);
	if (late && !debit->allow_late)
		return hold_rejection(hold);
	if (ceiling != ACCEPTED)
		return ceiling;
	limit = settle_limit(acc, hold, skip_allowance);
	if (debit->amount > limit && overrun == OVERRUN_REJECT)
		return late ? hold_rejection(hold) : account_lacks(debit->amount, account_available(acc) + own, hold->floor);

	plan->charge = overrun == OVERRUN_FULL ? debit->amount : Min(debit->amount, limit);
	plan->shortfall = debit->amount - plan->charge;
	plan->allowance = skip_allowance ? 0 : settle_allowance(acc, hold, plan->charge);
	plan->freed = debit->final ? own : Min(own, plan->charge);
	plan->state = debit->final ? HOLD_SETTLED : hold->state;
	Assert(plan->charge >= 0 && plan->charge <= debit->amount);
	Assert(plan->shortfall >= 0);
	Assert(plan->allowance >= 0 && plan->allowance <= plan->charge);
	Assert(plan->freed >= 0 && plan->freed <= own);
	return ACCEPTED;
}

/*
 * settle_free frees what a charge no longer holds, and lets the allowance pay
 * its part.
 */
void
settle_free(Account *acc, Hold *hold, const DebitPlan *plan)
{
	Money		promise = hold_promise(hold);

	hold->state = plan->state;
	hold->remaining = plan->state == HOLD_OPEN ? hold->remaining - plan->freed : 0;
	hold->cap_held = Min(hold->cap_held, hold->remaining);
	Assert(plan->freed <= acc->held);
	if (plan->state == HOLD_EXPIRED)
		hold->ceiling -= plan->charge;
	acc->held -= plan->freed;
	if (hold->skip_allowance)
		acc->held_from_credits -= plan->freed;
	allowance_take(acc, plan->allowance, promise - hold_promise(hold));
}

/*
 * ducto_deduct charges what a reserved operation cost and closes the
 * reservation. It locks the account. Arguments, rejections and errors: see
 * its COMMENT.
 */
Datum
ducto_deduct(PG_FUNCTION_ARGS)
{
	Debit		debit = {0};
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	if (deduct_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	settle_request(fcinfo, &debit);
	query_begin();
	rejection = debit_make(&debit, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * settle_usage charges a reservation what a usage costs, under the pricing
 * and the plan that it was reserved under, and closes it.
 */
Rejection
settle_usage(Debit *debit, Deduction *deduction)
{
	char	   *plan_id;
	Pricing    *pricing = pricing_reserved(debit->user, debit->reservation, &plan_id);

	debit->priced->pinned = pricing != NULL;
	usage_price(debit->priced, pricing != NULL ? pricing : pricing_get_active(false), plan_id);
	charge_of_usage(debit);
	debit->final = true;
	debit->allow_late = true;
	debit->skip_is_null = !debit->skip_allowance;
	return debit_make(debit, deduction);
}
