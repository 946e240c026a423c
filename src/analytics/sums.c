/*
 * sums.c
 *		Sums of usage by user, by model and by day, in memory, and of all entries
 *		by day and type.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "analytics/sums.h"
#include "base/period.h"

/*
 * Hash a user's id, which may be random in all of its bits or in few.
 */
static inline uint32
user_hash(const pg_uuid_t *user)
{
	uint64		half[2];

	memcpy(half, user->data, UUID_LEN);
	half[0] = (half[0] ^ (half[0] >> 33)) * UINT64CONST(0xff51afd7ed558ccd) + half[1];
	half[0] = (half[0] ^ (half[0] >> 33)) * UINT64CONST(0xc4ceb9fe1a85ec53);
	return (uint32) (half[0] ^ (half[0] >> 32));
}

#define SH_PREFIX		user_sums
#define SH_ELEMENT_TYPE	UserSum
#define SH_KEY_TYPE		pg_uuid_t
#define SH_KEY			user
#define SH_HASH_KEY(table, key)	user_hash(&(key))
#define SH_EQUAL(table, a, b)	(memcmp(&(a), &(b), UUID_LEN) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX		model_sums
#define SH_ELEMENT_TYPE	ModelSum
#define SH_KEY_TYPE		ModelName
#define SH_KEY			model
#define SH_HASH_KEY(table, key)	hash_bytes((const unsigned char *) (key).text, (key).length)
#define SH_EQUAL(table, a, b)	((a).length == (b).length && memcmp((a).text, (b).text, (a).length) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

#define SH_PREFIX		day_sums
#define SH_ELEMENT_TYPE	DaySum
#define SH_KEY_TYPE		DateADT
#define SH_KEY			day
#define SH_HASH_KEY(table, key)	murmurhash32((uint32) (key))
#define SH_EQUAL(table, a, b)	((a) == (b))
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/*
 * Compare ids as memcmp does.
 */
static inline int
user_order(const pg_uuid_t *a, const pg_uuid_t *b)
{
	uint64		x[2];
	uint64		y[2];

	memcpy(x, a->data, UUID_LEN);
	memcpy(y, b->data, UUID_LEN);
	if (x[0] != y[0])
		return pg_ntoh64(x[0]) < pg_ntoh64(y[0]) ? -1 : 1;
	if (x[1] != y[1])
		return pg_ntoh64(x[1]) < pg_ntoh64(y[1]) ? -1 : 1;
	return 0;
}

#define ST_SORT			users_sort
#define ST_ELEMENT_TYPE	UserSum
#define ST_COMPARE(a, b)	user_order(&(a)->user, &(b)->user)
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

/* A user with its distance from the largest spend. */
typedef struct RankedUser
{
	SpendRank	rank;
	const UserSum *sum;			/* in the order of ids */
} RankedUser;

/* Ranks are ordered by so many bits at a time. */
#define RANK_BITS	8
#define RANK_DIGITS	(1 << RANK_BITS)

#define FIRST_SIZE	8

/* Users by id, each once. */
typedef struct UserRun
{
	UserSum    *users;
	int64		n;
} UserRun;

/* Each run has more than MERGED_FACTOR times as many users as the next: so many are enough. */
#define MERGED_FACTOR	2
#define RUNS_MAX	64

/*
 * Sums. A rollup's users come sorted and are a run, which is merged with those
 * before it that are not much longer: that takes a fraction of the time of
 * looking each user up. Those of entries are looked up, in a hash table that
 * becomes a run at the end.
 */
struct UsageSums
{
	MemoryContext context;
	user_sums_hash *users;		/* NULL when not wanted; so the others */
	int			nruns;
	UserRun		runs[RUNS_MAX]; /* further sums of users */
	model_sums_hash *models;
	day_sums_hash *days;
	BookSums   *books;
};

/*
 * usage_sums_create makes empty sums in a context of their own below the
 * current one.
 */
UsageSums *
usage_sums_create(int wanted)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ducto usage sums",
												  ALLOCSET_START_SMALL_SIZES);
	UsageSums  *sums = MemoryContextAllocZero(context, sizeof(UsageSums));

	sums->context = context;
	if (wanted & SUM_USERS)
		sums->users = user_sums_create(context, FIRST_SIZE, NULL);
	if (wanted & SUM_MODELS)
		sums->models = model_sums_create(context, FIRST_SIZE, NULL);
	if (wanted & SUM_DAYS)
		sums->days = day_sums_create(context, FIRST_SIZE, NULL);
	if (wanted & SUM_BOOKS)
		sums->books = book_sums_create(context);
	return sums;
}

/*
 * usage_sums_free frees sums and all that they gave.
 */
void
usage_sums_free(UsageSums *sums)
{
	MemoryContextDelete(sums->context);
}

/*
 * usage_sums_books returns the sums by day and type, NULL when not wanted.
 */
BookSums *
usage_sums_books(UsageSums *sums)
{
	return sums->books;
}

/*
 * usage_sums_cells returns how many users and models have a sum at most: a user
 * whose sum is not in one place yet counts twice.
 */
int64
usage_sums_cells(const UsageSums *sums)
{
	int64		n = sums->users->members + sums->models->members;

	for (int i = 0; i < sums->nruns; i++)
		n += sums->runs[i].n;
	return n;
}

/*
 * Add to the sum of a user.
 */
static inline void
add_user(UsageSums *sums, const pg_uuid_t *user, Spend spend, int64 entries)
{
	bool		found;
	UserSum    *sum = user_sums_insert(sums->users, *user, &found);

	if (!found)
	{
		sum->spend = 0;
		sum->entries = 0;
	}
	sum->spend += spend;
	sum->entries += entries;
}

/*
 * Add to the sum of a model.
 */
static void
add_model(UsageSums *sums, const char *text, int length, Spend spend, int64 entries)
{
	bool		found;
	ModelName	name = {text, length};
	ModelSum   *sum = model_sums_insert(sums->models, name, &found);

	if (!found)
	{
		char	   *copy = MemoryContextAlloc(sums->context, length + 1);

		memcpy(copy, text, length);
		copy[length] = '\0';
		sum->model.text = copy;
		sum->spend = 0;
		sum->entries = 0;
	}
	sum->spend += spend;
	sum->entries += entries;
}

/*
 * Add to the sum of the day of a time.
 */
static void
add_day(UsageSums *sums, TimestampTz at, Spend spend, int64 entries)
{
	bool		found;
	DaySum	   *sum = day_sums_insert(sums->days, period_day(at), &found);

	if (!found)
	{
		sum->spend = 0;
		sum->entries = 0;
	}
	sum->spend += spend;
	sum->entries += entries;
}

/*
 * usage_sums_add adds what was used of a model, by one or some entries, to what
 * is wanted.
 */
void
usage_sums_add(UsageSums *sums, TimestampTz at, const pg_uuid_t *user, const char *model, int model_length,
			   Spend spend, int64 entries)
{
	if (sums->users != NULL)
		add_user(sums, user, spend, entries);
	if (sums->models != NULL)
		add_model(sums, model, model_length, spend, entries);
	if (sums->days != NULL)
		add_day(sums, at, spend, entries);
}

/*
 * usage_sums_add_sums adds the users, models and books of other sums.
 */
void
usage_sums_add_sums(UsageSums *sums, UsageSums *others)
{
	const UserSum *users;
	int64		n;
	model_sums_iterator it;
	ModelSum   *model;

	users = usage_sums_sorted_users(others, &n);
	for (int64 i = 0; i < n; i++)
		add_user(sums, &users[i].user, users[i].spend, users[i].entries);
	model_sums_start_iterate(others->models, &it);
	while ((model = model_sums_iterate(others->models, &it)) != NULL)
		add_model(sums, model->model.text, model->model.length, model->spend, model->entries);
	if (sums->books != NULL)
		book_sums_add_sums(sums->books, others->books);
}

/*
 * rollup_damaged reports a rollup that cannot be what was written.
 */
void
rollup_damaged(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("a rollup of usage is damaged"),
			 errhint("Call ducto_rollup_rebuild().")));
}

/*
 * Return the elements of an array without NULLs of a type of fixed length,
 * checking that there are as many as expected.
 */
static void *
array_elements(ArrayType *array, Oid type, int n)
{
	if (ARR_ELEMTYPE(array) != type || ARR_HASNULL(array) ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != n)
		rollup_damaged();
	return ARR_DATA_PTR(array);
}

/*
 * Merge the last two runs.
 */
static void
merge_runs(UsageSums *sums)
{
	UserRun    *run = &sums->runs[--sums->nruns - 1];
	UserSum    *a = run[0].users;
	UserSum    *a_end = a + run[0].n;
	UserSum    *b = run[1].users;
	UserSum    *b_end = b + run[1].n;
	UserSum    *merged = MemoryContextAllocHuge(sums->context, sizeof(UserSum) * (run[0].n + run[1].n));
	UserSum    *to = merged;

	while (a < a_end && b < b_end)
	{
		int			order = user_order(&a->user, &b->user);

		if (order == 0)
		{
			a->spend += b->spend;
			a->entries += b->entries;
			b++;
		}
		*to++ = order <= 0 ? *a++ : *b++;
	}
	memcpy(to, a, sizeof(UserSum) * (a_end - a));
	to += a_end - a;
	memcpy(to, b, sizeof(UserSum) * (b_end - b));
	to += b_end - b;
	pfree(run[0].users);
	pfree(run[1].users);
	run->users = merged;
	run->n = to - merged;
}

/*
 * Add users, sorted by id, as a run.
 */
static void
add_run(UsageSums *sums, UserSum *users, int64 n)
{
	Assert(sums->nruns < RUNS_MAX);
	sums->runs[sums->nruns++] = (UserRun) {users, n};
	while (sums->nruns > 1 && sums->runs[sums->nruns - 2].n <= sums->runs[sums->nruns - 1].n * MERGED_FACTOR)
		merge_runs(sums);
}

/*
 * Let the users that were looked up become a run.
 */
static void
sort_users(UsageSums *sums)
{
	user_sums_iterator it;
	UserSum    *users;
	UserSum    *sum;
	int64		n = 0;

	if (sums->users->members == 0)
		return;
	users = MemoryContextAllocHuge(sums->context, sizeof(UserSum) * sums->users->members);
	user_sums_start_iterate(sums->users, &it);
	while ((sum = user_sums_iterate(sums->users, &it)) != NULL)
		users[n++] = *sum;
	user_sums_reset(sums->users);
	users_sort(users, n);
	add_run(sums, users, n);
}

/*
 * usage_sums_add_users adds the users of a rollup.
 */
void
usage_sums_add_users(UsageSums *sums, ArrayType *users, ArrayType *spend, ArrayType *entries)
{
	int			n = ArrayGetNItems(ARR_NDIM(users), ARR_DIMS(users));
	pg_uuid_t  *ids = array_elements(users, UUIDOID, n);
	int64	   *amounts = array_elements(spend, INT8OID, n);
	int32	   *counts = array_elements(entries, INT4OID, n);
	UserSum    *merged;
	UserSum    *last;

	if (n == 0)
		return;
	merged = last = MemoryContextAllocHuge(sums->context, sizeof(UserSum) * n);
	*last = (UserSum) {.user = ids[0], .spend = amounts[0], .entries = counts[0]};
	for (int i = 1; i < n; i++)
	{
		int			order = user_order(&last->user, &ids[i]);

		if (order > 0)
			rollup_damaged();
		if (order < 0)
			*++last = (UserSum) {.user = ids[i], .spend = amounts[i], .entries = counts[i]};
		else
		{
			last->spend += amounts[i];
			last->entries += counts[i];
		}
	}
	add_run(sums, merged, last - merged + 1);
}

/*
 * usage_sums_add_models adds the models of a rollup to what is wanted: the
 * sums by model or by day; at is a time of that day.
 */
void
usage_sums_add_models(UsageSums *sums, int wanted, TimestampTz at,
					  ArrayType *models, ArrayType *spend, ArrayType *entries)
{
	Datum	   *names;
	int			n;
	int64	   *amounts;
	int32	   *counts;

	deconstruct_array(models, TEXTOID, -1, false, TYPALIGN_INT, &names, NULL, &n);
	amounts = array_elements(spend, INT8OID, n);
	counts = array_elements(entries, INT4OID, n);
	for (int i = 0; i < n; i++)
	{
		text	   *name = DatumGetTextPP(names[i]);

		if (wanted & SUM_MODELS)
			add_model(sums, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), amounts[i], counts[i]);
		if (wanted & SUM_DAYS)
			add_day(sums, at, amounts[i], counts[i]);
	}
	pfree(names);
}

/*
 * usage_sums_add_books adds the books of a rollup; at is a time of their day.
 */
void
usage_sums_add_books(UsageSums *sums, TimestampTz at, const BookArrays *arrays)
{
	if (!book_sums_add_arrays(sums->books, period_day(at), arrays))
		rollup_damaged();
}

/*
 * Compare names byte by byte.
 */
static int
model_compare(const ModelName *a, const ModelName *b)
{
	int			order = memcmp(a->text, b->text, Min(a->length, b->length));

	return order != 0 ? order : a->length - b->length;
}

/*
 * Compare models for qsort, by name.
 */
static int
model_by_name(const void *a, const void *b)
{
	return model_compare(&(*(ModelSum *const *) a)->model, &(*(ModelSum *const *) b)->model);
}

/*
 * Compare models for qsort, the largest spend first.
 */
static int
model_by_spend(const void *a, const void *b)
{
	Spend		x = (*(ModelSum *const *) a)->spend;
	Spend		y = (*(ModelSum *const *) b)->spend;

	return x != y ? (x < y ? 1 : -1) : model_by_name(a, b);
}

/*
 * Compare days for qsort.
 */
static int
day_by_date(const void *a, const void *b)
{
	DateADT		x = (*(DaySum *const *) a)->day;
	DateADT		y = (*(DaySum *const *) b)->day;

	return x < y ? -1 : (x > y ? 1 : 0);
}

/*
 * List the models in an order.
 */
static ModelSum **
list_models(UsageSums *sums, int *n, int (*compare) (const void *, const void *))
{
	ModelSum  **list = MemoryContextAllocHuge(sums->context, sizeof(ModelSum *) * Max(sums->models->members, 1));
	model_sums_iterator it;
	ModelSum   *sum;

	*n = 0;
	model_sums_start_iterate(sums->models, &it);
	while ((sum = model_sums_iterate(sums->models, &it)) != NULL)
		list[(*n)++] = sum;
	qsort(list, *n, sizeof(ModelSum *), compare);
	return list;
}

/*
 * usage_sums_named_models lists the models by name.
 */
ModelSum **
usage_sums_named_models(UsageSums *sums, int *n)
{
	return list_models(sums, n, model_by_name);
}

/*
 * usage_sums_sorted_users returns the users, n of them, by id.
 */
const UserSum *
usage_sums_sorted_users(UsageSums *sums, int64 *n)
{
	sort_users(sums);
	while (sums->nruns > 1)
		merge_runs(sums);
	*n = sums->nruns > 0 ? sums->runs[0].n : 0;
	return sums->runs[0].users;
}

/*
 * usage_sums_top_user returns the user with the largest spend, NULL without
 * any, and counts all.
 */
const UserSum *
usage_sums_top_user(UsageSums *sums, int64 *n)
{
	const UserSum *users = usage_sums_sorted_users(sums, n);
	const UserSum *top = NULL;

	for (int64 i = 0; i < *n; i++)
	{
		if (top == NULL || users[i].spend > top->spend)
			top = &users[i];
	}
	return top;
}

/*
 * Order users by rank. They come in the order of their ids, which is kept among
 * those of one rank, as it is among those of one digit: the last digit is
 * ordered first. ranks has all bits that any rank has. Returns one of the two
 * lists.
 */
static RankedUser *
rank_users(RankedUser *users, RankedUser *other, int64 n, SpendRank ranks)
{
	for (int shift = 0; ranks != 0; shift += RANK_BITS, ranks >>= RANK_BITS)
	{
		int64		places[RANK_DIGITS] = {0};
		int64		place = 0;
		RankedUser *ordered = other;

		CHECK_FOR_INTERRUPTS();
		for (int64 i = 0; i < n; i++)
			places[(users[i].rank >> shift) % RANK_DIGITS]++;
		for (int digit = 0; digit < RANK_DIGITS; digit++)
		{
			int64		count = places[digit];

			places[digit] = place;
			place += count;
		}
		for (int64 i = 0; i < n; i++)
			ordered[places[(users[i].rank >> shift) % RANK_DIGITS]++] = users[i];
		other = users;
		users = ordered;
	}
	return users;
}

/*
 * usage_sums_users lists the users, the largest spend first, then by id.
 */
const UserSum **
usage_sums_users(UsageSums *sums, int64 *n)
{
	const UserSum *top = usage_sums_top_user(sums, n);
	const UserSum *users = sums->runs[0].users;
	RankedUser *lists = MemoryContextAllocHuge(sums->context, sizeof(RankedUser) * Max(*n, 1) * 2);
	const UserSum **list = MemoryContextAllocHuge(sums->context, sizeof(UserSum *) * Max(*n, 1));
	SpendRank	ranks = 0;
	RankedUser *ranked;

	for (int64 i = 0; i < *n; i++)
	{
		lists[i] = (RankedUser) {top->spend - users[i].spend, &users[i]};
		ranks |= lists[i].rank;
	}
	ranked = rank_users(lists, lists + *n, *n, ranks);
	for (int64 i = 0; i < *n; i++)
		list[i] = ranked[i].sum;
	pfree(lists);
	return list;
}

/*
 * usage_sums_models lists the models, the largest spend first.
 */
ModelSum **
usage_sums_models(UsageSums *sums, int *n)
{
	return list_models(sums, n, model_by_spend);
}

/*
 * usage_sums_days lists the days, the oldest first.
 */
DaySum **
usage_sums_days(UsageSums *sums, int *n)
{
	DaySum	  **list = MemoryContextAllocHuge(sums->context, sizeof(DaySum *) * Max(sums->days->members, 1));
	day_sums_iterator it;
	DaySum	   *sum;

	*n = 0;
	day_sums_start_iterate(sums->days, &it);
	while ((sum = day_sums_iterate(sums->days, &it)) != NULL)
		list[(*n)++] = sum;
	qsort(list, *n, sizeof(DaySum *), day_by_date);
	return list;
}
