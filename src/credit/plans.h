#ifndef DUCTO_CREDIT_PLANS_H
#define DUCTO_CREDIT_PLANS_H

#include "postgres.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "base/rejection.h"

/* How a user's cycles go. */
typedef struct CycleChoice
{
	TimestampTz anchor;			/* -infinity for the calendar */
	char	   *zone_name;		/* NULL for UTC */
} CycleChoice;

extern Rejection plan_assign(const pg_uuid_t *user, char *plan_id, const CycleChoice *choice);
extern Rejection usage_increment(const pg_uuid_t *user, const char *plan_id, Money amount, Account *acc, UserPlan *plan);

#endif
