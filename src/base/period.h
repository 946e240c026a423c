#ifndef DUCTO_BASE_PERIOD_H
#define DUCTO_BASE_PERIOD_H

#include "postgres.h"
#include "pgtime.h"
#include "utils/date.h"
#include "utils/timestamp.h"

typedef enum PeriodUnit
{
	PERIOD_HOUR,
	PERIOD_DAY,
	PERIOD_WEEK,
	PERIOD_MONTH,
	PERIOD_YEAR
} PeriodUnit;

/* How time is divided: by the calendar of a zone, or in cycles that repeat an anchor's day and time there. */
typedef struct PeriodRule
{
	PeriodUnit	unit;
	TimestampTz anchor;			/* -infinity for the calendar */
	pg_tz	   *zone;			/* NULL for UTC */
} PeriodRule;

/* It lasts from its start until just before its end. */
typedef struct Period
{
	TimestampTz start;
	TimestampTz end;
} Period;

extern bool period_unit_find(const char *word, PeriodUnit *unit);
extern Period period_find(const PeriodRule *rule, TimestampTz at);
extern Period period_calendar(PeriodUnit unit, pg_tz *zone, TimestampTz at);
extern DateADT period_date(TimestampTz at, pg_tz *zone);
extern TimestampTz period_later(TimestampTz at, const Interval *by, pg_tz *zone);

/* Days and months are UTC. */
extern DateADT period_day(TimestampTz at);
extern DateADT period_month(TimestampTz at);
extern DateADT period_next_month(DateADT month);
extern TimestampTz period_start(DateADT day);

#endif
