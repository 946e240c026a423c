#ifndef DUCTO_ACCOUNT_GUARDED_H
#define DUCTO_ACCOUNT_GUARDED_H

#include "account/account.h"
#include "base/query.h"
#include "base/value.h"

/* What every guarded update returns of the row after its balance, as value.h has it. */
#define AFTER_FIELDS(FIELD) \
	FIELD(2, expiring, money, expiring) \
	FIELD(3, next_boundary, time, next_boundary) \
	FIELD(4, last_seq, int8, last_seq) \
	FIELD(5, closing_keys, bool, closing_keys) \
	FIELD(6, updated_at, time, updated_at)
#define AFTER_COLUMNS	"balance" AFTER_FIELDS(COLUMN_NAME)

enum
{
	BALANCE_COLUMN = 1, AFTER_COLUMN_COUNT = 6
};

/* The account $1, of which nothing is due at the time $4. */
#define GUARD(whose)	" WHERE id = $1 AND " whose " AND next_boundary > $4"

extern bool account_update(KeptQuery *query, const pg_uuid_t *id, QueryArgs *args);
extern bool account_after(const pg_uuid_t *id, Account *after, AccountChange *change);

#endif
