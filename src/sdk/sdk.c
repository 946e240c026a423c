/*
 * sdk.c
 *		The doors and answers that the SDKs know, in front of the same engine:
 *		what moves credits.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "account/key.h"
#include "analytics/rollup.h"
#include "base/args.h"
#include "base/query.h"
#include "credit/add.h"
#include "credit/debit.h"
#include "credit/refund.h"
#include "credit/reserve.h"
#include "credit/sweep.h"
#include "sdk/answer.h"

PG_FUNCTION_INFO_V1(ducto_sdk_credits_add);
PG_FUNCTION_INFO_V1(ducto_sdk_deduct_with_allowance);
PG_FUNCTION_INFO_V1(ducto_sdk_refund_credits);
PG_FUNCTION_INFO_V1(ducto_sdk_create_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_settle_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_release_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_renew_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_expire_credits);
PG_FUNCTION_INFO_V1(ducto_sdk_expire_due_leases);

#define DEFAULT_TTL_SECONDS	600

static KeptQuery time_query = {
	.sql = "SELECT ducto.sdk_time($1)",
	.types = {TEXTOID}
};

/* The default first; the first two are the same. */
static const char *const lease_modes[] = {"strict", "strict_prepaid", "overdraft", NULL};
#define LEASE_OVERDRAFT	2

/*
 * Read a floor, 0 for NULL. A negative one is the debt that may be made.
 */
static Money
sdk_floor(FunctionCallInfo fcinfo, int n, const char *name)
{
	return PG_ARGISNULL(n) ? 0 : arg_money(fcinfo, n, name, MONEY_ANY);
}

/*
 * Answer of added credit.
 */
static Datum
credit_answer(const CreditRequest *request, const CreditOutcome *outcome)
{
	JsonOut		out = {0};

	if (sdk_begin(&out, outcome->rejection))
	{
		put_uuid(&out, "id", &outcome->transaction);
		put_bool(&out, "idempotent", outcome->idempotent);
	}
	put_uuid(&out, "user_id", request->account);
	put_money(&out, "amount", outcome->amount);
	put_money(&out, "new_balance", outcome->balance);
	put_text(&out, "lifetime_purchased", spend_to_cstring(outcome->lifetime_purchased));
	return sdk_answer(&out);
}

/*
 * Read when credit is to expire, infinity for never. False: it is no time, and
 * the answer says so.
 */
static bool
credit_expiry(const char *text, TimestampTz *expires_at, Datum *answer)
{
	QueryArgs	args = {0};
	JsonOut		out = {0};

	*expires_at = DT_NOEND;
	if (text == NULL)
		return true;
	args_text(&args, text);
	query_read(&time_query, &args);
	if (!row_is_null(0, 1))
		*expires_at = row_time(0, 1);
	if (!row_is_null(0, 1) && !TIMESTAMP_IS_NOBEGIN(*expires_at))
		return true;
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	put_text(&out, "error", "invalid_expires_at");
	put_text(&out, "expires_at", text);
	*answer = sdk_answer(&out);
	return false;
}

/*
 * ducto_sdk_credits_add is ducto_add_credits for the SDKs. Credit that is past
 * its time already is booked, and counts for nothing.
 */
Datum
ducto_sdk_credits_add(PG_FUNCTION_ARGS)
{
	CreditRequest request = {.may_be_past = true, .book_zero = true, .priority = DEFAULT_PRIORITY};
	CreditOutcome outcome;
	Datum		answer;

	request.account = arg_uuid(fcinfo, 0, "p_user_id");
	request.type = arg_credit_type(fcinfo, 2, "p_type", TYPE_ADJUSTMENT);
	if (!sdk_amount(fcinfo, 1, request.type == TYPE_ADJUSTMENT ? SDK_ANY : SDK_POSITIVE,
					&request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.metadata = arg_metadata(fcinfo, 3, "p_metadata");
	request.key = key_checked(sdk_member(request.metadata, "idempotency_key"), "p_metadata.idempotency_key");
	query_begin();
	if (credit_expiry(sdk_member(request.metadata, "expires_at"), &request.expires_at, &answer))
	{
		if (request.amount <= 0)
			request.expires_at = DT_NOEND;
		credit_add(&request, &outcome);
		answer = credit_answer(&request, &outcome);
	}
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * Answer of a debit.
 */
static Datum
deduction_answer(const Deduction *deduction, Rejection rejection)
{
	JsonOut		out = {0};

	if (sdk_begin(&out, rejection))
	{
		if (deduction->booked)
			put_uuid(&out, "transaction_id", &deduction->transaction);
		put_uuid(&out, "user_id", deduction->user);
		put_money(&out, "amount", deduction->amount);
		put_money(&out, "allowance_consumed", deduction->allowance_consumed);
		put_bool(&out, "idempotent", deduction->idempotent);
		put_text(&out, "cap_warning", cap_actions[deduction->cap_warning]);
	}
	put_money(&out, "balance_after", deduction->balance_after);
	return sdk_answer(&out);
}

/*
 * ducto_sdk_deduct_with_allowance is ducto_charge for the SDKs.
 */
Datum
ducto_sdk_deduct_with_allowance(PG_FUNCTION_ARGS)
{
	Debit		debit = {.has_floor = true, .operation_type = "usage"};
	Deduction	deduction;
	Rejection	rejection;
	Datum		answer;

	debit.user = arg_uuid(fcinfo, 0, "p_user_id");
	if (!sdk_amount(fcinfo, 1, SDK_POSITIVE, &debit.amount, &answer))
		PG_RETURN_DATUM(answer);
	debit.key = arg_key(fcinfo, 2, "p_idempotency_key");
	debit.floor = sdk_floor(fcinfo, 3, "p_min_balance");
	debit.model = arg_text(fcinfo, 4, "p_model");
	debit.metadata = arg_metadata(fcinfo, 5, "p_metadata");
	debit.skip_allowance = arg_bool_default(fcinfo, 6, false);
	query_begin();
	rejection = debit_make(&debit, &deduction);
	answer = deduction_answer(&deduction, rejection);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_refund_credits is ducto_refund for the SDKs, of credits alone.
 */
Datum
ducto_sdk_refund_credits(PG_FUNCTION_ARGS)
{
	RefundRequest request = {.everything = PG_ARGISNULL(1)};
	RefundOutcome outcome;
	Rejection	rejection;
	JsonOut		out = {0};
	Datum		answer;

	request.transaction = arg_uuid(fcinfo, 0, "p_transaction_id");
	if (!request.everything && !sdk_amount(fcinfo, 1, SDK_POSITIVE, &request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.metadata = arg_metadata_and_reason(fcinfo, 3, "p_metadata", 2);
	request.key = key_checked(sdk_member(request.metadata, "idempotency_key"), "p_metadata.idempotency_key");
	query_begin();
	refund_make(&request, &outcome);
	rejection = outcome.rejection == ALREADY_REFUNDED && !outcome.at_once ? OVER_REFUND : outcome.rejection;
	if (sdk_begin(&out, rejection))
	{
		put_uuid(&out, "refund_transaction_id", &outcome.refund);
		put_money(&out, "amount", outcome.amount);
		put_bool(&out, "idempotent", outcome.idempotent);
	}
	put_uuid(&out, "user_id", outcome.has_user ? &outcome.user : NULL);
	put_money(&out, "new_balance", outcome.balance);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * Answer of a lease that was made or renewed, or was not. What the allowance
 * pays is available too.
 */
static Datum
lease_answer(const Reserved *reserved, Rejection rejection)
{
	JsonOut		out = {0};

	if (sdk_begin(&out, rejection))
	{
		put_uuid(&out, "lease_id", &reserved->reservation);
		put_uuid(&out, "user_id", reserved->user);
		put_money(&out, "amount", reserved->amount);
		put_text(&out, "billing_mode", billing_modes[reserved->billing_mode]);
		put_time(&out, "expires_at", reserved->expires_at);
	}
	put_money(&out, "available", reserved->balance - reserved->reserved + reserved->allowance_left);
	put_money(&out, "reserved", reserved->reserved);
	return sdk_answer(&out);
}

/*
 * Read the billing mode of a lease and the floor that goes with it.
 */
static void
lease_terms(FunctionCallInfo fcinfo, ReserveRequest *request)
{
	if (arg_choice(fcinfo, 3, "p_billing_mode", lease_modes) != LEASE_OVERDRAFT)
	{
		request->billing_mode = BILLING_STRICT;
		request->has_min_balance = true;
		request->min_balance = sdk_floor(fcinfo, 4, "p_floor");
		return;
	}
	request->billing_mode = BILLING_OVERDRAFT;
	request->has_floor = true;
	if (!PG_ARGISNULL(8))
		request->overdraft_floor = arg_money(fcinfo, 8, "p_overdraft_floor", MONEY_NOT_POSITIVE);
	else if (!PG_ARGISNULL(4))
		request->overdraft_floor = Min(arg_money(fcinfo, 4, "p_floor", MONEY_ANY), 0);
}

/*
 * ducto_sdk_create_lease is ducto_reserve for the SDKs.
 */
Datum
ducto_sdk_create_lease(PG_FUNCTION_ARGS)
{
	ReserveRequest request = {0};
	Reserved	reserved;
	Rejection	rejection;
	Datum		answer;

	request.user = arg_uuid(fcinfo, 0, "p_user_id");
	if (!sdk_amount(fcinfo, 1, SDK_POSITIVE, &request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.operation_type = arg_text_default(fcinfo, 2, "p_operation_type", "usage");
	lease_terms(fcinfo, &request);
	request.max_concurrent = arg_int_between(fcinfo, 5, "p_max_concurrent", PG_INT32_MIN, PG_INT32_MAX, 0);
	request.ttl_seconds = arg_int_between(fcinfo, 6, "p_ttl_seconds", 1, TTL_MAX_SECONDS, DEFAULT_TTL_SECONDS);
	request.model = arg_text(fcinfo, 7, "p_model");
	request.metadata = arg_metadata(fcinfo, 9, "p_metadata");
	query_begin();
	if (!PG_ARGISNULL(5) && request.max_concurrent < 1)
		rejection = reserve_refuse(&request, CONCURRENCY_LIMIT, &reserved);
	else
		rejection = reserve_make(&request, &reserved);
	answer = lease_answer(&reserved, rejection);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_settle_lease is ducto_deduct for the SDKs. A lease that was settled
 * is settled once more, whatever the key: the answer tells what was booked then.
 */
Datum
ducto_sdk_settle_lease(PG_FUNCTION_ARGS)
{
	Debit		debit = {.final = true, .overrun = OVERRUN_BY_MODE, .any_key = true};
	Deduction	deduction;
	Rejection	rejection;
	Datum		answer;

	debit.user = arg_uuid(fcinfo, 0, "p_user_id");
	debit.reservation = arg_uuid(fcinfo, 1, "p_lease_id");
	if (!sdk_amount(fcinfo, 2, SDK_NOT_NEGATIVE, &debit.amount, &answer))
		PG_RETURN_DATUM(answer);
	debit.key = arg_key(fcinfo, 3, "p_idempotency_key");
	debit.model = arg_text(fcinfo, 5, "p_model");
	debit.metadata = arg_metadata(fcinfo, 6, "p_metadata");
	debit.skip_allowance = arg_bool_default(fcinfo, 7, false);
	debit.skip_is_null = !debit.skip_allowance;
	query_begin();
	rejection = debit_make(&debit, &deduction);
	answer = deduction_answer(&deduction, rejection == RESERVATION_CLOSED ? RESERVATION_NOT_FOUND : rejection);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_release_lease is ducto_release for the SDKs.
 */
Datum
ducto_sdk_release_lease(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	pg_uuid_t  *lease = arg_uuid(fcinfo, 1, "p_lease_id");
	JsonOut		out = {0};
	Release		release;
	Datum		answer;

	query_begin();
	release = release_make(user, NULL, lease);
	sdk_begin(&out, ACCEPTED);
	put_bool(&out, "released", release == RELEASE_DONE);
	put_text(&out, "reason", release_reasons[release == RELEASE_EXPIRED ? RELEASE_RELEASED : release]);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_renew_lease is ducto_renew for the SDKs.
 */
Datum
ducto_sdk_renew_lease(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");
	pg_uuid_t  *lease = arg_uuid(fcinfo, 1, "p_lease_id");
	int			ttl_seconds = arg_int_between(fcinfo, 2, "p_ttl_seconds", 1, TTL_MAX_SECONDS, DEFAULT_TTL_SECONDS);
	Reserved	reserved;
	Rejection	rejection;
	Datum		answer;

	query_begin();
	rejection = renew_make(user, NULL, lease, ttl_seconds, &reserved);
	answer = lease_answer(&reserved, rejection);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_expire_credits is ducto_sweep_expired for the SDKs, and rolls up a
 * part of the ledger.
 */
Datum
ducto_sdk_expire_credits(PG_FUNCTION_ARGS)
{
	bool		dry_run = arg_bool_default(fcinfo, 0, false);
	JsonOut		out = {0};
	Spend		expired;
	int64		accounts;
	Datum		answer;

	query_begin();
	accounts = sweep_expired(dry_run, PG_INT64_MAX, &expired);
	if (!dry_run)
		rollup_advance(ROLLUP_BATCH);
	sdk_begin(&out, ACCEPTED);
	put_int(&out, "expired_count", accounts);
	put_text(&out, "expired_amount", spend_to_cstring(expired));
	put_bool(&out, "dry_run", dry_run);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto_sdk_expire_due_leases is ducto_expire_reservations for the SDKs, and
 * rolls up a part of the ledger.
 */
Datum
ducto_sdk_expire_due_leases(PG_FUNCTION_ARGS)
{
	JsonOut		out = {0};
	int64		closed;
	Datum		answer;

	query_begin();
	closed = sweep_reservations(PG_INT64_MAX);
	rollup_advance(ROLLUP_BATCH);
	sdk_begin(&out, ACCEPTED);
	put_int(&out, "expired_count", closed);
	answer = sdk_answer(&out);
	query_end();
	PG_RETURN_DATUM(answer);
}
