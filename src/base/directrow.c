/*
 * directrow.c
 *		A row that a statement finds or makes without the executor: it is read,
 *		locked, updated or inserted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/directrow.h"
#include "base/rowwrite.h"

#if PG_VERSION_NUM >= 190000
#define update_tuple(table, tid, slot, cid, ...)	table_tuple_update(table, tid, slot, cid, 0, __VA_ARGS__)
#else
#define update_tuple	table_tuple_update
#endif

#if PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes UpdatedIndexes;
#else
typedef bool UpdatedIndexes;
#endif

/*
 * run_value computes a value. What an expression allocates is gone when the context's
 * memory is reset.
 */
Datum
run_value(const Run *run, const DirectValue *value, TupleTableSlot *row, bool *isnull)
{
	switch (value->kind)
	{
		case VALUE_PARAM:
			*isnull = run->args->nulls[value->number];
			return run->args->values[value->number];
		case VALUE_COLUMN:
			if (row == NULL)
				elog(ERROR, "no row has column %d", value->number);
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
 * Let a row be read as it is, and count it.
 */
static void
row_read(Run *run, TupleTableSlot *slot)
{
	const Direct *direct = run->direct;
	const QueryEach *each = run->each;

	for (int i = 0; i < direct->nresults; i++)
		run->row.rows[0][i] = run_value(run, &direct->results[i], slot, &rows_read_nulls(&run->row, 0)[i]);
	rows_read_one(&run->row);
	each->found(run->number, &slot->tts_tid, each->state);
	run->rows.n++;
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
	slot_getsomeattrs(slot, direct->last_result);	/* at once: column by column takes longer */
	if (run->row.n > 0)
	{
		row_read(run, slot);
		return;
	}
	previous = MemoryContextSwitchTo(run->rows_context);
	values = rows_read_add(&run->rows, direct->nresults);
	nulls = (bool *) (values + direct->nresults);
	for (int i = 0; i < direct->nresults; i++)
	{
		values[i] = run_value(run, &direct->results[i], slot, &nulls[i]);
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
 * run_has_keys tells whether a row that was not found by the index has what the
 * index would have found it by.
 */
bool
run_has_keys(const Run *run, TupleTableSlot *row)
{
	return row_meets(run, run->direct->scan.keys_recheck, row);
}

/*
 * Tell whether a row that has changed since it was found is one of those that the
 * statement is about. A statement that finds its row by the place is about none:
 * that is another row now.
 */
static bool
run_is_for(const Run *run, TupleTableSlot *row)
{
	const DirectScan *scan = &run->direct->scan;

	return !scan->by_place && run_has_keys(run, row) && row_meets(run, scan->quals, row);
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
			return !failure.traversed || run_is_for(run, row);
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
 * Check that a row may be written as it is.
 */
static void
row_check(const Run *run, TupleTableSlot *row)
{
	const Direct *direct = run->direct;

	row_check_required(&direct->required, run->table, row);
	run->context->ecxt_scantuple = row;
	for (int i = 0; i < direct->nchecks; i++)
		if (!ExecCheck(direct->checks[i], run->context))
			row_refuse(run->table, row);
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

	Assert(old != NULL || direct->nvalues == natts);
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

		row->tts_values[column] = run_value(run, &direct->values[i], old, &row->tts_isnull[column]);
	}
	ExecStoreVirtualTuple(row);
	row->tts_tableOid = RelationGetRelid(run->table);
}

/*
 * Tell whether an index wants rows. One that is being built is asked again: when
 * it does, the index changes, but not the table.
 */
static bool
index_is_ready(const RowIndex *index)
{
	Relation	relation;

	if (index->info->ii_ReadyForInserts)
		return true;
	relation = index_open(index->id, RowExclusiveLock);
	index->info->ii_ReadyForInserts = relation->rd_index->indisready;
	index_close(relation, NoLock);
	return index->info->ii_ReadyForInserts;
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
		RowIndex   *index = &direct->indexes[i];
		Datum		values[INDEX_MAX_KEYS];
		bool		nulls[INDEX_MAX_KEYS];
		IndexUniqueCheck check = direct->arbiter != NULL && index == direct->arbiter ? UNIQUE_CHECK_PARTIAL :
			index->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
		Relation	relation;

		if (!index_is_ready(index) || !row_index_form(index, row, run->estate, values, nulls))
			continue;
		relation = index_open(index->id, RowExclusiveLock);
		if (!index_insert(relation, values, nulls, &row->tts_tid, run->table, check, index->unchanged, index->info) &&
			check == UNIQUE_CHECK_PARTIAL)
			alone = false;
		index_close(relation, NoLock);
	}
	return alone;
}

/*
 * Refuse to update a row that what the statement called has updated, but not
 * one that it has updated itself.
 */
static void
refuse_own(CommandId changed, CommandId command)
{
	if (changed != command)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("tuple to be updated was already modified by an operation triggered by the current command")));
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
			return run_is_for(run, row);
		case TM_Deleted:
			return false;
		case TM_SelfModified:
			refuse_own(failure.cmax, command);
			return false;
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
				refuse_own(failure.cmax, command);
				return false;
			default:
				elog(ERROR, "unrecognized table_tuple_update status: %u", result);
		}
	}
}

/*
 * run_found does with a row that was found what the statement does.
 */
void
run_found(Run *run)
{
	const Direct *direct = run->direct;

	if (!row_meets(run, direct->scan.quals, run->found))
		return;
	if (run->written == NULL && (!direct->locks || row_lock(run, run->found)))
		row_add(run, run->found);
	else if (run->written != NULL && row_update(run, run->found, run->written))
		row_add(run, run->written);
}

/*
 * Find the row that an arbiter has already, after waiting for whoever is about
 * to write one. False: there is none.
 */
static bool
arbiter_find(const Run *run, TupleTableSlot *row, ItemPointer known)
{
	const RowIndex *arbiter = run->direct->arbiter;
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
		found = !ExecCheckIndexConstraints(table, row, run->estate, known, &none, arbiters);
	}
#else
	found = !ExecCheckIndexConstraints(table, row, run->estate, known, arbiters);
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
 * run_insert does a statement that inserts a row.
 */
void
run_insert(Run *run)
{
	TupleTableSlot *row = run->written;
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
}
