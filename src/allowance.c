/*
 * allowance.c
 *		The rules of funds: what the month's allowance pays, what open holds
 *		need from credits, and how much more an account admits. No tables here.
 */
#include "postgres.h"

#include "allowance.h"
#include "period.h"

/*
 * allowance_used returns what of the allowance is used in the month of a time.
 */
Money
allowance_used(const Account *acc, TimestampTz at)
{
	return acc->allowance_month == period_month(at) ? acc->allowance_used : 0;
}

/*
 * allowance_left returns what is left of the allowance in the month of a time.
 */
Money
allowance_left(const Account *acc, TimestampTz at)
{
	if (acc->plan.free_allowance == 0)
		return 0;
	return Max(acc->plan.free_allowance - allowance_used(acc, at), 0);
}

/*
 * allowance_consume counts an amount in this month's window.
 */
void
allowance_consume(Account *acc, Money amount)
{
	Money		used = allowance_used(acc, acc->now);

	if (amount == 0)
		return;
	acc->allowance_month = period_month(acc->now);
	acc->allowance_used = money_add(used, amount, "the allowance used");
}

/*
 * allowance_restore gives an amount back into the month that it came from; one
 * that is over has no window any more.
 */
void
allowance_restore(Account *acc, Money amount, TimestampTz consumed_at)
{
	if (acc->allowance_month == period_month(consumed_at))
		acc->allowance_used -= amount;
}

/*
 * account_need returns what open holds need from credits: those that skip the
 * allowance all they hold, the others what the allowance left does not cover.
 */
Money
account_need(const Account *acc, TimestampTz at)
{
	Money		others = acc->held - acc->held_from_credits;

	return acc->held_from_credits + Max(others - allowance_left(acc, at), 0);
}

/*
 * account_need_of returns by how much a further amount raises that need.
 */
Money
account_need_of(const Account *acc, Money amount, bool skip_allowance)
{
	Money		spare;

	if (skip_allowance)
		return amount;
	spare = Max(allowance_left(acc, acc->now) - (acc->held - acc->held_from_credits), 0);
	return Max(amount - spare, 0);
}

/*
 * account_headroom returns how much more can be held or taken: what does not
 * raise the need, and beyond it as much as leaves balance - need at the floor
 * or above.
 */
Money
account_headroom(const Account *acc, Money floor, bool skip_allowance)
{
	Money		room = acc->balance - account_need(acc, acc->now) - floor;
	Money		spare = 0;

	if (!skip_allowance)
		spare = Max(allowance_left(acc, acc->now) - (acc->held - acc->held_from_credits), 0);
	return spare + Max(room, 0);
}
