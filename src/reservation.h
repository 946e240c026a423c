#ifndef DUCTO_RESERVATION_H
#define DUCTO_RESERVATION_H

#include "postgres.h"
#include "fmgr.h"

#include "account.h"
#include "allowance.h"
#include "ledger.h"
#include "result.h"

/* The floor of ducto_reserve where nothing else is said, in money. */
#define DEFAULT_MIN_BALANCE	(5 * MONEY_UNIT)

extern int	reservation_ttl;

/* What was, or was not, charged. */
typedef struct Deduction
{
	const pg_uuid_t *transaction;	/* NULL when nothing was booked */
	const pg_uuid_t *user;
	Money		amount;
	Money		balance_after;
	Money		allowance_consumed;
	Money		shortfall;
	bool		idempotent;
	const char *cap_warning;
} Deduction;

extern void account_debit(Account *acc, LedgerEntry *entry, Money amount);
extern void deduction_from_entry(Deduction *deduction, const pg_uuid_t *user, const LedgerEntry *entry);
extern Datum deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection);
extern Datum deduction_replay(FunctionCallInfo fcinfo, const pg_uuid_t *user, const LedgerRecord *original);

#endif
