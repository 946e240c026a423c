/*
 * once.c
 *		Keeps PostgreSQL from calling a function that writes more often than it
 *		stands in a statement.
 *
 *		The parser makes a copy of the call for each column of (f()).*, and for
 *		each comparison of f() BETWEEN and of f() IN with columns. The copies
 *		have one place in the statement. The planner shows each call to the
 *		function's support function, which looks for copies in the query around
 *		it: that costs nothing when the plan is executed.
 */
#include "postgres.h"

#include "access/transam.h"
#include "fmgr.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(ducto_call_once);

#define NO_PLACE	(-1)

/* The calls in a tree, of functions that are not PostgreSQL's own. */
typedef struct Calls
{
	List	   *all;			/* of FuncExpr */
	List	   *selected;		/* those of which a field is selected */
} Calls;

/* What a tree says about its calls. */
typedef struct CallCounts
{
	List	   *called;			/* a FuncExpr for each function that is called */
	List	   *repeated;		/* the functions of which a call has copies */
} CallCounts;

/* A query level that was looked through; it goes with the memory of its planner. */
typedef struct SeenQuery
{
	PlannerInfo *root;
	int			relations;		/* more of them: something was pulled up into it */
	CallCounts	counts;
	MemoryContextCallback forget;
	struct SeenQuery *next;
} SeenQuery;

static SeenQuery *seen_queries = NULL;

/*
 * Collect the calls in a tree, but for those of its subqueries: they are
 * planned by themselves.
 */
static bool
calls_walk(Node *node, void *state)
{
	Calls	   *calls = state;

	if (node == NULL || IsA(node, Query))
		return false;
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid >= FirstNormalObjectId)
		calls->all = lappend(calls->all, node);
	if (IsA(node, FieldSelect) && IsA(((FieldSelect *) node)->arg, FuncExpr))
		calls->selected = lappend(calls->selected, ((FieldSelect *) node)->arg);
	return expression_tree_walker(node, calls_walk, state);
}

/*
 * Tell whether two calls are copies of one. What was stored, in a view or the
 * body of a function, has lost its places: of that, equal calls of which
 * fields are selected are taken for copies.
 */
static bool
is_copy(const FuncExpr *a, const FuncExpr *b)
{
	return a->location == b->location && a->funcid == b->funcid && equal(a, b);
}

/*
 * Add the functions of which a call in a list has copies there.
 */
static void
count_copies(const List *calls, bool stored, CallCounts *counts)
{
	for (int i = 0; i < list_length(calls); i++)
	{
		FuncExpr   *call = list_nth(calls, i);

		if ((call->location == NO_PLACE) != stored || list_member_oid(counts->repeated, call->funcid))
			continue;
		for (int j = i + 1; j < list_length(calls); j++)
			if (is_copy(call, list_nth(calls, j)))
			{
				counts->repeated = lappend_oid(counts->repeated, call->funcid);
				break;
			}
	}
}

/*
 * Return the first call of a function in a list, NULL when there is none.
 */
static FuncExpr *
find_call(const List *calls, Oid function)
{
	ListCell   *cell;

	foreach(cell, calls)
		if (((FuncExpr *) lfirst(cell))->funcid == function)
			return lfirst(cell);
	return NULL;
}

/*
 * Count calls.
 */
static void
count_calls(const Calls *calls, CallCounts *counts)
{
	ListCell   *cell;

	counts->called = NIL;
	counts->repeated = NIL;
	foreach(cell, calls->all)
		if (find_call(counts->called, ((FuncExpr *) lfirst(cell))->funcid) == NULL)
			counts->called = lappend(counts->called, lfirst(cell));
	count_copies(calls->all, false, counts);
	count_copies(calls->selected, true, counts);
}

/*
 * Forget a query whose planner's memory goes.
 */
static void
forget_query(void *arg)
{
	SeenQuery **link = &seen_queries;

	while (*link != NULL && *link != arg)
		link = &(*link)->next;
	if (*link != NULL)
		*link = (*link)->next;
}

/*
 * Look through a query level.
 */
static void
look_through(SeenQuery *seen)
{
	MemoryContext previous = MemoryContextSwitchTo(GetMemoryChunkContext(seen->root));
	Calls		calls = {NIL, NIL};

	seen->relations = list_length(seen->root->parse->rtable);
	query_tree_walker(seen->root->parse, calls_walk, &calls,
					  QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES | QTW_IGNORE_JOINALIASES);
	count_calls(&calls, &seen->counts);
	MemoryContextSwitchTo(previous);
}

/*
 * Return what is known of a query level, looking through it when it is new or
 * has grown.
 */
static const CallCounts *
query_counts(PlannerInfo *root)
{
	SeenQuery  *seen = seen_queries;

	while (seen != NULL && seen->root != root)
		seen = seen->next;
	if (seen == NULL)
	{
		MemoryContext context = GetMemoryChunkContext(root);

		seen = MemoryContextAllocZero(context, sizeof(SeenQuery));
		seen->root = root;
		seen->relations = -1;
		seen->next = seen_queries;
		seen_queries = seen;
		seen->forget.func = forget_query;
		seen->forget.arg = seen;
		MemoryContextRegisterResetCallback(context, &seen->forget);
	}
	if (seen->relations != list_length(root->parse->rtable))
		look_through(seen);
	return &seen->counts;
}

/*
 * Tell whether a function that a query does not call itself is called more
 * than once by the bodies of SQL functions that the planner puts in place of
 * their calls.
 */
static bool
is_repeated_inline(const CallCounts *counts, Oid function)
{
	ListCell   *cell;

	foreach(cell, counts->called)
	{
		FuncExpr   *outer = lfirst(cell);
		Node	   *body = eval_const_expressions(NULL, copyObject((Node *) outer));
		Calls		calls = {NIL, NIL};
		CallCounts	inner;

		calls_walk(body, &calls);
		count_calls(&calls, &inner);
		if (list_member_oid(inner.repeated, function) ||
			(list_member_oid(counts->repeated, outer->funcid) && find_call(inner.called, function) != NULL))
			return true;
	}
	return false;
}

/*
 * ducto.call_once is the planner's support function of the functions that
 * write: it refuses a query that would call one more often than it stands
 * there.
 */
Datum
ducto_call_once(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = (SupportRequestSimplify *) PG_GETARG_POINTER(0);
	const CallCounts *counts;
	Oid			function;

	if (!IsA(request, SupportRequestSimplify) || request->root == NULL)
		PG_RETURN_POINTER(NULL);
	function = request->fcall->funcid;
	counts = query_counts(request->root);
	if (find_call(counts->called, function) != NULL ? !list_member_oid(counts->repeated, function) :
		!is_repeated_inline(counts, function))
		PG_RETURN_POINTER(NULL);

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s would be called more than once", get_func_name(function)),
			 errdetail("PostgreSQL calls f() for each column of (f()).*, and for each comparison of f() BETWEEN and f() IN."),
			 errhint("Call it in FROM, as in SELECT * FROM f().")));
}
