/*
 * sdk.c
 *		The doors and answers that the SDKs know, in front of the same engine:
 *		what they call for every operation. The rest of ducto_sdk is SQL.
 *
 *		A rejection is an object with "error" here, whatever ducto.rejections is,
 *		and so is an amount that the engine would refuse with an SQL error. Money
 *		goes as text.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha1.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/uuid.h"

#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/query.h"
#include "base/uuid.h"
#include "credit/add.h"
#include "credit/credit.h"

PG_FUNCTION_INFO_V1(ducto_sdk_credits_add);
PG_FUNCTION_INFO_V1(ducto_sdk_deduct_with_allowance);
PG_FUNCTION_INFO_V1(ducto_sdk_create_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_settle_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_renew_lease);
PG_FUNCTION_INFO_V1(ducto_sdk_plan_uuid);
PG_FUNCTION_INFO_V1(ducto_sdk_user);

#define DEFAULT_TTL_SECONDS	600

/* What sign an amount must have. */
typedef enum SdkSign
{
	SDK_POSITIVE,
	SDK_NOT_NEGATIVE,
	SDK_NOT_ZERO
} SdkSign;

/* The namespace of the plans' ids. */
static const unsigned char plan_namespace[UUID_LEN] = {
	0x6d, 0x1f, 0x0c, 0x52, 0x3b, 0x7e, 0x4a, 0x1d, 0x9c, 0x40, 0x8e, 0x55, 0xd2, 0x71, 0xa6, 0x0b
};

static const char *const billing_modes[] = {"strict", "strict_prepaid", "overdraft", NULL};

/*
 * Return what the clients call a rejection.
 */
static const char *
sdk_error(Rejection rejection)
{
	switch (rejection)
	{
		case RESERVATION_NOT_FOUND:
		case RESERVATION_CLOSED:
			return "lease_not_found";
		case RESERVATION_EXPIRED:
			return "lease_expired";
		default:
			return rejection_code(rejection);
	}
}

/*
 * Append a text, null for NULL.
 */
static void
put_text(JsonOut *out, const char *key, const char *text)
{
	JsonbValue	null = {.type = jbvNull};

	jsonout_key(out, key);
	if (text != NULL)
		jsonout_text(out, text);
	else
		jsonout_push(out, WJB_VALUE, &null);
}

/*
 * Append an amount.
 */
static void
put_money(JsonOut *out, const char *key, Money amount)
{
	put_text(out, key, money_to_cstring(amount));
}

/*
 * Append an id.
 */
static void
put_uuid(JsonOut *out, const char *key, const pg_uuid_t *id)
{
	put_text(out, key, uuid_to_cstring(id));
}

/*
 * Append a truth.
 */
static void
put_bool(JsonOut *out, const char *key, bool truth)
{
	JsonbValue	value = {.type = jbvBool, .val.boolean = truth};

	jsonout_key(out, key);
	jsonout_push(out, WJB_VALUE, &value);
}

/*
 * Begin an answer. False: it is a rejection, and the answer says so.
 */
static bool
sdk_begin(JsonOut *out, Rejection rejection)
{
	jsonout_push(out, WJB_BEGIN_OBJECT, NULL);
	if (rejection != ACCEPTED)
		put_text(out, "error", sdk_error(rejection));
	return rejection == ACCEPTED;
}

/*
 * End the object and return it in the memory of SPI's caller.
 */
static Datum
sdk_answer(JsonOut *out)
{
	Jsonb	   *made = jsonout_end(out);
	Jsonb	   *answer = SPI_palloc(VARSIZE(made));

	memcpy(answer, made, VARSIZE(made));
	return JsonbPGetDatum(answer);
}

/*
 * Read an amount. False: it is none, or has not the sign that it must have,
 * and the answer says so.
 */
static bool
sdk_amount(FunctionCallInfo fcinfo, int n, SdkSign sign, Money *amount, Datum *answer)
{
	JsonOut		out = {0};

	if (!PG_ARGISNULL(n) && money_is_bounded(PG_GETARG_NUMERIC(n)))
	{
		*amount = money_from_numeric(PG_GETARG_NUMERIC(n), "p_amount");
		if (*amount > 0 || (*amount < 0 && sign == SDK_NOT_ZERO))
			return true;
		/* what is rounded to 0 is none */
		if (*amount == 0 && sign == SDK_NOT_NEGATIVE &&
			DatumGetBool(DirectFunctionCall2(numeric_eq, PG_GETARG_DATUM(n), NumericGetDatum(int64_to_numeric(0)))))
			return true;
	}
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	put_text(&out, "error", "invalid_amount");
	put_text(&out, "amount", PG_ARGISNULL(n) ? NULL :
			 DatumGetCString(DirectFunctionCall1(numeric_out, PG_GETARG_DATUM(n))));
	*answer = JsonbPGetDatum(jsonout_end(&out));
	return false;
}

/*
 * Read a floor of strict billing: NULL and a negative one are 0.
 */
static Money
sdk_floor(FunctionCallInfo fcinfo, int n, const char *name)
{
	return PG_ARGISNULL(n) ? 0 : Max(arg_money(fcinfo, n, name, MONEY_ANY), 0);
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
 * ducto_sdk_credits_add is ducto_add_credits for the SDKs. Credit that is past
 * its time already is booked, and expires at once.
 */
Datum
ducto_sdk_credits_add(PG_FUNCTION_ARGS)
{
	CreditRequest request = {.may_be_past = true, .priority = DEFAULT_PRIORITY};
	CreditOutcome outcome;
	Account		acc;
	Datum		answer;

	request.account = arg_uuid(fcinfo, 0, "p_user_id");
	request.type = arg_word(fcinfo, 2, "p_type", credit_types);
	if (!sdk_amount(fcinfo, 1, strcmp(request.type, TYPE_ADJUSTMENT) == 0 ? SDK_NOT_ZERO : SDK_POSITIVE,
					&request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.metadata = arg_metadata(fcinfo, 3, "p_metadata");
	request.key = arg_key(fcinfo, 4, "p_metadata.idempotency_key");
	request.expires_at = PG_ARGISNULL(5) || request.amount < 0 ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(5);
	query_begin();
	credit_add(&request, &outcome);
	if (request.expires_at <= clock_now())
		account_lock(request.account, &acc);
	answer = credit_answer(&request, &outcome);
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
		put_text(&out, "cap_warning", deduction->cap_warning);
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
	ChargeRequest request = {.has_floor = true, .operation_type = "usage"};
	Deduction	deduction;
	Rejection	rejection;
	Datum		answer;

	request.user = arg_uuid(fcinfo, 0, "p_user_id");
	if (!sdk_amount(fcinfo, 1, SDK_POSITIVE, &request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.key = arg_key(fcinfo, 2, "p_idempotency_key");
	request.floor = sdk_floor(fcinfo, 3, "p_min_balance");
	request.model = arg_text(fcinfo, 4, "p_model");
	request.metadata = arg_metadata(fcinfo, 5, "p_metadata");
	request.skip_allowance = arg_bool_default(fcinfo, 6, false);
	query_begin();
	rejection = charge_make(&request, &deduction);
	answer = deduction_answer(&deduction, rejection);
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
		put_text(&out, "billing_mode", reserved->billing_mode);
		put_text(&out, "expires_at",
				 JsonEncodeDateTime(palloc(MAXDATELEN + 1), TimestampTzGetDatum(reserved->expires_at), TIMESTAMPTZOID, NULL));
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
	const char *mode = PG_ARGISNULL(3) ? "strict" : arg_word(fcinfo, 3, "p_billing_mode", billing_modes);

	if (strcmp(mode, "overdraft") != 0)
	{
		request->billing_mode = "strict";
		request->has_min_balance = true;
		request->min_balance = sdk_floor(fcinfo, 4, "p_floor");
		return;
	}
	request->billing_mode = mode;
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
 * Settle a lease that was settled before once more, whatever the key: tell
 * what was booked then. A released one was not.
 */
static Rejection
settle_again(const SettleRequest *request, Deduction *deduction)
{
	Account		acc;
	Hold		hold;
	LedgerRecord original;

	if (!reservation_lock(request->user, request->reservation, &acc, &hold) || hold.state != HOLD_SETTLED)
		return RESERVATION_NOT_FOUND;
	if (hold.closed_by_zero)
	{
		settle_replay_zero(request, &hold, deduction);
		return ACCEPTED;
	}
	if (!ledger_find_settlement(&acc, &hold.id, hold_closed_at(&acc.id, &hold.id), &original))
		return RESERVATION_NOT_FOUND;
	deduction_replay(deduction, request->user, &original);
	return ACCEPTED;
}

/*
 * Settle a lease for more than fits: as its billing mode says, all of it or
 * what fits.
 */
static Rejection
settle_beyond(SettleRequest *request, Deduction *deduction)
{
	Account		acc;
	Hold		hold;

	if (!reservation_lock(request->user, request->reservation, &acc, &hold))
		return RESERVATION_NOT_FOUND;
	request->overrun = strcmp(hold.billing_mode, "overdraft") == 0 ? "full" : "clamp";
	return settle_make(request, deduction);
}

/*
 * ducto_sdk_settle_lease is ducto_deduct for the SDKs.
 */
Datum
ducto_sdk_settle_lease(PG_FUNCTION_ARGS)
{
	SettleRequest request = {.final = true, .overrun = "reject"};
	Deduction	deduction;
	Rejection	rejection;
	Datum		answer;

	request.user = arg_uuid(fcinfo, 0, "p_user_id");
	request.reservation = arg_uuid(fcinfo, 1, "p_lease_id");
	if (!sdk_amount(fcinfo, 2, SDK_NOT_NEGATIVE, &request.amount, &answer))
		PG_RETURN_DATUM(answer);
	request.key = arg_key(fcinfo, 3, "p_idempotency_key");
	request.model = arg_text(fcinfo, 5, "p_model");
	request.metadata = arg_metadata(fcinfo, 6, "p_metadata");
	request.skip_allowance = arg_bool_default(fcinfo, 7, false);
	request.skip_is_null = !request.skip_allowance;
	query_begin();
	rejection = settle_make(&request, &deduction);
	if (rejection == INSUFFICIENT_CREDITS)
		rejection = settle_beyond(&request, &deduction);
	else if (rejection == RESERVATION_CLOSED)
		rejection = settle_again(&request, &deduction);
	answer = deduction_answer(&deduction, rejection);
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
	rejection = renew_make(user, lease, ttl_seconds, &reserved);
	answer = lease_answer(&reserved, rejection);
	query_end();
	PG_RETURN_DATUM(answer);
}

/*
 * ducto.sdk_user returns the id of a user, which is neither NULL nor that of a
 * team.
 */
Datum
ducto_sdk_user(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "p_user_id");

	query_begin();
	account_check_user(user);
	query_end();
	PG_RETURN_UUID_P(user);
}

/*
 * ducto_sdk_plan_uuid makes the id by which the SDKs know a plan: that of its
 * key (RFC 9562, version 5).
 */
Datum
ducto_sdk_plan_uuid(PG_FUNCTION_ARGS)
{
	text	   *key = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	pg_cryptohash_ctx *hash;
	unsigned char digest[SHA1_DIGEST_LENGTH];
	pg_uuid_t  *id;

	if (key == NULL)
		PG_RETURN_NULL();
	hash = pg_cryptohash_create(PG_SHA1);
	if (pg_cryptohash_init(hash) < 0 ||
		pg_cryptohash_update(hash, plan_namespace, UUID_LEN) < 0 ||
		pg_cryptohash_update(hash, (unsigned char *) VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)) < 0 ||
		pg_cryptohash_final(hash, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a SHA1 hash");
	pg_cryptohash_free(hash);
	id = palloc(sizeof(pg_uuid_t));
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = (id->data[6] & 0x0f) | 0x50;
	id->data[8] = (id->data[8] & 0x3f) | 0x80;
	PG_RETURN_UUID_P(id);
}
