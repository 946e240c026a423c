/*
 * charge.c
 *		Charging in one step, without a reservation.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/setting.h"
#include "credit/credit.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_charge);
PG_FUNCTION_INFO_V1(ducto_charge_usage);

/*
 * charge_terms is the door of ducto_charge but for the amount.
 */
void
charge_terms(FunctionCallInfo fcinfo, ChargeRequest *request)
{
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->key = arg_key(fcinfo, 2, "idempotency_key");
	request->metadata = arg_metadata(fcinfo, 3, "metadata");
	request->model = arg_text(fcinfo, 4, "model");
	request->has_floor = !PG_ARGISNULL(5);
	request->floor = PG_ARGISNULL(5) ? 0 : arg_money(fcinfo, 5, "min_balance", MONEY_NOT_NEGATIVE);
	request->operation_type = arg_text_default(fcinfo, 6, "operation_type", "usage");
	request->skip_allowance = arg_bool_default(fcinfo, 7, false);
	request->required_feature = arg_text(fcinfo, 8, "required_feature");
	request->overrun = arg_overrun(fcinfo, 9);
}

/*
 * charge_books tells whether a charge books an entry: it charges something, or a
 * price that is too small to charge anything yet.
 */
bool
charge_books(const ChargeRequest *request)
{
	return request->amount > 0 || (request->priced != NULL && request->priced->price.rest > 0);
}

/*
 * Make the ledger entry of a charge.
 */
static void
charge_entry(const ChargeRequest *request, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = -request->amount;
	entry->type = TYPE_USAGE;
	entry->operation_type = request->operation_type;
	entry->model = request->model;
	entry->idempotency_key = request->key;
	entry->metadata = request->metadata;
	if (request->priced == NULL)
		return;
	entry->pricing = usage_explain(request->priced);
	entry->exact_price = request->priced->price.exact;
}

/*
 * Charge an account where there is nothing else to do: lock, decision and
 * booking are one statement, which also makes sure that a price is one of the
 * active pricing. False: nothing was done, and the charge is to be made step
 * by step.
 */
static bool
charge_at_once(const ChargeRequest *request, Deduction *deduction)
{
	const pg_uuid_t *pricing = request->priced != NULL ? pricing_id(request->priced->pricing) : NULL;
	Charge		charge = {.amount = request->amount};
	bool		chain = setting_chain();
	Account		after;
	AccountChange change;
	LedgerEntry entry = {0};

	if (!charge_books(request) || request->floor < 0 || request->required_feature != NULL)
		return false;
	if (request->priced != NULL)
	{
		charge.amount = request->priced->price.lower;
		charge.rest = request->priced->price.rest;
	}
	if (chain)
	{
		charge_entry(request, &entry);
		ledger_link(request->user, &entry, &charge);
	}
	if (!account_try_charge(request->user, &charge, request->floor, pricing, &after, &change))
		return false;
	if (!chain)
		charge_entry(request, &entry);
	if (!debit_try_book(&after, &change, &entry))
		return false;
	deduction_from_entry(deduction, request->user, &entry);
	return true;
}

/*
 * Return the floor of a charge: what was asked for, else the overdraft floor
 * of the user's plan, else 0.
 */
static Money
charge_floor(const Account *acc, const ChargeRequest *request)
{
	Policy		policy;

	if (request->has_floor)
		return request->floor;
	plan_policy(&acc->plan, request->operation_type, &policy);
	return policy.has_floor && strcmp(policy.billing_mode, "overdraft") == 0 ? policy.overdraft_floor : 0;
}

/*
 * Decide whether a locked account admits a charge, how much of it by overrun,
 * and let its caps count that.
 */
static Rejection
charge_decide(const Account *acc, const ChargeRequest *request, LedgerEntry *entry)
{
	Money		floor = charge_floor(acc, request);
	Money		limit = account_headroom(acc, floor, request->skip_allowance);
	bool		clamp = request->overrun != NULL && strcmp(request->overrun, "clamp") == 0;
	bool		full = request->overrun != NULL && strcmp(request->overrun, "full") == 0;
	Money		charge = clamp ? Min(request->amount, limit) : request->amount;
	Money		allowance = request->skip_allowance ? 0 : Min(allowance_left(acc, acc->now), charge);
	CapChange	change = {.model = request->model, .spent = charge - allowance};
	CapVerdict	verdict;
	JsonbValue	value;

	entry->amount = -change.spent;
	entry->allowance_consumed = allowance;
	entry->shortfall = request->amount - charge;
	Assert(request->amount >= 0);
	Assert(allowance >= 0 && allowance <= charge);
	if (request->required_feature != NULL && !plan_has_feature(&acc->plan, request->required_feature, &value))
		return feature_missing(&acc->plan, request->required_feature);
	if (charge > limit && !full)
		return caps_would_deny(acc, &change, false) ? CAP_REACHED : account_lacks(request->amount, account_available(acc), floor);
	if (!caps_admit(acc, &change, &verdict))
		return CAP_REACHED;
	entry->cap_warning = verdict.warning;
	return ACCEPTED;
}

/*
 * Book a charge on a locked account.
 */
static void
charge_book(Account *acc, LedgerEntry *entry)
{
	allowance_take(acc, entry->allowance_consumed, 0);
	account_debit(acc, entry, -entry->amount);
	account_store(acc);
}

/*
 * charge_locked charges a locked account, unless the charge is admitted and there
 * is none yet.
 */
Rejection
charge_locked(ChargeRequest *request, Account *acc, Deduction *deduction)
{
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;
	Rejection	rejection = ACCEPTED;
	Rest		carry = acc->carry;

	if (request->key != NULL)
		known = debit_repeat(key_find(acc, request->key, KEY_DEBIT, NULL, NULL, &original), &original,
							 request->amount, request->priced);
	if (known == KEY_REPLAY)
	{
		deduction_replay(deduction, request->user, &original);
		return ACCEPTED;
	}
	if (known == KEY_CONFLICT)
		return deduction_none(deduction, request->user, request->amount, acc->balance, key_conflict(request->key));

	if (request->priced != NULL)
		rejection = usage_require(request->priced, acc);
	if (rejection != ACCEPTED)
		return deduction_none(deduction, request->user, request->amount, acc->balance, rejection);
	if (request->priced != NULL)
		request->amount = price_charge(&request->priced->price, &carry);
	charge_entry(request, &entry);
	rejection = charge_decide(acc, request, &entry);
	if (rejection != ACCEPTED || !charge_books(request))
		return deduction_none(deduction, request->user, request->amount, acc->balance, rejection);
	if (!acc->exists)
		return ACCEPTED;
	acc->carry = carry;
	charge_book(acc, &entry);
	deduction_from_entry(deduction, request->user, &entry);
	return ACCEPTED;
}

/*
 * Charge an account step by step. A new user's, which can only get a shortfall,
 * a debt or a price that charges nothing yet, is made when that is what the
 * caller wants.
 */
static Rejection
charge_in_steps(ChargeRequest *request, Deduction *deduction)
{
	Account		acc;
	Rejection	rejection;

	account_lock(request->user, &acc);
	rejection = charge_locked(request, &acc, deduction);
	if (acc.exists || rejection != ACCEPTED || !charge_books(request))
		return rejection;
	account_lock_or_create(request->user, &acc);
	return charge_locked(request, &acc, deduction);
}

/*
 * charge_make charges credits in one step, without a reservation. The caller
 * has connected to SPI.
 */
Rejection
charge_make(ChargeRequest *request, Deduction *deduction)
{
	return charge_at_once(request, deduction) ? ACCEPTED : charge_in_steps(request, deduction);
}

/*
 * ducto_charge charges credits in one step, without a reservation. It locks
 * the account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_charge(PG_FUNCTION_ARGS)
{
	ChargeRequest request;
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	memset(&request, 0, sizeof(request));
	charge_terms(fcinfo, &request);
	request.amount = arg_money(fcinfo, 1, "amount", MONEY_NOT_NEGATIVE);
	query_begin();
	rejection = charge_make(&request, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * charge_of_usage makes a charge that of a usage, at its price.
 */
void
charge_of_usage(ChargeRequest *request)
{
	PricedUsage *priced = request->priced;

	request->model = priced->usage.model;
	request->skip_allowance |= priced->usage.fixed_job != NULL;
	request->amount = priced->price.total;
}

/*
 * Charge the price of a usage: by the version that was active when this
 * backend last looked, if it still is.
 */
static Rejection
charge_usage(ChargeRequest *request, Deduction *deduction)
{
	PricedUsage *priced = request->priced;
	Pricing    *assumed = pricing_assume_active();
	Pricing    *active;

	request->operation_type = "usage";
	if (assumed != NULL)
	{
		usage_price(priced, assumed, NULL);
		charge_of_usage(request);
		if (charge_at_once(request, deduction))
			return ACCEPTED;
	}
	active = pricing_get_active(false);
	if (assumed == NULL || active != assumed)
		usage_price(priced, active, NULL);
	charge_of_usage(request);
	return charge_in_steps(request, deduction);
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
	ChargeRequest request = {.priced = &priced};
	pg_uuid_t  *reservation = arg_uuid_or_null(fcinfo, 2);
	Deduction	deduction;
	Rejection	rejection;
	Datum		result;

	request.user = arg_uuid(fcinfo, 0, "user_id");
	arg_usage(fcinfo, 1, "usage", &priced.usage);
	request.key = arg_key(fcinfo, 3, "idempotency_key");
	request.metadata = arg_metadata(fcinfo, 4, "metadata");
	request.overrun = arg_overrun(fcinfo, 5);

	query_begin();
	if (reservation != NULL)
		rejection = settle_usage(request.user, reservation, &priced, request.key, request.metadata, request.overrun,
								 &deduction);
	else
		rejection = charge_usage(&request, &deduction);
	result = deduction_result(fcinfo, &deduction, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
