/*
 * deduct.c
 *		Charging what a reserved operation really cost.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/hold.h"
#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/setting.h"
#include "base/uuid.h"
#include "credit/credit.h"

PG_FUNCTION_INFO_V1(ducto_deduct);

static const char *const overrun_words[] = {"reject", "clamp", "full", NULL};

/*
 * arg_overrun returns what to do with an amount that does not fit.
 */
const char *
arg_overrun(FunctionCallInfo fcinfo, int n)
{
	return arg_word(fcinfo, n, "overrun", overrun_words);
}

/*
 * Door of ducto_deduct.
 */
static void
settle_request(FunctionCallInfo fcinfo, SettleRequest *request)
{
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->reservation = arg_uuid(fcinfo, 1, "reservation_id");
	request->amount = arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	request->key = arg_key(fcinfo, 3, "idempotency_key");
	request->metadata = arg_metadata(fcinfo, 4, "metadata");
	request->model = arg_text(fcinfo, 5, "model");
	request->overrun = arg_overrun(fcinfo, 6);
	request->final = arg_bool_default(fcinfo, 7, true);
	request->allow_late = arg_bool_default(fcinfo, 8, true);
	request->skip_is_null = PG_ARGISNULL(9);
	request->skip_allowance = arg_bool_default(fcinfo, 9, false);
	request->team = arg_uuid_or_null(fcinfo, 10);
	if (!request->final && request->amount == 0)
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
 * settle_decide decides what of an amount is charged: as much as the limit, and
 * the rest by overrun.
 */
Rejection
settle_decide(const Account *acc, const Hold *hold, const SettleRequest *request, SettlePlan *plan)
{
	bool		late = hold->state == HOLD_EXPIRED;
	Money		own = late ? 0 : hold->remaining;
	Rejection	ceiling = settle_ceiling(hold, request->amount);
	Money		limit;

	if (hold->state == HOLD_SETTLED || hold->state == HOLD_RELEASED)
		return hold_rejection(hold);
	if (late && !request->allow_late)
		return hold_rejection(hold);
	if (ceiling != ACCEPTED)
		return ceiling;
	plan->skip_allowance = request->skip_is_null ? hold->skip_allowance : request->skip_allowance;
	limit = settle_limit(acc, hold, plan->skip_allowance);
	if (request->amount > limit && strcmp(request->overrun, "reject") == 0)
		return late ? hold_rejection(hold) : account_lacks(request->amount, account_available(acc) + own, hold->floor);

	plan->charge = strcmp(request->overrun, "full") == 0 ? request->amount : Min(request->amount, limit);
	plan->shortfall = request->amount - plan->charge;
	plan->allowance = plan->skip_allowance ? 0 : settle_allowance(acc, hold, plan->charge);
	plan->freed = request->final ? own : Min(own, plan->charge);
	plan->state = request->final ? HOLD_SETTLED : hold->state;
	Assert(plan->charge >= 0 && plan->charge <= request->amount);
	Assert(plan->shortfall >= 0);
	Assert(plan->allowance >= 0 && plan->allowance <= plan->charge);
	Assert(plan->freed >= 0 && plan->freed <= own);
	return ACCEPTED;
}

/*
 * Make the ledger entry of a deduct.
 */
static void
settle_entry(const SettleRequest *request, const Hold *hold, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = -request->amount;
	entry->type = TYPE_USAGE;
	entry->operation_type = hold->operation_type;
	entry->model = request->model != NULL ? request->model : hold->model;
	entry->idempotency_key = request->key;
	entry->actor = hold->has_actor ? request->user : NULL;
	entry->reference = request->reservation;
	entry->metadata = request->metadata;
	if (request->priced == NULL)
		return;
	entry->pricing = usage_explain(request->priced);
	entry->exact_price = request->priced->price.exact;
}

/*
 * Tell whether a deduct books an entry: it charges something, or a price that
 * is too small to charge anything yet.
 */
static bool
settle_books(const SettleRequest *request)
{
	return request->amount > 0 || (request->priced != NULL && request->priced->price.rest > 0);
}

/*
 * settle_free frees what a charge no longer holds, and lets the allowance pay
 * its part.
 */
void
settle_free(Account *acc, Hold *hold, const SettlePlan *plan)
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
 * Free what a deduct no longer holds, and let the caps count what it charges
 * instead.
 */
static void
settle_hold(Account *acc, Hold *hold, const SettlePlan *plan, LedgerEntry *entry)
{
	CapChange	change = {.model = entry->model, .spent = plan->charge - plan->allowance};
	CapVerdict	verdict;
	Money		held = hold->cap_held;

	settle_free(acc, hold, plan);
	change.actor = &hold->actor;
	change.held_model = hold->model;
	change.held = hold->cap_held - held;
	caps_apply(acc, &change, &verdict);
	entry->cap_warning = verdict.warning;
}

/*
 * Book a deduct on a locked account. An amount of 0 is remembered by the
 * reservation alone.
 */
static void
settle_book(Account *acc, Hold *hold, const SettleRequest *request, const SettlePlan *plan,
			LedgerEntry *entry)
{
	Assert(hold->state == HOLD_OPEN || hold->state == HOLD_EXPIRED);
	entry->shortfall = plan->shortfall;
	entry->allowance_consumed = plan->allowance;
	settle_hold(acc, hold, plan, entry);
	if (settle_books(request))
		account_debit(acc, entry, plan->charge - plan->allowance);
	else
		acc->closing_keys |= request->key != NULL;
	account_store(acc);
	if (!settle_books(request))
	{
		entry->balance_after = acc->balance;
		hold->closing_key = request->key;
		hold->closed_by_zero = true;
		hold->closing_balance = acc->balance;
	}
	hold_update(&acc->id, hold, acc->now);
}

/*
 * Tell of a deduct that was made.
 */
static void
settle_made(const SettleRequest *request, const LedgerEntry *entry, Deduction *deduction)
{
	deduction_from_entry(deduction, request->user, entry);
	deduction->booked = settle_books(request);
}

/*
 * settle_replay_zero tells of a deduct of 0 that was made before.
 */
void
settle_replay_zero(const SettleRequest *request, const Hold *hold, Deduction *deduction)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->user = request->user;
	deduction->balance_after = hold->closing_balance;
	deduction->idempotent = true;
}

/*
 * Charge within an open hold where there is nothing else to do. False:
 * nothing was done, and the deduct is to be made step by step.
 */
static bool
settle_at_once(const SettleRequest *request, Deduction *deduction)
{
	Account		after;
	AccountChange change;
	Hold		hold;
	bool		chain = setting_chain();
	Charge		charge = {.amount = request->amount};
	LedgerEntry entry = {0};

	if (request->priced != NULL)
	{
		charge.amount = request->priced->price.lower;
		charge.rest = request->priced->price.rest;
	}
	if (!settle_books(request) || request->skip_allowance || request->team != NULL)
		return false;
	if (chain)
	{
		if (!hold_peek(request->user, request->reservation, &hold))
			return false;
		settle_entry(request, &hold, &entry);
		ledger_link(request->user, &entry, &charge);
	}
	if (!hold_try_settle(request->user, request->reservation, &charge, request->final, &after, &change, &hold))
		return false;
	if (!chain)
		settle_entry(request, &hold, &entry);
	if (!debit_try_book(&after, &change, &entry))
	{
		hold_reopen(request->user, &hold);
		return false;
	}
	settle_made(request, &entry, deduction);
	return true;
}

/*
 * Charge a reservation step by step.
 */
static Rejection
settle_in_steps(SettleRequest *request, Deduction *deduction)
{
	Account		acc;
	Hold		hold;
	SettlePlan	plan = {0};
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;
	Rejection	rejection;
	Rest		carry;
	bool		found;

	found = reservation_lock(request->user, request->team, request->reservation, &acc, &hold);
	if (request->key != NULL)
		known = key_find(&acc, request->key, KEY_DEBIT, request->reservation,
						 found && hold.has_actor ? &hold.actor : NULL, &original);
	known = debit_repeat(known, &original, request->amount, request->priced);
	if (known == KEY_REPLAY)
	{
		deduction_replay(deduction, request->user, &original);
		return ACCEPTED;
	}
	if (known == KEY_CONFLICT)
		return deduction_none(deduction, request->user, request->amount, acc.balance, key_conflict(request->key));
	if (!found)
		return deduction_none(deduction, request->user, request->amount, acc.balance,
							  hold_missing(request->user, request->reservation));
	if (known == KEY_REPLAY_ZERO)
	{
		settle_replay_zero(request, &hold, deduction);
		return ACCEPTED;
	}

	rejection = request->priced == NULL ? ACCEPTED : usage_require(request->priced, &acc);
	carry = acc.carry;
	if (rejection == ACCEPTED && request->priced != NULL)
		request->amount = price_charge(&request->priced->price, &carry);
	if (rejection == ACCEPTED)
		rejection = settle_decide(&acc, &hold, request, &plan);
	if (rejection != ACCEPTED)
		return deduction_none(deduction, request->user, request->amount, acc.balance, rejection);
	acc.carry = carry;
	settle_entry(request, &hold, &entry);
	settle_book(&acc, &hold, request, &plan, &entry);
	settle_made(request, &entry, deduction);
	return ACCEPTED;
}

/*
 * settle_make charges what a reserved operation cost. The caller has connected
 * to SPI.
 */
Rejection
settle_make(SettleRequest *request, Deduction *deduction)
{
	return settle_at_once(request, deduction) ? ACCEPTED : settle_in_steps(request, deduction);
}

/*
 * ducto_deduct charges what a reserved operation cost and closes the
 * reservation. It locks the account. Arguments, rejections and errors: see
 * its COMMENT.
 */
Datum
ducto_deduct(PG_FUNCTION_ARGS)
{
	SettleRequest request;
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	memset(&request, 0, sizeof(request));
	settle_request(fcinfo, &request);
	query_begin();
	rejection = settle_make(&request, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * settle_usage charges a reservation what a usage costs, under the pricing
 * and the plan that it was reserved under, and closes it.
 */
Rejection
settle_usage(pg_uuid_t *user, pg_uuid_t *reservation, PricedUsage *priced, char *key,
			 Jsonb *metadata, const char *overrun, Deduction *deduction)
{
	char	   *plan_id;
	Pricing    *pricing = pricing_reserved(user, reservation, &plan_id);
	SettleRequest request = {
		.user = user,
		.reservation = reservation,
		.key = key,
		.metadata = metadata,
		.model = priced->usage.model,
		.overrun = overrun,
		.final = true,
		.allow_late = true,
		.skip_is_null = priced->usage.fixed_job == NULL,
		.skip_allowance = priced->usage.fixed_job != NULL,
		.priced = priced,
	};

	priced->pinned = pricing != NULL;
	usage_price(priced, pricing != NULL ? pricing : pricing_get_active(false), plan_id);
	request.amount = priced->price.total;
	return settle_make(&request, deduction);
}
