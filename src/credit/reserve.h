#ifndef DUCTO_CREDIT_RESERVE_H
#define DUCTO_CREDIT_RESERVE_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "account/hold.h"
#include "base/rejection.h"
#include "pricing/pricing.h"

/* What ducto_reserve is asked for. */
typedef struct ReserveRequest
{
	pg_uuid_t  *user;
	pg_uuid_t  *team;			/* whose pool holds; NULL for the user's own account */
	Money		amount;
	char	   *operation_type;
	Jsonb	   *metadata;
	bool		has_min_balance;	/* else as the active pricing says */
	Money		min_balance;
	int			ttl_seconds;
	char	   *model;
	BillingMode billing_mode;
	bool		has_floor;
	Money		overdraft_floor;
	int			max_concurrent; /* 0 = as the plan says */
	char	   *required_feature;
	char	   *key;
	bool		skip_allowance;
	bool		ceiling;		/* never charge it more than it holds */
	PricedUsage *priced;		/* what amount is the price of; NULL for none */
} ReserveRequest;

/* What became of a reservation that was to be released. */
typedef enum Release
{
	RELEASE_DONE,
	RELEASE_NOT_FOUND,
	RELEASE_SETTLED,			/* these had ended before */
	RELEASE_RELEASED,
	RELEASE_EXPIRED
} Release;

/* What was, or was not, held. */
typedef struct Reserved
{
	bool		booked;			/* reservation is its id */
	pg_uuid_t	reservation;
	const pg_uuid_t *user;
	Money		amount;
	Money		balance;
	Money		reserved;
	Money		allowance_left;	/* this month's, where the account was read */
	BillingMode billing_mode;
	TimestampTz expires_at;		/* infinity for none */
	bool		idempotent;
} Reserved;

extern const char *const release_reasons[];

extern int	arg_ttl(FunctionCallInfo fcinfo, int n);
extern Datum reserve_result(FunctionCallInfo fcinfo, const Reserved *reserved, Rejection rejection);
extern bool reservation_lock(const pg_uuid_t *user, const pg_uuid_t *team, const pg_uuid_t *id, Account *acc, Hold *hold);
extern Rejection reserve_make(ReserveRequest *request, Reserved *reserved);
extern Rejection reserve_refuse(ReserveRequest *request, Rejection rejection, Reserved *reserved);
extern Release release_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation);
extern Rejection renew_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation, int ttl_seconds, Reserved *reserved);

#endif
