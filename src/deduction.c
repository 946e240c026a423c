/*
 * deduction.c
 *		What every debit shares: how much may be taken, taking it, telling it.
 */
#include "postgres.h"

#include "lot.h"
#include "reservation.h"

/*
 * account_headroom returns how much more can be held or taken with what
 * remains available staying at the floor or above; 0 at least.
 */
Money
account_headroom(const Account *acc, Money floor)
{
	return Max(account_available(acc) - floor, 0);
}

/*
 * account_debit books an entry that takes an amount, 0 or more, from a locked
 * account: credit that can expire first. The account's row is not written.
 */
void
account_debit(Account *acc, LedgerEntry *entry, Money amount)
{
	Money		burn = Min(acc->expiring, amount);

	entry->amount = -amount;
	lots_burn(&acc->id, burn, acc->now, acc->late, &entry->burned);
	acc->expiring -= burn;
	ledger_append(acc, entry);
}

/*
 * deduction_result makes the answer of a debit.
 */
Datum
deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, deduction->transaction);
	result_uuid(&row, deduction->user);
	result_money(&row, deduction->amount);
	result_money(&row, deduction->balance_after);
	result_money(&row, 0);
	result_money(&row, deduction->shortfall);
	result_bool(&row, deduction->idempotent);
	result_null(&row);
	return result_end_with_error(&row, rejection);
}

/*
 * deduction_replay makes the original answer of a debit again.
 */
Datum
deduction_replay(FunctionCallInfo fcinfo, const pg_uuid_t *user, const LedgerRecord *original)
{
	Deduction	deduction = {
		.transaction = &original->id,
		.user = user,
		.amount = -original->amount,
		.balance_after = original->balance_after,
		.shortfall = original->shortfall,
		.idempotent = true,
	};

	return deduction_result(fcinfo, &deduction, ACCEPTED);
}
