/*
 * sent.c
 *		Calls that are sent to the node of a shard by a plan that is kept.
 *
 *		Citus sends a call of a function by the values of its arguments, and plans
 *		the statement anew for them: that was a quarter of what a call takes on
 *		the node that sends it. So what Citus sends is a call of ducto.is_there for
 *		one account of the shard, which is always the same, and the call proper is
 *		what the statement selects, with its parameters. A plan is kept for each
 *		shard that calls went to, until the cluster changes.
 *
 *		To Citus all that happens there is about the account of ducto.is_there. So
 *		the call is done by statements that Citus has no part in, or not at all.
 */
#include "postgres.h"

#include "access/xact.h"
#include "lib/stringinfo.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/uuid.h"

#include "base/cluster.h"
#include "base/listen.h"
#include "base/sent.h"

PG_FUNCTION_INFO_V1(ducto_is_there);

/* A statement that is sent to a shard. */
typedef struct SentQuery
{
	struct
	{
		KeptQuery  *of;
		int64		shard;
	}			key;
	uint64		changes;		/* of the cluster when it was planned */
	KeptQuery	query;
} SentQuery;

static HTAB *queries = NULL;

/*
 * What is known of triggers that somebody else has made on the tables, until a
 * table changes: they may ask Citus for something.
 */
static struct
{
	bool		known;
	bool		any;
	uint64		changes;		/* of the tables, as far as they were heard of */
	Oid		   *tables;
	int			n;
}			triggers;

static KeptQuery triggers_query = {
	.sql = "SELECT c.oid, EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid WHERE t.tgrelid = c.oid"
	"  AND NOT t.tgisinternal AND p.pronamespace NOT IN ('ducto'::regnamespace, 'pg_catalog'::regnamespace))"
	" FROM pg_class c WHERE c.relnamespace = 'ducto'::regnamespace AND c.relkind IN ('r', 'p')",
	.types = {0},
	.whole = true
};

enum
{
	TABLE_COLUMN = 1, TRIGGER_COLUMN
};

/*
 * Forget what is known of triggers when one of the tables changes.
 */
static void
triggers_forget(Oid relid)
{
	bool		ours = relid == InvalidOid;

	for (int i = 0; i < triggers.n && !ours; i++)
		ours = triggers.tables[i] == relid;
	if (!ours)
		return;
	triggers.known = false;
	triggers.changes++;
}

/*
 * Find out whether there are triggers of others.
 */
static void
triggers_read(void)
{
	QueryArgs	none = {0};
	uint64		changes = triggers.changes;
	Oid		   *tables;
	int			n;

	relations_listen(triggers_forget);
	n = (int) query_run(&triggers_query, &none, SPI_OK_SELECT);
	tables = MemoryContextAlloc(TopMemoryContext, sizeof(Oid) * Max(n, 1));
	triggers.any = false;
	for (int i = 0; i < n; i++)
	{
		tables[i] = DatumGetObjectId(row_datum(i, TABLE_COLUMN));
		triggers.any = triggers.any || row_bool(i, TRIGGER_COLUMN);
	}
	if (triggers.tables != NULL)
		pfree(triggers.tables);
	triggers.tables = tables;
	triggers.n = n;
	triggers.known = triggers.changes == changes;
}

/*
 * Tell whether there are triggers of others.
 */
static bool
triggers_are_there(void)
{
	if (!triggers.known)
		triggers_read();
	return triggers.any;
}

/*
 * Make what is kept.
 */
static void
queries_begin(void)
{
	HASHCTL		by_query = {.keysize = sizeof(((SentQuery *) NULL)->key), .entrysize = sizeof(SentQuery)};

	queries = hash_create("ducto sent queries", 64, &by_query, HASH_ELEM | HASH_BLOBS);
}

/*
 * Return the text that sends a call to the shard of an account.
 */
static char *
sent_text(const char *sql, const pg_uuid_t *account)
{
	const char *call = sql + strlen(SENT_BEGIN);
	const char *place = DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(account)));

	return psprintf("SELECT h, pg_catalog.record_send(%.*s) FROM ducto.is_there('%s') h",
					(int) (strlen(call) - strlen(SENT_END)), call, place);
}

/*
 * sent_query returns the statement that makes a call, the text of which is that
 * of SENT_CALL, where an account is. NULL: that is to be made otherwise, as the
 * account is on several nodes, or what is done there may be Citus's. The caller
 * has found the account to be elsewhere.
 */
KeptQuery *
sent_query(KeptQuery *query, const pg_uuid_t *account)
{
	SentQuery	wanted;
	SentQuery  *known;
	bool		found;

	if (IsolationUsesXactSnapshot() || !cluster_is_alone(account) || triggers_are_there())
		return NULL;
	if (queries == NULL)
		queries_begin();
	memset(&wanted.key, 0, sizeof(wanted.key));
	wanted.key.of = query;
	wanted.key.shard = cluster_shard(account);
	known = hash_search(queries, &wanted.key, HASH_ENTER, &found);
	if (!found)
	{
		query_copy(&known->query, query, sent_text(query->sql, account));
		known->query.anew = false;
	}
	if (found && known->changes != cluster_changes())
		query_forget(&known->query);
	known->changes = cluster_changes();
	return &known->query;
}

/*
 * sent_row returns the row of the calling function's type that the statement has
 * answered with, in the memory of SPI's caller. NULL: the call was not made.
 */
HeapTupleHeader
sent_row(FunctionCallInfo fcinfo)
{
	static FmgrInfo receive;
	StringInfoData message;
	bytea	   *sent;
	HeapTupleHeader row;
	HeapTupleHeader result;

	if (row_is_null(0, 2))
		return NULL;
	if (receive.fn_oid == InvalidOid)
		fmgr_info_cxt(F_RECORD_RECV, &receive, TopMemoryContext);
	sent = DatumGetByteaPP(row_datum(0, 2));
	initStringInfo(&message);
	appendBinaryStringInfo(&message, VARDATA_ANY(sent), VARSIZE_ANY_EXHDR(sent));
	row = DatumGetHeapTupleHeader(ReceiveFunctionCall(&receive, &message, get_func_rettype(fcinfo->flinfo->fn_oid), -1));
	result = SPI_palloc(HeapTupleHeaderGetDatumLength(row));
	memcpy(result, row, HeapTupleHeaderGetDatumLength(row));
	return result;
}

/*
 * ducto.is_there is what Citus sends to the node of an account's shard.
 */
Datum
ducto_is_there(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}
