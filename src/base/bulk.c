/*
 * bulk.c
 *		Rows of one table that are written together, as COPY does it: a page of
 *		the table at a time, with one record of WAL for all rows of it, and
 *		without a statement that the executor would take each row through.
 *
 *		That is for a table as ducto makes it. What an INSERT would see to
 *		besides, such as triggers or checks that somebody has added, is left to
 *		an INSERT, and so are the tables of a cluster, but for those of a shard
 *		that was entered: bulk_begin tells whether the rows may be written here.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/itup.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"

#include "base/bulk.h"
#include "base/cluster.h"
#include "base/shard.h"

/*
 * Return the place in a table of a column that its writer knows, -1 when it is
 * not there as that knows it.
 */
static int
column_place(TupleDesc desc, const BulkColumn *column)
{
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0)
			return attribute->atttypid == column->type && attribute->atttypmod == -1 && attribute->attgenerated == '\0' &&
				attribute->attidentity == '\0' ? i : -1;
	}
	return -1;
}

/*
 * Find the columns of a table that its writer knows. False: there are others, or
 * a check.
 */
static bool
columns_begin(Bulk *bulk, const BulkColumn *columns, int ncolumns)
{
	TupleDesc	desc = RelationGetDescr(bulk->table);

	if (desc->natts != ncolumns || (desc->constr != NULL && desc->constr->num_check > 0))
		return false;
	required_make(&bulk->required, desc);
	bulk->in_order = true;
	for (int i = 0; i < ncolumns; i++)
	{
		bulk->places[i] = column_place(desc, &columns[i]);
		if (bulk->places[i] < 0)
			return false;
		bulk->in_order &= bulk->places[i] == i;
	}
	return true;
}

/*
 * Tell whether an INSERT into a table does no more than to write the row. One
 * that the role may not do says so.
 */
static bool
table_is_plain(Relation table)
{
	return table_is_simple(table) && table->rd_rules == NULL && !table_fires(table->trigdesc, CMD_INSERT) &&
		check_enable_rls(RelationGetRelid(table), InvalidOid, true) != RLS_ENABLED &&
		pg_class_aclcheck(RelationGetRelid(table), GetUserId(), ACL_INSERT) == ACLCHECK_OK;
}

/*
 * Tell whether the session may write tables here: a cluster's are written by
 * statements, which Citus sends on.
 */
static bool
session_may_write(void)
{
	return !cluster_is_used() && !XactReadOnly && !IsInParallelMode() && !session_is_watched() &&
		session_fires_as_usual();
}

/*
 * Open an index. False: rows are not simply entered.
 */
static bool
index_begin(BulkIndex *index, Oid id)
{
	index->rel = index_open(id, RowExclusiveLock);
#if PG_VERSION_NUM >= 160000
	index->summarizes = index->rel->rd_indam->amsummarizing;
#else
	index->summarizes = index->rel->rd_rel->relam == BRIN_AM_OID;
#endif
	return row_index_make(&index->row, index->rel);
}

/*
 * Open the indexes of the table. False: into one of them rows are not simply
 * entered.
 */
static bool
indexes_begin(Bulk *bulk)
{
	List	   *ids = RelationGetIndexList(bulk->table);
	ListCell   *id;
	bool		plain = true;

	bulk->indexes = palloc(sizeof(BulkIndex) * Max(list_length(ids), 1));
	foreach(id, ids)
	{
		plain = index_begin(&bulk->indexes[bulk->nindexes], lfirst_oid(id)) && plain;
		bulk->nindexes++;
	}
	return plain;
}

/*
 * Close the table and its indexes, whose locks stay.
 */
static void
relations_end(Bulk *bulk)
{
	for (int i = 0; i < bulk->nindexes; i++)
		index_close(bulk->indexes[i].rel, NoLock);
	table_close(bulk->table, NoLock);
}

/*
 * bulk_begin starts to write rows of a table of ducto, whose columns are given.
 * False: an INSERT has to do it. The order of the tests is that of what an
 * INSERT would find out: the lock first, as it brings what has changed.
 */
bool
bulk_begin(Bulk *bulk, const char *table, const BulkColumn *columns, int ncolumns)
{
	memset(bulk, 0, sizeof(Bulk));
	bulk->table = table_open(shard_table(table), RowExclusiveLock);
	if (session_may_write() && table_is_plain(bulk->table) && columns_begin(bulk, columns, ncolumns) && indexes_begin(bulk))
	{
		bulk->estate = CreateExecutorState();
		return true;
	}
	relations_end(bulk);
	return false;
}

/*
 * Tell whether two rows of an index have the same values.
 */
static bool
values_equal(Relation index, const Datum *a, const bool *a_nulls, const Datum *b, const bool *b_nulls)
{
	for (int i = 0; i < RelationGetDescr(index)->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(index), i);

		if (a_nulls[i] != b_nulls[i] ||
			(!a_nulls[i] && !datumIsEqual(a[i], b[i], attribute->attbyval, attribute->attlen)))
			return false;
	}
	return true;
}

/*
 * Enter a row that was written into an index.
 */
static void
index_row(const Bulk *bulk, const BulkIndex *index, TupleTableSlot *row)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	CHECK_FOR_INTERRUPTS();
	if (row_index_form(&index->row, row, bulk->estate, values, nulls))
		index_insert(index->rel, values, nulls, &row->tts_tid, bulk->table,
					 index->row.info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, index->row.info);
}

/*
 * Enter rows that were written into an index. What is written together mostly
 * grows and has its place in the middle of the index, where a full page is
 * halved: in the order of the rows nothing would come to the left half any more.
 * So they are entered backwards, and those that are left fill that half. The end
 * of an index keeps its pages full by itself, so there the order is kept.
 */
static void
index_rows(const Bulk *bulk, const BulkIndex *index)
{
	int			last = bulk->n - 1;

	index_row(bulk, index, bulk->rows[last]);
	if (RelationGetTargetBlock(index->rel) != InvalidBlockNumber)
	{
		for (int i = 0; i < last; i++)
			index_row(bulk, index, bulk->rows[i]);
		return;
	}
	for (int i = last - 1; i >= 0; i--)
		index_row(bulk, index, bulk->rows[i]);
}

/*
 * Tell an index that summarizes blocks of rows that were written, a value once
 * for each block.
 */
static void
index_blocks(const Bulk *bulk, const BulkIndex *index)
{
	Datum		values[2][INDEX_MAX_KEYS];
	bool		nulls[2][INDEX_MAX_KEYS];
	BlockNumber block = InvalidBlockNumber;
	int			now = 0;

	for (int i = 0; i < bulk->n; i++)
	{
		TupleTableSlot *row = bulk->rows[i];
		BlockNumber before = block;

		CHECK_FOR_INTERRUPTS();
		if (!row_index_form(&index->row, row, bulk->estate, values[now], nulls[now]))
			continue;
		block = ItemPointerGetBlockNumber(&row->tts_tid);
		if (before == block && values_equal(index->rel, values[0], nulls[0], values[1], nulls[1]))
			continue;
		index_insert(index->rel, values[now], nulls[now], &row->tts_tid, bulk->table, UNIQUE_CHECK_NO, false,
					 index->row.info);
		now = 1 - now;
	}
}

/*
 * Enter rows that were written into an index.
 */
static void
index_write(const Bulk *bulk, const BulkIndex *index)
{
	if (index->summarizes)
		index_blocks(bulk, index);
	else
		index_rows(bulk, index);
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index->rel, index->row.info);
#endif
}

/*
 * Return how many rows like one that waits are most of a page of an index; all
 * that may wait, where it has no such pages.
 */
static int
index_page(const Bulk *bulk, const BulkIndex *index, TupleTableSlot *row)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];
	Size		size;

	if (index->rel->rd_rel->relam != BTREE_AM_OID || !row_index_form(&index->row, row, bulk->estate, values, nulls))
		return BULK_ROWS;
	size = MAXALIGN(sizeof(IndexTupleData)) + heap_compute_data_size(RelationGetDescr(index->rel), values, nulls);
	return (int) (BLCKSZ / (MAXALIGN(size) + sizeof(ItemIdData)) * 7 / 8);
}

/*
 * Decide by the first row how many are written at a time: as many as the page
 * of an index takes that is halved once.
 */
static void
bulk_measure(Bulk *bulk)
{
	bulk->together = BULK_ROWS;
	for (int i = 0; i < bulk->nindexes; i++)
		bulk->together = Max(Min(bulk->together, index_page(bulk, &bulk->indexes[i], bulk->rows[0])), 1);
}

/*
 * Write the rows that wait.
 */
static void
bulk_flush(Bulk *bulk)
{
	if (bulk->n == 0)
		return;
	table_multi_insert(bulk->table, bulk->rows, bulk->n, GetCurrentCommandId(true), 0, NULL);
	for (int i = 0; i < bulk->nindexes; i++)
		index_write(bulk, &bulk->indexes[i]);
	ResetPerTupleExprContext(bulk->estate);
	for (int i = 0; i < bulk->n; i++)
		ExecClearTuple(bulk->rows[i]);
	bulk->n = 0;
}

/*
 * Return the place of the next row.
 */
static TupleTableSlot *
next_row(Bulk *bulk)
{
	if (bulk->n == 1 && bulk->together == 0)
		bulk_measure(bulk);
	if (bulk->n > 0 && bulk->n == bulk->together)
		bulk_flush(bulk);
	if (bulk->rows[bulk->n] == NULL)
		bulk->rows[bulk->n] = table_slot_create(bulk->table, NULL);
	return bulk->rows[bulk->n++];
}

/*
 * bulk_add adds a row, a value for each column. They have to live until
 * bulk_end.
 */
void
bulk_add(Bulk *bulk, const QueryArgs *row)
{
	TupleTableSlot *slot = next_row(bulk);

	Assert(row->n == slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < row->n; i++)
	{
		int			place = bulk->places[i];

		slot->tts_values[place] = row->values[i];
		slot->tts_isnull[place] = row->nulls[i];
	}
	ExecStoreVirtualTuple(slot);
	row_check_required(&bulk->required, bulk->table, slot);
}

/*
 * Add a row that is made as the table has it.
 */
static void
bulk_add_tuple(Bulk *bulk, HeapTuple tuple)
{
	TupleTableSlot *slot = next_row(bulk);

	ExecForceStoreHeapTuple(tuple, slot, false);
	slot_getallattrs(slot);		/* the indexes need most of it */
	row_check_required(&bulk->required, bulk->table, slot);
}

/*
 * bulk_end writes what waits. Statements after it see the rows.
 */
void
bulk_end(Bulk *bulk)
{
	bulk_flush(bulk);
	for (int i = 0; i < BULK_ROWS && bulk->rows[i] != NULL; i++)
		ExecDropSingleTupleTableSlot(bulk->rows[i]);
	FreeExecutorState(bulk->estate);
	relations_end(bulk);
	CommandCounterIncrement();
}

/*
 * bulk_write writes records that have a value for each column of a table of
 * ducto. False: an INSERT has to do it.
 */
bool
bulk_write(const char *table, const BulkColumn *columns, const Records *records)
{
	Bulk		bulk;

	if (!bulk_begin(&bulk, table, columns, records->desc->natts))
		return false;
	for (int i = 0; i < records->n; i++)
	{
		HeapTupleData tuple = records_tuple(records, i);

		if (bulk.in_order)
			bulk_add_tuple(&bulk, &tuple);
		else
		{
			QueryArgs	row = {.n = records->desc->natts};

			heap_deform_tuple(&tuple, records->desc, row.values, row.nulls);
			bulk_add(&bulk, &row);
		}
	}
	bulk_end(&bulk);
	return true;
}
