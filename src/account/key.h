#ifndef DUCTO_ACCOUNT_KEY_H
#define DUCTO_ACCOUNT_KEY_H

#include "postgres.h"
#include "fmgr.h"

#include "account/account.h"
#include "account/hold.h"
#include "account/ledger.h"
#include "base/rejection.h"

/* The kinds of operation that share one set of keys. */
typedef enum KeyKind
{
	KEY_CREDIT,
	KEY_DEBIT,
	KEY_REFUND,
	KEY_REVERSAL,
	KEY_TRANSFER
} KeyKind;

typedef enum KeyState
{
	KEY_FREE,
	KEY_REPLAY,					/* booked under this key, for the same target */
	KEY_REPLAY_ZERO,			/* a deduct of 0 that closed the same reservation */
	KEY_CONFLICT
} KeyState;

/* A key of an account. */
typedef struct AccountKey
{
	const pg_uuid_t *account;
	const char *key;
	bool		known;			/* the ledger has it */
} AccountKey;

extern void keys_find(AccountKey *keys, int n);
extern char *key_checked(char *key, const char *name);
extern char *arg_key(FunctionCallInfo fcinfo, int n, const char *name);
extern bool key_is_elsewhere(const Account *acc, const char *key);
extern Rejection key_conflict(const char *key);
extern KeyState key_repeat(KeyState known, bool differs);
extern KeyState key_find(const Account *acc, const char *key, KeyKind kind, const pg_uuid_t *target,
						 const pg_uuid_t *actor, LedgerEntry *original);

#endif
