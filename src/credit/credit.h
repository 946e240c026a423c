#ifndef DUCTO_CREDIT_CREDIT_H
#define DUCTO_CREDIT_CREDIT_H

#include "postgres.h"
#include "fmgr.h"

#include "account/account.h"
#include "account/funds.h"
#include "account/hold.h"
#include "account/key.h"
#include "account/ledger.h"
#include "base/result.h"
#include "pricing/pricing.h"

/* What ducto_charge or ducto_deduct_team is asked for. */
typedef struct ChargeRequest
{
	pg_uuid_t  *team;			/* whose pool is charged; NULL for the user's own account */
	pg_uuid_t  *user;
	Money		amount;
	char	   *key;
	Jsonb	   *metadata;
	char	   *model;
	bool		has_floor;
	Money		floor;
	char	   *operation_type;
	bool		skip_allowance;
	char	   *required_feature;
	const char *overrun;		/* NULL = reject */
	PricedUsage *priced;		/* what amount is the price of; NULL for none */
} ChargeRequest;

/* What ducto_deduct is asked for. */
typedef struct SettleRequest
{
	pg_uuid_t  *user;
	pg_uuid_t  *team;			/* whose pool holds; NULL = it is to be found out */
	pg_uuid_t  *reservation;
	Money		amount;
	char	   *key;
	Jsonb	   *metadata;
	char	   *model;
	const char *overrun;
	bool		final;
	bool		allow_late;
	bool		skip_is_null;	/* as reserved */
	bool		skip_allowance;
	PricedUsage *priced;		/* what amount is the price of; NULL for none */
} SettleRequest;

/* What is to be booked of a reservation. */
typedef struct SettlePlan
{
	Money		charge;			/* to be paid, by allowance and credits */
	bool		skip_allowance;
	Money		allowance;		/* what of it the allowance pays */
	Money		shortfall;		/* could not be taken */
	Money		freed;			/* no longer held */
	HoldState	state;			/* of the reservation, afterwards */
} SettlePlan;

/* What ducto_reserve is asked for. */
typedef struct ReserveRequest
{
	pg_uuid_t  *user;
	pg_uuid_t  *team;			/* whose pool holds; NULL for the user's own account */
	Money		amount;
	char	   *operation_type;
	Jsonb	   *metadata;
	bool		has_min_balance;	/* else as the active pricing says */
	Money		min_balance;
	int			ttl_seconds;
	char	   *model;
	const char *billing_mode;	/* NULL = as the plan says */
	bool		has_floor;
	Money		overdraft_floor;
	int			max_concurrent; /* 0 = as the plan says */
	char	   *required_feature;
	char	   *key;
	bool		skip_allowance;
	bool		ceiling;		/* never charge it more than it holds */
	PricedUsage *priced;		/* what amount is the price of; NULL for none */
} ReserveRequest;

/* What was, or was not, held. */
typedef struct Reserved
{
	bool		booked;			/* reservation is its id */
	pg_uuid_t	reservation;
	const pg_uuid_t *user;
	Money		amount;
	Money		balance;
	Money		reserved;
	Money		allowance_left;	/* this month's, where the account was read */
	const char *billing_mode;
	TimestampTz expires_at;		/* infinity for none */
	bool		idempotent;
} Reserved;

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
	const char *cap_warning;
} Deduction;

extern bool reservation_lock(const pg_uuid_t *user, const pg_uuid_t *team, const pg_uuid_t *id, Account *acc, Hold *hold);
extern void account_debit(Account *acc, LedgerEntry *entry, Money amount);
extern bool debit_try_book(Account *after, const AccountChange *change, LedgerEntry *entry);
extern void deduction_from_entry(Deduction *deduction, const pg_uuid_t *user, const LedgerEntry *entry);
extern Rejection deduction_none(Deduction *deduction, const pg_uuid_t *user, Money amount, Money balance,
								Rejection rejection);
extern Datum deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection);
extern const char *arg_overrun(FunctionCallInfo fcinfo, int n);
extern KeyState debit_repeat(KeyState known, const LedgerRecord *original, Money amount, const PricedUsage *priced);
extern void deduction_replay(Deduction *deduction, const pg_uuid_t *user, const LedgerRecord *original);
extern void charge_terms(FunctionCallInfo fcinfo, ChargeRequest *request);
extern void charge_of_usage(ChargeRequest *request);
extern bool charge_books(const ChargeRequest *request);
extern Rejection charge_locked(ChargeRequest *request, Account *acc, Deduction *deduction);
extern Rejection charge_make(ChargeRequest *request, Deduction *deduction);
extern Rejection settle_decide(const Account *acc, const Hold *hold, const SettleRequest *request, SettlePlan *plan);
extern void settle_free(Account *acc, Hold *hold, const SettlePlan *plan);
extern Rejection settle_make(SettleRequest *request, Deduction *deduction);
extern void settle_replay_zero(const SettleRequest *request, const Hold *hold, Deduction *deduction);
extern Rejection settle_usage(pg_uuid_t *user, pg_uuid_t *reservation, PricedUsage *priced, char *key,
							  Jsonb *metadata, const char *overrun, Deduction *deduction);
extern Rejection reserve_make(ReserveRequest *request, Reserved *reserved);
extern Rejection reserve_refuse(ReserveRequest *request, Rejection rejection, Reserved *reserved);
extern const char *release_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation);
extern Rejection renew_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation, int ttl_seconds, Reserved *reserved);

#endif
