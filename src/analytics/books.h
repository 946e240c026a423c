#ifndef DUCTO_ANALYTICS_BOOKS_H
#define DUCTO_ANALYTICS_BOOKS_H

#include "postgres.h"
#include "utils/array.h"
#include "utils/date.h"

#include "base/money.h"

/* The entries of a type on a day. */
typedef struct BookKey
{
	DateADT		day;
	int			length;
	const char *type;
} BookKey;

typedef struct BookSum
{
	BookKey		key;
	int64		entries;
	Spend		amount;
	Spend		from_grants;	/* what debits took from grants, less what went back */
	Spend		allowance;		/* what allowances paid, less what went back */
	char		status;			/* of the hash table */
} BookSum;

typedef struct BookSums BookSums;

/* Sums of one day as arrays, in the order of types: how rollups keep them. */
typedef struct BookArrays
{
	ArrayType  *types;			/* text[] */
	ArrayType  *entries;		/* bigint[] */
	ArrayType  *amount;			/* numeric[], and the others */
	ArrayType  *from_grants;
	ArrayType  *allowance;
} BookArrays;

extern BookSums *book_sums_create(MemoryContext context);
extern void book_sums_add(BookSums *sums, const BookSum *more);
extern void book_sums_add_sums(BookSums *sums, BookSums *others);
extern void book_sums_add_total(BookSums *total, BookSums *sums);
extern bool book_sums_add_arrays(BookSums *sums, DateADT day, const BookArrays *arrays);
extern void book_sums_arrays(BookSums *sums, BookArrays *arrays);
extern BookSum **book_sums_list(BookSums *sums, int *n);

#endif
