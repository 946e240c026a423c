/*
 * settle.c
 *		Charging what a reserved operation really cost.
 */
#include "postgres.h"

#include "args.h"
#include "hold.h"
#include "key.h"
#include "query.h"
#include "reservation.h"
#include "roll.h"

PG_FUNCTION_INFO_V1(ducto_deduct);

static const char *const overrun_words[] = {"reject", "clamp", "full", NULL};

/* What ducto_deduct is asked for. */
typedef struct SettleRequest
{
	pg_uuid_t  *user;
	pg_uuid_t  *reservation;
	Money		amount;
	char	   *key;
	Jsonb	   *metadata;
	char	   *model;
	const char *overrun;
	bool		final;
	bool		allow_late;
} SettleRequest;

/* What is to be booked. */
typedef struct SettlePlan
{
	Money		charge;			/* to be taken */
	Money		shortfall;		/* could not be taken */
	Money		freed;			/* no longer held */
	HoldState	state;			/* of the reservation, afterwards */
} SettlePlan;

/*
 * Door of ducto_deduct.
 */
static void
settle_request(FunctionCallInfo fcinfo, SettleRequest *request)
{
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->reservation = arg_uuid(fcinfo, 1, "reservation_id");
	request->amount = arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	request->key = arg_text(fcinfo, 3, "idempotency_key");
	request->metadata = arg_metadata(fcinfo, 4, "metadata");
	request->model = arg_text(fcinfo, 5, "model");
	request->overrun = arg_word(fcinfo, 6, "overrun", overrun_words);
	request->final = arg_bool_default(fcinfo, 7, true);
	request->allow_late = arg_bool_default(fcinfo, 8, true);
	if (!request->final && request->amount == 0)
		arg_reject("amount", money_to_cstring(0),
				   "\"amount\" must be greater than 0 when \"final\" is false.");
}

/*
 * Decide what of an amount is charged: what the reservation holds always, the
 * rest as far as the headroom of the account goes, and then by overrun.
 */
static Rejection
settle_decide(const Account *acc, const Hold *hold, const SettleRequest *request, SettlePlan *plan)
{
	bool		late = hold->state == HOLD_EXPIRED;
	Money		own = late ? 0 : hold->remaining;
	Money		limit = own + account_headroom(acc, hold->floor);

	if (hold->state == HOLD_SETTLED || hold->state == HOLD_RELEASED)
		return RESERVATION_CLOSED;
	if (late && !request->allow_late)
		return RESERVATION_EXPIRED;
	if (request->amount > limit && strcmp(request->overrun, "reject") == 0)
		return late ? RESERVATION_EXPIRED : INSUFFICIENT_CREDITS;

	plan->charge = strcmp(request->overrun, "full") == 0 ? request->amount : Min(request->amount, limit);
	plan->shortfall = request->amount - plan->charge;
	plan->freed = request->final ? own : Min(own, plan->charge);
	plan->state = request->final ? HOLD_SETTLED : hold->state;
	return ACCEPTED;
}

/*
 * Make the ledger entry of a deduct.
 */
static void
settle_entry(const SettleRequest *request, const Hold *hold, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->type = TYPE_USAGE;
	entry->operation_type = hold->operation_type;
	entry->model = request->model != NULL ? request->model : hold->model;
	entry->idempotency_key = request->key;
	entry->reference = request->reservation;
	entry->metadata = request->metadata;
}

/*
 * Book a deduct on a locked account and return the balance after it. An amount
 * of 0 is remembered by the reservation alone.
 */
static Money
settle_book(Account *acc, Hold *hold, const SettleRequest *request, const SettlePlan *plan,
			LedgerEntry *entry)
{
	Money		balance_after;

	acc->held -= plan->freed;
	hold->remaining -= Min(plan->freed, hold->remaining);
	hold->state = plan->state;
	if (request->amount > 0)
	{
		entry->shortfall = plan->shortfall;
		account_debit(acc, entry, plan->charge);
	}
	balance_after = acc->balance;
	if (request->amount == 0 && request->key != NULL)
	{
		hold->closing_key = request->key;
		hold->closing_balance = balance_after;
		acc->closing_keys = true;
	}
	hold_update(&acc->id, hold, acc->now);
	account_store(acc);
	return balance_after;
}

/*
 * Answer of a rejected deduct.
 */
static Datum
settle_rejected(FunctionCallInfo fcinfo, const SettleRequest *request, const Account *acc, Rejection rejection)
{
	Deduction	deduction = {
		.user = request->user,
		.amount = request->amount,
		.balance_after = acc->balance,
	};

	return deduction_result(fcinfo, &deduction, rejection);
}

/*
 * Answer of a deduct that was made, transaction being NULL for one of 0.
 */
static Datum
settle_result(FunctionCallInfo fcinfo, const SettleRequest *request, const pg_uuid_t *transaction,
			  Money amount, Money balance_after, Money shortfall, bool idempotent)
{
	Deduction	deduction = {
		.transaction = transaction,
		.user = request->user,
		.amount = amount,
		.balance_after = balance_after,
		.shortfall = shortfall,
		.idempotent = idempotent,
	};

	return deduction_result(fcinfo, &deduction, ACCEPTED);
}

/*
 * Charge within an open hold where there is nothing else to do. False:
 * nothing was done, and the deduct is to be made step by step.
 */
static bool
settle_at_once(FunctionCallInfo fcinfo, const SettleRequest *request, Datum *result)
{
	Account		after;
	AccountChange change;
	Hold		hold;
	LedgerEntry entry;
	LedgerRecord original;

	if (request->amount == 0 ||
		!hold_try_settle(request->user, request->reservation, request->amount, request->final,
						 &after, &change, &hold))
		return false;
	if (request->key != NULL &&
		key_find(&after, request->key, KEY_DEBIT, request->reservation, &original) != KEY_FREE)
	{
		account_undo(request->user, &change);
		hold_reopen(request->user, &hold);
		return false;
	}
	settle_entry(request, &hold, &entry);
	entry.amount = -request->amount;
	lots_burn(request->user, change.expiring, after.now, false, &entry.burned);
	ledger_insert(&after, &entry);
	*result = settle_result(fcinfo, request, &entry.id, request->amount, entry.balance_after, 0, false);
	return true;
}

/*
 * Charge a reservation step by step.
 */
static Datum
settle_in_steps(FunctionCallInfo fcinfo, const SettleRequest *request)
{
	Account		acc;
	Hold		hold;
	SettlePlan	plan;
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;
	Rejection	rejection;
	Money		balance_after;

	account_lock(request->user, &acc);
	if (request->key != NULL)
		known = key_find(&acc, request->key, KEY_DEBIT, request->reservation, &original);
	if (known == KEY_REPLAY)
		return deduction_replay(fcinfo, request->user, &original);
	if (known == KEY_CONFLICT)
		return settle_rejected(fcinfo, request, &acc, IDEMPOTENCY_CONFLICT);
	if (!acc.exists || !hold_find(&acc.id, request->reservation, &hold))
		return settle_rejected(fcinfo, request, &acc, RESERVATION_NOT_FOUND);
	if (known == KEY_REPLAY_ZERO)
		return settle_result(fcinfo, request, NULL, 0, hold.closing_balance, 0, true);

	rejection = settle_decide(&acc, &hold, request, &plan);
	if (rejection != ACCEPTED)
		return settle_rejected(fcinfo, request, &acc, rejection);
	settle_entry(request, &hold, &entry);
	balance_after = settle_book(&acc, &hold, request, &plan, &entry);
	return settle_result(fcinfo, request, request->amount > 0 ? &entry.id : NULL,
						 plan.charge, balance_after, plan.shortfall, false);
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
	Datum		result;

	settle_request(fcinfo, &request);
	query_begin();
	if (!settle_at_once(fcinfo, &request, &result))
		result = settle_in_steps(fcinfo, &request);
	query_end();
	PG_RETURN_DATUM(result);
}
