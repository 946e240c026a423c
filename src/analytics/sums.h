#ifndef DUCTO_ANALYTICS_SUMS_H
#define DUCTO_ANALYTICS_SUMS_H

#include "postgres.h"
#include "utils/array.h"
#include "utils/date.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "analytics/books.h"
#include "base/args.h"
#include "base/money.h"

/* What a user, a model or a day has used. */
typedef struct UserSum
{
	pg_uuid_t	user;
	Spend		spend;
	int64		entries;
	char		status;			/* of the hash table */
} UserSum;

typedef struct ModelName
{
	const char *text;
	int			length;
} ModelName;

typedef struct ModelSum
{
	ModelName	model;
	Spend		spend;
	int64		entries;
	char		status;
} ModelSum;

typedef struct DaySum
{
	DateADT		day;
	Spend		spend;
	int64		entries;
	char		status;
} DaySum;

/* Which sums are wanted. */
#define SUM_USERS	1
#define SUM_MODELS	2
#define SUM_DAYS	4
#define SUM_BOOKS	8			/* of entries of all types */

typedef struct UsageSums UsageSums;

/* Sums as arrays, in the order of users and models: how rollups keep them. */
typedef struct UsageArrays
{
	ArrayType  *models;			/* text[] */
	ArrayType  *model_spend;	/* bigint[] */
	ArrayType  *model_entries;	/* integer[] */
	ArrayType  *users;			/* uuid[] */
	ArrayType  *user_spend;
	ArrayType  *user_entries;
} UsageArrays;

pg_noreturn extern void rollup_damaged(void);
extern UsageSums *usage_sums_create(int wanted);
extern void usage_sums_free(UsageSums *sums);
extern BookSums *usage_sums_books(UsageSums *sums);
extern int64 usage_sums_cells(const UsageSums *sums);
extern void usage_sums_add(UsageSums *sums, TimestampTz at, const pg_uuid_t *user,
						   const char *model, int model_length, Spend spend, int64 entries);
extern void usage_sums_add_sums(UsageSums *sums, UsageSums *others);
extern void usage_sums_add_users(UsageSums *sums, ArrayType *users, ArrayType *spend, ArrayType *entries);
extern void usage_sums_add_books(UsageSums *sums, TimestampTz at, const BookArrays *arrays);
extern void usage_sums_add_models(UsageSums *sums, int wanted, TimestampTz at,
								  ArrayType *models, ArrayType *spend, ArrayType *entries);

/* Sums in an order: users and models by spend, the largest first, days by date. */
extern const UserSum **usage_sums_users(UsageSums *sums, int64 *n);
extern const UserSum *usage_sums_top_user(UsageSums *sums, int64 *n);
extern ModelSum **usage_sums_models(UsageSums *sums, int *n);
extern DaySum **usage_sums_days(UsageSums *sums, int *n);

/* By id and by name, and so as arrays (cells.c). */
extern const UserSum *usage_sums_sorted_users(UsageSums *sums, int64 *n);
extern ModelSum **usage_sums_named_models(UsageSums *sums, int *n);
extern void usage_sums_arrays(UsageSums *sums, UsageArrays *arrays);

#endif
