/*
 * spread.c
 *		The calls of many operations. On a cluster they are done inside of the
 *		shards of their accounts: those of this node by plain statements, those of
 *		each other node by one statement that is sent there, to all of these
 *		nodes at once.
 *
 *		What works on several nodes at once could wait for one account while it
 *		has another that is waited for. So it waits for none, in a
 *		subtransaction: where one is locked nothing was done, and the shards
 *		follow each other in the order of their numbers, as all batches that
 *		wait have them.
 *
 *		Citus knows which of its connections has written to a shard. So all shards
 *		of a node are written to before, by one; a node does nothing by another
 *		one, and the shards follow each other then, too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/array.h"
#include "utils/guc.h"

#include "base/args.h"
#include "base/cluster.h"
#include "base/json.h"
#include "base/rejection.h"
#include "base/shard.h"
#include "base/subxact.h"
#include "base/there.h"
#include "credit/here.h"
#include "credit/spread.h"

/* Among the arguments of what is done on a shard. */
#define ITEMS	1
#define PLACES	2

/* Where a row from a shard has the place among those of the shard. */
#define SPREAD_POSITION	2

/* Where the row of an operation is: NULL for here. */
typedef struct SpreadRow
{
	SPITupleTable *rows;
	uint64		row;
} SpreadRow;

/* Operations that are done where their accounts are. */
typedef struct Spread
{
	const BatchKind *kind;
	void	   *items;
	WaveWork   *work;
	JsonbContainer *array;
	BatchElement *elements;		/* in the order of the array */
	pg_uuid_t  *accounts;		/* of these */
	int			n;
	bool		inside;			/* shards of this node are entered */
	bool		wide;			/* what is done can be taken back, so it may be done on several nodes at once */
	Wave		wave;			/* what is sent */
	int32	   *sent;			/* places in the array of the operations of the wave */
	SpreadRow  *rows;
	int			answered;
	bool		refused;		/* a node has done nothing */
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
 * Put some elements of an array into one of them alone.
 */
static void
spread_items(JsonOut *out, JsonbContainer *array, const int32 *places, int n)
{
	jsonout_push(out, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
		jsonout_push(out, WJB_ELEM, getIthJsonbValueFromContainer(array, places[i]));
	jsonout_push(out, WJB_END_ARRAY, NULL);
}

/*
 * spread_arguments appends what the parts of a wave have to do. It is one JSON
 * array: in an array of PostgreSQL each quote would be escaped.
 */
void
spread_arguments(const Wave *wave, QueryArgs *args, void *state)
{
	const Spread *spread = state;
	JsonOut		items = {0};
	int32	   *first = palloc(sizeof(int32) * wave->n);
	int32	   *last = palloc(sizeof(int32) * wave->n);
	int64	   *of_wave;
	int32	   *places;
	int			n;

	of_wave = wave_places(wave, &n);
	places = palloc(sizeof(int32) * n);
	for (int i = 0; i < n; i++)
		places[i] = spread->sent[of_wave[i]];
	n = 0;
	jsonout_push(&items, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < wave->n; i++)
	{
		first[i] = n + 1;
		last[i] = n + (int32) (wave->now[i]->end - wave->now[i]->next);
		spread_items(&items, spread->array, places + n, last[i] - n);
		n = last[i];
	}
	jsonout_push(&items, WJB_END_ARRAY, NULL);
	args_jsonb(args, JsonbValueToJsonb(items.result));
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

	if (row_is_null(row, SPREAD_POSITION))
	{
		spread->refused = true;
		return;
	}
	spread->rows[spread->sent[spread->wave.places[part->next + row_int4(row, SPREAD_POSITION) - 1]]] =
		(SpreadRow) {.rows = SPI_tuptable, .row = row};
	spread->answered++;
}

/*
 * Do operations inside of the shard of their accounts.
 */
static void
batch_in_shard(const BatchKind *kind, void *items, BatchElement *elements, int n, int64 shard)
{
	int64		before = shard_enter(shard);

	PG_TRY();
	{
		if (kind->price != NULL)
			kind->price(items, elements, n);
		batch_run(kind, items, elements, n);
	}
	PG_FINALLY();
	{
		shard_leave(before);
	}
	PG_END_TRY();
}

/*
 * Take the elements of a part of a wave.
 */
static BatchElement *
part_elements(const Wave *wave, const ShardPart *part, const BatchElement *elements)
{
	BatchElement *taken = palloc(sizeof(BatchElement) * (part->end - part->next));

	for (int64 next = part->next; next < part->end; next++)
		taken[next - part->next] = elements[wave->places[next]];
	return taken;
}

/*
 * Do the operations of a part of a wave inside of its shard, if that is on this
 * node.
 */
static bool
spread_inside(Spread *spread, const Wave *wave, const ShardPart *part)
{
	int64		shard = spread->inside ? inside_keep(&wave->accounts[part->next]) : 0;
	int			n = (int) (part->end - part->next);

	if (shard == 0)
		return false;
	if (shard != part->shard)
		cluster_raise_moved(NULL);
	batch_in_shard(spread->kind, spread->items, part_elements(wave, part, spread->elements), n, shard);
	spread->answered += n;
	return true;
}

/*
 * Do operations shard after shard.
 */
static bool
spread_in_turn(Spread *spread)
{
	Wave	   *wave = &spread->wave;

	for (int i = 0; i < spread->n; i++)
		spread->sent[i] = i;
	wave_begin(wave, spread->accounts, spread->n);
	while (wave_next(wave, false))
	{
		ShardPart  *part = wave->now[0];

		if (!spread_inside(spread, wave, part))
			wave_run(wave, spread->work, spread);
		part->next = part->end;
	}
	return !spread->refused;
}

/*
 * Send operations to the other nodes, each by one statement. False: at least one
 * of them has done nothing. Where the others could not be taken back none is
 * sent any: they were on one node before.
 */
static bool
spread_send(Spread *spread, const pg_uuid_t *accounts, int n)
{
	if (n == 0)
		return true;
	wave_begin_nodes(&spread->wave, accounts, n);
	if ((spread->wave.n > 1 && !spread->wide) || !wave_hold(&spread->wave))
		return false;
	wave_run(&spread->wave, spread->work, spread);
	return !spread->refused;
}

/*
 * Do operations on all nodes at once, those of this node after the others have
 * answered. False: they are not all done.
 */
static bool
spread_at_once(Spread *spread)
{
	pg_uuid_t  *accounts = palloc(sizeof(pg_uuid_t) * Max(spread->n, 1));
	Wave		all;
	int			nhere = 0;
	int			n = 0;

	wave_begin(&all, spread->accounts, spread->n);
	for (int i = 0; i < all.nparts; i++)
	{
		ShardPart  *part = &all.parts[i];

		if (spread->inside && inside_keep(&all.accounts[part->next]) == part->shard)
		{
			all.now[nhere++] = part;
			continue;
		}
		for (int64 next = part->next; next < part->end; next++)
		{
			spread->sent[n] = (int32) all.places[next];
			accounts[n++] = all.accounts[next];
		}
	}
	if (!spread_send(spread, accounts, n))
		return false;
	for (int i = 0; i < nhere; i++)
		(void) spread_inside(spread, &all, all.now[i]);
	return true;
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
 * Do operations on all nodes at once, without waiting for an account.
 */
static bool
spread_without_waiting(void *spread)
{
	int			level = locks_wait_not();
	bool		done = spread_at_once(spread);

	AtEOXact_GUC(true, level);
	return done;
}

/*
 * Do operations on all nodes at once, if no account has to be waited for. False:
 * one was locked, or a node has done nothing, and nothing was done.
 */
static bool
spread_try(Spread *spread)
{
	ErrorData  *error;
	bool		done = subxact_try(spread_without_waiting, spread, &error);

	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
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
 * Make a row from elsewhere one of the function, with its own place.
 */
static void
spread_row(const SpreadRow *from, int place, ResultRow *row)
{
	Datum		values[ROW_MAX_COLUMNS];
	bool		nulls[ROW_MAX_COLUMNS];

	heap_deform_tuple(from->rows->vals[from->row], from->rows->tupdesc, values, nulls);
	row->columns.n = row->desc->natts;
	memcpy(row->columns.values, values + 1, sizeof(Datum) * row->columns.n);
	memcpy(row->columns.nulls, nulls + 1, sizeof(bool) * row->columns.n);
	row->columns.values[0] = Int32GetDatum(place + 1);
}

/*
 * Answer with the rows of all operations.
 */
static void
spread_answer_rows(FunctionCallInfo fcinfo, const Spread *spread)
{
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	for (int i = 0; i < spread->n; i++)
	{
		if (spread->rows[i].rows != NULL)
			spread_row(&spread->rows[i], i, &row);
		else
			spread->kind->row(spread->items, i, &row);
		result_put(&row);
	}
	rejection_over();
}

/*
 * Return the accounts of the elements of an array.
 */
static pg_uuid_t *
element_accounts(const BatchElement *elements, int n)
{
	pg_uuid_t  *accounts = palloc(sizeof(pg_uuid_t) * Max(n, 1));

	for (int i = 0; i < n; i++)
		accounts[i] = *elements[i].account;
	return accounts;
}

/*
 * Begin to do the operations of an array.
 */
static void
spread_begin(Spread *spread, BatchElement *elements, int n)
{
	spread->elements = elements;
	spread->n = n;
	spread->accounts = element_accounts(elements, n);
	spread->sent = palloc(sizeof(int32) * Max(n, 1));
	spread->rows = palloc0(sizeof(SpreadRow) * Max(n, 1));
	spread->answered = 0;
	spread->refused = false;
}

/*
 * Do many operations where their accounts are, and answer with a row for each in
 * the order of the array.
 */
static void
batch_spread(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, WaveWork *work, BatchElement *elements, int n)
{
	Spread		spread = {
		.kind = kind, .items = items, .work = work, .array = &PG_GETARG_JSONB_P(0)->root, .inside = may_be_inside(1)
	};
	bool		done;

	spread_begin(&spread, elements, n);
	spread.wide = spread_is_wide(spread.accounts, n);
	done = spread.wide ? spread_try(&spread) : spread_at_once(&spread);
	if (!done)
	{
		elements = kind->request(fcinfo, 0, items, &n); /* what was tried has left its traces */
		spread_begin(&spread, elements, n);
		done = spread_in_turn(&spread);
	}
	if (!done || spread.answered != n)
		elog(ERROR, "%d of %d rows from: %s", spread.answered, n, work->alone.sql);
	spread_answer_rows(fcinfo, &spread);
}

/*
 * Do the operations of a batch here.
 */
static void
batch_here(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, BatchElement *elements, int n)
{
	if (kind->price != NULL)
		kind->price(items, elements, n);
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
		batch_spread(fcinfo, kind, items, work, elements, n);
	else
		batch_here(fcinfo, kind, items, elements, n);
	query_end();
	return (Datum) 0;
}

/*
 * Tell whether this session has written to the shards of all parts of a wave.
 */
static bool
shards_are_written(const Wave *wave)
{
	bool		written = true;

	for (int i = 0; i < wave->nparts && written; i++)
		written = shard_is_written(wave->parts[i].shard);
	return written;
}

/*
 * Answer that nothing was done, by a row of NULLs.
 */
static void
batch_refuse(FunctionCallInfo fcinfo)
{
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	for (int i = 0; i < row.desc->natts; i++)
		result_null(&row);
	result_put(&row);
}

/*
 * batch_call_on_shards does those that were sent to this node, inside of their
 * shards in the order of the numbers of these.
 */
Datum
batch_call_on_shards(FunctionCallInfo fcinfo, const BatchKind *kind, void *items)
{
	BatchElement *elements;
	Wave		wave;
	int			n;

	query_begin();
	elements = kind->request(fcinfo, ITEMS, items, &n);
	wave_begin(&wave, element_accounts(elements, n), n);
	if (shards_are_written(&wave))
	{
		for (int i = 0; i < wave.nparts; i++)
			batch_in_shard(kind, items, part_elements(&wave, &wave.parts[i], elements),
						   (int) (wave.parts[i].end - wave.parts[i].next), wave.parts[i].shard);
		batch_answer(fcinfo, kind, items, n);
	}
	else
		batch_refuse(fcinfo);
	query_end();
	return (Datum) 0;
}

/*
 * Do operations on shards of this node, with the places that they have in the
 * array of the call.
 */
Datum
spread_answer(FunctionCallInfo fcinfo, PGFunction function)
{
	static const char *const names[] = {"found", "items", "places", "settings"};
	const int32 *before;
	Datum		volatile result = (Datum) 0;

	for (int i = 0; i < lengthof(names); i++)
		arg_require(fcinfo, i, names[i]);
	before = element_numbers((int32 *) ARR_DATA_PTR(PG_GETARG_ARRAYTYPE_P(PLACES)));
	PG_TRY();
	{
		result = call_on_shards(fcinfo, function);
	}
	PG_FINALLY();
	{
		element_numbers(before);
	}
	PG_END_TRY();
	return result;
}
