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
#include "access/relscan.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/direct.h"
#include "base/setting.h"

#if PG_VERSION_NUM >= 190000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0, 0)
#define update_tuple(table, tid, slot, cid, ...)	table_tuple_update(table, tid, slot, cid, 0, __VA_ARGS__)
#elif PG_VERSION_NUM >= 180000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#define update_tuple	table_tuple_update
#else
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, nkeys, 0)
#define update_tuple	table_tuple_update
#endif

#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes UpdatedIndexes;
#else
typedef bool UpdatedIndexes;
#endif

/* One execution. */
typedef struct Run
{
	const Direct *direct;
	const QueryArgs *args;
	Relation	table;
	ExprContext *context;
	Snapshot	snapshot;
	MemoryContext rows_context; /* of what is read */
	RowsRead	rows;
} Run;

/*
 * Compute a value. What an expression allocates is gone when the context's
 * memory is reset.
 */
static Datum
value_compute(const Run *run, const DirectValue *value, TupleTableSlot *row, bool *isnull)
{
	switch (value->kind)
	{
		case VALUE_PARAM:
			*isnull = run->args->nulls[value->number];
			return run->args->values[value->number];
		case VALUE_COLUMN:
			return slot_getattr(row, value->number, isnull);
		case VALUE_CONST:
			*isnull = value->constant->constisnull;
			return value->constant->constvalue;
		default:
			run->context->ecxt_scantuple = row;
			return ExecEvalExprSwitchContext(value->expr, run->context, isnull);
	}
}

/*
 * Add a row to those that were read, or count it.
 */
static void
row_add(Run *run, TupleTableSlot *slot)
{
	const Direct *direct = run->direct;
	MemoryContext previous;
	Datum	   *values;
	bool	   *nulls;

	if (direct->counts)
	{
		run->rows.n++;
		return;
	}
	previous = MemoryContextSwitchTo(run->rows_context);
	values = rows_read_add(&run->rows, direct->nresults);
	nulls = (bool *) (values + direct->nresults);
	for (int i = 0; i < direct->nresults; i++)
	{
		values[i] = value_compute(run, &direct->results[i], slot, &nulls[i]);
		if (!nulls[i] && !direct->results[i].byval)
			values[i] = datumCopy(values[i], false, direct->results[i].len);
	}
	MemoryContextSwitchTo(previous);
}

/*
 * Tell whether a row meets conditions.
 */
static bool
row_meets(const Run *run, ExprState *quals, TupleTableSlot *row)
{
	run->context->ecxt_scantuple = row;
	return ExecQual(quals, run->context);
}

/*
 * Tell whether a row that has changed since it was found is still one of those
 * that the statement is about.
 */
static bool
row_is_still(const Run *run, TupleTableSlot *row)
{
	return row_meets(run, run->direct->scan.keys_recheck, row) && row_meets(run, run->direct->scan.quals, row);
}

/*
 * Refuse to go on in a transaction whose snapshot is older than what has
 * become of a row.
 */
static void
refuse_changed(const char *what)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent %s", what)));
}

/*
 * Lock a row that was found, and let the slot have it as it is then. False: it
 * is none of those any more, or another has it and locked rows are to be
 * skipped.
 */
static bool
row_lock(const Run *run, TupleTableSlot *row)
{
	const Direct *direct = run->direct;
	ItemPointerData tid = row->tts_tid;
	TM_FailureData failure;
	int			flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_Result	result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(run->table, &tid, run->snapshot, row, GetCurrentCommandId(true), direct->row_lock, direct->wait,
							  flags, &failure);
	switch (result)
	{
		case TM_Ok:
			return !failure.traversed || row_is_still(run, row);
		case TM_WouldBlock:
		case TM_SelfModified:
			return false;
		case TM_Updated:
			refuse_changed("update");
			break;
		case TM_Deleted:
			refuse_changed("delete");
			return false;
		default:
			break;
	}
	elog(ERROR, "unexpected table_tuple_lock status: %u", result);
	return false;				/* keep compiler quiet */
}

/*
 * Refuse a row that a column or a check of the table refuses, in the words of
 * the executor.
 */
static void
row_refuse(const Run *run, TupleTableSlot *row)
{
	ResultRelInfo *table = makeNode(ResultRelInfo);

	InitResultRelInfo(table, run->table, 0, NULL, 0);
	ExecConstraints(table, row, run->direct->estate);
	elog(ERROR, "a row of table \"%s\" is refused", RelationGetRelationName(run->table));
}

/*
 * Check that a row may be written as it is.
 */
static void
row_check(const Run *run, TupleTableSlot *row)
{
	const Direct *direct = run->direct;

	for (int i = 0; i < direct->nvalues; i++)
		if (row->tts_isnull[direct->columns[i] - 1] &&
			TupleDescAttr(row->tts_tupleDescriptor, direct->columns[i] - 1)->attnotnull)
			row_refuse(run, row);
	run->context->ecxt_scantuple = row;
	for (int i = 0; i < direct->nchecks; i++)
		if (!ExecCheck(direct->checks[i], run->context))
			row_refuse(run, row);
}

/*
 * Make the row that is to be written: the values, and the rest of a row that
 * is updated.
 */
static void
row_make(const Run *run, TupleTableSlot *old, TupleTableSlot *row)
{
	const Direct *direct = run->direct;
	int			natts = row->tts_tupleDescriptor->natts;

	ExecClearTuple(row);
	if (old != NULL)
	{
		slot_getallattrs(old);
		memcpy(row->tts_values, old->tts_values, sizeof(Datum) * natts);
		memcpy(row->tts_isnull, old->tts_isnull, sizeof(bool) * natts);
	}
	for (int i = 0; i < direct->nvalues; i++)
	{
		int			column = direct->columns[i] - 1;

		row->tts_values[column] = value_compute(run, &direct->values[i], old, &row->tts_isnull[column]);
	}
	ExecStoreVirtualTuple(row);
}

/*
 * Enter a row that was written into the indexes. False: the arbiter may have
 * another such row.
 */
static bool
row_index(const Run *run, TupleTableSlot *row)
{
	const Direct *direct = run->direct;
	bool		alone = true;

	for (int i = 0; i < direct->nindexes; i++)
	{
		DirectIndex *index = &direct->indexes[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];
		IndexUniqueCheck check = index == direct->arbiter ? UNIQUE_CHECK_PARTIAL :
			index->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
		Relation	relation;

		if (!index->info->ii_ReadyForInserts || !row_meets(run, index->info->ii_PredicateState, row))
			continue;
		relation = index_open(index->id, RowExclusiveLock);
		FormIndexDatum(index->info, row, direct->estate, values, nulls);
		if (!index_insert(relation, values, nulls, &row->tts_tid, run->table, check, index->unchanged, index->info) &&
			check == UNIQUE_CHECK_PARTIAL)
			alone = false;
		index_close(relation, NoLock);
	}
	return alone;
}

/*
 * Wait for what another has made of a row that is to be updated, and let the
 * slot have that. False: it is none of those any more.
 */
static bool
row_follow(const Run *run, TupleTableSlot *row, LockTupleMode mode)
{
	CommandId	command = GetCurrentCommandId(true);
	ItemPointerData tid = row->tts_tid;
	TM_FailureData failure;
	TM_Result	result;

	refuse_changed("update");
	result = table_tuple_lock(run->table, &tid, run->snapshot, row, command, mode, LockWaitBlock,
							  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	switch (result)
	{
		case TM_Ok:
			return row_is_still(run, row);
		case TM_Deleted:
			return false;
		case TM_SelfModified:
			if (failure.cmax == command)
				return false;
			break;
		default:
			break;
	}
	elog(ERROR, "unexpected table_tuple_lock status: %u", result);
	return false;				/* keep compiler quiet */
}

/*
 * Update a row that was found. False: it is none of those any more.
 */
static bool
row_update(Run *run, TupleTableSlot *old, TupleTableSlot *row)
{
	for (;;)
	{
		CommandId	command = GetCurrentCommandId(true);
		ItemPointerData tid = old->tts_tid;
		LockTupleMode mode;
		TM_FailureData failure;
		UpdatedIndexes indexes;
		TM_Result	result;

		row_make(run, old, row);
		row_check(run, row);
		result = update_tuple(run->table, &tid, row, command, run->snapshot, InvalidSnapshot, true, &failure, &mode, &indexes);
		switch (result)
		{
			case TM_Ok:
				if (indexes)
					(void) row_index(run, row);
				return true;
			case TM_Updated:
				if (!row_follow(run, old, mode))
					return false;
				break;
			case TM_Deleted:
				refuse_changed("delete");
				return false;
			case TM_SelfModified:
				if (failure.cmax == command)
					return false;
				ereport(ERROR,
						(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
						 errmsg("tuple to be updated was already modified by an operation triggered by the current command")));
				break;
			default:
				elog(ERROR, "unrecognized table_tuple_update status: %u", result);
		}
	}
}

/*
 * Start to look for the rows.
 */
static IndexScanDesc
scan_begin(const Run *run, Relation index)
{
	const DirectScan *scan = &run->direct->scan;
	ScanKeyData *keys = palloc(sizeof(ScanKeyData) * Max(scan->nkeys, 1));
	IndexScanDesc desc = begin_scan(run->table, index, run->snapshot, scan->nkeys);

	for (int i = 0; i < scan->nkeys; i++)
	{
		const DirectKey *key = &scan->keys[i];
		bool		isnull;

		keys[i] = key->key;
		if (!key->has_value)
			continue;
		keys[i].sk_argument = value_compute(run, &key->value, NULL, &isnull);
		if (isnull)
			keys[i].sk_flags |= SK_ISNULL;
	}
	index_rescan(desc, keys, scan->nkeys, NULL, 0);
	return desc;
}

/*
 * Do with a row that was found what the statement does.
 */
static void
row_do(Run *run, TupleTableSlot *found, TupleTableSlot *written)
{
	const Direct *direct = run->direct;

	if (!row_meets(run, direct->scan.quals, found))
		return;
	if (written == NULL && (!direct->locks || row_lock(run, found)))
		row_add(run, found);
	else if (written != NULL && row_update(run, found, written))
		row_add(run, written);
}

/*
 * Do a statement with the rows that it finds.
 */
static void
run_scan(Run *run)
{
	const Direct *direct = run->direct;
	Relation	index = index_open(direct->scan.index, direct->lock);
	TupleTableSlot *found = table_slot_create(run->table, NULL);
	TupleTableSlot *written = direct->command == CMD_UPDATE ? table_slot_create(run->table, NULL) : NULL;
	IndexScanDesc scan = scan_begin(run, index);

	while (index_getnext_slot(scan, direct->scan.direction, found))
	{
		CHECK_FOR_INTERRUPTS();
		row_do(run, found, written);
		if (direct->scan.unique || (direct->limit > 0 && run->rows.n >= direct->limit))
			break;
	}
	index_endscan(scan);
	ExecDropSingleTupleTableSlot(found);
	if (written != NULL)
		ExecDropSingleTupleTableSlot(written);
	index_close(index, NoLock);
}

/*
 * Find the row that an arbiter has already, after waiting for whoever is about
 * to write one. False: there is none.
 */
static bool
arbiter_find(const Run *run, TupleTableSlot *row, ItemPointer known)
{
	const DirectIndex *arbiter = run->direct->arbiter;
	Relation	index = index_open(arbiter->id, RowExclusiveLock);
	IndexInfo  *info = arbiter->info;
	ResultRelInfo *table = makeNode(ResultRelInfo);
	List	   *arbiters = list_make1_oid(arbiter->id);
	bool		found;

	table->ri_RelationDesc = run->table;
	table->ri_NumIndices = 1;
	table->ri_IndexRelationDescs = &index;
	table->ri_IndexRelationInfo = &info;
#if PG_VERSION_NUM >= 180000
	{
		ItemPointerData none;

		ItemPointerSetInvalid(&none);
		found = !ExecCheckIndexConstraints(table, row, run->direct->estate, known, &none, arbiters);
	}
#else
	found = !ExecCheckIndexConstraints(table, row, run->direct->estate, known, arbiters);
#endif
	index_close(index, NoLock);
	return found;
}

/*
 * In a transaction with one snapshot for all, refuse a row that it does not
 * see.
 */
static void
row_must_be_seen(const Run *run, ItemPointer tid)
{
	TupleTableSlot *row;
	bool		isnull;

	if (!IsolationUsesXactSnapshot())
		return;
	row = table_slot_create(run->table, NULL);
	if (!table_tuple_fetch_row_version(run->table, tid, SnapshotAny, row))
		elog(ERROR, "failed to fetch a row of table \"%s\"", RelationGetRelationName(run->table));
	if (!table_tuple_satisfies_snapshot(run->table, row, run->snapshot) &&
		!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(slot_getsysattr(row, MinTransactionIdAttributeNumber, &isnull))))
		refuse_changed("update");
	ExecDropSingleTupleTableSlot(row);
}

/*
 * Insert a row, of which others see that it may yet be taken back, unless the
 * arbiter has such a row already: false.
 */
static bool
row_insert_once(const Run *run, TupleTableSlot *row)
{
	TransactionId xid = GetCurrentTransactionId();
	ItemPointerData known;
	bool		alone = false;

	while (!alone && !arbiter_find(run, row, &known))
	{
		uint32		token = SpeculativeInsertionLockAcquire(xid);

		table_tuple_insert_speculative(run->table, row, GetCurrentCommandId(true), 0, NULL, token);
		alone = row_index(run, row);
		table_tuple_complete_speculative(run->table, row, token, alone);
		SpeculativeInsertionLockRelease(xid);
		CHECK_FOR_INTERRUPTS();
	}
	if (!alone)
		row_must_be_seen(run, &known);
	return alone;
}

/*
 * Do a statement that inserts a row.
 */
static void
run_insert(Run *run)
{
	TupleTableSlot *row = table_slot_create(run->table, NULL);
	bool		inserted = true;

	row_make(run, NULL, row);
	row_check(run, row);
	if (run->direct->arbiter != NULL)
		inserted = row_insert_once(run, row);
	else
	{
		table_tuple_insert(run->table, row, GetCurrentCommandId(true), 0, NULL);
		(void) row_index(run, row);
	}
	if (inserted)
		row_add(run, row);
	ExecDropSingleTupleTableSlot(row);
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
 * Do a statement whose table is locked, and return the rows that it read or
 * wrote.
 */
static RowsRead
run_direct(const Direct *direct, const QueryArgs *args, ParamListInfo params, Snapshot snapshot)
{
	Run			run = {
		.direct = direct,
		.args = args,
		.context = GetPerTupleExprContext(direct->estate),
		.snapshot = snapshot,
		.rows_context = CurrentMemoryContext,
	};

	run_before(direct, args, params, snapshot);
	ResetExprContext(run.context);
	run.context->ecxt_param_list_info = params;
	run.context->ecxt_param_exec_vals = direct->inner;
	run.table = table_open(direct->table, NoLock);
	if (direct->command == CMD_UPDATE)
		CheckCmdReplicaIdentity(run.table, CMD_UPDATE);
	if (direct->command == CMD_INSERT)
		run_insert(&run);
	else if (ExecQual(direct->gate, run.context))
		run_scan(&run);
	table_close(run.table, NoLock);
	if (direct->counts)
		rows_count(&run.rows);
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
 * Lock the tables of a statement.
 */
static void
lock_tables(const Direct *direct)
{
	LockRelationOid(direct->table, direct->lock);
	for (int i = 0; i < direct->nbefore; i++)
		lock_tables(direct->before[i].direct);
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
		!XactReadOnly && SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA;
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

	if (plan == NULL || !plan->is_valid || !source->is_valid)
		return NULL;
	if (query->direct_of != plan->generation)
	{
		direct_forget(query);
		query->direct = direct_make(plan);
		query->direct_of = plan->generation;
	}
	if (query->direct == NULL || !may_write(query->direct))
		return NULL;
	lock_tables(query->direct);
	return source->is_valid && source->gplan == query->direct->plan && plan->is_valid ? query->direct : NULL;
}

/*
 * direct_execute executes a query without the executor, and makes the rows the
 * last result. False: the executor has to do it.
 */
bool
direct_execute(KeptQuery *query, const QueryArgs *args, bool read_only)
{
	const Direct *direct;
	RowsRead	rows;

	if (query->plan == NULL || query->distributed || query->anew || query->tuples || query->reader != GetUserId() ||
		!setting_direct() || IsInParallelMode() || ExecutorCheckPerms_hook != NULL)
		return false;
	direct = direct_of(query);
	if (direct == NULL || (read_only && (direct->command != CMD_SELECT || direct->locks)))
		return false;
	check_permissions(direct);
	if (!read_only)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	rows = run_direct(direct, args, query_params(query, args), GetActiveSnapshot());
	if (!read_only)
	{
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	rows_read_set(&rows);
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
