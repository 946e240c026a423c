/*
 * clock.c
 *		The one clock: all time that decides, or is written, comes from here.
 *
 *		Where ducto.test_clock is on, it is the server's clock and what
 *		ducto_advance_clock added to it: the row of ducto.test_clock. Each look
 *		at the clock reads what is committed of that, and what the transaction
 *		itself has added, as a clock that goes on does not wait for snapshots.
 *		On a cluster the row is on every node, in a table that is Citus's part of
 *		ducto.test_clock there.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "fmgr.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/setting.h"

/* The test clock stays before the year 10000, the last that an id has room for. */
#define TEST_CLOCK_END \
	((TimestampTz) (date2j(10000, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY)

PG_FUNCTION_INFO_V1(ducto_clock);
PG_FUNCTION_INFO_V1(ducto_clock_ahead);
PG_FUNCTION_INFO_V1(ducto_advance_clock);

/* Locks the row, which it makes when there is none: advances of several sessions add up. */
static KeptQuery clock_lock_query = {
	.sql = "INSERT INTO ducto.test_clock AS c (ahead) VALUES ('0') ON CONFLICT (id) DO UPDATE SET ahead = c.ahead",
	.types = {0}
};

/* The caller has the row's lock. */
static KeptQuery clock_advance_query = {
	.sql = "UPDATE ducto.test_clock SET ahead = ahead + $1",
	.types = {INTERVALOID},
	.whole = true
};

/*
 * Read how far a row says that the test clock is ahead.
 */
static int64
ahead_from_row(HeapTuple row, TupleDesc desc, AttrNumber column)
{
	bool		isnull;
	Interval   *ahead = DatumGetIntervalP(heap_getattr(row, column, desc, &isnull));

	return isnull ? 0 : ahead->time + (ahead->day + (int64) DAYS_PER_MONTH * ahead->month) * USECS_PER_DAY;
}

/*
 * Return the table that has the rows of one which is on every node of a
 * cluster: what Citus has made of it on this one; the table itself elsewhere.
 */
static Oid
table_here(const char *name, Oid schema)
{
	Oid			table = get_relname_relid(name, schema);
	Oid			catalog = get_relname_relid("pg_dist_shard", PG_CATALOG_NAMESPACE);
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	row;

	if (!OidIsValid(table) || !OidIsValid(catalog))
		return table;
	rel = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, get_attnum(catalog, "logicalrelid"), BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
	{
		bool		isnull;
		Datum		shard = heap_getattr(row, get_attnum(catalog, "shardid"), RelationGetDescr(rel), &isnull);

		table = get_relname_relid(psprintf("%s_" INT64_FORMAT, name, DatumGetInt64(shard)), schema);
		if (!OidIsValid(table))
			elog(ERROR, "table %s is not on this node", name);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return table;
}

/*
 * Return how far the test clock is ahead. It reads the table without SPI: the
 * clock is looked at between a statement and its result, too.
 */
static int64
clock_ahead(void)
{
	Oid			table = table_here("test_clock", get_namespace_oid("ducto", true));
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	row;
	int64		ahead = 0;

	if (!OidIsValid(table))
		return 0;
	rel = table_open(table, AccessShareLock);
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	row = systable_getnext(scan);
	if (HeapTupleIsValid(row))
		ahead = ahead_from_row(row, RelationGetDescr(rel), get_attnum(table, "ahead"));
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return ahead;
}

/*
 * clock_now returns the time of the call, not that of the transaction's start.
 */
TimestampTz
clock_now(void)
{
	if (setting_test_clock())
		return GetCurrentTimestamp() + clock_ahead();
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

/*
 * Return an interval of some microseconds.
 */
static Interval *
interval_of(int64 microseconds)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = microseconds;
	return interval;
}

/*
 * ducto.clock_ahead returns how far the test clock is ahead of the server's,
 * NULL where it is off.
 */
Datum
ducto_clock_ahead(PG_FUNCTION_ARGS)
{
	if (!setting_test_clock())
		PG_RETURN_NULL();
	PG_RETURN_INTERVAL_P(interval_of(clock_ahead()));
}

/*
 * Return the time that an interval leads to, which is by the calendar in UTC.
 */
static TimestampTz
clock_after(TimestampTz now, Interval *by)
{
	TimestampTz to = DatumGetTimestamp(DirectFunctionCall2(timestamp_pl_interval, TimestampGetDatum(now), IntervalPGetDatum(by)));

	if (to < now || to >= TEST_CLOCK_END)
		arg_reject("by", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(by))),
				   to < now ? "\"by\" must not be negative: no clock goes back." :
				   "\"by\" must leave the clock before the year 10000.");
	return to;
}

/*
 * ducto_advance_clock moves the test clock. It locks that until the end of the
 * transaction. Arguments and errors: see its COMMENT.
 */
Datum
ducto_advance_clock(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};
	Interval   *by;
	TimestampTz now;

	arg_require(fcinfo, 0, "by");
	by = PG_GETARG_INTERVAL_P(0);
	if (!setting_test_clock())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the test clock is off"),
				 errhint("A superuser turns it on for a database of tests, for sessions that start then:"
						 " ALTER DATABASE ... SET ducto.test_clock = on.")));
	query_begin();
	query_run(&clock_lock_query, &args, SPI_OK_INSERT);
	now = clock_now();
	args_datum(&args, IntervalPGetDatum(interval_of(clock_after(now, by) - now)));
	query_run(&clock_advance_query, &args, SPI_OK_UPDATE);
	now = clock_now();
	query_end();
	PG_RETURN_TIMESTAMPTZ(now);
}
