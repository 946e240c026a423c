#ifndef DUCTO_CREDIT_PLANS_H
#define DUCTO_CREDIT_PLANS_H

#include "postgres.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "base/rejection.h"

extern Rejection plan_assign(const pg_uuid_t *user, char *plan_id);
extern Rejection usage_increment(const pg_uuid_t *user, const char *plan_id, Money amount, Account *acc, UserPlan *plan);

#endif
