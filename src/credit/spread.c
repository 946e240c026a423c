/*
 * spread.c
 *		The calls of many operations. On a cluster those of a shard's accounts are
 *		done together where it is, by one statement from here, shard after shard.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/array.h"

#include "base/args.h"
#include "base/cluster.h"
#include "base/json.h"
#include "base/rejection.h"
#include "base/shard.h"
#include "base/there.h"
#include "credit/spread.h"

/* Among the arguments of what is done on a shard. */
#define ITEMS	2
#define PLACES	3

/* An operation, and the shard of its account. */
typedef struct SpreadElement
{
	int64		shard;
	BatchElement element;
} SpreadElement;

/* Where the row of an operation is. */
typedef struct SpreadRow
{
	SPITupleTable *rows;
	uint64		row;
} SpreadRow;

/*
 * Tell whether a batch is to be done shard by shard. Where a
 * rejection is raised, it is the first one in the order of the accounts.
 */
static bool
batch_is_spread(FunctionCallInfo fcinfo)
{
	return shard_may_be_entered() && !rejection_raises(fcinfo->flinfo->fn_oid);
}

/*
 * Order operations by shard, then by their places.
 */
static int
spread_compare(const void *a, const void *b)
{
	const SpreadElement *x = a;
	const SpreadElement *y = b;

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	return x->element.place - y->element.place;
}

/*
 * Order the operations of a batch.
 */
static SpreadElement *
spread_order(const BatchElement *elements, int n)
{
	SpreadElement *spread = palloc(sizeof(SpreadElement) * Max(n, 1));

	for (int i = 0; i < n; i++)
		spread[i] = (SpreadElement) {.shard = cluster_shard(elements[i].account), .element = elements[i]};
	qsort(spread, n, sizeof(SpreadElement), spread_compare);
	return spread;
}

/*
 * Take some elements from an array.
 */
static Jsonb *
spread_items(JsonbContainer *array, const int32 *places, int n)
{
	JsonOut		out = {0};

	jsonout_push(&out, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
		jsonout_push(&out, WJB_ELEM, getIthJsonbValueFromContainer(array, places[i]));
	jsonout_push(&out, WJB_END_ARRAY, NULL);
	return JsonbValueToJsonb(out.result);
}

/*
 * Do operations of one shard where that is, and note where their rows are.
 */
static void
spread_send(KeptQuery *query, JsonbContainer *array, const SpreadElement *spread, int n, int64 shard, SpreadRow *rows)
{
	QueryArgs	args = {0};
	int32	   *places = palloc(sizeof(int32) * n);

	for (int i = 0; i < n; i++)
		places[i] = spread[i].element.place;
	args_uuid(&args, spread[0].element.account);
	args_int8(&args, shard);
	args_jsonb(&args, spread_items(array, places, n));
	args_int4_array(&args, places, n);
	args_carried(&args);
	if (query_run(query, &args, SPI_OK_SELECT) != (uint64) n)
		elog(ERROR, "no answer to: %s", query->sql);
	for (int i = 0; i < n; i++)
		rows[places[row_int4(i, 1) - 1]] = (SpreadRow) {.rows = SPI_tuptable, .row = i};
}

/*
 * Answer with the rows of all operations, each with its place for its first
 * column.
 */
static void
spread_rows(FunctionCallInfo fcinfo, const SpreadRow *rows, int n)
{
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	for (int i = 0; i < n; i++)
	{
		heap_deform_tuple(rows[i].rows->vals[rows[i].row], rows[i].rows->tupdesc, row.columns.values, row.columns.nulls);
		row.columns.values[0] = Int32GetDatum(i + 1);
		row.columns.n = row.desc->natts;
		result_put(&row);
	}
	rejection_over();
}

/*
 * Do many operations shard by shard, and answer with a row for each in the
 * order of the array.
 */
static void
batch_spread(FunctionCallInfo fcinfo, KeptQuery *query, BatchElement *elements, int n)
{
	SpreadElement *spread = spread_order(elements, n);
	SpreadRow  *rows = palloc0(sizeof(SpreadRow) * Max(n, 1));
	JsonbContainer *array = &PG_GETARG_JSONB_P(0)->root;
	int			end;

	for (int from = 0; from < n; from = end)
	{
		int64		shard = account_hold_shard(spread[from].element.account);

		for (end = from + 1; end < n && cluster_shard(spread[end].element.account) == shard;)
			end++;
		spread_send(query, array, spread + from, end - from, shard, rows);
	}
	spread_rows(fcinfo, rows, n);
}

/*
 * Do the operations of a batch here.
 */
static void
batch_here(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, BatchElement *elements, int n)
{
	if (kind->price != NULL)
		kind->price(items, n);
	batch_run(kind, items, elements, n);
	batch_answer(fcinfo, kind, items, n);
}

/*
 * batch_call does the operations of an array, the first argument, as if each
 * were called in turn, where the accounts are. on_shard is the query for those
 * of a shard.
 */
Datum
batch_call(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, KeptQuery *on_shard)
{
	BatchElement *elements;
	int			n;

	query_begin();
	elements = kind->request(fcinfo, 0, items, &n);
	if (batch_is_spread(fcinfo))
		batch_spread(fcinfo, on_shard, elements, n);
	else
		batch_here(fcinfo, kind, items, elements, n);
	query_end();
	return (Datum) 0;
}

/*
 * batch_call_on_shard does those of a shard that was entered.
 */
Datum
batch_call_on_shard(FunctionCallInfo fcinfo, const BatchKind *kind, void *items)
{
	BatchElement *elements;
	int			n;

	query_begin();
	elements = kind->request(fcinfo, ITEMS, items, &n);
	batch_here(fcinfo, kind, items, elements, n);
	query_end();
	return (Datum) 0;
}

/*
 * Do operations on a shard of this node, with the places that they have in the
 * array of the call.
 */
Datum
spread_answer(FunctionCallInfo fcinfo, PGFunction function)
{
	static const char *const names[] = {"found", "shard", "items", "places", "settings"};
	const int32 *before;
	Datum		volatile result = (Datum) 0;

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	before = element_numbers((int32 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(PLACES)));
	PG_TRY();
	{
		result = call_on_shard(fcinfo, PG_GETARG_INT64(1), function);
	}
	PG_FINALLY();
	{
		element_numbers(before);
	}
	PG_END_TRY();
	return result;
}
