/*
 * capwindow.c
 *		The rules of spend caps: which window a cap counts in, how it turns into
 *		the next one, and what counts. No tables here.
 *
 *		Hours, days, weeks and months are those of the account's time zone. A
 *		session opens with the first spend or hold after the last one ended. A
 *		sliding window counts in buckets of 1/60 of its length: the one that the
 *		clock is in, and the 60 before it. So what was spent counts for the whole
 *		length, and for at most 1/60 longer.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "account/capwindow.h"
#include "base/period.h"

/* By CapKind. */
const char *const cap_kinds[] = {"hourly", "daily", "weekly", "monthly", "total", "session", "sliding", NULL};

/* By CapAction. */
const char *const cap_actions[] = {NULL, "deny", "warn", "notify", NULL};

/*
 * cap_has_length tells whether the window of a kind has a length that is given.
 */
bool
cap_has_length(CapKind kind)
{
	return kind == CAP_SESSION || kind == CAP_SLIDING;
}

/*
 * cap_length_is_valid tells whether a session or a sliding window may have a
 * length: 1 minute to 1 year.
 */
bool
cap_length_is_valid(const Interval *length)
{
	int			years = length->month / MONTHS_PER_YEAR;
	int			months = length->month % MONTHS_PER_YEAR;
	double		seconds = (years * DAYS_PER_YEAR + months * DAYS_PER_MONTH + (double) length->day) * SECS_PER_DAY +
		(double) length->time / USECS_PER_SEC;

	return seconds >= SECS_PER_MINUTE && seconds <= DAYS_PER_YEAR * SECS_PER_DAY;
}

/*
 * cap_length returns the length of a session or a sliding window, in
 * microseconds, as extract(epoch) counts it: a day has 24 hours, a month 30
 * days, a year 365.25.
 */
int64
cap_length(const Cap *cap)
{
	const Interval *length = cap->window_length;
	int64		quarter_days = (int64) (length->month / MONTHS_PER_YEAR) * 1461 +
		(int64) (length->month % MONTHS_PER_YEAR) * DAYS_PER_MONTH * 4 + (int64) length->day * 4;

	return quarter_days * (USECS_PER_DAY / 4) + length->time;
}

/*
 * cap_make_buckets empties the buckets of a cap, and makes those of one that
 * slides and has none yet.
 */
void
cap_make_buckets(Cap *cap)
{
	cap->nbuckets = 0;
	if (cap->kind != CAP_SLIDING)
		return;
	if (cap->buckets == NULL)
		cap->buckets = palloc(sizeof(Spend) * CAP_BUCKETS);
	memset(cap->buckets, 0, sizeof(Spend) * CAP_BUCKETS);
}

/*
 * cap_bucket_width returns the width of a sliding window's buckets, in
 * microseconds: 60 are no shorter than the window.
 */
int64
cap_bucket_width(const Cap *cap)
{
	return (cap_length(cap) + CAP_BUCKETS - 1) / CAP_BUCKETS;
}

/*
 * cap_counts_from returns from when on a cap counts what is in its window.
 */
TimestampTz
cap_counts_from(const Cap *cap)
{
	return cap->kind == CAP_SLIDING ? cap->from - CAP_BUCKETS * cap_bucket_width(cap) : cap->from;
}

/*
 * Let the window of a cap be the hour, day, week or month of the account's time
 * zone that a time is in.
 */
static void
calendar_window(const Account *acc, Cap *cap, PeriodUnit unit, TimestampTz at)
{
	Period		period = period_calendar(unit, acc->zone, at);

	cap->from = period.start;
	cap->until = period.end;
}

/*
 * cap_window_at lets the window of a cap be that of a time; where it is a
 * session, the last one is over.
 */
void
cap_window_at(const Account *acc, Cap *cap, TimestampTz at)
{
	switch (cap->kind)
	{
		case CAP_HOURLY:
			calendar_window(acc, cap, PERIOD_HOUR, at);
			break;
		case CAP_DAILY:
			calendar_window(acc, cap, PERIOD_DAY, at);
			break;
		case CAP_WEEKLY:
			calendar_window(acc, cap, PERIOD_WEEK, at);
			break;
		case CAP_MONTHLY:
			calendar_window(acc, cap, PERIOD_MONTH, at);
			break;
		case CAP_TOTAL:
			cap->from = DT_NOBEGIN;
			cap->until = DT_NOEND;
			break;
		case CAP_SESSION:
			cap->from = cap->until;
			break;
		case CAP_SLIDING:
			cap->from = at - at % cap_bucket_width(cap);
			cap->until = cap->from + cap_bucket_width(cap);
			break;
	}
}

/*
 * session_is_open tells whether a session cap has a window that the clock is in.
 */
bool
session_is_open(const Account *acc, const Cap *cap)
{
	return cap->from <= acc->now && acc->now < cap->until;
}

/*
 * cap_is_in_window tells whether the window of a cap is that of the clock.
 */
bool
cap_is_in_window(const Account *acc, const Cap *cap)
{
	Cap			current = {.kind = cap->kind, .window_length = cap->window_length};

	if (cap->kind == CAP_SESSION)
		return session_is_open(acc, cap);
	cap_window_at(acc, &current, acc->now);
	return current.from == cap->from && current.until == cap->until;
}

/*
 * Return what is in the newest bucket of a sliding window.
 */
static Spend
newest_bucket(const Cap *cap)
{
	Spend		newest = cap->spent;

	for (int i = 0; i < cap->nbuckets; i++)
		newest -= cap->buckets[i];
	return newest;
}

/*
 * Move the buckets of a sliding window on by a number, and forget what is too
 * old.
 */
static void
buckets_shift(Cap *cap, int64 number)
{
	Spend		shifted[CAP_BUCKETS] = {0};
	Spend		newest = newest_bucket(cap);

	cap->spent = 0;
	if (number <= CAP_BUCKETS)
	{
		shifted[number - 1] = newest;
		for (int i = 0; i < cap->nbuckets && i + number < CAP_BUCKETS; i++)
			shifted[i + number] = cap->buckets[i];
	}
	memcpy(cap->buckets, shifted, sizeof(shifted));
	cap->nbuckets = 0;
	for (int i = 0; i < CAP_BUCKETS; i++)
	{
		cap->spent += cap->buckets[i];
		if (cap->buckets[i] != 0)
			cap->nbuckets = i + 1;
	}
}

/*
 * cap_turn brings a cap to the clock, which has not been set back: where its
 * window is over, to the next one.
 */
void
cap_turn(const Account *acc, Cap *cap)
{
	TimestampTz from = cap->from;

	if (acc->now < cap->until)
		return;
	cap_window_at(acc, cap, acc->now);
	if (cap->kind == CAP_SLIDING)
		buckets_shift(cap, (cap->from - from) / cap_bucket_width(cap));
	else
		cap->spent = 0;
}

/*
 * cap_count counts what is spent, and what is held more or less, in a cap that
 * was brought to the clock. It opens a session.
 */
void
cap_count(const Account *acc, Cap *cap, Money spent, Money held)
{
	if (cap->kind == CAP_SESSION && cap->from == cap->until && (spent > 0 || held > 0))
	{
		cap->from = acc->now;
		cap->until = acc->now + cap_length(cap);
	}
	cap->spent += spent;
	cap->held += held;
}

/*
 * cap_give_back takes what was spent at a time, and is refunded, out of a cap
 * that counts it. False: it does not.
 */
bool
cap_give_back(Cap *cap, Money amount, TimestampTz at)
{
	if (at < cap_counts_from(cap) || at >= cap->until)
		return false;
	if (at < cap->from)
	{
		int64		bucket = (cap->from - at - 1) / cap_bucket_width(cap);

		if (bucket >= cap->nbuckets)
			return false;
		cap->buckets[bucket] -= amount;
	}
	cap->spent -= amount;
	return true;
}

/*
 * cap_counted returns what counts against a cap that was brought to the clock.
 */
Spend
cap_counted(const Cap *cap)
{
	return cap->spent + cap->held;
}

/*
 * Return when, of a sliding window, an amount fits if nothing more is spent;
 * where it never does, or does now, when all that was spent has left.
 */
static TimestampTz
sliding_resets_at(const Cap *cap, Money amount)
{
	int64		width = cap_bucket_width(cap);
	Spend		rest = cap_is_exceeded(cap, amount) ? cap_counted(cap) + amount - cap->limit : cap->spent;
	TimestampTz at = DT_NOEND;

	for (int i = cap->nbuckets; i >= 0; i--)
	{
		Spend		leaves = i > 0 ? cap->buckets[i - 1] : newest_bucket(cap);

		if (leaves <= 0)
			continue;
		at = cap->from + (CAP_BUCKETS + 1 - i) * width;
		rest -= leaves;
		if (rest <= 0)
			break;
	}
	return at;
}

/*
 * cap_resets_at returns when a cap that was brought to the clock counts anew,
 * infinity for never; a sliding one, when it admits an amount.
 */
TimestampTz
cap_resets_at(const Cap *cap, Money amount)
{
	if (cap->kind == CAP_SLIDING)
		return sliding_resets_at(cap, amount);
	return cap->from == cap->until ? DT_NOEND : cap->until;
}
