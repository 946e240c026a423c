#ifndef DUCTO_ACCOUNT_ACCOUNT_H
#define DUCTO_ACCOUNT_ACCOUNT_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "nodes/pg_list.h"

#include "account/chain.h"
#include "account/plan.h"
#include "base/money.h"
#include "base/period.h"
#include "base/query.h"

/* No balance is below them; in the table -Infinity and the lowest that a balance can be. */
#define NO_ALERTS	PG_INT64_MIN
#define NO_LINE		(-MONEY_MAX)

/* What of an account was looked at for events already. */
typedef struct Watched
{
	Money		balance;
	Period		cycle;
	Spend		allowance_used;
} Watched;

/* An account's row; all zeros when there is none. */
typedef struct Account
{
	pg_uuid_t	id;
	bool		exists;
	bool		team;			/* it is a team's pool */
	Money		balance;
	Money		held;			/* sum of the open holds */
	Money		expiring;		/* sum of the grants' remaining */
	Spend		lifetime_purchased;
	TimestampTz next_boundary;	/* nothing expires before */
	int64		last_seq;
	bool		closing_keys;	/* a deduct of 0 with a key, or a line, has been seen */
	char	   *plan_id;		/* NULL for none */
	TimestampTz anchor;			/* cycles repeat it; -infinity for those of the calendar */
	char	   *zone_name;		/* NULL for UTC */
	pg_tz	   *zone;			/* NULL for UTC */
	UserPlan	plan;
	Period		cycle;			/* that allowance_used is of; ends at -infinity for none */
	Spend		allowance_used;
	Money		held_from_credits;	/* the part of held that skips the allowance */
	Money		promised;		/* the part of held that the allowance pays in any case */
	Rest		carry;			/* of exact prices, what no amount has charged yet */
	int			caps;			/* how many there are */
	int64		caps_version;	/* of its plan's caps, that they are of */
	TimestampTz ended_until;	/* open holds that expire no later have ended; -infinity for none */
	TimestampTz updated_at;		/* the clock at its last operation */
	TimestampTz ahead_from;		/* the clock was set back to this time, infinity for never, */
	TimestampTz ahead_until;	/* and entries were created up to this one; -infinity for never */
	bool		windows_moved;	/* windows of caps and members may have to be made anew */
	TimestampTz now;			/* the operation's time: the clock */
	bool		late;			/* holds keep credit past its expiry */
	bool		chained;		/* there is a digest: */
	uint8		chain_head[DIGEST_LENGTH];	/* that of the last entry that has one */
	bool		linked;			/* a guarded update has made it that of the entry to come */
	struct LedgerQueue *queue;	/* of the batch that works on it; NULL for none. Then */
	struct RollSet *set;		/* that rolls it forward with others; NULL for none. Then too */
	bool		unwritten;		/* its row is to be written at the end */
	struct CapList *kept_caps;	/* its caps, whose counters are written at the end; NULL where they are not kept */
	struct GrantList *kept_grants;	/* the same of its grants, */
	struct MemberList *kept_members;	/* and of a team's members */
	Money		alert_below;	/* a balance below it is to be told; NO_LINE, or NO_ALERTS where none are its own */
	int64		alert_mark;		/* of the lines, of plan or pricing, that it is from */
	int64		last_event;		/* number of its last event that was written */
	bool		lines_changed;	/* since alert_below was found */
	Watched		watched;
	struct Account *loaded;		/* as it was read or written last; NULL where nobody knows */
	ItemPointerData place;		/* of the row of one of a batch, as it was locked */
	bool		has_actor;		/* a team's member acts: */
	pg_uuid_t	actor;
	List	   *events;			/* noted, to be written with the row */
} Account;

/* Which row lock account_load takes. */
typedef enum AccountLock
{
	ACCOUNT_READ,				/* none, in the snapshot of the caller */
	ACCOUNT_WAIT,
	ACCOUNT_SKIP_LOCKED
} AccountLock;

/* The floor of a hold where nothing else is said. */
#define DEFAULT_MIN_BALANCE	(5 * MONEY_UNIT)

/* What the active pricing says of a reserve; version is 0 when there is none. */
typedef struct PricingTerms
{
	int			version;
	Money		min_balance;
} PricingTerms;

/*
 * What a guarded update is to take. Where an exact price leaves a rest, the
 * account's carry decides whether 1/10000 credits more are taken, and becomes
 * another one.
 */
typedef struct Charge
{
	Money		amount;
	Rest		rest;			/* 0 for none */
	const ChainLink *link;		/* NULL where the chain is off */
	const ChainLink *raised_link;	/* that of the entry of 1/10000 more */
} Charge;

/* What a guarded update took, so that it can be undone. */
typedef struct AccountChange
{
	Money		balance;
	Money		expiring;
	Money		held;
	Rest		carry;			/* it has gained that */
	Money		allowance;		/* more of it is used */
	int			entries;
	bool		linked;
} AccountChange;

/* Whether the row of an account says what it has at a time: nothing is due, and the clock was not set back. */
#define SAYS_IT_ALL(account, now) \
	account ".next_boundary > " now " AND " account ".updated_at <= " now \
	" AND (" account ".ahead_until IS NULL OR " account ".ahead_until <= " account ".updated_at)"

/* A lock_timeout, in ms, at which a batch waits for no account at all. */
#define LOCK_NO_WAIT	1

extern const char *const account_kinds[];

extern bool account_glance(const pg_uuid_t *id, Account *acc);
extern bool account_says_it_all(const pg_uuid_t *id, TimestampTz now);
extern void account_head_from_row(Account *acc, uint64 row, int column);
extern bool account_load(const pg_uuid_t *id, Account *acc, AccountLock lock);
extern void accounts_begin(Account *accs, const pg_uuid_t *ids, int n, struct LedgerQueue *queue);
extern void accounts_find(Account *accs, int n);
extern void accounts_create(Account *accs, int n);
extern void accounts_load(Account *accs, int n);
extern uint64 accounts_try_load(Account *accs, int n);
extern bool accounts_are_apart(void);
extern void accounts_write(Account *accs, int n);
extern void account_require_user(const Account *acc);
extern void account_read_user(const pg_uuid_t *user, Account *acc);
extern void account_read_plan(const pg_uuid_t *user, UserPlan *plan);
extern void account_check_user(const pg_uuid_t *user);
extern void account_create(const pg_uuid_t *id, bool team);
extern void account_write(Account *acc);
extern void account_tell(Account *acc);
extern void account_write_head(const Account *acc);

extern void account_seen(bool plain);
extern bool account_is_doubted(void);
extern bool account_try_charge(const pg_uuid_t *id, const Charge *charge, Money floor, const pg_uuid_t *pricing,
							   Account *after, AccountChange *change);
extern bool account_try_charge_team(const pg_uuid_t *id, const pg_uuid_t *member, const Charge *charge, bool likely,
									Account *after, AccountChange *change);
extern bool account_try_settle(const pg_uuid_t *id, Money open, Money freed, const Charge *charge,
							   Account *after, AccountChange *change);
extern bool account_try_expect(const pg_uuid_t *id, const pg_uuid_t *reservation, int ttl_seconds, Account *after);
extern bool account_try_release(const pg_uuid_t *id, Money open, Account *after, AccountChange *change);
extern bool account_try_hold(const pg_uuid_t *id, Money amount, const Money *floor, int ttl_seconds,
							 Account *after, AccountChange *change, PricingTerms *terms);
extern bool account_try_consume(const pg_uuid_t *id, const UserPlan *plan, Money amount, Account *after);
extern bool account_try_switch(const pg_uuid_t *id, UserPlan *plan, Account *after, char **before);
extern void account_undo(const pg_uuid_t *id, const AccountChange *change);
extern int64 account_hold_shard(const pg_uuid_t *id);
extern void accounts_hold_shards(const pg_uuid_t *ids, int n);

/* Whether the clock is before the account's last operation, or was since its ledger is ahead of it. */
static inline bool
account_is_ahead(const Account *acc)
{
	return acc->updated_at > acc->now || acc->updated_at < acc->ahead_until;
}

/* Available credits: what neither is held nor gone. */
static inline Money
account_available(const Account *acc)
{
	return acc->balance - acc->held;
}

#endif
