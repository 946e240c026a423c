/*
 * funds.c
 *		The rules of funds: what the cycle's allowance pays, what open holds
 *		need from credits, and how much more an account admits. No tables here.
 *
 *		What a hold was admitted on of the allowance stays promised, whatever
 *		becomes of plan, pricing, cycle or usage that is counted elsewhere. The
 *		promises of an account's holds are one sum: what a charge takes of it
 *		leaves as much credit for the holds.
 */
#include "postgres.h"

#include "account/funds.h"
#include "base/period.h"

/*
 * Tell whether an account has a cycle that a time is in.
 */
static bool
account_has_cycle(const Account *acc, TimestampTz at)
{
	return at >= acc->cycle.start && at < acc->cycle.end;
}

/*
 * account_cycle_rule tells how an account's cycles go under a plan's terms.
 */
PeriodRule
account_cycle_rule(const Account *acc, PeriodUnit unit)
{
	PeriodRule	rule = {.unit = unit, .anchor = acc->anchor, .zone = acc->zone};

	return rule;
}

/*
 * account_cycle returns the cycle of an account that a time is in. One that has
 * begun ends when it was to end, whatever has become of the plan's terms.
 */
Period
account_cycle(const Account *acc, TimestampTz at)
{
	PeriodRule	rule = account_cycle_rule(acc, acc->plan.id != NULL ? acc->plan.cycle : PERIOD_MONTH);
	Period		cycle;

	if (account_has_cycle(acc, at))
		return acc->cycle;
	cycle = period_find(&rule, at);
	if (TIMESTAMP_IS_NOBEGIN(acc->cycle.end))
		return cycle;
	if (at >= acc->cycle.end)
		cycle.start = Max(cycle.start, acc->cycle.end);
	else
		cycle.end = Min(cycle.end, acc->cycle.start);
	return cycle;
}

/*
 * allowance_used returns what of the allowance is used in the cycle of a time.
 */
Spend
allowance_used(const Account *acc, TimestampTz at)
{
	return account_has_cycle(acc, at) ? acc->allowance_used : 0;
}

/*
 * allowance_left returns what is left of the allowance in the cycle of a time.
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
 * the cycle of a time, and what it promised in any case.
 */
static Money
allowance_cover(const Account *acc, TimestampTz at)
{
	return Max(allowance_left(acc, at), acc->promised);
}

/*
 * allowance_consume counts an amount in this cycle's window.
 */
void
allowance_consume(Account *acc, Money amount)
{
	Spend		used = allowance_used(acc, acc->now);

	if (amount == 0)
		return;
	Assert(amount > 0);
	acc->cycle = account_cycle(acc, acc->now);
	acc->allowance_used = spend_add(used, amount, "the allowance used");
}

/*
 * allowance_restore gives an amount back into the cycle that it came from; one
 * that is over has no window any more.
 */
void
allowance_restore(Account *acc, Money amount, TimestampTz consumed_at)
{
	Assert(amount >= 0);
	if (account_has_cycle(acc, consumed_at))
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
