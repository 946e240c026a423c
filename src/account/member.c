/*
 * member.c
 *		The table team_members: who may spend from a pool, and the counters of
 *		their caps, kept under the pool's lock.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/claim.h"
#include "account/member.h"
#include "base/period.h"
#include "base/query.h"
#include "base/uuid.h"

/* What a member has spent in the month that is parameter 3. */
#define SPENT_NOW "CASE WHEN month = $3 THEN spent ELSE 0.0000 END"

static KeptQuery member_state_query = {
	.sql = "SELECT spend_cap IS NOT NULL AND " SPENT_NOW " + held + $4 > spend_cap, spend_cap, " SPENT_NOW " + held"
	" FROM ducto.team_members WHERE team_id = $1 AND user_id = $2 AND left_at IS NULL",
	.types = {UUIDOID, UUIDOID, DATEOID, NUMERICOID}
};

/* The caller has the pool's lock, under which the row only changes. */
static KeptQuery member_try_query = {
	.sql = "UPDATE ducto.team_members SET spent = " SPENT_NOW " + $4, month = $3, held = held + $5"
	" WHERE team_id = $1 AND user_id = $2 AND left_at IS NULL"
	" AND (spend_cap IS NULL OR " SPENT_NOW " + held + $4 + $5 <= spend_cap) RETURNING spend_cap - spent - held",
	.types = {UUIDOID, UUIDOID, DATEOID, NUMERICOID, NUMERICOID}
};

static KeptQuery member_apply_query = {
	.sql = "UPDATE ducto.team_members SET spent = " SPENT_NOW " + $4, month = $3, held = held + $5"
	" WHERE team_id = $1 AND user_id = $2"
	" RETURNING coalesce(spent + held > spend_cap, false)",
	.types = {UUIDOID, UUIDOID, DATEOID, NUMERICOID, NUMERICOID}
};

static KeptQuery member_refund_query = {
	.sql = "UPDATE ducto.team_members SET spent = spent - $4 WHERE team_id = $1 AND user_id = $2 AND month = $3",
	.types = {UUIDOID, UUIDOID, DATEOID, NUMERICOID}
};

static KeptQuery members_due_query = {
	.sql = "SELECT actor, sum(remaining) FROM ducto.reservations"
	" WHERE account_id = $1 AND state = 'open' AND expires_at > $2 AND expires_at <= $3 AND actor IS NOT NULL GROUP BY actor",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery member_free_query = {
	.sql = "UPDATE ducto.team_members SET held = held - $3 WHERE team_id = $1 AND user_id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

/* The caller has the pool's lock. */
static KeptQuery members_make_query = {
	.sql = "WITH said AS MATERIALIZED (" MEMBERS_SAID("true", "$1", "$3", "$4", "$5") ")"
	" UPDATE ducto.team_members m SET month = $2, spent = coalesce((SELECT s.spent FROM said s WHERE s.actor = m.user_id), 0.0000)"
	" WHERE m.team_id = $1 AND m.month <> $2",
	.types = {UUIDOID, DATEOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID}
};

static KeptQuery members_count_query = {
	.sql = "SELECT count(*)::integer FROM ducto.team_members WHERE team_id = $1 AND left_at IS NULL",
	.types = {UUIDOID}
};

/* Who joins again is new but for the counters. */
static KeptQuery member_join_query = {
	.sql = "INSERT INTO ducto.team_members AS m (team_id, user_id, role, spend_cap, month, joined_at)"
	" VALUES ($1, $2, coalesce($4, 'member'), $5, $3, $6)"
	" ON CONFLICT (team_id, user_id) DO UPDATE SET"
	"  role = CASE WHEN m.left_at IS NULL AND $4 IS NULL THEN m.role ELSE excluded.role END,"
	"  spend_cap = CASE WHEN m.left_at IS NULL AND $5 IS NULL AND NOT $7 THEN m.spend_cap ELSE excluded.spend_cap END,"
	"  joined_at = CASE WHEN m.left_at IS NULL THEN m.joined_at ELSE excluded.joined_at END, left_at = NULL"
	" RETURNING role, spend_cap",
	.types = {UUIDOID, UUIDOID, DATEOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, BOOLOID}
};

static KeptQuery member_leave_query = {
	.sql = "UPDATE ducto.team_members SET left_at = $3 WHERE team_id = $1 AND user_id = $2 AND left_at IS NULL",
	.types = {UUIDOID, UUIDOID, TIMESTAMPTZOID}
};

/*
 * Append what identifies a member, and the month of a time.
 */
static void
args_member(QueryArgs *args, const Account *pool, const pg_uuid_t *user, TimestampTz at)
{
	args_uuid(args, &pool->id);
	args_uuid(args, user);
	args_datum(args, DateADTGetDatum(period_month(at)));
}

/* What a member's cap has left for a month, as this backend saw it last. */
typedef struct MemberRoom
{
	pg_uuid_t	team;
	pg_uuid_t	user;
	DateADT		month;
	bool		known;
	bool		capped;
	Spend		room;
} MemberRoom;

#define ROOMS	256

static MemberRoom rooms[ROOMS];

/*
 * Return the place of a member's room, which another member's may have.
 */
static MemberRoom *
room_place(const pg_uuid_t *team, const pg_uuid_t *user)
{
	uint32		hash = hash_combine(hash_bytes(team->data, UUID_LEN), hash_bytes(user->data, UUID_LEN));

	return &rooms[hash % ROOMS];
}

/*
 * member_is_likely tells whether a member of a team, by what this backend saw
 * last, may spend an amount. It may be wrong: others spend, too.
 */
bool
member_is_likely(const pg_uuid_t *team, const pg_uuid_t *user, Money amount, TimestampTz now)
{
	const MemberRoom *room = room_place(team, user);

	return room->known && memcmp(&room->team, team, UUID_LEN) == 0 && memcmp(&room->user, user, UUID_LEN) == 0 &&
		room->month == period_month(now) && (!room->capped || room->room >= amount);
}

/*
 * Take in what a row of member_try_query says, or that there is none.
 */
static void
room_note(const Account *pool, const pg_uuid_t *user, bool found)
{
	MemberRoom *room = room_place(&pool->id, user);

	room->team = pool->id;
	room->user = *user;
	room->month = period_month(pool->now);
	room->known = found;
	room->capped = found && !row_is_null(0, 1);
	room->room = room->capped ? row_spend(0, 1) : 0;
}

/*
 * member_missing returns the rejection of a user who is no member of a team,
 * and tells who.
 */
Rejection
member_missing(const pg_uuid_t *team, const pg_uuid_t *user)
{
	return rejection_because(USER_NOT_IN_TEAM, "User %s is no member of team %s.", uuid_to_cstring(user), uuid_to_cstring(team));
}

/*
 * member_state tells whether a user may spend an amount from a pool: a locked
 * one, or in the snapshot of the calling statement. Where a cap is in the way
 * it keeps the reason.
 */
MemberState
member_state(const Account *pool, const pg_uuid_t *user, Money amount, bool read_only)
{
	QueryArgs	args = {0};
	uint64		found;

	args_member(&args, pool, user, pool->now);
	args_money(&args, amount);
	found = read_only ? query_read(&member_state_query, &args) :
		query_run(&member_state_query, &args, SPI_OK_SELECT);
	if (found == 0)
		return MEMBER_ABSENT;
	if (!row_bool(0, 1))
		return MEMBER_FREE;
	cap_exceeded(amount, "monthly cap of the member", row_money(0, 2), row_spend(0, 3),
				 period_start(period_next_month(period_month(pool->now))));
	return MEMBER_CAPPED;
}

/*
 * member_try_apply moves the counters of a member of a locked pool, unless the
 * user is none or the cap would be exceeded; false then, and nothing has
 * changed.
 */
bool
member_try_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held)
{
	QueryArgs	args = {0};
	bool		found;

	args_member(&args, pool, user, pool->now);
	args_money(&args, spent);
	args_money(&args, held);
	found = query_run(&member_try_query, &args, SPI_OK_UPDATE_RETURNING) > 0;
	room_note(pool, user, found);
	return found;
}

/*
 * member_admit does what member_try_apply does, and keeps the reason where a
 * cap is in the way.
 */
bool
member_admit(const Account *pool, const pg_uuid_t *user, Money spent, Money held)
{
	if (member_try_apply(pool, user, spent, held))
		return true;
	(void) member_state(pool, user, spent + held, false);
	return false;
}

/*
 * member_apply moves the counters of a member, or of one who left, and tells
 * whether the cap is exceeded with it.
 */
bool
member_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held)
{
	QueryArgs	args = {0};

	args_member(&args, pool, user, pool->now);
	args_money(&args, spent);
	args_money(&args, held);
	if (query_run(&member_apply_query, &args, SPI_OK_UPDATE_RETURNING) != 1)
		row_missing("team_members");
	return row_bool(0, 1);
}

/*
 * member_refund gives room back in the month of a debit that is refunded.
 */
void
member_refund(const Account *pool, const pg_uuid_t *user, Money amount, TimestampTz debited_at)
{
	QueryArgs	args = {0};

	args_member(&args, pool, user, debited_at);
	args_money(&args, amount);
	query_run(&member_refund_query, &args, SPI_OK_UPDATE);
}

/*
 * Free what holds of a member held: a row of members_due_query.
 */
static bool
member_free(TupleTableSlot *slot, void *state)
{
	const Account *pool = state;
	QueryArgs	args = {0};

	slot_getallattrs(slot);
	query_begin();
	args_uuid(&args, &pool->id);
	args_datum(&args, slot->tts_values[0]);
	args_datum(&args, slot->tts_values[1]);
	if (query_run(&member_free_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("team_members");
	query_end();
	return true;
}

/*
 * members_end_holds frees what holds of a locked pool that end now held for
 * its members: those that expire no later than a time and still count. It
 * touches these members only.
 */
void
members_end_holds(Account *pool, TimestampTz until)
{
	QueryArgs	args = {0};

	args_uuid(&args, &pool->id);
	args_time(&args, pool->ended_until);
	args_time(&args, until);
	query_each(&members_due_query, &args, false, member_free, pool);
}

/*
 * members_make makes what members of a locked pool have spent anew, where that
 * is of another month than the clock's.
 */
void
members_make(const Account *pool)
{
	DateADT		month = period_month(pool->now);
	QueryArgs	args = {0};

	args_uuid(&args, &pool->id);
	args_datum(&args, DateADTGetDatum(month));
	args_time(&args, period_start(month));
	args_time(&args, period_start(period_next_month(month)));
	args_int8(&args, windows_before(pool, false));
	query_run(&members_make_query, &args, SPI_OK_UPDATE);
}

/*
 * members_count counts the members of a team, in the snapshot of the calling
 * statement.
 */
int32
members_count(const pg_uuid_t *team)
{
	QueryArgs	args = {0};

	args_uuid(&args, team);
	query_read(&members_count_query, &args);
	return row_int4(0, 1);
}

/*
 * member_join adds a member to a locked pool, or updates one, and tells what
 * the member is then.
 */
void
member_join(const Account *pool, const pg_uuid_t *user, MemberTerms *terms)
{
	QueryArgs	args = {0};

	args_member(&args, pool, user, pool->now);
	args_text(&args, terms->role);
	if (terms->capped)
		args_money(&args, terms->cap);
	else
		args_null(&args);
	args_time(&args, pool->now);
	args_bool(&args, terms->uncapped);
	query_run(&member_join_query, &args, SPI_OK_INSERT_RETURNING);
	terms->role = row_text(0, 1);
	terms->capped = !row_is_null(0, 2);
	terms->cap = row_money(0, 2);
}

/*
 * member_leave removes a member from a locked pool; false when there was none.
 */
bool
member_leave(const Account *pool, const pg_uuid_t *user)
{
	QueryArgs	args = {0};

	args_uuid(&args, &pool->id);
	args_uuid(&args, user);
	args_time(&args, pool->now);
	return query_run(&member_leave_query, &args, SPI_OK_UPDATE) > 0;
}
