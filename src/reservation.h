#ifndef DUCTO_RESERVATION_H
#define DUCTO_RESERVATION_H

#include "postgres.h"
#include "fmgr.h"

#include "account.h"
#include "allowance.h"
#include "hold.h"
#include "ledger.h"
#include "pricing.h"
#include "result.h"

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

extern bool reservation_lock(const pg_uuid_t *user, const pg_uuid_t *id, Account *acc, Hold *hold);
extern void account_debit(Account *acc, LedgerEntry *entry, Money amount);
extern bool debit_try_book(const Account *after, const AccountChange *change, LedgerEntry *entry);
extern void deduction_from_entry(Deduction *deduction, const pg_uuid_t *user, const LedgerEntry *entry);
extern Datum deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection);
extern const char *arg_overrun(FunctionCallInfo fcinfo, int n);
extern Datum settle_usage(FunctionCallInfo fcinfo, pg_uuid_t *user, pg_uuid_t *reservation, PricedUsage *priced,
						  char *key, Jsonb *metadata, const char *overrun);
extern Datum deduction_replay(FunctionCallInfo fcinfo, const pg_uuid_t *user, const LedgerRecord *original);

#endif
