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
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/direct.h"
#include "base/directfind.h"
#include "base/directrow.h"
#include "base/setting.h"

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
 * Open what a statement needs, whose table is locked, but for the index, which
 * may not be needed.
 */
static void
run_open(Run *run, const Direct *direct, Snapshot snapshot)
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
	else
		run_find(run, direct->scan.is_remembered ? likely : NULL);
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
	run_open(&run, direct, snapshot);
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

	run_open(&run, direct, snapshot);
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
