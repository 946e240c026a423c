#ifndef DUCTO_CREDIT_DEBIT_H
#define DUCTO_CREDIT_DEBIT_H

#include "postgres.h"
#include "fmgr.h"

#include "account/account.h"
#include "account/hold.h"
#include "account/ledger.h"
#include "base/rejection.h"
#include "pricing/pricing.h"

/* What becomes of what does not fit. */
typedef enum Overrun
{
	OVERRUN_REJECT,
	OVERRUN_CLAMP,				/* what fits is charged */
	OVERRUN_FULL,				/* all of it is charged */
	OVERRUN_BY_MODE				/* all of it where the reservation's billing mode is overdraft, else what fits */
} Overrun;

/*
 * What a debit is asked for: of a reservation (ducto_deduct), of a team's pool
 * (ducto_deduct_team), or of a user's account (ducto_charge).
 */
typedef struct Debit
{
	pg_uuid_t  *user;
	pg_uuid_t  *team;			/* whose pool pays; NULL for the user's own account, and where the reservation says it */
	Money		amount;
	char	   *key;
	Jsonb	   *metadata;
	char	   *model;
	PricedUsage *priced;		/* what amount is the price of; NULL for none */
	Overrun		overrun;
	bool		skip_allowance;

	/* Of a charge: */
	char	   *operation_type;
	bool		has_floor;
	Money		floor;
	char	   *required_feature;

	/* Of a deduct: */
	pg_uuid_t  *reservation;	/* NULL for none */
	bool		final;
	bool		allow_late;
	bool		skip_is_null;	/* as reserved */
	bool		any_key;		/* one that was settled is told of, whatever the key */
} Debit;

/* What is to be booked. */
typedef struct DebitPlan
{
	Money		charge;			/* to be paid, by allowance and credits */
	Money		allowance;		/* what of it the allowance pays */
	Money		shortfall;		/* could not be taken */
	CapAction	cap_warning;

	/* Of a deduct: */
	Money		freed;			/* no longer held */
	HoldState	state;			/* of the reservation, afterwards */
} DebitPlan;

/* What was, or was not, charged. */
typedef struct Deduction
{
	bool		booked;			/* transaction is the entry */
	pg_uuid_t	transaction;
	const pg_uuid_t *user;
	Money		amount;
	Money		balance_after;
	Money		allowance_consumed;
	Money		shortfall;
	bool		idempotent;
	CapAction	cap_warning;
} Deduction;

/* Every debit. */
extern Overrun arg_overrun(FunctionCallInfo fcinfo, int n);
extern bool debit_books(const Debit *debit);
extern bool debit_at_once(const Debit *debit, Deduction *deduction);
extern Rejection debit_in_steps(Debit *debit, Deduction *deduction);
extern Rejection debit_locked(Debit *debit, Account *acc, Hold *hold, Deduction *deduction);
extern Rejection debit_make(Debit *debit, Deduction *deduction);
extern void account_debit(Account *acc, LedgerEntry *entry, Money amount);
extern Datum deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection);

/* A charge. */
extern void charge_terms(FunctionCallInfo fcinfo, Debit *debit);
extern void charge_of_usage(Debit *debit);
extern Rejection charge_decide(Account *acc, const Debit *debit, DebitPlan *plan);

/* A deduct. */
extern Rejection settle_decide(const Account *acc, const Hold *hold, const Debit *debit, DebitPlan *plan);
extern void settle_free(Account *acc, Hold *hold, const DebitPlan *plan);
extern Rejection settle_usage(Debit *debit, Deduction *deduction);

/* A charge to a pool. */
extern Rejection pool_decide(Account *pool, const Debit *debit, DebitPlan *plan);

#endif
