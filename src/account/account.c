/*
 * account.c
 *		The table accounts: loading, locking and writing an account's row.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "account/account.h"
#include "account/ahead.h"
#include "account/claim.h"
#include "account/funds.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/uuid.h"

/* A guarded update that had to wait longer than this is done over. */
#define STALE_CLOCK_USECS	100000

#define ACCOUNT_SELECT \
	"SELECT a.kind, a.balance, a.held, a.expiring, a.lifetime_purchased, a.next_boundary, a.last_seq," \
	" a.closing_keys, a.updated_at, a.plan_id, coalesce(a.allowance_month, '-infinity'), a.allowance_used," \
	" a.held_from_credits, a.promised, a.caps, coalesce(a.ended_until, '-infinity'), a.chain_head," \
	" coalesce(a.ahead_from, 'infinity'), coalesce(a.ahead_until, '-infinity'), " PLAN_COLUMNS \
	" FROM ducto.accounts a LEFT JOIN ducto.plans p ON p.id = a.plan_id WHERE a.id = $1"

#define CHAIN_COLUMN		17
#define FIRST_PLAN_COLUMN	20

static KeptQuery account_read_query = {
	.sql = ACCOUNT_SELECT,
	.types = {UUIDOID}
};

/*
 * Waits for the holder of the row and then reads what that one committed; when
 * it was another plan, the join finds none.
 */
static KeptQuery account_lock_query = {
	.sql = ACCOUNT_SELECT " FOR NO KEY UPDATE OF a",
	.types = {UUIDOID}
};

static KeptQuery account_skip_locked_query = {
	.sql = ACCOUNT_SELECT " FOR NO KEY UPDATE OF a SKIP LOCKED",
	.types = {UUIDOID}
};

/* Waits for another that makes the same account, and makes it when that one aborts. */
static KeptQuery account_create_query = {
	.sql = "INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at) VALUES ($1, $2, $2 = 'user', $3, $3)"
	" ON CONFLICT (id) DO NOTHING",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock. */
static KeptQuery account_write_query = {
	.sql = "UPDATE ducto.accounts SET balance = $2, held = $3, expiring = $4, lifetime_purchased = $5,"
	" next_boundary = $6, last_seq = $7, closing_keys = $8, updated_at = $9, plan_id = $10,"
	" allowance_month = $11, allowance_used = $12, held_from_credits = $13, promised = $14,"
	" caps = $15, plain = kind = 'user' AND $10 IS NULL AND $14 = 0 AND $15 = 0 AND $19 <= $9,"
	" ended_until = nullif($16, '-infinity'), chain_head = $17,"
	" ahead_from = nullif($18, 'infinity'), ahead_until = nullif($19, '-infinity') WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, INT8OID, BOOLOID, TIMESTAMPTZOID,
	TEXTOID, DATEOID, NUMERICOID, NUMERICOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock. */
static KeptQuery account_write_head_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = $2 WHERE id = $1",
	.types = {UUIDOID, BYTEAOID}
};

/*
 * How a guarded update that goes by the time $4 moves the head of
 * the chain to the entry to come, whose ChainLink is a parameter: as
 * chain_digest does. Where grants are burned, the entry is not known yet.
 */
#define CHAIN_HEAD(link) \
	", chain_head = CASE WHEN expiring = 0 THEN sha256(chain_head || " link " || int8send(last_seq + 1)" \
	" || timestamptz_send(greatest(updated_at, $4))) ELSE chain_head END"

/* It leaves alone an account that has no digest yet. */
#define IS_CHAINED	" AND chain_head IS NOT NULL"

/*
 * The guarded updates are lock, decision and booking at once. They look only
 * at the account's own row, which is read anew after waiting for its lock, and
 * go by the time $4; account_after judges whether it still holds after that.
 * They leave alone an account where something is to be rolled forward, one
 * with a plan or caps, one that is ahead of the clock, and one whose grants do
 * not cover the amount alone; what concerns holds leaves alone one where some
 * have ended and are still open. The floor is never below 0, so that no figure
 * can leave the bounds of money.
 */
#define HELD_COLUMN			7
#define AFTER_HEAD_COLUMN	7
#define AFTER_COLUMNS	"balance, expiring, next_boundary, last_seq, closing_keys, updated_at"

#define GUARD(whose) \
	" WHERE id = $1 AND " whose " AND next_boundary > $4 AND balance - held - $2 >= $3"

#define CHARGE_SQL(head, whose) \
	"UPDATE ducto.accounts SET balance = balance - $2," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - $2 END," \
	" last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" head \
	GUARD(whose) " AND (expiring = 0 OR expiring > $2)" \
	" RETURNING " AFTER_COLUMNS

#define PLAIN	"plain"
#define PLAIN_AND_PRICED	"plain AND (SELECT p.id FROM ducto.pricing p WHERE p.active) = $5"
#define POOL_OF_MEMBER \
	"kind = 'team' AND (ahead_until <= updated_at) IS NOT FALSE" \
	" AND EXISTS (SELECT FROM ducto.team_members m WHERE m.team_id = $1 AND m.user_id = $5" \
	" AND m.left_at IS NULL AND (m.spend_cap IS NULL" \
	" OR CASE WHEN m.month = $6 THEN m.spent ELSE 0.0000 END + m.held + $2 <= m.spend_cap))"

static KeptQuery account_charge_query = {
	.sql = CHARGE_SQL("", PLAIN),
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID}
};
static KeptQuery account_charge_chained_query = {
	.sql = CHARGE_SQL(CHAIN_HEAD("$5"), PLAIN IS_CHAINED) ", chain_head",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, BYTEAOID}
};

/* Does nothing when another version is active: the amount is no price then. */
static KeptQuery account_charge_priced_query = {
	.sql = CHARGE_SQL("", PLAIN_AND_PRICED),
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID}
};
static KeptQuery account_charge_priced_chained_query = {
	.sql = CHARGE_SQL(CHAIN_HEAD("$6"), PLAIN_AND_PRICED IS_CHAINED) ", chain_head",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, BYTEAOID}
};

/*
 * Leaves alone what the member may not spend, in the snapshot of before: what
 * is to be rejected writes nothing. The caller decides by the member's row.
 */
static KeptQuery account_charge_team_query = {
	.sql = CHARGE_SQL("", POOL_OF_MEMBER),
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, DATEOID}
};
static KeptQuery account_charge_team_chained_query = {
	.sql = CHARGE_SQL(CHAIN_HEAD("$7"), POOL_OF_MEMBER IS_CHAINED) ", chain_head",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, DATEOID, BYTEAOID}
};

/*
 * Lock, decision and booking of a deduct within its hold: $2 is charged, $3 no
 * longer held.
 */
#define SETTLE_SQL(head, chained) \
	"UPDATE ducto.accounts SET balance = balance - $2," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - $2 END," \
	" held = held - $3, last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" head \
	" WHERE id = $1 AND plain AND ended_until IS NULL AND next_boundary > $4" \
	" AND (expiring = 0 OR expiring > $2) AND balance >= $2" chained \
	" RETURNING " AFTER_COLUMNS

static KeptQuery account_settle_query = {
	.sql = SETTLE_SQL("", ""),
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID}
};
static KeptQuery account_settle_chained_query = {
	.sql = SETTLE_SQL(CHAIN_HEAD("$5"), IS_CHAINED) ", chain_head",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, BYTEAOID}
};

/* Tells the active pricing's terms too; the caller looks whether its floor was kept. */
static KeptQuery account_hold_query = {
	.sql = "UPDATE ducto.accounts SET held = held + $2, next_boundary = least(next_boundary, $5),"
	" updated_at = greatest(updated_at, $4)"
	GUARD("plain AND ended_until IS NULL") " RETURNING " AFTER_COLUMNS ", held,"
	" (SELECT ARRAY[p.version, p.min_balance] FROM ducto.pricing p WHERE p.active)",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock by the guarded update that it takes back. */
static KeptQuery account_undo_query = {
	.sql = "UPDATE ducto.accounts SET balance = balance + $2, expiring = expiring + $3, held = held - $4,"
	" last_seq = last_seq - $5 WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, INT8OID}
};

/* The head of the chain is again that of the last entry that has a digest. */
static KeptQuery account_unlink_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = (SELECT l.digest FROM ducto.ledger l"
	"  WHERE l.account_id = $1 AND l.digest IS NOT NULL ORDER BY l.seq DESC LIMIT 1) WHERE id = $1",
	.types = {UUIDOID}
};

/*
 * Read an account's row with a lock and claim it, and return how many there
 * are.
 */
static uint64
account_select_locked(const pg_uuid_t *id, AccountLock lock, QueryArgs *args)
{
	uint64		found;

	if (lock == ACCOUNT_SKIP_LOCKED && account_is_claimed(id))
		return 0;
	account_claim(id);
	found = query_run(lock == ACCOUNT_WAIT ? &account_lock_query : &account_skip_locked_query, args, SPI_OK_SELECT);
	if (found == 0)
		account_unclaim(id);
	return found;
}

/*
 * Read the head of an account's chain.
 */
static void
head_from_row(Account *acc, int column)
{
	acc->chained = !row_is_null(0, column);
	if (acc->chained)
		memcpy(acc->chain_head, VARDATA_ANY(DatumGetByteaPP(row_datum(0, column))), DIGEST_LENGTH);
}

/*
 * account_load reads an account's row, with the lock that is asked for, and
 * takes the operation's time: the clock after the lock. It returns false when
 * there is no account or another session has it locked and locked rows are to
 * be skipped; one that an operation around this one works on counts as locked.
 */
bool
account_load(const pg_uuid_t *id, Account *acc, AccountLock lock)
{
	QueryArgs	args = {0};
	uint64		found;

	args_uuid(&args, id);
	found = lock == ACCOUNT_READ ? query_read(&account_read_query, &args) : account_select_locked(id, lock, &args);

	memset(acc, 0, sizeof(Account));
	acc->id = *id;
	acc->next_boundary = DT_NOEND;
	acc->ended_until = DT_NOBEGIN;
	acc->ahead_from = DT_NOEND;
	acc->ahead_until = DT_NOBEGIN;
	acc->now = clock_now();
	if (found == 0)
		return false;

	acc->exists = true;
	acc->team = strcmp(row_text(0, 1), "team") == 0;
	acc->balance = row_money(0, 2);
	acc->held = row_money(0, 3);
	acc->expiring = row_money(0, 4);
	acc->lifetime_purchased = row_spend(0, 5);
	acc->next_boundary = row_time(0, 6);
	acc->last_seq = row_int8(0, 7);
	acc->closing_keys = row_bool(0, 8);
	acc->updated_at = row_time(0, 9);
	acc->plan_id = row_text(0, 10);
	acc->allowance_month = DatumGetDateADT(row_datum(0, 11));
	acc->allowance_used = row_spend(0, 12);
	acc->held_from_credits = row_money(0, 13);
	acc->promised = row_money(0, 14);
	acc->caps = DatumGetInt32(row_datum(0, 15));
	acc->ended_until = row_time(0, 16);
	head_from_row(acc, CHAIN_COLUMN);
	acc->ahead_from = row_time(0, CHAIN_COLUMN + 1);
	acc->ahead_until = row_time(0, CHAIN_COLUMN + 2);
	plan_from_row(&acc->plan, FIRST_PLAN_COLUMN);
	acc->late = TIMESTAMP_IS_NOBEGIN(acc->next_boundary);
	if (acc->plan_id != NULL && acc->plan.id == NULL)
		plan_find(acc->plan_id, &acc->plan, lock == ACCOUNT_READ);
	if (acc->updated_at > acc->now || acc->updated_at < acc->ahead_until)
		account_set_back(acc, lock == ACCOUNT_READ);
	return true;
}

/*
 * account_require_user rejects a team's id where a user's is wanted.
 */
void
account_require_user(const Account *acc)
{
	if (acc->team)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"user_id\": %s",
						uuid_to_cstring(&acc->id)),
				 errdetail("It is the id of a team."),
				 errhint("\"user_id\" must be the id of a user.")));
}

/*
 * account_read_user reads the row of a user's account in the snapshot of the
 * calling statement. A team's id is an error.
 */
void
account_read_user(const pg_uuid_t *user, Account *acc)
{
	account_load(user, acc, ACCOUNT_READ);
	account_require_user(acc);
}

/*
 * account_check_user rejects the id of a team as that of a user.
 */
void
account_check_user(const pg_uuid_t *user)
{
	Account		acc;

	account_read_user(user, &acc);
}

/*
 * account_create makes an account unless there is one.
 */
void
account_create(const pg_uuid_t *id, const char *kind)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	args_text(&args, kind);
	args_time(&args, clock_now());
	query_run(&account_create_query, &args, SPI_OK_INSERT);
}

/*
 * account_write writes a locked account's row.
 */
void
account_write(Account *acc)
{
	QueryArgs	args = {0};

	acc->updated_at = acc->now;
	allowance_rely(acc, acc->now);
	Assert(acc->exists);
	Assert(acc->held >= 0);
	Assert(acc->held_from_credits >= 0 && acc->held_from_credits <= acc->held);
	Assert(acc->promised >= 0 && acc->promised <= acc->held - acc->held_from_credits);
	Assert(acc->expiring >= 0 && acc->expiring <= Max(acc->balance, 0));
	Assert(acc->last_seq >= 0);
	Assert(acc->caps >= 0);
	Assert(acc->lifetime_purchased >= 0);
	Assert(acc->allowance_used >= 0);
	Assert(!acc->team || acc->plan_id == NULL);
	args_uuid(&args, &acc->id);
	args_money(&args, acc->balance);
	args_money(&args, acc->held);
	args_money(&args, acc->expiring);
	args_spend(&args, acc->lifetime_purchased);
	args_time(&args, acc->next_boundary);
	args_int8(&args, acc->last_seq);
	args_bool(&args, acc->closing_keys);
	args_time(&args, acc->updated_at);
	args_text(&args, acc->plan_id);
	if (DATE_NOT_FINITE(acc->allowance_month))
		args_null(&args);
	else
		args_datum(&args, DateADTGetDatum(acc->allowance_month));
	args_spend(&args, acc->allowance_used);
	args_money(&args, acc->held_from_credits);
	args_money(&args, acc->promised);
	args_int4(&args, acc->caps);
	args_time(&args, acc->ended_until);
	if (acc->chained)
		args_datum(&args, digest_to_datum(acc->chain_head));
	else
		args_null(&args);
	args_time(&args, acc->ahead_from);
	args_time(&args, acc->ahead_until);
	if (query_run(&account_write_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}

/*
 * account_update makes a guarded update of an account and claims it; false when
 * it did nothing.
 */
static bool
account_update(KeptQuery *query, const pg_uuid_t *id, QueryArgs *args)
{
	account_claim(id);
	if (query_run(query, args, SPI_OK_UPDATE_RETURNING) > 0)
		return true;
	account_unclaim(id);
	return false;
}

/*
 * account_write_head writes the head of a locked account's chain.
 */
void
account_write_head(const Account *acc)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_datum(&args, digest_to_datum(acc->chain_head));
	if (query_run(&account_write_head_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}

/*
 * account_after takes the row that a guarded update returned, and what it took
 * from it; with a link the head of its chain too. The update went by the time
 * from before it: False means that it waited for the lock meanwhile, so that
 * something may have expired, that the time is too old to be the operation's,
 * or that the clock was set back. It must be undone then.
 */
static bool
account_after(const pg_uuid_t *id, Money debit, const ChainLink *link, Account *after, AccountChange *change)
{
	TimestampTz clock = clock_now();

	memset(after, 0, sizeof(Account));
	after->id = *id;
	after->exists = true;
	after->balance = row_money(0, 1);
	after->expiring = row_money(0, 2);
	after->next_boundary = row_time(0, 3);
	after->last_seq = row_int8(0, 4);
	after->closing_keys = row_bool(0, 5);
	after->updated_at = row_time(0, 6);
	after->ahead_until = DT_NOBEGIN;
	after->now = after->updated_at;

	memset(change, 0, sizeof(AccountChange));
	change->balance = debit;
	change->expiring = after->expiring > 0 ? debit : 0;
	change->entries = debit > 0 ? 1 : 0;
	if (link != NULL)
	{
		head_from_row(after, AFTER_HEAD_COLUMN);
		after->linked = change->linked = after->expiring == 0;
	}
	return clock < after->next_boundary && clock >= after->updated_at && clock - after->updated_at < STALE_CLOCK_USECS;
}

/*
 * Append a link to a chain; nothing for none.
 */
static void
args_link(QueryArgs *args, const ChainLink *link)
{
	if (link != NULL)
		args_datum(args, PointerGetDatum(link));
}

/*
 * Append what the statements that charge have in common: limit is the floor, or
 * what is freed.
 */
static void
args_charge(QueryArgs *args, const pg_uuid_t *id, Money amount, Money limit, TimestampTz now)
{
	args_uuid(args, id);
	args_money(args, amount);
	args_money(args, limit);
	args_time(args, now);
}

/*
 * Take an amount from an account by a guarded update.
 */
static bool
try_charge(KeptQuery *query, QueryArgs *args, const pg_uuid_t *id, Money amount, const ChainLink *link, Account *after,
		   AccountChange *change)
{
	args_link(args, link);
	if (!account_update(query, id, args))
		return false;
	if (account_after(id, amount, link, after, change))
		return true;
	account_undo(id, change);
	return false;
}

/*
 * account_try_charge takes an amount from a user's account in one statement
 * when that is all there is to do: nothing is due, and balance - held stays at
 * the floor or above, and pricing, unless it is NULL, is the active one. change
 * tells what it took, of which change->expiring from grants. With a link it
 * moves the head of the account's chain, unless it took from grants. False: it
 * did nothing.
 */
bool
account_try_charge(const pg_uuid_t *id, Money amount, Money floor, const pg_uuid_t *pricing,
				   const ChainLink *link, Account *after, AccountChange *change)
{
	static KeptQuery *const queries[2][2] = {
		{&account_charge_query, &account_charge_chained_query},
		{&account_charge_priced_query, &account_charge_priced_chained_query}
	};
	QueryArgs	args = {0};

	args_charge(&args, id, amount, floor, clock_now());
	if (pricing != NULL)
		args_uuid(&args, pricing);
	return try_charge(queries[pricing != NULL][link != NULL], &args, id, amount, link, after, change);
}

/*
 * account_try_settle takes an amount from a user's account, and frees what a
 * hold held for it, under the conditions of account_try_charge. False: it did
 * nothing.
 */
bool
account_try_settle(const pg_uuid_t *id, Money amount, Money freed, const ChainLink *link, Account *after,
				   AccountChange *change)
{
	QueryArgs	args = {0};
	bool		valid;

	args_charge(&args, id, amount, freed, clock_now());
	args_link(&args, link);
	if (!account_update(link != NULL ? &account_settle_chained_query : &account_settle_query, id, &args))
		return false;
	valid = account_after(id, amount, link, after, change);
	change->held = -freed;
	if (!valid)
		account_undo(id, change);
	return valid;
}

/*
 * account_try_charge_team takes an amount from a team's pool under the same
 * conditions as account_try_charge, with the floor 0, for a member who may
 * spend it as far as the snapshot tells.
 */
bool
account_try_charge_team(const pg_uuid_t *id, const pg_uuid_t *member, Money amount, const ChainLink *link,
						Account *after, AccountChange *change)
{
	QueryArgs	args = {0};
	TimestampTz now = clock_now();

	args_charge(&args, id, amount, 0, now);
	args_uuid(&args, member);
	args_datum(&args, DateADTGetDatum(period_month(now)));
	if (!try_charge(link != NULL ? &account_charge_team_chained_query : &account_charge_team_query,
					&args, id, amount, link, after, change))
		return false;
	after->team = true;
	return true;
}

/*
 * Read an array of the active pricing's version and min_balance.
 */
static void
terms_from_row(PricingTerms *terms, int column)
{
	Datum	   *figures;
	int			n;

	terms->version = 0;
	terms->min_balance = DEFAULT_MIN_BALANCE;
	if (row_is_null(0, column))
		return;
	deconstruct_array(DatumGetArrayTypeP(row_datum(0, column)), NUMERICOID, -1, false, TYPALIGN_INT, &figures, NULL, &n);
	terms->version = DatumGetInt32(DirectFunctionCall1(numeric_int4, figures[0]));
	terms->min_balance = money_from_datum(figures[1]);
}

/*
 * account_try_hold holds an amount in one statement under the same conditions
 * as account_try_charge. The floor NULL stands for that of the active pricing,
 * whose terms it tells.
 */
bool
account_try_hold(const pg_uuid_t *id, Money amount, const Money *floor, int ttl_seconds,
				 Account *after, AccountChange *change, PricingTerms *terms)
{
	QueryArgs	args = {0};
	TimestampTz now = clock_now();
	bool		valid;

	args_uuid(&args, id);
	args_money(&args, amount);
	args_money(&args, floor != NULL ? *floor : 0);
	args_time(&args, now);
	args_time(&args, now + ttl_seconds * USECS_PER_SEC);
	if (!account_update(&account_hold_query, id, &args))
		return false;
	valid = account_after(id, 0, NULL, after, change);
	after->held = row_money(0, HELD_COLUMN);
	change->held = amount;
	terms_from_row(terms, HELD_COLUMN + 1);
	if (valid && account_available(after) >= (floor != NULL ? *floor : terms->min_balance))
		return true;
	account_undo(id, change);
	return false;
}

/*
 * account_undo takes back a guarded update of this transaction.
 */
void
account_undo(const pg_uuid_t *id, const AccountChange *change)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	args_money(&args, change->balance);
	args_money(&args, change->expiring);
	args_money(&args, change->held);
	args_int8(&args, change->entries);
	if (query_run(&account_undo_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	if (!change->linked)
		return;
	memset(&args, 0, sizeof(args));
	args_uuid(&args, id);
	if (query_run(&account_unlink_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}
