/*
 * directwriter.c
 *		What is kept of a table whose rows a statement writes without the executor:
 *		its checks and its indexes.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/index.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type_d.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/direct.h"
#include "base/rowwrite.h"

/*
 * Tell whether a function is not the server's own.
 */
static bool
function_is_added(Oid id, void *context)
{
	return id >= FirstNormalObjectId;
}

/*
 * Tell whether an expression calls such a function. A plan is made anew when one
 * that it calls is replaced, but knows nothing of those of a check or an index,
 * which the executor looks up for each statement.
 */
static bool
calls_added(Node *node, void *context)
{
	return node != NULL &&
		(check_functions_in_node(node, function_is_added, NULL) || expression_tree_walker(node, calls_added, NULL));
}

/*
 * Tell whether an expression of a table is for the executor. It is looked at as the
 * table has it: one that is ready to be computed may have the result of a call,
 * or what a function is made of, in its place, and no domain that has no checks yet.
 */
static bool
is_unfit(Node *written, Direct *direct)
{
	return direct_is_unfit(written, direct) || calls_added(written, NULL);
}

/*
 * Tell whether the server computes a column of a table itself.
 */
static bool
has_generated(TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
		if (TupleDescAttr(desc, i)->attgenerated != '\0')
			return true;
	return false;
}

/*
 * Make the checks of a table.
 */
static bool
checks_make(Direct *direct, const TupleConstr *constraints)
{
	int			n = constraints != NULL ? constraints->num_check : 0;

	direct->checks = palloc(sizeof(ExprState *) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Node	   *check = stringToNode(constraints->check[i].ccbin);

#if PG_VERSION_NUM >= 180000
		if (!constraints->check[i].ccenforced)
			continue;
#endif
		if (is_unfit(check, direct))
			return false;
		direct->checks[direct->nchecks++] = ExecInitExpr(expression_planner((Expr *) check), NULL);
	}
	return true;
}

/*
 * Tell whether one of the columns of an index is among those that an UPDATE
 * writes.
 */
static bool
index_is_updated(const Direct *direct, const IndexInfo *info)
{
	for (int i = 0; i < info->ii_NumIndexKeyAttrs; i++)
	{
		if (info->ii_IndexAttrNumbers[i] == 0)
			return true;
		for (int j = 0; j < direct->nvalues; j++)
			if (direct->columns[j] == info->ii_IndexAttrNumbers[i])
				return true;
	}
	return false;
}

/*
 * Tell whether the expressions of an index, its columns or its condition, are
 * for the executor.
 */
static bool
index_is_unfit(Relation index, AttrNumber expressions, Direct *direct)
{
	bool		isnull;
	Datum		written = SysCacheGetAttr(INDEXRELID, index->rd_indextuple, expressions, &isnull);

	return !isnull && is_unfit(stringToNode(TextDatumGetCString(written)), direct);
}

/*
 * Make what enters a row into an index; false when a row is not simply
 * entered.
 */
static bool
index_make(RowIndex *index, Oid id, Oid arbiter, Direct *direct)
{
	Relation	relation = index_open(id, AccessShareLock);
	bool		fit = relation->rd_rel->relam == BTREE_AM_OID && !index_is_unfit(relation, Anum_pg_index_indpred, direct) &&
		!index_is_unfit(relation, Anum_pg_index_indexprs, direct) && row_index_make(index, relation);

	if (fit)
		index->unchanged = direct->command == CMD_UPDATE && !index_is_updated(direct, index->info);
	if (fit && id == arbiter)
		BuildSpeculativeIndexInfo(relation, index->info);
	index_close(relation, AccessShareLock);
	return fit;
}

/*
 * Make what enters rows into the indexes of a table, one of which may be the
 * arbiter of an INSERT.
 */
static bool
indexes_make(Direct *direct, Relation table, Oid arbiter)
{
	List	   *ids = RelationGetIndexList(table);
	ListCell   *cell;

	direct->indexes = palloc(sizeof(RowIndex) * Max(list_length(ids), 1));
	foreach(cell, ids)
	{
		RowIndex   *index = &direct->indexes[direct->nindexes++];

		if (!index_make(index, lfirst_oid(cell), arbiter, direct))
			return false;
		if (index->id == arbiter)
			direct->arbiter = index;
	}
	return !OidIsValid(arbiter) || direct->arbiter != NULL;
}

/*
 * Let an UPDATE write NULL to the columns that a table had once, as what they
 * held is not to be kept.
 */
static void
dropped_make(Direct *direct, TupleDesc desc)
{
	for (int i = 0; i < desc->natts; i++)
	{
		DirectValue *value;

		if (!TupleDescAttr(desc, i)->attisdropped)
			continue;
		direct->values = repalloc(direct->values, sizeof(DirectValue) * (direct->nvalues + 1));
		direct->columns = repalloc(direct->columns, sizeof(AttrNumber) * (direct->nvalues + 1));
		value = &direct->values[direct->nvalues];
		memset(value, 0, sizeof(DirectValue));
		value->kind = VALUE_CONST;
		value->constant = makeNullConst(INT4OID, -1, InvalidOid);
		direct->columns[direct->nvalues++] = (AttrNumber) (i + 1);
	}
}

/*
 * direct_make_writer makes what writes a row of a table; false when more happens
 * than that the row is written and its indexes know it.
 */
bool
direct_make_writer(Direct *direct, Oid arbiter)
{
	Relation	table = table_open(direct->table, AccessShareLock);
	bool		made = !table_fires(table->trigdesc, direct->command) && !has_generated(RelationGetDescr(table)) &&
		checks_make(direct, RelationGetDescr(table)->constr) && indexes_make(direct, table, arbiter);

	required_make(&direct->required, RelationGetDescr(table));
	if (direct->command == CMD_UPDATE)
		dropped_make(direct, RelationGetDescr(table));
	table_close(table, AccessShareLock);
	return made;
}
