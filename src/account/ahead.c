/*
 * ahead.c
 *		Accounts whose ledger is ahead of the clock, because that was set back.
 *
 *		The clock alone decides. An entry's effective_at is the clock at which it
 *		was booked, but created_at never goes back in seq: it stays at that of
 *		the last entry, accounts.ahead_until, until the clock has passed it. From
 *		accounts.ahead_from, to which the clock was set back, until then,
 *		effective_at is no longer in the order of seq.
 *
 *		A window counts what was spent while the clock was in it. When the clock
 *		goes back into a window, or comes to one that it has been in, its
 *		counters are made anew from the ledger: nothing that was spent is
 *		forgotten, and nothing counts twice.
 */
#include "postgres.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/funds.h"
#include "account/ledger.h"
#include "account/member.h"
#include "base/period.h"
#include "base/query.h"

/* Exact under the account's lock, as the next. */
static KeptQuery last_time_query = {
	.sql = "SELECT created_at FROM ducto.ledger WHERE account_id = $1 AND seq = $2",
	.types = {UUIDOID, INT8OID}
};

/* What the allowance paid, where no refund has given any of it back: that counts when it was paid. */
static KeptQuery allowance_paid_query = {
	.sql = "SELECT coalesce(sum(allowance_consumed) FILTER (WHERE effective_at >= $3 AND effective_at < $4), 0.0000),"
	" coalesce(bool_or(type = 'refund'), false)"
	" FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND allowance_consumed <> 0",
	.types = {UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery allowance_query = {
	.sql = "SELECT coalesce(sum(l.allowance_consumed), 0.0000) FROM ducto.ledger l"
	" LEFT JOIN ducto.ledger d ON l.type = 'refund' AND d.id = l.reference AND d.account_id = $1"
	" WHERE l.account_id = $1 AND l.seq > $2 AND l.allowance_consumed <> 0"
	" AND coalesce(d.effective_at, l.effective_at) >= $3 AND coalesce(d.effective_at, l.effective_at) < $4",
	.types = {UUIDOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The last entry that counted at a time, among those whose times are in no order. */
static KeptQuery seq_at_query = {
	.sql = "SELECT seq FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND seq <= $3 AND effective_at <= $4"
	" ORDER BY seq DESC LIMIT 1",
	.types = {UUIDOID, INT8OID, INT8OID, TIMESTAMPTZOID}
};

/*
 * Execute a query.
 */
static uint64
ahead_query(KeptQuery *query, QueryArgs *args, bool read_only)
{
	return read_only ? query_read(query, args) : query_run(query, args, SPI_OK_SELECT);
}

/*
 * Return when the last entry of an account was created, -infinity for none.
 */
static TimestampTz
last_time(const Account *acc, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, acc->last_seq);
	return ahead_query(&last_time_query, &args, read_only) > 0 ? row_time(0, 1) : DT_NOBEGIN;
}

/*
 * Return which quarter of an hour a time is in. Windows begin with one, in
 * every time zone, but for those of some caps.
 */
static int64
quarter(TimestampTz at)
{
	return at / (15 * USECS_PER_MINUTE);
}

/*
 * account_enter_cycle makes a cycle the one that an account is in. What of its
 * allowance is used is what the ledger says.
 */
void
account_enter_cycle(Account *acc, const Period *cycle, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, ledger_seq_near(&acc->id, acc->last_seq, cycle->start, read_only));
	args_time(&args, cycle->start);
	args_time(&args, cycle->end);
	ahead_query(&allowance_paid_query, &args, read_only);
	if (row_bool(0, 2))
		ahead_query(&allowance_query, &args, read_only);
	acc->allowance_used = row_spend(0, 1);
	acc->cycle = *cycle;
	if (acc->plan_id != NULL)
		acc->next_boundary = Min(acc->next_boundary, cycle->end);
}

/*
 * Make the allowance's window that of the clock. Later ones of an account with
 * a plan come as it is rolled forward.
 */
static void
allowance_make(Account *acc, bool read_only)
{
	Period		cycle = account_cycle(acc, acc->now);

	if (TIMESTAMP_IS_NOBEGIN(acc->cycle.end) || cycle.start == acc->cycle.start)
		return;
	if (acc->now < acc->cycle.start || acc->plan_id == NULL)
		account_enter_cycle(acc, &cycle, read_only);
}

/*
 * account_set_back deals with a clock that is before the account's last
 * operation, or with an account that is ahead of it since. It finds whether
 * windows have to be made anew.
 */
void
account_set_back(Account *acc, bool read_only)
{
	if (acc->updated_at > acc->now)
	{
		TimestampTz last = last_time(acc, read_only);

		if (last > acc->now)
		{
			acc->ahead_from = Min(acc->ahead_from, acc->now);
			acc->ahead_until = Max(acc->ahead_until, last);
		}
		acc->updated_at = acc->now;
		acc->windows_moved = true;
	}
	else
		acc->windows_moved = acc->now >= acc->ahead_until || acc->caps > 0 || quarter(acc->updated_at) != quarter(acc->now);
	if (acc->windows_moved)
		allowance_make(acc, read_only);
}

/*
 * windows_make makes the windows of a locked account anew, as far as they are
 * not those of the clock; the account's row has them already.
 */
void
windows_make(Account *acc)
{
	if (acc->team)
		members_make(acc);
	if (acc->caps > 0)
		caps_make(acc);
	acc->windows_moved = false;
}

/*
 * windows_before returns the last seq of which no entry counts in the windows
 * of the clock: created_at is never before effective_at.
 */
int64
windows_before(const Account *acc, bool read_only)
{
	return ledger_seq_before(&acc->id, acc->last_seq, period_start(period_month(acc->now)), false, false, read_only);
}

/*
 * args_moved appends whether windows of an account may have to be made anew, and
 * the last seq of which no entry counts in them.
 */
void
args_moved(QueryArgs *args, const Account *acc, bool read_only)
{
	args_bool(args, acc->windows_moved);
	args_int8(args, acc->windows_moved ? windows_before(acc, read_only) : 0);
}

/*
 * ledger_seq_at returns the last seq of an account that took effect at a time
 * or before it, 0 for none, in the snapshot of the calling statement.
 */
int64
ledger_seq_at(const Account *acc, TimestampTz at)
{
	QueryArgs	args = {0};
	int64		low;

	if (at < acc->ahead_from || at >= acc->ahead_until)
		return ledger_seq_before(&acc->id, acc->last_seq, at, true, true, true);
	low = ledger_seq_before(&acc->id, acc->last_seq, at, true, false, true);
	args_uuid(&args, &acc->id);
	args_int8(&args, low);
	args_int8(&args, ledger_seq_before(&acc->id, acc->last_seq, acc->ahead_until, true, false, true));
	args_time(&args, at);
	return query_read(&seq_at_query, &args) > 0 ? row_int8(0, 1) : low;
}

/*
 * ledger_ends_ahead tells whether there are entries of an account after one, and
 * all of them are ahead of the clock now: nobody knows when they were booked.
 */
bool
ledger_ends_ahead(const Account *acc, int64 seq, TimestampTz now)
{
	return seq < acc->last_seq && now < acc->ahead_until && ledger_seq_at(acc, now) == seq;
}
