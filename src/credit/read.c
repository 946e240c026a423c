/*
 * read.c
 *		Reading the ledger: pages of entries, balances of the past.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "credit/here.h"
#include "utils/array.h"

#include "account/ahead.h"
#include "account/claim.h"
#include "account/ledger.h"
#include "account/lines.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/result.h"
#include "base/uuid.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_list_transactions);
PG_FUNCTION_INFO_V1(ducto_list_usage_events);
PG_FUNCTION_INFO_V1(ducto_list_usage_lines);
PG_FUNCTION_INFO_V1(ducto_balance_at);

/* A page of an account's ledger: entries with low < seq <= high. */
typedef struct LedgerPage
{
	const pg_uuid_t *account;
	bool		team;			/* it is a team's pool */
	ArrayType  *types;			/* NULL for all */
	bool		usage;			/* types has usage */
	int64		low;
	int64		high;
	int64		max_rows;
	int64		skip_rows;
} LedgerPage;

#define PAGE_COLUMNS \
	"SELECT id, CASE WHEN $6 THEN actor ELSE account_id END, CASE WHEN $6 THEN account_id END," \
	" amount, type, operation_type, model, reference, balance_after," \
	" allowance_consumed, idempotency_key, metadata, created_at, $4::bigint FROM ducto.ledger" \
	" WHERE account_id = $1 AND seq > $2 AND seq <= $3"

static KeptQuery page_query = {
	.sql = PAGE_COLUMNS " ORDER BY seq DESC LIMIT $5",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID}
};

/* Most entries are usage, so this walks the ledger backwards. */
static KeptQuery typed_page_query = {
	.sql = PAGE_COLUMNS " AND type = ANY ($8) ORDER BY seq DESC LIMIT $5 OFFSET $7",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID, INT8OID, TEXTARRAYOID}
};

/* Few entries are not usage: a branch for each type reads their index no further than the page needs. */
static KeptQuery rare_page_query = {
	.sql = "SELECT l.id, CASE WHEN $6 THEN l.actor ELSE l.account_id END, CASE WHEN $6 THEN l.account_id END,"
	" l.amount, l.type, l.operation_type, l.model, l.reference, l.balance_after,"
	" l.allowance_consumed, l.idempotency_key, l.metadata, l.created_at, $4::bigint"
	" FROM (SELECT DISTINCT t.type FROM unnest($8) AS t(type)) w, LATERAL (SELECT * FROM ducto.ledger"
	"  WHERE account_id = $1 AND seq > $2 AND seq <= $3 AND type = w.type AND type <> 'usage'"
	"  ORDER BY seq DESC LIMIT $5 + $7) l ORDER BY l.seq DESC LIMIT $5 OFFSET $7",
	.types = {UUIDOID, INT8OID, INT8OID, INT8OID, INT8OID, BOOLOID, INT8OID, TEXTARRAYOID}
};

/* How many entries are not usage, of some types or of all but some. */
static KeptQuery rare_count_query = {
	.sql = "SELECT count(*) FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND seq <= $3"
	" AND type <> 'usage' AND (type = ANY ($4)) = $5",
	.types = {UUIDOID, INT8OID, INT8OID, TEXTARRAYOID, BOOLOID}
};

static KeptQuery entry_seq_query = {
	.sql = "SELECT seq FROM ducto.ledger WHERE id = $1 AND account_id = $2",
	.types = {UUIDOID, UUIDOID}
};

/* On a cluster that is asked of all nodes. */
static KeptQuery spent_in_teams_query = {
	.sql = "SELECT FROM ducto.ledger WHERE actor = $1 AND type = 'usage' LIMIT 1",
	.types = {UUIDOID}
};

#define USAGE_COLUMNS \
	"amount, type, operation_type, model, reference, balance_after, allowance_consumed, idempotency_key, metadata, created_at"

/* Each branch reads no more of its index than the page needs; $8 is the number of personal ones. */
static KeptQuery usage_query = {
	.sql = "SELECT id, user_id, team_id, " USAGE_COLUMNS ","
	" $8 + (SELECT count(*) FROM ducto.ledger WHERE actor = $1 AND type = 'usage' AND created_at >= $4 AND created_at <= $5)"
	" FROM ((SELECT id, account_id AS user_id, NULL::uuid AS team_id, " USAGE_COLUMNS " FROM ducto.ledger"
	"  WHERE account_id = $1 AND seq > $2 AND seq <= $3 AND type = 'usage' AND actor IS NULL"
	"  ORDER BY seq DESC LIMIT $6 + $7)"
	" UNION ALL (SELECT id, actor, account_id, " USAGE_COLUMNS " FROM ducto.ledger"
	"  WHERE actor = $1 AND type = 'usage' AND created_at >= $4 AND created_at <= $5"
	"  ORDER BY created_at DESC, id DESC LIMIT $6 + $7)) u"
	" ORDER BY created_at DESC, id DESC LIMIT $6 OFFSET $7",
	.types = {UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID}
};

/* Entries of a page that have lines, the newest first. */
static KeptQuery lines_entries_query = {
	.sql = "SELECT id, seq, CASE WHEN $4 THEN actor ELSE account_id END, CASE WHEN $4 THEN account_id END, operation_type, created_at"
	" FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND seq <= $3 AND models IS NOT NULL ORDER BY seq DESC",
	.types = {UUIDOID, INT8OID, INT8OID, BOOLOID}
};

/* Where a row has which entry it is. */
enum
{
	ENTRY_ID, ENTRY_SEQ
};

/* By the ranges of blocks that have the entry; the account, which an index begins with, would lead to all its lines. */
static KeptQuery lines_query = {
	.sql = "SELECT line, key, model, amount, usage, metadata FROM ducto.usage_lines"
	" WHERE entry = $1 AND line < $2 ORDER BY line DESC LIMIT $3",
	.types = {UUIDOID, INT4OID, INT8OID},
	.block_range = true
};

/* The columns of ducto_usage_line. */
enum
{
	LINE_ENTRY, LINE_NUMBER, LINE_KEY, LINE_USER, LINE_TEAM, LINE_OPERATION, LINE_MODEL, LINE_AMOUNT, LINE_USAGE, LINE_METADATA,
	LINE_CREATED_AT, LINE_COLUMNS
};

/* A page of lines, and the entry whose lines are read. */
typedef struct LinePage
{
	ResultRow	row;
	int64		left;			/* rows that it may still have */
	int64		before_seq;		/* where it begins in the middle of an entry, */
	int			before_line;	/* before that line; 0 for the last entry */
} LinePage;

/*
 * Check that every element of a list of types is one, and tell whether usage
 * is among them.
 */
static bool
CheckTypes(ArrayType *types)
{
	bool		usage = false;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(types, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *word = nulls[i] ? NULL : TextDatumGetCString(elements[i]);
		int			type = word != NULL ? word_find(entry_types, word) : -1;

		if (type < 0)
			arg_reject("types", word == NULL ? "null" : psprintf("\"%s\"", word),
					   "\"types\" must be purchase, subscription, signup_bonus, adjustment, promo, usage, refund, reversal, "
					   "transfer_out, transfer_in or expiry.");
		usage |= type == TYPE_USAGE;
	}
	return usage;
}

/*
 * Narrow a page to a window of time, both ends included; argument n is its
 * start, n + 1 its end.
 */
static void
page_window(FunctionCallInfo fcinfo, int n, LedgerPage *page)
{
	TimestampTz from = PG_ARGISNULL(n) ? DT_NOBEGIN : arg_time(fcinfo, n, "from_time");
	TimestampTz to = PG_ARGISNULL(n + 1) ? DT_NOEND : arg_time(fcinfo, n + 1, "to_time");

	if (from > to)
		arg_reject("from_time", timestamptz_to_str(from), "\"from_time\" must not be after \"to_time\".");
	if (!PG_ARGISNULL(n))
		page->low = ledger_seq_before(page->account, page->high, from, false, false, true);
	if (!PG_ARGISNULL(n + 1))
		page->high = ledger_seq_before(page->account, page->high, to, true, false, true);
}

/*
 * Count the entries of a window that are not usage, of given types or of all
 * others.
 */
static int64
count_rare(const LedgerPage *page, ArrayType *types, bool among)
{
	QueryArgs	args = {0};

	args_uuid(&args, page->account);
	args_int8(&args, page->low);
	args_int8(&args, page->high);
	args_datum(&args, PointerGetDatum(types));
	args_bool(&args, among);
	query_read(&rare_count_query, &args);
	return row_int8(0, 1);
}

/*
 * Count the entries of a page's window. seq has no gaps, so only what is not
 * usage needs counting.
 */
static int64
page_count(const LedgerPage *page)
{
	int64		all = Max(page->high - page->low, 0);

	if (page->types == NULL)
		return all;
	return page->usage ? all - count_rare(page, page->types, false) : count_rare(page, page->types, true);
}

/*
 * Let a page end before an entry of the account.
 */
static void
page_before(LedgerPage *page, const pg_uuid_t *before)
{
	QueryArgs	args = {0};

	args_uuid(&args, before);
	args_uuid(&args, page->account);
	if (query_read(&entry_seq_query, &args) == 0)
		arg_reject("before", uuid_to_cstring(before),
				   "\"before\" must be the id of a transaction of this account.");
	page->high = Min(page->high, row_int8(0, 1) - 1);
}

/*
 * Make a page, of what is before an entry unless that is NULL, the result of a
 * function.
 */
static void
page_result(FunctionCallInfo fcinfo, LedgerPage *page, const pg_uuid_t *before)
{
	int64		total = page_count(page);
	QueryArgs	args = {0};

	if (before != NULL)
		page_before(page, before);
	if (page->types == NULL)
		page->high -= Min(page->skip_rows, page->high);
	args_uuid(&args, page->account);
	args_int8(&args, page->low);
	args_int8(&args, page->high);
	args_int8(&args, total);
	args_int8(&args, page->max_rows);
	args_bool(&args, page->team);
	if (page->types != NULL)
	{
		args_int8(&args, page->skip_rows);
		args_datum(&args, PointerGetDatum(page->types));
	}
	query_read_into(fcinfo, page->types == NULL ? &page_query :
					page->usage ? &typed_page_query : &rare_page_query, &args);
}

/*
 * Start a page with the whole ledger of an account.
 */
static void
page_begin(LedgerPage *page, const Account *acc, ArrayType *types)
{
	memset(page, 0, sizeof(LedgerPage));
	page->account = &acc->id;
	page->types = types;
	page->usage = types != NULL && CheckTypes(types);
	page->team = acc->team;
	page->high = acc->last_seq;
}

/*
 * transactions_read answers with the entries of an account that come before
 * one, or with the newest for NULL.
 */
Datum
transactions_read(FunctionCallInfo fcinfo, const pg_uuid_t *account, int max_rows, const pg_uuid_t *before)
{
	Account		acc;
	LedgerPage	page;

	query_begin();
	account_load(account, &acc, ACCOUNT_READ);
	page_begin(&page, &acc, NULL);
	page.max_rows = max_rows;
	page_result(fcinfo, &page, before);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_list_transactions returns the ledger of an account, newest first. It
 * takes no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_list_transactions(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *account = arg_uuid(fcinfo, 0, "user_id");
	ArrayType  *types = PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
	int			max_rows = arg_int_between(fcinfo, 4, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE);
	int			skip_rows = arg_int_between(fcinfo, 5, "skip_rows", 0, PG_INT32_MAX, 0);
	Account		acc;
	LedgerPage	page;
	Datum		result;

	if (call_reads(fcinfo, account, ducto_list_transactions, &result))
		PG_RETURN_DATUM(result);
	query_begin();
	account_load(account, &acc, ACCOUNT_READ);
	page_begin(&page, &acc, types);
	page_window(fcinfo, 2, &page);
	page.max_rows = max_rows;
	page.skip_rows = skip_rows;
	page_result(fcinfo, &page, arg_uuid_or_null(fcinfo, 6));
	query_end();
	return (Datum) 0;
}

/*
 * Tell whether a user has only spent credits of its own. On a cluster that is
 * not worth a statement.
 */
static bool
spends_alone(const pg_uuid_t *user)
{
	QueryArgs	args = {0};

	args_uuid(&args, user);
	return !query_distributed(&spent_in_teams_query) && query_read(&spent_in_teams_query, &args) == 0;
}

/*
 * Make a page of what a user has used, of its own and in teams, the result of a
 * function; argument n is the start of the window, n + 1 its end.
 */
static void
usage_result(FunctionCallInfo fcinfo, int n, const LedgerPage *page)
{
	QueryArgs	args = {0};

	args_uuid(&args, page->account);
	args_int8(&args, page->low);
	args_int8(&args, page->high);
	args_time(&args, PG_ARGISNULL(n) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(n));
	args_time(&args, PG_ARGISNULL(n + 1) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(n + 1));
	args_int8(&args, page->max_rows);
	args_int8(&args, page->skip_rows);
	args_int8(&args, page_count(page));
	query_read_into(fcinfo, &usage_query, &args);
}

/*
 * ducto_list_usage_events returns the usage entries of a user, personal and in
 * teams, newest first. It takes no lock. Arguments and errors: see its
 * COMMENT.
 */
Datum
ducto_list_usage_events(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	int			max_rows = arg_int_between(fcinfo, 3, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE);
	int			skip_rows = arg_int_between(fcinfo, 4, "skip_rows", 0, PG_INT32_MAX, 0);
	Datum		usage = CStringGetTextDatum(entry_types[TYPE_USAGE]);
	Account		acc;
	LedgerPage	page;

	query_begin();
	account_read_user(user, &acc);
	page_begin(&page, &acc, construct_array(&usage, 1, TEXTOID, -1, false, TYPALIGN_INT));
	page_window(fcinfo, 1, &page);
	page.max_rows = max_rows;
	page.skip_rows = skip_rows;
	if (spends_alone(user))
		page_result(fcinfo, &page, NULL);
	else
		usage_result(fcinfo, 1, &page);
	query_end();
	return (Datum) 0;
}

/*
 * Put a line into a page.
 */
static bool
line_receive(TupleTableSlot *slot, void *state)
{
	static const int places[] = {LINE_NUMBER, LINE_KEY, LINE_MODEL, LINE_AMOUNT, LINE_USAGE, LINE_METADATA};
	LinePage   *page = state;

	slot_getallattrs(slot);
	for (int i = 0; i < lengthof(places); i++)
	{
		page->row.columns.values[places[i]] = slot->tts_values[i];
		page->row.columns.nulls[places[i]] = slot->tts_isnull[i];
	}
	if (page->row.columns.nulls[LINE_METADATA])
	{
		page->row.columns.values[LINE_METADATA] = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
		page->row.columns.nulls[LINE_METADATA] = false;
	}
	page->row.columns.n = LINE_COLUMNS;
	result_put(&page->row);
	page->left--;
	return true;
}

/*
 * Put the lines of an entry into a page, until it is full.
 */
static bool
lines_receive(TupleTableSlot *slot, void *state)
{
	static const int places[] = {LINE_ENTRY, -1, LINE_USER, LINE_TEAM, LINE_OPERATION, LINE_CREATED_AT};
	LinePage   *page = state;
	QueryArgs	args = {0};

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	for (int i = 0; i < lengthof(places); i++)
		if (places[i] >= 0)
		{
			page->row.columns.values[places[i]] = slot->tts_values[i];
			page->row.columns.nulls[places[i]] = slot->tts_isnull[i];
		}
	query_begin();
	args_datum(&args, slot->tts_values[ENTRY_ID]);
	args_int4(&args, page->before_line > 0 && DatumGetInt64(slot->tts_values[ENTRY_SEQ]) == page->before_seq ?
			  page->before_line : PG_INT32_MAX);
	args_int8(&args, page->left);
	query_each(&lines_query, &args, true, line_receive, page);
	query_end();
	return page->left > 0;
}

/*
 * Return the seq of an entry of an account.
 */
static int64
entry_seq(const pg_uuid_t *account, const pg_uuid_t *entry)
{
	QueryArgs	args = {0};

	args_uuid(&args, entry);
	args_uuid(&args, account);
	if (query_read(&entry_seq_query, &args) == 0)
		row_missing("ledger");
	return row_int8(0, 1);
}

/*
 * Let a page of lines begin before the one of an account that has a key.
 */
static void
lines_before(const pg_uuid_t *account, const char *before, LedgerPage *entries, LinePage *page)
{
	pg_uuid_t	entry;

	if (!line_find(account, before, &entry, &page->before_line))
		arg_reject("before", psprintf("\"%s\"", before), "\"before\" must be the key of a line of this account.");
	page->before_seq = entry_seq(account, &entry);
	entries->high = Min(entries->high, page->before_seq);
}

/*
 * Find the account that a user's transaction is in: the user's, or that of a
 * team whose credits the user spent. False: there is no such transaction.
 */
static bool
transaction_account(const pg_uuid_t *user, const pg_uuid_t *transaction, pg_uuid_t *account)
{
	LedgerEntry entry;

	if (!ledger_find_id(transaction, NULL, &entry))
		return false;
	*account = entry.account_id;
	return memcmp(account, user, UUID_LEN) == 0 ||
		(entry.actor != NULL && memcmp(entry.actor, user, UUID_LEN) == 0);
}

/*
 * Make a page of lines, of one entry or of all of an account.
 */
static void
lines_page(FunctionCallInfo fcinfo, const pg_uuid_t *account, const pg_uuid_t *transaction, const char *before, LinePage *page)
{
	Account		acc;
	LedgerPage	entries;
	QueryArgs	args = {0};

	account_load(account, &acc, ACCOUNT_READ);
	page_begin(&entries, &acc, NULL);
	page_window(fcinfo, 2, &entries);
	if (before != NULL)
		lines_before(account, before, &entries, page);
	if (transaction != NULL)
	{
		int64		seq = entry_seq(account, transaction);

		entries.low = Max(entries.low, seq - 1);
		entries.high = Min(entries.high, seq);
	}
	args_uuid(&args, account);
	args_int8(&args, entries.low);
	args_int8(&args, entries.high);
	args_bool(&args, acc.team);
	query_each(&lines_entries_query, &args, true, lines_receive, page);
}

/*
 * ducto_list_usage_lines returns the lines of an account, newest first. It
 * takes no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_list_usage_lines(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	pg_uuid_t  *transaction = arg_uuid_or_null(fcinfo, 1);
	char	   *before = arg_text(fcinfo, 5, "before");
	pg_uuid_t	account;
	LinePage	page = {.left = arg_int_between(fcinfo, 4, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE)};
	Datum		result;

	if (transaction == NULL && call_reads(fcinfo, user, ducto_list_usage_lines, &result))
		PG_RETURN_DATUM(result);
	result_set_begin(&page.row, fcinfo);
	query_begin();
	if (transaction == NULL)
		lines_page(fcinfo, user, NULL, before, &page);
	else if (transaction_account(user, transaction, &account))
		lines_page(fcinfo, &account, transaction, before, &page);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_balance_at returns what an account's balance was at a time. It takes
 * no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_balance_at(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	TimestampTz at = arg_time(fcinfo, 1, "at");
	TimestampTz now = clock_now();
	MemoryContext caller = CurrentMemoryContext;
	Account		acc;
	RollTotals	totals;
	Money		balance;
	Datum		result;

	if (call_reads(fcinfo, user, ducto_balance_at, &result))
		PG_RETURN_DATUM(result);
	if (at > now)
		arg_reject("at", timestamptz_to_str(at), "\"at\" must not lie in the future.");
	query_begin();
	account_project(user, &acc, at, &totals);
	balance = acc.balance;
	if (acc.exists && at < acc.updated_at)
	{
		int64		seq = ledger_seq_at(&acc, at);

		if (!ledger_ends_ahead(&acc, seq, now))
			balance = ledger_balance_at_seq(user, seq);
	}
	MemoryContextSwitchTo(caller);
	result = money_to_datum(balance);
	query_end();
	PG_RETURN_DATUM(result);
}
