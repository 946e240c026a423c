/*
 * rowwrite.c
 *		What is to be known of a table whose rows are written without the
 *		executor: whether triggers are for them, and how its indexes know them.
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"

#include "base/rowwrite.h"

/*
 * table_is_simple tells whether the rows of a table are in it and nowhere else,
 * in the way that PostgreSQL keeps them: what other methods make of a row and of
 * an index is theirs.
 */
bool
table_is_simple(Relation table)
{
	return table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relispartition &&
		table->rd_rel->relam == HEAP_TABLE_AM_OID;
}

/*
 * table_fires tells whether a trigger of a table is for what a command does, at
 * a server that is nobody's replica.
 */
bool
table_fires(const TriggerDesc *triggers, CmdType command)
{
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (trigger->tgenabled != TRIGGER_DISABLED && trigger->tgenabled != TRIGGER_FIRES_ON_REPLICA &&
			(command == CMD_INSERT ? TRIGGER_FOR_INSERT(trigger->tgtype) : TRIGGER_FOR_UPDATE(trigger->tgtype)))
			return true;
	}
	return false;
}

/*
 * session_fires_as_usual tells whether the triggers of the session are those
 * that table_fires asks of: a replica's are others.
 */
bool
session_fires_as_usual(void)
{
	return SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA;
}

/*
 * session_is_watched tells whether somebody is told what is read and written,
 * as an audit is. That takes what the executor says for a statement of its own,
 * so there has to be one.
 */
bool
session_is_watched(void)
{
	return ExecutorCheckPerms_hook != NULL;
}

/*
 * row_index_make makes what enters rows into an index, in the current memory
 * context. False: a row is not simply entered, as it is compared with others
 * or looked at once more at the end of the transaction.
 */
bool
row_index_make(RowIndex *index, Relation relation)
{
	IndexInfo  *info = BuildIndexInfo(relation);
	ListCell   *cell;

	index->id = RelationGetRelid(relation);
	index->info = info;
	info->ii_PredicateState = ExecInitQual((List *) expression_planner((Expr *) info->ii_Predicate), NULL);
	foreach(cell, info->ii_Expressions)
	{
		ExprState  *state = ExecInitExpr(expression_planner(lfirst(cell)), NULL);

		info->ii_ExpressionsState = lappend(info->ii_ExpressionsState, state);
	}
	return info->ii_ExclusionOps == NULL && relation->rd_index->indimmediate;
}

/*
 * row_index_form computes what an index has of a row. False: nothing, as the row
 * is none of its rows.
 */
bool
row_index_form(const RowIndex *index, TupleTableSlot *row, EState *estate, Datum *values, bool *nulls)
{
	ExprContext *context = GetPerTupleExprContext(estate);

	context->ecxt_scantuple = row;
	if (!index->info->ii_ReadyForInserts || !ExecQual(index->info->ii_PredicateState, context))
		return false;
	FormIndexDatum(index->info, row, estate, values, nulls);
	return true;
}

/*
 * row_refuse refuses a row that a column or a check of the table refuses, in the
 * words of the executor.
 */
void
row_refuse(Relation table, TupleTableSlot *row)
{
	ResultRelInfo *info = makeNode(ResultRelInfo);

	InitResultRelInfo(info, table, 0, NULL, 0);
	ExecConstraints(info, row, CreateExecutorState());
	elog(ERROR, "a row of table \"%s\" is refused", RelationGetRelationName(table));
}

/*
 * required_make finds the columns of a table that must not be NULL, in the current
 * memory context.
 */
void
required_make(RequiredColumns *required, TupleDesc desc)
{
	required->n = 0;
	required->columns = palloc(sizeof(int) * Max(desc->natts, 1));
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attnotnull)
			required->columns[required->n++] = i;
}

/*
 * row_check_required refuses a row that has NULL where it must not. One from before
 * may have it in any of these columns, also when it is updated in others.
 */
void
row_check_required(const RequiredColumns *required, Relation table, TupleTableSlot *row)
{
	for (int i = 0; i < required->n; i++)
		if (row->tts_isnull[required->columns[i]])
			row_refuse(table, row);
}
