#ifndef DUCTO_ACCOUNT_HOLD_H
#define DUCTO_ACCOUNT_HOLD_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "base/rejection.h"

typedef enum HoldState
{
	HOLD_OPEN,
	HOLD_SETTLED,
	HOLD_RELEASED,
	HOLD_EXPIRED
} HoldState;

/* A reservation. */
typedef struct Hold
{
	pg_uuid_t	id;
	bool		has_actor;		/* a team's pool holds it for a member */
	pg_uuid_t	actor;
	Money		amount;
	Money		remaining;
	const char *operation_type;
	const char *model;
	BillingMode billing_mode;
	Money		floor;
	HoldState	state;
	const char *idempotency_key;
	Money		balance_after;	/* as admitted, for a replay */
	Money		reserved_after;
	TimestampTz first_expires_at;
	const char *closing_key;
	bool		closed_by_zero; /* a deduct of 0 closed it, at closing_balance */
	Money		closing_balance;
	bool		skip_allowance;
	bool		has_ceiling;
	Money		ceiling;		/* where there is one: what may be charged, at most, once it has expired */
	Money		cap_held;		/* what caps count */
	int			pricing_version;	/* 0 for none; written only */
	const char *plan_id;		/* NULL for none; written only */
	Jsonb	   *metadata;		/* written only */
	TimestampTz created_at;
	TimestampTz expires_at;
} Hold;

/* An open reservation past its time. */
typedef struct DueHold
{
	Money		remaining;
	TimestampTz expires_at;
	bool		skip_allowance;
	Money		cap_held;
} DueHold;

/* Receives due holds one by one; false: no more are wanted. */
typedef bool (*DueHoldReader) (const DueHold *hold, void *state);

/* What of a hold was admitted on the allowance. */
static inline Money
hold_promise(const Hold *hold)
{
	return hold->skip_allowance ? 0 : hold->remaining - hold->cap_held;
}

extern bool hold_insert(const pg_uuid_t *account, const Hold *hold);
extern bool hold_owner(const pg_uuid_t *user, const pg_uuid_t *team, const pg_uuid_t *id, pg_uuid_t *owner);
extern bool hold_find(const pg_uuid_t *account, const pg_uuid_t *id, Hold *hold);
extern Rejection hold_missing(const pg_uuid_t *user, const pg_uuid_t *id);
extern Rejection hold_rejection(const Hold *hold);
extern bool hold_find_key(const pg_uuid_t *account, const char *key, Hold *hold);
extern TimestampTz hold_closed_at(const pg_uuid_t *account, const pg_uuid_t *id);
extern bool hold_find_closing_key(const pg_uuid_t *account, const char *key, Hold *hold);
extern void hold_update(const pg_uuid_t *account, const Hold *hold, TimestampTz now);
extern void hold_renew(const pg_uuid_t *account, const Hold *hold);
extern int64 holds_count_open(const Account *acc, const char *operation_type, int64 limit, bool read_only);
extern void hold_expire(Account *acc, Hold *hold);
extern void holds_due(const Account *acc, TimestampTz until, bool read_only, DueHoldReader reader, void *state);
extern void holds_due_of(const pg_uuid_t *accounts, int n, TimestampTz now, int max, DueHold *holds, int *counts);
extern void holds_expire_of(Account *const *accs, int n, int64 *counts);
extern int64 holds_prune(TimestampTz before, int64 max_rows);
extern int64 holds_expire(Account *acc, TimestampTz until, int64 limit, bool *left);
extern bool hold_peek(const pg_uuid_t *user, const pg_uuid_t *id, Hold *hold);
extern bool hold_try_settle(const pg_uuid_t *user, const Hold *hold, const Charge *charge, bool final,
							Account *after, AccountChange *change);
extern bool hold_try_renew(const pg_uuid_t *user, const pg_uuid_t *id, int ttl_seconds, Account *after, Hold *hold);
extern bool hold_try_release(const pg_uuid_t *user, const pg_uuid_t *id);
extern void hold_reopen(const pg_uuid_t *user, const Hold *hold);

#endif
