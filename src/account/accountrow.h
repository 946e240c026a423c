#ifndef DUCTO_ACCOUNT_ACCOUNTROW_H
#define DUCTO_ACCOUNT_ACCOUNTROW_H

#include "postgres.h"

#include "account/account.h"

/* The row, for account.c. */
extern void account_clear(Account *acc, const pg_uuid_t *id);
extern bool account_row_read(const pg_uuid_t *id, AccountLock lock, bool apart, Account *acc);
extern uint64 accounts_lock_rows(AccountLock lock, Account *accs, int n, pg_uuid_t *locked);
extern void account_row_write(const Account *acc);
extern void account_row_tell(const Account *acc);
extern void accounts_rows_write(const Account **accs, int n);

/*
 * Whether an account is a user's that a guarded update may work on: the row
 * says all that matters, but for what is due.
 */
static inline bool
account_is_plain(const Account *acc)
{
	return !acc->team && acc->plan_id == NULL && acc->promised == 0 && acc->caps == 0 && acc->ahead_until <= acc->updated_at;
}

#endif
