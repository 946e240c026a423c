/*
 * bulk.c
 *		Rows of one table that are written together, as COPY does it: a page of
 *		the table at a time, with one record of WAL for all rows of it, and
 *		without a statement that the executor would take each row through.
 *
 *		That is for a table as ducto makes it. What an INSERT would see to
 *		besides, such as triggers or checks that somebody has added, is left to
 *		an INSERT, and so are the tables of a cluster: bulk_begin tells whether
 *		the rows may be written here.
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_relation.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"

#include "base/bulk.h"
#include "base/cluster.h"
#include "base/shard.h"

/*
 * Tell whether a column of a table is as its writer knows it.
 */
static bool
column_is(Form_pg_attribute attribute, const BulkColumn *column)
{
	return !attribute->attisdropped && strcmp(NameStr(attribute->attname), column->name) == 0 &&
		attribute->atttypid == column->type && attribute->attnotnull == column->required &&
		attribute->attgenerated == '\0';
}

/*
 * Tell whether a table has the columns that its writer knows, and no others,
 * nor a check.
 */
static bool
columns_are(TupleDesc desc, const BulkColumn *columns, int ncolumns)
{
	if (desc->natts != ncolumns || (desc->constr != NULL && desc->constr->num_check > 0))
		return false;
	for (int i = 0; i < ncolumns; i++)
		if (!column_is(TupleDescAttr(desc, i), &columns[i]))
			return false;
	return true;
}

/*
 * Tell whether a trigger of a table is for rows that are inserted.
 */
static bool
has_insert_trigger(const TriggerDesc *triggers)
{
	return triggers != NULL &&
		(triggers->trig_insert_before_row || triggers->trig_insert_after_row || triggers->trig_insert_instead_row ||
		 triggers->trig_insert_before_statement || triggers->trig_insert_after_statement ||
		 triggers->trig_insert_new_table);
}

/*
 * Tell whether an INSERT into a table does no more than to write the row.
 */
static bool
table_is_plain(Relation table)
{
	return table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relispartition && table->rd_rules == NULL &&
		!has_insert_trigger(table->trigdesc) &&
		check_enable_rls(RelationGetRelid(table), InvalidOid, true) != RLS_ENABLED;
}

/*
 * Tell whether tables are this server's own: a cluster's are written by
 * statements, which Citus sends on.
 */
static bool
tables_are_here(void)
{
	return shard_entered() == 0 && !cluster_is_used();
}

/*
 * Check that the role may insert into the table, as an INSERT does: whoever
 * watches what is written is told by it, too.
 */
static void
check_permission(Relation table)
{
	RangeTblEntry *entry = makeNode(RangeTblEntry);

	entry->rtekind = RTE_RELATION;
	entry->relid = RelationGetRelid(table);
	entry->relkind = table->rd_rel->relkind;
	entry->rellockmode = RowExclusiveLock;
#if PG_VERSION_NUM >= 160000
	{
		List	   *permissions = NIL;
		RTEPermissionInfo *permission = addRTEPermissionInfo(&permissions, entry);

		permission->requiredPerms = ACL_INSERT;
		(void) ExecCheckPermissions(list_make1(entry), permissions, true);
	}
#else
	entry->requiredPerms = ACL_INSERT;
	(void) ExecCheckRTPerms(list_make1(entry), true);
#endif
}

/*
 * Open an index. False: rows have to be computed for it, or it is looked into
 * at the end of the transaction.
 */
static bool
index_begin(BulkIndex *index, Oid id)
{
	index->rel = index_open(id, RowExclusiveLock);
	index->info = BuildIndexInfo(index->rel);
#if PG_VERSION_NUM >= 160000
	index->summarizes = index->rel->rd_indam->amsummarizing;
#else
	index->summarizes = index->rel->rd_rel->relam == BRIN_AM_OID;
#endif
	return index->info->ii_Expressions == NIL && index->info->ii_Predicate == NIL && index->info->ii_ExclusionOps == NULL &&
		index->rel->rd_index->indimmediate;
}

/*
 * Open the indexes of the table. False: one of them is not plain.
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
	memset(bulk, 0, offsetof(Bulk, rows));
	bulk->table = table_open(get_relname_relid(table, get_namespace_oid("ducto", false)), RowExclusiveLock);
	if (tables_are_here() && table_is_plain(bulk->table) &&
		columns_are(RelationGetDescr(bulk->table), columns, ncolumns) && indexes_begin(bulk))
	{
		check_permission(bulk->table);
		memset(bulk->rows, 0, sizeof(bulk->rows));
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
 * Enter rows that were written into an index. One that summarizes blocks is
 * told a value once for each block.
 */
static void
index_rows(const Bulk *bulk, const BulkIndex *index)
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
		block = ItemPointerGetBlockNumber(&row->tts_tid);
		FormIndexDatum(index->info, row, NULL, values[now], nulls[now]);
		if (index->summarizes && before == block && values_equal(index->rel, values[0], nulls[0], values[1], nulls[1]))
			continue;
		index_insert(index->rel, values[now], nulls[now], &row->tts_tid, bulk->table,
					 index->info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, index->info);
		if (index->summarizes)
			now = 1 - now;
	}
#if PG_VERSION_NUM >= 170000
	index_insert_cleanup(index->rel, index->info);
#endif
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
		if (bulk->indexes[i].info->ii_ReadyForInserts)
			index_rows(bulk, &bulk->indexes[i]);
	for (int i = 0; i < bulk->n; i++)
		ExecClearTuple(bulk->rows[i]);
	bulk->n = 0;
}

/*
 * bulk_add adds a row, a value for each column. They have to live until
 * bulk_end.
 */
void
bulk_add(Bulk *bulk, const QueryArgs *row)
{
	TupleTableSlot *slot;

	if (bulk->n == BULK_ROWS)
		bulk_flush(bulk);
	if (bulk->rows[bulk->n] == NULL)
		bulk->rows[bulk->n] = table_slot_create(bulk->table, NULL);
	slot = bulk->rows[bulk->n++];
	Assert(row->n == slot->tts_tupleDescriptor->natts);
	for (int i = 0; i < row->n; i++)
	{
		slot->tts_values[i] = row->values[i];
		slot->tts_isnull[i] = row->nulls[i];
	}
	ExecStoreVirtualTuple(slot);
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
	relations_end(bulk);
	CommandCounterIncrement();
}
