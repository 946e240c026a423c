/*
 * here.c
 *		The calls of every day on a node of a cluster that has the account: they
 *		are done inside its shard, by statements that Citus has no part in.
 *
 *		What Citus does for a statement of its own is done for the call: the shard
 *		stays where it is until the transaction ends, and a transaction that
 *		writes on other nodes, too, is committed in two phases.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "account/account.h"
#include "base/cluster.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"
#include "credit/here.h"

/* How Citus names a session between nodes. */
#define BETWEEN_NODES	"citus_internal "

/* What this transaction has written inside of a shard: of which account, as which role. */
static struct
{
	bool		any;
	pg_uuid_t	account;
	Oid			role;
}			inside;

/* A function that only reads is called. */
static bool reading = false;

/*
 * Let Citus know that this node takes part in the transaction as one that writes.
 */
static void
inside_tell(void)
{
	Oid			role;
	int			context;
	int			level = NewGUCNestLevel();

	GetUserIdAndSecContext(&role, &context);
	SetUserIdAndSecContext(inside.role, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	PushActiveSnapshot(GetTransactionSnapshot());
	query_begin();
	(void) account_hold_shard(&inside.account);
	query_end();
	PopActiveSnapshot();
	AtEOXact_GUC(true, level);
	SetUserIdAndSecContext(role, context);
}

/*
 * Before a commit that other nodes have a part in, tell of what was written
 * inside of a shard: Citus asks them to prepare for it then. It was there before
 * this callback, and is called after it.
 */
static void
inside_end(XactEvent event, void *arg)
{
	if (!inside.any)
		return;
	inside.any = false;
	if (event == XACT_EVENT_PRE_COMMIT && cluster_is_coordinating())
		inside_tell();
}

/*
 * Note that the transaction writes inside of the shard of an account.
 */
static void
inside_note(const pg_uuid_t *account)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(inside_end, NULL);
	registered = true;
	inside.any = true;
	inside.account = *account;
	inside.role = GetUserId();
}

/*
 * may_be_inside tells whether a call may be done inside of a shard: not inside of
 * another operation, deeper than it is itself, whose statements are Citus's, nor
 * in a snapshot that is older than the shards' places may be, nor in a part of a
 * query that Citus has sent here, unless it was ducto that sent it.
 */
bool
may_be_inside(int depth)
{
	return cluster_is_used() && query_depth() <= depth && !IsolationUsesXactSnapshot() &&
		strcmp(GetConfigOption("citus.enable_local_execution", false, false), "on") == 0 &&
		(call_is_from_elsewhere() || strncmp(application_name, BETWEEN_NODES, strlen(BETWEEN_NODES)) != 0);
}

/*
 * inside_keep keeps the shard that an account is on here, for what writes inside
 * of it, and returns it; 0: it is on another node, or on several.
 */
int64
inside_keep(const pg_uuid_t *account)
{
	int64		shard = cluster_keep_here(account);

	if (shard != 0 && !call_is_from_elsewhere())
		inside_note(account);
	return shard;
}

/*
 * call_inside does a call of a function whose first argument is the account
 * inside of its shard, if that is on this node. False: it is to be done
 * otherwise.
 */
bool
call_inside(FunctionCallInfo fcinfo, PGFunction function, Datum *result)
{
	int64		shard;
	int64		before;

	if (PG_ARGISNULL(0) || !may_be_inside(0))
		return false;
	shard = inside_keep(PG_GETARG_UUID_P(0));
	if (shard == 0)
		return false;
	before = shard_enter(shard);
	PG_TRY();
	{
		*result = function(fcinfo);
	}
	PG_FINALLY();
	{
		shard_leave(before);
	}
	PG_END_TRY();
	return true;
}

/*
 * call_reads does a call of a function that only reads an account of a cluster:
 * inside of its shard, if that is on this node. False: it is to be done as on
 * one server. All of it is read in one snapshot, taken when it was known where
 * the shard is: the calling statement's may be older than the shard's coming,
 * and rows that have come since are not in it. A snapshot of the transaction's
 * that is older is an error.
 */
bool
call_reads(FunctionCallInfo fcinfo, const pg_uuid_t *account, PGFunction function, Datum *result)
{
	MemoryContext context = CurrentMemoryContext;
	int64		shard;
	int64		before;
	uint64		changes;

	if (reading || !cluster_is_used() || query_depth() > 0)
		return false;
	if (IsolationUsesXactSnapshot())
	{
		cluster_require_seen(account);
		return false;
	}
	shard = may_be_inside(0) ? cluster_look_here(account) : 0;
	changes = cluster_changes();
	before = shard != 0 ? shard_enter(shard) : shard_entered();
	reading = true;
	PG_TRY();
	{
		PushActiveSnapshot(GetLatestSnapshot());
		*result = function(fcinfo);
		PopActiveSnapshot();
	}
	PG_CATCH();
	{
		reading = false;
		shard_leave(before);
		call_raise_again(context, cluster_changes() != changes);
	}
	PG_END_TRY();
	reading = false;
	shard_leave(before);
	if (shard == 0 && cluster_changes() != changes)
		cluster_raise_moved(NULL);
	return true;
}
