/*
 * figures.c
 *		What all accounts have: a list of them, and what expires when.
 */
#include "postgres.h"

#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/result.h"
#include "base/uuid.h"
#include "credit/read.h"

PG_FUNCTION_INFO_V1(ducto_list_accounts);
PG_FUNCTION_INFO_V1(ducto_expiring);

#define LISTED "SELECT a.id, a.kind, t.name, a.plan_id, a.lifetime_purchased, a.created_at, a.updated_at" \
	" FROM ducto.accounts a LEFT JOIN ducto.teams t ON t.id = a.id WHERE coalesce(a.kind = $1, true)"

enum
{
	LISTED_ID = 1, LISTED_KIND, LISTED_NAME, LISTED_PLAN_ID, LISTED_PURCHASED, LISTED_CREATED_AT, LISTED_UPDATED_AT
};

/* Accounts in the order of a column, then by id; those that come after one. */
#define LISTED_BY(column, after, direction) { \
	.sql = LISTED " AND ($3 IS NULL OR a." column " " after " (SELECT b." column " FROM ducto.accounts b WHERE b.id = $3)" \
	" OR a." column " = (SELECT b." column " FROM ducto.accounts b WHERE b.id = $3) AND a.id > $3)" \
	" ORDER BY a." column " " direction ", a.id LIMIT $2", \
	.types = {TEXTOID, INT4OID, UUIDOID}, .whole = true}

/* By id a page is read from the primary key. */
static KeptQuery by_id_query = {
	.sql = LISTED " AND a.id > coalesce($3, '00000000-0000-0000-0000-000000000000') ORDER BY a.id LIMIT $2",
	.types = {TEXTOID, INT4OID, UUIDOID}
};

static const char *const orders[] = {"id", "balance", "debt", "held", "created_at", "updated_at", NULL};

static KeptQuery ordered_queries[] = {
	LISTED_BY("balance", "<", "DESC"),
	LISTED_BY("balance", ">", "ASC"),
	LISTED_BY("held", "<", "DESC"),
	LISTED_BY("created_at", "<", "DESC"),
	LISTED_BY("updated_at", "<", "DESC")
};

static KeptQuery exists_query = {
	.sql = "SELECT FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

/* As the index grants_due has it. */
static KeptQuery expiring_query = {
	.sql = "SELECT (expires_at AT TIME ZONE 'UTC')::date, type, sum(remaining), count(*) FROM ducto.grants"
	" WHERE live AND expires_at AT TIME ZONE 'UTC' > $1 AT TIME ZONE 'UTC'"
	" AND expires_at AT TIME ZONE 'UTC' <= $2 AT TIME ZONE 'UTC' GROUP BY 1, 2 ORDER BY 1, type COLLATE \"C\"",
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* An account of a page. */
typedef struct ListedAccount
{
	pg_uuid_t	id;
	char	   *kind;
	char	   *name;			/* of a team; NULL for a user */
	char	   *plan_id;
	Datum		lifetime_purchased;
	TimestampTz created_at;
	TimestampTz updated_at;
} ListedAccount;

/*
 * Reject an account to begin after that is not there: it has no place in an
 * order but that of ids.
 */
static void
check_after(const pg_uuid_t *after, const KeptQuery *query)
{
	QueryArgs	args = {0};

	if (after == NULL || query == &by_id_query)
		return;
	args_uuid(&args, after);
	if (query_read(&exists_query, &args) == 0)
		arg_reject("after", uuid_to_cstring(after), "\"after\" must be the id of an account.");
}

/*
 * Read a page of accounts and return its length.
 */
static uint64
accounts_page(KeptQuery *query, const char *kind, int max_rows, const pg_uuid_t *after, ListedAccount **accounts)
{
	QueryArgs	args = {0};
	uint64		n;

	args_text(&args, kind);
	args_int4(&args, max_rows);
	args_uuid(&args, after);
	n = query_read(query, &args);
	*accounts = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ListedAccount) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		ListedAccount *account = *accounts + i;

		account->id = row_uuid(i, LISTED_ID);
		account->kind = row_text(i, LISTED_KIND);
		account->name = row_text(i, LISTED_NAME);
		account->plan_id = row_text(i, LISTED_PLAN_ID);
		account->lifetime_purchased = row_datum(i, LISTED_PURCHASED);
		account->created_at = row_time(i, LISTED_CREATED_AT);
		account->updated_at = row_time(i, LISTED_UPDATED_AT);
	}
	return n;
}

/*
 * Append an account to the result of ducto_list_accounts, in memory of its own.
 */
static void
account_put(const ListedAccount *listed, ResultRow *row)
{
	Account		acc;
	RollTotals	totals;

	query_begin();
	account_project(&listed->id, &acc, DT_NOEND, &totals);
	result_uuid(row, &listed->id);
	result_text(row, listed->kind);
	result_text(row, listed->name);
	result_text(row, listed->plan_id);
	result_money(row, acc.balance);
	result_money(row, acc.held);
	result_money(row, account_available(&acc));
	result_datum(row, listed->lifetime_purchased);
	result_time(row, listed->created_at);
	result_time(row, listed->updated_at);
	result_put(row);
	query_end();
}

/*
 * ducto_list_accounts returns accounts in an order, page by page. It takes no
 * lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_list_accounts(PG_FUNCTION_ARGS)
{
	static const char *const kinds[] = {NULL, "user", "team", NULL};
	const char *kind = kinds[arg_choice(fcinfo, 0, "kind", kinds)];
	int			order = arg_choice(fcinfo, 1, "order_by", orders);
	KeptQuery  *query = order == 0 ? &by_id_query : &ordered_queries[order - 1];
	int			max_rows = arg_int_between(fcinfo, 2, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE);
	pg_uuid_t  *after = arg_uuid_or_null(fcinfo, 3);
	ListedAccount *accounts;
	ResultRow	row;
	uint64		n;

	result_set_begin(&row, fcinfo);
	query_begin();
	check_after(after, query);
	n = accounts_page(query, kind, max_rows, after, &accounts);
	for (uint64 i = 0; i < n; i++)
		account_put(&accounts[i], &row);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_expiring returns what of the credit that can expire does so by when.
 * It takes no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_expiring(PG_FUNCTION_ARGS)
{
	TimestampTz until = arg_time(fcinfo, 0, "until");
	QueryArgs	args = {0};

	query_begin();
	args_time(&args, clock_now());
	args_time(&args, until);
	query_read_into(fcinfo, &expiring_query, &args);
	query_end();
	return (Datum) 0;
}
