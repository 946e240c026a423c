/*
 * account.c
 *		An account, or those of a batch, from its lock to the end of the
 *		operation: claimed, with its plan and its time, and written.
 */
#include "postgres.h"

#include "account/accountrow.h"
#include "account/ahead.h"
#include "account/alert.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/funds.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "base/cluster.h"

/*
 * Read an account's row with a lock and claim it. False: there is none, or it is
 * locked and to be skipped.
 */
static bool
account_lock_row(const pg_uuid_t *id, AccountLock lock, bool apart, Account *acc)
{
	if (lock == ACCOUNT_SKIP_LOCKED && account_is_claimed(id))
	{
		account_clear(acc, id);
		return false;
	}
	if (apart)
		cluster_shard_stays(id);
	account_claim(id);
	if (account_row_read(id, lock, apart, acc))
		return true;
	account_unclaim(id);
	return false;
}

/*
 * account_load reads an account's row, with the lock that is asked for, and
 * takes the operation's time: the clock after the lock. It returns false when
 * there is no account or another session has it locked and locked rows are to
 * be skipped; one that an operation around this one works on counts as locked.
 */
bool
account_load(const pg_uuid_t *id, Account *acc, AccountLock lock)
{
	bool		apart = cluster_is_used();

	if (lock == ACCOUNT_READ ? !account_row_read(id, lock, apart, acc) : !account_lock_row(id, lock, apart, acc))
		return false;
	if (lock != ACCOUNT_READ)
	{
		acc->loaded = palloc(sizeof(Account));
		*acc->loaded = *acc;
		if (!acc->team)
			account_seen(account_is_plain(acc));
	}
	if (acc->plan_id != NULL)
		plan_find(acc->plan_id, &acc->plan, lock == ACCOUNT_READ);
	if (account_is_ahead(acc))
		account_set_back(acc, lock == ACCOUNT_READ);
	return true;
}

/*
 * accounts_begin makes accounts of which nothing is known yet, for a batch: in
 * the order of their ids.
 */
void
accounts_begin(Account *accs, const pg_uuid_t *ids, int n, struct LedgerQueue *queue)
{
	for (int i = 0; i < n; i++)
	{
		Assert(i == 0 || memcmp(&ids[i - 1], &ids[i], UUID_LEN) < 0);
		account_clear(&accs[i], &ids[i]);
		accs[i].queue = queue;
	}
}

/*
 * Read the plan of an account of a batch, which another before it may have
 * read.
 */
static void
accounts_find_plan(Account *accs, int i)
{
	static const UserPlan none;
	Account    *acc = &accs[i];

	acc->plan = none;
	if (acc->plan_id == NULL)
		return;
	for (int j = i - 1; j >= 0 && acc->plan.id == NULL; j--)
		if (accs[j].plan.id != NULL && strcmp(accs[j].plan.id, acc->plan_id) == 0)
			acc->plan = accs[j].plan;
	if (acc->plan.id == NULL)
		plan_find(acc->plan_id, &acc->plan, false);
}

/*
 * Claim accounts of which those listed were locked, and take the time of their
 * operations: the clock after the last lock.
 */
static void
accounts_enter(Account *accs, int n, const pg_uuid_t *locked, uint64 found)
{
	TimestampTz now;

	accounts_claim(locked, (int) found);
	now = clock_now();
	for (int i = 0; i < n; i++)
	{
		accs[i].now = now;
		accounts_find_plan(accs, i);
	}
}

/*
 * accounts_load reads and locks accounts of a batch, in their order, and takes
 * the time of its operations.
 */
void
accounts_load(Account *accs, int n)
{
	pg_uuid_t  *locked = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	uint64		found = accounts_lock_rows(ACCOUNT_WAIT, accs, n, locked);

	accounts_enter(accs, n, locked, found);
}

/*
 * accounts_try_load does the same with those of some accounts that no other
 * session has locked, and returns how many; to the caller the others do not exist.
 * They must not be apart, and none be claimed.
 */
uint64
accounts_try_load(Account *accs, int n)
{
	pg_uuid_t  *locked = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	uint64		found = accounts_lock_rows(ACCOUNT_SKIP_LOCKED, accs, n, locked);

	accounts_enter(accs, n, locked, found);
	return found;
}

/*
 * Write the events that a locked account has noted, if any; those of one of a
 * batch are numbered now, and written at its end.
 */
static void
account_write_events(Account *acc)
{
	if (acc->queue != NULL && acc->queue->events != NULL)
		events_queue(acc->queue->events, acc);
	else
		events_write(acc);
}

/*
 * account_write writes a locked account's row; that of an account of a batch or of
 * a set, and its events, are written at its end.
 */
void
account_write(Account *acc)
{
	acc->updated_at = acc->now;
	allowance_rely(acc, acc->now);
	alerts_watch(acc);
	if (acc->set == NULL)
		account_write_events(acc);
	if (acc->queue != NULL || acc->set != NULL)
		acc->unwritten = true;
	else
		account_row_write(acc);
}

/*
 * account_tell writes the events that a locked account has noted, if any, where
 * its row is written for nothing else; that of an account of a batch or of a set
 * is written at its end.
 */
void
account_tell(Account *acc)
{
	if (acc->events == NIL)
		return;
	account_write_events(acc);
	if (acc->queue != NULL || acc->set != NULL)
		acc->unwritten = true;
	else
		account_row_tell(acc);
}

/*
 * accounts_write writes what a batch has left unwritten of its accounts.
 */
void
accounts_write(Account *accs, int n)
{
	const Account **unwritten = palloc(sizeof(Account *) * Max(n, 1));
	int			nunwritten = 0;

	for (int i = 0; i < n; i++)
	{
		if (accs[i].unwritten)
			unwritten[nunwritten++] = &accs[i];
		accs[i].unwritten = false;
	}
	if (nunwritten > 0)
		accounts_rows_write(unwritten, nunwritten);
}
