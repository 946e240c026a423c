/*
 * books.c
 *		Sums of all entries by day and type, in memory and as arrays.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "analytics/books.h"

#define SH_PREFIX		book_lines
#define SH_ELEMENT_TYPE	BookSum
#define SH_KEY_TYPE		BookKey
#define SH_KEY			key
#define SH_HASH_KEY(table, k) \
	(hash_bytes((const unsigned char *) (k).type, (k).length) ^ murmurhash32((uint32) (k).day))
#define SH_EQUAL(table, a, b) \
	((a).day == (b).day && (a).length == (b).length && memcmp((a).type, (b).type, (a).length) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct BookSums
{
	MemoryContext context;
	book_lines_hash *lines;
};

/*
 * books.create makes empty sums in a context, with which they go.
 */
BookSums *
book_sums_create(MemoryContext context)
{
	BookSums   *sums = MemoryContextAlloc(context, sizeof(BookSums));

	sums->context = context;
	sums->lines = book_lines_create(context, 16, NULL);
	return sums;
}

/*
 * book_sums_add adds to the sum of a day and a type.
 */
void
book_sums_add(BookSums *sums, const BookSum *more)
{
	bool		found;
	BookSum    *sum = book_lines_insert(sums->lines, more->key, &found);

	if (!found)
	{
		char	   *type = MemoryContextAlloc(sums->context, more->key.length + 1);

		memcpy(type, more->key.type, more->key.length);
		type[more->key.length] = '\0';
		sum->key.type = type;
		sum->entries = 0;
		sum->amount = sum->from_grants = sum->allowance = 0;
	}
	sum->entries += more->entries;
	sum->amount += more->amount;
	sum->from_grants += more->from_grants;
	sum->allowance += more->allowance;
}

/*
 * book_sums_add_sums adds other sums.
 */
void
book_sums_add_sums(BookSums *sums, BookSums *others)
{
	book_lines_iterator it;
	BookSum    *sum;

	book_lines_start_iterate(others->lines, &it);
	while ((sum = book_lines_iterate(others->lines, &it)) != NULL)
		book_sums_add(sums, sum);
}

/*
 * book_sums_add_total adds sums, of whatever days, to those of day 0.
 */
void
book_sums_add_total(BookSums *total, BookSums *sums)
{
	book_lines_iterator it;
	BookSum    *sum;

	book_lines_start_iterate(sums->lines, &it);
	while ((sum = book_lines_iterate(sums->lines, &it)) != NULL)
	{
		BookSum		more = *sum;

		more.key.day = 0;
		book_sums_add(total, &more);
	}
}

/*
 * Read an array into elements; false when they are not as many as expected.
 */
static bool
read_array(ArrayType *array, Oid type, int length, bool by_value, char align, Datum **elements, int expected)
{
	int			n;

	if (ARR_ELEMTYPE(array) != type || ARR_HASNULL(array))
		return false;
	deconstruct_array(array, type, length, by_value, align, elements, NULL, &n);
	return n == expected;
}

/*
 * book_sums_add_arrays adds what a rollup has of a day. False: it is damaged.
 */
bool
book_sums_add_arrays(BookSums *sums, DateADT day, const BookArrays *arrays)
{
	int			n = ArrayGetNItems(ARR_NDIM(arrays->types), ARR_DIMS(arrays->types));
	Datum	   *types;
	Datum	   *entries;
	Datum	   *amount;
	Datum	   *from_grants;
	Datum	   *allowance;

	if (!read_array(arrays->types, TEXTOID, -1, false, TYPALIGN_INT, &types, n) ||
		!read_array(arrays->entries, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &entries, n) ||
		!read_array(arrays->amount, NUMERICOID, -1, false, TYPALIGN_INT, &amount, n) ||
		!read_array(arrays->from_grants, NUMERICOID, -1, false, TYPALIGN_INT, &from_grants, n) ||
		!read_array(arrays->allowance, NUMERICOID, -1, false, TYPALIGN_INT, &allowance, n))
		return false;
	for (int i = 0; i < n; i++)
	{
		text	   *type = DatumGetTextPP(types[i]);
		BookSum		more = {
			.key = {day, VARSIZE_ANY_EXHDR(type), VARDATA_ANY(type)},
			.entries = DatumGetInt64(entries[i]),
			.amount = spend_from_datum(amount[i]),
			.from_grants = spend_from_datum(from_grants[i]),
			.allowance = spend_from_datum(allowance[i]),
		};

		book_sums_add(sums, &more);
	}
	return true;
}

/*
 * Compare sums for qsort, by day, then by type byte by byte.
 */
static int
book_compare(const void *a, const void *b)
{
	const BookKey *x = &(*(BookSum *const *) a)->key;
	const BookKey *y = &(*(BookSum *const *) b)->key;
	int			order;

	if (x->day != y->day)
		return x->day < y->day ? -1 : 1;
	order = memcmp(x->type, y->type, Min(x->length, y->length));
	return order != 0 ? order : x->length - y->length;
}

/*
 * book_sums_list lists the sums, the oldest day first, then by type.
 */
BookSum **
book_sums_list(BookSums *sums, int *n)
{
	BookSum   **list = MemoryContextAllocHuge(sums->context, sizeof(BookSum *) * Max(sums->lines->members, 1));
	book_lines_iterator it;
	BookSum    *sum;

	*n = 0;
	book_lines_start_iterate(sums->lines, &it);
	while ((sum = book_lines_iterate(sums->lines, &it)) != NULL)
		list[(*n)++] = sum;
	qsort(list, *n, sizeof(BookSum *), book_compare);
	return list;
}

/*
 * book_sums_arrays makes arrays of sums that are all of one day: what
 * book_sums_add_arrays takes.
 */
void
book_sums_arrays(BookSums *sums, BookArrays *arrays)
{
	int			n;
	BookSum   **list = book_sums_list(sums, &n);
	Datum	   *columns[5];

	for (int i = 0; i < lengthof(columns); i++)
		columns[i] = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		columns[0][i] = PointerGetDatum(cstring_to_text_with_len(list[i]->key.type, list[i]->key.length));
		columns[1][i] = Int64GetDatum(list[i]->entries);
		columns[2][i] = spend_to_datum(list[i]->amount);
		columns[3][i] = spend_to_datum(list[i]->from_grants);
		columns[4][i] = spend_to_datum(list[i]->allowance);
	}
	arrays->types = construct_array(columns[0], n, TEXTOID, -1, false, TYPALIGN_INT);
	arrays->entries = construct_array(columns[1], n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	arrays->amount = construct_array(columns[2], n, NUMERICOID, -1, false, TYPALIGN_INT);
	arrays->from_grants = construct_array(columns[3], n, NUMERICOID, -1, false, TYPALIGN_INT);
	arrays->allowance = construct_array(columns[4], n, NUMERICOID, -1, false, TYPALIGN_INT);
}
