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

/* What a member is to be, and is then. */
typedef struct MemberTerms
{
	const char *role;			/* NULL: as it is */
	bool		capped;			/* cap is given */
	bool		uncapped;		/* the cap is to go */
	Money		cap;
} MemberTerms;

extern Rejection member_missing(const pg_uuid_t *team, const pg_uuid_t *user);
extern MemberState member_state(const Account *pool, const pg_uuid_t *user, Money amount, bool read_only);
extern bool member_try_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held);
extern bool member_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held);
extern void member_refund(const Account *pool, const pg_uuid_t *user, Money amount, TimestampTz debited_at);
extern void members_end_holds(Account *pool, TimestampTz until);
extern int32 members_count(const pg_uuid_t *team);
extern void member_join(const Account *pool, const pg_uuid_t *user, MemberTerms *terms);
extern bool member_leave(const Account *pool, const pg_uuid_t *user);

#endif
