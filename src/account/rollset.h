#ifndef DUCTO_ACCOUNT_ROLLSET_H
#define DUCTO_ACCOUNT_ROLLSET_H

#include "account/account.h"
#include "account/grant.h"
#include "account/hold.h"
#include "account/ledger.h"
#include "account/plan.h"
#include "account/roll.h"

/* Accounts of a set, at least and at most, and what may be due of an account that is done with it. */
#define SET_LEAST		8
#define SET_MOST		1000
#define SET_DUE			32

/* Accounts that are rolled forward together. */
typedef struct RollSet
{
	MemoryContext memory;		/* lives as long as the set */
	LedgerQueue entries;		/* to be written for all */
	GrantQueue	changed;
	List	   *plans;			/* all that their plans have ever said */
	int			ngrants;		/* of the account that is being played, what is due */
	const Grant *grants;
	int			nholds;
	const DueHold *holds;
} RollSet;

/* What became of accounts. */
typedef struct SetTotals
{
	int64		done;			/* with so many of them, in their order */
	int64		accounts;		/* with credit that expired */
	int64		entries;
	int64		closed;			/* reservations */
	Spend		expired;
} SetTotals;

extern void accounts_sweep(const pg_uuid_t *ids, int n, const RollLimits *limits, SetTotals *totals);
extern int	set_terms(const RollSet *set, const char *plan_id, TimestampTz at, PlanTerms **terms);

#endif
