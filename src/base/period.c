/*
 * period.c
 *		Days and months, in UTC whatever the session's time zone.
 */
#include "postgres.h"

#include "utils/datetime.h"

#include "base/period.h"

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
