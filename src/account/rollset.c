/*
 * rollset.c
 *		Rolls accounts forward many at once, for sweeps: what they need is read,
 *		and what is booked on them written, by one statement of each kind. What
 *		becomes of each is played as ever; one on which there is more to do than
 *		that is rolled forward alone.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "account/cap.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/rollset.h"
#include "base/query.h"
#include "base/records.h"

/* Entries that are written together, about. */
#define SET_ENTRIES		10000

/* When something is due next, as next_boundary_query has it, of many accounts whose locks the caller has. */
static KeptQuery boundaries_query = {
	.sql = "SELECT a.c1, least((SELECT min(r.expires_at) FROM ducto.reservations r"
	"  WHERE r.account_id = a.c2 AND r.state = 'open' AND r.expires_at > a.c4),"
	" (SELECT min(g.expires_at) FROM ducto.grants g WHERE g.account_id = a.c2 AND g.live AND g.expires_at > a.c3), 'infinity')"
	" FROM unnest($1) AS a(c1 integer, c2 uuid, c3 timestamptz, c4 timestamptz)",
	.types = {RECORDARRAYOID}
};
static const Oid boundary_types[] = {INT4OID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, InvalidOid};

/* The terms that a plan has ever had. */
typedef struct PlanHistory
{
	const char *id;
	int			n;
	PlanTerms  *terms;
} PlanHistory;

/* What of an account is up to the set, and what was done on it. */
typedef struct SetMember
{
	bool		changed;		/* it was played with the set, which is to write it */
	RollTotals	totals;
} SetMember;

/* A set at work. */
typedef struct SetWork
{
	RollSet		set;
	int			n;
	Account    *accs;
	SetMember  *members;
	Grant	   *grants;			/* SET_DUE + 1 of each account, as far as they are due */
	int		   *ngrants;
	DueHold    *holds;			/* the same */
	int		   *nholds;
} SetWork;

/*
 * Return the history of a plan, NULL for one that was not read.
 */
static const PlanHistory *
set_history(const RollSet *set, const char *plan_id)
{
	ListCell   *cell;

	foreach(cell, set->plans)
	{
		const PlanHistory *history = lfirst(cell);

		if (strcmp(history->id, plan_id) == 0)
			return history;
	}
	return NULL;
}

/*
 * Read the histories of the plans of a set's accounts.
 */
static void
set_read_plans(SetWork *work)
{
	for (int i = 0; i < work->n; i++)
	{
		const char *plan_id = work->accs[i].plan_id;
		PlanHistory *history;

		if (plan_id == NULL || set_history(&work->set, plan_id) != NULL)
			continue;
		history = palloc(sizeof(PlanHistory));
		history->id = plan_id;
		history->n = plan_terms(plan_id, DT_NOBEGIN, false, &history->terms);
		work->set.plans = lappend(work->set.plans, history);
	}
}

/*
 * set_terms returns which terms the plan of an account of a set has had since a
 * time, as plan_terms does.
 */
int
set_terms(const RollSet *set, const char *plan_id, TimestampTz at, PlanTerms **terms)
{
	const PlanHistory *history = set_history(set, plan_id);
	int			first = 0;

	Assert(history != NULL);
	for (int i = 1; i < history->n; i++)
		if (history->terms[i].since <= at)
			first = i;
	*terms = history->terms + first;
	return history->n - first;
}

/*
 * Lock the accounts of a set that nobody has, and read what is due on them.
 */
static void
set_begin(SetWork *work, const pg_uuid_t *ids, int n)
{
	int			rows = n * (SET_DUE + 1);

	memset(work, 0, sizeof(SetWork));
	work->set.memory = CurrentMemoryContext;
	work->n = n;
	work->accs = palloc(sizeof(Account) * n);
	work->members = palloc0(sizeof(SetMember) * n);
	work->grants = palloc(sizeof(Grant) * rows);
	work->ngrants = palloc0(sizeof(int) * n);
	work->holds = palloc(sizeof(DueHold) * rows);
	work->nholds = palloc0(sizeof(int) * n);
	ledger_queue_begin(&work->set.entries);
	grants_queue_begin(&work->set.changed);
	accounts_begin(work->accs, ids, n, NULL);
	accounts_try_load(work->accs, n);
	set_read_plans(work);
	grants_due_of(ids, n, work->accs[0].now, SET_DUE + 1, work->grants, work->ngrants);
	holds_due_of(ids, n, work->accs[0].now, SET_DUE + 1, work->holds, work->nholds);
}

/*
 * Tell whether all there is to do on an account of a set is to play what is due,
 * and that is little: no more than is left to be booked.
 */
static bool
set_plays(const SetWork *work, int i, const RollLimits *left)
{
	const Account *acc = &work->accs[i];

	return acc->next_boundary <= acc->now && !roll_has_ended(acc) && !account_is_ahead(acc) &&
		TIMESTAMP_IS_NOBEGIN(acc->ahead_until) && work->ngrants[i] <= Min(SET_DUE, left->entries) &&
		work->nholds[i] <= Min(SET_DUE, left->closed);
}

/*
 * Play what is due on an account of a set, in memory of its own.
 */
static void
set_play(SetWork *work, int i, const RollLimits *left)
{
	Account    *acc = &work->accs[i];
	SetMember  *member = &work->members[i];
	RollSet    *set = &work->set;

	set->grants = &work->grants[i * (SET_DUE + 1)];
	set->ngrants = work->ngrants[i];
	set->holds = &work->holds[i * (SET_DUE + 1)];
	set->nholds = work->nholds[i];
	acc->set = set;
	query_begin();
	member->changed = roll_book_due(acc, left->entries, &member->totals) || caps_are_stale(acc);
	query_end();
	member->totals.closed = member->totals.ended;
}

/*
 * Write what was queued: entries, then grants.
 */
static void
set_flush(RollSet *set)
{
	ledger_queue_write(&set->entries);
	grants_queue_write(&set->changed);
}

/*
 * Roll the accounts of a set forward, in their order, and tell what that comes
 * to. One that another session has is skipped.
 */
static void
set_roll(SetWork *work, const RollLimits *limits, SetTotals *totals)
{
	RollLimits	left = *limits;

	for (int i = 0; i < work->n && left.entries > 0 && left.closed > 0; i++)
	{
		const RollTotals *rolled = &work->members[i].totals;

		CHECK_FOR_INTERRUPTS();
		if (!work->accs[i].exists)
			;
		else if (set_plays(work, i, &left))
			set_play(work, i, &left);
		else
			roll_alone(&work->accs[i], &left, &work->members[i].totals);
		if (work->set.entries.entries.n >= SET_ENTRIES)
			set_flush(&work->set);
		left.entries -= rolled->entries;
		left.closed -= rolled->closed;
		totals->accounts += rolled->expired > 0 ? 1 : 0;
		totals->expired = spend_add(totals->expired, rolled->expired, "expired_amount");
		totals->done += rolled->left && rolled->entries + rolled->closed > 0 ? 0 : 1;
	}
	set_flush(&work->set);
	totals->entries = limits->entries - left.entries;
	totals->closed = limits->closed - left.closed;
}

/*
 * Find when something is due next on the accounts that were played.
 */
static void
set_bound(SetWork *work)
{
	Records		rows;
	QueryArgs	args = {0};
	uint64		n;

	records_begin(&rows, boundary_types);
	for (int i = 0; i < work->n; i++)
	{
		QueryArgs	row = {0};

		if (!work->members[i].changed)
			continue;
		args_int4(&row, i);
		args_uuid(&row, &work->accs[i].id);
		args_time(&row, work->accs[i].now);
		args_time(&row, work->accs[i].ended_until);
		records_add(&rows, &row);
	}
	if (rows.n == 0)
		return;
	args_records(&args, &rows);
	n = query_run(&boundaries_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < n; row++)
		roll_bound(&work->accs[DatumGetInt32(row_datum(row, 1))], row_time(row, 2));
}

/*
 * Close the reservations of the holds that ended.
 */
static void
set_end_holds(SetWork *work)
{
	Account   **ended = palloc(sizeof(Account *) * work->n);
	int64	   *expected = palloc(sizeof(int64) * work->n);
	int64	   *closed = palloc(sizeof(int64) * work->n);
	int			n = 0;

	for (int i = 0; i < work->n; i++)
	{
		if (!work->members[i].changed || !roll_has_ended(&work->accs[i]))
			continue;
		expected[n] = work->members[i].totals.ended;
		ended[n++] = &work->accs[i];
	}
	if (n == 0)
		return;
	holds_expire_of(ended, n, closed);
	for (int i = 0; i < n; i++)
	{
		if (closed[i] != expected[i])
			row_missing("reservations");
		ended[i]->ended_until = DT_NOBEGIN;
	}
}

/*
 * Write the rows of the accounts that were played, and what there is to tell of
 * them. Caps that a plan has got since count what the ledger says, which is
 * written by now.
 */
static void
set_write(SetWork *work)
{
	for (int i = 0; i < work->n; i++)
	{
		if (!work->members[i].changed)
			continue;
		query_begin();
		if (caps_are_stale(&work->accs[i]))
			caps_sync(&work->accs[i]);
		account_write(&work->accs[i]);
		query_end();
	}
	events_write_of(work->accs, work->n);
	accounts_write(work->accs, work->n);
}

/*
 * accounts_sweep rolls accounts, given in the order of their ids and none of them
 * claimed, forward within limits, but for those that other sessions have locked,
 * and tells what that came to. They must not be apart.
 */
void
accounts_sweep(const pg_uuid_t *ids, int n, const RollLimits *limits, SetTotals *totals)
{
	SetWork		work;

	memset(totals, 0, sizeof(SetTotals));
	query_begin();
	set_begin(&work, ids, n);
	set_roll(&work, limits, totals);
	set_bound(&work);
	set_end_holds(&work);
	set_write(&work);
	query_end();
}
