/*
 * funds.c
 *		The rules of funds: what the month's allowance pays, what open holds
 *		need from credits, and how much more an account admits. No tables here.
 *
 *		What a hold was admitted on of the allowance stays promised, whatever
 *		becomes of plan, pricing, month or usage that is counted elsewhere. The
 *		promises of an account's holds are one sum: what a charge takes of it
 *		leaves as much credit for the holds.
 */
#include "postgres.h"

#include "account/funds.h"
#include "base/period.h"

/*
 * allowance_used returns what of the allowance is used in the month of a time.
 */
Spend
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
	Assert(acc->plan.free_allowance >= 0);
	if (acc->plan.free_allowance == 0)
		return 0;
	return (Money) Max(acc->plan.free_allowance - allowance_used(acc, at), 0);
}

/*
 * Return what is held and counts on the allowance.
 */
static Money
held_on_allowance(const Account *acc)
{
	return acc->held - acc->held_from_credits;
}

/*
 * Return what of the holds the allowance pays at most: what is left of it in
 * the month of a time, and what it promised in any case.
 */
static Money
allowance_cover(const Account *acc, TimestampTz at)
{
	return Max(allowance_left(acc, at), acc->promised);
}

/*
 * allowance_consume counts an amount in this month's window.
 */
void
allowance_consume(Account *acc, Money amount)
{
	Spend		used = allowance_used(acc, acc->now);

	if (amount == 0)
		return;
	Assert(amount > 0);
	acc->allowance_month = period_month(acc->now);
	acc->allowance_used = spend_add(used, amount, "the allowance used");
}

/*
 * allowance_restore gives an amount back into the month that it came from; one
 * that is over has no window any more.
 */
void
allowance_restore(Account *acc, Money amount, TimestampTz consumed_at)
{
	Assert(amount >= 0);
	if (acc->allowance_month == period_month(consumed_at))
		acc->allowance_used -= amount;
}

/*
 * allowance_take lets the allowance pay an amount. It takes what is promised
 * to no hold first; of the promises go those of ended holds in any case.
 */
void
allowance_take(Account *acc, Money amount, Money ended)
{
	Money		unpromised = Max(allowance_left(acc, acc->now) - acc->promised, 0);

	Assert(amount >= 0 && ended >= 0);
	Assert(amount <= allowance_left(acc, acc->now) + acc->promised);
	acc->promised = Max(acc->promised - Max(amount - unpromised, ended), 0);
	acc->promised = Min(acc->promised, held_on_allowance(acc));
	allowance_consume(acc, amount);
}

/*
 * allowance_rely promises the open holds what of the allowance they rely on at
 * a time, because the credits do not cover them.
 */
void
allowance_rely(Account *acc, TimestampTz at)
{
	Money		uncovered = acc->held - acc->balance;
	Money		relied = Min(allowance_left(acc, at), uncovered);

	Assert(acc->promised >= 0);
	acc->promised = Min(Max(acc->promised, relied), held_on_allowance(acc));
}

/*
 * account_free lets an amount that holds held be free, and what of it was
 * promised of the allowance.
 */
void
account_free(Account *acc, Money amount, bool skip_allowance, Money promise)
{
	Assert(amount >= 0 && promise >= 0);
	Assert(!skip_allowance || amount <= acc->held_from_credits);
	acc->held -= amount;
	if (skip_allowance)
		acc->held_from_credits -= amount;
	allowance_take(acc, 0, promise);
}

/*
 * account_need returns what open holds need from credits: those that skip the
 * allowance all they hold, the others what the allowance does not cover.
 */
Money
account_need(const Account *acc, TimestampTz at)
{
	return acc->held_from_credits + Max(held_on_allowance(acc) - allowance_cover(acc, at), 0);
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
	Assert(amount >= 0);
	spare = Max(allowance_left(acc, acc->now) - held_on_allowance(acc), 0);
	return Max(amount - spare, 0);
}

/*
 * account_lacks returns the rejection of an amount that an account does not
 * have, and tells of what it has.
 */
Rejection
account_lacks(Money needed, Money available, Money floor)
{
	return rejection_because(INSUFFICIENT_CREDITS, "Needed: %s; available: %s; floor: %s.", money_to_cstring(needed),
							 money_to_cstring(available), money_to_cstring(floor));
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
		spare = Max(allowance_left(acc, acc->now) - held_on_allowance(acc), 0);
	return spare + Max(room, 0);
}
