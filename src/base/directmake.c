/*
 * directmake.c
 *		Which plans of kept statements need no executor, and what is kept of them.
 *
 *		Most statements here find rows of one table by an index and read, lock or
 *		update them, or insert one row. To start the executor costs such a
 *		statement more than what it does: for each column and each condition
 *		something is made and thrown away. This makes it once, from the plan that
 *		the server has made. What is not known here is left to the executor.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/nbtree.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_language.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "nodes/nodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/direct.h"

/*
 * Tell whether a function may run statements of its own: then it is no part of
 * what is kept.
 */
static bool
function_is_sql(Oid id, void *context)
{
	HeapTuple	tuple;
	Oid			language;

	if (id < FirstNormalObjectId)
		return false;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(id));
	if (!HeapTupleIsValid(tuple))
		return true;
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	ReleaseSysCache(tuple);
	return language != INTERNALlanguageId && language != ClanguageId;
}

/*
 * Tell whether a parameter is the value of no statement that runs before.
 */
static bool
is_foreign(const Direct *direct, const Param *param)
{
	for (int i = 0; i < direct->nbefore; i++)
		if (direct->before[i].param == param->paramid)
			return false;
	return param->paramkind != PARAM_EXTERN;
}

/*
 * direct_is_unfit tells whether an expression is more than parameters, columns
 * and functions. What a domain checks may change while the plan does not.
 */
bool
direct_is_unfit(Node *node, void *direct)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return is_foreign(direct, castNode(Param, node));
	if (IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) || IsA(node, Aggref) || IsA(node, WindowFunc) ||
		IsA(node, CurrentOfExpr) || IsA(node, CoerceToDomain) || check_functions_in_node(node, function_is_sql, NULL))
		return true;
	return expression_tree_walker(node, direct_is_unfit, direct);
}

/*
 * Make a value of an expression; false when it is unfit.
 */
static bool
value_make(const Direct *direct, DirectValue *value, Expr *expr)
{
	memset(value, 0, sizeof(DirectValue));
	get_typlenbyval(exprType((Node *) expr), &value->len, &value->byval);
	if (IsA(expr, Param) && castNode(Param, expr)->paramkind == PARAM_EXTERN)
	{
		value->kind = VALUE_PARAM;
		value->number = castNode(Param, expr)->paramid - 1;
	}
	else if (IsA(expr, Var) && castNode(Var, expr)->varattno > 0)
	{
		value->kind = VALUE_COLUMN;
		value->number = castNode(Var, expr)->varattno;
	}
	else if (IsA(expr, Const))
	{
		value->kind = VALUE_CONST;
		value->constant = castNode(Const, expr);
	}
	else if (direct_is_unfit((Node *) expr, (void *) direct))
		return false;
	else
	{
		value->kind = VALUE_EXPR;
		value->expr = ExecInitExpr(expr, NULL);
	}
	return true;
}

/*
 * Make conditions that all have to be met; false when one is unfit.
 */
static bool
quals_make(const Direct *direct, ExprState **state, List *quals)
{
	if (direct_is_unfit((Node *) quals, (void *) direct))
		return false;
	*state = ExecInitQual(quals, NULL);
	return true;
}

/*
 * Return the column of an index that an expression is, 0 for none.
 */
static AttrNumber
index_column(Node *node)
{
	if (IsA(node, RelabelType))
		node = (Node *) castNode(RelabelType, node)->arg;
	return IsA(node, Var) && castNode(Var, node)->varno == INDEX_VAR ? castNode(Var, node)->varattno : 0;
}

/*
 * Make a key that compares a column of an index with a value.
 */
static bool
key_make_operator(const Direct *direct, DirectKey *key, OpExpr *qual, Relation index, int *strategy)
{
	AttrNumber	column;
	Oid			left;
	Oid			right;

	if (list_length(qual->args) != 2)
		return false;
	column = index_column(linitial(qual->args));
	if (column <= 0 || !value_make(direct, &key->value, lsecond(qual->args)) || key->value.kind == VALUE_COLUMN)
		return false;
	get_op_opfamily_properties(qual->opno, index->rd_opfamily[column - 1], false, strategy, &left, &right);
	ScanKeyEntryInitialize(&key->key, 0, column, *strategy, right, qual->inputcollid, qual->opfuncid, (Datum) 0);
	key->has_value = true;
	return true;
}

/*
 * Make a key that asks whether a column of an index is NULL.
 */
static bool
key_make_null(DirectKey *key, NullTest *qual)
{
	AttrNumber	column = index_column((Node *) qual->arg);

	if (column <= 0 || qual->argisrow)
		return false;
	ScanKeyEntryInitialize(&key->key, SK_ISNULL | (qual->nulltesttype == IS_NULL ? SK_SEARCHNULL : SK_SEARCHNOTNULL),
						   column, InvalidStrategy, InvalidOid, InvalidOid, InvalidOid, (Datum) 0);
	return true;
}

/*
 * Make the keys of a scan; false when one is neither.
 */
static bool
keys_make(Direct *direct, List *quals, Relation index)
{
	DirectScan *scan = &direct->scan;
	ListCell   *cell;
	Bitmapset  *equal = NULL;

	scan->keys = palloc0(sizeof(DirectKey) * Max(list_length(quals), 1));
	foreach(cell, quals)
	{
		Node	   *qual = lfirst(cell);
		DirectKey  *key = &scan->keys[scan->nkeys++];
		int			strategy = InvalidStrategy;

		if (!(IsA(qual, OpExpr) ? key_make_operator(direct, key, castNode(OpExpr, qual), index, &strategy) :
			  IsA(qual, NullTest) && key_make_null(key, castNode(NullTest, qual))))
			return false;
		if (strategy == BTEqualStrategyNumber)
			equal = bms_add_member(equal, key->key.sk_attno);
	}
	scan->unique = index->rd_index->indisunique && index->rd_index->indimmediate &&
		bms_num_members(equal) == IndexRelationGetNumberOfKeyAttributes(index);
	scan->is_partial = RelationGetIndexPredicate(index) != NIL;
	return true;
}

/*
 * Make the way to the rows of a plan that finds them by an index.
 */
static bool
scan_make(Direct *direct, Oid id, ScanDirection direction, List *quals)
{
	Relation	index = index_open(id, AccessShareLock);
	bool		made = index->rd_rel->relam == BTREE_AM_OID && keys_make(direct, quals, index);

	direct->scan.index = id;
	direct->scan.direction = direction;
	index_close(index, AccessShareLock);
	return made;
}

/*
 * Tell whether the values of all keys of a scan have a length of their type, so
 * that it can be remembered where rows were found by them.
 */
static bool
keys_are_short(const DirectScan *scan)
{
	for (int i = 0; i < scan->nkeys; i++)
		if (!scan->keys[i].has_value || scan->keys[i].value.len <= 0)
			return false;
	return true;
}

/*
 * Make the way to the rows of a plan that reads them.
 */
static bool
scan_make_rows(Direct *direct, const IndexScan *node)
{
	DirectScan *scan = &direct->scan;

	if (node->indexorderby != NIL || !scan_make(direct, node->indexid, node->indexorderdir, node->indexqual))
		return false;
	scan->is_remembered = scan->unique && !scan->is_partial && keys_are_short(scan);
	return quals_make(direct, &scan->keys_recheck, node->indexqualorig) && quals_make(direct, &scan->quals, node->scan.plan.qual);
}

/* Columns of a plan node that stand for others. */
typedef struct Columns
{
	int			varno;
	List	   *entries;		/* those others */
} Columns;

/*
 * Put into an expression what its columns of a plan node stand for.
 */
static Node *
columns_pass(Node *node, void *columns)
{
	const Columns *of = columns;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && castNode(Var, node)->varno == of->varno && castNode(Var, node)->varattno > 0)
		return copyObject((Node *) list_nth_node(TargetEntry, of->entries, castNode(Var, node)->varattno - 1)->expr);
	return expression_tree_mutator(node, columns_pass, columns);
}

/*
 * Make the way to the rows of a plan that reads an index alone, to tell whether
 * there are some or to count them. To count many the executor knows pages that need
 * no look.
 */
static bool
scan_make_index(Direct *direct, const IndexOnlyScan *node)
{
	Columns		columns = {.varno = INDEX_VAR, .entries = node->indextlist};

	return node->indexorderby == NIL &&
		(direct->counts ? direct->few : !contain_var_clause((Node *) node->scan.plan.targetlist)) &&
		scan_make(direct, node->indexid, node->indexorderdir, node->indexqual) &&
		quals_make(direct, &direct->scan.quals, castNode(List, columns_pass((Node *) node->scan.plan.qual, &columns)));
}

/*
 * Make the way to the row that is at one place.
 */
static bool
place_make(Direct *direct, const TidScan *node)
{
	DirectScan *scan = &direct->scan;
	OpExpr	   *qual = linitial(node->tidquals);

	if (list_length(node->tidquals) != 1 || !IsA(qual, OpExpr) || qual->opno != TIDEqualOperator ||
		!IsA(linitial(qual->args), Var) || linitial_node(Var, qual->args)->varattno != SelfItemPointerAttributeNumber ||
		!value_make(direct, &scan->place, lsecond(qual->args)) || scan->place.kind == VALUE_COLUMN)
		return false;
	scan->by_place = true;
	return quals_make(direct, &scan->quals, node->scan.plan.qual);
}

/*
 * Make the values of those of a list's entries that are not for the executor.
 */
static bool
values_make(const Direct *direct, DirectValue **values, int *n, List *entries)
{
	ListCell   *cell;

	*values = palloc(sizeof(DirectValue) * Max(list_length(entries), 1));
	foreach(cell, entries)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk && !value_make(direct, &(*values)[(*n)++], entry->expr))
			return false;
	}
	return true;
}

/*
 * Make the columns of what a statement reads, or returns of what it writes.
 */
static bool
results_make(Direct *direct, List *columns)
{
	if (!values_make(direct, &direct->results, &direct->nresults, columns))
		return false;
	for (int i = 0; i < direct->nresults; i++)
		if (direct->results[i].kind == VALUE_COLUMN)
			direct->last_result = Max(direct->last_result, direct->results[i].number);
	return true;
}

static Direct *make(const Direct *within, Plan *root);

/*
 * Make the statements of which a plan needs a value before it runs.
 */
static bool
before_make(Direct *direct, const Plan *node)
{
	ListCell   *cell;

	foreach(cell, node->initPlan)
	{
		SubPlan    *sub = lfirst_node(SubPlan, cell);
		struct Before *before;

		if ((sub->subLinkType != EXISTS_SUBLINK && sub->subLinkType != EXPR_SUBLINK) || list_length(sub->setParam) != 1)
			return false;
		direct->before = direct->before == NULL ? palloc(sizeof(struct Before)) :
			repalloc(direct->before, sizeof(struct Before) * (direct->nbefore + 1));
		before = &direct->before[direct->nbefore];
		before->exists = sub->subLinkType == EXISTS_SUBLINK;
		before->param = linitial_int(sub->setParam);
		before->direct = make(direct, list_nth(direct->statement->subplans, sub->plan_id - 1));
		if (before->direct == NULL || before->direct->locks)
			return false;
		if (before->exists)
			before->direct->limit = 1;
		direct->nbefore++;
	}
	return true;
}

/*
 * Let the statement be of a table of the plan; false when it is for the executor.
 */
static bool
table_make(Direct *direct, Index number)
{
	RangeTblEntry *entry = rt_fetch(number, direct->statement->rtable);
	Relation	table;
	bool		simple;

	if (entry->rtekind != RTE_RELATION || entry->relid < FirstNormalObjectId || entry->tablesample != NULL)
		return false;
	direct->table = entry->relid;
	direct->lock = entry->rellockmode;
	table = table_open(direct->table, NoLock);
	simple = table_is_simple(table);
	table_close(table, NoLock);
	return simple;
}

/*
 * Make the way to the rows of a plan, and return the columns that they have;
 * false when it is none by an index or a place. There may be a condition in front of it.
 */
static bool
rows_make(Direct *direct, Plan *node, List **columns)
{
	const Result *gate = IsA(node, Result) && outerPlan(node) != NULL ? castNode(Result, node) : NULL;

	if (gate != NULL && (!before_make(direct, node) || !quals_make(direct, &direct->gate, (List *) gate->resconstantqual)))
		return false;
	*columns = node->targetlist;
	if (gate != NULL)
	{
		Columns		below = {.varno = OUTER_VAR};

		node = outerPlan(node);
		below.entries = node->targetlist;
		*columns = castNode(List, columns_pass((Node *) *columns, &below));
	}
	if (!(IsA(node, IndexScan) || IsA(node, IndexOnlyScan) || IsA(node, TidScan)) || !before_make(direct, node) ||
		!table_make(direct, ((Scan *) node)->scanrelid))
		return false;
	if (IsA(node, TidScan))
		return place_make(direct, castNode(TidScan, node));
	return IsA(node, IndexScan) ? scan_make_rows(direct, castNode(IndexScan, node)) :
		scan_make_index(direct, castNode(IndexOnlyScan, node));
}

/*
 * Take what a plan limits its rows to; false when that is no constant.
 */
static bool
limit_make(Direct *direct, const Limit *node)
{
	if (node->limitOffset != NULL || node->limitOption != LIMIT_OPTION_COUNT || node->limitCount == NULL ||
		!IsA(node->limitCount, Const) || castNode(Const, node->limitCount)->constisnull)
		return false;
	direct->limit = DatumGetInt64(castNode(Const, node->limitCount)->constvalue);
	return direct->limit > 0 && before_make(direct, &node->plan);
}

/*
 * Take how a plan locks its rows; false when they are of several tables.
 */
static bool
locks_make(Direct *direct, const LockRows *node)
{
	static const LockTupleMode modes[] = {
		[ROW_MARK_EXCLUSIVE] = LockTupleExclusive,
		[ROW_MARK_NOKEYEXCLUSIVE] = LockTupleNoKeyExclusive,
		[ROW_MARK_SHARE] = LockTupleShare,
		[ROW_MARK_KEYSHARE] = LockTupleKeyShare
	};
	PlanRowMark *mark = linitial_node(PlanRowMark, node->rowMarks);

	if (list_length(node->rowMarks) != 1 || mark->isParent || mark->markType > ROW_MARK_KEYSHARE)
		return false;
	direct->locks = true;
	direct->row_lock = modes[mark->markType];
	direct->wait = mark->waitPolicy;
	return before_make(direct, &node->plan);
}

/*
 * Take that a plan counts its rows; false when it does something else with
 * them.
 */
static bool
count_make(Direct *direct, const Agg *node)
{
	const Aggref *count;

	if (node->aggstrategy != AGG_PLAIN || node->aggsplit != AGGSPLIT_SIMPLE || node->groupingSets != NIL ||
		node->plan.qual != NIL || list_length(node->plan.targetlist) != 1)
		return false;
	count = (const Aggref *) linitial_node(TargetEntry, node->plan.targetlist)->expr;
	if (!IsA(count, Aggref) || count->aggfnoid != F_COUNT_ || count->aggfilter != NULL)
		return false;
	direct->counts = true;
	return before_make(direct, &node->plan);
}

/*
 * Make a statement of a plan that reads rows by an index, and may lock or count
 * them.
 */
static bool
select_make(Direct *direct, Plan *node)
{
	List	   *columns;

	direct->command = CMD_SELECT;
	if (IsA(node, Agg))
	{
		if (!count_make(direct, castNode(Agg, node)))
			return false;
		node = outerPlan(node);
	}
	if (IsA(node, Limit))
	{
		if (!limit_make(direct, castNode(Limit, node)))
			return false;
		node = outerPlan(node);
	}
	if (IsA(node, LockRows))
	{
		if (!locks_make(direct, castNode(LockRows, node)))
			return false;
		node = outerPlan(node);
	}
	return rows_make(direct, node, &columns) &&
		(direct->counts || results_make(direct, columns));
}

/*
 * Take the columns that an UPDATE writes, or all where it is an INSERT.
 */
static void
columns_make(Direct *direct, const ModifyTable *node)
{
	List	   *columns = node->operation == CMD_UPDATE ? linitial(node->updateColnosLists) : NIL;

	direct->columns = palloc(sizeof(AttrNumber) * Max(direct->nvalues, 1));
	for (int i = 0; i < direct->nvalues; i++)
		direct->columns[i] = (AttrNumber) (columns != NIL ? list_nth_int(columns, i) : i + 1);
}

/*
 * Take the index by which an INSERT sees that it is to do nothing, InvalidOid
 * for none; false when it would do something else.
 */
static bool
arbiter_make(const ModifyTable *node, Oid *arbiter)
{
	*arbiter = InvalidOid;
	if (node->onConflictAction == ONCONFLICT_NOTHING && list_length(node->arbiterIndexes) == 1)
		*arbiter = linitial_oid(node->arbiterIndexes);
	return node->onConflictAction == ONCONFLICT_NONE || OidIsValid(*arbiter);
}

/*
 * Return the columns of the rows that an UPDATE or INSERT is about to write; false
 * when they are not found by an index, or are not one row of values.
 */
static bool
source_make(Direct *direct, const ModifyTable *node, List **columns)
{
	Plan	   *source = outerPlan(node);
	Oid			table = direct->table;

	if (node->operation == CMD_UPDATE)
		return rows_make(direct, source, columns) && direct->table == table;
	*columns = source->targetlist;
	return node->operation == CMD_INSERT && IsA(source, Result) && outerPlan(source) == NULL &&
		castNode(Result, source)->resconstantqual == NULL && before_make(direct, source);
}

/*
 * Make a statement of a plan that inserts one row, or updates those that it finds
 * by an index.
 */
static bool
modify_make(Direct *direct, const ModifyTable *node)
{
	List	   *columns;
	Oid			arbiter;

	direct->command = node->operation;
	if (list_length(node->resultRelations) != 1 || node->rootRelation != 0 || node->rowMarks != NIL ||
		node->withCheckOptionLists != NIL || !arbiter_make(node, &arbiter) ||
		!table_make(direct, linitial_int(node->resultRelations)) || !before_make(direct, &node->plan))
		return false;
	if (!source_make(direct, node, &columns) || !values_make(direct, &direct->values, &direct->nvalues, columns))
		return false;
	columns_make(direct, node);
	return direct_make_writer(direct, arbiter) &&
		(node->returningLists == NIL || results_make(direct, linitial(node->returningLists)));
}

/*
 * Make what is kept of a plan, which is within another's statement; NULL when the
 * executor has to do it.
 */
static Direct *
make(const Direct *within, Plan *root)
{
	Direct	   *direct = palloc0(sizeof(Direct));

	direct->context = within->context;
	direct->plan = within->plan;
	direct->statement = within->statement;
	direct->few = within->few;
	direct->inner = palloc0(sizeof(ParamExecData) * Max(list_length(direct->statement->paramExecTypes), 1));
	return (IsA(root, ModifyTable) ? modify_make(direct, castNode(ModifyTable, root)) : select_make(direct, root)) ? direct : NULL;
}

/*
 * direct_make makes what is kept of a plan of one statement, in a context of its own, and
 * keeps the plan; NULL when the executor has to do it, as it has where a rule has
 * put another statement in the place of ours. few says that it counts few rows.
 */
Direct *
direct_make(CachedPlan *plan, bool few)
{
	Direct		whole = {.plan = plan, .statement = linitial_node(PlannedStmt, plan->stmt_list), .few = few};
	MemoryContext context;
	MemoryContext previous;
	Direct	   *direct = NULL;

	if (!whole.statement->canSetTag || whole.statement->hasModifyingCTE || whole.statement->utilityStmt != NULL ||
		TransactionIdIsValid(plan->saved_xmin))
		return NULL;
	context = AllocSetContextCreate(CurrentMemoryContext, "ducto direct", ALLOCSET_SMALL_SIZES);
	whole.context = context;
	previous = MemoryContextSwitchTo(context);
	direct = make(&whole, whole.statement->planTree);
	MemoryContextSwitchTo(previous);
	if (direct == NULL)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	MemoryContextSetParent(context, CacheMemoryContext);
	plan->refcount++;
	return direct;
}

/*
 * direct_free frees what was kept, and lets the plan go.
 */
void
direct_free(Direct *direct)
{
	CachedPlan *plan = direct->plan;

	MemoryContextDelete(direct->context);
	ReleaseCachedPlan(plan, NULL);
}
