#ifndef DUCTO_ACCOUNT_GRANT_H
#define DUCTO_ACCOUNT_GRANT_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/money.h"

/* A grant, as far as it matters for time and spending. */
typedef struct Lot
{
	pg_uuid_t	id;
	int64		seq;
	Money		remaining;
	TimestampTz expires_at;
} Lot;

/* What was taken from, or given back to, which grant. */
typedef struct Burn
{
	pg_uuid_t	grant;
	Money		amount;
} Burn;

typedef struct BurnList
{
	int			n;
	Burn	   *burns;
} BurnList;

extern int	lots_due(const pg_uuid_t *account, TimestampTz now, bool read_only, Lot **lots);
extern TimestampTz lots_next_expiry(const pg_uuid_t *account, TimestampTz now);
extern void lot_insert(const pg_uuid_t *account, const pg_uuid_t *id, int64 seq, const char *type,
					   Money amount, Money remaining, int priority, TimestampTz expires_at,
					   TimestampTz created_at);
extern void lots_burn(const pg_uuid_t *account, Money amount, TimestampTz now, bool late,
					  BurnList *burned);
extern void lots_take(const pg_uuid_t *account, const BurnList *list);
extern void lots_give(const pg_uuid_t *account, const BurnList *list);
extern void lots_expire(const pg_uuid_t *account, const Lot *last, int n);
extern TimestampTz *lots_times(const pg_uuid_t *account, const BurnList *list);

#endif
