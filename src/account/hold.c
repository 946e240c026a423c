/*
 * hold.c
 *		The table reservations: what an account holds, and how holds end.
 */
#include "postgres.h"

#include "account/claim.h"
#include "account/hold.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"
#include "base/uuid.h"
#include "base/value.h"

static const char *const hold_states[] = {
	[HOLD_OPEN] = "open",
	[HOLD_SETTLED] = "settled",
	[HOLD_RELEASED] = "released",
	[HOLD_EXPIRED] = "expired",
	NULL
};

/*
 * What is kept of a hold, as value.h has it; MAYBE is a column that may be NULL, and
 * which member tells whether it is there. First what changes, and then what stays
 * as it was admitted.
 */
#define HOLD_MOVING_FIELDS(FIELD, MAYBE) \
	FIELD(3, remaining, money, remaining) \
	FIELD(4, expires_at, time, expires_at) \
	FIELD(5, cap_held, money, cap_held) \
	FIELD(6, closing_key, text, closing_key) \
	MAYBE(7, closing_balance, money, closing_balance, closed_by_zero) \
	MAYBE(8, ceiling, money, ceiling, has_ceiling)
#define HOLD_LASTING_FIELDS(FIELD) \
	FIELD(9, amount, money, amount) \
	FIELD(10, operation_type, text, operation_type) \
	FIELD(11, model, text, model) \
	FIELD(12, billing_mode, mode, billing_mode) \
	FIELD(13, floor, money, floor) \
	FIELD(14, idempotency_key, text, idempotency_key) \
	FIELD(15, balance_after, money, balance_after) \
	FIELD(16, reserved_after, money, reserved_after) \
	FIELD(17, first_expires_at, time, first_expires_at) \
	FIELD(18, created_at, time, created_at) \
	FIELD(19, skip_allowance, bool, skip_allowance)
#define HOLD_FIELDS(FIELD, MAYBE)	HOLD_MOVING_FIELDS(FIELD, MAYBE) HOLD_LASTING_FIELDS(FIELD)

#define SQL_mode	"text"
#define OID_mode	TEXTOID

/* As they are read: the first two, and what comes after the list. */
enum
{
	STATE_COLUMN = 1, ID_COLUMN = 2, ACTOR_COLUMN = 20
};

#define HOLD_COLUMNS	"state, id" HOLD_FIELDS(COLUMN_NAME, COLUMN_NAME) ", actor"

#define HOLD_INSERT_SQL \
	"INSERT INTO ducto.reservations (account_id, id" HOLD_FIELDS(COLUMN_NAME, COLUMN_NAME) \
	", actor, metadata, pricing_version, plan_id, state)" \
	" VALUES ($1, $2" HOLD_FIELDS(COLUMN_PARAM, COLUMN_PARAM) ", $20, $21, $22, $23, 'open')"
#define HOLD_INSERT_TYPES \
	{UUIDOID, UUIDOID, HOLD_FIELDS(COLUMN_TYPE, COLUMN_TYPE) UUIDOID, JSONBOID, INT4OID, TEXTOID}

static KeptQuery hold_insert_query = {.sql = HOLD_INSERT_SQL, .types = HOLD_INSERT_TYPES};

/* Does nothing when the key is known, which is exact under the account's lock. */
static KeptQuery hold_insert_once_query = {
	.sql = HOLD_INSERT_SQL " ON CONFLICT (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
	.types = HOLD_INSERT_TYPES
};

/* Exact under the account's lock, as all that follow. */
static KeptQuery hold_find_query = {
	.sql = "SELECT " HOLD_COLUMNS " FROM ducto.reservations WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID}
};

/* Most reservations are the user's own. On a cluster the first one asks one node, and the other all. */
static KeptQuery hold_own_query = {
	.sql = "SELECT account_id FROM ducto.reservations WHERE account_id = $1 AND id = $2 AND actor IS NULL",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery hold_of_any_team_query = {
	.sql = "SELECT account_id FROM ducto.reservations WHERE id = $2 AND actor = $1",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery hold_of_team_query = {
	.sql = "SELECT account_id FROM ducto.reservations WHERE account_id = $3 AND id = $2 AND actor = $1",
	.types = {UUIDOID, UUIDOID, UUIDOID}
};

static KeptQuery hold_key_query = {
	.sql = "SELECT " HOLD_COLUMNS " FROM ducto.reservations WHERE account_id = $1 AND idempotency_key = $2",
	.types = {UUIDOID, TEXTOID}
};

static KeptQuery hold_closing_key_query = {
	.sql = "SELECT " HOLD_COLUMNS " FROM ducto.reservations WHERE account_id = $1 AND closing_key = $2",
	.types = {UUIDOID, TEXTOID}
};

static KeptQuery hold_closed_at_query = {
	.sql = "SELECT coalesce(closed_at, 'infinity') FROM ducto.reservations WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery hold_update_query = {
	.sql = "UPDATE ducto.reservations SET state = $9, closed_at = coalesce(closed_at, $10)"
	HOLD_MOVING_FIELDS(COLUMN_SET, COLUMN_SET) " WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, HOLD_MOVING_FIELDS(COLUMN_TYPE, COLUMN_TYPE) TEXTOID, TIMESTAMPTZOID}
};

static KeptQuery hold_renew_query = {
	.sql = "UPDATE ducto.reservations SET expires_at = $3 WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery hold_renew_open_query = {
	.sql = "UPDATE ducto.reservations SET expires_at = $3 WHERE account_id = $1 AND id = $2 AND closed_at IS NULL"
	" RETURNING amount, billing_mode",
	.types = {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

/* As many as matter are counted. */
static KeptQuery holds_count_query = {
	.sql = "SELECT count(*) FROM (SELECT FROM ducto.reservations"
	" WHERE account_id = $1 AND state = 'open' AND operation_type = $2 AND expires_at > $3 LIMIT $4) r",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT8OID}
};

/*
 * In a snapshot from before the account's lock: the caller closes the hold only
 * as it is told here. It names no state, see hold_close_query.
 */
#define OPEN_FIELDS(FIELD) \
	FIELD(2, cap_held, money, cap_held) \
	FIELD(3, operation_type, text, operation_type) \
	FIELD(4, model, text, model)

static KeptQuery hold_peek_query = {
	.sql = "SELECT remaining" OPEN_FIELDS(COLUMN_NAME) " FROM ducto.reservations"
	" WHERE account_id = $1 AND id = $2 AND closed_at IS NULL AND NOT skip_allowance",
	.types = {UUIDOID, UUIDOID}
};

/*
 * Finds the reservation only as the guarded update of its account saw it. It
 * names no state: an index of the open ones would do then, and be read through
 * for every reservation that the account has had since a vacuum.
 */
static KeptQuery hold_close_query = {
	.sql = "UPDATE ducto.reservations SET remaining = $4, state = CASE WHEN $5 THEN 'settled' ELSE state END,"
	" closed_at = CASE WHEN $5 THEN $6 END, cap_held = least(cap_held, $4)"
	" WHERE account_id = $1 AND id = $2 AND closed_at IS NULL AND remaining = $3",
	.types = {UUIDOID, UUIDOID, NUMERICOID, NUMERICOID, BOOLOID, TIMESTAMPTZOID}
};

/* As hold_close_query. */
static KeptQuery hold_release_query = {
	.sql = "UPDATE ducto.reservations SET remaining = 0.0000, state = 'released', closed_at = $4, cap_held = 0.0000"
	" WHERE account_id = $1 AND id = $2 AND closed_at IS NULL AND remaining = $3",
	.types = {UUIDOID, UUIDOID, NUMERICOID, TIMESTAMPTZOID}
};

/* Takes hold_close_query back. */
static KeptQuery hold_reopen_query = {
	.sql = "UPDATE ducto.reservations SET remaining = $3, state = 'open', closed_at = NULL, cap_held = $4"
	" WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID, NUMERICOID}
};

/*
 * Read a billing mode.
 */
static BillingMode
row_mode(uint64 row, int column)
{
	return (BillingMode) row_word(row, column, billing_modes);
}

/*
 * Append a billing mode.
 */
static void
args_mode(QueryArgs *args, BillingMode value)
{
	args_text(args, billing_modes[value]);
}

#define FIELD_READ(n, column, kind, member)	hold->member = row_##kind(0, n);
#define FIELD_APPEND(n, column, kind, member)	args_##kind(&args, hold->member);
#define MAYBE_READ(n, column, kind, member, given) \
	hold->given = !row_is_null(0, n); \
	if (hold->given) \
		hold->member = row_##kind(0, n);
#define MAYBE_APPEND(n, column, kind, member, given) \
	if (hold->given) \
		args_##kind(&args, hold->member); \
	else \
		args_null(&args);

/*
 * hold_insert adds an open reservation to a locked account. False: its key is
 * known there, and it did nothing.
 */
bool
hold_insert(const pg_uuid_t *account, const Hold *hold)
{
	QueryArgs	args = {0};

	Assert(hold->state == HOLD_OPEN);
	args_uuid(&args, account);
	args_uuid(&args, &hold->id);
	HOLD_FIELDS(FIELD_APPEND, MAYBE_APPEND)
	args_uuid(&args, hold->has_actor ? &hold->actor : NULL);
	args_metadata(&args, hold->metadata);
	if (hold->pricing_version != 0)
		args_int4(&args, hold->pricing_version);
	else
		args_null(&args);
	args_text(&args, hold->plan_id);
	return query_run(hold->idempotency_key == NULL ? &hold_insert_query : &hold_insert_once_query,
					 &args, SPI_OK_INSERT) == 1;
}

/*
 * Find the account of a reservation: the user's first.
 */
static uint64
hold_find_owner(const pg_uuid_t *team, QueryArgs *args)
{
	uint64		found;

	if (team != NULL)
		return query_run(&hold_of_team_query, args, SPI_OK_SELECT);
	found = query_run(&hold_own_query, args, SPI_OK_SELECT);
	if (found > 0 || call_is_from_elsewhere())
		return found;
	(void) shard_suspend();		/* a team's pool may be on any, and so is what follows */
	return query_run(&hold_of_any_team_query, args, SPI_OK_SELECT);
}

/*
 * hold_owner finds whose account has a reservation that a user may end: that
 * of a team, or with NULL the user's own or any team's. That never changes, so
 * it needs no lock.
 */
bool
hold_owner(const pg_uuid_t *user, const pg_uuid_t *team, const pg_uuid_t *id, pg_uuid_t *owner)
{
	QueryArgs	args = {0};

	args_uuid(&args, user);
	args_uuid(&args, id);
	if (team != NULL)
		args_uuid(&args, team);
	if (hold_find_owner(team, &args) == 0)
		return false;
	*owner = row_uuid(0, 1);
	return true;
}

/*
 * Find a reservation of a locked account by a query.
 */
static bool
hold_find_by(KeptQuery *query, QueryArgs *args, Hold *hold)
{
	memset(hold, 0, sizeof(Hold));
	if (query_run(query, args, SPI_OK_SELECT) == 0)
		return false;
	hold->id = row_uuid(0, ID_COLUMN);
	hold->state = (HoldState) row_word(0, STATE_COLUMN, hold_states);
	HOLD_FIELDS(FIELD_READ, MAYBE_READ)
	hold->has_actor = !row_is_null(0, ACTOR_COLUMN);
	if (hold->has_actor)
		hold->actor = row_uuid(0, ACTOR_COLUMN);
	return true;
}

/*
 * hold_find finds a reservation of a locked account by its id.
 */
bool
hold_find(const pg_uuid_t *account, const pg_uuid_t *id, Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, id);
	return hold_find_by(&hold_find_query, &args, hold);
}

/*
 * hold_missing returns the rejection of a reservation that a user does not
 * have, and tells which.
 */
Rejection
hold_missing(const pg_uuid_t *user, const pg_uuid_t *id)
{
	return rejection_because(RESERVATION_NOT_FOUND, "User %s has no reservation %s.", uuid_to_cstring(user), uuid_to_cstring(id));
}

/*
 * hold_rejection returns the rejection of a call that needs an open
 * reservation, and tells how this one ended.
 */
Rejection
hold_rejection(const Hold *hold)
{
	switch (hold->state)
	{
		case HOLD_OPEN:
			return ACCEPTED;
		case HOLD_EXPIRED:
			return rejection_because(RESERVATION_EXPIRED, "Reservation %s expired at %s.", uuid_to_cstring(&hold->id),
									 timestamptz_to_str(hold->expires_at));
		case HOLD_SETTLED:
			return rejection_because(RESERVATION_CLOSED, "Reservation %s was settled.", uuid_to_cstring(&hold->id));
		case HOLD_RELEASED:
			return rejection_because(RESERVATION_CLOSED, "Reservation %s was released.", uuid_to_cstring(&hold->id));
	}
	pg_unreachable();
}

/*
 * hold_find_key finds a reservation of a locked account by the key of its
 * reserve.
 */
bool
hold_find_key(const pg_uuid_t *account, const char *key, Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_text(&args, key);
	return hold_find_by(&hold_key_query, &args, hold);
}

/*
 * hold_find_closing_key finds a reservation of a locked account by the key of
 * the deduct of 0 that closed it.
 */
bool
hold_find_closing_key(const pg_uuid_t *account, const char *key, Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_text(&args, key);
	return hold_find_by(&hold_closing_key_query, &args, hold);
}

/*
 * hold_closed_at returns when a reservation of a locked account was closed,
 * infinity when it was not.
 */
TimestampTz
hold_closed_at(const pg_uuid_t *account, const pg_uuid_t *id)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, id);
	if (query_run(&hold_closed_at_query, &args, SPI_OK_SELECT) != 1)
		elog(ERROR, "reservation is gone");
	return row_time(0, 1);
}

/*
 * hold_update writes what of a reservation can change: what remains, its
 * state, when it expires, and the deduct of 0 that closed it.
 */
void
hold_update(const pg_uuid_t *account, const Hold *hold, TimestampTz now)
{
	QueryArgs	args = {0};

	Assert(hold->remaining >= 0);
	Assert(hold->cap_held >= 0 && hold->cap_held <= hold->remaining);
	Assert(hold->state == HOLD_OPEN || hold->remaining == 0);
	args_uuid(&args, account);
	args_uuid(&args, &hold->id);
	HOLD_MOVING_FIELDS(FIELD_APPEND, MAYBE_APPEND)
	args_text(&args, hold_states[hold->state]);
	if (hold->state != HOLD_OPEN)
		args_time(&args, now);
	else
		args_null(&args);
	if (query_run(&hold_update_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("reservations");
}

/*
 * hold_renew writes when an open reservation of a locked account expires.
 */
void
hold_renew(const pg_uuid_t *account, const Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, &hold->id);
	args_time(&args, hold->expires_at);
	if (query_run(&hold_renew_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("reservations");
}

/*
 * holds_count_open counts the open reservations of an operation type, up to a
 * limit.
 */
int64
holds_count_open(const Account *acc, const char *operation_type, int64 limit, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_text(&args, operation_type);
	args_time(&args, Max(acc->now, acc->ended_until));
	args_int8(&args, limit);
	if (read_only)
		query_read(&holds_count_query, &args);
	else
		query_run(&holds_count_query, &args, SPI_OK_SELECT);
	return row_int8(0, 1);
}

/*
 * Close a reservation, or keep it open with less, as it was found.
 */
static bool
hold_try_close(const pg_uuid_t *user, const Hold *hold, Money freed, bool final, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, user);
	args_uuid(&args, &hold->id);
	args_money(&args, hold->remaining);
	args_money(&args, hold->remaining - freed);
	args_bool(&args, final);
	args_time(&args, now);
	return query_run(&hold_close_query, &args, SPI_OK_UPDATE) == 1;
}

#define OPEN_READ(n, column, kind, member)	hold->member = row_##kind(0, n);

/*
 * hold_peek reads what is open of a user's reservation, without a lock, and what
 * an entry says of it. False: there is none, or it is likely that more has to be
 * done than hold_try_settle and its like do.
 */
bool
hold_peek(const pg_uuid_t *user, const pg_uuid_t *id, Hold *hold)
{
	QueryArgs	args = {0};

	if (account_is_doubted())
		return false;
	args_uuid(&args, user);
	args_uuid(&args, id);
	if (query_run(&hold_peek_query, &args, SPI_OK_SELECT) == 0)
		return false;
	memset(hold, 0, sizeof(Hold));
	hold->id = *id;
	hold->remaining = row_money(0, 1);
	OPEN_FIELDS(OPEN_READ)
	return true;
}

/*
 * hold_try_settle takes a charge, which has a rest only where it is final, for
 * an open reservation that hold_peek has read, when that is all there is to do.
 * The account is then locked and as in after. With a link it moves the head of
 * the account's chain, unless it took from grants. False: it did nothing.
 */
bool
hold_try_settle(const pg_uuid_t *user, const Hold *hold, const Charge *charge, bool final,
				Account *after, AccountChange *change)
{
	Money		most = charge->amount + (charge->rest != 0 ? 1 : 0);
	Money		freed = final ? hold->remaining : charge->amount;

	if (most > hold->remaining || !account_try_settle(user, hold->remaining, freed, charge, after, change))
		return false;
	if (hold_try_close(user, hold, freed, final, after->now))
		return true;
	account_undo(user, change);
	return false;
}

/*
 * hold_reopen takes back what hold_try_settle did to the reservation.
 */
void
hold_reopen(const pg_uuid_t *user, const Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, user);
	args_uuid(&args, &hold->id);
	args_money(&args, hold->remaining);
	args_money(&args, hold->cap_held);
	if (query_run(&hold_reopen_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("reservations");
}

/*
 * hold_try_release frees what an open reservation of a user holds and closes it,
 * when that is all there is to do. It locks the account. False: it did nothing.
 */
bool
hold_try_release(const pg_uuid_t *user, const pg_uuid_t *id)
{
	Account		after;
	AccountChange change;
	Hold		hold;
	QueryArgs	args = {0};

	if (!hold_peek(user, id, &hold) || !account_try_release(user, hold.remaining, &after, &change))
		return false;
	args_uuid(&args, user);
	args_uuid(&args, id);
	args_money(&args, hold.remaining);
	args_time(&args, after.now);
	if (query_run(&hold_release_query, &args, SPI_OK_UPDATE) == 1)
		return true;
	account_undo(user, &change);
	return false;
}

/*
 * hold_try_renew lets an open reservation of a user expire in so many seconds,
 * when that is all there is to do. It locks the account, and tells of the
 * reservation what is shown of it. False: the reservation is as it was.
 */
bool
hold_try_renew(const pg_uuid_t *user, const pg_uuid_t *id, int ttl_seconds, Account *after, Hold *hold)
{
	QueryArgs	args = {0};

	if (!account_try_expect(user, id, ttl_seconds, after))
		return false;
	memset(hold, 0, sizeof(Hold));
	hold->expires_at = after->now + ttl_seconds * USECS_PER_SEC;
	args_uuid(&args, user);
	args_uuid(&args, id);
	args_time(&args, hold->expires_at);
	if (query_run(&hold_renew_open_query, &args, SPI_OK_UPDATE_RETURNING) == 0)
		return false;
	hold->amount = row_money(0, 1);
	hold->billing_mode = row_mode(0, 2);
	return true;
}
