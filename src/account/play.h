#ifndef DUCTO_ACCOUNT_PLAY_H
#define DUCTO_ACCOUNT_PLAY_H

#include "account/account.h"
#include "account/grant.h"
#include "account/ledger.h"
#include "account/plan.h"

/* What is due on an account, and what becomes of it. */
typedef struct Roll
{
	Account    *acc;
	bool		read_only;
	MemoryContext context;		/* of what is kept */
	TimestampTz clock;			/* of what is being played */
	int			nterms;			/* of the plan since the account's last operation */
	int			next_terms;
	PlanTerms  *terms;
	TimestampTz gifts_at;		/* a cycle has begun, but not given anything yet; infinity for none */
	int			steady;			/* cycles in which nothing happened but their gifts, */
	TimestampTz steady_since;	/* since then */
	int			nturns;			/* cycles that have begun */
	int			nlived_on;		/* grants that go beyond their cycle */
	int64		nholds;			/* ended so far */
	TimestampTz last_hold;		/* when the last of them did */
	int			ngrants;
	int			max_grants;
	Grant	   *grants;			/* remaining is what is left of each */
	int			first_late;		/* grants from here to nlate are late */
	int			nlate;
	Money		late;			/* their sum */
	int64		limit;			/* of what is booked */
	int			nrolled;
	int			max_rolled;
	Rolled	   *rolled;
} Roll;

extern bool roll_is_full(const Roll *roll);
extern void roll_load(Roll *roll, Account *acc, int64 limit, bool read_only);
extern void roll_release(Roll *roll, TimestampTz at);
extern void roll_play(Roll *roll, Account *acc, int64 limit, bool read_only);
extern void roll_give(Roll *roll, const PlanTerms *terms, TimestampTz at, Money given);

#endif
