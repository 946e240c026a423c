/*
 * shard.c
 *		Statements on one shard of this node.
 *
 *		What is done with many accounts of a shard at once is done in it: each
 *		kept statement is one of the shard's own tables then, planned and
 *		executed as on one server. Its text begins with a mark
 *		that names the shard, by which the planner's hook knows it: so it is
 *		whenever the plan is made anew, and no other statement is. Whoever
 *		enters a shard has written to it by Citus before in the same
 *		transaction, which keeps it from moving until that ends.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "optimizer/planner.h"
#include "storage/lock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "base/cluster.h"
#include "base/listen.h"
#include "base/shard.h"
#include "base/shardfit.h"

/* Before the text of each statement on a shard. */
#define SHARD_MARK	"/* ducto shard "

/* The tables of the extension, and those that they are on a shard or, if they are everywhere, on this node. */
static KeptQuery tables_query = {
	.sql = "SELECT c.oid, to_regclass(pg_catalog.shard_name(c.oid, s.shardid))::oid"
	" FROM pg_catalog.pg_dist_shard s JOIN pg_class c ON c.oid = s.logicalrelid"
	" WHERE c.relnamespace = 'ducto'::regnamespace AND (s.shardminvalue IS NULL OR s.shardminvalue ="
	"  (SELECT o.shardminvalue FROM pg_catalog.pg_dist_shard o WHERE o.shardid = $1))",
	.types = {INT8OID},
	.whole = true
};

/* A table, and its part on a shard. */
typedef struct ShardTable
{
	Oid			table;
	Oid			part;
} ShardTable;

/* A shard that was entered. */
typedef struct ShardTables
{
	int64		shard;			/* the key */
	uint64		changes;		/* of the cluster when its tables were read */
	int			n;
	ShardTable *tables;
} ShardTables;

/* A statement on a shard. */
typedef struct ShardQuery
{
	struct
	{
		KeptQuery  *of;
		int64		shard;
	}			key;
	KeptQuery	query;
} ShardQuery;

static int64 entered = 0;		/* the shard that statements are on, 0 for all */
static HTAB *shards = NULL;
static HTAB *queries = NULL;
static planner_hook_type next_planner = NULL;

/*
 * shard_may_be_entered tells whether what is done with many accounts is to be
 * done shard by shard: on a cluster, but not inside of another operation, whose
 * statements are Citus's, nor in a snapshot that is older than the shards' places
 * may be, nor where nothing may be written: another node would not know that.
 */
bool
shard_may_be_entered(void)
{
	return cluster_is_used() && query_depth() <= 1 && !IsolationUsesXactSnapshot() && !XactReadOnly;
}

/*
 * shard_entered returns the shard that statements are on, 0 for all.
 */
int64
shard_entered(void)
{
	return entered;
}

/*
 * shard_suspend lets kept statements be on all shards until shard_leave, while
 * one is executed: what a trigger calls knows nothing of the shard. It returns
 * where they were.
 */
int64
shard_suspend(void)
{
	int64		before = entered;

	entered = 0;
	return before;
}

/*
 * Return what a table is on a shard: itself, where it is not distributed.
 */
static Oid
shard_part(const void *of, Oid table)
{
	const ShardTables *shard = of;

	for (int i = 0; i < shard->n; i++)
		if (shard->tables[i].table == table)
			return shard->tables[i].part;
	return table;
}

/*
 * Return what a statement that is about to be planned is on the shard that its
 * text names; any other statement is as ever.
 */
static Query *
shard_mark_heed(Query *parse, const char *text)
{
	int64		shard;
	ShardTables *tables;

	if (text == NULL || strncmp(text, SHARD_MARK, strlen(SHARD_MARK)) != 0)
		return parse;
	shard = strtoll(text + strlen(SHARD_MARK), NULL, 10);
	tables = hash_search(shards, &shard, HASH_FIND, NULL);
	if (tables == NULL)
		elog(ERROR, "shard " INT64_FORMAT " was not entered", shard);
	return shard_fit(parse, shard_part, tables);
}

/*
 * Plan a statement on a shard by the shard's tables, which to Citus are any
 * others.
 */
#if PG_VERSION_NUM >= 190000
static PlannedStmt *
shard_planner(Query *parse, const char *text, int options, ParamListInfo params, ExplainState *es)
{
	parse = shard_mark_heed(parse, text);
	return next_planner != NULL ? next_planner(parse, text, options, params, es) : standard_planner(parse, text, options, params, es);
}
#else
static PlannedStmt *
shard_planner(Query *parse, const char *text, int options, ParamListInfo params)
{
	parse = shard_mark_heed(parse, text);
	return next_planner != NULL ? next_planner(parse, text, options, params) : standard_planner(parse, text, options, params);
}
#endif

/*
 * Make what is kept of shards.
 */
static void
shards_begin(void)
{
	HASHCTL		by_shard = {.keysize = sizeof(int64), .entrysize = sizeof(ShardTables)};
	HASHCTL		by_query = {.keysize = sizeof(((ShardQuery *) NULL)->key), .entrysize = sizeof(ShardQuery)};

	shards = hash_create("ducto shards", 64, &by_shard, HASH_ELEM | HASH_BLOBS);
	queries = hash_create("ducto queries of shards", 256, &by_query, HASH_ELEM | HASH_BLOBS);
	next_planner = planner_hook;
	planner_hook = shard_planner;
}

/*
 * Find the tables of a shard.
 */
static void
shard_read(ShardTables *shard)
{
	QueryArgs	args = {0};
	int			n;

	query_begin();
	args_int8(&args, shard->shard);
	shard->changes = cluster_changes();
	shard->n = 0;				/* until it is read whole */
	n = (int) query_run(&tables_query, &args, SPI_OK_SELECT);
	if (shard->tables != NULL)
		pfree(shard->tables);
	shard->tables = MemoryContextAlloc(TopMemoryContext, sizeof(ShardTable) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		shard->tables[i].table = DatumGetObjectId(row_datum(i, 1));
		shard->tables[i].part = row_is_null(i, 2) ? InvalidOid : DatumGetObjectId(row_datum(i, 2));
	}
	shard->n = n;
	query_end();
}

/*
 * Tell whether all tables of a shard are on this node.
 */
static bool
shard_is_here(const ShardTables *shard)
{
	for (int i = 0; i < shard->n; i++)
		if (!OidIsValid(shard->tables[i].part))
			return false;
	return true;
}

/*
 * Return the tables of a shard of this node, while statements are on all. They
 * are known until the cluster changes, as they are others when it has moved and
 * come back.
 */
static const ShardTables *
shard_known(int64 shard)
{
	ShardTables *known;
	bool		found;

	Assert(shard != 0);
	if (shards == NULL)
		shards_begin();
	known = hash_search(shards, &shard, HASH_ENTER, &found);
	if (!found)
	{
		known->n = 0;
		known->tables = NULL;
	}
	(void) cluster_is_used();	/* it hears of changes from now on */
	if (known->n == 0 || known->changes != cluster_changes() || !shard_is_here(known))
		shard_read(known);
	if (!cluster_has_here(shard) || !shard_is_here(known))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("shard " INT64_FORMAT " is not on this node any more", shard)));
	return known;
}

/*
 * shard_enter lets the kept statements be on a shard of this node until
 * shard_leave, and returns where they were before.
 */
int64
shard_enter(int64 shard)
{
	int64		before = shard_suspend();

	(void) shard_known(shard);
	entered = shard;
	return before;
}

/*
 * shard_table returns the table of ducto that has a name, or what it is on the
 * shard that was entered.
 */
Oid
shard_table(const char *name)
{
	Oid			table = table_named(name);

	return entered == 0 ? table : shard_part(hash_search(shards, &entered, HASH_FIND, NULL), table);
}

/*
 * shard_is_written tells whether this session itself has written to the accounts
 * of a shard of this node, in this transaction, or tried to. Statements are on
 * all shards.
 */
bool
shard_is_written(int64 shard)
{
	LOCKTAG		table;

	Assert(entered == 0);
	SET_LOCKTAG_RELATION(table, MyDatabaseId, shard_part(shard_known(shard), table_named("accounts")));
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(&table, RowExclusiveLock, false);
#else
	return LockHeldByMe(&table, RowExclusiveLock);
#endif
}

/*
 * shard_leave lets the kept statements be again where they were before
 * shard_enter or shard_suspend. It has to be called after an error, too.
 */
void
shard_leave(int64 before)
{
	entered = before;
}

/*
 * shard_query returns the statement that a kept one is where statements are now.
 */
KeptQuery *
shard_query(KeptQuery *query)
{
	ShardQuery *known;
	ShardQuery	wanted;
	bool		found;

	if (entered == 0)
		return query;
	memset(&wanted.key, 0, sizeof(wanted.key));
	wanted.key.of = query;
	wanted.key.shard = entered;
	known = hash_search(queries, &wanted.key, HASH_ENTER, &found);
	if (!found)
	{
		query_copy(&known->query, query, psprintf(SHARD_MARK INT64_FORMAT " */ %s", entered, query->sql));
		known->query.of_shard = true;
	}
	return &known->query;
}
