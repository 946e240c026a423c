/*
 * rollup.c
 *		Rolling up the ledger: usage by user and by model, for periods of an hour
 *		and more.
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

#include "args.h"
#include "rollup.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(ducto_rollup);
PG_FUNCTION_INFO_V1(ducto_rollup_rebuild);

#define CELLS_KEPT	100000		/* in memory, before they are written */

/* What a user used in an hour, of entries that were read. */
typedef struct FoldUser
{
	struct FoldUserKey
	{
		TimestampTz start;
		pg_uuid_t	user;
	}			key;
	Spend		spend;
	int64		entries;
	char		status;
} FoldUser;

/* What was used of a model in an hour, and in which transactions. */
typedef struct FoldModel
{
	struct FoldModelKey
	{
		TimestampTz start;
		ModelName	model;
	}			key;
	Spend		spend;
	int64		entries;
	XactRange	xacts;
	char		status;
} FoldModel;

/*
 * Hash a name in an hour.
 */
static inline uint32
name_hash(TimestampTz start, const void *name, int length)
{
	return hash_combine(murmurhash32((uint32) (start / USECS_PER_HOUR)), hash_bytes(name, length));
}

#define SH_PREFIX		fold_users
#define SH_ELEMENT_TYPE	FoldUser
#define SH_KEY_TYPE		struct FoldUserKey
#define SH_KEY			key
#define SH_HASH_KEY(table, k)	name_hash((k).start, (k).user.data, UUID_LEN)
#define SH_EQUAL(table, a, b)	((a).start == (b).start && memcmp(&(a).user, &(b).user, UUID_LEN) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX		fold_models
#define SH_ELEMENT_TYPE	FoldModel
#define SH_KEY_TYPE		struct FoldModelKey
#define SH_KEY			key
#define SH_HASH_KEY(table, k)	name_hash((k).start, (k).model.text, (k).model.length)
#define SH_EQUAL(table, a, b)	((a).start == (b).start && (a).model.length == (b).model.length && \
								 memcmp((a).model.text, (b).model.text, (a).model.length) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/* Entries that were read and not written yet. */
typedef struct Fold
{
	MemoryContext context;
	fold_users_hash *users;
	fold_models_hash *models;
} Fold;

static KeptQuery horizon_query = {
	.sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint",
};

static KeptQuery nth_query = {
	.sql = "SELECT xact FROM ducto.ledger WHERE type = 'usage' AND xact >= $1 AND xact <= $2"
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
	fold->users = fold_users_create(fold->context, 1024, NULL);
	fold->models = fold_models_create(fold->context, 1024, NULL);
}

/*
 * Compare users for qsort, by hour.
 */
static int
fold_user_compare(const void *a, const void *b)
{
	TimestampTz x = (*(FoldUser *const *) a)->key.start;
	TimestampTz y = (*(FoldUser *const *) b)->key.start;

	return x < y ? -1 : (x > y ? 1 : 0);
}

/*
 * Compare models for qsort, by hour.
 */
static int
fold_model_compare(const void *a, const void *b)
{
	TimestampTz x = (*(FoldModel *const *) a)->key.start;
	TimestampTz y = (*(FoldModel *const *) b)->key.start;

	return x < y ? -1 : (x > y ? 1 : 0);
}

/*
 * List the users of a fold by hour.
 */
static FoldUser **
fold_list_users(Fold *fold)
{
	FoldUser  **list = MemoryContextAlloc(fold->context, sizeof(FoldUser *) * Max(fold->users->members, 1));
	fold_users_iterator it;
	FoldUser   *sum;
	int			n = 0;

	fold_users_start_iterate(fold->users, &it);
	while ((sum = fold_users_iterate(fold->users, &it)) != NULL)
		list[n++] = sum;
	qsort(list, n, sizeof(FoldUser *), fold_user_compare);
	return list;
}

/*
 * List the models of a fold by hour.
 */
static FoldModel **
fold_list_models(Fold *fold)
{
	FoldModel **list = MemoryContextAlloc(fold->context, sizeof(FoldModel *) * Max(fold->models->members, 1));
	fold_models_iterator it;
	FoldModel  *sum;
	int			n = 0;

	fold_models_start_iterate(fold->models, &it);
	while ((sum = fold_models_iterate(fold->models, &it)) != NULL)
		list[n++] = sum;
	qsort(list, n, sizeof(FoldModel *), fold_model_compare);
	return list;
}

/*
 * Add the users and models of one hour to a level's period around it.
 */
static void
fold_write_hour(int level, FoldUser **users, int nusers, FoldModel **models, int nmodels)
{
	TimestampTz start = models[0]->key.start;
	XactRange	xacts = models[0]->xacts;
	UsageSums  *sums = usage_sums_create(SUM_USERS | SUM_MODELS);

	for (int i = 0; i < nmodels; i++)
	{
		usage_sums_add_model(sums, &models[i]->key.model, models[i]->spend, models[i]->entries);
		xacts.first = Min(xacts.first, models[i]->xacts.first);
		xacts.last = Max(xacts.last, models[i]->xacts.last);
	}
	for (int i = 0; i < nusers; i++)
		usage_sums_add_user(sums, &users[i]->key.user, users[i]->spend, users[i]->entries);
	rollup_add(level, rollup_floor(start, level), &xacts, sums);
	usage_sums_free(sums);
}

/*
 * Write what a fold has.
 */
static void
fold_flush(Fold *fold)
{
	FoldUser  **users = fold_list_users(fold);
	FoldModel **models = fold_list_models(fold);
	int			user = 0;

	for (int model = 0; model < fold->models->members;)
	{
		TimestampTz start = models[model]->key.start;
		int			nusers = 0;
		int			nmodels = 0;

		while (user + nusers < fold->users->members && users[user + nusers]->key.start == start)
			nusers++;
		while (model + nmodels < fold->models->members && models[model + nmodels]->key.start == start)
			nmodels++;
		query_begin();
		for (int level = LEVEL_HOUR; level < ROLLUP_LEVELS; level++)
			if (level == LEVEL_HOUR || rollup_exists(level, rollup_floor(start, level)))
				fold_write_hour(level, users + user, nusers, models + model, nmodels);
		query_end();
		user += nusers;
		model += nmodels;
	}
	fold_reset(fold);
}

/*
 * Add an entry to a fold.
 */
static void
fold_entry(const UsageEntry *entry, void *state)
{
	Fold	   *fold = state;
	TimestampTz start = rollup_floor(entry->created_at, LEVEL_HOUR);
	struct FoldUserKey user_key = {start, entry->user};
	struct FoldModelKey model_key = {start, {entry->model, entry->model_length}};
	FoldUser   *user;
	FoldModel  *model;
	bool		found;

	if (fold->users->members + fold->models->members >= CELLS_KEPT)
		fold_flush(fold);
	user = fold_users_insert(fold->users, user_key, &found);
	if (!found)
	{
		user->spend = 0;
		user->entries = 0;
	}
	user->spend += entry->spend;
	user->entries++;
	model = fold_models_insert(fold->models, model_key, &found);
	if (!found)
	{
		char	   *name = MemoryContextAlloc(fold->context, entry->model_length);

		memcpy(name, entry->model, entry->model_length);
		model->key.model.text = name;
		model->spend = 0;
		model->entries = 0;
		model->xacts = (XactRange) {entry->xact, entry->xact};
	}
	model->spend += entry->spend;
	model->entries++;
	model->xacts.first = Min(model->xacts.first, entry->xact);
	model->xacts.last = Max(model->xacts.last, entry->xact);
}

/*
 * Return the transaction of the nth usage entry of a range, counted from 0;
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
	*left -= (int64) rollup_read_ledger(&range, DT_NOBEGIN, DT_NOEND, false, fold_entry, fold);
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
			sums = usage_sums_create(SUM_USERS | SUM_MODELS);
			xacts = parts[i].xacts;
		}
		rollup_part_sum(&parts[i], sums, SUM_USERS | SUM_MODELS);
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
build_periods(void)
{
	TimestampTz now = GetCurrentTimestamp();

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
	Fold		fold = {.context = AllocSetContextCreate(CurrentMemoryContext, "ducto fold", ALLOCSET_DEFAULT_SIZES)};
	QueryArgs	args = {0};
	int64		left = max_rows;
	int64		horizon;

	query_run(&horizon_query, &args, SPI_OK_SELECT);
	horizon = xact_number((uint64) row_int8(0, 1));
	fold_reset(&fold);
	while (fold_next(&fold, state, horizon, &left))
		CHECK_FOR_INTERRUPTS();
	fold_flush(&fold);
	build_periods();
	rollup_state_write(state);
	return max_rows - left;
}

/*
 * ducto_rollup rolls up entries of the ledger that can no longer change.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_rollup(PG_FUNCTION_ARGS)
{
	int64		max_rows = arg_int_between(fcinfo, 0, "max_rows", 1, PG_INT32_MAX, PG_INT32_MAX);
	RollupState state;
	int64		entries;

	if (PG_ARGISNULL(0))
		max_rows = PG_INT64_MAX;
	query_begin();
	rollup_state_lock(&state);
	entries = roll_up(&state, max_rows);
	query_end();
	PG_RETURN_INT64(entries);
}

/*
 * ducto_rollup_rebuild throws the rollup away and makes it anew. Errors: see
 * its COMMENT.
 */
Datum
ducto_rollup_rebuild(PG_FUNCTION_ARGS)
{
	RollupState state;
	int64		entries;

	query_begin();
	rollup_state_lock(&state);
	rollup_clear(&state);
	entries = roll_up(&state, PG_INT64_MAX);
	query_end();
	PG_RETURN_INT64(entries);
}
