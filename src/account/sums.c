/*
 * sums.c
 *		What entries of the ledger sum to: refunds, reversals, and what cycles
 *		gave. Exact under the account's lock.
 */
#include "postgres.h"

#include "account/ledger.h"
#include "base/query.h"

/* Few entries of an account are not usage. */
static KeptQuery ledger_cycle_query = {
	.sql = "SELECT FROM ducto.ledger WHERE account_id = $1 AND type <> 'usage' AND cycle_end = $2 AND metadata ->> 'plan_id' = $3"
	" LIMIT 1",
	.types = {UUIDOID, TIMESTAMPTZOID, TEXTOID}
};

static KeptQuery ledger_running_query = {
	.sql = "SELECT coalesce(sum(amount), 0.0000) FROM ducto.ledger WHERE account_id = $1 AND type <> 'usage' AND cycle_end > $2",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery ledger_refunded_query = {
	.sql = "SELECT coalesce(sum(amount), 0), coalesce(-sum(allowance_consumed), 0), coalesce(max(amount), 0)"
	" FROM ducto.ledger WHERE account_id = $1 AND reference = $2 AND type = 'refund'",
	.types = {UUIDOID, UUIDOID}
};

enum
{
	REFUNDED_CREDITS = 1, REFUNDED_ALLOWANCE, REFUNDED_LARGEST
};

static KeptQuery ledger_reversed_query = {
	.sql = "SELECT coalesce(-sum(amount), 0) FROM ducto.ledger WHERE account_id = $1 AND reference = $2 AND type = 'reversal'",
	.types = {UUIDOID, UUIDOID}
};

/*
 * ledger_refunded sums what a locked account was refunded of an entry, and
 * how much of its allowance came back, and tells the largest refund of credits.
 */
void
ledger_refunded(const pg_uuid_t *account, const pg_uuid_t *reference, Money *credits, Money *allowance, Money *largest)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, reference);
	query_run(&ledger_refunded_query, &args, SPI_OK_SELECT);
	*credits = row_money(0, REFUNDED_CREDITS);
	*allowance = row_money(0, REFUNDED_ALLOWANCE);
	*largest = row_money(0, REFUNDED_LARGEST);
}

/*
 * ledger_reversed sums what a locked account was taken back of an entry.
 */
Money
ledger_reversed(const pg_uuid_t *account, const pg_uuid_t *reference)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, reference);
	query_run(&ledger_reversed_query, &args, SPI_OK_SELECT);
	return row_money(0, 1);
}

/*
 * ledger_cycle_given tells whether the cycle of a plan that ends at a time has
 * given an account anything.
 */
bool
ledger_cycle_given(const pg_uuid_t *account, TimestampTz cycle_end, const char *plan_id, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, cycle_end);
	args_text(&args, plan_id);
	return (read_only ? query_read(&ledger_cycle_query, &args) : query_run(&ledger_cycle_query, &args, SPI_OK_SELECT)) > 0;
}

/*
 * ledger_running_gifts sums what cycles that are not over gave a locked account.
 */
Money
ledger_running_gifts(const pg_uuid_t *account, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, now);
	query_run(&ledger_running_query, &args, SPI_OK_SELECT);
	return row_money(0, 1);
}
