#ifndef DUCTO_ACCOUNT_CAP_H
#define DUCTO_ACCOUNT_CAP_H

#include "account/account.h"

/* A spend cap. model is empty for all models. */
typedef struct Cap
{
	const char *cap_type;
	const char *model;
	Money		limit;
	const char *action;
} Cap;

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
	const char *warning;		/* the strongest action exceeded, NULL for none */
} CapVerdict;

/*
 * What holds of an account that are past their time, but count in its caps
 * still, hold: by model, and empty for all. They expire after one time and no
 * later than another.
 */
#define CAPS_DUE(account, after, until) \
	"SELECT CASE WHEN grouping(model) = 0 THEN model ELSE '' END AS model, sum(cap_held) AS held FROM ducto.reservations" \
	" WHERE account_id = " account " AND state = 'open' AND expires_at > " after " AND expires_at <= " until \
	" GROUP BY GROUPING SETS ((model), ()) HAVING sum(cap_held) > 0 AND (grouping(model) = 1 OR model IS NOT NULL)"

extern void cap_set(Account *acc, const Cap *cap);
extern bool cap_remove(Account *acc, const Cap *cap);
extern void caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_admit(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_would_deny(const Account *acc, const CapChange *change, bool read_only);
extern void caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at);
extern void caps_end_holds(Account *acc, TimestampTz until);

#endif
