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

#include "allowance.h"
#include "cap.h"
#include "hold.h"
#include "ledger.h"
#include "lot.h"
#include "period.h"
#include "query.h"
#include "roll.h"

/* What is due on an account, and what becomes of it. */
typedef struct Roll
{
	TimestampTz until;			/* everything due up to here is loaded */
	int			nallowances;	/* of the plan since the account's last operation */
	PlanAllowance *allowances;
	int			nholds;
	DueHold    *holds;
	int			nlots;
	Lot		   *lots;			/* remaining is what is left of each */
	int			first_late;		/* lots from here to nlate are late */
	int			nlate;
	Money		late;			/* their sum */
	int			nexpiries;
	Expiry	   *expiries;
} Roll;

static KeptQuery next_boundary_query = {
	.sql = "SELECT least((SELECT min(expires_at) FROM ducto.reservations WHERE account_id = $1 AND state = 'open'),"
	" (SELECT min(greatest(expires_at, $2)) FROM ducto.grants WHERE account_id = $1 AND live AND (expires_at > $2) IS TRUE),"
	" 'infinity')",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

/*
 * Expire late credit that the holds do not need at a time: they rely on the
 * allowance then.
 */
static void
roll_release(Roll *roll, Account *acc, TimestampTz at)
{
	Money		rest = acc->balance - roll->late;
	Money		kept = Min(roll->late, Max(account_need(acc, at) - rest, 0));

	while (roll->late > kept)
	{
		Lot		   *lot = &roll->lots[roll->first_late];
		Money		amount = Min(lot->remaining, roll->late - kept);
		Expiry	   *expiry = &roll->expiries[roll->nexpiries];

		if (amount > 0)
		{
			expiry->grant = lot->id;
			expiry->amount = amount;
			expiry->effective_at = at;
			roll->nexpiries++;
			lot->remaining -= amount;
			roll->late -= amount;
			acc->balance -= amount;
			acc->expiring -= amount;
		}
		if (lot->remaining == 0)
			roll->first_late++;
	}
	allowance_rely(acc, at);
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
 * Return when what is due next happens; infinity when nothing is left until
 * the roll's end. The month's turn is infinity once it has been played.
 */
static TimestampTz
roll_next(const Roll *roll, int hold, int allowance, TimestampTz turn)
{
	TimestampTz at = turn;

	if (hold < roll->nholds)
		at = Min(at, roll->holds[hold].expires_at);
	if (roll->nlate < roll->nlots)
		at = Min(at, roll->lots[roll->nlate].expires_at);
	if (allowance < roll->nallowances)
		at = Min(at, roll->allowances[allowance].since);
	return at <= roll->until ? at : DT_NOEND;
}

/*
 * Play what is due in the order of time, under the allowance that was in force
 * then; of one moment, the allowance comes first, then the holds. Another plan
 * counts from the operation that gave it.
 */
static void
roll_play(Roll *roll, Account *acc)
{
	int			hold = 0;
	int			allowance = 0;
	Money		allowance_now = acc->plan.free_allowance;
	TimestampTz turn = roll_month_turn(acc);
	TimestampTz at;

	roll->expiries = palloc(sizeof(Expiry) * (2 * roll->nlots + roll->nholds + roll->nallowances + 2));
	while (roll->nlate < roll->nlots && roll->lots[roll->nlate].expires_at <= acc->updated_at)
		roll->late += roll->lots[roll->nlate++].remaining;
	if (roll->nallowances > 0)
		acc->plan.free_allowance = roll->allowances[allowance++].amount;

	while ((at = roll_next(roll, hold, allowance, turn)) != DT_NOEND)
	{
		if (allowance < roll->nallowances && at == roll->allowances[allowance].since)
			acc->plan.free_allowance = roll->allowances[allowance++].amount;
		else if (at == turn)
			turn = DT_NOEND;
		else if (hold < roll->nholds && at == roll->holds[hold].expires_at)
			roll_end_hold(acc, &roll->holds[hold++]);
		else
			roll->late += roll->lots[roll->nlate++].remaining;
		roll_release(roll, acc, at);
	}
	if (roll->until >= acc->now)
		acc->plan.free_allowance = allowance_now;
	roll_release(roll, acc, roll->until);
	acc->plan.free_allowance = allowance_now;
	acc->late = roll->late > 0;
}

/*
 * Load what is due on an account until a time.
 */
static void
roll_load(Roll *roll, const Account *acc, TimestampTz until, int64 max_holds, bool read_only)
{
	memset(roll, 0, sizeof(Roll));
	roll->nholds = holds_due(&acc->id, until, max_holds, read_only, &roll->holds);
	roll->until = roll->nholds == max_holds ? roll->holds[max_holds - 1].expires_at : until;
	roll->nlots = lots_due(&acc->id, roll->until, read_only, &roll->lots);
	if (roll->nlots > 0 && acc->plan_id != NULL)
		roll->nallowances = plan_allowances(acc->plan_id, acc->updated_at, read_only, &roll->allowances);
}

/*
 * Sum the expiries of each grant: one may expire in parts.
 */
static void
roll_taken(const Roll *roll, BurnList *taken)
{
	taken->n = 0;
	taken->burns = palloc(sizeof(Burn) * Max(roll->nexpiries, 1));
	for (int i = 0; i < roll->nexpiries; i++)
	{
		const Expiry *expiry = &roll->expiries[i];
		Burn	   *last = taken->n > 0 ? &taken->burns[taken->n - 1] : NULL;

		if (last != NULL && memcmp(&last->grant, &expiry->grant, UUID_LEN) == 0)
			last->amount += expiry->amount;
		else
		{
			taken->burns[taken->n].grant = expiry->grant;
			taken->burns[taken->n].amount = expiry->amount;
			taken->n++;
		}
	}
}

/*
 * Book what a roll expired. roll_play has moved the account's balance; the
 * ledger moves it entry by entry.
 */
static void
roll_book_expiries(const Roll *roll, Account *acc)
{
	BurnList	taken;

	if (roll->nexpiries == 0)
		return;
	for (int i = 0; i < roll->nexpiries; i++)
	{
		acc->balance += roll->expiries[i].amount;
		acc->expiring += roll->expiries[i].amount;
	}
	roll_taken(roll, &taken);
	lots_take(&acc->id, &taken);
	ledger_append_expiries(acc, roll->expiries, roll->nexpiries);
}

/*
 * Find when something is due next on an account that is rolled forward until
 * a time.
 */
static void
roll_next_boundary(Account *acc, TimestampTz until)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_time(&args, until);
	query_run(&next_boundary_query, &args, SPI_OK_SELECT);
	acc->next_boundary = acc->late ? DT_NOBEGIN : row_time(0, 1);
}

/*
 * Roll a locked account forward and book it. The row is written here, because
 * the operation may yet be rejected. When max_holds is reached the account's
 * clock stops there: what is due later is not yet played.
 */
static void
roll_forward(Account *acc, int64 max_holds, RollTotals *totals)
{
	Roll		roll;

	roll_load(&roll, acc, acc->now, max_holds, false);
	roll_play(&roll, acc);
	if (roll.until < acc->now)
		acc->now = Max(acc->updated_at, roll.until);
	totals->holds = roll.nholds;
	for (int i = 0; i < roll.nexpiries; i++)
		totals->expired += roll.expiries[i].amount;
	if (roll.nholds == 0 && roll.nexpiries == 0 && acc->late)
		return;

	if (roll.nholds > 0)
	{
		holds_expire(&acc->id, roll.holds, roll.nholds);
		caps_recount_held(acc);
	}
	roll_book_expiries(&roll, acc);
	roll_next_boundary(acc, roll.until);
	account_write(acc);
}

/*
 * account_lock_any locks the account of a user or a team and rolls it forward
 * to the clock. False: there is no such account.
 */
bool
account_lock_any(const pg_uuid_t *id, Account *acc)
{
	RollTotals	totals = {0};

	if (!account_load(id, acc, ACCOUNT_WAIT))
		return false;
	if (acc->next_boundary <= acc->now)
		roll_forward(acc, PG_INT64_MAX, &totals);
	return true;
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
	while (!account_lock(id, acc))
		account_create(id, "user");
}

/*
 * account_sweep rolls an account forward, ending at most max_holds holds,
 * unless another session has it locked. It returns false then.
 */
bool
account_sweep(const pg_uuid_t *id, int64 max_holds, RollTotals *totals)
{
	Account		acc;

	memset(totals, 0, sizeof(RollTotals));
	if (!account_load(id, &acc, ACCOUNT_SKIP_LOCKED))
		return false;
	if (acc.next_boundary <= acc.now)
		roll_forward(&acc, max_holds, totals);
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
	roll_load(&roll, acc, acc->now, PG_INT64_MAX, true);
	roll_play(&roll, acc);
	totals->holds = roll.nholds;
	for (int i = 0; i < roll.nexpiries; i++)
		totals->expired += roll.expiries[i].amount;
	return true;
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

		roll_load(&roll, acc, acc->now, PG_INT64_MAX, false);
		roll.expiries = palloc(sizeof(Expiry) * (roll.nlots + 1));
		while (roll.nlate < roll.nlots)
			roll.late += roll.lots[roll.nlate++].remaining;
		roll_release(&roll, acc, acc->now);
		acc->late = roll.late > 0;
		roll_book_expiries(&roll, acc);
		roll_next_boundary(acc, roll.until);
	}
	account_write(acc);
}
