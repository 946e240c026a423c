#ifndef DUCTO_ACCOUNT_FUNDS_H
#define DUCTO_ACCOUNT_FUNDS_H

#include "account/account.h"
#include "base/rejection.h"

extern PeriodRule account_cycle_rule(const Account *acc, PeriodUnit unit);
extern Period account_cycle(const Account *acc, TimestampTz at);
extern Spend allowance_used(const Account *acc, TimestampTz at);
extern Money allowance_left(const Account *acc, TimestampTz at);
extern void allowance_consume(Account *acc, Money amount);
extern void allowance_take(Account *acc, Money amount, Money ended);
extern void allowance_rely(Account *acc, TimestampTz at);
extern void allowance_restore(Account *acc, Money amount, TimestampTz consumed_at);
extern void account_free(Account *acc, Money amount, bool skip_allowance, Money promise);
extern Money account_need(const Account *acc, TimestampTz at);
extern Money account_headroom(const Account *acc, Money floor, bool skip_allowance);
extern Rejection account_lacks(Money needed, Money available, Money floor);
extern Money account_need_of(const Account *acc, Money amount, bool skip_allowance);

#endif
