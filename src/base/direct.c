/*
 * direct.c
 *		Kept statements that need no executor: rows of one table are found by an
 *		index and read, locked or updated, or one row is inserted.
 *
 *		What happens is what the executor would do, step by step: the same locks,
 *		snapshots, conditions, rechecks of a row that has changed, and errors.
 *		Whatever is not so simple is left to it: a session that may only read, a
 *		table with triggers, and where somebody watches who may do what.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/direct.h"
#include "base/directrow.h"
#include "base/setting.h"

#if PG_VERSION_NUM >= 190000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

/* More operations inside of one another are the executor's. */
#define MOST_DEPTH	8

/* Whether a statement is under way here. */
static bool under_way = false;

/*
 * direct_is_under_way tells whether a statement is under way here: an operation
 * that begins then is called by it, and leaves to the executor what it does, so
 * that what the statement needs stays as it is.
 */
bool
direct_is_under_way(void)
{
	return under_way;
}

/*
 * direct_return_to lets it be again as it was when an operation began that has
 * ended, however it ended, or a part of one whose error was caught.
 */
void
direct_return_to(bool before)
{
	under_way = before;
}

/*
 * Return what the expressions of an operation are evaluated with: one that is
 * inside of another must not take away what that has computed.
 */
static EState *
estate_get(void)
{
	static EState *estates[MOST_DEPTH];
	EState	  **estate = &estates[query_depth()];

	if (*estate == NULL)
	{
		MemoryContext previous = MemoryContextSwitchTo(TopMemoryContext);

		*estate = CreateExecutorState();
		MemoryContextSwitchTo(previous);
	}
	return *estate;
}

/*
 * Start to look for the rows.
 */
static void
scan_start(const Run *run)
{
	const DirectScan *scan = &run->direct->scan;

	for (int i = 0; i < scan->nkeys; i++)
	{
		const DirectKey *key = &scan->keys[i];
		bool		isnull;

		run->keys[i] = key->key;
		if (!key->has_value)
			continue;
		run->keys[i].sk_argument = run_value(run, &key->value, NULL, &isnull);
		if (isnull)
			run->keys[i].sk_flags |= SK_ISNULL;
	}
	index_rescan(run->scan, run->keys, scan->nkeys, NULL, 0);
}

/*
 * Let the slot have the row that is at a place. False: none that can be seen.
 */
static bool
place_read(const Run *run, ItemPointer place)
{
	return ItemPointerIsValid(place) && ItemPointerGetBlockNumber(place) < run->blocks &&
		table_tuple_fetch_row_version(run->table, place, run->snapshot, run->found);
}

/*
 * Do a statement with the row that is at a place, when it sees one there.
 */
static void
run_place(Run *run)
{
	bool		isnull;
	Datum		place = run_value(run, &run->direct->scan.place, NULL, &isnull);
	ItemPointerData tid;

	if (isnull)
		return;
	tid = *(ItemPointer) DatumGetPointer(place);
	if (place_read(run, &tid))
		run_found(run);
}

/*
 * Do a statement with the row at a place, when it is the one that is found by the
 * index. False: it is not.
 */
static bool
run_likely(Run *run, ItemPointerData place)
{
	if (!place_read(run, &place) || !run_is_for(run, run->found))
		return false;
	run_found(run);
	return true;
}

/*
 * Let the slot have the version that is seen of the row that the index has found.
 * False: there is none.
 *
 * The server's own reading prunes a page as soon as what fillfactor keeps free is
 * touched: after each update, where pages are full otherwise. Here that waits
 * until half of it is used, or the rest may not do for the next versions, so that
 * it is done once for many.
 */
static bool
entry_read(Run *run)
{
	IndexScanDesc scan = run->scan;
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) run->found;
	HeapTuple	row = &slot->base.tupdata;
	ItemPointerData tid = scan->xs_heaptid;
	Size		room = RelationGetTargetPageFreeSpace(run->table, HEAP_DEFAULT_FILLFACTOR) / 2;
	Page		page;
	bool		dead;
	bool		found;
	bool		is_short;

	run->buffer = ReleaseAndReadBuffer(run->buffer, run->table, ItemPointerGetBlockNumber(&tid));
	page = BufferGetPage(run->buffer);
	LockBuffer(run->buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&tid, run->table, run->buffer, run->snapshot, row, &dead, true);
	is_short = PageIsFull(page) || PageGetHeapFreeSpace(page) < Max(room, found ? 2 * row->t_len : 0);
	LockBuffer(run->buffer, BUFFER_LOCK_UNLOCK);
	if (is_short)
	{
		/* a page that is pinned twice is not pruned */
		ExecClearTuple(run->found);
		ReleaseBuffer(run->buffer);
		run->buffer = InvalidBuffer;
		return index_fetch_heap(scan, run->found);
	}
	if (!scan->xactStartedInRecovery)
		scan->kill_prior_tuple = dead;
	if (!found)
		return false;
	pgstat_count_heap_fetch(run->index);
	run->found->tts_tableOid = RelationGetRelid(run->table);
	ExecStoreBufferHeapTuple(row, run->found, run->buffer);
	return true;
}

/*
 * Let the slot have the next row that the index finds. False: there is none.
 */
static bool
scan_next(Run *run)
{
	while (index_getnext_tid(run->scan, run->direct->scan.direction) != NULL)
		if (entry_read(run))
			return true;
	return false;
}

/*
 * Do a statement with the rows that it finds by an index.
 */
static void
run_scan(Run *run)
{
	const Direct *direct = run->direct;
	uint64		before = run->rows.n;

	scan_start(run);
	while (scan_next(run))
	{
		CHECK_FOR_INTERRUPTS();
		run_found(run);
		if (direct->scan.unique || (direct->limit > 0 && run->rows.n - before >= direct->limit))
			break;
	}
}

/*
 * Let how many rows were found be the only one.
 */
static void
rows_count(RowsRead *rows)
{
	Datum		count = Int64GetDatum((int64) rows->n);
	Datum	   *values;

	memset(rows, 0, sizeof(RowsRead));
	values = rows_read_add(rows, 1);
	values[0] = count;
	*(bool *) (values + 1) = false;
}

static void run_before(const Direct *direct, const QueryArgs *args, ParamListInfo params, Snapshot snapshot);

/*
 * Open what a statement needs, whose table is locked, and with that the places
 * where rows may be known to be.
 */
static void
run_open(Run *run, const Direct *direct, Snapshot snapshot, bool places)
{
	*run = (Run) {
		.direct = direct,
		.estate = estate_get(),
		.snapshot = snapshot,
		.rows_context = CurrentMemoryContext,
	};
	run->estate->es_snapshot = snapshot; /* ExecCheckIndexConstraints of PostgreSQL 19 reads it */
	run->context = GetPerTupleExprContext(run->estate);
	run->context->ecxt_per_query_memory = direct->context;
	run->table = table_open(direct->table, NoLock);
	if (direct->command != CMD_SELECT)
		run->written = table_slot_create(run->table, NULL);
	if (direct->command == CMD_INSERT)
		return;
	if (direct->command == CMD_UPDATE)
		CheckCmdReplicaIdentity(run->table, CMD_UPDATE);
	run->found = table_slot_create(run->table, NULL);
	run->blocks = places || direct->scan.by_place ? RelationGetNumberOfBlocks(run->table) : 0;
	if (direct->scan.by_place)
		return;
	run->index = index_open(direct->scan.index, direct->lock);
	run->keys = palloc(sizeof(ScanKeyData) * Max(direct->scan.nkeys, 1));
	run->scan = begin_scan(run->table, run->index, snapshot, direct->scan.nkeys);
}

/*
 * Close it.
 */
static void
run_close(const Run *run)
{
	if (BufferIsValid(run->buffer))
		ReleaseBuffer(run->buffer);
	if (run->index != NULL)
	{
		index_endscan(run->scan);
		index_close(run->index, NoLock);
	}
	if (run->found != NULL)
		ExecDropSingleTupleTableSlot(run->found);
	if (run->written != NULL)
		ExecDropSingleTupleTableSlot(run->written);
	table_close(run->table, NoLock);
}

/*
 * Do a statement that is open, whose row may be known to be at a place. What it
 * computes is in the memory of its expressions, which the caller has emptied.
 */
static void
run_do(Run *run, const QueryArgs *args, ParamListInfo params, const ItemPointerData *likely)
{
	const Direct *direct = run->direct;

	run->args = args;
	run->context->ecxt_param_list_info = params;
	run->context->ecxt_param_exec_vals = direct->inner;
	if (direct->command == CMD_INSERT)
		run_insert(run);
	else if (!ExecQual(direct->gate, run->context))
		return;
	else if (direct->scan.by_place)
		run_place(run);
	else if (likely == NULL || !run_likely(run, *likely))
		run_scan(run);
}

/*
 * Do a statement whose table is locked, and return the rows that it read or
 * wrote.
 */
static RowsRead
run_direct(const Direct *direct, const QueryArgs *args, ParamListInfo params, Snapshot snapshot)
{
	Run			run;

	run_before(direct, args, params, snapshot);
	run_open(&run, direct, snapshot, false);
	ResetExprContext(run.context);
	run_do(&run, args, params, NULL);
	run_close(&run);
	if (direct->counts)
		rows_count(&run.rows);
	return run.rows;
}

/*
 * Do a statement with each of several parameters, with one snapshot.
 */
static RowsRead
run_each(const Direct *direct, const KeptQuery *query, const QueryEach *each, Snapshot snapshot)
{
	Run			run;

	run_open(&run, direct, snapshot, each->likely != NULL && direct->scan.unique);
	run.each = each;
	if (each->found != NULL)
		(void) rows_read_add(&run.row, direct->nresults);
	for (int i = 0; i < each->n; i++)
	{
		QueryArgs	args = {0};
		ParamListInfo params;
		MemoryContext previous;

		CHECK_FOR_INTERRUPTS();
		run.number = i;
		ResetExprContext(run.context);
		previous = MemoryContextSwitchTo(run.context->ecxt_per_tuple_memory);
		each->args(&args, i, each->state);
		params = query_params(query, &args);
		MemoryContextSwitchTo(previous);
		run_do(&run, &args, params, each->likely != NULL ? &each->likely[i] : NULL);
		if (each->ends != NULL)
			each->ends[i] = run.rows.n;
	}
	run_close(&run);
	return run.rows;
}

/*
 * Find the values that a statement needs before it runs.
 */
static void
run_before(const Direct *direct, const QueryArgs *args, ParamListInfo params, Snapshot snapshot)
{
	for (int i = 0; i < direct->nbefore; i++)
	{
		const struct Before *before = &direct->before[i];
		ParamExecData *value = &direct->inner[before->param];
		RowsRead	rows = run_direct(before->direct, args, params, snapshot);

		if (!before->exists && rows.n > 1)
			ereport(ERROR,
					(errcode(ERRCODE_CARDINALITY_VIOLATION),
					 errmsg("more than one row returned by a subquery used as an expression")));
		value->execPlan = NULL;
		value->isnull = !before->exists && (rows.n == 0 || rows_read_nulls(&rows, 0)[0]);
		value->value = before->exists ? BoolGetDatum(rows.n > 0) : rows.n > 0 ? rows.rows[0][0] : (Datum) 0;
	}
}

/*
 * Lock the tables of a statement, as the executor does.
 */
static void
lock_tables(const PlannedStmt *statement)
{
	ListCell   *cell;

	foreach(cell, statement->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_RELATION)
			LockRelationOid(entry->relid, entry->rellockmode);
	}
}

/*
 * Check that the role may do it, as the executor does.
 */
static void
check_permissions(const Direct *direct)
{
#if PG_VERSION_NUM >= 160000
	(void) ExecCheckPermissions(direct->statement->rtable, direct->statement->permInfos, true);
#else
	(void) ExecCheckRTPerms(direct->statement->rtable, true);
#endif
}

/*
 * Tell whether a session may write without the executor: what it must not write
 * the executor refuses, and a replica's triggers are others.
 */
static bool
may_write(const Direct *direct)
{
	return direct->command == CMD_SELECT ? !direct->locks || !XactReadOnly :
		!XactReadOnly && session_fires_as_usual();
}

/*
 * Return what is kept of a query's plan; NULL when there is nothing. The locks
 * bring what has changed, so that what is returned is of the tables as they
 * are.
 */
static const Direct *
direct_of(KeptQuery *query)
{
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(query->plan));
	CachedPlan *plan = source->gplan;

	if (plan == NULL || !plan->is_valid || !source->is_valid || list_length(plan->stmt_list) != 1 ||
		(query->direct_of == plan->generation && (query->direct == NULL || !may_write(query->direct))))
		return NULL;
	lock_tables(linitial_node(PlannedStmt, plan->stmt_list));
	if (source->gplan != plan || !plan->is_valid || !source->is_valid)
		return NULL;
	if (query->direct_of != plan->generation)
	{
		direct_forget(query);
		query->direct = direct_make(plan, query->few);
		query->direct_of = plan->generation;
	}
	return query->direct != NULL && may_write(query->direct) ? query->direct : NULL;
}

/*
 * Tell whether a query may be executed here, now.
 */
static bool
may_execute(const KeptQuery *query)
{
	return query->plan != NULL && !under_way && setting_direct() && !query->distributed && !query->anew && !query->tuples &&
		query->reader == GetUserId() && !IsInParallelMode() && !session_is_watched() && query_depth() < MOST_DEPTH;
}

/*
 * Begin a statement: take its snapshot, unless it reads in the calling one's.
 */
static void
statement_begin(bool read_only)
{
	under_way = true;
	if (read_only)
		return;
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * Let statements after it see what it did, and make what it read the last
 * result.
 */
static void
statement_end(bool read_only, const RowsRead *rows)
{
	under_way = false;
	if (!read_only)
	{
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	rows_read_set(rows);
}

/*
 * direct_execute executes a query without the executor, and makes the rows the
 * last result. False: the executor has to do it.
 */
bool
direct_execute(KeptQuery *query, const QueryArgs *args, bool read_only)
{
	const Direct *direct = may_execute(query) ? direct_of(query) : NULL;
	RowsRead	rows;

	if (direct == NULL || (read_only && (direct->command != CMD_SELECT || direct->locks)))
		return false;
	check_permissions(direct);
	statement_begin(read_only);
	rows = run_direct(direct, args, query_params(query, args), GetActiveSnapshot());
	statement_end(read_only, &rows);
	return true;
}

/*
 * direct_execute_each executes a query as often as there are parameters, as one
 * statement. False: a statement that takes all of them has to do it.
 */
bool
direct_execute_each(KeptQuery *query, const QueryEach *each)
{
	const Direct *direct = may_execute(query) ? direct_of(query) : NULL;
	RowsRead	rows;

	if (direct == NULL || direct->nbefore > 0 || direct->counts)
		return false;
	check_permissions(direct);
	statement_begin(false);
	rows = run_each(direct, query, each, GetActiveSnapshot());
	statement_end(false, &rows);
	return true;
}

/*
 * direct_forget frees what is kept of a query's plan.
 */
void
direct_forget(KeptQuery *query)
{
	if (query->direct != NULL)
		direct_free(query->direct);
	query->direct = NULL;
	query->direct_of = 0;
}
