/*
 * roll.c
 *		Rolls an account forward to the clock: holds past their time end,
 *		grants past theirs expire, in the order of their times. A writer books
 *		it under the account's lock; a reader computes the same numbers.
 *
 *		A grant does not expire as far as open holds need it. That part is late:
 *		it stays in the balance, covered by what is held, and expires as the
 *		holds end.
 */
#include "postgres.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/claim.h"
#include "account/funds.h"
#include "account/grant.h"
#include "account/hold.h"
#include "account/ledger.h"
#include "account/roll.h"
#include "base/period.h"
#include "base/query.h"
#include "base/uuid.h"

/* Expiries that are booked by one statement. */
#define EXPIRY_BATCH	10000

/*
 * What an operation books before it does its own work: everything that expired,
 * and as many reservations are closed. What an account holds is exact whatever
 * their number; those that are left open are closed by later calls.
 */
static const RollLimits operation_limits = {.closed = 1000, .expiries = PG_INT64_MAX};

/* What is due on an account, and what becomes of it. */
typedef struct Roll
{
	Account    *acc;
	TimestampTz clock;			/* of what is being played */
	TimestampTz turn;			/* the next month begins: its allowance relieves the holds */
	int			nallowances;	/* of the plan since the account's last operation */
	int			next_allowance;
	PlanAllowance *allowances;
	int64		nholds;			/* ended so far */
	TimestampTz last_hold;		/* when the last of them did */
	int			ngrants;
	Grant	   *grants;			/* remaining is what is left of each */
	int			first_late;		/* grants from here to nlate are late */
	int			nlate;
	Money		late;			/* their sum */
	int64		limit;			/* of the expiries */
	int			nexpiries;
	int			max_expiries;
	Expiry	   *expiries;
} Roll;

static KeptQuery next_boundary_query = {
	.sql = "SELECT least((SELECT min(expires_at) FROM ducto.reservations"
	"  WHERE account_id = $1 AND state = 'open' AND expires_at > $3),"
	" (SELECT min(expires_at) FROM ducto.grants WHERE account_id = $1 AND live AND expires_at > $2),"
	" 'infinity')",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/*
 * Tell whether no more may expire.
 */
static bool
roll_is_full(const Roll *roll)
{
	return roll->nexpiries >= roll->limit;
}

/*
 * Expire an amount of a grant.
 */
static void
roll_expire(Roll *roll, Grant *grant, Money amount)
{
	Expiry	   *expiry;

	if (roll->nexpiries == roll->max_expiries)
	{
		roll->max_expiries *= 2;
		roll->expiries = repalloc_huge(roll->expiries, sizeof(Expiry) * roll->max_expiries);
	}
	expiry = &roll->expiries[roll->nexpiries++];
	expiry->grant = grant->id;
	expiry->amount = amount;
	expiry->effective_at = roll->clock;
	Assert(amount > 0);
	Assert(amount <= grant->remaining);
	grant->remaining -= amount;
	roll->late -= amount;
	roll->acc->balance -= amount;
	roll->acc->expiring -= amount;
}

/*
 * Expire late credit that the holds do not need at a time: they rely on the
 * allowance then.
 */
static void
roll_release(Roll *roll, TimestampTz at)
{
	Money		rest = roll->acc->balance - roll->late;
	Money		kept = Min(roll->late, Max(account_need(roll->acc, at) - rest, 0));

	Assert(kept >= 0 && kept <= roll->late);
	roll->clock = at;
	while (roll->late > kept && !roll_is_full(roll))
	{
		Grant	   *grant = &roll->grants[roll->first_late];

		Assert(roll->first_late < roll->nlate);
		if (grant->remaining > 0)
			roll_expire(roll, grant, Min(grant->remaining, roll->late - kept));
		if (grant->remaining == 0)
			roll->first_late++;
	}
	Assert(roll->late >= kept);
	allowance_rely(roll->acc, at);
}

/*
 * Return when a new month's allowance relieves the holds of an account that
 * has not been touched since; infinity without a plan.
 */
static TimestampTz
roll_month_turn(const Account *acc)
{
	if (acc->plan_id == NULL)
		return DT_NOEND;
	return period_start(period_next_month(period_month(acc->updated_at)));
}

/*
 * End a hold.
 */
static void
roll_end_hold(Account *acc, const DueHold *hold)
{
	account_free(acc, hold->remaining, hold->skip_allowance, hold->skip_allowance ? 0 : hold->remaining - hold->cap_held);
}

/*
 * Return when what is due next, but for the holds, happens; infinity when
 * nothing is left. The month's turn is infinity once it has been played.
 */
static TimestampTz
roll_next(const Roll *roll)
{
	TimestampTz at = roll->turn;

	if (roll->nlate < roll->ngrants)
		at = Min(at, roll->grants[roll->nlate].expires_at);
	if (roll->next_allowance < roll->nallowances)
		at = Min(at, roll->allowances[roll->next_allowance].since);
	return at <= roll->acc->now ? at : DT_NOEND;
}

/*
 * Play what is due before a hold ends, or all that is left: infinity. Of one
 * moment, the allowance comes first, then the holds.
 */
static void
roll_play_until(Roll *roll, TimestampTz hold_ends)
{
	TimestampTz at;

	while (!roll_is_full(roll) && (at = roll_next(roll)) <= hold_ends && at != DT_NOEND)
	{
		if (roll->next_allowance < roll->nallowances && at == roll->allowances[roll->next_allowance].since)
			roll->acc->plan.free_allowance = roll->allowances[roll->next_allowance++].amount;
		else if (at == roll->turn)
			roll->turn = DT_NOEND;
		else if (at < hold_ends)
			roll->late += roll->grants[roll->nlate++].remaining;
		else
			return;
		roll_release(roll, at);
	}
}

/*
 * Play the end of a hold: a row of holds_due. Those that end at the moment at
 * which the roll stops end as well.
 */
static bool
roll_play_hold(const DueHold *hold, void *state)
{
	Roll	   *roll = state;

	Assert(hold->remaining >= 0);
	roll_play_until(roll, hold->expires_at);
	if (roll_is_full(roll) && hold->expires_at > roll->clock)
		return false;
	roll_end_hold(roll->acc, hold);
	roll_release(roll, hold->expires_at);
	roll->nholds++;
	roll->last_hold = hold->expires_at;
	return true;
}

/*
 * Load the grants of an account that are due; those from before its last
 * operation are late.
 */
static void
roll_load(Roll *roll, Account *acc, int64 limit, bool read_only)
{
	memset(roll, 0, sizeof(Roll));
	roll->acc = acc;
	roll->limit = limit;
	roll->turn = roll_month_turn(acc);
	roll->ngrants = grants_due(&acc->id, acc->now, read_only, &roll->grants);
	roll->max_expiries = roll->ngrants + 1;
	roll->expiries = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Expiry) * roll->max_expiries);
	while (roll->nlate < roll->ngrants && roll->grants[roll->nlate].expires_at <= acc->updated_at)
		roll->late += roll->grants[roll->nlate++].remaining;
	if (roll->ngrants > 0 && acc->plan_id != NULL)
		roll->nallowances = plan_allowances(acc->plan_id, acc->updated_at, read_only, &roll->allowances);
}

/*
 * Play what is due on an account in the order of time, under the allowance
 * that was in force then. Another plan counts from the operation that gave it.
 * When the limit is reached the account's clock stops there: what is due in
 * that moment still is taken up with what is late, the rest is not yet played.
 */
static void
roll_play(Roll *roll, Account *acc, int64 limit, bool read_only)
{
	Money		allowance_now = acc->plan.free_allowance;

	roll_load(roll, acc, limit, read_only);
	if (roll->nallowances > 0)
		acc->plan.free_allowance = roll->allowances[roll->next_allowance++].amount;
	if (roll->late > 0)
		roll_release(roll, acc->updated_at);
	holds_due(acc, acc->now, read_only, roll_play_hold, roll);
	roll_play_until(roll, DT_NOEND);
	acc->plan.free_allowance = allowance_now;
	if (roll_is_full(roll))
		acc->now = Max(roll->clock, acc->updated_at);
	else
		roll_release(roll, acc->now);
	acc->late = roll->late > 0 || roll_next(roll) != DT_NOEND;
}

/*
 * Take what a roll expired from the grants: all that remains of the first
 * ones, and a part of the next.
 */
static void
roll_take_grants(const Roll *roll)
{
	BurnList	part = {.n = 1, .burns = palloc0(sizeof(Burn))};

	if (roll->first_late > 0)
		grants_expire(&roll->acc->id, &roll->grants[roll->first_late - 1], roll->first_late);
	if (roll->first_late == roll->ngrants)
		return;
	Assert(roll->first_late < roll->ngrants);
	part.burns->grant = roll->grants[roll->first_late].id;
	for (int i = roll->nexpiries - 1; i >= 0 && memcmp(&roll->expiries[i].grant, &part.burns->grant, UUID_LEN) == 0; i--)
		part.burns->amount += roll->expiries[i].amount;
	if (part.burns->amount > 0)
		grants_take(&roll->acc->id, &part);
}

/*
 * Book what a roll expired. roll_play has moved the account's balance; the
 * ledger moves it entry by entry.
 */
static void
roll_book_expiries(const Roll *roll, Account *acc)
{
	MemoryContext batch;
	MemoryContext previous;

	Assert(roll->nexpiries <= roll->max_expiries);
	if (roll->nexpiries == 0)
		return;
	for (int i = 0; i < roll->nexpiries; i++)
	{
		Assert(roll->expiries[i].amount > 0);
		acc->balance += roll->expiries[i].amount;
		acc->expiring += roll->expiries[i].amount;
	}
	roll_take_grants(roll);
	batch = AllocSetContextCreate(CurrentMemoryContext, "ducto expiries", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(batch);
	for (int i = 0; i < roll->nexpiries; i += EXPIRY_BATCH)
	{
		ledger_append_expiries(acc, roll->expiries + i, Min(EXPIRY_BATCH, roll->nexpiries - i));
		MemoryContextReset(batch);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(batch);
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
	acc->next_boundary = acc->late ? DT_NOBEGIN : row_time(0, 1);
}

/*
 * Count what a roll did.
 */
static void
roll_count(const Roll *roll, RollTotals *totals)
{
	totals->ended = roll->nholds;
	totals->expiries = roll->nexpiries;
	totals->left = roll_is_full(roll);
	for (int i = 0; i < roll->nexpiries; i++)
		totals->expired += roll->expiries[i].amount;
}

/*
 * Play what is due on a locked account and book it, but for the account's row
 * and the reservations that ended. False: there was nothing to book.
 */
static bool
roll_book_due(Account *acc, int64 limit, RollTotals *totals)
{
	Roll		roll;

	roll_play(&roll, acc, limit, false);
	roll_count(&roll, totals);
	Assert(roll.late >= 0);
	Assert(roll.first_late <= roll.nlate && roll.nlate <= roll.ngrants);
	Assert(acc->held >= 0);
	if (roll.nholds == 0 && roll.nexpiries == 0 && acc->late)
		return false;

	if (roll.nholds > 0)
	{
		caps_end_holds(acc, roll.last_hold);
		acc->ended_until = roll.last_hold;
	}
	roll_book_expiries(&roll, acc);
	roll_next_boundary(acc);
	return true;
}

/*
 * Tell whether reservations of an account that have ended are still open.
 */
static bool
roll_has_ended(const Account *acc)
{
	return !TIMESTAMP_IS_NOBEGIN(acc->ended_until);
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
		changed |= roll_book_due(acc, limits->expiries, totals);
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
	return acc->next_boundary <= acc->now || roll_has_ended(acc) || acc->windows_moved || account_is_ahead(acc);
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
 * accounts_lock locks accounts of a batch, as many as there are, in the order of
 * their ids and rolls them forward to the clock.
 */
void
accounts_lock(Account *accs, int n)
{
	RollTotals	totals;

	accounts_load(accs, n);
	for (int i = 0; i < n; i++)
	{
		if (!accs[i].exists || !roll_is_due(&accs[i]))
			continue;
		query_begin();
		if (account_is_ahead(&accs[i]))
			account_set_back(&accs[i], false);
		roll_locked(&accs[i], &operation_limits, &totals);
		query_end();
	}
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
	account_create(id, "user");
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
 * account_project_expiries reads an account as account_project does, and returns
 * how many expiries the ledger does not have yet. Of one grant there may be
 * several.
 */
int
account_project_expiries(const pg_uuid_t *id, Account *acc, TimestampTz until, Expiry **expiries)
{
	Roll		roll;

	if (!account_load(id, acc, ACCOUNT_READ))
		return 0;
	acc->now = Min(acc->now, until);
	if (acc->next_boundary > acc->now)
		return 0;
	roll_play(&roll, acc, PG_INT64_MAX, true);
	*expiries = roll.expiries;
	return roll.nexpiries;
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
		roll_book_expiries(&roll, acc);
		roll_next_boundary(acc);
	}
	account_write(acc);
}
