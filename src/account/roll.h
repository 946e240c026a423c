#ifndef DUCTO_ACCOUNT_ROLL_H
#define DUCTO_ACCOUNT_ROLL_H

#include "account/account.h"
#include "account/ledger.h"
#include "base/rejection.h"

/* How much a roll-forward may book; PG_INT64_MAX for any number. */
typedef struct RollLimits
{
	int64		closed;			/* reservations */
	int64		entries;
} RollLimits;

/* What a roll-forward did. */
typedef struct RollTotals
{
	int64		ended;			/* holds */
	int64		closed;			/* reservations */
	int64		entries;		/* of what expired and what cycles gave */
	Money		expired;		/* credit */
	bool		left;			/* a limit was reached */
} RollTotals;

/* Whether reservations of an account that have ended are still open. */
static inline bool
roll_has_ended(const Account *acc)
{
	return !TIMESTAMP_IS_NOBEGIN(acc->ended_until);
}

extern bool roll_book_due(Account *acc, int64 limit, RollTotals *totals);
extern void roll_bound(Account *acc, TimestampTz next);
extern void roll_alone(Account *acc, const RollLimits *limits, RollTotals *totals);
extern bool account_lock(const pg_uuid_t *id, Account *acc);
extern bool account_lock_team(const pg_uuid_t *id, Account *acc);
extern Rejection team_missing(const pg_uuid_t *id);
extern bool account_lock_any(const pg_uuid_t *id, Account *acc);
extern void accounts_lock(Account *accs, int n);
extern bool account_try_lock(const pg_uuid_t *id, Account *acc);
extern void account_advance(Account *acc, TimestampTz now);
extern void account_lock_or_create(const pg_uuid_t *id, Account *acc);
extern bool account_sweep(const pg_uuid_t *id, const RollLimits *limits, RollTotals *totals);
extern bool account_project(const pg_uuid_t *id, Account *acc, TimestampTz until, RollTotals *totals);
extern int	account_project_rolled(const pg_uuid_t *id, Account *acc, TimestampTz until, Rolled **rolled);
extern int	account_project_grants(const pg_uuid_t *id, Account *acc, Grant **grants);
extern void account_begin_cycle(Account *acc);
extern void account_show(const pg_uuid_t *id, Account *acc);
extern void account_expect(Account *acc, TimestampTz expires_at);
extern void account_store(Account *acc);

#endif
