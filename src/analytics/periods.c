/*
 * periods.c
 *		The table usage_rollup: periods of some lengths, each in parts.
 */
#include "postgres.h"

#include "utils/array.h"

#include "analytics/rollup.h"
#include "base/cluster.h"
#include "base/xact.h"

#define PARTS_MAX	4			/* of a period: one more, and they are merged */
#define CELLS_MAX	1000000		/* of parts that are merged */

/* The row that tells how far the ledger is rolled up. */
#define STATE_KEY	"hours = 0 AND start = '-infinity' AND part = 0"

static const int level_hours[ROLLUP_LEVELS] = {1, 24, 96, 384, 1536};

/* It counts only in the cluster that wrote it. */
static KeptQuery state_query = {
	.sql = "SELECT next_xact FROM ducto.usage_rollup WHERE " STATE_KEY " AND first_xact = $1",
	.types = {INT8OID}
};

static KeptQuery state_insert_query = {
	.sql = "INSERT INTO ducto.usage_rollup (hours, start, part, cells, first_xact, next_xact,"
	" types, type_entries, type_amount, type_from_grants, type_allowance)"
	" VALUES (0, '-infinity', 0, 0, $1, $2, '{}', '{}', '{}', '{}', '{}') ON CONFLICT DO NOTHING",
	.types = {INT8OID, INT8OID}
};

#define STATE_SELECT \
	"SELECT first_xact, next_xact, types, type_entries, type_amount, type_from_grants, type_allowance" \
	" FROM ducto.usage_rollup WHERE " STATE_KEY

enum
{
	STATE_FIRST_XACT = 1, STATE_NEXT_XACT, STATE_ARRAYS
};

static KeptQuery state_lock_query = {
	.sql = STATE_SELECT " FOR UPDATE",
};

static KeptQuery state_try_lock_query = {
	.sql = STATE_SELECT " FOR UPDATE SKIP LOCKED",
};

static KeptQuery state_write_query = {
	.sql = "UPDATE ducto.usage_rollup SET first_xact = $1, next_xact = $2, types = $3, type_entries = $4,"
	" type_amount = $5, type_from_grants = $6, type_allowance = $7 WHERE " STATE_KEY,
	.types = {INT8OID, INT8OID, TEXTARRAYOID, INT8ARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID}
};

static KeptQuery clear_query = {
	.sql = "DELETE FROM ducto.usage_rollup WHERE hours > 0",
	.whole = true
};

static KeptQuery discard_query = {
	.sql = "DELETE FROM ducto.usage_rollup",
	.whole = true
};

static KeptQuery parts_query = {
	.sql = "SELECT start, first_xact, next_xact, models, model_spend, model_entries, users, user_spend, user_entries,"
	" types, type_entries, type_amount, type_from_grants, type_allowance"
	" FROM ducto.usage_rollup WHERE hours = $1 AND start >= $2 AND start < $3 ORDER BY start, part",
	.types = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

enum
{
	PART_START = 1, PART_FIRST_XACT, PART_NEXT_XACT, PART_ARRAYS
};

static KeptQuery size_query = {
	.sql = "SELECT count(*), coalesce(sum(cells), 0)::bigint FROM ducto.usage_rollup WHERE hours = $1 AND start = $2",
	.types = {INT4OID, TIMESTAMPTZOID}
};

static KeptQuery part_delete_query = {
	.sql = "DELETE FROM ducto.usage_rollup WHERE hours = $1 AND start = $2",
	.types = {INT4OID, TIMESTAMPTZOID}
};

static KeptQuery part_insert_query = {
	.sql = "INSERT INTO ducto.usage_rollup (hours, start, part, cells, first_xact, next_xact,"
	" models, model_spend, model_entries, users, user_spend, user_entries,"
	" types, type_entries, type_amount, type_from_grants, type_allowance)"
	" VALUES ($1, $2, (SELECT coalesce(max(part), 0) + 1 FROM ducto.usage_rollup WHERE hours = $1 AND start = $2),"
	" $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
	.types = {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
		UUIDARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, INT8ARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID, NUMERICARRAYOID}
};

/* Periods that are over and have shorter ones, but no row of their own. */
static KeptQuery unbuilt_query = {
	.sql = "SELECT p.start FROM (SELECT DISTINCT date_bin($3, start, '2000-01-01 00:00:00+00') AS start"
	" FROM ducto.usage_rollup WHERE hours = $1) p WHERE p.start + $3 <= $4"
	" AND NOT EXISTS (SELECT FROM ducto.usage_rollup b WHERE b.hours = $2 AND b.start = p.start) ORDER BY p.start",
	.types = {INT4OID, INT4OID, INTERVALOID, TIMESTAMPTZOID}
};

static KeptQuery exists_query = {
	.sql = "SELECT FROM ducto.usage_rollup WHERE hours = $1 AND start = $2 LIMIT 1",
	.types = {INT4OID, TIMESTAMPTZOID}
};

/*
 * rollup_length returns the length of the periods of a level.
 */
TimestampTz
rollup_length(int level)
{
	return level_hours[level] * USECS_PER_HOUR;
}

/*
 * rollup_floor returns the start of the period of a level that a time is in.
 */
TimestampTz
rollup_floor(TimestampTz at, int level)
{
	TimestampTz length = rollup_length(level);
	TimestampTz into = at % length;

	return at - (into < 0 ? into + length : into);
}

/*
 * rollup_sums returns which sums the periods of a level have: books are kept
 * for hours and days.
 */
int
rollup_sums(int level)
{
	return SUM_USERS | SUM_MODELS | (level <= LEVEL_DAY ? SUM_BOOKS : 0);
}

/*
 * Return where the circle of the numbers begins: after this cluster's last.
 */
static int64
circle_start(void)
{
	int64		last = xact_last_here();

	return last == PG_INT64_MAX ? PG_INT64_MIN : last + 1;
}

/*
 * rollup_state_read tells how far the ledger is rolled up in the snapshot of
 * the calling statement. On a cluster it is not: the numbers of transactions
 * are each node's own, and there is no oldest one that still runs.
 */
void
rollup_state_read(RollupState *state)
{
	QueryArgs	args = {0};

	args_int8(&args, xact_first_here());
	state->exists = !cluster_is_used() && query_read(&state_query, &args) > 0;
	state->next = state->exists ? row_int8(0, 1) : circle_start();
	state->total = NULL;
}

/*
 * Return the arrays of books that a row has from a column on; false when it
 * has none.
 */
static bool
row_books(uint64 row, int column, BookArrays *arrays)
{
	ArrayType **array[] = {&arrays->types, &arrays->entries, &arrays->amount, &arrays->from_grants, &arrays->allowance};

	for (int i = 0; i < lengthof(array); i++)
	{
		if (row_is_null(row, column + i))
			return false;
		*array[i] = DatumGetArrayTypeP(row_datum(row, column + i));
	}
	return true;
}

/*
 * Append the columns of books, NULL where there are none.
 */
static void
args_books(QueryArgs *args, BookSums *sums)
{
	BookArrays	arrays;

	if (sums == NULL)
	{
		for (int i = 0; i < 5; i++)
			args_null(args);
		return;
	}
	book_sums_arrays(sums, &arrays);
	args_datum(args, PointerGetDatum(arrays.types));
	args_datum(args, PointerGetDatum(arrays.entries));
	args_datum(args, PointerGetDatum(arrays.amount));
	args_datum(args, PointerGetDatum(arrays.from_grants));
	args_datum(args, PointerGetDatum(arrays.allowance));
}

/*
 * Delete all that is rolled up; the state then begins anew.
 */
static void
rollup_clear(RollupState *state)
{
	QueryArgs	args = {0};

	query_run(&clear_query, &args, SPI_OK_DELETE);
	state->next = circle_start();
	state->total = book_sums_create(CurrentMemoryContext);
}

/*
 * Make this transaction the only one that rolls up, by a query that locks the
 * row of the state. False: there is none, or another session has it locked. What
 * another cluster left is thrown away, and everything to begin anew.
 */
static bool
state_take(KeptQuery *query, RollupState *state, bool anew)
{
	QueryArgs	args = {0};
	QueryArgs	none = {0};
	BookArrays	total;
	int64		first;

	args_int8(&args, xact_first_here());
	args_int8(&args, circle_start());
	query_run(&state_insert_query, &args, SPI_OK_INSERT);
	if (query_run(query, &none, SPI_OK_SELECT) != 1)
		return false;
	first = row_int8(0, STATE_FIRST_XACT);
	state->exists = true;
	state->next = row_int8(0, STATE_NEXT_XACT);
	state->total = book_sums_create(CurrentMemoryContext);
	if (anew || first != xact_first_here())
		rollup_clear(state);
	else if (!row_books(0, STATE_ARRAYS, &total) || !book_sums_add_arrays(state->total, 0, &total))
		rollup_damaged();
	return true;
}

/*
 * rollup_state_lock makes this transaction the only one that rolls up, from
 * where the last one ended or anew.
 */
void
rollup_state_lock(RollupState *state, bool anew)
{
	if (!state_take(&state_lock_query, state, anew))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the rollup of usage was emptied concurrently"),
				 errhint("Call it again.")));
}

/*
 * rollup_state_try_lock makes this transaction the only one that rolls up, unless
 * another does. False: another does.
 */
bool
rollup_state_try_lock(RollupState *state)
{
	return state_take(&state_try_lock_query, state, false);
}

/*
 * rollup_state_write writes how far the ledger is rolled up, and the sums of
 * all that is.
 */
void
rollup_state_write(const RollupState *state)
{
	QueryArgs	args = {0};

	args_int8(&args, xact_first_here());
	args_int8(&args, state->next);
	args_books(&args, state->total);
	query_run(&state_write_query, &args, SPI_OK_UPDATE);
}

/*
 * rollup_discard deletes all that is rolled up, and how far it was.
 */
void
rollup_discard(void)
{
	QueryArgs	args = {0};

	query_run(&discard_query, &args, SPI_OK_DELETE);
}

/*
 * rollup_rest lists the numbers of the transactions whose entries are not
 * rolled up, and returns the length of the list.
 */
int
rollup_rest(const RollupState *state, XactRange ranges[2])
{
	int64		last = xact_last_here();

	if (state->next <= last)
	{
		ranges[0] = (XactRange) {state->next, last};
		return 1;
	}
	ranges[0] = (XactRange) {state->next, PG_INT64_MAX};
	ranges[1] = (XactRange) {PG_INT64_MIN, last};
	return 2;
}

/*
 * rollup_parts reads the parts of a level's periods that start in a time and
 * returns how many they are. Their arrays are not detoasted yet.
 */
int
rollup_parts(int level, TimestampTz from, TimestampTz to, bool read_only, RollupPart **parts)
{
	QueryArgs	args = {0};
	uint64		n;

	args_int4(&args, level_hours[level]);
	args_time(&args, from);
	args_time(&args, to);
	n = read_only ? query_read(&parts_query, &args) : query_run(&parts_query, &args, SPI_OK_SELECT);
	*parts = palloc(sizeof(RollupPart) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		RollupPart *part = *parts + i;

		part->start = row_time(i, PART_START);
		part->xacts.first = row_int8(i, PART_FIRST_XACT);
		part->xacts.last = row_int8(i, PART_NEXT_XACT) - 1;
		part->has_books = level <= LEVEL_DAY;
		for (int column = 0; column < (part->has_books ? lengthof(part->arrays) : 6); column++)
			part->arrays[column] = row_datum(i, PART_ARRAYS + column);
	}
	return (int) n;
}

/*
 * rollup_part_sum adds a part to sums. Only what is wanted is read.
 */
void
rollup_part_sum(const RollupPart *part, UsageSums *sums, int wanted)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ducto rollup part", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);

	if (wanted & (SUM_MODELS | SUM_DAYS))
		usage_sums_add_models(sums, wanted, part->start, DatumGetArrayTypeP(part->arrays[0]),
							  DatumGetArrayTypeP(part->arrays[1]), DatumGetArrayTypeP(part->arrays[2]));
	if (wanted & SUM_USERS)
		usage_sums_add_users(sums, DatumGetArrayTypeP(part->arrays[3]),
							 DatumGetArrayTypeP(part->arrays[4]), DatumGetArrayTypeP(part->arrays[5]));
	if (wanted & SUM_BOOKS)
	{
		BookArrays	books = {
			DatumGetArrayTypeP(part->arrays[6]), DatumGetArrayTypeP(part->arrays[7]), DatumGetArrayTypeP(part->arrays[8]),
			DatumGetArrayTypeP(part->arrays[9]), DatumGetArrayTypeP(part->arrays[10])
		};

		usage_sums_add_books(sums, part->start, &books);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

/*
 * Make one part of sums and all parts of a period, which are deleted.
 */
static UsageSums *
merge_parts(int level, TimestampTz start, XactRange *xacts, UsageSums *sums)
{
	UsageSums  *merged = usage_sums_create(rollup_sums(level));
	RollupPart *parts;
	int			n = rollup_parts(level, start, start + 1, false, &parts);
	QueryArgs	args = {0};

	usage_sums_add_sums(merged, sums);
	for (int i = 0; i < n; i++)
	{
		rollup_part_sum(&parts[i], merged, rollup_sums(level));
		xacts->first = Min(xacts->first, parts[i].xacts.first);
		xacts->last = Max(xacts->last, parts[i].xacts.last);
	}
	args_int4(&args, level_hours[level]);
	args_time(&args, start);
	query_run(&part_delete_query, &args, SPI_OK_DELETE);
	return merged;
}

/*
 * rollup_add adds sums to a period. They become a part of their own; when
 * there are many, all become one.
 */
void
rollup_add(int level, TimestampTz start, const XactRange *xacts, UsageSums *sums)
{
	XactRange	range = *xacts;
	UsageSums  *merged = NULL;
	UsageArrays arrays;
	QueryArgs	args = {0};

	args_int4(&args, level_hours[level]);
	args_time(&args, start);
	query_run(&size_query, &args, SPI_OK_SELECT);
	if (row_int8(0, 1) >= PARTS_MAX && row_int8(0, 2) + usage_sums_cells(sums) <= CELLS_MAX)
		sums = merged = merge_parts(level, start, &range, sums);
	usage_sums_arrays(sums, &arrays);
	args_int8(&args, usage_sums_cells(sums));
	args_int8(&args, range.first);
	args_int8(&args, range.last + 1);
	args_datum(&args, PointerGetDatum(arrays.models));
	args_datum(&args, PointerGetDatum(arrays.model_spend));
	args_datum(&args, PointerGetDatum(arrays.model_entries));
	args_datum(&args, PointerGetDatum(arrays.users));
	args_datum(&args, PointerGetDatum(arrays.user_spend));
	args_datum(&args, PointerGetDatum(arrays.user_entries));
	args_books(&args, rollup_sums(level) & SUM_BOOKS ? usage_sums_books(sums) : NULL);
	query_run(&part_insert_query, &args, SPI_OK_INSERT);
	if (merged != NULL)
		usage_sums_free(merged);
}

/*
 * rollup_exists tells whether a period has a row.
 */
bool
rollup_exists(int level, TimestampTz start)
{
	QueryArgs	args = {0};

	args_int4(&args, level_hours[level]);
	args_time(&args, start);
	return query_run(&exists_query, &args, SPI_OK_SELECT) > 0;
}

/*
 * rollup_unbuilt lists the periods of a level that can be made of those of
 * the level below, and returns how many they are.
 */
int
rollup_unbuilt(int level, TimestampTz until, TimestampTz **starts)
{
	Interval	length = {.time = rollup_length(level)};
	QueryArgs	args = {0};
	uint64		n;

	args_int4(&args, level_hours[level - 1]);
	args_int4(&args, level_hours[level]);
	args_datum(&args, IntervalPGetDatum(&length));
	args_time(&args, until);
	n = query_run(&unbuilt_query, &args, SPI_OK_SELECT);
	*starts = palloc(sizeof(TimestampTz) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		(*starts)[i] = row_time(i, 1);
	return (int) n;
}
