/*
 * query.c
 *		Statements that are planned once per backend, and their results.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/tstoreReceiver.h"
#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rls.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/cluster.h"
#include "base/direct.h"
#include "base/nodetext.h"
#include "base/query.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/shard.h"

/* How many operations are under way in this backend, one inside the other. */
static int	depth = 0;

/* Where results of the operation that runs live. */
static MemoryContext results = NULL;

/* What an operation finds when it begins. */
typedef struct Outer
{
	MemoryContextCallback leave;
	MemoryContext results;
	RowsRead	rows;
	bool		under_way;		/* a statement without the executor, which called it */
} Outer;

/*
 * Count one operation less, however it ended, and let the one around it go on
 * with its own result.
 */
static void
depth_leave(void *arg)
{
	const Outer *outer = arg;

	depth--;
	results = outer->results;
	rows_restore(&outer->rows);
	direct_return_to(outer->under_way);
}

/*
 * query_begin connects to SPI; what is allocated after it is gone at
 * query_end.
 */
void
query_begin(void)
{
	int			rc = SPI_connect();
	Outer	   *outer;

	if (rc != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed: %s", SPI_result_code_string(rc));
	outer = palloc0(sizeof(Outer));
	outer->results = results;
	rows_begin(&outer->rows);
	outer->under_way = direct_is_under_way();
	outer->leave.func = depth_leave;
	outer->leave.arg = outer;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &outer->leave);
	results = CurrentMemoryContext;
	depth++;
}

/*
 * query_depth tells how deep in others the operation that runs is: deeper where
 * a trigger called it.
 */
int
query_depth(void)
{
	return depth;
}

/*
 * query_end disconnects from SPI.
 */
void
query_end(void)
{
	int			rc = SPI_finish();

	if (rc != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed: %s", SPI_result_code_string(rc));
}

#define NO_LEVEL	0

/*
 * Let plans be made of plain index scans, until the settings go back to the
 * level that is returned. A sequential scan that is planned while a table is
 * empty would be kept when it no longer is, and a bitmap of one row is work
 * for nothing.
 */
static int
scans_by_index(const KeptQuery *query)
{
	static const char *const avoided[] = {"enable_seqscan", "enable_bitmapscan"};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < (query->block_range ? 1 : lengthof(avoided)); i++)
		(void) set_config_option(avoided[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/*
 * Check that row level security hides nothing of a query's tables from the
 * role that executes it: to an owner who is subject to it every balance would
 * be 0.
 */
static void
query_check_reader(KeptQuery *query)
{
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(query->plan))
	{
		ListCell   *table;

		foreach(table, ((CachedPlanSource *) lfirst(source))->relationOids)
			if (check_enable_rls(lfirst_oid(table), InvalidOid, true) == RLS_ENABLED)
				ereport(ERROR,
						(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						 errmsg("row level security hides rows of table \"%s\" from role \"%s\", the functions' owner",
								get_rel_name(lfirst_oid(table)), GetUserNameFromId(GetUserId(), false)),
						 errhint("Let it own the tables, without FORCE ROW LEVEL SECURITY, or give it BYPASSRLS.")));
	}
}

/*
 * Prepare a query's statement, to be planned in a way of which there are two:
 * once for all values, or by the server's choice.
 */
static void
query_make(KeptQuery *query, int options)
{
	SPIPlanPtr	plan;
	int			nargs = 0;

	while (OidIsValid(query->types[nargs]))
		nargs++;
	plan = SPI_prepare_cursor(query->sql, nargs, query->types, options);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s: %s", SPI_result_code_string(SPI_result), query->sql);
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	direct_forget(query);
	if (query->plan != NULL)
		SPI_freeplan(query->plan);
	query->plan = plan;
}

/*
 * query_copy makes a query of another that has another text, for good.
 */
void
query_copy(KeptQuery *copy, const KeptQuery *of, const char *sql)
{
	*copy = *of;
	copy->sql = MemoryContextStrdup(TopMemoryContext, sql);
	copy->plan = NULL;
	copy->distributed = false;
	copy->reader = InvalidOid;
	copy->direct = NULL;
	copy->direct_of = 0;
}

/*
 * query_forget lets a query that nobody is executing be prepared anew.
 */
void
query_forget(KeptQuery *query)
{
	direct_forget(query);
	if (query->plan != NULL)
		SPI_freeplan(query->plan);
	query->plan = NULL;
	query->reader = InvalidOid;
}

/*
 * Tell whether a table of a query is distributed.
 */
static bool
query_is_distributed(KeptQuery *query)
{
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(query->plan))
		if (cluster_has_any(((CachedPlanSource *) lfirst(source))->relationOids))
			return true;
	return false;
}

/*
 * Make the plan of a query the generic one: a statement here finds its rows by
 * key, whatever the values. Where a table is distributed they say on which
 * node the rows are, and the server may plan with them.
 */
static void
query_choose(KeptQuery *query)
{
	bool		distributed;
	int			options = query->anew ? CURSOR_OPT_CUSTOM_PLAN : CURSOR_OPT_GENERIC_PLAN;

	if (query->plan == NULL)
		query_make(query, options);
	distributed = !query->of_shard && query_is_distributed(query);
	if (distributed != query->distributed)
		query_make(query, distributed ? 0 : options);
	query->distributed = distributed;
	if (distributed)
		(void) cluster_is_used();	/* where the shards are is known before something is read there */
}

/*
 * Let a query of distributed tables be planned with the values, whatever the
 * session's plan_cache_mode is.
 */
static int
planned_by_values(void)
{
	int			level;

	if (plan_cache_mode != PLAN_CACHE_MODE_FORCE_GENERIC_PLAN)
		return NO_LEVEL;
	level = NewGUCNestLevel();
	(void) set_config_option("plan_cache_mode", "auto", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

/* Beyond this a plan of distributed tables is made anew. */
#define PLAN_MAX_BYTES	(2 * 1024 * 1024)

/*
 * Let a kept plan of distributed tables be made anew when it has grown: there
 * are versions of Citus, 13.2 among them, that add to it in each execution on a
 * shard of this node. Whoever is executing the plan keeps it.
 */
static void
query_slim(KeptQuery *query)
{
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(query->plan))
	{
		CachedPlan *plan = ((CachedPlanSource *) lfirst(source))->gplan;

		if (plan != NULL && MemoryContextMemAllocated(plan->context, false) > PLAN_MAX_BYTES)
			plan->is_valid = false;
	}
}

/*
 * Prepare a query of distributed tables for an execution, and return the level
 * to which the settings go back afterwards.
 */
static int
query_prepare_distributed(KeptQuery *query)
{
	query_slim(query);
	cluster_touch();
	return planned_by_values();
}

/*
 * Tell whether a query has a plan that is valid, as far as this session has
 * heard, for the role that executes it.
 */
static bool
query_is_planned(KeptQuery *query)
{
	return query->plan != NULL && query->reader == GetUserId() && SPI_plan_is_valid(query->plan);
}

/*
 * Tell whether tables may become distributed while a session waits for them.
 */
static bool
cluster_is_loaded(void)
{
	static int	loaded = -1;

	if (loaded < 0)
		loaded = GetConfigOption("citus.shard_count", true, false) != NULL;
	return loaded;
}

/*
 * Wait for whoever distributes the tables of a query before its plan is looked
 * at: in an execution that waits it would be made anew as that of a table here.
 */
static void
query_hold(KeptQuery *query)
{
	ListCell   *source;

	if (query->plan == NULL || query->distributed || query->of_shard || !cluster_is_loaded())
		return;
	foreach(source, SPI_plan_get_plan_sources(query->plan))
	{
		CachedPlanSource *planned = lfirst(source);
		ListCell   *table;

		foreach(table, planned->relationOids)
		{
			LockRelationOid(lfirst_oid(table), AccessShareLock);
		}
	}
}

/*
 * Prepare a query on its first use in this backend, and when its plan has to
 * be made anew, as for another role. Returns the level to which the settings
 * go back afterwards: a plan that is about to be made is one by index, even
 * where the tables are empty now.
 */
static int
query_prepare(KeptQuery *query)
{
	query_hold(query);
	if (query_is_planned(query))
		return query->distributed ? query_prepare_distributed(query) : NO_LEVEL;
	query_choose(query);
	query->reader = InvalidOid;
	query_check_reader(query);
	if (query->distributed)
		return query_prepare_distributed(query);
	return query->whole || query->anew ? NO_LEVEL : scans_by_index(query);
}

/*
 * Let the settings go back to a level. A plan that was made anew, be it by an
 * execution that waited for a table, may be of other tables than before, or hide
 * their rows.
 */
static void
query_planned(KeptQuery *query, int level)
{
	const CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(query->plan));

	if (level != NO_LEVEL)
		AtEOXact_GUC(true, level);
	if (OidIsValid(query->reader) && query->reader_of == source->generation)
		return;
	query->reader = InvalidOid;
	query_check_reader(query);
	query->reader = GetUserId();
	query->reader_of = source->generation;
}

/*
 * query_distributed tells whether a table of a query is distributed, so that it
 * costs less where it names the account.
 */
bool
query_distributed(KeptQuery *query)
{
	int			level;

	query = shard_query(query);
	level = query_prepare(query);
	if (level != NO_LEVEL)
		AtEOXact_GUC(true, level);
	return query->distributed;
}

/*
 * Let values be written and read as every node does while a query is executed: a
 * day and a month would change places, and credit expire at another time than was
 * said. Returns the level to which the settings go back.
 */
static int
texts_for_nodes(int level)
{
	if (texts_are_common() || !cluster_was_used())
		return level;
	if (level == NO_LEVEL)
		level = NewGUCNestLevel();
	texts_make_common();
	return level;
}

/*
 * query_params returns the parameters of a query as the executor wants them.
 */
ParamListInfo
query_params(const KeptQuery *query, const QueryArgs *args)
{
	ParamListInfo params = args->n > 0 ? makeParamList(args->n) : NULL;

	for (int i = 0; i < args->n; i++)
	{
		params->params[i].value = args->values[i];
		params->params[i].isnull = args->nulls[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = query->types[i];
	}
	return params;
}

/*
 * Execute a query without the executor where it needs none. False: it does, and
 * nothing was written.
 */
static bool
query_try_direct(KeptQuery *query, const QueryArgs *args, bool read_only)
{
	MemoryContext previous = MemoryContextSwitchTo(results);
	int64		shard = shard_suspend();
	bool		done = direct_execute(query, args, read_only);

	shard_leave(shard);
	MemoryContextSwitchTo(previous);
	return done;
}

/*
 * Plan a query that has no plan yet, or none for now. What it does without the
 * executor is known then from its first execution on.
 */
static void
query_plan(KeptQuery *query)
{
	int			level = query_prepare(query);
	CachedPlan *plan = query->distributed || query->anew ? NULL : SPI_plan_get_cached_plan(query->plan);

	if (plan != NULL)
		ReleaseCachedPlan(plan, CurrentResourceOwner);
	query_planned(query, level);
}

/*
 * Refuse what became of a statement, and let it be looked at anew the next time: of
 * a rule that did nothing instead of it the server does not see that it is gone.
 */
static void
query_refuse(KeptQuery *query, int rc)
{
	ListCell   *source;

	foreach(source, SPI_plan_get_plan_sources(query->plan))
		((CachedPlanSource *) lfirst(source))->is_valid = false;
	elog(ERROR, "SPI_execute_plan_extended returned %s: %s", SPI_result_code_string(rc), query->sql);
}

/* The plan of a query, and its execution. */
typedef struct PlanRun
{
	SPIPlanPtr	plan;
	SPIExecuteOptions options;
	int			rc;
} PlanRun;

/*
 * Execute the plan of a query.
 */
static void
plan_run(void *state)
{
	PlanRun    *run = state;

	run->rc = SPI_execute_plan_extended(run->plan, &run->options);
}

/*
 * Execute a query and check the result code. Its rows go to a receiver as they
 * are found, so that memory stays flat however many they are, or with NULL are
 * the last result.
 */
static uint64
query_execute(KeptQuery *query, const QueryArgs *args, bool read_only, int expected, DestReceiver *receiver)
{
	PlanRun		run = {.options = {.read_only = read_only, .dest = receiver}};
	int			encoding = pg_get_client_encoding();
	int64		shard;
	int			level;

	query = shard_query(query);
	if (receiver == NULL && setting_direct() && !query_is_planned(query))
		query_plan(query);
	if (receiver == NULL && query_try_direct(query, args, read_only))
		return SPI_processed;
	level = texts_for_nodes(query_prepare(query));
	if (args->n != SPI_getargcount(query->plan))
		elog(ERROR, "%d parameters for: %s", args->n, query->sql);
	run.plan = query->plan;
	run.options.params = query_params(query, args);
	shard = shard_suspend();
	errors_told_in(encoding, plan_run, &run);
	shard_leave(shard);
	row_forget();
	query_planned(query, level);
	if (run.rc != expected)
		query_refuse(query, run.rc);
	return SPI_processed;
}

/*
 * query_run executes a statement with a fresh snapshot and returns the number
 * of rows that it affected.
 */
uint64
query_run(KeptQuery *query, QueryArgs *args, int expected)
{
	return query_execute(query, args, false, expected, NULL);
}

/*
 * query_run_each executes a statement for each of several parameters, with one
 * fresh snapshot; the result has the rows of all of them in their order. False: a
 * statement that takes all parameters at once has to do it.
 */
bool
query_run_each(KeptQuery *query, const QueryEach *each)
{
	MemoryContext previous;
	int64		shard;
	bool		done;

	query = shard_query(query);
	if (!query_is_planned(query))
		query_plan(query);
	previous = MemoryContextSwitchTo(results);
	shard = shard_suspend();
	done = direct_execute_each(query, each);
	shard_leave(shard);
	MemoryContextSwitchTo(previous);
	return done;
}

/*
 * query_read executes a SELECT in the snapshot of the calling statement and
 * returns the number of its rows.
 */
uint64
query_read(KeptQuery *query, QueryArgs *args)
{
	return query_execute(query, args, true, SPI_OK_SELECT, NULL);
}

/*
 * query_utility executes a statement that takes no parameters, such as GRANT.
 */
void
query_utility(const char *command)
{
	int			rc = SPI_execute(command, false, 0);

	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute returned %s: %s", SPI_result_code_string(rc), command);
}

/*
 * Return the context that a set's tuplestore lives in.
 */
static MemoryContext
tuplestore_context(FunctionCallInfo fcinfo)
{
	return ((ReturnSetInfo *) fcinfo->resultinfo)->econtext->ecxt_per_query_memory;
}

/*
 * query_read_into makes the rows of a SELECT, in the snapshot of the calling
 * statement, the result of a set-returning function. They stream into a
 * tuplestore.
 */
void
query_read_into(FunctionCallInfo fcinfo, KeptQuery *query, QueryArgs *args)
{
	DestReceiver *receiver = CreateDestReceiver(DestTuplestore);
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	SetTuplestoreDestReceiverParams(receiver, row.store, tuplestore_context(fcinfo), false, NULL, NULL);
	query_execute(query, args, true, SPI_OK_SELECT, receiver);
	receiver->rDestroy(receiver);
}

/* A receiver that calls a function. */
typedef struct RowReceiver
{
	DestReceiver receiver;
	RowReader	reader;
	void	   *state;
	int64		shard;			/* that its own queries are on */
	MemoryContext context;		/* of one row */
} RowReceiver;

/*
 * Receive a row.
 */
static bool
row_receive(TupleTableSlot *slot, DestReceiver *self)
{
	RowReceiver *receiver = (RowReceiver *) self;
	MemoryContext previous = MemoryContextSwitchTo(receiver->context);
	bool		more;

	shard_leave(receiver->shard);
	more = receiver->reader(slot, receiver->state);
	(void) shard_suspend();
	MemoryContextSwitchTo(previous);
	MemoryContextReset(receiver->context);
	return more;
}

/*
 * Start to receive.
 */
static void
row_startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

/*
 * Stop receiving, or free what nothing was allocated for.
 */
static void
row_shutdown(DestReceiver *self)
{
}

/*
 * query_each executes a SELECT, in the snapshot of the calling statement or
 * with a fresh one, and calls a function with each row until it has enough.
 * What that allocates is gone after the row; for queries of its own it must
 * connect to SPI anew.
 */
uint64
query_each(KeptQuery *query, QueryArgs *args, bool read_only, RowReader reader, void *state)
{
	RowReceiver receiver = {
		.receiver = {
			.receiveSlot = row_receive,
			.rStartup = row_startup,
			.rShutdown = row_shutdown,
			.rDestroy = row_shutdown,
			.mydest = DestSQLFunction, /* SPI does not count what goes to DestNone */
		},
		.reader = reader,
		.state = state,
		.shard = shard_entered(),
		.context = AllocSetContextCreate(CurrentMemoryContext, "ducto row", ALLOCSET_DEFAULT_SIZES),
	};
	uint64		n = query_execute(query, args, read_only, SPI_OK_SELECT, &receiver.receiver);

	MemoryContextDelete(receiver.context);
	return n;
}
