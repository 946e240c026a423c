/*
 * undistribute.c
 *		Bringing the tables of a Citus cluster back to its coordinator.
 *
 *		undistribute_table of Citus makes a new table and drops the old one,
 *		which it cannot do with a member of an extension. Here the table stays,
 *		with all that hangs on it: its rows are copied from the shards, the
 *		shards are dropped and forgotten, and the rows are put back.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/proc.h"
#include "utils/guc.h"

#include "access/distribute.h"
#include "account/event.h"
#include "analytics/rollup.h"
#include "base/cluster.h"
#include "base/nodetext.h"
#include "base/query.h"
#include "base/subxact.h"

PG_FUNCTION_INFO_V1(ducto_undistribute);

/* On all nodes, one after the other. */
#define LOCK_SQL \
	"LOCK TABLE ducto.accounts, ducto.pricing, ducto.plans, ducto.plan_allowances, ducto.ledger, ducto.grants," \
	" ducto.reservations, ducto.spend_caps, ducto.usage_lines, ducto.teams, ducto.team_members, ducto.team_keys," \
	" ducto.events, ducto.alerts IN ACCESS EXCLUSIVE MODE"

/* How long a lock is waited for before all are given back, and how long others go on then, in milliseconds. */
#define LOCK_WAIT		250
#define LOCK_PAUSE		250

/*
 * What is prepared on a node and not ended, when nobody is amid an operation,
 * is of one that was cut off: its rows cannot be seen yet. NULL: a node does
 * not say.
 */
static KeptQuery prepared_query = {
	.sql = "SELECT min(n.nodename || ':' || n.nodeport)"
	" FROM pg_catalog.run_command_on_all_nodes("
	"   $$SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()$$) r"
	" LEFT JOIN pg_catalog.pg_dist_node n USING (nodeid) WHERE r.success IS NOT TRUE OR r.result <> '0'"
};

/* What Citus does when a table is dropped, one after the other. */
static KeptQuery forget_queries[] = {
	{
		.sql = "SELECT pg_catalog.master_remove_distributed_table_metadata_from_workers($1::regclass, 'ducto', $1)",
		.types = {TEXTOID}
	},
	{
		.sql = "SELECT pg_catalog.citus_drop_all_shards($1::regclass, 'ducto', $1, false)",
		.types = {TEXTOID}
	},
	{
		.sql = "SELECT pg_catalog.master_remove_partition_metadata($1::regclass, 'ducto', $1)",
		.types = {TEXTOID}
	}
};

/* How a table's rows are copied to one of this session, and back into all columns that are written. */
static KeptQuery copies_query = {
	.sql = "SELECT format('CREATE TEMPORARY TABLE ducto_moved AS SELECT %1$s FROM %2$s', l.columns, $1),"
	" format('INSERT INTO %2$s (%1$s) SELECT %1$s FROM pg_temp.ducto_moved', l.columns, $1)"
	" FROM (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a"
	"  WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') l (columns)",
	.types = {TEXTOID}
};

enum
{
	COPY_OUT = 1, COPY_BACK
};

/* How the trigger by which Citus truncates shards is dropped. */
static KeptQuery trigger_query = {
	.sql = "SELECT format('DROP TRIGGER %I ON %s', t.tgname, $1) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
	" WHERE t.tgrelid = $1::regclass AND p.proname = 'citus_truncate_trigger'",
	.types = {TEXTOID}
};

static KeptQuery oid_query = {
	.sql = "SELECT $1::regclass::oid",
	.types = {TEXTOID}
};

/* The functions that are called where an account is, as far as Citus knows any. */
static KeptQuery functions_query = {
	.sql = "SELECT p.proname::text, pg_catalog.citus_unmark_object_distributed(o.classid, o.objid, o.objsubid, false)::text"
	" FROM pg_proc p JOIN pg_catalog.pg_dist_object o ON o.classid = 'pg_proc'::regclass AND o.objid = p.oid"
	" WHERE p.pronamespace = 'ducto'::regnamespace AND p.proname LIKE '%\\_there' ORDER BY p.proname"
};

/*
 * Check that every row can be seen: no transaction is left prepared on a node.
 */
static void
require_nothing_prepared(void)
{
	QueryArgs	none = {0};

	query_run(&prepared_query, &none, SPI_OK_SELECT);
	if (!row_is_null(0, 1))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot undistribute: a transaction is prepared on %s, or it does not answer", row_text(0, 1)),
				 errdetail("What it wrote cannot be seen before it has ended."),
				 errhint("Citus ends its own within a minute, or by SELECT recover_prepared_transactions() on the node that began it."
						 " pg_prepared_xacts shows those of others.")));
}

/*
 * Let a table stay when Citus is dropped.
 */
static void
table_release(Oid table)
{
	deleteDependencyRecordsForSpecific(RelationRelationId, table, DEPENDENCY_NORMAL, ExtensionRelationId,
									   get_extension_oid("citus", false));
}

/*
 * Let Citus drop the shards of a table and know nothing of it.
 */
static void
table_forget(const DistributedTable *table)
{
	QueryArgs	args = {0};

	args_text(&args, table->name);
	for (int i = 0; i < lengthof(forget_queries); i++)
		query_run(&forget_queries[i], &args, SPI_OK_SELECT);
	if (query_run(&trigger_query, &args, SPI_OK_SELECT) == 1)
		query_utility(row_text(0, 1));
	query_run(&oid_query, &args, SPI_OK_SELECT);
	table_release(DatumGetObjectId(row_datum(0, 1)));
}

/*
 * Bring the rows of a table back from its shards.
 */
static void
table_undistribute(const DistributedTable *table)
{
	QueryArgs	args = {0};
	char	   *copy_back;
	int			rc;

	args_text(&args, table->name);
	query_run(&copies_query, &args, SPI_OK_SELECT);
	copy_back = row_text(0, COPY_BACK);
	query_utility(row_text(0, COPY_OUT));
	distributed_table_empty(table);
	table_forget(table);
	rc = SPI_execute(copy_back, false, 0);
	if (rc != SPI_OK_INSERT)
		elog(ERROR, "SPI_execute returned %s: %s", SPI_result_code_string(rc), copy_back);
	query_utility("DROP TABLE pg_temp.ducto_moved");
}

/*
 * Do with each table what is to be done, the last that was distributed first.
 */
static void
tables_undistribute(ResultRow *row)
{
	int			n;
	DistributedTable *tables = distributed_tables(&n);

	for (int i = n - 1; i >= 0; i--)
	{
		if (tables[i].done)
			table_undistribute(&tables[i]);
		result_step(row, psprintf("table %s", tables[i].name),
					tables[i].done ? "brought back to this node" : "was on this node already");
	}
}

/*
 * Let Citus send no function any more.
 */
static void
functions_undistribute(ResultRow *row)
{
	QueryArgs	none = {0};
	uint64		n = query_run(&functions_query, &none, SPI_OK_SELECT);

	for (uint64 i = 0; i < n; i++)
		result_step(row, psprintf("function ducto.%s", row_text(i, 1)), "called on this node");
}

static emit_log_hook_type next_log = NULL;
static bool refused;			/* somebody else had a lock */

/*
 * Tell whether an error is that somebody else has a lock.
 */
static bool
is_refusal(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
}

/*
 * Note that a node has refused a lock: Citus warns of that, and then raises an error
 * that does not say why.
 */
static void
refusal_note(ErrorData *told)
{
	if (is_refusal(told) && told->elevel == WARNING)
	{
		refused = true;
		told->output_to_client = false;
		told->output_to_server = false;
	}
	else if (next_log != NULL)
		next_log(told);
}

/*
 * Lock the tables on all nodes, where waiting for a lock is an error soon.
 */
static bool
nodes_lock(void *state)
{
	int			timeout = LockTimeout;
	int			level = NewGUCNestLevel();

	(void) set_config_option("log_min_messages", "warning", PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("citus.propagate_set_commands", "local", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	query_utility(psprintf("SET LOCAL lock_timeout = %d", timeout > 0 ? Min(timeout, LOCK_WAIT) : LOCK_WAIT));
	tables_lock();
	query_utility(LOCK_SQL);
	query_utility(psprintf("SET LOCAL lock_timeout = %d", timeout));
	AtEOXact_GUC(true, level);
	return true;
}

/*
 * Try to lock the tables on all nodes. False: somebody is amid an operation, and
 * none is locked.
 */
static bool
nodes_try_lock(void)
{
	ErrorData  *error;
	bool		locked;

	refused = false;
	next_log = emit_log_hook;
	emit_log_hook = refusal_note;
	locked = subxact_try(nodes_lock, NULL, &error);
	emit_log_hook = next_log;
	if (!locked && !refused && !is_refusal(error))
		ReThrowError(error);
	return locked;
}

/*
 * Wait until nobody is amid an operation on any node, and lock all tables there.
 * Whoever has locked something of a node may go on to what is locked already, there
 * or on another node: so all locks are given back where one is not to be had, as
 * long as the session waits for a lock.
 */
static void
nodes_wait_lock(void)
{
	int64		waited = 0;

	while (!nodes_try_lock())
	{
		waited += LOCK_WAIT;
		lock_pause(&waited, LOCK_PAUSE);
	}
}

/*
 * Bring the tables back.
 */
static void
undistribute(void *state)
{
	ResultRow	row;

	query_begin();
	if (!cluster_is_there())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot undistribute: Citus is not in this database"),
				 errdetail("The tables are on this one server.")));
	require_coordinator("undistribute", "ducto_undistribute");
	nodes_wait_lock();
	require_nothing_prepared();
	distribute_settings(SHARDS_DEFAULT);
	result_set_begin(&row, state);
	rollup_discard();
	tables_undistribute(&row);
	events_adopt();
	functions_undistribute(&row);
	query_end();
}

/*
 * ducto_undistribute brings the tables of a Citus cluster back to this node.
 * Errors: see its COMMENT.
 */
Datum
ducto_undistribute(PG_FUNCTION_ARGS)
{
	texts_common_while(undistribute, fcinfo);
	PG_RETURN_NULL();
}
