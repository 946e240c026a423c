/*
 * alertwatch.c
 *		What there is to tell of an account whose row is to be written, by its
 *		lines and its auto top-up, and which figure the balance has to fall below
 *		for the next time.
 */
#include "postgres.h"

#include "account/alert.h"
#include "account/capalert.h"
#include "account/event.h"
#include "account/funds.h"
#include "base/period.h"
#include "base/uuid.h"
#include "base/uuidv7.h"

/* A balance below it is exhausted: 1/10000 credits. */
#define EXHAUSTED_BELOW	1

/*
 * Return the mark of the lines that an account has of its plan, or else of the
 * pricing.
 */
static int64
account_mark(const Account *acc)
{
	Lines		lines;

	if (acc->plan.alerts == NULL)
		return lines_pricing_mark();
	lines_from_json(&acc->plan.alerts->root, &lines);
	return lines.has_balance ? lines_mark(&lines) : lines_pricing_mark();
}

/*
 * Begin the payload of an event that a line was crossed: of a team by whom.
 */
static void
tell_begin(const Account *acc, JsonOut *payload)
{
	event_begin(payload);
	if (acc->has_actor)
		event_uuid(payload, "user_id", &acc->actor);
}

/*
 * Note an event of a balance that crossed a line.
 */
static void
tell_balance(Account *acc, const char *kind, Money line)
{
	JsonOut		payload;

	tell_begin(acc, &payload);
	event_money(&payload, "line", line);
	event_add(acc, NULL, kind, &payload);
}

/*
 * Tell of the lines that a balance has fallen below, the highest first. That of
 * 0 is there wherever there are any. Returns whether there was one.
 */
static bool
watch_falls(Account *acc, const Lines *lines)
{
	Money		before = acc->watched.balance;
	bool		told = false;
	bool		exhausted = before > 0 && acc->balance <= 0;

	for (int i = 0; i <= lines->nbalance; i++)
	{
		bool		over = i == lines->nbalance;
		Money		line = over ? 0 : lines->balance[i];

		if (exhausted && line <= 0)
		{
			tell_balance(acc, EVENT_BALANCE_EXHAUSTED, 0);
			exhausted = false;
			told = true;
		}
		if (!over && before >= line && acc->balance < line)
		{
			tell_balance(acc, EVENT_BALANCE_LOW, line);
			told = true;
		}
	}
	return told;
}

/*
 * Tell that a balance has risen to a line or above it, where one that it fell
 * below was told: of several the highest.
 */
static void
watch_rise(Account *acc, const Lines *lines, const OwnAlerts *own)
{
	const Topup *topup = &own->topup;
	Money		before = acc->watched.balance;
	Money		highest = 0;
	bool		crossed = before <= 0 && acc->balance > 0;

	if (topup->on && before < topup->below && acc->balance >= topup->below)
	{
		highest = topup->below;
		crossed = true;
	}
	for (int i = 0; i < lines->nbalance; i++)
	{
		Money		line = lines->balance[i];

		if (before < line && acc->balance >= line && (!crossed || line > highest))
		{
			highest = line;
			crossed = true;
		}
	}
	if (crossed && own->told)
		tell_balance(acc, EVENT_BALANCE_RECOVERED, highest);
}

/*
 * Tell whether a month has had as many top-ups as it may.
 */
static bool
topup_is_spent(const Topup *topup, DateADT month)
{
	return topup->max_per_month > 0 && topup->month == month && topup->count >= topup->max_per_month;
}

/*
 * Tell that a top-up is due, unless one is, or the month has had its number.
 */
static bool
watch_topup(Account *acc, OwnAlerts *own)
{
	Topup	   *topup = &own->topup;
	DateADT		month = period_month(acc->now);
	JsonOut		payload;
	pg_uuid_t	id;

	if (!topup->on || topup->due_key != NULL || acc->balance >= topup->below || topup_is_spent(topup, month))
		return false;
	uuidv7_make(&id, acc->now);
	topup->due_key = psprintf(TOPUP_KEY "%s", uuid_to_cstring(&id));
	topup->count = topup->month == month ? topup->count + 1 : 1;
	topup->month = month;
	tell_begin(acc, &payload);
	event_money(&payload, "line", topup->below);
	event_money(&payload, "amount", topup->amount);
	event_text(&payload, "idempotency_key", topup->due_key);
	event_add(acc, &id, EVENT_TOPUP_DUE, &payload);
	return true;
}

/*
 * Return the figure that the balance of an account has to fall below for
 * something to be told, the highest of several. An auto top-up that waits for
 * the next month is looked at with each operation.
 */
static Money
next_line(const Account *acc, const Lines *lines, const OwnAlerts *own)
{
	const Topup *topup = &own->topup;
	Money		next = own->exist || lines->has_balance ? NO_LINE : NO_ALERTS;

	if (topup->on && topup->due_key == NULL)
		next = topup->below;
	if ((lines->has_balance || topup->on) && acc->balance > 0)
		next = Max(next, EXHAUSTED_BELOW);
	for (int i = 0; i < lines->nbalance; i++)
		if (lines->balance[i] <= acc->balance)
			return Max(next, lines->balance[i]);
	return next;
}

/*
 * Tell whether a balance is below any line.
 */
static bool
is_below_any(const Account *acc, const Lines *lines, const Topup *topup)
{
	if (!lines->has_balance && !topup->on)
		return false;
	return acc->balance <= 0 || (lines->nbalance > 0 && acc->balance < lines->balance[0]) ||
		(topup->on && acc->balance < topup->below);
}

/*
 * Look at the balance of a locked account.
 */
static void
watch_balance(Account *acc, Lines *lines, OwnAlerts *own)
{
	bool		told = false;
	bool		topup_told = false;

	lines->has_balance |= own->topup.on;
	if (lines->has_balance)
	{
		told = watch_falls(acc, lines);
		topup_told = watch_topup(acc, own);
		watch_rise(acc, lines, own);
		told |= topup_told;
	}
	told = (own->told || told) && is_below_any(acc, lines, &own->topup);
	if (told != own->told || topup_told)
	{
		own->told = told;
		alerts_save(acc, own);
	}
	acc->alert_below = next_line(acc, lines, own);
}

/*
 * Return what of the allowance was used in the month of the operation when the
 * account was looked at last.
 */
static Spend
watched_allowance(Account *acc)
{
	Period		cycle = acc->cycle;
	Spend		used = acc->allowance_used;
	Spend		before;

	acc->cycle = acc->watched.cycle;
	acc->allowance_used = acc->watched.allowance_used;
	before = allowance_used(acc, acc->now);
	acc->cycle = cycle;
	acc->allowance_used = used;
	return before;
}

/*
 * percent_of returns the least amount that is a percentage of an amount or more.
 */
Money
percent_of(Money amount, int percent)
{
	return amount / 100 * percent + (amount % 100 * percent + 99) / 100;
}

/*
 * Tell which parts of the month's allowance an operation has reached.
 */
static void
watch_allowance(Account *acc, const Lines *lines)
{
	Money		allowance = acc->plan.free_allowance;
	Spend		before = watched_allowance(acc);
	Spend		used = allowance_used(acc, acc->now);
	JsonOut		payload;

	for (int i = 0; i < lines->nallowance; i++)
	{
		Money		line = percent_of(allowance, lines->allowance[i]);

		if (before >= line || used < line)
			continue;
		tell_begin(acc, &payload);
		event_int(&payload, "percent", lines->allowance[i]);
		event_text(&payload, "plan_id", acc->plan.id);
		event_money(&payload, "allowance", allowance);
		event_money(&payload, "used", (Money) Min(used, MONEY_MAX));
		event_add(acc, NULL, EVENT_ALLOWANCE_USED, &payload);
	}
}

/*
 * Tell whether the balance of a locked account, or its lines, have to be looked
 * at. As long as the balance neither rises nor falls below a line, and the lines
 * are the same, it needs not know them.
 */
static bool
balance_matters(const Account *acc, int64 mark)
{
	if (mark != acc->alert_mark || acc->lines_changed || acc->balance < acc->alert_below)
		return true;
	return acc->alert_below != NO_ALERTS && acc->balance > acc->watched.balance;
}

/*
 * Tell whether more of the allowance of a locked account is used, where
 * somebody may be told of it.
 */
static bool
allowance_matters(const Account *acc)
{
	if (acc->plan.free_allowance == 0 || acc->allowance_used == acc->watched.allowance_used)
		return false;
	return acc->alert_below != NO_ALERTS || acc->plan.alerts != NULL || lines_of_pricing()->nallowance > 0;
}

/*
 * Tell whether a locked account has spent, where it has caps and somebody may be
 * told of them.
 */
static bool
caps_matter(const Account *acc)
{
	if (acc->caps == 0 || acc->balance >= acc->watched.balance)
		return false;
	return acc->alert_below != NO_ALERTS || acc->plan.alerts != NULL || lines_of_pricing()->ncap > 0;
}

/*
 * alerts_watch looks what there is to tell of a locked account whose row is to
 * be written, and finds below which figure its balance is to be told next.
 */
void
alerts_watch(Account *acc)
{
	int64		mark = account_mark(acc);
	bool		balance = balance_matters(acc, mark);
	bool		allowance = allowance_matters(acc);
	bool		caps = caps_matter(acc);
	OwnAlerts	own;
	Lines		lines;

	if (balance || allowance || caps)
		alerts_lines(acc, &own, &lines);
	if (caps && lines.ncap > 0)
		caps_watch(acc, &lines);
	if (allowance)
		watch_allowance(acc, &lines);
	if (balance)
		watch_balance(acc, &lines, &own);
	acc->alert_mark = mark;
	acc->lines_changed = false;
	acc->watched.balance = acc->balance;
	acc->watched.cycle = acc->cycle;
	acc->watched.allowance_used = acc->allowance_used;
}
