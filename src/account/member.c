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
#include "base/records.h"
#include "base/uuid.h"

/* What a member has spent in the month that is parameter 3. */
#define SPENT_NOW "CASE WHEN month = $3 THEN spent ELSE 0.0000 END"

static KeptQuery member_state_query = {
	.sql = "SELECT spend_cap IS NOT NULL AND " SPENT_NOW " + held + $4 > spend_cap, spend_cap, " SPENT_NOW " + held"
	" FROM ducto.team_members WHERE team_id = $1 AND user_id = $2 AND left_at IS NULL",
	.types = {UUIDOID, UUIDOID, DATEOID, NUMERICOID}
};

enum
{
	STATE_CAPPED = 1, STATE_CAP, STATE_COUNTED
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

/* Those that a batch is by, whose pools' locks the caller has. OFFSET 0: each is looked up by the key. */
static KeptQuery members_select_query = {
	.sql = "SELECT w.n, m.spend_cap, m.month, m.spent, m.held FROM unnest($1, $2) WITH ORDINALITY AS w(team_id, user_id, n), LATERAL"
	" (SELECT spend_cap, month, spent, held FROM ducto.team_members"
	"  WHERE team_id = w.team_id AND user_id = w.user_id AND left_at IS NULL OFFSET 0) m",
	.types = {UUIDARRAYOID, UUIDARRAYOID}
};

enum
{
	KEPT_NUMBER, KEPT_CAP, KEPT_MONTH, KEPT_SPENT, KEPT_HELD
};

/* The caller has the pools' locks. */
static KeptQuery members_spend_query = {
	.sql = "UPDATE ducto.team_members m SET spent = v.c4, month = v.c3 FROM unnest($1) AS v(c1 uuid, c2 uuid, c3 date, c4 numeric)"
	" WHERE m.team_id = v.c1 AND m.user_id = v.c2 AND m.left_at IS NULL",
	.types = {RECORDARRAYOID},
	.anew = true
};
static const Oid spend_types[] = {UUIDOID, UUIDOID, DATEOID, NUMERICOID, InvalidOid};

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

/* A member that a batch keeps, as the table has the row and as it is to be. */
typedef struct Member
{
	const pg_uuid_t *user;
	bool		there;
	bool		capped;
	Money		cap;
	Spend		spent;			/* in the pool's month */
	Spend		held;
	bool		unwritten;
} Member;

/* Those of a pool, in the order of their ids. */
typedef struct MemberList
{
	int			n;
	Member	   *members;
} MemberList;

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
 * Take in what a member's cap has left, or that there is no member.
 */
static void
room_note(const Account *pool, const pg_uuid_t *user, bool found, bool capped, Spend left)
{
	MemberRoom *room = room_place(&pool->id, user);

	room->team = pool->id;
	room->user = *user;
	room->month = period_month(pool->now);
	room->known = found;
	room->capped = capped;
	room->room = left;
}

/*
 * Return a member that a batch keeps, NULL where it keeps none of the pool's.
 */
static Member *
member_kept(const Account *pool, const pg_uuid_t *user)
{
	MemberList *list = pool->kept_members;
	int			low = 0;
	int			high = list != NULL ? list->n - 1 : -1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = memcmp(user->data, list->members[middle].user->data, UUID_LEN);

		if (order == 0)
			return &list->members[middle];
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	Assert(list == NULL);
	return NULL;
}

/*
 * Tell whether a member's cap has no room for an amount.
 */
static bool
member_is_capped(const Member *member, Money amount)
{
	return member->capped && member->spent + member->held + amount > member->cap;
}

/*
 * Keep the reason where a member's cap is in the way of an amount.
 */
static void
member_exceeded(const Account *pool, Money amount, Money cap, Spend counted)
{
	cap_exceeded(amount, "monthly cap of the member", cap, counted,
				 period_start(period_next_month(period_month(pool->now))));
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
	const Member *kept = member_kept(pool, user);
	QueryArgs	args = {0};
	uint64		found;

	if (kept != NULL && (!kept->there || !member_is_capped(kept, amount)))
		return kept->there ? MEMBER_FREE : MEMBER_ABSENT;
	if (kept != NULL)
	{
		member_exceeded(pool, amount, kept->cap, kept->spent + kept->held);
		return MEMBER_CAPPED;
	}
	args_member(&args, pool, user, pool->now);
	args_money(&args, amount);
	found = read_only ? query_read(&member_state_query, &args) :
		query_run(&member_state_query, &args, SPI_OK_SELECT);
	if (found == 0)
		return MEMBER_ABSENT;
	if (!row_bool(0, STATE_CAPPED))
		return MEMBER_FREE;
	member_exceeded(pool, amount, row_money(0, STATE_CAP), row_spend(0, STATE_COUNTED));
	return MEMBER_CAPPED;
}

/*
 * Move the counter of a member that a batch keeps, as member_try_apply does.
 */
static bool
member_try_kept(Member *member, Money spent, Money held)
{
	Assert(held == 0);
	if (!member->there || member_is_capped(member, spent))
		return false;
	member->spent = spend_add(member->spent, spent, "what the member spent");
	member->unwritten = true;
	return true;
}

/*
 * member_try_apply moves the counters of a member of a locked pool, unless the
 * user is none or the cap would be exceeded; false then, and nothing has
 * changed.
 */
bool
member_try_apply(const Account *pool, const pg_uuid_t *user, Money spent, Money held)
{
	Member	   *kept = member_kept(pool, user);
	QueryArgs	args = {0};
	bool		found;
	bool		capped;

	if (kept != NULL)
		return member_try_kept(kept, spent, held);
	args_member(&args, pool, user, pool->now);
	args_money(&args, spent);
	args_money(&args, held);
	found = query_run(&member_try_query, &args, SPI_OK_UPDATE_RETURNING) > 0;
	capped = found && !row_is_null(0, 1);
	room_note(pool, user, found, capped, capped ? row_spend(0, 1) : 0);
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

	Assert(pool->kept_members == NULL);
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
 * members_can_be_kept tells whether a batch can keep members: on a cluster they
 * are written one by one.
 */
bool
members_can_be_kept(void)
{
	return !query_distributed(&members_select_query);
}

/*
 * Read a row of members_select_query.
 */
static bool
read_member(TupleTableSlot *slot, void *state)
{
	const PoolMember *of;
	Member	   *member;

	slot_getallattrs(slot);
	of = (const PoolMember *) state + DatumGetInt64(slot->tts_values[KEPT_NUMBER]) - 1;
	member = member_kept(of->pool, of->user);
	member->there = true;
	member->capped = !slot->tts_isnull[KEPT_CAP];
	if (member->capped)
		member->cap = money_from_datum(slot->tts_values[KEPT_CAP]);
	if (DatumGetDateADT(slot->tts_values[KEPT_MONTH]) == period_month(of->pool->now))
		member->spent = spend_from_datum(slot->tts_values[KEPT_SPENT]);
	member->held = spend_from_datum(slot->tts_values[KEPT_HELD]);
	return true;
}

/*
 * Let the pools of members have lists of them.
 */
static void
members_list(const PoolMember *of, int n)
{
	Member	   *members = palloc0(sizeof(Member) * n);

	for (int i = 0; i < n; i++)
	{
		Account    *pool = of[i].pool;

		if (i == 0 || of[i - 1].pool != pool)
		{
			pool->kept_members = palloc(sizeof(MemberList));
			*pool->kept_members = (MemberList) {.n = 0, .members = &members[i]};
		}
		pool->kept_members->n++;
		members[i].user = of[i].user;
	}
}

/*
 * members_keep reads members of a batch's pools, locked and rolled forward, by
 * one statement: in the order of pools and members, each once, and of a pool all
 * that the batch is by. From then on what they spend counts in memory, until
 * members_write.
 */
void
members_keep(const PoolMember *of, int n)
{
	pg_uuid_t  *pools = palloc(sizeof(pg_uuid_t) * n);
	pg_uuid_t  *users = palloc(sizeof(pg_uuid_t) * n);
	QueryArgs	args = {0};

	members_list(of, n);
	for (int i = 0; i < n; i++)
	{
		pools[i] = of[i].pool->id;
		users[i] = *of[i].user;
	}
	args_uuid_array(&args, pools, n);
	args_uuid_array(&args, users, n);
	query_each(&members_select_query, &args, false, read_member, unconstify(PoolMember *, of));
}

/*
 * Add what a member of a pool has spent to rows.
 */
static void
records_add_member(Records *rows, const Account *pool, const Member *member)
{
	QueryArgs	args = {0};

	args_member(&args, pool, member->user, pool->now);
	args_spend(&args, member->spent);
	records_add(rows, &args);
	room_note(pool, member->user, true, member->capped, member->capped ? member->cap - member->spent - member->held : 0);
}

/*
 * members_write writes what the members have spent that a batch keeps, by one
 * statement, and keeps them no longer.
 */
void
members_write(Account *accs, int n)
{
	Records		rows;
	QueryArgs	args = {0};

	records_begin(&rows, spend_types);
	for (int i = 0; i < n; i++)
	{
		const MemberList *list = accs[i].kept_members;

		for (int j = 0; list != NULL && j < list->n; j++)
			if (list->members[j].unwritten)
				records_add_member(&rows, &accs[i], &list->members[j]);
		accs[i].kept_members = NULL;
	}
	if (rows.n == 0)
		return;
	args_records(&args, &rows);
	if (query_run(&members_spend_query, &args, SPI_OK_UPDATE) != rows.n)
		row_missing("team_members");
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
