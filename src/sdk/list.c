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
#include "base/uuid.h"
#include "sdk/answer.h"

PG_FUNCTION_INFO_V1(ducto_sdk_list_user_transactions);
PG_FUNCTION_INFO_V1(ducto_sdk_list_usage_events);

#define DEFAULT_PAGE	50
#define TYPE_TEAM_USAGE	"team_usage"

/* The columns of a list. */
enum
{
	LIST_ID, LIST_USER, LIST_AMOUNT, LIST_TYPE, LIST_REFERENCE_TYPE, LIST_REFERENCE, LIST_METADATA, LIST_CREATED_AT, LIST_TOTAL,
	LIST_COLUMNS
};

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
	int64		max_rows;		/* that the page may still have */
	int64		skip_rows;		/* before them */
	int64		others;			/* of the user's own: those that are not wanted, -1 for not counted yet */
	int64		total;			/* on all pages */
	ResultRow	row;
} SdkPage;

#define ENTRY_COLUMNS \
	"id, amount, type, operation_type, reference, metadata, created_at, model, idempotency_key, allowance_consumed," \
	" balance_after, expires_at"

/* Where a row has them, and the team whose entry it is, NULL for the user's own. */
enum
{
	ENTRY_ID, ENTRY_AMOUNT, ENTRY_TYPE, ENTRY_OPERATION_TYPE, ENTRY_REFERENCE, ENTRY_METADATA, ENTRY_CREATED_AT, ENTRY_MODEL,
	ENTRY_KEY, ENTRY_ALLOWANCE, ENTRY_BALANCE_AFTER, ENTRY_EXPIRES_AT, ENTRY_TEAM
};

#define OWN_ENTRIES	" FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND seq <= $3"

/* These walk the ledger backwards. A LIMIT, or an order by what is not selected, would make all columns ready once more. */
static KeptQuery own_query = {
	.sql = "SELECT " ENTRY_COLUMNS ", NULL::uuid, seq" OWN_ENTRIES " ORDER BY seq DESC",
	.types = {UUIDOID, INT8OID, INT8OID}
};

/* Most entries are usage. */
static KeptQuery own_typed_query = {
	.sql = "SELECT " ENTRY_COLUMNS ", NULL::uuid, seq" OWN_ENTRIES " AND type = ANY ($4) ORDER BY seq DESC",
	.types = {UUIDOID, INT8OID, INT8OID, TEXTARRAYOID}
};

/* Few entries are not usage: a branch for each type reads their index no further than the page needs. */
static KeptQuery own_rare_query = {
	.sql = "SELECT l.* FROM (SELECT DISTINCT t.type FROM unnest($6) AS t(type)) w, LATERAL (SELECT " ENTRY_COLUMNS
	", NULL::uuid AS team, seq" OWN_ENTRIES " AND type = w.type AND type <> 'usage' ORDER BY seq DESC LIMIT $4 + $5) l"
	" ORDER BY l.seq DESC LIMIT $4 OFFSET $5",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID}
};

#define RARE_COUNT	"SELECT count(*)" OWN_ENTRIES " AND type <> 'usage' AND (type = ANY ($4)) = $5"
#define RARE_TYPES	{UUIDOID, INT8OID, INT8OID, TEXTARRAYOID, BOOLOID}

/* By whether there are FEW_ENTRIES at most. */
static KeptQuery rare_count_queries[] = {
	{.sql = RARE_COUNT, .types = RARE_TYPES},
	{.sql = RARE_COUNT, .types = RARE_TYPES, .few = true}
};

#define FEW_ENTRIES	1000

#define OF_TEAMS " FROM ducto.ledger WHERE actor = $1 AND type = 'usage'"

static KeptQuery user_query = {
	.sql = "SELECT kind, last_seq, EXISTS (SELECT" OF_TEAMS ") FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

enum
{
	USER_KIND = 1, USER_LAST_SEQ, USER_IN_TEAMS
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

/* Texts by their names, in the order of jsonb: shorter names first. */
typedef struct Known
{
	int			n;
	JsonbPair	pairs[8];
} Known;

/*
 * Let a value be a text.
 */
static void
value_text(JsonbValue *value, const char *text)
{
	value->type = jbvString;
	value->val.string.val = (char *) text;
	value->val.string.len = (int) strlen(text);
}

/*
 * Add a text, unless it is NULL.
 */
static void
known_add(Known *known, const char *key, const char *text)
{
	JsonbPair  *pair = &known->pairs[known->n];

	if (text == NULL)
		return;
	value_text(&pair->key, key);
	value_text(&pair->value, text);
	known->n++;
}

/*
 * Return the text of a column of an entry, NULL for NULL.
 */
static const char *
entry_text(TupleTableSlot *slot, int column)
{
	return slot->tts_isnull[column] ? NULL : TextDatumGetCString(slot->tts_values[column]);
}

/*
 * Find what the ledger knows of an entry, a row of ENTRY_COLUMNS, beside its
 * metadata.
 */
static void
entry_known(TupleTableSlot *slot, EntryType type, Known *known)
{
	const Datum *values = slot->tts_values;
	const bool *nulls = slot->tts_isnull;

	known->n = 0;
	known_add(known, "model", entry_text(slot, ENTRY_MODEL));
	known_add(known, "reason", type == TYPE_EXPIRY ? "credit_expired" : NULL);
	known_add(known, "team_id", nulls[ENTRY_TEAM] ? NULL : uuid_to_cstring(DatumGetUUIDP(values[ENTRY_TEAM])));
	known_add(known, "expires_at", nulls[ENTRY_EXPIRES_AT] ? NULL : time_text(DatumGetTimestampTz(values[ENTRY_EXPIRES_AT])));
	known_add(known, "ledger_type", is_unknown(type) && type != TYPE_EXPIRY ? entry_types[type] : NULL);
	known_add(known, "balance_after", figure_text(values[ENTRY_BALANCE_AFTER]));
	known_add(known, "idempotency_key", entry_text(slot, ENTRY_KEY));
	known_add(known, "allowance_consumed", type == TYPE_USAGE || type == TYPE_REFUND ? figure_text(values[ENTRY_ALLOWANCE]) : NULL);
}

/*
 * Compare keys as jsonb does.
 */
static int
key_compare(const JsonbValue *a, const JsonbValue *b)
{
	int			length = a->val.string.len;

	return length != b->val.string.len ? length - b->val.string.len : memcmp(a->val.string.val, b->val.string.val, length);
}

/*
 * Open a value that is an object or an array, as is needed to put it into
 * another one.
 */
static void
value_open(JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	part;
	JsonOut		out = {0};

	if (value->type != jbvBinary)
		return;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &part, false)) != WJB_DONE)
		jsonout_push(&out, token, token < WJB_BEGIN_ARRAY ? &part : NULL);
	*value = *out.result;
}

/*
 * Make the metadata of an entry: the caller's, and what is known, which stands
 * for the caller's of the same key. Both are in the order of jsonb, and so is what
 * is made of them: to let jsonb sort it takes longer than all else.
 */
static Datum
entry_metadata(Jsonb *metadata, const Known *known)
{
	JsonbIterator *it = JsonbIteratorInit(&metadata->root);
	JsonbValue	object = {.type = jbvObject};
	JsonbPair  *pairs = palloc(sizeof(JsonbPair) * (JB_ROOT_COUNT(metadata) + known->n));
	JsonbPair	given = {0};
	int			n = 0;
	int			i = 0;

	(void) JsonbIteratorNext(&it, &given.key, false);
	while (JsonbIteratorNext(&it, &given.key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &given.value, true);
		while (i < known->n && key_compare(&known->pairs[i].key, &given.key) < 0)
			pairs[n++] = known->pairs[i++];
		if (i < known->n && key_compare(&known->pairs[i].key, &given.key) == 0)
			continue;
		value_open(&given.value);
		pairs[n++] = given;
	}
	while (i < known->n)
		pairs[n++] = known->pairs[i++];
	object.val.object.nPairs = n;
	object.val.object.pairs = pairs;
	return JsonbPGetDatum(JsonbValueToJsonb(&object));
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
 * Put an entry, a row of ENTRY_COLUMNS and the team, into the list, unless it is
 * before the page. False: the page is full.
 */
static bool
list_entry(TupleTableSlot *slot, void *state)
{
	SdkPage    *page = state;
	Datum		values[LIST_COLUMNS];
	bool		nulls[LIST_COLUMNS] = {false};
	Jsonb	   *metadata;
	EntryType	type;
	Known		known;
	char	   *reference_type;

	if (page->skip_rows > 0)
	{
		page->skip_rows--;
		return true;
	}
	slot_getallattrs(slot);
	type = (EntryType) word_find(entry_types, TextDatumGetCString(slot->tts_values[ENTRY_TYPE]));
	metadata = DatumGetJsonbP(slot->tts_values[ENTRY_METADATA]);
	reference_type = sdk_member(metadata, "reference_type");
	values[LIST_ID] = slot->tts_values[ENTRY_ID];
	values[LIST_USER] = UUIDPGetDatum(page->user);
	values[LIST_AMOUNT] = slot->tts_values[ENTRY_AMOUNT];
	values[LIST_TYPE] = slot->tts_values[ENTRY_TYPE];
	if (!slot->tts_isnull[ENTRY_TEAM])
		values[LIST_TYPE] = CStringGetTextDatum(TYPE_TEAM_USAGE);
	else if (is_unknown(type))
		values[LIST_TYPE] = CStringGetTextDatum(entry_types[TYPE_ADJUSTMENT]);
	if (reference_type == NULL && !slot->tts_isnull[ENTRY_OPERATION_TYPE])
		values[LIST_REFERENCE_TYPE] = slot->tts_values[ENTRY_OPERATION_TYPE];
	else
		row_put_text(&values[LIST_REFERENCE_TYPE], &nulls[LIST_REFERENCE_TYPE], reference_type);
	values[LIST_REFERENCE] = slot->tts_values[ENTRY_REFERENCE];
	if (slot->tts_isnull[ENTRY_REFERENCE])
		nulls[LIST_REFERENCE] = !sdk_uuid(sdk_member(metadata, "reference_id"), &values[LIST_REFERENCE]);
	entry_known(slot, type, &known);
	values[LIST_METADATA] = entry_metadata(metadata, &known);
	values[LIST_CREATED_AT] = slot->tts_values[ENTRY_CREATED_AT];
	values[LIST_TOTAL] = Int64GetDatum(page->total);
	tuplestore_putvalues(page->row.store, page->row.desc, values, nulls);
	return --page->max_rows > 0;
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
	query_read(&rare_count_queries[page->high - page->low <= FEW_ENTRIES], &args);
	return row_int8(0, 1);
}

/*
 * Count the entries of a page's window that are not wanted. seq has no gaps, so
 * only what is not usage needs counting.
 */
static int64
count_others(const SdkPage *page)
{
	if (page->types == NULL)
		return 0;
	return page->usage ? count_rare(page, false) : page->high - page->low - count_rare(page, true);
}

/*
 * Count the entries of all pages.
 */
static int64
page_count(SdkPage *page)
{
	int64		n = 0;
	QueryArgs	args = {0};

	if (page->own && page->others < 0)
		page->others = count_others(page);
	if (page->own)
		n = page->high - page->low - page->others;
	if (!page->teams)
		return n;
	args_uuid(&args, page->user);
	args_time(&args, page->from);
	args_time(&args, page->to);
	query_read(&team_count_query, &args);
	return n + row_int8(0, 1);
}

/*
 * Narrow the entries of the user's own to a list's window, both ends included.
 */
static void
page_window(SdkPage *page)
{
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
	bool		alone = query_distributed(&user_query);
	bool		known;

	args_uuid(&args, page->user);
	known = query_read(alone ? &user_alone_query : &user_query, &args) > 0;
	if (known)
	{
		acc.team = row_word(0, USER_KIND, account_kinds) != 0;
		account_require_user(&acc);
		page->high = row_int8(0, USER_LAST_SEQ);
	}
	if (known && !alone)
		page->teams &= row_bool(0, USER_IN_TEAMS);
	else
		page->teams = page->teams && query_read(&member_query, &args) > 0;
}

/*
 * Let the user's own entries that a page may have begin and end where it does,
 * without walking there: seq has no gaps, and how many are not wanted is known.
 */
static void
page_narrow(SdkPage *page)
{
	if (page->types == NULL)
	{
		page->high -= Min(page->skip_rows, page->high - page->low);
		page->skip_rows = 0;
	}
	page->low = Max(page->low, page->high - page->skip_rows - page->max_rows - page->others);
}

/*
 * Read a page of the user's own entries, of which many are wanted.
 */
static void
page_read_own(SdkPage *page)
{
	QueryArgs	args = {0};

	page_narrow(page);
	args_own(&args, page);
	if (page->types != NULL)
		args_datum(&args, PointerGetDatum(page->types));
	(void) query_each(page->types != NULL ? &own_typed_query : &own_query, &args, true, list_entry, page);
}

/*
 * Read a page that few of the user's own entries are on, or those of teams.
 */
static void
page_read_mixed(SdkPage *page)
{
	QueryArgs	args = {0};

	if (!page->own)
		page->high = page->low;
	args_own(&args, page);
	args_int8(&args, page->max_rows);
	args_int8(&args, page->skip_rows);
	if (page->teams)
	{
		args_time(&args, page->from);
		args_time(&args, page->to);
	}
	if (page->types != NULL)
		args_datum(&args, PointerGetDatum(page->types));
	else
		args_null(&args);
	page->skip_rows = 0;
	(void) query_each(page->teams ? &merged_query : &own_rare_query, &args, true, list_entry, page);
}

/*
 * Answer with the entries of a user, of the types that are asked for, NULL for
 * all: the window is argument n and the next, the page the two after.
 */
static Datum
list(FunctionCallInfo fcinfo, ArrayType *types, int n)
{
	SdkPage		page = {.user = arg_uuid(fcinfo, 0, "p_user_id"), .own = true, .teams = true, .others = -1};

	page.from = PG_ARGISNULL(n) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(n);
	page.to = PG_ARGISNULL(n + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(n + 1);
	page.max_rows = PG_ARGISNULL(n + 2) ? DEFAULT_PAGE : Max(PG_GETARG_INT32(n + 2), 0);
	page.skip_rows = PG_ARGISNULL(n + 3) ? 0 : Max(PG_GETARG_INT32(n + 3), 0);
	result_set_begin(&page.row, fcinfo);
	query_begin();
	if (types != NULL)
		page_types(&page, types);
	page_begin(&page);
	page_window(&page);
	page.total = page_count(&page);
	if (page.max_rows > 0 && !page.teams && (page.types == NULL || page.usage))
		page_read_own(&page);
	else if (page.max_rows > 0 && (page.own || page.teams))
		page_read_mixed(&page);
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
