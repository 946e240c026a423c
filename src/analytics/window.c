/*
 * window.c
 *		Who spent what, on which model, on which day; and what all entries of a
 *		day were.
 *
 * A window is answered from three sources that never overlap: periods of the
 * rollup that lie whole in the window, the rolled up entries of the hours at
 * its ends, and the entries that are not rolled up. All are read in the
 * snapshot of the calling statement, the state of the rollup too. On a cluster
 * the nodes sum up its entries.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "analytics/rollup.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/period.h"
#include "base/result.h"

PG_FUNCTION_INFO_V1(ducto_spend_by_user);
PG_FUNCTION_INFO_V1(ducto_spend_by_model);
PG_FUNCTION_INFO_V1(ducto_top_users);
PG_FUNCTION_INFO_V1(ducto_daily_spend);
PG_FUNCTION_INFO_V1(ducto_aggregate_stats);
PG_FUNCTION_INFO_V1(ducto_books);

/* Times of the ledger are far within, and their sums with a period no overflow. */
#define EARLIEST	(-INT64CONST(9000000000000000000))
#define LATEST		INT64CONST(9000000000000000000)

/* How long a window is when nothing is said. */
#define DEFAULT_DAYS	30

/* How many days ducto_daily_spend fills: a hundred years. */
#define MAX_FILLED	36600

/* How many users ducto_top_users returns when nothing is said. */
#define DEFAULT_TOP		10

/* How far ahead of a result users are fetched into the cache. */
#define PREFETCHED	8

/* A window of time, both ends included. */
typedef struct Window
{
	TimestampTz from;
	TimestampTz to;
	int			wanted;
	UsageSums  *sums;
	RollupState state;
	XactRange	rest[2];		/* transactions that are not rolled up */
	int			nrest;
} Window;

/*
 * Add an entry of the ledger to the sums of a window.
 */
static void
window_entry(const RolledEntry *entry, void *state)
{
	rolled_entry_add(entry, (UsageSums *) state);
}

/*
 * Add the entries of a range of transactions that were made in a time.
 */
static void
read_range(Window *window, const XactRange *range, TimestampTz from, TimestampTz to)
{
	rollup_read_ledger(range, from, to, usage_sums_books(window->sums) == NULL, true, window_entry, window->sums);
}

/*
 * Compare ranges for qsort.
 */
static int
range_compare(const void *a, const void *b)
{
	int64		x = ((const XactRange *) a)->first;
	int64		y = ((const XactRange *) b)->first;

	return x < y ? -1 : (x > y ? 1 : 0);
}

/*
 * Add the entries of a range of transactions without those that are not
 * rolled up; i is the first range of the rest to leave out.
 */
static void
read_rolled_up(Window *window, XactRange range, int i, TimestampTz from, TimestampTz to)
{
	for (; i < window->nrest; i++)
	{
		const XactRange *rest = &window->rest[i];

		if (rest->last < range.first || rest->first > range.last)
			continue;
		if (range.first < rest->first)
			read_rolled_up(window, (XactRange) {range.first, rest->first - 1}, i + 1, from, to);
		if (range.last > rest->last)
			read_rolled_up(window, (XactRange) {rest->last + 1, range.last}, i + 1, from, to);
		return;
	}
	read_range(window, &range, from, to);
}

/*
 * Add the rolled up entries of a piece of an hour: they are within the
 * transactions of the hour's parts.
 */
static void
read_piece(Window *window, TimestampTz from, TimestampTz to)
{
	TimestampTz hour = rollup_floor(from, LEVEL_HOUR);
	RollupPart *parts;
	XactRange  *ranges;
	int			n;
	int			last = 0;

	if (from > to || !window->state.exists)
		return;
	n = rollup_parts(LEVEL_HOUR, hour, hour + 1, true, &parts);
	if (n == 0)
		return;
	ranges = palloc(sizeof(XactRange) * n);
	for (int i = 0; i < n; i++)
		ranges[i] = parts[i].xacts;
	qsort(ranges, n, sizeof(XactRange), range_compare);
	for (int i = 1; i < n; i++)
	{
		if (ranges[i].first <= ranges[last].last)
			ranges[last].last = Max(ranges[last].last, ranges[i].last);
		else
			ranges[++last] = ranges[i];
	}
	for (int i = 0; i <= last; i++)
		read_rolled_up(window, ranges[i], 0, from, to);
}

/*
 * Add the rollup of whole hours, from one time to before another: by the
 * longest periods that exist, and what they leave by shorter ones.
 */
static void
read_periods(Window *window, int level, TimestampTz from, TimestampTz to)
{
	TimestampTz length = rollup_length(level);
	TimestampTz first = rollup_floor(from + length - 1, level);
	TimestampTz end = rollup_floor(to, level);
	TimestampTz covered = from;
	RollupPart *parts;
	int			n;

	CHECK_FOR_INTERRUPTS();
	if (from >= to)
		return;
	if (first >= end)
	{
		read_periods(window, level - 1, from, to);
		return;
	}
	n = rollup_parts(level, first, end, true, &parts);
	for (int i = 0; i < n; i++)
		rollup_part_sum(&parts[i], window->sums, window->wanted);
	if (level == LEVEL_HOUR)
		return;
	for (int i = 0; i < n; i++)
	{
		read_periods(window, level - 1, covered, parts[i].start);
		covered = parts[i].start + length;
	}
	read_periods(window, level - 1, covered, to);
}

/*
 * Open the window of a function, whose arguments it is from the nth on: the
 * last 30 days up to now where they are NULL.
 */
static void
window_open(FunctionCallInfo fcinfo, int n, int wanted, Window *window)
{
	memset(window, 0, sizeof(Window));
	window->to = PG_ARGISNULL(n + 1) ? clock_now() : arg_time(fcinfo, n + 1, "to_time");
	window->from = PG_ARGISNULL(n) ? window->to - DEFAULT_DAYS * USECS_PER_DAY : arg_time(fcinfo, n, "from_time");
	if (window->from > window->to)
		arg_reject("from_time", timestamptz_to_str(window->from), "\"from_time\" must not be after \"to_time\".");
	window->from = Max(window->from, EARLIEST);
	window->to = Min(window->to, LATEST);
	window->wanted = wanted;
	query_begin();
	window->sums = usage_sums_create(wanted);
	rollup_state_read(&window->state);
	window->nrest = rollup_rest(&window->state, window->rest);
}

/*
 * Sum up a window. Days and books are made of no periods that are longer.
 */
static void
window_sum(Window *window)
{
	TimestampTz first = rollup_floor(window->from + USECS_PER_HOUR - 1, LEVEL_HOUR);
	TimestampTz end = rollup_floor(window->to + 1, LEVEL_HOUR);
	int			wanted = window->wanted;

	if (cluster_is_used())
	{
		nodes_sum(window->from, window->to, wanted, window->sums);
		return;
	}
	if (!window->state.exists && usage_sums_books(window->sums) == NULL)
	{
		rollup_read_usage(window->from, window->to, window_entry, window->sums);
		return;
	}
	for (int i = 0; i < window->nrest; i++)
		read_range(window, &window->rest[i], window->from, window->to);
	if (!window->state.exists)
		return;
	if (first > end)
	{
		read_piece(window, window->from, window->to);
		return;
	}
	read_piece(window, window->from, first - 1);
	read_piece(window, end, window->to);
	window->wanted = wanted & (SUM_DAYS | SUM_BOOKS);
	if (window->wanted != 0)
		read_periods(window, LEVEL_DAY, first, end);
	window->wanted = wanted & (SUM_USERS | SUM_MODELS);
	if (window->wanted != 0)
		read_periods(window, LEVEL_LONGEST, first, end);
}

/*
 * Close a window and what was read for it.
 */
static void
window_close(Window *window)
{
	usage_sums_free(window->sums);
	query_end();
}

/*
 * Put users into a result, each with its spend and, where counted, its
 * entries.
 */
static Datum
result_users(FunctionCallInfo fcinfo, Window *window, int64 max_rows, bool counted)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ducto result rows", ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	int64		n;
	const UserSum **users = usage_sums_users(window->sums, &n);
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	n = Min(n, max_rows);
	for (int64 i = 0; i < n; i++)
	{
		/* in the order of their spend they are all over the memory */
		if (i + PREFETCHED < n)
			__builtin_prefetch(users[i + PREFETCHED]);
		result_uuid(&row, &users[i]->user);
		result_spend(&row, users[i]->spend);
		if (counted)
			result_int8(&row, users[i]->entries);
		result_put(&row);
		if (i % 1024 == 0)
		{
			CHECK_FOR_INTERRUPTS();
			MemoryContextReset(context);
		}
	}
	MemoryContextSwitchTo(previous);
	window_close(window);
	return (Datum) 0;
}

/*
 * ducto_spend_by_user returns what each user spent in a window. Arguments and
 * errors: see its COMMENT.
 */
Datum
ducto_spend_by_user(PG_FUNCTION_ARGS)
{
	Window		window;

	window_open(fcinfo, 0, SUM_USERS, &window);
	window_sum(&window);
	return result_users(fcinfo, &window, PG_INT64_MAX, true);
}

/*
 * ducto_top_users returns the users who spent most in a window. Arguments and
 * errors: see its COMMENT.
 */
Datum
ducto_top_users(PG_FUNCTION_ARGS)
{
	int			max_rows = arg_int_between(fcinfo, 0, "max_rows", 1, PG_INT32_MAX, DEFAULT_TOP);
	Window		window;

	window_open(fcinfo, 1, SUM_USERS, &window);
	window_sum(&window);
	return result_users(fcinfo, &window, max_rows, false);
}

/*
 * ducto_spend_by_model returns what was spent on each model in a window.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_spend_by_model(PG_FUNCTION_ARGS)
{
	Window		window;
	ModelSum  **models;
	int			n;
	ResultRow	row;

	window_open(fcinfo, 0, SUM_MODELS, &window);
	window_sum(&window);
	result_set_begin(&row, fcinfo);
	models = usage_sums_models(window.sums, &n);
	for (int i = 0; i < n; i++)
	{
		result_datum(&row, PointerGetDatum(cstring_to_text_with_len(models[i]->model.text, models[i]->model.length)));
		result_spend(&row, models[i]->spend);
		result_int8(&row, models[i]->entries);
		result_put(&row);
	}
	window_close(&window);
	return (Datum) 0;
}

/*
 * Put a day into a result.
 */
static void
result_day(ResultRow *row, const DaySum *day)
{
	result_datum(row, DateADTGetDatum(day->day));
	result_spend(row, day->spend);
	result_int8(row, day->entries);
	result_put(row);
}

/*
 * Put days without usage into a result: from one on, before another.
 */
static void
fill_days(ResultRow *row, DateADT from, DateADT before)
{
	for (DateADT day = from; day < before; day++)
	{
		DaySum		empty = {.day = day};

		result_day(row, &empty);
	}
}

/*
 * ducto_daily_spend returns what was spent on each day of a window. Arguments
 * and errors: see its COMMENT.
 */
Datum
ducto_daily_spend(PG_FUNCTION_ARGS)
{
	bool		fill = arg_bool_default(fcinfo, 2, false);
	Window		window;
	DaySum	  **days;
	DateADT		next;
	DateADT		end;
	int			n;
	ResultRow	row;

	window_open(fcinfo, 0, SUM_DAYS, &window);
	next = period_day(window.from);
	end = period_day(window.to) + 1;
	if (fill && end - next > MAX_FILLED)
		arg_reject("from_time", timestamptz_to_str(window.from),
				   psprintf("With \"fill\" a window has at most %d days.", MAX_FILLED));
	window_sum(&window);
	result_set_begin(&row, fcinfo);
	days = usage_sums_days(window.sums, &n);
	for (int i = 0; i < n; i++)
	{
		if (fill)
			fill_days(&row, next, days[i]->day);
		result_day(&row, days[i]);
		next = days[i]->day + 1;
	}
	if (fill)
		fill_days(&row, next, end);
	window_close(&window);
	return (Datum) 0;
}

/*
 * ducto_books returns what was booked in a window, by day and type. Arguments
 * and errors: see its COMMENT.
 */
Datum
ducto_books(PG_FUNCTION_ARGS)
{
	Window		window;
	BookSum   **books;
	int			n;
	ResultRow	row;

	window_open(fcinfo, 0, SUM_BOOKS, &window);
	window_sum(&window);
	result_set_begin(&row, fcinfo);
	books = book_sums_list(usage_sums_books(window.sums), &n);
	for (int i = 0; i < n; i++)
	{
		result_datum(&row, DateADTGetDatum(books[i]->key.day));
		result_datum(&row, PointerGetDatum(cstring_to_text_with_len(books[i]->key.type, books[i]->key.length)));
		result_int8(&row, books[i]->entries);
		result_spend(&row, books[i]->amount);
		result_spend(&row, books[i]->from_grants);
		result_spend(&row, books[i]->allowance);
		result_put(&row);
	}
	window_close(&window);
	return (Datum) 0;
}

/*
 * ducto_aggregate_stats returns the figures of a window. Arguments and errors:
 * see its COMMENT.
 */
Datum
ducto_aggregate_stats(PG_FUNCTION_ARGS)
{
	Window		window;
	const UserSum *top_user;
	ModelSum  **models;
	DaySum	  **days;
	int64		nusers;
	int			nmodels;
	int			ndays;
	Spend		total = 0;
	ResultRow	row;
	MemoryContext caller = CurrentMemoryContext;
	Datum		result;

	window_open(fcinfo, 0, SUM_USERS | SUM_MODELS | SUM_DAYS, &window);
	window_sum(&window);
	top_user = usage_sums_top_user(window.sums, &nusers);
	models = usage_sums_models(window.sums, &nmodels);
	days = usage_sums_days(window.sums, &ndays);
	for (int i = 0; i < ndays; i++)
		total += days[i]->spend;

	MemoryContextSwitchTo(caller);
	result_begin(&row, fcinfo);
	result_spend(&row, total);
	result_int8(&row, nusers);
	result_spend(&row, ndays > 0 ? (total + ndays / 2) / ndays : 0);
	result_text(&row, nmodels > 0 ? models[0]->model.text : NULL);
	result_uuid(&row, top_user != NULL ? &top_user->user : NULL);
	result = result_end(&row);
	window_close(&window);
	PG_RETURN_DATUM(result);
}
