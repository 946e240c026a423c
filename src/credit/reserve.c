/*
 * reserve.c
 *		Holding credits for operations that are under way.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/event.h"
#include "account/claim.h"
#include "account/funds.h"
#include "account/hold.h"
#include "account/key.h"
#include "account/member.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/uuidv7.h"
#include "credit/here.h"
#include "credit/reserve.h"
#include "credit/there.h"

PG_FUNCTION_INFO_V1(ducto_reserve);
PG_FUNCTION_INFO_V1(ducto_reserve_usage);
PG_FUNCTION_INFO_V1(ducto_can_afford);

/* The terms that it is admitted on, and keeps. */
typedef struct ReserveTerms
{
	BillingMode billing_mode;
	Money		floor;
	int			max_concurrent; /* 0 = unlimited */
	Money		cap_held;		/* what the allowance does not pay */
	const char *plan_id;		/* NULL for none */
	PricingTerms pricing;
} ReserveTerms;

/*
 * arg_ttl returns how long a hold is to last, in seconds.
 */
int
arg_ttl(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? setting_reservation_ttl() : arg_int_between(fcinfo, n, "ttl_seconds", 1, TTL_MAX_SECONDS, 0);
}

/*
 * Door of ducto_reserve.
 */
static void
reserve_request(FunctionCallInfo fcinfo, ReserveRequest *request)
{
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->amount = arg_money(fcinfo, 1, "amount", MONEY_POSITIVE);
	request->operation_type = arg_text_default(fcinfo, 2, "operation_type", "usage");
	request->metadata = arg_metadata(fcinfo, 3, "metadata");
	request->has_min_balance = !PG_ARGISNULL(4);
	request->min_balance = request->has_min_balance ? arg_money(fcinfo, 4, "min_balance", MONEY_NOT_NEGATIVE) : 0;
	request->ttl_seconds = arg_ttl(fcinfo, 5);
	request->model = arg_text(fcinfo, 6, "model");
	request->billing_mode = (BillingMode) arg_choice(fcinfo, 7, "billing_mode", billing_modes);
	request->has_floor = !PG_ARGISNULL(8);
	request->overdraft_floor = request->has_floor ? arg_money(fcinfo, 8, "overdraft_floor", MONEY_NOT_POSITIVE) : 0;
	request->max_concurrent = arg_int_between(fcinfo, 9, "max_concurrent", 1, PG_INT32_MAX, 0);
	request->required_feature = arg_text(fcinfo, 10, "required_feature");
	request->key = arg_text(fcinfo, 11, "idempotency_key");
	request->team = arg_uuid_or_null(fcinfo, 12);
	request->skip_allowance = arg_bool_default(fcinfo, 13, false);
	request->ceiling = arg_bool_default(fcinfo, 14, false);
	if (request->team != NULL && request->required_feature != NULL)
		arg_reject("required_feature", psprintf("\"%s\"", request->required_feature),
				   "\"required_feature\" must be null when \"team_id\" is given: a team has no plan.");
}

/*
 * Resolve what the request leaves to plan and pricing, and check that billing
 * mode and overdraft floor go together.
 */
static void
reserve_terms(const ReserveRequest *request, const Account *acc, bool read_only, ReserveTerms *terms)
{
	Policy		policy;
	bool		overdraft;

	plan_policy(&acc->plan, request->operation_type, &policy);
	pricing_terms(&terms->pricing, read_only);
	terms->plan_id = acc->plan_id;
	terms->cap_held = account_need_of(acc, request->amount, request->skip_allowance);
	terms->billing_mode = request->billing_mode != BILLING_BY_PLAN ? request->billing_mode : policy.billing_mode;
	terms->max_concurrent = request->max_concurrent > 0 ? request->max_concurrent : policy.max_concurrent;
	overdraft = terms->billing_mode == BILLING_OVERDRAFT;
	if (overdraft && !request->has_floor && !policy.has_floor)
		arg_reject("overdraft_floor", "null",
				   "\"overdraft_floor\" must be given when \"billing_mode\" is overdraft.");
	if (!overdraft && request->has_floor)
		arg_reject("overdraft_floor", money_to_cstring(request->overdraft_floor),
				   "\"overdraft_floor\" must be null unless \"billing_mode\" is overdraft.");
	if (overdraft)
		terms->floor = request->has_floor ? request->overdraft_floor : policy.overdraft_floor;
	else
		terms->floor = request->has_min_balance ? request->min_balance : terms->pricing.min_balance;
}

/*
 * reserve_result is the answer of ducto_reserve and ducto_renew.
 */
Datum
reserve_result(FunctionCallInfo fcinfo, const Reserved *reserved, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, reserved->booked ? &reserved->reservation : NULL);
	result_uuid(&row, reserved->user);
	result_money(&row, reserved->amount);
	result_money(&row, reserved->balance);
	result_money(&row, reserved->reserved);
	result_money(&row, reserved->balance - reserved->reserved);
	result_text(&row, billing_modes[reserved->billing_mode]);
	result_time_or_null(&row, reserved->expires_at);
	result_bool(&row, reserved->idempotent);
	return result_end_with_error(&row, rejection);
}

/*
 * Tell of a rejected reserve.
 */
static Rejection
reserve_rejected(const ReserveRequest *request, const Account *acc, BillingMode billing_mode,
				 Rejection rejection, Reserved *reserved)
{
	memset(reserved, 0, sizeof(Reserved));
	reserved->user = request->user;
	reserved->amount = request->amount;
	reserved->balance = acc->balance;
	reserved->reserved = acc->held;
	reserved->allowance_left = allowance_left(acc, acc->now);
	reserved->billing_mode = billing_mode;
	reserved->expires_at = DT_NOEND;
	return rejection;
}

/*
 * Tell of a reservation as it was admitted, now or before.
 */
static void
reserve_made(const ReserveRequest *request, const Hold *hold, Reserved *reserved)
{
	memset(reserved, 0, sizeof(Reserved));
	reserved->booked = true;
	reserved->reservation = hold->id;
	reserved->user = request->user;
	reserved->amount = hold->amount;
	reserved->balance = hold->balance_after;
	reserved->reserved = hold->reserved_after;
	reserved->billing_mode = hold->billing_mode;
}

/*
 * Write the reservation of an account that holds its amount already. False:
 * its key is known.
 */
static bool
reserve_book(const ReserveRequest *request, const ReserveTerms *terms, const Account *acc, Reserved *reserved)
{
	Hold		hold = {
		.amount = request->amount,
		.remaining = request->amount,
		.operation_type = request->operation_type,
		.model = request->model,
		.billing_mode = terms->billing_mode,
		.floor = terms->floor,
		.idempotency_key = request->key,
		.balance_after = acc->balance,
		.reserved_after = acc->held,
		.skip_allowance = request->skip_allowance,
		.has_ceiling = request->ceiling,
		.ceiling = request->amount,
		.cap_held = terms->cap_held,
		.pricing_version = request->priced != NULL ? pricing_version(request->priced->pricing) : terms->pricing.version,
		.plan_id = terms->plan_id,
		.metadata = request->metadata,
		.created_at = acc->now,
		.first_expires_at = acc->now + request->ttl_seconds * USECS_PER_SEC,
		.expires_at = acc->now + request->ttl_seconds * USECS_PER_SEC,
	};

	if (request->team != NULL)
	{
		hold.has_actor = true;
		hold.actor = *request->user;
	}
	uuidv7_make(&hold.id, hold.created_at);
	if (!hold_insert(&acc->id, &hold))
		return false;
	reserve_made(request, &hold, reserved);
	reserved->allowance_left = allowance_left(acc, acc->now);
	reserved->expires_at = hold.expires_at;
	return true;
}

/*
 * Tell whether the row of an account without a plan can decide a request
 * alone: it is strict, and asks for nothing that is in other tables.
 */
static bool
reserve_is_plain(const ReserveRequest *request)
{
	if (request->priced != NULL && (request->priced->rejection != ACCEPTED || request->priced->failed))
		return false;
	return request->team == NULL && request->max_concurrent == 0 && request->required_feature == NULL && !request->skip_allowance &&
		request->billing_mode != BILLING_OVERDRAFT && !request->has_floor && request->min_balance >= 0;
}

/*
 * Reserve where there is nothing else to do: lock, decision and booking of
 * the account are one statement. False: nothing was done, and the reserve is
 * to be made step by step.
 */
static bool
reserve_at_once(const ReserveRequest *request, Reserved *reserved)
{
	ReserveTerms terms = {.billing_mode = BILLING_STRICT, .cap_held = request->amount};
	Account		after;
	AccountChange change;

	if (!reserve_is_plain(request))
		return false;
	if (!account_try_hold(request->user, request->amount, request->has_min_balance ? &request->min_balance : NULL,
						  request->ttl_seconds, &after, &change, &terms.pricing))
		return false;
	terms.floor = request->has_min_balance ? request->min_balance : terms.pricing.min_balance;
	if (reserve_book(request, &terms, &after, reserved))
		return true;
	account_undo(request->user, &change);
	return false;
}

/*
 * Decide whether the user may reserve on a locked account at all: is a member
 * of the team, has the feature.
 */
static Rejection
reserve_entitled(const Account *acc, const ReserveRequest *request)
{
	JsonbValue	value;

	if (acc->team && member_state(acc, request->user, 0, false) == MEMBER_ABSENT)
	{
		account_check_user(request->user);
		return member_missing(&acc->id, request->user);
	}
	if (request->required_feature != NULL && !plan_has_feature(&acc->plan, request->required_feature, &value))
		return feature_missing(&acc->plan, request->required_feature);
	return ACCEPTED;
}

/*
 * Decide whether a locked account admits a reservation, and let its caps
 * count it.
 */
static Rejection
reserve_decide(Account *acc, const ReserveRequest *request, const ReserveTerms *terms)
{
	CapChange	change = {.held_model = request->model, .held = terms->cap_held, .actor = request->user};
	CapVerdict	verdict;

	if (terms->max_concurrent > 0 && acc->exists &&
		holds_count_open(acc, request->operation_type, terms->max_concurrent, false) >= terms->max_concurrent)
		return rejection_because(CONCURRENCY_LIMIT, "Open reservations of the operation type \"%s\": no more than %d.",
								 request->operation_type, terms->max_concurrent);
	if (request->amount > account_headroom(acc, terms->floor, request->skip_allowance))
		return caps_would_deny(acc, &change, false) ? CAP_REACHED :
			account_lacks(request->amount, account_available(acc), terms->floor);
	return caps_admit(acc, &change, &verdict) ? ACCEPTED : CAP_REACHED;
}

/*
 * Lock the account that is to hold; it may be a user's that does not exist.
 * False: there is no such team.
 */
static bool
reserve_lock(const ReserveRequest *request, Account *acc)
{
	if (request->team != NULL)
		return account_lock_team(request->team, acc);
	account_lock(request->user, acc);
	return true;
}

/*
 * Tell whether the reservation that a key is known for is for the same member.
 */
static bool
reserve_is_same(const ReserveRequest *request, const Hold *hold)
{
	return !hold->has_actor || memcmp(&hold->actor, request->user, UUID_LEN) == 0;
}

/*
 * Tell whether a request is for another amount than the reservation that its
 * key is known for, where that matters. A usage is priced as it was then.
 */
static bool
reserve_differs(const ReserveRequest *request, const Hold *hold)
{
	Pricing    *pricing;
	char	   *plan_id;

	if (!setting_key_conflicts())
		return false;
	if (request->priced == NULL)
		return request->amount != hold->amount;
	pricing = pricing_reserved(request->user, &hold->id, &plan_id);
	if (pricing == NULL)
		return true;
	usage_price(request->priced, pricing, plan_id);
	return price_hold(&request->priced->price) != hold->amount;
}

/*
 * Price the usage of a request for a locked account; the floor is that of the
 * same pricing.
 */
static Rejection
reserve_price(ReserveRequest *request, Account *acc)
{
	Rejection	rejection = usage_require(request->priced, acc);

	request->amount = price_hold(&request->priced->price);
	if (request->priced->pricing != NULL)
		request->min_balance = pricing_floor(request->priced->pricing);
	return rejection;
}

/*
 * Reserve step by step. A new user's account is made only when it admits the
 * reservation.
 */
static Rejection
reserve_in_steps(ReserveRequest *request, Reserved *reserved)
{
	Account		acc;
	Hold		hold;
	ReserveTerms terms;
	Rejection	rejection;

	for (bool made = false;; made = true)
	{
		if (!reserve_lock(request, &acc))
		{
			account_check_user(request->user);
			memset(&acc, 0, sizeof(Account));	/* it may be a user's: show nothing of it */
			return reserve_rejected(request, &acc, BILLING_STRICT, team_missing(request->team), reserved);
		}
		if (acc.exists && request->key != NULL && hold_find_key(&acc.id, request->key, &hold))
		{
			if (!reserve_is_same(request, &hold) || reserve_differs(request, &hold))
				return reserve_rejected(request, &acc, hold.billing_mode, key_conflict(request->key), reserved);
			reserve_made(request, &hold, reserved);
			reserved->allowance_left = allowance_left(&acc, acc.now);
			reserved->expires_at = hold.first_expires_at;
			reserved->idempotent = true;
			return ACCEPTED;
		}
		rejection = reserve_entitled(&acc, request);
		if (rejection == ACCEPTED && request->priced != NULL)
			rejection = reserve_price(request, &acc);
		reserve_terms(request, &acc, false, &terms);
		if (rejection == ACCEPTED)
			rejection = reserve_decide(&acc, request, &terms);
		if (rejection != ACCEPTED)
			return reserve_rejected(request, &acc, terms.billing_mode, rejection, reserved);
		if (acc.exists)
			break;
		if (made)
			row_missing("accounts");
		account_create(request->user, false);
	}

	acc.held = money_add(acc.held, request->amount, "what is reserved");
	if (request->skip_allowance)
		acc.held_from_credits += request->amount;
	acc.promised += request->amount - terms.cap_held;
	account_expect(&acc, acc.now + request->ttl_seconds * USECS_PER_SEC);
	account_store(&acc);
	if (!reserve_book(request, &terms, &acc, reserved))
		row_missing("reservations");
	return ACCEPTED;
}

/*
 * reserve_make holds credits for an operation. The caller has connected to
 * SPI.
 */
Rejection
reserve_make(ReserveRequest *request, Reserved *reserved)
{
	return reserve_at_once(request, reserved) ? ACCEPTED : reserve_in_steps(request, reserved);
}

/*
 * reserve_refuse rejects a reserve whatever the account has, and tells what
 * that is. The caller has connected to SPI.
 */
Rejection
reserve_refuse(ReserveRequest *request, Rejection rejection, Reserved *reserved)
{
	Account		acc;

	account_lock(request->user, &acc);
	return reserve_rejected(request, &acc, request->billing_mode, rejection, reserved);
}

/*
 * ducto_reserve holds credits for an operation. It locks the account.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_reserve(PG_FUNCTION_ARGS)
{
	ReserveRequest request = {0};
	Reserved	reserved;
	Rejection	rejection;
	Datum		result;

	if (reserve_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	reserve_request(fcinfo, &request);
	query_begin();
	rejection = reserve_make(&request, &reserved);
	result = reserve_result(fcinfo, &reserved, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_reserve_usage holds what a usage will cost. It locks the account.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_reserve_usage(PG_FUNCTION_ARGS)
{
	ReserveRequest request = {0};
	PricedUsage priced = {0};
	Pricing    *pricing;
	Reserved	reserved;
	Rejection	rejection;
	Datum		result;

	request.user = arg_uuid(fcinfo, 0, "user_id");
	arg_usage(fcinfo, 1, "usage", &priced.usage);
	request.operation_type = arg_text_default(fcinfo, 2, "operation_type", "usage");
	request.metadata = arg_metadata(fcinfo, 3, "metadata");
	request.ttl_seconds = arg_ttl(fcinfo, 4);
	request.key = arg_text(fcinfo, 5, "idempotency_key");
	request.team = arg_uuid_or_null(fcinfo, 6);
	request.model = priced.usage.model;
	request.skip_allowance = priced.usage.fixed_job != NULL;
	request.priced = &priced;

	query_begin();
	pricing = pricing_get_active(false);
	usage_price(&priced, pricing, NULL);
	request.amount = price_hold(&priced.price);
	request.has_min_balance = pricing != NULL;
	request.min_balance = pricing != NULL ? pricing_floor(pricing) : 0;
	rejection = reserve_make(&request, &reserved);
	result = reserve_result(fcinfo, &reserved, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * Return the rejection that ducto_reserve, with its defaults, would give.
 */
static Rejection
afford_decide(Account *acc, const ReserveRequest *request, const ReserveTerms *terms)
{
	CapChange	change = {.held_model = request->model, .held = terms->cap_held};

	if (terms->max_concurrent > 0 && acc->exists &&
		holds_count_open(acc, request->operation_type, terms->max_concurrent, true) >= terms->max_concurrent)
		return CONCURRENCY_LIMIT;
	if (caps_would_deny(acc, &change, true))
		return CAP_REACHED;
	return request->amount > account_headroom(acc, terms->floor, false) ? INSUFFICIENT_CREDITS : ACCEPTED;
}

/*
 * ducto_can_afford tells whether ducto_reserve, with all its defaults, would
 * admit an amount now. It takes no lock.
 */
Datum
ducto_can_afford(PG_FUNCTION_ARGS)
{
	ReserveRequest request = {0};
	ReserveTerms terms;
	Account		acc;
	RollTotals	totals;
	ResultRow	row;
	Rejection	rejection;
	Datum		result;

	request.user = arg_uuid(fcinfo, 0, "user_id");
	if (call_reads(fcinfo, request.user, ducto_can_afford, &result))
		PG_RETURN_DATUM(result);
	request.amount = arg_money(fcinfo, 1, "amount", MONEY_POSITIVE);
	request.model = arg_text(fcinfo, 2, "model");
	request.operation_type = arg_text_default(fcinfo, 3, "operation_type", "usage");
	query_begin();
	account_project(request.user, &acc, DT_NOEND, &totals);
	account_require_user(&acc);
	reserve_terms(&request, &acc, true, &terms);
	rejection = afford_decide(&acc, &request, &terms);
	result_begin(&row, fcinfo);
	result_bool(&row, rejection == ACCEPTED);
	result_money(&row, account_available(&acc));
	result_money(&row, allowance_left(&acc, acc.now));
	result_text(&row, rejection_code(rejection));
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
