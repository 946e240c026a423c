/*
 * spread.c
 *		The calls of many operations. On a cluster those of a shard's accounts are
 *		done together where it is, on all nodes at once by one statement from
 *		here: a wave, and then the next.
 *
 *		What works on several shards at once could wait for one account while it
 *		has another that is waited for. So it waits for none, in a
 *		subtransaction: where one is locked nothing was done, and the shards
 *		follow each other in the order of their numbers, as all batches that
 *		wait have them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/resowner.h"

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

/* Where a row from a shard has the place among those of the shard. */
#define SPREAD_POSITION	2

/* Where the row of an operation is. */
typedef struct SpreadRow
{
	SPITupleTable *rows;
	uint64		row;
} SpreadRow;

/* Operations that are done shard by shard. */
typedef struct Spread
{
	Wave		wave;
	JsonbContainer *array;
	SpreadRow  *rows;
	int			answered;
} Spread;

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
 * spread_arguments appends what the parts of a wave have to do.
 */
void
spread_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	const Spread *spread = state;
	void	  **items = palloc(sizeof(void *) * wave->n);
	int32	   *first = palloc(sizeof(int32) * wave->n);
	int32	   *last = palloc(sizeof(int32) * wave->n);
	int64	   *of_wave;
	int32	   *places;
	int			n;

	of_wave = wave_places(wave, &n);
	places = palloc(sizeof(int32) * n);
	for (int i = 0; i < n; i++)
		places[i] = (int32) of_wave[i];
	n = 0;
	for (int i = 0; i < wave->n; i++)
	{
		first[i] = n + 1;
		last[i] = n + (int32) (wave->now[i]->end - wave->now[i]->next);
		items[i] = spread_items(spread->array, places + n, last[i] - n);
		n = last[i];
	}
	args_array(args, JSONBOID, items, wave->n);
	args_int4_array(args, first, wave->n);
	args_int4_array(args, last, wave->n);
	args_int4_array(args, places, n);
	args_carried(args);
}

/*
 * spread_answered notes where the row of an operation is.
 */
void
spread_answered(ShardPart *part, uint64 row, void *state)
{
	Spread	   *spread = state;
	int64		place = spread->wave.places[part->next + row_int4(row, SPREAD_POSITION) - 1];

	spread->rows[place] = (SpreadRow) {.rows = SPI_tuptable, .row = row};
	spread->answered++;
}

/*
 * Do operations where their accounts are: on all nodes at once, or shard after
 * shard.
 */
static void
spread_run(Spread *spread, const pg_uuid_t *accounts, int n, WaveWork *work, bool all_nodes)
{
	Wave	   *wave = &spread->wave;

	wave_begin(wave, accounts, n);
	spread->answered = 0;
	while (wave_next(wave, all_nodes))
	{
		wave_run(wave, work, spread);
		for (int i = 0; i < wave->n; i++)
			wave->now[i]->next = wave->now[i]->end;
	}
	if (spread->answered != n)
		elog(ERROR, "%d of %d rows from: %s", spread->answered, n, work->alone.sql);
}

/*
 * Wait for no locks, here and on the nodes, until the settings go back to the
 * level that it returns.
 */
static int
locks_wait_not(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", psprintf("%d", LOCK_NO_WAIT), PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	return level;
}

/*
 * Do operations on all nodes at once. False: an account was locked, and nothing
 * was done.
 */
static bool
spread_try(Spread *spread, const pg_uuid_t *accounts, int n, WaveWork *work)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int			level = locks_wait_not();

		spread_run(spread, accounts, n, work, true);
		AtEOXact_GUC(true, level);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
			ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}

/*
 * Tell whether accounts are on several nodes.
 */
static bool
spread_is_wide(const pg_uuid_t *accounts, int n)
{
	for (int i = 1; i < n; i++)
		if (cluster_node(&accounts[i]) != cluster_node(&accounts[0]))
			return true;
	return false;
}

/*
 * Answer with the rows of all operations, each with its place for its first
 * column.
 */
static void
spread_rows(FunctionCallInfo fcinfo, const SpreadRow *rows, int n)
{
	Datum		values[ROW_MAX_COLUMNS];
	bool		nulls[ROW_MAX_COLUMNS];
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	for (int i = 0; i < n; i++)
	{
		heap_deform_tuple(rows[i].rows->vals[rows[i].row], rows[i].rows->tupdesc, values, nulls);
		row.columns.n = row.desc->natts;
		memcpy(row.columns.values, values + 1, sizeof(Datum) * row.columns.n);
		memcpy(row.columns.nulls, nulls + 1, sizeof(bool) * row.columns.n);
		row.columns.values[0] = Int32GetDatum(i + 1);
		result_put(&row);
	}
	rejection_over();
}

/*
 * Do many operations where their accounts are, and answer with a row for each in
 * the order of the array.
 */
static void
batch_spread(FunctionCallInfo fcinfo, WaveWork *work, BatchElement *elements, int n)
{
	Spread		spread = {.array = &PG_GETARG_JSONB_P(0)->root, .rows = palloc0(sizeof(SpreadRow) * Max(n, 1))};
	pg_uuid_t  *accounts = palloc(sizeof(pg_uuid_t) * Max(n, 1));

	for (int i = 0; i < n; i++)
		accounts[elements[i].place] = *elements[i].account;
	if (!spread_is_wide(accounts, n) || !spread_try(&spread, accounts, n, work))
		spread_run(&spread, accounts, n, work, false);
	spread_rows(fcinfo, spread.rows, n);
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
 * were called in turn, where the accounts are. work is what does those of a shard.
 */
Datum
batch_call(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, WaveWork *work)
{
	BatchElement *elements;
	int			n;

	query_begin();
	elements = kind->request(fcinfo, 0, items, &n);
	if (batch_is_spread(fcinfo))
		batch_spread(fcinfo, work, elements, n);
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
