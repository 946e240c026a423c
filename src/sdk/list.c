/*
 * list.c
 *		The lists of entries that the SDKs know: pages of what a user has of its
 *		own and spent in teams, newest first, whatever the length of the ledger.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/tuplestore.h"

#include "account/account.h"
#include "account/ledger.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "sdk/answer.h"

PG_FUNCTION_INFO_V1(ducto_sdk_list_user_transactions);
PG_FUNCTION_INFO_V1(ducto_sdk_list_usage_events);

#define DEFAULT_PAGE	50
#define LIST_COLUMNS	9
#define TYPE_TEAM_USAGE	"team_usage"

/* A page of what a user has: entries with low < seq <= high, of teams those of a window. */
typedef struct SdkPage
{
	pg_uuid_t  *user;
	ArrayType  *types;			/* of the user's own; NULL for all */
	bool		usage;			/* types has usage */
	bool		own;			/* the user's own are wanted */
	bool		teams;			/* those of teams are, and there are some */
	int64		low;
	int64		high;
	TimestampTz from;
	TimestampTz to;
	int64		max_rows;
	int64		skip_rows;
	int64		total;			/* on all pages */
	ResultRow	row;
} SdkPage;

#define ENTRY_COLUMNS \
	"id, amount, type, operation_type, reference, metadata, created_at, model, idempotency_key, allowance_consumed," \
	" balance_after, expires_at"

#define OWN_ENTRIES	" FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND seq <= $3"
#define OWN_TYPES	{UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID}

static KeptQuery own_query = {
	.sql = "SELECT " ENTRY_COLUMNS ", NULL::uuid" OWN_ENTRIES " ORDER BY seq DESC LIMIT $4 OFFSET $5",
	.types = OWN_TYPES
};

/* Most entries are usage, so this walks the ledger backwards. */
static KeptQuery own_typed_query = {
	.sql = "SELECT " ENTRY_COLUMNS ", NULL::uuid" OWN_ENTRIES " AND type = ANY ($6) ORDER BY seq DESC LIMIT $4 OFFSET $5",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID}
};

/* Few entries are not usage: a branch for each type reads their index no further than the page needs. */
static KeptQuery own_rare_query = {
	.sql = "SELECT l.* FROM (SELECT DISTINCT t.type FROM unnest($6) AS t(type)) w, LATERAL (SELECT " ENTRY_COLUMNS
	", NULL::uuid AS team, seq" OWN_ENTRIES " AND type = w.type AND type <> 'usage' ORDER BY seq DESC LIMIT $4 + $5) l"
	" ORDER BY l.seq DESC LIMIT $4 OFFSET $5",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID}
};

static KeptQuery rare_count_query = {
	.sql = "SELECT count(*)" OWN_ENTRIES " AND type <> 'usage' AND (type = ANY ($4)) = $5",
	.types = {UUIDOID, INT8OID, INT8OID, TEXTARRAYOID, BOOLOID}
};

#define OF_TEAMS " FROM ducto.ledger WHERE actor = $1 AND type = 'usage'"

static KeptQuery user_query = {
	.sql = "SELECT kind, last_seq, EXISTS (SELECT" OF_TEAMS ") FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

/* On a cluster that is asked of all nodes, and this of one. */
static KeptQuery user_alone_query = {
	.sql = "SELECT kind, last_seq FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

/* A member of a team may have no account. */
static KeptQuery member_query = {
	.sql = "SELECT" OF_TEAMS " LIMIT 1",
	.types = {UUIDOID}
};

static KeptQuery team_count_query = {
	.sql = "SELECT count(*)" OF_TEAMS " AND created_at >= $2 AND created_at <= $3",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* Each branch reads no more of its index than the page needs. */
static KeptQuery merged_query = {
	.sql = "SELECT * FROM ((SELECT " ENTRY_COLUMNS ", NULL::uuid, seq" OWN_ENTRIES " AND ($8 IS NULL OR type = ANY ($8))"
	"  ORDER BY seq DESC LIMIT $4 + $5)"
	" UNION ALL (SELECT " ENTRY_COLUMNS ", account_id, seq" OF_TEAMS " AND created_at >= $6 AND created_at <= $7"
	"  ORDER BY created_at DESC, id DESC LIMIT $4 + $5)) e ORDER BY created_at DESC, seq DESC, id DESC LIMIT $4 OFFSET $5",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID}
};

/* The types that the SDKs do not know: to them such entries are adjustments. */
static const EntryType unknown_types[] = {TYPE_EXPIRY, TYPE_REVERSAL, TYPE_TRANSFER_OUT, TYPE_TRANSFER_IN};

/*
 * Tell whether the SDKs do not know a type.
 */
static bool
is_unknown(int type)
{
	for (int i = 0; i < lengthof(unknown_types); i++)
		if (type == (int) unknown_types[i])
			return true;
	return false;
}

/*
 * Append the members of an object to one that is being made.
 */
static void
put_members(JsonOut *out, Jsonb *object)
{
	JsonbIterator *it = JsonbIteratorInit(&object->root);
	JsonbValue	key;
	JsonbValue	value;

	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		jsonout_push(out, WJB_KEY, &key);
		jsonout_push(out, WJB_VALUE, &value);
	}
}

/*
 * Make the metadata of an entry, a row of ENTRY_COLUMNS: the caller's, and what
 * the ledger knows beside.
 */
static Datum
entry_metadata(TupleTableSlot *slot, EntryType type)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;
	JsonOut		out = {0};

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	put_members(&out, DatumGetJsonbP(values[5]));
	if (!nulls[7])
		put_text(&out, "model", TextDatumGetCString(values[7]));
	if (!nulls[8])
		put_text(&out, "idempotency_key", TextDatumGetCString(values[8]));
	if (type == TYPE_USAGE || type == TYPE_REFUND)
		put_figure(&out, "allowance_consumed", values[9]);
	if (!nulls[12])
		put_uuid(&out, "team_id", DatumGetUUIDP(values[12]));
	put_figure(&out, "balance_after", values[10]);
	if (!nulls[11])
		put_time(&out, "expires_at", DatumGetTimestampTz(values[11]));
	if (type == TYPE_EXPIRY)
		put_text(&out, "reason", "credit_expired");
	else if (is_unknown(type))
		put_text(&out, "ledger_type", entry_types[type]);
	return JsonbPGetDatum(jsonout_end(&out));
}

/*
 * Put a text into a row.
 */
static void
row_put_text(Datum *value, bool *isnull, const char *text)
{
	*isnull = text == NULL;
	if (text != NULL)
		*value = CStringGetTextDatum(text);
}

/*
 * Put an entry, a row of ENTRY_COLUMNS and the team, into the list.
 */
static bool
list_entry(TupleTableSlot *slot, void *state)
{
	SdkPage    *page = state;
	Datum		values[LIST_COLUMNS];
	bool		nulls[LIST_COLUMNS] = {false};
	Jsonb	   *metadata;
	EntryType	type;
	char	   *reference_type;

	slot_getallattrs(slot);
	type = (EntryType) word_find(entry_types, TextDatumGetCString(slot->tts_values[2]));
	metadata = DatumGetJsonbP(slot->tts_values[5]);
	reference_type = sdk_member(metadata, "reference_type");
	values[0] = slot->tts_values[0];
	values[1] = UUIDPGetDatum(page->user);
	values[2] = slot->tts_values[1];
	values[3] = CStringGetTextDatum(!slot->tts_isnull[12] ? TYPE_TEAM_USAGE :
									entry_types[is_unknown(type) ? TYPE_ADJUSTMENT : type]);
	if (reference_type == NULL && !slot->tts_isnull[3])
		values[4] = slot->tts_values[3];
	else
		row_put_text(&values[4], &nulls[4], reference_type);
	values[5] = slot->tts_values[4];
	if (slot->tts_isnull[4])
		nulls[5] = !sdk_uuid(sdk_member(metadata, "reference_id"), &values[5]);
	values[6] = entry_metadata(slot, type);
	values[7] = slot->tts_values[6];
	values[8] = Int64GetDatum(page->total);
	tuplestore_putvalues(page->row.store, page->row.desc, values, nulls);
	return true;
}

/*
 * Take the types of the entries that are wanted: what the SDKs do not know is
 * an adjustment to them, and what is spent in teams a type of its own.
 */
static void
page_types(SdkPage *page, ArrayType *types)
{
	Datum	   *given;
	bool	   *nulls;
	Datum	   *wanted;
	int			n;
	int			nwanted = 0;

	deconstruct_array(types, TEXTOID, -1, false, TYPALIGN_INT, &given, &nulls, &n);
	wanted = palloc(sizeof(Datum) * (1 + lengthof(unknown_types)) * Max(n, 1));
	page->teams = false;
	for (int i = 0; i < n; i++)
	{
		char	   *word = nulls[i] ? "" : TextDatumGetCString(given[i]);
		int			type = word_find(entry_types, word);

		if (strcmp(word, TYPE_TEAM_USAGE) == 0)
			page->teams = true;
		else if (!is_unknown(type))
			wanted[nwanted++] = CStringGetTextDatum(word);
		page->usage |= type == TYPE_USAGE;
		for (int j = 0; type == TYPE_ADJUSTMENT && j < lengthof(unknown_types); j++)
			wanted[nwanted++] = CStringGetTextDatum(entry_types[unknown_types[j]]);
	}
	page->own = nwanted > 0;
	page->types = construct_array(wanted, nwanted, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * Append the account and the entries of a page.
 */
static void
args_own(QueryArgs *args, const SdkPage *page)
{
	args_uuid(args, page->user);
	args_int8(args, page->low);
	args_int8(args, page->high);
}

/*
 * Count the entries of a page's window that are not usage, of its types or of
 * all others.
 */
static int64
count_rare(const SdkPage *page, bool among)
{
	QueryArgs	args = {0};

	args_own(&args, page);
	args_datum(&args, PointerGetDatum(page->types));
	args_bool(&args, among);
	query_read(&rare_count_query, &args);
	return row_int8(0, 1);
}

/*
 * Count the entries of all pages. seq has no gaps, so only what is not usage, or
 * a team's, needs counting.
 */
static int64
page_count(const SdkPage *page)
{
	int64		n = 0;
	QueryArgs	args = {0};

	if (page->own && page->types == NULL)
		n = page->high - page->low;
	else if (page->own)
		n = page->usage ? page->high - page->low - count_rare(page, false) : count_rare(page, true);
	if (!page->teams)
		return n;
	args_uuid(&args, page->user);
	args_time(&args, page->from);
	args_time(&args, page->to);
	query_read(&team_count_query, &args);
	return n + row_int8(0, 1);
}

/*
 * Take the window of a list, both ends included, from argument n on.
 */
static void
page_window(FunctionCallInfo fcinfo, int n, SdkPage *page)
{
	page->from = PG_ARGISNULL(n) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(n);
	page->to = PG_ARGISNULL(n + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(n + 1);
	if (!TIMESTAMP_IS_NOBEGIN(page->from))
		page->low = ledger_seq_before(page->user, page->high, page->from, false, false, true);
	if (!TIMESTAMP_IS_NOEND(page->to))
		page->high = ledger_seq_before(page->user, page->high, page->to, true, false, true);
	page->high = Max(page->high, page->low);
}

/*
 * Start a page with the whole ledger of a user, and with what it has spent in
 * teams if there is any. A team's id is an error.
 */
static void
page_begin(SdkPage *page)
{
	QueryArgs	args = {0};
	Account		acc = {.id = *page->user};
	bool		alone;
	bool		known;

	args_uuid(&args, page->user);
	alone = query_distributed(&user_query);
	known = query_read(alone ? &user_alone_query : &user_query, &args) > 0;
	if (known)
	{
		acc.team = row_word(0, 1, account_kinds) != 0;
		account_require_user(&acc);
		page->high = row_int8(0, 2);
	}
	if (known && !alone)
		page->teams &= row_bool(0, 3);
	else
		page->teams = page->teams && query_read(&member_query, &args) > 0;
}

/*
 * Let a page of all that a user has of its own begin where it does, without
 * walking there: seq has no gaps.
 */
static void
page_skip(SdkPage *page)
{
	page->high -= Min(page->skip_rows, page->high - page->low);
	page->skip_rows = 0;
}

/*
 * Read a page.
 */
static void
page_read(SdkPage *page)
{
	QueryArgs	args = {0};
	KeptQuery  *query = &own_query;

	if (page->teams && !page->own)
		page->high = page->low;
	if (!page->teams && page->types == NULL)
		page_skip(page);
	args_own(&args, page);
	args_int8(&args, page->max_rows);
	args_int8(&args, page->skip_rows);
	if (page->teams)
	{
		query = &merged_query;
		args_time(&args, page->from);
		args_time(&args, page->to);
	}
	else if (page->types != NULL)
		query = page->usage ? &own_typed_query : &own_rare_query;
	if (query != &own_query)
	{
		if (page->types != NULL)
			args_datum(&args, PointerGetDatum(page->types));
		else
			args_null(&args);
	}
	(void) query_each(query, &args, true, list_entry, page);
}

/*
 * Answer with the entries of a user, of the types that are asked for, NULL for
 * all: the window is argument n and the next, the page the two after.
 */
static Datum
list(FunctionCallInfo fcinfo, ArrayType *types, int n)
{
	SdkPage		page = {.user = arg_uuid(fcinfo, 0, "p_user_id"), .own = true, .teams = true};

	page.max_rows = PG_ARGISNULL(n + 2) ? DEFAULT_PAGE : Max(PG_GETARG_INT32(n + 2), 0);
	page.skip_rows = PG_ARGISNULL(n + 3) ? 0 : Max(PG_GETARG_INT32(n + 3), 0);
	result_set_begin(&page.row, fcinfo);
	query_begin();
	if (types != NULL)
		page_types(&page, types);
	page_begin(&page);
	page_window(fcinfo, n, &page);
	page.total = page_count(&page);
	if (page.own || page.teams)
		page_read(&page);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_sdk_list_user_transactions lists the entries of a user for the SDKs.
 */
Datum
ducto_sdk_list_user_transactions(PG_FUNCTION_ARGS)
{
	return list(fcinfo, PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1), 2);
}

/*
 * ducto_sdk_list_usage_events lists what a user used for the SDKs.
 */
Datum
ducto_sdk_list_usage_events(PG_FUNCTION_ARGS)
{
	Datum		types[] = {CStringGetTextDatum(entry_types[TYPE_USAGE]), CStringGetTextDatum(TYPE_TEAM_USAGE)};

	return list(fcinfo, construct_array(types, lengthof(types), TEXTOID, -1, false, TYPALIGN_INT), 1);
}
