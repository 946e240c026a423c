/*
 * distribute.c
 *		Distributing the tables over the nodes of a Citus cluster.
 *
 *		Each table that has rows of accounts is distributed by the account, all
 *		of them alike, so that what is one account's is on one shard. The few
 *		rows that are everybody's are on every node.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#include "access/access.h"
#include "access/distribute.h"
#include "access/tell.h"
#include "analytics/rollup.h"
#include "base/args.h"
#include "base/cluster.h"
#include "base/listen.h"
#include "base/keep.h"
#include "base/nodetext.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_distribute);

/* What Citus allows. */
#define SHARDS_MAX		64000

/* The first version of Citus that this was tried with. */
#define CITUS_MAJOR		13

/* Where Citus stands: its major version, and whether this is the coordinator. */
static KeptQuery citus_query = {
	.sql = "SELECT e.extversion, split_part(e.extversion, '.', 1)::integer, pg_catalog.citus_is_coordinator()"
	" FROM pg_extension e WHERE e.extname = 'citus'"
};

enum
{
	CITUS_VERSION = 1, CITUS_MAJOR_VERSION, CITUS_COORDINATOR
};

/* On how many nodes shards may be. */
static KeptQuery nodes_query = {
	.sql = "SELECT count(*) FROM pg_catalog.pg_dist_node n WHERE n.isactive AND n.shouldhaveshards"
};

/* How long others go on before all tables are tried to be locked again, in milliseconds. */
#define LOCK_PAUSE		100

/* For this transaction: one connection a node, and the tables' triggers on the shards too. */
static KeptQuery settings_query = {
	.sql = "SELECT set_config('citus.shard_count', $1::text, true), set_config('citus.enable_unsafe_triggers', 'on', true),"
	" set_config('citus.multi_shard_modify_mode', 'sequential', true),"
	" set_config('citus.max_adaptive_executor_pool_size', '1', true),"
	" set_config('client_min_messages', CASE WHEN current_setting('client_min_messages') IN ('error', 'fatal', 'panic')"
	"  THEN current_setting('client_min_messages') ELSE 'warning' END, true)",
	.types = {INT4OID}
};

/*
 * The tables, those on every node first, and of the others accounts, to which
 * they are tied: the column by which each is distributed, NULL for none;
 * whether it stays on the coordinator; and whether it is distributed already.
 */
static KeptQuery tables_query = {
	.sql = "SELECT c.relname::text, k.key, c.relname = 'usage_rollup',"
	" EXISTS (SELECT FROM pg_catalog.pg_dist_partition p WHERE p.logicalrelid = c.oid)"
	" FROM pg_class c JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'"
	" JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'ducto',"
	" LATERAL (SELECT CASE WHEN c.relname IN ('accounts', 'teams') THEN 'id' WHEN c.relname = 'team_members' THEN 'team_id'"
	"  ELSE (SELECT a.attname::text FROM pg_attribute a"
	"   WHERE a.attrelid = c.oid AND a.attname = 'account_id' AND NOT a.attisdropped) END) k (key)"
	" WHERE c.relnamespace = 'ducto'::regnamespace AND c.relkind = 'r'"
	" ORDER BY k.key IS NOT NULL, c.relname <> 'accounts', c.relname"
};

enum
{
	TABLE_NAME = 1, TABLE_KEY, TABLE_LOCAL, TABLE_DONE
};

static KeptQuery distribute_query = {
	.sql = "SELECT pg_catalog.create_distributed_table($1::regclass, $2, colocate_with => $3)",
	.types = {TEXTOID, TEXTOID, TEXTOID}
};

static KeptQuery reference_query = {
	.sql = "SELECT pg_catalog.create_reference_table($1::regclass)",
	.types = {TEXTOID}
};

/* The rows of the coordinator's own part were copied to where they belong. */
static KeptQuery empty_query = {
	.sql = "SELECT pg_catalog.truncate_local_data_after_distributing_table($1::regclass)",
	.types = {TEXTOID}
};

/* The functions that are called where an account is, and whether Citus knows that already. */
static KeptQuery functions_query = {
	.sql = "SELECT p.oid::regprocedure::text, p.proname::text, EXISTS (SELECT FROM pg_catalog.pg_dist_object o"
	"  WHERE o.classid = 'pg_proc'::regclass AND o.objid = p.oid AND o.force_delegation)"
	" FROM pg_proc p WHERE p.pronamespace = 'ducto'::regnamespace AND p.proname LIKE '%\\_there' ORDER BY p.proname",
	.types = {0}
};

enum
{
	FUNCTION_SIGNATURE = 1, FUNCTION_NAME, FUNCTION_DONE
};

static KeptQuery delegate_query = {
	.sql = "SELECT pg_catalog.create_distributed_function($1::regprocedure, 'user_id', 'ducto.accounts', true)",
	.types = {TEXTOID}
};

/*
 * require_coordinator checks that this is the coordinator of a version of Citus
 * that is known, before the tables are distributed or undistributed, as doing
 * says, by a function.
 */
void
require_coordinator(const char *doing, const char *function)
{
	QueryArgs	none = {0};

	if (query_run(&citus_query, &none, SPI_OK_SELECT) != 1)
		elog(ERROR, "extension citus is gone");
	if (row_int4(0, CITUS_MAJOR_VERSION) < CITUS_MAJOR)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot %s: Citus is of version %s", doing, row_text(0, CITUS_VERSION)),
				 errhint("Update it to %d or later.", CITUS_MAJOR)));
	if (!row_bool(0, CITUS_COORDINATOR))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot %s: this node is a worker", doing),
				 errhint("Call %s on the coordinator.", function)));
}

/*
 * Check that Citus is there, and that this is the coordinator. Returns on how
 * many nodes shards may be.
 */
static int64
require_citus(void)
{
	QueryArgs	none = {0};

	if (!cluster_is_there())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot distribute: Citus is not in this database"),
				 errdetail("ducto.accounts, ducto.ledger and the other tables stay on this one server, where all works as before."),
				 errhint("Install Citus and ducto on this server and on each worker, put \"citus\" first into shared_preload_libraries"
						 " and restart them, CREATE EXTENSION citus on all of them, name the workers with citus_add_node,"
						 " then call ducto_distribute here.")));
	require_coordinator("distribute", "ducto_distribute");
	query_run(&nodes_query, &none, SPI_OK_SELECT);
	if (row_int8(0, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot distribute: there is no node that shards could be on"),
				 errhint("Name the workers with citus_add_node.")));
	return row_int8(0, 1);
}

/*
 * distributed_tables returns the tables, in the order in which they are
 * distributed.
 */
DistributedTable *
distributed_tables(int *n)
{
	QueryArgs	none = {0};
	DistributedTable *tables;

	*n = (int) query_run(&tables_query, &none, SPI_OK_SELECT);
	tables = palloc0(sizeof(DistributedTable) * *n);
	for (int i = 0; i < *n; i++)
	{
		tables[i].name = psprintf("ducto.%s", row_text(i, TABLE_NAME));
		tables[i].key = row_text(i, TABLE_KEY);
		tables[i].local = row_bool(i, TABLE_LOCAL);
		tables[i].done = row_bool(i, TABLE_DONE);
	}
	return tables;
}

/*
 * Lock all tables, accounts first, to which each comes who writes. False: one of
 * the others is in use by somebody, and none is locked.
 */
static bool
tables_try_lock(const List *tables)
{
	ListCell   *cell;

	LockRelationOid(linitial_oid(tables), AccessExclusiveLock);
	for_each_from(cell, tables, 1)
	{
		ListCell   *taken;

		if (ConditionalLockRelationOid(lfirst_oid(cell), AccessExclusiveLock))
			continue;
		foreach(taken, tables)
		{
			if (taken == cell)
				break;
			UnlockRelationOid(lfirst_oid(taken), AccessExclusiveLock);
		}
		return false;
	}
	return true;
}

/*
 * lock_pause lets others go on for some milliseconds, and adds them to those that
 * were waited for a lock: no longer than the session waits for one.
 */
void
lock_pause(int64 *waited, long pause)
{
	if (LockTimeout > 0 && *waited >= LockTimeout)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("canceling statement due to lock timeout")));
	if (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, pause, PG_WAIT_EXTENSION) & WL_TIMEOUT)
		*waited += pause;
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * tables_lock waits until nobody is amid an operation, and locks all tables of
 * this node. Operations come to them in any order, and whoever has read one may go on to
 * accounts: that waits for none but accounts, so it is no deadlock, and who
 * reads for long is waited for while others go on, as long as the session waits
 * for a lock.
 */
void
tables_lock(void)
{
	List	   *locked = list_make1_oid(table_named("accounts"));
	int			n;
	DistributedTable *tables = distributed_tables(&n);
	int64		waited = 0;

	for (int i = 0; i < n; i++)
		locked = list_append_unique_oid(locked, table_named(strchr(tables[i].name, '.') + 1));
	while (!tables_try_lock(locked))
		lock_pause(&waited, LOCK_PAUSE);
}

/*
 * distributed_table_empty removes what a table that is distributed has left on
 * the coordinator, where no call can see it.
 */
void
distributed_table_empty(const DistributedTable *table)
{
	QueryArgs	args = {0};

	args_text(&args, table->name);
	query_empty(&empty_query, &args);
}

/*
 * Distribute a table by its key, with accounts, or copy it to every node.
 */
static void
table_distribute(const DistributedTable *table)
{
	QueryArgs	args = {0};
	bool		first = strcmp(table->name, "ducto.accounts") == 0;

	args_text(&args, table->name);
	if (table->key != NULL)
	{
		args_text(&args, table->key);
		args_text(&args, first ? "none" : "ducto.accounts");
	}
	query_run(table->key != NULL ? &distribute_query : &reference_query, &args, SPI_OK_SELECT);
	distributed_table_empty(table);
}

/*
 * Do with a table what is to be done, and return what that was.
 */
static const char *
table_step(const DistributedTable *table)
{
	if (table->local)
		return "stays on this node";
	if (!table->done)
		table_distribute(table);
	if (table->key == NULL)
		return table->done ? "was on every node already" : "put on every node";
	return psprintf(table->done ? "was distributed by %s already" : "distributed by %s", table->key);
}

/*
 * result_step puts a step into the result.
 */
void
result_step(ResultRow *row, const char *object, const char *action)
{
	result_text(row, object);
	result_text(row, action);
	result_put(row);
}

/*
 * distribute_settings makes the settings of Citus, for this transaction, those
 * by which tables are moved.
 */
void
distribute_settings(int shards)
{
	QueryArgs	args = {0};

	args_int4(&args, shards);
	query_run(&settings_query, &args, SPI_OK_SELECT);
}

/*
 * Let Citus send the functions that are called where an account is there.
 */
static void
functions_distribute(ResultRow *row)
{
	QueryArgs	none = {0};
	uint64		n = query_run(&functions_query, &none, SPI_OK_SELECT);
	SPITupleTable *functions = SPI_tuptable;

	for (uint64 i = 0; i < n; i++)
	{
		QueryArgs	args = {0};
		char	   *signature;
		char	   *name;
		bool		done;

		SPI_tuptable = functions;
		signature = row_text(i, FUNCTION_SIGNATURE);
		name = row_text(i, FUNCTION_NAME);
		done = row_bool(i, FUNCTION_DONE);
		args_text(&args, signature);
		if (!done)
			query_run(&delegate_query, &args, SPI_OK_SELECT);
		result_step(row, psprintf("function ducto.%s", name),
					done ? "was called where the account is already" : "called where the account is");
	}
}

/*
 * Tell all nodes what a role may call here.
 */
static void
caller_tell(const char *extension, Oid role, const char *name, const char *what, void *row)
{
	access_tell(extension, role, what, "functions");
	result_step(row, psprintf(OidIsValid(role) ? "role %s" : "%s", name),
				psprintf("may call the same of %s on every node", extension));
}

/*
 * Distribute the tables.
 */
static void
distribute(void *state)
{
	FunctionCallInfo fcinfo = state;
	int			shards = arg_int_between(fcinfo, 0, "shard_count", 1, SHARDS_MAX, SHARDS_DEFAULT);
	DistributedTable *tables;
	int64		nodes;
	int			n;
	ResultRow	row;

	query_begin();
	nodes = require_citus();
	tables_lock();
	distribute_settings(shards);
	result_set_begin(&row, fcinfo);
	result_step(&row, "cluster", psprintf("has " INT64_FORMAT " nodes for shards", nodes));
	rollup_discard();
	tables = distributed_tables(&n);
	for (int i = 0; i < n; i++)
		result_step(&row, psprintf("table %s", tables[i].name), table_step(&tables[i]));
	functions_distribute(&row);
	access_each_caller(caller_tell, &row);
	query_end();
}

/*
 * ducto_distribute distributes the tables over the nodes of a Citus cluster.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_distribute(PG_FUNCTION_ARGS)
{
	texts_common_while(distribute, fcinfo);
	PG_RETURN_NULL();
}
