/*
 * release.c
 *		What becomes of a hold: it lasts longer, or is given up.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/event.h"
#include "account/funds.h"
#include "account/hold.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/reserve.h"
#include "credit/there.h"

PG_FUNCTION_INFO_V1(ducto_renew);
PG_FUNCTION_INFO_V1(ducto_release);

const char *const release_reasons[] = {
	[RELEASE_DONE] = "released",
	[RELEASE_NOT_FOUND] = "not_found",
	[RELEASE_SETTLED] = "already_settled",
	[RELEASE_RELEASED] = "already_released",
	[RELEASE_EXPIRED] = "expired",
};

/*
 * reservation_lock locks the account of a reservation that a user may end, the
 * user's own or a team's pool, that of team unless it is NULL, and reads the
 * reservation. False: there is none, and the user's account, if any, is locked.
 */
bool
reservation_lock(const pg_uuid_t *user, const pg_uuid_t *team, const pg_uuid_t *id, Account *acc, Hold *hold)
{
	pg_uuid_t	owner;

	if (!hold_owner(user, team, id, &owner))
	{
		account_lock(user, acc);
		return false;
	}
	account_lock_any(&owner, acc);
	if (!hold_find(&acc->id, id, hold))
		return false;
	if (hold->state == HOLD_OPEN && hold->expires_at <= acc->ended_until)
	{
		hold_expire(acc, hold);
		account_tell(acc);
	}
	return true;
}

/*
 * Let an open reservation expire later, step by step.
 */
static Rejection
renew_in_steps(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation, int ttl_seconds, Account *acc, Hold *hold)
{
	Rejection	rejection;

	if (!reservation_lock(user, team, reservation, acc, hold))
	{
		hold->expires_at = DT_NOEND;
		return hold_missing(user, reservation);
	}
	rejection = hold_rejection(hold);
	if (rejection != ACCEPTED)
		return rejection;
	hold->expires_at = acc->now + ttl_seconds * USECS_PER_SEC;
	account_expect(acc, hold->expires_at);
	hold_renew(&acc->id, hold);
	account_store(acc);
	return ACCEPTED;
}

/*
 * renew_make lets an open reservation expire later. The caller has connected
 * to SPI.
 */
Rejection
renew_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation, int ttl_seconds, Reserved *reserved)
{
	Account		acc;
	Hold		hold = {0};
	Rejection	rejection = ACCEPTED;

	if (team != NULL || !hold_try_renew(user, reservation, ttl_seconds, &acc, &hold))
		rejection = renew_in_steps(user, team, reservation, ttl_seconds, &acc, &hold);
	memset(reserved, 0, sizeof(Reserved));
	reserved->booked = true;
	reserved->reservation = *reservation;
	reserved->user = user;
	reserved->amount = hold.amount;
	reserved->balance = acc.balance;
	reserved->reserved = acc.held;
	reserved->allowance_left = allowance_left(&acc, acc.now);
	reserved->billing_mode = hold.billing_mode;
	reserved->expires_at = hold.expires_at;
	return rejection;
}

/*
 * ducto_renew lets an open reservation expire later. It locks the account.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_renew(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user;
	pg_uuid_t  *reservation;
	int			ttl_seconds;
	Reserved	reserved;
	Rejection	rejection;
	Datum		result;

	if (renew_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	user = arg_uuid(fcinfo, 0, "user_id");
	reservation = arg_uuid(fcinfo, 1, "reservation_id");
	ttl_seconds = arg_ttl(fcinfo, 2);
	query_begin();
	rejection = renew_make(user, arg_uuid_or_null(fcinfo, 3), reservation, ttl_seconds, &reserved);
	result = reserve_result(fcinfo, &reserved, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * Free what an open reservation of a locked account holds, and return what
 * became of it.
 */
static Release
release_book(Account *acc, Hold *hold)
{
	CapChange	change = {0};
	CapVerdict	verdict;

	switch (hold->state)
	{
		case HOLD_SETTLED:
			return RELEASE_SETTLED;
		case HOLD_RELEASED:
			return RELEASE_RELEASED;
		case HOLD_EXPIRED:
			return RELEASE_EXPIRED;
		case HOLD_OPEN:
			break;
	}
	account_free(acc, hold->remaining, hold->skip_allowance, hold_promise(hold));
	change.actor = &hold->actor;
	change.held_model = hold->model;
	change.held = -hold->cap_held;
	caps_apply(acc, &change, &verdict);
	hold->remaining = 0;
	hold->cap_held = 0;
	hold->state = HOLD_RELEASED;
	hold_update(&acc->id, hold, acc->now);
	account_store(acc);
	return RELEASE_DONE;
}

/*
 * release_make frees what a reservation holds, and returns what became of it.
 * It locks the account. The caller has connected to SPI.
 */
Release
release_make(pg_uuid_t *user, pg_uuid_t *team, pg_uuid_t *reservation)
{
	Account		acc;
	Hold		hold;

	if (team == NULL && hold_try_release(user, reservation))
		return RELEASE_DONE;
	return reservation_lock(user, team, reservation, &acc, &hold) ? release_book(&acc, &hold) : RELEASE_NOT_FOUND;
}

/*
 * ducto_release frees what a reservation holds. It locks the account.
 * Arguments, reasons and errors: see its COMMENT.
 */
Datum
ducto_release(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user;
	pg_uuid_t  *reservation;
	Release		release;
	ResultRow	row;
	Datum		result;

	if (release_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	user = arg_uuid(fcinfo, 0, "user_id");
	reservation = arg_uuid(fcinfo, 1, "reservation_id");
	query_begin();
	release = release_make(user, arg_uuid_or_null(fcinfo, 2), reservation);
	result_begin(&row, fcinfo);
	result_uuid(&row, reservation);
	result_uuid(&row, user);
	result_bool(&row, release == RELEASE_DONE);
	result_text(&row, release_reasons[release]);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
