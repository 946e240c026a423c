/*
 * period.c
 *		Hours, days, weeks, months and years, by the calendar of a time zone, and
 *		cycles that repeat the day and time of an anchor there. No tables here,
 *		and never the session's time zone.
 *
 *		A period begins at the first instant at which the clocks of its zone show
 *		the time of its beginning or a later one: where they are set forward over
 *		it, with that; where they show it twice, with the first.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/fmgrprotos.h"

#include "base/args.h"
#include "base/period.h"
#include "base/query.h"
#include "base/zone.h"

/* Clocks are nowhere further from UTC. */
#define MAX_OFFSET_USECS	(26 * USECS_PER_HOUR)

PG_FUNCTION_INFO_V1(ducto_period);

/*
 * period_unit_find tells which unit a word names; false for none.
 */
bool
period_unit_find(const char *word, PeriodUnit *unit)
{
	static const char *const words[] = {"hour", "day", "week", "month", "year"};

	for (int i = 0; i < lengthof(words); i++)
		if (strcmp(word, words[i]) == 0)
		{
			*unit = (PeriodUnit) i;
			return true;
		}
	return false;
}

/*
 * Return what the clocks of a zone show at a time.
 */
static Timestamp
zone_clock(TimestampTz at, pg_tz *zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			west;

	if (zone == NULL)
		return at;
	if (timestamp2tm(at, &west, &tm, &fsec, NULL, zone) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return at - west * USECS_PER_SEC;
}

/*
 * Return the first instant at which the clocks of a zone show a time or a later
 * one.
 */
static TimestampTz
zone_instant(Timestamp shown, pg_tz *zone)
{
	pg_time_t	from;
	pg_time_t	turn;
	long int	offset;
	long int	later_offset;
	int			isdst;
	TimestampTz at;

	if (zone == NULL)
		return shown;
	from = timestamptz_to_time_t(shown - MAX_OFFSET_USECS);
	for (;;)
	{
		int			turns = pg_next_dst_boundary(&from, &offset, &isdst, &turn, &later_offset, &isdst, zone);
		TimestampTz turn_at;

		at = shown - offset * USECS_PER_SEC;
		if (turns <= 0)
			return at;
		turn_at = time_t_to_timestamptz(turn);
		if (at < turn_at)
			return at;
		if (turn_at + later_offset * USECS_PER_SEC >= shown)
			return turn_at;
		from = turn;
	}
}

/*
 * Return a time on the clocks some units after another: the same time of the
 * day, and in months and years the same day or the month's last.
 */
static Timestamp
clock_shift(Timestamp from, PeriodUnit unit, int64 n)
{
	DateADT		day = period_day(from);
	int			year;
	int			month;
	int			mday;
	int64		count;

	if (unit == PERIOD_DAY || unit == PERIOD_WEEK)
		return from + n * (unit == PERIOD_WEEK ? 7 : 1) * USECS_PER_DAY;
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	count = (int64) year * MONTHS_PER_YEAR + month - 1 + n * (unit == PERIOD_YEAR ? MONTHS_PER_YEAR : 1);
	year = (int) (count / MONTHS_PER_YEAR);
	month = (int) (count % MONTHS_PER_YEAR) + 1;
	mday = Min(mday, day_tab[isleap(year)][month - 1]);
	return from + (int64) (date2j(year, month, mday) - POSTGRES_EPOCH_JDATE - day) * USECS_PER_DAY;
}

/*
 * Return about how many units lie between two times on the clocks.
 */
static int64
clock_distance(Timestamp from, Timestamp to, PeriodUnit unit)
{
	int			year[2];
	int			month[2];
	int			mday;

	if (unit == PERIOD_DAY || unit == PERIOD_WEEK)
		return (to - from) / USECS_PER_DAY / (unit == PERIOD_WEEK ? 7 : 1);
	j2date(period_day(from) + POSTGRES_EPOCH_JDATE, &year[0], &month[0], &mday);
	j2date(period_day(to) + POSTGRES_EPOCH_JDATE, &year[1], &month[1], &mday);
	if (unit == PERIOD_YEAR)
		return year[1] - year[0];
	return (int64) (year[1] - year[0]) * MONTHS_PER_YEAR + month[1] - month[0];
}

/*
 * Return when the cycle number n begins; that of the anchor has the number 0.
 * The calendar's begin at midnight, weeks on Monday.
 */
static TimestampTz
cycle_start(const PeriodRule *rule, Timestamp shown, int64 n)
{
	if (n == 0 && !TIMESTAMP_IS_NOBEGIN(rule->anchor))
		return rule->anchor;
	return zone_instant(clock_shift(shown, rule->unit, n), rule->zone);
}

/*
 * Return the hour of a zone that a time is in. Where its clocks are moved by
 * less than an hour, that divides an hour.
 */
static Period
hour_find(TimestampTz at, pg_tz *zone)
{
	Timestamp	shown = zone_clock(at, zone);
	int64		past = (shown % USECS_PER_HOUR + USECS_PER_HOUR) % USECS_PER_HOUR;
	Period		hour = {.start = at - past, .end = at - past + USECS_PER_HOUR};
	pg_time_t	from;
	pg_time_t	turn;
	long int	offset;
	long int	later_offset;
	int			isdst;

	if (zone == NULL)
		return hour;
	from = timestamptz_to_time_t(hour.start);
	while (pg_next_dst_boundary(&from, &offset, &isdst, &turn, &later_offset, &isdst, zone) > 0)
	{
		TimestampTz turn_at = time_t_to_timestamptz(turn);

		if (turn_at >= hour.end)
			break;
		if (turn_at <= at)
			hour.start = Max(hour.start, turn_at);
		else
			hour.end = turn_at;
		from = turn;
	}
	return hour;
}

/*
 * period_find returns the period of a rule that a time is in.
 */
Period
period_find(const PeriodRule *rule, TimestampTz at)
{
	Timestamp	shown = 0;
	int64		n;
	Period		period;

	if (rule->unit == PERIOD_HOUR)
		return hour_find(at, rule->zone);
	if (!TIMESTAMP_IS_NOBEGIN(rule->anchor))
		shown = zone_clock(rule->anchor, rule->zone);
	else if (rule->unit == PERIOD_WEEK)
		shown = 2 * USECS_PER_DAY;	/* Monday, 3 January 2000 */
	n = clock_distance(shown, zone_clock(at, rule->zone), rule->unit);
	while ((period.start = cycle_start(rule, shown, n)) > at)
		n--;
	while ((period.end = cycle_start(rule, shown, n + 1)) <= at)
	{
		period.start = period.end;
		n++;
	}
	return period;
}

/*
 * period_calendar returns the hour, day, week, month or year of a zone, NULL
 * for UTC, that a time is in.
 */
Period
period_calendar(PeriodUnit unit, pg_tz *zone, TimestampTz at)
{
	PeriodRule	rule = {.unit = unit, .anchor = DT_NOBEGIN, .zone = zone};

	return period_find(&rule, at);
}

/*
 * period_date returns the day of a time in a zone, NULL for UTC.
 */
DateADT
period_date(TimestampTz at, pg_tz *zone)
{
	return period_day(zone_clock(at, zone));
}

/*
 * period_later returns the time an interval after another, by the clocks of a
 * zone, NULL for UTC.
 */
TimestampTz
period_later(TimestampTz at, const Interval *by, pg_tz *zone)
{
	Interval	date = {.day = by->day, .month = by->month};
	Timestamp	shown = zone_clock(at, zone);
	Timestamp	later = DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(shown),
															  IntervalPGetDatum(&date)));

	/* Hours are hours, whatever the clocks show. */
	return (later == shown ? at : zone_instant(later, zone)) + by->time;
}

/*
 * ducto.period returns the start and the end of a period, for tests and
 * ducto_verify.
 */
Datum
ducto_period(PG_FUNCTION_ARGS)
{
	PeriodRule	rule = {
		.anchor = PG_ARGISNULL(2) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(2),
		.zone = zone_find(PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3))),
	};
	QueryArgs	array = {0};
	Period		period;
	TimestampTz bounds[2];

	if (!period_unit_find(PG_ARGISNULL(0) ? "month" : text_to_cstring(PG_GETARG_TEXT_PP(0)), &rule.unit))
		arg_reject("unit", text_to_cstring(PG_GETARG_TEXT_PP(0)), "\"unit\" must be hour, day, week, month or year.");
	period = period_find(&rule, arg_time(fcinfo, 1, "at"));
	bounds[0] = period.start;
	bounds[1] = period.end;
	args_time_array(&array, bounds, lengthof(bounds));
	PG_RETURN_DATUM(array.values[0]);
}

/*
 * period_day returns the day of a time.
 */
DateADT
period_day(TimestampTz at)
{
	TimestampTz day = at / USECS_PER_DAY;

	return (DateADT) (at % USECS_PER_DAY < 0 ? day - 1 : day);
}

/*
 * Return the first day of the month that lies some months after that of a
 * day.
 */
static DateADT
month_start(DateADT day, int ahead)
{
	int			year;
	int			month;
	int			mday;

	Assert(ahead >= 0 && ahead <= 12);
	j2date(day + POSTGRES_EPOCH_JDATE, &year, &month, &mday);
	month += ahead;
	if (month > 12)
	{
		month -= 12;
		year++;
	}
	return date2j(year, month, 1) - POSTGRES_EPOCH_JDATE;
}

/*
 * period_month returns the first day of the month of a time.
 */
DateADT
period_month(TimestampTz at)
{
	return month_start(period_day(at), 0);
}

/*
 * period_next_month returns the first day of the month after a month.
 */
DateADT
period_next_month(DateADT month)
{
	return month_start(month, 1);
}

/*
 * period_start returns the time at which a day begins.
 */
TimestampTz
period_start(DateADT day)
{
	return (TimestampTz) day * USECS_PER_DAY;
}
