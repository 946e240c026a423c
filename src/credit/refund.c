/*
 * refund.c
 *		Giving back what a usage entry took, to where it came from.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/funds.h"
#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/refund.h"

PG_FUNCTION_INFO_V1(ducto_refund);

/* What of a debit was refunded, or is to be. */
typedef struct RefundParts
{
	Money		credits;
	Money		allowance;
} RefundParts;

/*
 * Door of ducto_refund.
 */
static void
refund_request(FunctionCallInfo fcinfo, RefundRequest *request)
{
	request->transaction = arg_uuid(fcinfo, 0, "transaction_id");
	request->everything = PG_ARGISNULL(1);
	request->amount = request->everything ? 0 : arg_money(fcinfo, 1, "amount", MONEY_POSITIVE);
	request->metadata = arg_metadata_and_reason(fcinfo, 3, "metadata", 2);
	request->key = arg_key(fcinfo, 4, "idempotency_key");
	request->restore_allowance = arg_bool_default(fcinfo, 5, true);
	request->account = arg_uuid_or_null(fcinfo, 6);
}

/*
 * Decide how much goes back, all that is left or the amount that was asked:
 * credits first.
 */
static Rejection
refund_decide(const RefundRequest *request, const LedgerEntry *debit, const RefundParts *refunded,
			  RefundParts *back)
{
	Money		credits = -debit->amount - refunded->credits;
	Money		allowance = request->restore_allowance ? debit->allowance_consumed - refunded->allowance : 0;
	Money		left = credits + allowance;
	Money		amount = request->everything ? left : request->amount;

	if (debit->type != TYPE_USAGE)
		return rejection_because(NOT_REFUNDABLE, "The transaction is of the type \"%s\", not \"%s\".",
								 entry_types[debit->type], entry_types[TYPE_USAGE]);
	if (left <= 0)
		return rejection_because(ALREADY_REFUNDED, "Nothing is left to refund of the transaction.");
	if (request->amount > left)
		return rejection_because(OVER_REFUND, "Left to refund: %s.", money_to_cstring(left));
	back->credits = Min(amount, credits);
	back->allowance = amount - back->credits;
	Assert(back->credits >= 0 && back->allowance >= 0);
	Assert(back->credits + back->allowance <= left);
	return ACCEPTED;
}

/*
 * List which burned credit comes back when an amount is refunded after what
 * was refunded before: the debit's credits in reverse order, those that never
 * expire having been taken last.
 */
static void
refund_origin(const LedgerEntry *debit, Money refunded, Money amount, BurnList *origin)
{
	Money		from = refunded;	/* counted from the end of the debit */
	Money		until = refunded + amount;
	Money		position = -debit->amount;

	origin->n = 0;
	origin->burns = palloc(sizeof(Burn) * Max(debit->burned.n, 1));
	for (int i = 0; i < debit->burned.n; i++)
		position -= debit->burned.burns[i].amount;
	for (int i = debit->burned.n - 1; i >= 0; i--)
	{
		Money		end = position + debit->burned.burns[i].amount;
		Money		back = Min(end, until) - Max(position, from);

		if (back > 0)
		{
			origin->burns[origin->n].grant = debit->burned.burns[i].grant;
			origin->burns[origin->n].amount = back;
			origin->n++;
		}
		position = end;
	}
}

/*
 * Keep of a list what can go back to its grant: one that has expired since
 * gets nothing, nor one that was moved to another account, and debt eats first.
 * It tells when those that are kept expire.
 */
static TimestampTz *
refund_restorable(const Account *acc, Money amount, BurnList *origin)
{
	Money		room = Max(acc->balance + amount, 0) - acc->expiring;
	GrantRoom  *rooms = grants_room(&acc->id, origin);
	TimestampTz *times = palloc(sizeof(TimestampTz) * Max(origin->n, 1));
	int			kept = 0;

	for (int i = 0; i < origin->n; i++)
	{
		Burn		burn = origin->burns[i];

		burn.amount = Min(burn.amount, rooms[i].room);
		if (burn.amount <= 0 || rooms[i].expires_at <= acc->now)
			continue;
		burn.amount = Min(burn.amount, room);
		if (burn.amount <= 0)
			break;
		room -= burn.amount;
		times[kept] = rooms[i].expires_at;
		origin->burns[kept++] = burn;
	}
	Assert(room >= 0 || kept == 0);
	origin->n = kept;
	return times;
}

/*
 * Give credit back to grants of a locked account, which expire at given times.
 */
static void
refund_restore(Account *acc, const BurnList *list, const TimestampTz *times)
{
	grants_give(&acc->id, list);
	for (int i = 0; i < list->n; i++)
	{
		acc->expiring += list->burns[i].amount;
		acc->next_boundary = Min(acc->next_boundary, times[i]);
	}
}

/*
 * Book a refund on a locked account.
 */
static void
refund_book(Account *acc, const RefundRequest *request, const LedgerEntry *debit,
			const RefundParts *refunded, const RefundParts *back, LedgerEntry *entry)
{
	CapChange	change = {0};
	EntryModels models;
	TimestampTz *times;

	memset(entry, 0, sizeof(LedgerEntry));
	entry->actor = debit->actor;
	entry->amount = back->credits;
	entry->allowance_consumed = -back->allowance;
	entry->model = debit->model;
	entry->type = TYPE_REFUND;
	entry->idempotency_key = request->key;
	entry->reference = request->transaction;
	entry->metadata = request->metadata;
	refund_origin(debit, refunded->credits, back->credits, &entry->burned);
	times = refund_restorable(acc, back->credits, &entry->burned);
	ledger_append(acc, entry);
	refund_restore(acc, &entry->burned, times);
	Assert(acc->expiring <= Max(acc->balance, 0));
	allowance_restore(acc, back->allowance, debit->effective_at);
	change.model = debit->model;
	change.spent = back->credits;
	change.actor = debit->actor;
	if (acc->caps > 0 && ledger_find_models(&acc->id, &debit->id, &models))
		caps_refund_models(acc, &change, &models, refunded->credits, debit->effective_at);
	else
		caps_refund(acc, &change, debit->effective_at);
	account_store(acc);
}

/*
 * Tell whose debit is refunded.
 */
static void
refund_owner(const LedgerEntry *debit, bool team, RefundOutcome *outcome)
{
	outcome->has_team = team;
	outcome->team = debit->account_id;
	outcome->has_user = !team || debit->actor != NULL;
	if (outcome->has_user)
		outcome->user = team ? *debit->actor : debit->account_id;
}

/*
 * Tell of the entry that a refund is, booked now or before.
 */
static void
refund_booked(const LedgerEntry *refund, RefundOutcome *outcome)
{
	outcome->booked = true;
	outcome->refund = refund->id;
	outcome->amount = refund->amount;
	outcome->balance = refund->balance_after;
	outcome->allowance = -refund->allowance_consumed;
}

/*
 * Refund an entry of an account.
 */
static Rejection
refund_entry(const RefundRequest *request, const LedgerEntry *debit, RefundOutcome *outcome)
{
	Account		acc;
	LedgerEntry original = {0};
	LedgerEntry entry;
	KeyState	known;
	Rejection	rejection;
	RefundParts refunded;
	RefundParts back = {0};
	Money		largest;

	account_lock_any(&debit->account_id, &acc);
	refund_owner(debit, acc.team, outcome);
	outcome->balance = acc.balance;
	known = key_find(&acc, request->key, KEY_REFUND, request->transaction, NULL, &original);
	known = key_repeat(known, !request->everything && request->amount != original.amount - original.allowance_consumed);
	if (known == KEY_REPLAY)
	{
		refund_booked(&original, outcome);
		outcome->idempotent = true;
		return ACCEPTED;
	}
	if (known != KEY_FREE)
		return key_conflict(request->key);

	ledger_refunded(&acc.id, request->transaction, &refunded.credits, &refunded.allowance, &largest);
	outcome->at_once = largest > 0 && largest == -debit->amount;
	rejection = refund_decide(request, debit, &refunded, &back);
	if (rejection != ACCEPTED)
		return rejection;
	refund_book(&acc, request, debit, &refunded, &back, &entry);
	refund_booked(&entry, outcome);
	return ACCEPTED;
}

/*
 * refund_make gives back what a usage entry took and locks its account. The
 * caller has connected to SPI.
 */
void
refund_make(RefundRequest *request, RefundOutcome *outcome)
{
	LedgerEntry debit;

	memset(outcome, 0, sizeof(RefundOutcome));
	outcome->amount = request->amount;
	if (ledger_find_id(request->transaction, request->account, &debit))
		outcome->rejection = refund_entry(request, &debit, outcome);
	else
		outcome->rejection = transaction_missing(request->transaction);
}

/*
 * ducto_refund gives back what a usage entry took. It locks the account.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_refund(PG_FUNCTION_ARGS)
{
	RefundRequest request;
	RefundOutcome outcome;
	ResultRow	row;
	Datum		result;

	refund_request(fcinfo, &request);
	query_begin();
	refund_make(&request, &outcome);
	result_begin(&row, fcinfo);
	result_uuid(&row, outcome.booked ? &outcome.refund : NULL);
	result_uuid(&row, request.transaction);
	result_uuid(&row, outcome.has_user ? &outcome.user : NULL);
	result_uuid(&row, outcome.has_team ? &outcome.team : NULL);
	result_money(&row, outcome.amount);
	result_money(&row, outcome.balance);
	result_money(&row, outcome.allowance);
	result_bool(&row, outcome.idempotent);
	result = result_end_with_error(&row, outcome.rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
