/*
 * cells.c
 *		Sums of usage as arrays: how rollups keep them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "analytics/sums.h"

/*
 * Make an array of elements of fixed length.
 */
static ArrayType *
make_array(Oid type, int size, int n, void **elements)
{
	ArrayType  *array;

	if (n == 0)
		array = construct_empty_array(type);
	else
	{
		array = palloc0(ARR_OVERHEAD_NONULLS(1) + (Size) size * n);
		SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + (Size) size * n);
		array->ndim = 1;
		array->elemtype = type;
		ARR_DIMS(array)[0] = n;
		ARR_LBOUND(array)[0] = 1;
	}
	*elements = ARR_DATA_PTR(array);
	return array;
}

/*
 * Return how many cells a sum takes in the arrays. One that is too large for
 * a cell is split: cells of one name are added up when they are read.
 */
static int
cells_of(Spend spend, int64 entries)
{
	int			cells = 1;

	while (spend > PG_INT64_MAX || entries > PG_INT32_MAX)
	{
		spend -= Min(spend, PG_INT64_MAX);
		entries -= Min(entries, PG_INT32_MAX);
		cells++;
	}
	return cells;
}

/*
 * Take the next cell from a sum.
 */
static void
take_cell(Spend *spend, int64 *entries, int64 *cell_spend, int32 *cell_entries)
{
	*cell_spend = (int64) Min(*spend, PG_INT64_MAX);
	*cell_entries = (int32) Min(*entries, PG_INT32_MAX);
	*spend -= *cell_spend;
	*entries -= *cell_entries;
}

/*
 * Make the arrays of the models.
 */
static void
model_arrays(UsageSums *sums, UsageArrays *arrays)
{
	int			n;
	ModelSum  **list = usage_sums_named_models(sums, &n);
	int			total = 0;
	int			at = 0;
	Datum	   *names;
	void	   *spend;
	void	   *entries;

	for (int i = 0; i < n; i++)
		total += cells_of(list[i]->spend, list[i]->entries);
	names = palloc(sizeof(Datum) * Max(total, 1));
	arrays->model_spend = make_array(INT8OID, sizeof(int64), total, &spend);
	arrays->model_entries = make_array(INT4OID, sizeof(int32), total, &entries);
	for (int i = 0; i < n; i++)
	{
		Spend		left = list[i]->spend;
		int64		count = list[i]->entries;

		for (int cells = cells_of(left, count); cells > 0; cells--, at++)
		{
			names[at] = PointerGetDatum(cstring_to_text_with_len(list[i]->model.text, list[i]->model.length));
			take_cell(&left, &count, (int64 *) spend + at, (int32 *) entries + at);
		}
	}
	arrays->models = construct_array(names, total, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * usage_sums_arrays makes arrays of the sums of users and models; what
 * usage_sums_add_users and usage_sums_add_models take.
 */
void
usage_sums_arrays(UsageSums *sums, UsageArrays *arrays)
{
	int64		n;
	const UserSum *list;
	int			total = 0;
	int			at = 0;
	void	   *users;
	void	   *spend;
	void	   *entries;

	model_arrays(sums, arrays);
	list = usage_sums_sorted_users(sums, &n);
	for (int64 i = 0; i < n; i++)
		total += cells_of(list[i].spend, list[i].entries);
	arrays->users = make_array(UUIDOID, UUID_LEN, total, &users);
	arrays->user_spend = make_array(INT8OID, sizeof(int64), total, &spend);
	arrays->user_entries = make_array(INT4OID, sizeof(int32), total, &entries);
	for (int64 i = 0; i < n; i++)
	{
		Spend		left = list[i].spend;
		int64		count = list[i].entries;

		for (int cells = cells_of(left, count); cells > 0; cells--, at++)
		{
			((pg_uuid_t *) users)[at] = list[i].user;
			take_cell(&left, &count, (int64 *) spend + at, (int32 *) entries + at);
		}
	}
}
