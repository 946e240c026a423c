#ifndef DUCTO_ACCOUNT_CAP_H
#define DUCTO_ACCOUNT_CAP_H

#include "account/account.h"
#include "account/capwindow.h"
#include "account/ledger.h"
#include "base/value.h"

/*
 * The columns of a cap between its account and its buckets, as value.h has them.
 * The first two tell it from the others of its account.
 */
#define CAP_KEY_FIELDS(FIELD) \
	FIELD(2, cap_type, kind, kind) \
	FIELD(3, model, text, model)
#define CAP_OTHER_FIELDS(FIELD) \
	FIELD(4, cap_limit, money, limit) \
	FIELD(5, action, action, action) \
	FIELD(6, of_plan, bool, of_plan) \
	FIELD(7, window_length, interval, window_length) \
	FIELD(8, window_from, time, from) \
	FIELD(9, window_until, time, until) \
	FIELD(10, spent, spend, spent) \
	FIELD(11, held, spend, held)
#define CAP_FIELDS(FIELD)	CAP_KEY_FIELDS(FIELD) CAP_OTHER_FIELDS(FIELD)

enum
{
	CAP_ACCOUNT_COLUMN = 1, CAP_BUCKETS_COLUMN = 12
};

/* What a cap is read of. */
#define CAP_COLUMNS	"account_id" CAP_FIELDS(COLUMN_NAME) ", buckets"

/* Caps of an account. */
typedef struct CapList
{
	int			n;
	Cap		   *caps;
	struct KeptCap *kept;		/* of those that a batch keeps, as they were read; NULL for others */
} CapList;

/* What an operation moves on the counters of an account's caps. */
typedef struct CapChange
{
	const char *model;			/* of what is spent; NULL for none */
	Money		spent;
	const char *held_model;		/* of what is held; NULL for none */
	Money		held;
	const pg_uuid_t *actor;		/* the member, where the account is a team's pool */
} CapChange;

/* What the caps say of a change. */
typedef struct CapVerdict
{
	CapAction	warning;		/* the strongest that is exceeded */
} CapVerdict;

extern void cap_set(Account *acc, Cap *cap);
extern bool cap_remove(Account *acc, CapKind kind, const char *model);
extern void cap_update(const Account *acc, Cap *cap);
extern void cap_from_row(Cap *cap, uint64 row);
extern void args_buckets(QueryArgs *args, const Cap *cap);
extern void caps_select(const Account *acc, bool read_only, CapList *list);
extern void caps_read(const Account *acc, bool read_only, CapList *list);
extern bool caps_try(const Account *acc, const CapChange *change, bool deny, CapVerdict *verdict);
extern void verdict_warn(CapVerdict *verdict, CapAction action);
extern void caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern void caps_apply_models(const Account *acc, const CapChange *change, const EntryModels *models, CapVerdict *verdict);
extern bool caps_admit(Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_would_deny(Account *acc, const CapChange *change, bool read_only);
extern void cap_exceeded(Money needed, const char *cap, Money limit, Spend counted, TimestampTz resets_at);
extern void caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at);
extern void caps_refund_models(const Account *acc, const CapChange *refunded, const EntryModels *models, Money before,
							   TimestampTz debited_at);
extern void caps_end_holds(Account *acc, TimestampTz until);
extern void caps_make(const Account *acc);
extern void caps_sync(Account *acc);

/* Whether the caps of an account may not be those of its plan, as that is now. */
static inline bool
caps_are_stale(const Account *acc)
{
	return acc->caps_version != acc->plan.caps_version;
}

#endif
