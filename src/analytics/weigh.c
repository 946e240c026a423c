/*
 * weigh.c
 *		Numbers that stand for long lists of what each user and each model used,
 *		so that the auditor can compare lists without joining them.
 *
 * Each user and model weighs what a hash of it by a seed says. Of two lists in
 * which somebody spent something else, or has another number of entries, the
 * weighed sums differ, but for a chance of about one in 2^64 by the seed. All
 * sums are those of 64 bits, what is over falls off: so they add up in any order.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/uuid.h"

#include "base/money.h"

PG_FUNCTION_INFO_V1(ducto_weigh);
PG_FUNCTION_INFO_V1(ducto_weigh_next);
PG_FUNCTION_INFO_V1(ducto_weigh_end);

#define UNKNOWN_MODEL	"unknown"

/* What some users or models used, weighed. */
typedef struct Weighed
{
	uint64		spend;
	uint64		entries;
} Weighed;

/* What was used, by users and by models. */
typedef struct WeighedUsage
{
	Weighed		users;
	Weighed		models;
} WeighedUsage;

/* Cells: an array without NULLs, taken apart. */
typedef struct Cells
{
	Oid			type;			/* of its values */
	Datum	   *values;
	int			n;
} Cells;

/*
 * Weigh a user's id or a model's name.
 */
static uint64
weight(const char *bytes, int length, int64 seed)
{
	return hash_bytes_extended((const unsigned char *) bytes, length, (uint64) seed);
}

/*
 * Weigh an element of an array of ids or names.
 */
static uint64
weight_of_element(Datum element, Oid type, int64 seed)
{
	struct varlena *name;

	if (type == UUIDOID)
		return weight((const char *) DatumGetUUIDP(element)->data, UUID_LEN, seed);
	name = (struct varlena *) DatumGetPointer(element);
	return weight(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), seed);
}

/*
 * Add what a user or model used.
 */
static void
weigh_add(Weighed *sum, uint64 weight, int64 spend, int64 entries)
{
	sum->spend += weight * (uint64) spend;
	sum->entries += weight * (uint64) entries;
}

/*
 * Take an array argument apart; no array is an empty one. False: it has NULLs.
 */
static bool
cells_of(FunctionCallInfo fcinfo, int arg, Cells *cells)
{
	ArrayType  *array;
	int16		length;
	bool		by_value;
	char		align;

	memset(cells, 0, sizeof(Cells));
	if (PG_ARGISNULL(arg))
		return true;
	array = PG_GETARG_ARRAYTYPE_P(arg);
	if (array_contains_nulls(array))
		return false;
	cells->type = ARR_ELEMTYPE(array);
	get_typlenbyvalalign(cells->type, &length, &by_value, &align);
	deconstruct_array(array, cells->type, length, by_value, align, &cells->values, NULL, &cells->n);
	return true;
}

/*
 * Make weighed sums an array.
 */
static Datum
weighed_array(const uint64 *sums, int n)
{
	Datum		values[sizeof(WeighedUsage) / sizeof(uint64)];

	Assert(n <= (int) lengthof(values));
	for (int i = 0; i < n; i++)
		values[i] = Int64GetDatum((int64) sums[i]);
	return PointerGetDatum(construct_array(values, n, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * ducto.weigh_users and ducto.weigh_models weigh them, what each spent, and
 * its entries, and return both sums; NULL where the lists do not belong together.
 */
Datum
ducto_weigh(PG_FUNCTION_ARGS)
{
	Weighed		sum = {0};
	Cells		keys;
	Cells		spend;
	Cells		entries;

	if (PG_ARGISNULL(3) || !cells_of(fcinfo, 0, &keys) || !cells_of(fcinfo, 1, &spend) || !cells_of(fcinfo, 2, &entries) ||
		keys.n != spend.n || keys.n != entries.n)
		PG_RETURN_NULL();
	for (int i = 0; i < keys.n; i++)
		weigh_add(&sum, weight_of_element(keys.values[i], keys.type, PG_GETARG_INT64(3)), DatumGetInt64(spend.values[i]),
				  DatumGetInt32(entries.values[i]));
	PG_RETURN_DATUM(weighed_array((const uint64 *) &sum, 2));
}

/*
 * Weigh the lines of an entry, of several models. Lists that do not belong
 * together count as nothing.
 */
static void
weigh_lines(FunctionCallInfo fcinfo, WeighedUsage *sums, uint64 user, int64 seed)
{
	Cells		models;
	Cells		spend;
	Cells		lines;

	if (!cells_of(fcinfo, 4, &models) || !cells_of(fcinfo, 5, &spend) || !cells_of(fcinfo, 6, &lines) ||
		models.n != spend.n || models.n != lines.n)
		return;
	for (int i = 0; i < models.n; i++)
	{
		Money		amount;

		if (!money_is_exact(spend.values[i], &amount) || amount < 0)
			amount = 0;
		weigh_add(&sums->users, user, amount, DatumGetInt32(lines.values[i]));
		weigh_add(&sums->models, weight_of_element(models.values[i], TEXTOID, seed), amount, DatumGetInt32(lines.values[i]));
	}
}

/*
 * ducto.weigh_next adds a usage entry: its user, model and amount, or of one with
 * lines their models, what was spent on each, and how many each has. An amount
 * that is none for usage counts as nothing.
 */
Datum
ducto_weigh_next(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	WeighedUsage *sums = PG_ARGISNULL(0) ? NULL : (WeighedUsage *) PG_GETARG_POINTER(0);
	uint64		user;
	Money		amount;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "ducto.weigh_next was not called by an aggregate");
	if (PG_ARGISNULL(1) || PG_ARGISNULL(7))
		elog(ERROR, "ducto.weigh_next was called without a user or a seed");
	if (sums == NULL)
		sums = MemoryContextAllocZero(context, sizeof(WeighedUsage));
	user = weight((const char *) PG_GETARG_UUID_P(1)->data, UUID_LEN, PG_GETARG_INT64(7));
	if (!PG_ARGISNULL(4))
		weigh_lines(fcinfo, sums, user, PG_GETARG_INT64(7));
	else
	{
		if (PG_ARGISNULL(3) || !money_is_exact(PG_GETARG_DATUM(3), &amount) || amount > 0)
			amount = 0;
		weigh_add(&sums->users, user, -amount, 1);
		weigh_add(&sums->models, PG_ARGISNULL(2) ? weight(UNKNOWN_MODEL, strlen(UNKNOWN_MODEL), PG_GETARG_INT64(7)) :
				  weight_of_element(PG_GETARG_DATUM(2), TEXTOID, PG_GETARG_INT64(7)), -amount, 1);
	}
	PG_RETURN_POINTER(sums);
}

/*
 * ducto.weigh_end returns what users spent and their entries, and the same of
 * models.
 */
Datum
ducto_weigh_end(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(weighed_array((const uint64 *) PG_GETARG_POINTER(0), sizeof(WeighedUsage) / sizeof(uint64)));
}
