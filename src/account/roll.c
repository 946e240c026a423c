/*
 * roll.c
 *		Rolls an account forward to the clock: what is due is played, and a
 *		writer books it under the account's lock; a reader computes the same
 *		numbers.
 */
#include "postgres.h"

#include "storage/proc.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/claim.h"
#include "account/funds.h"
#include "account/grant.h"
#include "account/hold.h"
#include "account/ledger.h"
#include "account/play.h"
#include "account/roll.h"
#include "account/rollset.h"
#include "base/query.h"
#include "base/uuid.h"

/* Entries that are booked by one statement. */
#define ROLLED_BATCH	10000

/*
 * What an operation books before it does its own work: everything that expired,
 * and as many reservations are closed. What an account holds is exact whatever
 * their number; those that are left open are closed by later calls.
 */
static const RollLimits operation_limits = {.closed = 1000, .entries = PG_INT64_MAX};

static KeptQuery next_boundary_query = {
	.sql = "SELECT least((SELECT min(expires_at) FROM ducto.reservations"
	"  WHERE account_id = $1 AND state = 'open' AND expires_at > $3),"
	" (SELECT min(expires_at) FROM ducto.grants WHERE account_id = $1 AND live AND expires_at > $2),"
	" 'infinity')",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/*
 * Take what a roll expired from the grants of the table: all that remains of
 * the first ones, and a part of the next. What lives on is written as it is.
 */
static void
roll_take_grants(const Roll *roll)
{
	const Grant *last = NULL;
	int			n = 0;

	for (int i = 0; i < roll->ngrants; i++)
	{
		const Grant *grant = &roll->grants[i];
		Burn		part = {.grant = grant->id, .amount = grant->before - grant->remaining};
		BurnList	list = {.n = 1, .burns = &part};

		if (grant->gift != NULL)
			continue;
		if (grant->rolled)
			grant_roll_over(&roll->acc->id, grant);
		else if (i < roll->first_late)
		{
			last = grant;
			n++;
		}
		else if (part.amount > 0)
			grants_take(&roll->acc->id, &list);
	}
	if (n > 0)
		grants_expire(&roll->acc->id, last, n);
}

/*
 * Queue the grants of what cycles gave, as far as something is left of them.
 */
static void
roll_queue_gifts(const Roll *roll, GrantQueue *queue)
{
	for (int i = 0; i < roll->ngrants; i++)
	{
		const Grant *grant = &roll->grants[i];

		if (grant->gift == NULL)
			continue;
		grant->gift->remaining = grant->remaining;
		grant->gift->expires_at = grant->expires_at;
		if (grant->rolled)
			grant->gift->rolls_to = grant->expires_at;
		grants_queue_gift(queue, &roll->acc->id, grant->gift);
	}
}

/*
 * Add these grants.
 */
static void
roll_insert_gifts(const Roll *roll)
{
	GrantQueue	queue;

	grants_queue_begin(&queue);
	roll_queue_gifts(roll, &queue);
	grants_queue_write(&queue);
}

/*
 * Queue what is left of the grants of the table, where that changed.
 */
static void
roll_queue_kept(const Roll *roll, GrantQueue *queue)
{
	for (int i = 0; i < roll->ngrants; i++)
	{
		const Grant *grant = &roll->grants[i];

		if (grant->gift == NULL && (grant->rolled || grant->remaining < grant->before))
			grants_queue_kept(queue, &roll->acc->id, grant);
	}
}

/*
 * Book the entries of what a roll expired and gave, or queue them.
 */
static void
roll_book_entries(const Roll *roll, Account *acc)
{
	LedgerQueue *queue = acc->set != NULL ? &acc->set->entries : NULL;

	for (int i = 0; i < roll->nrolled; i += ROLLED_BATCH)
	{
		query_begin();
		ledger_append_rolled(acc, roll->rolled + i, Min(ROLLED_BATCH, roll->nrolled - i), queue);
		query_end();
	}
}

/*
 * Book what a roll expired and gave, and what lives on. roll_play has moved the
 * account's balance; the ledger moves it entry by entry.
 */
static void
roll_book(const Roll *roll, Account *acc)
{
	bool		gifts = false;

	Assert(roll->nrolled <= roll->max_rolled);
	if (roll->nrolled == 0 && roll->nlived_on == 0)
		return;
	for (int i = 0; i < roll->nrolled; i++)
	{
		const Rolled *rolled = &roll->rolled[i];

		Assert(rolled->amount > 0);
		acc->balance += rolled->gift != NULL ? -rolled->amount : rolled->amount;
		acc->expiring += rolled->gift != NULL ? -rolled->gift->remaining : rolled->amount;
		gifts |= rolled->gift != NULL;
	}
	roll_book_entries(roll, acc);
	if (acc->set != NULL)
	{
		roll_queue_kept(roll, &acc->set->changed);
		roll_queue_gifts(roll, &acc->set->changed);
		return;
	}
	roll_take_grants(roll);
	if (gifts)
		roll_insert_gifts(roll);
}

/*
 * roll_bound lets a locked account that is rolled forward know when something is
 * due next: next is when one of its holds or grants is.
 */
void
roll_bound(Account *acc, TimestampTz next)
{
	acc->next_boundary = acc->late ? DT_NOBEGIN : next;
	if (acc->plan_id != NULL && !TIMESTAMP_IS_NOBEGIN(acc->cycle.end))
		acc->next_boundary = Min(acc->next_boundary, acc->cycle.end);
}

/*
 * Find when something is due next on an account that is rolled forward.
 */
static void
roll_next_boundary(Account *acc)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_time(&args, acc->now);
	args_time(&args, acc->ended_until);
	query_run(&next_boundary_query, &args, SPI_OK_SELECT);
	roll_bound(acc, row_time(0, 1));
}

/*
 * Count what a roll did.
 */
static void
roll_count(const Roll *roll, RollTotals *totals)
{
	totals->ended = roll->nholds;
	totals->entries = roll->nrolled;
	totals->left = roll_is_full(roll);
	for (int i = 0; i < roll->nrolled; i++)
		totals->expired += roll->rolled[i].gift == NULL ? roll->rolled[i].amount : 0;
}

/*
 * roll_book_due plays what is due on a locked account and books it, but for the
 * account's row and the reservations that ended. A set books it later, and finds
 * when something is due next. False: there was nothing to book.
 */
bool
roll_book_due(Account *acc, int64 limit, RollTotals *totals)
{
	Roll		roll;

	roll_play(&roll, acc, limit, false);
	roll_count(&roll, totals);
	Assert(roll.late >= 0);
	Assert(roll.first_late <= roll.nlate && roll.nlate <= roll.ngrants);
	Assert(acc->held >= 0);
	if (roll.nholds == 0 && roll.nrolled == 0 && roll.nturns == 0 && roll.nlived_on == 0 && acc->late)
	{
		roll_bound(acc, DT_NOEND);	/* for whoever writes the row for another reason */
		return false;
	}

	if (roll.nholds > 0)
	{
		caps_end_holds(acc, roll.last_hold);
		acc->ended_until = roll.last_hold;
	}
	roll_book(&roll, acc);
	if (acc->set == NULL)
		roll_next_boundary(acc);
	return true;
}

/*
 * Roll a locked account forward and book it. The row is written here, because
 * the operation may yet be rejected. All holds past their time end; of their
 * reservations the first are closed, up to the limit.
 */
static void
roll_forward(Account *acc, const RollLimits *limits, RollTotals *totals)
{
	bool		had_ended = roll_has_ended(acc);
	bool		changed = acc->windows_moved;

	if (acc->windows_moved)
		windows_make(acc);
	if (acc->next_boundary <= acc->now)
		changed |= roll_book_due(acc, limits->entries, totals);
	if (caps_are_stale(acc))
	{
		caps_sync(acc);
		changed = true;
	}
	if (roll_has_ended(acc))
	{
		bool		all = !had_ended && totals->ended <= limits->closed;
		bool		left;

		totals->closed = holds_expire(acc, acc->ended_until, all ? PG_INT64_MAX : limits->closed, &left);
		if (all && totals->closed != totals->ended)
			row_missing("reservations");
		if (!left)
			acc->ended_until = DT_NOBEGIN;
		totals->left |= left;
		changed |= !left || totals->closed > 0;
	}
	if (changed)
		account_write(acc);
}

/*
 * Tell whether there is a reason to roll an account forward, or may be one as
 * the clock was set back.
 */
static bool
roll_is_due(const Account *acc)
{
	return acc->next_boundary <= acc->now || roll_has_ended(acc) || acc->windows_moved || caps_are_stale(acc) ||
		account_is_ahead(acc);
}

/*
 * Roll an account that was just locked forward, where there is a reason to.
 */
static void
roll_locked(Account *acc, const RollLimits *limits, RollTotals *totals)
{
	memset(totals, 0, sizeof(RollTotals));
	if (acc->next_boundary <= acc->now || roll_has_ended(acc) || acc->windows_moved || caps_are_stale(acc))
		roll_forward(acc, limits, totals);
}

/*
 * roll_alone rolls an account forward that was locked with others, within limits
 * and where there is a reason to, in memory of its own.
 */
void
roll_alone(Account *acc, const RollLimits *limits, RollTotals *totals)
{
	query_begin();
	if (account_is_ahead(acc))
		account_set_back(acc, false);
	roll_locked(acc, limits, totals);
	query_end();
}

/*
 * account_lock_any locks the account of a user or a team and rolls it forward
 * to the clock. False: there is no such account.
 */
bool
account_lock_any(const pg_uuid_t *id, Account *acc)
{
	RollTotals	totals;

	if (!account_load(id, acc, ACCOUNT_WAIT))
		return false;
	roll_locked(acc, &operation_limits, &totals);
	return true;
}

/*
 * Read and lock accounts of a batch without waiting for any: one that another has
 * locked is an error.
 */
static void
accounts_load_now(Account *accs, int n)
{
	uint64		locked = accounts_try_load(accs, n);
	uint64		there = 0;

	if (locked == n)
		return;
	accounts_find(accs, n);
	for (int i = 0; i < n; i++)
		there += accs[i].exists ? 1 : 0;
	if (there > locked)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("an account is locked")));
}

/*
 * accounts_lock locks accounts of a batch, as many as there are, in the order of
 * their ids and rolls them forward to the clock. At a lock_timeout of LOCK_NO_WAIT
 * it waits for none.
 */
void
accounts_lock(Account *accs, int n)
{
	RollTotals	totals;

	if (LockTimeout == LOCK_NO_WAIT)
		accounts_load_now(accs, n);
	else
		accounts_load(accs, n);
	for (int i = 0; i < n; i++)
		if (accs[i].exists && roll_is_due(&accs[i]))
			roll_alone(&accs[i], &operation_limits, &totals);
}

/*
 * account_advance rolls a locked account forward to a later time: another lock
 * was waited for.
 */
void
account_advance(Account *acc, TimestampTz now)
{
	RollTotals	totals;

	if (!acc->exists || now <= acc->now)
		return;
	acc->now = now;
	roll_locked(acc, &operation_limits, &totals);
}

/*
 * account_lock locks a user's account and rolls it forward to the clock.
 * False: there is no such account. A team's id is an error.
 */
bool
account_lock(const pg_uuid_t *id, Account *acc)
{
	bool		exists = account_lock_any(id, acc);

	account_require_user(acc);
	return exists;
}

/*
 * team_missing returns the rejection of a team that is not there, and tells
 * which.
 */
Rejection
team_missing(const pg_uuid_t *id)
{
	return rejection_because(TEAM_NOT_FOUND, "There is no team %s.", uuid_to_cstring(id));
}

/*
 * account_lock_team locks a team's pool and rolls it forward to the clock.
 * False: there is no such team.
 */
bool
account_lock_team(const pg_uuid_t *id, Account *acc)
{
	return account_lock_any(id, acc) && acc->team;
}

/*
 * account_lock_or_create locks an account as account_lock does, and makes it
 * when there is none.
 */
void
account_lock_or_create(const pg_uuid_t *id, Account *acc)
{
	if (account_lock(id, acc))
		return;
	account_create(id, false);
	if (!account_lock(id, acc))
		row_missing("accounts");
}

/*
 * account_sweep rolls an account forward, within limits, unless another
 * session has it locked. It returns false then.
 */
bool
account_sweep(const pg_uuid_t *id, const RollLimits *limits, RollTotals *totals)
{
	Account		acc;

	memset(totals, 0, sizeof(RollTotals));
	if (!account_load(id, &acc, ACCOUNT_SKIP_LOCKED))
		return false;
	roll_locked(&acc, limits, totals);
	return true;
}

/*
 * account_try_lock locks an account as account_lock_any does, unless another
 * session has it locked. It returns false then.
 */
bool
account_try_lock(const pg_uuid_t *id, Account *acc)
{
	RollTotals	totals;

	if (!account_load(id, acc, ACCOUNT_SKIP_LOCKED))
		return false;
	roll_locked(acc, &operation_limits, &totals);
	return true;
}

/*
 * account_project reads an account as it is at a time, now for infinity,
 * booked or not, in the snapshot of the calling statement. False: there is no
 * such account.
 */
bool
account_project(const pg_uuid_t *id, Account *acc, TimestampTz until, RollTotals *totals)
{
	Roll		roll;

	memset(totals, 0, sizeof(RollTotals));
	if (!account_load(id, acc, ACCOUNT_READ))
		return false;
	if (until < acc->now)
		acc->now = until;
	if (acc->next_boundary > acc->now)
		return true;
	roll_play(&roll, acc, PG_INT64_MAX, true);
	roll_count(&roll, totals);
	return true;
}

/*
 * account_project_rolled reads an account as account_project does, and returns
 * how many expiries and gifts the ledger does not have yet. Of one grant there
 * may be several.
 */
int
account_project_rolled(const pg_uuid_t *id, Account *acc, TimestampTz until, Rolled **rolled)
{
	Roll		roll;

	if (!account_load(id, acc, ACCOUNT_READ))
		return 0;
	acc->now = Min(acc->now, until);
	if (acc->next_boundary > acc->now)
		return 0;
	roll_play(&roll, acc, PG_INT64_MAX, true);
	*rolled = roll.rolled;
	return roll.nrolled;
}

/*
 * account_project_grants reads an account as it is now, and returns how many of
 * its grants are not as the table has them: what cycles gave, and what of that
 * lives on.
 */
int
account_project_grants(const pg_uuid_t *id, Account *acc, Grant **grants)
{
	Roll		roll;
	int			n = 0;

	if (!account_load(id, acc, ACCOUNT_READ) || acc->next_boundary > acc->now)
		return 0;
	roll_play(&roll, acc, PG_INT64_MAX, true);
	for (int i = roll.nlate; i < roll.ngrants; i++)
		if (roll.grants[i].remaining > 0)
			roll.grants[n++] = roll.grants[i];
	*grants = roll.grants;
	return n;
}

/*
 * account_begin_cycle lets a locked account, which has got another plan or
 * cycles that go otherwise, be in the cycle of now. It gives what the plan gives
 * with it, less what cycles that are not over gave, once.
 */
void
account_begin_cycle(Account *acc)
{
	PeriodRule	rule = account_cycle_rule(acc, acc->plan.id != NULL ? acc->plan.cycle : PERIOD_MONTH);
	Period		cycle = period_find(&rule, acc->now);
	PlanTerms  *terms;
	Roll		roll;

	if (cycle.start != acc->cycle.start || cycle.end != acc->cycle.end)
		account_enter_cycle(acc, &cycle, false);
	if (acc->plan_id == NULL)
		return;
	acc->next_boundary = Min(acc->next_boundary, cycle.end);
	if (!plan_gives(acc->plan_id, acc->now, &terms) ||
		ledger_cycle_given(&acc->id, cycle.end, acc->plan_id, false))
		return;
	roll_load(&roll, acc, PG_INT64_MAX, false);
	roll_give(&roll, terms, acc->now, ledger_running_gifts(&acc->id, acc->now));
	roll_book(&roll, acc);
	roll_next_boundary(acc);
}

/*
 * account_show reads the credits of an account as they are now, booked or not,
 * in the snapshot of the calling statement, and not what else the row has.
 */
void
account_show(const pg_uuid_t *id, Account *acc)
{
	RollTotals	totals;

	if (!account_glance(id, acc))
		(void) account_project(id, acc, DT_NOEND, &totals);
}

/*
 * account_expect lets a locked account know of a hold that is going to expire
 * at a time. Where that is no later than those that have ended did, they are
 * all closed first: it is none of them. The clock was set back then.
 */
void
account_expect(Account *acc, TimestampTz expires_at)
{
	bool		left;

	acc->next_boundary = Min(acc->next_boundary, expires_at);
	if (expires_at > acc->ended_until)
		return;
	holds_expire(acc, acc->ended_until, PG_INT64_MAX, &left);
	acc->ended_until = DT_NOBEGIN;
}

/*
 * account_store writes the row of a locked account after an operation; late
 * credit that its holds need no longer expires first.
 */
void
account_store(Account *acc)
{
	if (acc->late)
	{
		Roll		roll;

		roll_load(&roll, acc, PG_INT64_MAX, false);
		while (roll.nlate < roll.ngrants)
			roll.late += roll.grants[roll.nlate++].remaining;
		roll_release(&roll, acc->now);
		acc->late = roll.late > 0;
		roll_book(&roll, acc);
		roll_next_boundary(acc);
	}
	account_write(acc);
}
