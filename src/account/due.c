/*
 * due.c
 *		Reservations past their time: finding and closing them, of one account
 *		or of many.
 */
#include "postgres.h"

#include "account/claim.h"
#include "account/event.h"
#include "account/hold.h"
#include "base/query.h"

#define DUE_COLUMNS	"remaining, expires_at, skip_allowance, cap_held"

/* Where a row has them; DUE_ACCOUNT is which of several accounts it is of, from 1. */
enum
{
	DUE_REMAINING, DUE_EXPIRES_AT, DUE_SKIP_ALLOWANCE, DUE_CAP_HELD, DUE_ACCOUNT
};

/* The caller has the account's lock, as in all that follow. */
static KeptQuery holds_due_query = {
	.sql = "SELECT " DUE_COLUMNS " FROM ducto.reservations"
	" WHERE account_id = $1 AND state = 'open' AND expires_at > $2 AND expires_at <= $3 ORDER BY expires_at",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* As this, of many accounts of which none have ended, up to $3 of each: for each in turn a range of the index. */
static KeptQuery holds_due_of_query = {
	.sql = "SELECT r.*, a.n FROM unnest($1) WITH ORDINALITY AS a(id, n), LATERAL (SELECT " DUE_COLUMNS
	"  FROM ducto.reservations WHERE account_id = a.id AND state = 'open' AND expires_at <= $2 ORDER BY expires_at LIMIT $3) r",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID, INT8OID}
};

/* The first after as many that are to be closed. */
static KeptQuery holds_after_query = {
	.sql = "SELECT expires_at, id FROM ducto.reservations"
	" WHERE account_id = $1 AND state = 'open' AND expires_at <= $2 ORDER BY expires_at, id OFFSET $3 LIMIT 1",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID}
};

/* Where there is a ceiling, it is what was left. */
#define EXPIRE_SET \
	" SET state = 'expired', ceiling = CASE WHEN ceiling IS NOT NULL THEN remaining END," \
	" remaining = 0.0000, cap_held = 0.0000, closed_at = expires_at"
#define EXPIRE_SQL	"UPDATE ducto.reservations" EXPIRE_SET " WHERE account_id = $1 AND state = 'open'"

static KeptQuery hold_expire_query = {
	.sql = EXPIRE_SQL " AND id = $2 RETURNING " EXPIRED_COLUMNS,
	.types = {UUIDOID, UUIDOID}
};

/* A range of the index, and no list of ids: that would be a filter for each of the account's holds. */
static KeptQuery holds_expire_query = {
	.sql = EXPIRE_SQL " AND (expires_at, id) < ($2, $3) RETURNING " EXPIRED_COLUMNS,
	.types = {UUIDOID, TIMESTAMPTZOID, UUIDOID}
};

/* Of many accounts, whose locks the caller has. */
static KeptQuery holds_expire_of_query = {
	.sql = "UPDATE ducto.reservations r" EXPIRE_SET " FROM unnest($1, $2) WITH ORDINALITY AS a(account, until, n)"
	" WHERE r.account_id = a.account AND r.state = 'open' AND r.expires_at <= a.until RETURNING " EXPIRED_COLUMNS ", a.n",
	.types = {UUIDARRAYOID, TIMESTAMPTZARRAYOID},
	.anew = true
};

/* Whom the rows of holds_due_query go to. */
typedef struct DueHoldTarget
{
	DueHoldReader reader;
	void	   *state;
} DueHoldTarget;

/*
 * Read a row of DUE_COLUMNS.
 */
static void
due_from_slot(TupleTableSlot *slot, DueHold *hold)
{
	slot_getallattrs(slot);
	hold->remaining = money_from_datum(slot->tts_values[DUE_REMAINING]);
	hold->expires_at = DatumGetTimestampTz(slot->tts_values[DUE_EXPIRES_AT]);
	hold->skip_allowance = DatumGetBool(slot->tts_values[DUE_SKIP_ALLOWANCE]);
	hold->cap_held = money_from_datum(slot->tts_values[DUE_CAP_HELD]);
	Assert(hold->remaining >= 0);
	Assert(hold->cap_held >= 0 && hold->cap_held <= hold->remaining);
}

/*
 * Give a row of holds_due_query to its reader.
 */
static bool
read_due_hold(TupleTableSlot *slot, void *state)
{
	DueHoldTarget *target = state;
	DueHold		hold;

	due_from_slot(slot, &hold);
	return target->reader(&hold, target->state);
}

/*
 * holds_due gives a reader the open reservations of an account that are past
 * their time and still count, soonest first. However many they are, they take
 * no memory.
 */
void
holds_due(const Account *acc, TimestampTz until, bool read_only, DueHoldReader reader, void *state)
{
	DueHoldTarget target = {reader, state};
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_time(&args, acc->ended_until);
	args_time(&args, until);
	query_each(&holds_due_query, &args, read_only, read_due_hold, &target);
}

/* Those of many accounts. */
typedef struct DueHoldsOf
{
	int			max;			/* of each */
	DueHold    *holds;
	int		   *counts;
} DueHoldsOf;

/*
 * Put a row of holds_due_of_query where it belongs.
 */
static bool
place_due_hold(TupleTableSlot *slot, void *state)
{
	DueHoldsOf *of = state;
	int			n;

	slot_getallattrs(slot);
	n = (int) DatumGetInt64(slot->tts_values[DUE_ACCOUNT]) - 1;
	due_from_slot(slot, &of->holds[n * of->max + of->counts[n]++]);
	return true;
}

/*
 * holds_due_of finds the open reservations of accounts that are past their time,
 * up to max of each: those of the number n begin at n * max.
 */
void
holds_due_of(const pg_uuid_t *accounts, int n, TimestampTz now, int max, DueHold *holds, int *counts)
{
	DueHoldsOf	of = {.max = max, .holds = holds, .counts = counts};
	QueryArgs	args = {0};

	args_uuid_array(&args, accounts, n);
	args_time(&args, now);
	args_int8(&args, max);
	query_each(&holds_due_of_query, &args, false, place_due_hold, &of);
}

/*
 * hold_expire closes an open reservation of a locked account as expired at its
 * time, and notes the event.
 */
void
hold_expire(Account *acc, Hold *hold)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_uuid(&args, &hold->id);
	if (query_run(&hold_expire_query, &args, SPI_OK_UPDATE_RETURNING) != 1)
		row_missing("reservations");
	events_of_expired(acc, 1);
	hold->state = HOLD_EXPIRED;
	hold->ceiling = hold->remaining;
	hold->remaining = 0;
	hold->cap_held = 0;
}

/*
 * Find the first of the open reservations of a locked account up to a time
 * that is left open when a number of them is closed; false when none is.
 */
static bool
holds_after(const pg_uuid_t *account, TimestampTz until, int64 number, TimestampTz *expires_at, pg_uuid_t *id)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, until);
	args_int8(&args, number);
	if (query_run(&holds_after_query, &args, SPI_OK_SELECT) == 0)
		return false;
	*expires_at = row_time(0, 1);
	*id = row_uuid(0, 2);
	return true;
}

/*
 * holds_expire closes the open reservations of a locked account that expire no
 * later than a time, as expired at their time: the first ones, up to a limit
 * unless it is PG_INT64_MAX. It notes the events, and returns how many, and
 * whether some are left.
 */
int64
holds_expire(Account *acc, TimestampTz until, int64 limit, bool *left)
{
	const pg_uuid_t *account = &acc->id;
	uint64		n;
	QueryArgs	args = {0};
	TimestampTz end = until + 1;	/* and in that moment, id */
	pg_uuid_t	id = {0};

	*left = limit < PG_INT64_MAX && holds_after(account, until, limit, &end, &id);
	args_uuid(&args, account);
	args_time(&args, end);
	args_uuid(&args, &id);
	n = query_run(&holds_expire_query, &args, SPI_OK_UPDATE_RETURNING);
	events_of_expired(acc, n);
	return (int64) n;
}

/*
 * holds_expire_of closes the open reservations of locked accounts that expire no
 * later than the last hold of each that ended, as expired at their time. It notes
 * the events, and counts how many.
 */
void
holds_expire_of(Account *const *accs, int n, int64 *counts)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * n);
	TimestampTz *until = palloc(sizeof(TimestampTz) * n);
	QueryArgs	args = {0};
	uint64		closed;

	for (int i = 0; i < n; i++)
	{
		ids[i] = accs[i]->id;
		until[i] = accs[i]->ended_until;
		counts[i] = 0;
	}
	args_uuid_array(&args, ids, n);
	args_time_array(&args, until, n);
	closed = query_run(&holds_expire_of_query, &args, SPI_OK_UPDATE_RETURNING);
	for (uint64 row = 0; row < closed; row++)
	{
		int			i = (int) row_int8(row, EXPIRED_ACCOUNT) - 1;

		event_of_expired(accs[i], row);
		counts[i]++;
	}
}
