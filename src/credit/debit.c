/*
 * debit.c
 *		What every debit shares: taking credits and telling it.
 */
#include "postgres.h"

#include "account/grant.h"
#include "account/key.h"
#include "base/setting.h"
#include "credit/credit.h"

/*
 * account_debit books an entry that takes an amount, 0 or more, from a locked
 * account: credit that can expire first. The account's row is not written.
 */
void
account_debit(Account *acc, LedgerEntry *entry, Money amount)
{
	Money		burn = Min(acc->expiring, amount);

	Assert(amount >= 0);
	Assert(acc->expiring >= 0);
	entry->amount = -amount;
	grants_burn(&acc->id, burn, acc->now, acc->late, &entry->burned);
	acc->expiring -= burn;
	ledger_append(acc, entry);
}

/*
 * debit_try_book books the entry of a debit that a guarded update took from
 * an account: grants are burned, the entry is written, of the amount that it
 * took. False: its key is known, and the debit is undone.
 */
bool
debit_try_book(Account *after, const AccountChange *change, LedgerEntry *entry)
{
	Assert(change->balance >= 0);
	Assert(change->expiring >= 0 && change->expiring <= change->balance);
	if (!key_is_elsewhere(after, entry->idempotency_key))
	{
		entry->amount = -change->balance;
		grants_burn(&after->id, change->expiring, after->now, false, &entry->burned);
		if (ledger_insert(after, entry))
		{
			if (entry->own != NULL && !after->linked)
				account_write_head(after);
			return true;
		}
		if (entry->burned.n > 0)
			grants_give(&after->id, &entry->burned);
	}
	account_undo(&after->id, change);
	return false;
}

/*
 * debit_repeat returns what a key of a debit that was looked up is, given the
 * amount that is asked for, or the usage that it is the price of.
 */
KeyState
debit_repeat(KeyState known, const LedgerRecord *original, Money amount, const PricedUsage *priced)
{
	if (known == KEY_REPLAY_ZERO)
		return key_repeat(known, amount != 0);
	if (known != KEY_REPLAY || !setting_key_conflicts())
		return known;
	if (!ledger_has_usage(original, priced != NULL ? priced->usage.json : NULL))
		return KEY_CONFLICT;
	return key_repeat(known, priced == NULL &&
					  amount != original->allowance_consumed + original->shortfall - original->amount);
}

/*
 * deduction_from_entry tells what a booked entry took.
 */
void
deduction_from_entry(Deduction *deduction, const pg_uuid_t *user, const LedgerEntry *entry)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->booked = true;
	deduction->transaction = entry->id;
	deduction->user = user;
	deduction->amount = -entry->amount;
	deduction->balance_after = entry->balance_after;
	deduction->allowance_consumed = entry->allowance_consumed;
	deduction->shortfall = entry->shortfall;
	deduction->cap_warning = entry->cap_warning;
}

/*
 * deduction_none tells of a debit that booked nothing: rejected, or of 0.
 */
Rejection
deduction_none(Deduction *deduction, const pg_uuid_t *user, Money amount, Money balance, Rejection rejection)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->user = user;
	deduction->amount = amount;
	deduction->balance_after = balance;
	return rejection;
}

/*
 * deduction_result makes the answer of a debit.
 */
Datum
deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, deduction->booked ? &deduction->transaction : NULL);
	result_uuid(&row, deduction->user);
	result_money(&row, deduction->amount);
	result_money(&row, deduction->balance_after);
	result_money(&row, deduction->allowance_consumed);
	result_money(&row, deduction->shortfall);
	result_bool(&row, deduction->idempotent);
	result_text(&row, deduction->cap_warning);
	return result_end_with_error(&row, rejection);
}

/*
 * deduction_replay tells what a debit took that was booked before.
 */
void
deduction_replay(Deduction *deduction, const pg_uuid_t *user, const LedgerRecord *original)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->booked = true;
	deduction->transaction = original->id;
	deduction->user = user;
	deduction->amount = -original->amount;
	deduction->balance_after = original->balance_after;
	deduction->allowance_consumed = original->allowance_consumed;
	deduction->shortfall = original->shortfall;
	deduction->idempotent = true;
	deduction->cap_warning = original->cap_warning;
}
