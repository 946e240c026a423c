#ifndef DUCTO_ACCOUNT_MEMBER_H
#define DUCTO_ACCOUNT_MEMBER_H

#include "account/account.h"
#include "base/rejection.h"

/* Whether a member may spend an amount from a pool. */
typedef enum MemberState
{
	MEMBER_FREE,
	MEMBER_CAPPED,
	MEMBER_ABSENT
} MemberState;

/* A member of a pool that operations of a batch are by. */
typedef struct PoolMember
{
	Account    *pool;
	const pg_uuid_t *user;
} PoolMember;

/* What a member is to be, and is then. */
typedef struct MemberTerms
{
	const char *role;			/* NULL: as it is */
	bool		capped;			/* cap is given */
	bool		uncapped;		/* the cap is to go */
	Money		cap;
} MemberTerms;

/*
 * Whether a row m of team_members is of a member that has not left. With a team,
 * only the primary key finds rows by this, whatever the statistics say: another
 * index has the team somewhere, and by it the members of all teams were read.
 */
#define IS_STILL_IN(m)	"coalesce(" m ".left_at, 'infinity') >= 'infinity'"

/*
 * What the ledger says members of a team spent from one time until another, less
 * what was refunded of it, where a condition holds; no entry up to the seq after
 * counts.
 */
#define MEMBERS_SAID(condition, team, from, until, after) \
	"SELECT s.actor, sum(s.spent) AS spent FROM (" \
	" SELECT l.actor, -l.amount AS spent FROM ducto.ledger l WHERE " condition " AND l.account_id = " team " AND l.seq > " after \
	"  AND l.type = 'usage' AND l.actor IS NOT NULL AND l.effective_at >= " from " AND l.effective_at < " until \
	" UNION ALL SELECT d.actor, -f.amount FROM ducto.ledger f JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = " team \
	"  WHERE " condition " AND f.account_id = " team " AND f.seq > " after " AND f.type = 'refund'" \
	"  AND d.actor IS NOT NULL AND d.effective_at >= " from " AND d.effective_at < " until ") s GROUP BY s.actor"

extern Rejection member_missing(const pg_uuid_t *team, const pg_uuid_t *user);
extern MemberState member_state(const Account *pool, const pg_uuid_t *user, Money amount, bool read_only);
extern bool member_is_likely(const pg_uuid_t *team, const pg_uuid_t *user, Money amount, TimestampTz now);
extern bool member_try_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held);
extern bool member_admit(const Account *pool, const pg_uuid_t *user, Money spent, Money held);
extern bool member_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held);
extern void member_refund(const Account *pool, const pg_uuid_t *user, Money amount, TimestampTz debited_at);
extern bool members_can_be_kept(void);
extern void members_keep(const PoolMember *of, int n);
extern void members_write(Account *accs, int n);
extern void members_make(const Account *pool);
extern void members_end_holds(Account *pool, TimestampTz until);
extern void member_join(const Account *pool, const pg_uuid_t *user, MemberTerms *terms);
extern bool member_leave(const Account *pool, const pg_uuid_t *user);

#endif
