/*
 * cluster.c
 *		Whether tables are distributed over the nodes of a Citus cluster.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/cluster.h"
#include "base/listen.h"
#include "base/query.h"
#include "base/shard.h"

PG_FUNCTION_INFO_V1(ducto_is_distributed);

/* Accounts whose ids have hashes between two. */
typedef struct Shard
{
	int64		id;
	int32		least;
	int32		greatest;
	bool		here;			/* on this node */
	int			node;			/* that it is on */
	bool		alone;			/* on no other beside it */
	LocalTransactionId left;	/* the transaction that it has moved under, after that had used the cluster */
} Shard;

/*
 * What is known of the table accounts, until it changes: whether it is
 * distributed, and its shards in the order of the hashes.
 */
static struct
{
	bool		known;
	uint64		changes;		/* of the table, as far as they were heard of */
	Oid			table;
	bool		distributed;
	Shard	   *all;
	int			n;
	int			group;			/* that Citus has for the tables of these shards */
	LocalTransactionId used;	/* the last transaction in which ducto sent statements */
}			shards;

/* Of a table that it does not name, or it would be one of the cluster. Citus tells of a shard that moves as of a change of that. */
static KeptQuery shards_query = {
	.sql = "SELECT s.shardid, s.shardminvalue::integer, s.shardmaxvalue::integer, p.here, p.node, p.n = 1,"
	" (SELECT t.colocationid FROM pg_catalog.pg_dist_partition t WHERE t.logicalrelid = $1),"
	" (SELECT g.groupid FROM pg_catalog.pg_dist_local_group g)"
	" FROM pg_catalog.pg_dist_shard s, LATERAL (SELECT bool_or(o.groupid = g.groupid) AS here, min(o.groupid) AS node, count(*) AS n"
	"  FROM pg_catalog.pg_dist_placement o, pg_catalog.pg_dist_local_group g WHERE o.shardid = s.shardid) p"
	" WHERE s.logicalrelid = $1 ORDER BY s.shardminvalue::integer",
	.types = {REGCLASSOID},
	.whole = true
};

enum
{
	SHARD_ID = 1, SHARD_LEAST, SHARD_GREATEST, SHARD_HERE, SHARD_NODE, SHARD_ALONE, SHARD_GROUP, SHARD_THIS_NODE
};

/*
 * What Citus marks the locks of the places of shards with, which are named by the
 * number of the shard and by the group. Who moves one has such a lock until that
 * is known on the node.
 */
#define PLACE_LOCK	8

/* A transaction that is prepared and is about to move a shard. */
static KeptQuery move_decided_query = {
	.sql = "SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid IS NULL AND granted AND mode = 'ExclusiveLock'"
	" AND database = $1 AND classid = $2 AND objid = $3 AND objsubid = $4",
	.types = {OIDOID, OIDOID, OIDOID, INT2OID},
	.whole = true
};

/* In the transaction's snapshot. */
static KeptQuery seen_here_query = {
	.sql = "SELECT FROM pg_catalog.pg_dist_placement p, pg_catalog.pg_dist_local_group g"
	" WHERE p.shardid = $1 AND p.groupid = g.groupid",
	.types = {INT8OID}
};

/*
 * cluster_is_there tells whether Citus is in this database.
 */
bool
cluster_is_there(void)
{
	return OidIsValid(get_extension_oid("citus", true));
}

/*
 * Tell whether one of some tables is distributed, by Citus's catalog as it is
 * now, whatever the transaction's snapshot sees. The caller has connected to
 * SPI.
 */
static bool
has_any(List *tables)
{
	Oid			types[] = {OIDOID};
	ListCell   *table;
	bool		found = false;

	PushActiveSnapshot(GetLatestSnapshot());
	foreach(table, tables)
	{
		Datum		value = ObjectIdGetDatum(lfirst_oid(table));

		if (SPI_execute_with_args("SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid OPERATOR(pg_catalog.=) $1",
								  1, types, &value, NULL, true, 1) != SPI_OK_SELECT)
			elog(ERROR, "SPI_execute_with_args failed");
		found = found || SPI_processed > 0;
	}
	PopActiveSnapshot();
	return found;
}

/*
 * Check that a worker's own tables are not asked for accounts that are on the
 * coordinator: there tables are not distributed, or not any more.
 */
static void
require_accounts_here(List *tables)
{
	Oid			schema = get_namespace_oid("ducto", true);
	ListCell   *table;
	bool		ours = false;

	foreach(table, tables)
		ours = ours || get_rel_namespace(lfirst_oid(table)) == schema;
	if (!ours || has_any(list_make1_oid(get_relname_relid("accounts", schema))))
		return;
	if (SPI_execute("SELECT FROM pg_catalog.pg_dist_local_group WHERE groupid OPERATOR(pg_catalog.<>) 0", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute failed");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("this node is a worker, and the accounts are on the coordinator alone"),
				 errhint("Call the coordinator, or distribute the tables there with ducto_distribute.")));
}

/*
 * cluster_has_any tells whether one of some tables is distributed. It looks into
 * Citus's catalog, and is asked when a statement is prepared: the tables'
 * definitions change when they are distributed, so that its plan is not valid
 * any more. The caller has connected to SPI.
 */
bool
cluster_has_any(List *tables)
{
	if (tables == NIL || !cluster_is_there())
		return false;
	if (has_any(tables))
		return true;
	require_accounts_here(tables);
	return false;
}

/*
 * Forget what is known of the table accounts when it changes.
 */
static void
shards_forget(Oid relid)
{
	if (relid != InvalidOid && relid != shards.table)
		return;
	shards.known = false;
	shards.changes++;
}

/*
 * Return the transaction that this backend is in.
 */
static LocalTransactionId
transaction_now(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

/*
 * Find the shard of a hash; NULL: there is none.
 */
static const Shard *
shard_of_hash(int32 hash)
{
	int			from = 0;
	int			to = shards.n - 1;

	while (from < to)
	{
		int			middle = (from + to) / 2;

		if (hash > shards.all[middle].greatest)
			from = middle + 1;
		else
			to = middle;
	}
	return from == to && hash >= shards.all[from].least && hash <= shards.all[from].greatest ? &shards.all[from] : NULL;
}

/*
 * Find a function of Citus's.
 */
static Oid
citus_function(const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString("pg_catalog"), makeString(pstrdup(name))), nargs, types, false);
}

/*
 * Return a column of what Citus says of the transaction, of which it has a
 * number where other nodes have a part in it.
 */
static Datum
citus_transaction(const char *column)
{
	Datum		transaction = OidFunctionCall0(citus_function("get_current_transaction_id", 0, NULL));
	bool		isnull;

	return GetAttributeByName(DatumGetHeapTupleHeader(transaction), column, &isnull);
}

/*
 * cluster_is_coordinating tells whether the transaction is one of Citus's, in
 * which other nodes have a part.
 */
bool
cluster_is_coordinating(void)
{
	return DatumGetInt64(citus_transaction("transaction_number")) != 0;
}

/*
 * Tell whether the transaction has sent statements to the cluster: ours, or
 * others, by which it is one of Citus's that began on this node.
 */
static bool
has_sent(int node)
{
	return shards.used == transaction_now() ||
		(cluster_is_coordinating() && DatumGetInt32(citus_transaction("initiator_node_identifier")) == node);
}

/*
 * Return the transaction that a shard has moved under, which is this one where
 * it was known to be elsewhere and statements were sent.
 */
static LocalTransactionId
shard_left(const Shard *shard, bool sent)
{
	const Shard *before = shard_of_hash(shard->least);

	if (before == NULL)
		return InvalidLocalTransactionId;
	if (before->id == shard->id && before->node == shard->node)
		return before->left;
	return sent ? transaction_now() : InvalidLocalTransactionId;
}

/*
 * Let the shards be those that were read.
 */
static void
shards_take(int n)
{
	Shard	   *all = MemoryContextAlloc(TopMemoryContext, sizeof(Shard) * Max(n, 1));
	bool		sent = n > 0 && has_sent(row_int4(0, SHARD_THIS_NODE));

	for (int i = 0; i < n; i++)
	{
		all[i].id = row_int8(i, SHARD_ID);
		all[i].least = row_int4(i, SHARD_LEAST);
		all[i].greatest = row_int4(i, SHARD_GREATEST);
		all[i].here = row_bool(i, SHARD_HERE);
		all[i].node = row_int4(i, SHARD_NODE);
		all[i].alone = row_bool(i, SHARD_ALONE);
		all[i].left = shard_left(&all[i], sent);
	}
	if (shards.all != NULL)
		pfree(shards.all);
	shards.all = all;
	shards.n = n;
	shards.group = n > 0 ? row_int4(0, SHARD_GROUP) : 0;
}

/*
 * Find out whether the table accounts is distributed, and what its shards are.
 * That is known when all of it was read, and nothing changed meanwhile.
 */
static void
shards_read(void)
{
	QueryArgs	args = {0};
	uint64		changes;

	relations_listen(shards_forget);
	query_begin();
	shards.table = table_named("accounts");
	args_datum(&args, ObjectIdGetDatum(shards.table));
	changes = shards.changes;
	shards.distributed = cluster_is_there() && has_any(list_make1_oid(shards.table));
	if (shards.distributed)
	{
		int			n;

		PushActiveSnapshot(GetLatestSnapshot());
		n = (int) query_read(&shards_query, &args);
		PopActiveSnapshot();
		shards_take(n);
	}
	else
		shards.n = 0;
	query_end();
	shards.known = changes == shards.changes;
}

/*
 * cluster_is_used tells whether the tables are distributed: a shard's are not.
 * It takes no time once it is known.
 */
bool
cluster_is_used(void)
{
	if (shard_entered() != 0)
		return false;
	if (!shards.known)
		shards_read();
	return shards.distributed;
}

/*
 * cluster_was_used tells that without looking, by what was found last.
 */
bool
cluster_was_used(void)
{
	return shards.distributed && shard_entered() == 0;
}

/*
 * cluster_changes counts the changes of where the shards are, as far as they
 * were heard of since the first look at that.
 */
uint64
cluster_changes(void)
{
	return shards.changes;
}

/*
 * Find the shard that an account is on, as far as is known.
 */
static const Shard *
shard_of(const pg_uuid_t *account)
{
	int32		hash = (int32) DatumGetUInt32(hash_any(account->data, UUID_LEN));
	const Shard *shard = shard_of_hash(hash);

	if (shard == NULL)
		elog(ERROR, "no shard has the hash %d", hash);
	return shard;
}

/*
 * cluster_touch notes that a statement is sent to the cluster. What of a shard
 * the transaction has read it goes on to ask for by the same connection: Citus
 * keeps to it when the shard has moved, and what is written by it is lost.
 */
void
cluster_touch(void)
{
	shards.used = transaction_now();
}

/*
 * cluster_raise_moved tells that an account is on another node than the
 * transaction knows.
 */
void
cluster_raise_moved(const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the account has moved to another node meanwhile"),
			 detail != NULL ? errdetail_internal("%s", detail) : 0,
			 errhint("Try the transaction again.")));
}

/*
 * Refuse a shard that has moved under this transaction.
 */
static void
shard_require(const Shard *shard)
{
	if (shard->left != InvalidLocalTransactionId && shard->left == transaction_now())
		cluster_raise_moved(NULL);
}

/*
 * cluster_shard returns the shard that an account is on, as far as is known.
 * The tables are distributed.
 */
int64
cluster_shard(const pg_uuid_t *account)
{
	if (!shards.known)
		shards_read();
	return shard_of(account)->id;
}

/*
 * cluster_node returns the node that an account is on, as far as is known. The
 * tables are distributed.
 */
int
cluster_node(const pg_uuid_t *account)
{
	if (!shards.known)
		shards_read();
	return shard_of(account)->node;
}

/*
 * Fill in the lock of the place of a shard.
 */
static void
place_of(const Shard *shard, LOCKTAG *place)
{
	SET_LOCKTAG_ADVISORY(*place, MyDatabaseId, (uint32) (shard - shards.all), (uint32) shards.group, PLACE_LOCK);
}

/*
 * Tell whether this transaction keeps a shard where it is.
 */
static bool
is_held(const LOCKTAG *place)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(place, ShareLock, false);
#else
	return LockHeldByMe(place, ShareLock);
#endif
}

/*
 * Let Citus keep a shard where it is. It looks first who may do that.
 */
static void
shard_keep_by_citus(int64 shard)
{
	Oid			types[] = {INT4OID, INT8ARRAYOID};
	Datum		id = Int64GetDatum(shard);
	ArrayType  *ids = construct_array(&id, 1, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);

	(void) OidFunctionCall2(citus_function("lock_shard_metadata", 2, types), Int32GetDatum(ShareLock), PointerGetDatum(ids));
}

/*
 * Keep a shard where it is until the transaction ends: who moves it waits for
 * those who have this lock, as who writes to it has. A SELECT ... FOR NO KEY
 * UPDATE alone has not, and its row is locked on the node that the shard has left.
 * It waits for a move that is about to end, and knows of it then.
 */
static void
shard_keep(const Shard *shard)
{
	static bool known = false;	/* that Citus's lock is this one */
	LOCKTAG		place;

	place_of(shard, &place);
	if (known)
		(void) LockAcquire(&place, ShareLock, false, false);
	else
	{
		shard_keep_by_citus(shard->id);
		known = is_held(&place);
	}
	AcceptInvalidationMessages();
}

/*
 * cluster_shard_stays keeps the shard that an account is on where it is until
 * the transaction ends. The tables are distributed. One that has moved since the
 * transaction first asked for something is an error.
 */
void
cluster_shard_stays(const pg_uuid_t *account)
{
	int64		shard;

	do
	{
		shard = cluster_shard(account);
		shard_keep(shard_of(account));
	} while (cluster_shard(account) != shard);
	shard_require(shard_of(account));
}

/*
 * cluster_is_elsewhere tells whether an account is on another node than this
 * one, as far as is known.
 */
bool
cluster_is_elsewhere(const pg_uuid_t *account)
{
	return cluster_is_used() && !shard_of(account)->here;
}

/*
 * cluster_is_alone tells whether an account is on one node alone, as far as is
 * known. The tables are distributed.
 */
bool
cluster_is_alone(const pg_uuid_t *account)
{
	if (!shards.known)
		shards_read();
	return shard_of(account)->alone;
}

/*
 * Return the shard that an account is on, if that is on this node alone; NULL
 * otherwise.
 */
static const Shard *
shard_here(const pg_uuid_t *account)
{
	const Shard *shard = cluster_is_used() ? shard_of(account) : NULL;

	return shard != NULL && shard->here && shard->alone ? shard : NULL;
}

/*
 * cluster_keep_here keeps the shard that an account is on here until the
 * transaction ends, and returns it; 0: it is on another node, or on several. It
 * locks the table as who writes to it does, or its rows could be brought back to
 * the coordinator without what is written.
 */
int64
cluster_keep_here(const pg_uuid_t *account)
{
	const Shard *shard = shard_here(account);
	int64		id;

	if (shard == NULL)
		return 0;
	LockRelationOid(shards.table, RowExclusiveLock);
	shard = shard_here(account);
	if (shard == NULL)
		return 0;
	id = shard->id;
	shard_keep(shard);
	if (!cluster_is_used())
		return 0;
	shard = shard_of(account);
	shard_require(shard);
	return shard->id == id && shard->here && shard->alone ? id : 0;
}

/*
 * Tell whether a shard is one that reads may be in: it is on this node alone, and
 * the transaction has asked for nothing by Citus, whose connections may have
 * written what is not seen here.
 */
static const Shard *
shard_readable(const pg_uuid_t *account)
{
	return shards.used == transaction_now() ? NULL : shard_here(account);
}

/*
 * Wait until the node knows where a shard is, if a move of it is decided, but not
 * everywhere yet. One that is being copied is not waited for: it is still here.
 */
static void
shard_settle(const LOCKTAG *place)
{
	QueryArgs	args = {0};
	bool		decided;

	query_begin();
	args_datum(&args, ObjectIdGetDatum(place->locktag_field1));
	args_datum(&args, ObjectIdGetDatum(place->locktag_field2));
	args_datum(&args, ObjectIdGetDatum(place->locktag_field3));
	args_datum(&args, Int16GetDatum(place->locktag_field4));
	decided = query_read(&move_decided_query, &args) > 0;
	query_end();
	if (!decided)
		return;
	(void) LockAcquire(place, ShareLock, false, false);
	LockRelease(place, ShareLock, false);
}

/*
 * cluster_look_here returns the shard that an account is on for what reads it; 0:
 * it is to be read by Citus. It keeps no lock: a shard that moves away stays as
 * it was when that was decided, and until that is known here nobody has been
 * told of more.
 */
int64
cluster_look_here(const pg_uuid_t *account)
{
	const Shard *shard;
	LOCKTAG		place;

	AcceptInvalidationMessages();
	shard = shard_readable(account);
	if (shard == NULL)
		return 0;
	place_of(shard, &place);
	if (LockAcquire(&place, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		LockRelease(&place, ShareLock, false);
	else
		shard_settle(&place);
	AcceptInvalidationMessages();
	shard = shard_readable(account);
	return shard != NULL ? shard->id : 0;
}

/*
 * cluster_require_seen refuses to read an account that has come to this node after
 * the transaction's snapshot was taken, in which it has no row. The tables are
 * distributed.
 */
void
cluster_require_seen(const pg_uuid_t *account)
{
	QueryArgs	args = {0};
	bool		seen;

	AcceptInvalidationMessages();
	if (!cluster_is_used() || !shard_of(account)->here)
		return;
	query_begin();
	args_int8(&args, shard_of(account)->id);
	seen = query_read(&seen_here_query, &args) > 0;
	query_end();
	if (!seen)
		cluster_raise_moved(NULL);
}

/*
 * cluster_has_here tells whether a shard is on this node, as far as is known.
 * The tables are distributed.
 */
bool
cluster_has_here(int64 shard)
{
	if (!shards.known)
		shards_read();
	for (int i = 0; i < shards.n; i++)
		if (shards.all[i].id == shard)
			return shards.all[i].here;
	return false;
}

/*
 * ducto.is_distributed tells whether the tables are distributed.
 */
Datum
ducto_is_distributed(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(cluster_is_used());
}
