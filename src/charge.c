/*
 * charge.c
 *		Charging in one step, without a reservation.
 */
#include "postgres.h"

#include "args.h"
#include "key.h"
#include "query.h"
#include "reservation.h"
#include "roll.h"

PG_FUNCTION_INFO_V1(ducto_charge);

/* What ducto_charge is asked for. */
typedef struct ChargeRequest
{
	pg_uuid_t  *user;
	Money		amount;
	char	   *key;
	Jsonb	   *metadata;
	char	   *model;
	Money		floor;
	char	   *operation_type;
} ChargeRequest;

/*
 * Door of ducto_charge.
 */
static void
charge_request(FunctionCallInfo fcinfo, ChargeRequest *request)
{
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->amount = arg_money(fcinfo, 1, "amount", MONEY_NOT_NEGATIVE);
	request->key = arg_text(fcinfo, 2, "idempotency_key");
	request->metadata = arg_metadata(fcinfo, 3, "metadata");
	request->model = arg_text(fcinfo, 4, "model");
	request->floor = PG_ARGISNULL(5) ? 0 : arg_money(fcinfo, 5, "min_balance", MONEY_NOT_NEGATIVE);
	request->operation_type = arg_text_default(fcinfo, 6, "operation_type", "usage");
}

/*
 * Make the ledger entry of a charge.
 */
static void
charge_entry(const ChargeRequest *request, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->type = TYPE_USAGE;
	entry->operation_type = request->operation_type;
	entry->model = request->model;
	entry->idempotency_key = request->key;
	entry->metadata = request->metadata;
}

/*
 * Answer of a charge that was booked, or of one of 0.
 */
static Datum
charge_result(FunctionCallInfo fcinfo, const ChargeRequest *request, const pg_uuid_t *transaction,
			  Money balance_after, Rejection rejection)
{
	Deduction	deduction = {
		.transaction = transaction,
		.user = request->user,
		.amount = request->amount,
		.balance_after = balance_after,
	};

	return deduction_result(fcinfo, &deduction, rejection);
}

/*
 * Charge an account where there is nothing else to do: lock, decision and
 * booking are one statement. False: nothing was done, and the charge is to
 * be made step by step.
 */
static bool
charge_at_once(FunctionCallInfo fcinfo, const ChargeRequest *request, Datum *result)
{
	Account		after;
	AccountChange change;
	LedgerEntry entry;
	LedgerRecord original;

	if (request->amount == 0 ||
		!account_try_charge(request->user, request->amount, request->floor, &after, &change))
		return false;
	if (request->key != NULL &&
		key_find(&after, request->key, KEY_DEBIT, NULL, &original) != KEY_FREE)
	{
		account_undo(request->user, &change);
		return false;
	}
	charge_entry(request, &entry);
	entry.amount = -request->amount;
	lots_burn(request->user, change.expiring, after.now, false, &entry.burned);
	ledger_insert(&after, &entry);
	*result = charge_result(fcinfo, request, &entry.id, entry.balance_after, ACCEPTED);
	return true;
}

/*
 * Charge an account step by step.
 */
static Datum
charge_in_steps(FunctionCallInfo fcinfo, const ChargeRequest *request)
{
	Account		acc;
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;

	account_lock(request->user, &acc);
	if (request->key != NULL)
		known = key_find(&acc, request->key, KEY_DEBIT, NULL, &original);
	if (known == KEY_REPLAY)
		return deduction_replay(fcinfo, request->user, &original);
	if (known == KEY_CONFLICT)
		return charge_result(fcinfo, request, NULL, acc.balance, IDEMPOTENCY_CONFLICT);
	if (request->amount > account_headroom(&acc, request->floor))
		return charge_result(fcinfo, request, NULL, acc.balance, INSUFFICIENT_CREDITS);
	if (request->amount == 0)
		return charge_result(fcinfo, request, NULL, acc.balance, ACCEPTED);

	charge_entry(request, &entry);
	account_debit(&acc, &entry, request->amount);
	account_store(&acc);
	return charge_result(fcinfo, request, &entry.id, entry.balance_after, ACCEPTED);
}

/*
 * ducto_charge charges credits in one step, without a reservation. It locks
 * the account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_charge(PG_FUNCTION_ARGS)
{
	ChargeRequest request;
	Datum		result;

	charge_request(fcinfo, &request);
	query_begin();
	if (!charge_at_once(fcinfo, &request, &result))
		result = charge_in_steps(fcinfo, &request);
	query_end();
	PG_RETURN_DATUM(result);
}
