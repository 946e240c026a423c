/*
 * rollup.c
 *		Rolling up the ledger: usage by user and by model, for periods of an hour
 *		and more, and all entries by type, for hours and days and in total.
 *
 * An entry of the ledger goes into the part of its hour, and into those of the
 * longer periods around it that exist already. Longer periods are made of
 * shorter ones when they are over. What is rolled up is told by transactions,
 * not by times: those that ended before the oldest one that still runs.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "analytics/rollup.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/progress.h"
#include "base/xact.h"

PG_FUNCTION_INFO_V1(ducto_rollup);
PG_FUNCTION_INFO_V1(ducto_rollup_rebuild);

#define CELLS_KEPT	100000		/* in memory, before they are written */
#define HOUR_CELLS	24			/* that an hour takes as much memory as */
#define ENTRIES_A_STEP	1000	/* after which progress may be told */

/* What was used in an hour, of entries that were read, and in which transactions. */
typedef struct FoldHour
{
	TimestampTz start;
	UsageSums  *sums;
	XactRange	xacts;
	char		status;
} FoldHour;

#define SH_PREFIX		fold_hours
#define SH_ELEMENT_TYPE	FoldHour
#define SH_KEY_TYPE		TimestampTz
#define SH_KEY			start
#define SH_HASH_KEY(table, key)	murmurhash32((uint32) ((key) / USECS_PER_HOUR))
#define SH_EQUAL(table, a, b)	((a) == (b))
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Entries that were read and not written yet. */
typedef struct Fold
{
	MemoryContext context;
	fold_hours_hash *hours;
	int64		cells;			/* that all hours take as much memory as */
	BookSums   *total;			/* of what was written, and all before */
	int64		entries;		/* that were read */
	Progress	progress;
} Fold;

static KeptQuery horizon_query = {
	.sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
};

static KeptQuery nth_query = {
	.sql = "SELECT xact FROM ducto.ledger WHERE xact >= $1 AND xact <= $2"
	" ORDER BY xact OFFSET $3 LIMIT 1",
	.types = {INT8OID, INT8OID, INT8OID}
};

/*
 * Let a fold have nothing.
 */
static void
fold_reset(Fold *fold)
{
	MemoryContextReset(fold->context);
	fold->hours = fold_hours_create(fold->context, 64, NULL);
	fold->cells = 0;
}

/*
 * Compare hours for qsort.
 */
static int
fold_compare(const void *a, const void *b)
{
	TimestampTz x = (*(FoldHour *const *) a)->start;
	TimestampTz y = (*(FoldHour *const *) b)->start;

	return x < y ? -1 : (x > y ? 1 : 0);
}

/*
 * Add an hour to its own period, to the longer ones around it that exist, and
 * to the total.
 */
static void
fold_write_hour(const FoldHour *hour, BookSums *total)
{
	Assert(hour->xacts.first <= hour->xacts.last);
	book_sums_add_total(total, usage_sums_books(hour->sums));
	query_begin();
	for (int level = LEVEL_HOUR; level < ROLLUP_LEVELS; level++)
	{
		TimestampTz start = rollup_floor(hour->start, level);

		if (level == LEVEL_HOUR || rollup_exists(level, start))
			rollup_add(level, start, &hour->xacts, hour->sums);
	}
	query_end();
}

/*
 * Write what a fold has, in the order of time.
 */
static void
fold_flush(Fold *fold)
{
	FoldHour  **list = MemoryContextAlloc(fold->context, sizeof(FoldHour *) * Max(fold->hours->members, 1));
	fold_hours_iterator it;
	FoldHour   *hour;
	int			n = 0;

	fold_hours_start_iterate(fold->hours, &it);
	while ((hour = fold_hours_iterate(fold->hours, &it)) != NULL)
		list[n++] = hour;
	qsort(list, n, sizeof(FoldHour *), fold_compare);
	for (int i = 0; i < n; i++)
		fold_write_hour(list[i], fold->total);
	fold_reset(fold);
}

/*
 * Return the hour of a time in a fold.
 */
static FoldHour *
fold_hour(Fold *fold, const RolledEntry *entry)
{
	MemoryContext previous;
	bool		found;
	FoldHour   *hour = fold_hours_insert(fold->hours, rollup_floor(entry->created_at, LEVEL_HOUR), &found);

	if (!found)
	{
		previous = MemoryContextSwitchTo(fold->context);
		hour->sums = usage_sums_create(rollup_sums(LEVEL_HOUR));
		MemoryContextSwitchTo(previous);
		hour->xacts = (XactRange) {entry->xact, entry->xact};
		fold->cells += HOUR_CELLS;
	}
	return hour;
}

/*
 * Add an entry to a fold.
 */
static void
fold_entry(const RolledEntry *entry, void *state)
{
	Fold	   *fold = state;
	FoldHour   *hour;

	if (fold->cells >= CELLS_KEPT)
		fold_flush(fold);
	if (++fold->entries % ENTRIES_A_STEP == 0 && progress_is_due(&fold->progress))
		ereport(NOTICE, (errmsg("rolled up " INT64_FORMAT " entries", fold->entries)));
	hour = fold_hour(fold, entry);
	fold->cells -= usage_sums_cells(hour->sums);
	rolled_entry_add(entry, hour->sums);
	fold->cells += usage_sums_cells(hour->sums);
	hour->xacts.first = Min(hour->xacts.first, entry->xact);
	hour->xacts.last = Max(hour->xacts.last, entry->xact);
}

/*
 * Return the transaction of the nth entry of a range, counted from 0;
 * false when there are fewer.
 */
static bool
nth_xact(const XactRange *range, int64 n, int64 *xact)
{
	QueryArgs	args = {0};

	args_int8(&args, range->first);
	args_int8(&args, range->last);
	args_int8(&args, n);
	if (query_run(&nth_query, &args, SPI_OK_SELECT) == 0)
		return false;
	*xact = row_int8(0, 1);
	return true;
}

/*
 * Cut a range so that it has about as many entries as wanted: a transaction
 * is never cut.
 */
static void
range_limit(XactRange *range, int64 max_rows)
{
	int64		first;
	int64		beyond;

	if (nth_xact(range, max_rows, &beyond) && nth_xact(range, 0, &first))
		range->last = beyond > first ? beyond - 1 : beyond;
	Assert(range->first <= range->last);
}

/*
 * Read the next range of transactions into a fold; false when there is
 * none. Those from the horizon on may still bring entries.
 */
static bool
fold_next(Fold *fold, RollupState *state, int64 horizon, int64 *left)
{
	XactRange	range = {state->next, state->next > xact_last_here() ? PG_INT64_MAX : horizon - 1};

	if (range.first > range.last || *left <= 0)
		return false;
	if (*left < PG_INT64_MAX)
		range_limit(&range, *left);
	*left -= (int64) rollup_read_ledger(&range, DT_NOBEGIN, DT_NOEND, false, false, fold_entry, fold);
	state->next = range.last == PG_INT64_MAX ? PG_INT64_MIN : range.last + 1;
	return true;
}

/*
 * Make a period of a level of those of the level below.
 */
static void
build_period(int level, TimestampTz start)
{
	RollupPart *parts;
	int			n = rollup_parts(level - 1, start, start + rollup_length(level), false, &parts);
	UsageSums  *sums = NULL;
	XactRange	xacts;

	for (int i = 0; i < n; i++)
	{
		if (sums == NULL)
		{
			sums = usage_sums_create(rollup_sums(level));
			xacts = parts[i].xacts;
		}
		rollup_part_sum(&parts[i], sums, rollup_sums(level));
		xacts.first = Min(xacts.first, parts[i].xacts.first);
		xacts.last = Max(xacts.last, parts[i].xacts.last);
		if (i == n - 1 || usage_sums_cells(sums) >= CELLS_KEPT)
		{
			rollup_add(level, start, &xacts, sums);
			usage_sums_free(sums);
			sums = NULL;
		}
	}
}

/*
 * Make the longer periods that are over and not made yet.
 */
static void
build_periods(Progress *progress)
{
	TimestampTz now = clock_now();

	for (int level = LEVEL_DAY; level < ROLLUP_LEVELS; level++)
	{
		TimestampTz *starts;
		int			n;

		query_begin();
		n = rollup_unbuilt(level, now, &starts);
		for (int i = 0; i < n; i++)
		{
			query_begin();
			build_period(level, starts[i]);
			query_end();
			if (progress_is_due(progress))
				ereport(NOTICE,
						(errmsg("made %d of %d periods of %d hours", i + 1, n,
								(int) (rollup_length(level) / USECS_PER_HOUR))));
		}
		query_end();
	}
}

/*
 * Roll up at most about as many entries as wanted, from a state that is
 * locked, and return how many they were.
 */
static int64
roll_up(RollupState *state, int64 max_rows)
{
	Fold		fold = {
		.context = AllocSetContextCreate(CurrentMemoryContext, "ducto fold", ALLOCSET_DEFAULT_SIZES),
		.total = state->total
	};
	QueryArgs	args = {0};
	int64		left = max_rows;
	int64		horizon;

	query_run(&horizon_query, &args, SPI_OK_SELECT);
	horizon = xact_number((uint64) row_int8(0, 1));
	fold_reset(&fold);
	progress_begin(&fold.progress);
	while (fold_next(&fold, state, horizon, &left))
		CHECK_FOR_INTERRUPTS();
	fold_flush(&fold);
	build_periods(&fold.progress);
	rollup_state_write(state);
	return max_rows - left;
}

/*
 * Roll up at most about as many entries as wanted, from where the last one
 * ended or anew, and return how many they were: none on a cluster, whose
 * analytics read the ledger.
 */
static int64
roll_up_here(int64 max_rows, bool anew)
{
	RollupState state;

	if (cluster_is_used())
		return 0;
	rollup_state_lock(&state, anew);
	return roll_up(&state, max_rows);
}

/*
 * ducto_rollup rolls up entries of the ledger that can no longer change.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_rollup(PG_FUNCTION_ARGS)
{
	int64		max_rows = arg_int_between(fcinfo, 0, "max_rows", 1, PG_INT32_MAX, PG_INT32_MAX);
	int64		entries;

	if (PG_ARGISNULL(0))
		max_rows = PG_INT64_MAX;
	query_begin();
	entries = roll_up_here(max_rows, false);
	query_end();
	PG_RETURN_INT64(entries);
}

/*
 * Tell whether there are entries that are not rolled up, as far as this can be
 * seen without a lock.
 */
static bool
rollup_is_behind(void)
{
	RollupState state;
	XactRange	rest[2];
	int64		xact;

	rollup_state_read(&state);
	if (!state.exists)
		return true;
	for (int i = rollup_rest(&state, rest) - 1; i >= 0; i--)
		if (nth_xact(&rest[i], 0, &xact))
			return true;
	return false;
}

/*
 * rollup_advance rolls up a part of the ledger, unless another session does.
 * Where nothing is new it leaves periods that are over since to the next
 * entries.
 */
void
rollup_advance(int64 max_rows)
{
	RollupState state;

	if (!cluster_is_used() && rollup_is_behind() && rollup_state_try_lock(&state))
		(void) roll_up(&state, max_rows);
}

/*
 * ducto_rollup_rebuild throws the rollup away and makes it anew. Errors: see
 * its COMMENT.
 */
Datum
ducto_rollup_rebuild(PG_FUNCTION_ARGS)
{
	int64		entries;

	query_begin();
	entries = roll_up_here(PG_INT64_MAX, true);
	query_end();
	PG_RETURN_INT64(entries);
}
