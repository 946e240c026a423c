#ifndef DUCTO_CAP_H
#define DUCTO_CAP_H

#include "account.h"

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
	bool		denied;			/* a deny cap is exceeded */
	const char *warning;		/* the strongest action exceeded, NULL for none */
} CapVerdict;

extern void caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_admit(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_would_deny(const Account *acc, const CapChange *change, bool read_only);
extern void caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at);
extern void caps_recount_held(const Account *acc);

#endif
