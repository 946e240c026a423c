/*
 * clock.c
 *		The one clock: all time that decides, or is written, comes from here.
 */
#include "postgres.h"

#include "fmgr.h"

#include "base/clock.h"

PG_FUNCTION_INFO_V1(ducto_clock);

/*
 * clock_now returns the time of the call, not that of the transaction's start.
 */
TimestampTz
clock_now(void)
{
	return GetCurrentTimestamp();
}

/*
 * ducto.clock returns the same to SQL.
 */
Datum
ducto_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
