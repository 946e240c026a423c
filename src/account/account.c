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
#include "account/guarded.h"
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
	" coalesce(a.ahead_from, 'infinity'), coalesce(a.ahead_until, '-infinity'), a.carry, " PLAN_COLUMNS \
	" FROM ducto.accounts a LEFT JOIN ducto.plans p ON p.id = a.plan_id WHERE a.id = $1"

#define CHAIN_COLUMN		17
#define FIRST_PLAN_COLUMN	21

static KeptQuery account_read_query = {
	.sql = ACCOUNT_SELECT,
	.types = {UUIDOID}
};

static KeptQuery account_glance_query = {
	.sql = "SELECT a.kind, a.balance, a.held, a.expiring, a.lifetime_purchased FROM ducto.accounts a"
	" WHERE a.id = $1 AND " SAYS_IT_ALL("a", "$2"),
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery account_kind_query = {
	.sql = "SELECT kind FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

static KeptQuery account_plan_query = {
	.sql = "SELECT a.kind, a.plan_id, " PLAN_COLUMNS " FROM ducto.accounts a LEFT JOIN ducto.plans p ON p.id = a.plan_id"
	" WHERE a.id = $1",
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
	" ahead_from = nullif($18, 'infinity'), ahead_until = nullif($19, '-infinity'), carry = $20 WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, INT8OID, BOOLOID, TIMESTAMPTZOID,
	TEXTOID, DATEOID, NUMERICOID, NUMERICOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	NUMERICOID}
};

/* The caller has the row's lock. */
static KeptQuery account_write_head_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = $2 WHERE id = $1",
	.types = {UUIDOID, BYTEAOID}
};

static KeptQuery account_charge_query = {.sql = CHARGE_SQL("$2", "$2", "", "", PLAIN), .types = {CHARGE_TYPES}};
static KeptQuery account_charge_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$5"), PLAIN IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, BYTEAOID}
};

/* Does nothing when another version is active: the amount is no price then. */
static KeptQuery account_charge_priced_query = {
	.sql = CHARGE_SQL("$2", "$2", "", "", PLAIN_AND_PRICED),
	.types = {CHARGE_TYPES, UUIDOID}
};
static KeptQuery account_charge_priced_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$6"), PLAIN_AND_PRICED IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, BYTEAOID}
};

/* As these, of a price that leaves a rest. */
static KeptQuery account_charge_carry_query = {
	.sql = CHARGE_CARRY_SQL("", PLAIN_AND_PRICED CARRY_IS_SOUND) AFTER_CARRY,
	.types = {CHARGE_TYPES, UUIDOID, CARRY_TYPES}
};
static KeptQuery account_charge_carry_chained_query = {
	.sql = CHARGE_CARRY_SQL(CHAIN_HEAD(CARRY_LINK("$6", "$10", "$11")), PLAIN_AND_PRICED CARRY_IS_SOUND IS_CHAINED)
	AFTER_CARRY AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, CARRY_TYPES, BYTEAOID, BYTEAOID}
};

/*
 * Leaves alone what the member may not spend, in the snapshot of before: what
 * is to be rejected writes nothing. The caller decides by the member's row.
 */
static KeptQuery account_charge_team_query = {
	.sql = CHARGE_SQL("$2", "$2", "", "", POOL_OF_MEMBER),
	.types = {CHARGE_TYPES, UUIDOID, DATEOID}
};
static KeptQuery account_charge_team_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$7"), POOL_OF_MEMBER IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, DATEOID, BYTEAOID}
};

static KeptQuery account_settle_query = {.sql = SETTLE_SQL("$2", "$2", "", "", ""), .types = {CHARGE_TYPES}};
static KeptQuery account_settle_chained_query = {
	.sql = SETTLE_SQL("$2", "$2", "", CHAIN_HEAD("$5"), IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, BYTEAOID}
};
static KeptQuery account_settle_carry_query = {.sql = SETTLE_CARRY_SQL("", "") AFTER_CARRY, .types = {CHARGE_TYPES, CARRY_TYPES}};
static KeptQuery account_settle_carry_chained_query = {
	.sql = SETTLE_CARRY_SQL(CHAIN_HEAD(CARRY_LINK("$5", "$9", "$10")), IS_CHAINED) AFTER_CARRY AFTER_HEAD,
	.types = {CHARGE_TYPES, CARRY_TYPES, BYTEAOID, BYTEAOID}
};

/* Tells the active pricing's terms too; the caller looks whether its floor was kept. */
static KeptQuery account_hold_query = {
	.sql = "UPDATE ducto.accounts SET held = held + $2, next_boundary = least(next_boundary, $5),"
	" updated_at = greatest(updated_at, $4)"
	GUARD("$2", "plain AND ended_until IS NULL") " RETURNING " AFTER_COLUMNS ", held,"
	" (SELECT ARRAY[p.version, p.min_balance] FROM ducto.pricing p WHERE p.active)",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock by the guarded update that it takes back. */
static KeptQuery account_undo_query = {
	.sql = "UPDATE ducto.accounts SET balance = balance + $2, expiring = expiring + $3, held = held - $4,"
	" last_seq = last_seq - $5, carry = carry - $6 WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, INT8OID, NUMERICOID}
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
	acc->carry = rest_from_datum(row_datum(0, CHAIN_COLUMN + 3));
	plan_from_row(&acc->plan, FIRST_PLAN_COLUMN);
	acc->late = TIMESTAMP_IS_NOBEGIN(acc->next_boundary);
	if (acc->plan_id != NULL && acc->plan.id == NULL)
		plan_find(acc->plan_id, &acc->plan, lock == ACCOUNT_READ);
	if (acc->updated_at > acc->now || acc->updated_at < acc->ahead_until)
		account_set_back(acc, lock == ACCOUNT_READ);
	return true;
}

/*
 * account_glance reads the credits of an account in the snapshot of the calling
 * statement, and nothing else of it. False: there is no account, or they have to
 * be computed.
 */
bool
account_glance(const pg_uuid_t *id, Account *acc)
{
	QueryArgs	args = {0};

	memset(acc, 0, sizeof(Account));
	acc->now = clock_now();
	args_uuid(&args, id);
	args_time(&args, acc->now);
	if (query_read(&account_glance_query, &args) == 0)
		return false;
	acc->id = *id;
	acc->exists = true;
	acc->team = strcmp(row_text(0, 1), "team") == 0;
	acc->balance = row_money(0, 2);
	acc->held = row_money(0, 3);
	acc->expiring = row_money(0, 4);
	acc->lifetime_purchased = row_spend(0, 5);
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
 * account_read_plan reads the plan of a user in the snapshot of the calling
 * statement; its id is NULL for none. A team's id is an error.
 */
void
account_read_plan(const pg_uuid_t *user, UserPlan *plan)
{
	Account		acc = {.id = *user};
	QueryArgs	args = {0};
	char	   *plan_id;

	memset(plan, 0, sizeof(UserPlan));
	args_uuid(&args, user);
	if (query_read(&account_plan_query, &args) == 0)
		return;
	acc.team = strcmp(row_text(0, 1), "team") == 0;
	account_require_user(&acc);
	plan_id = row_text(0, 2);
	plan_from_row(plan, 3);
	if (plan_id != NULL && plan->id == NULL)
		plan_find(plan_id, plan, true);
}

/*
 * account_check_user rejects the id of a team as that of a user.
 */
void
account_check_user(const pg_uuid_t *user)
{
	Account		acc = {.id = *user};
	QueryArgs	args = {0};

	args_uuid(&args, user);
	acc.team = query_read(&account_kind_query, &args) > 0 && strcmp(row_text(0, 1), "team") == 0;
	account_require_user(&acc);
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
	args_datum(&args, rest_to_datum(acc->carry));
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
 * Take the row that a guarded update returned. The update went by the time from
 * before it: False means that it waited for the lock meanwhile, so that
 * something may have expired, that the time is too old to be the operation's,
 * or that the clock was set back. It must be undone then.
 */
static bool
account_after(const pg_uuid_t *id, Account *after, AccountChange *change)
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
	return clock < after->next_boundary && clock >= after->updated_at && clock - after->updated_at < STALE_CLOCK_USECS;
}

/*
 * Return how much a guarded update has taken by the carry of before, which that
 * of after tells: a raised amount leaves less than any that was not.
 */
static Money
charge_taken(const Charge *charge, Datum carry)
{
	Datum		least = rest_to_datum(charge->rest - REST_HALF);

	return DatumGetBool(DirectFunctionCall2(numeric_lt, carry, least)) ? charge->amount + 1 : charge->amount;
}

/*
 * Take the row that a guarded update returned after it took a charge, how much
 * that was, and with a link the head of the account's chain. False: the update
 * must be undone, as it went by a time that is over.
 */
static bool
account_charged(const pg_uuid_t *id, const Charge *charge, Account *after, AccountChange *change)
{
	int			column = AFTER_COLUMN_COUNT;
	bool		valid = account_after(id, after, change);

	change->balance = charge->rest != 0 ? charge_taken(charge, row_datum(0, ++column)) : charge->amount;
	change->carry = charge->rest - (change->balance - charge->amount) * REST_UNIT;
	change->expiring = after->expiring > 0 ? change->balance : 0;
	change->entries = 1;
	if (charge->link != NULL)
	{
		head_from_row(after, ++column);
		after->linked = change->linked = after->expiring == 0;
	}
	return valid;
}

/*
 * Append what CARRY_AMOUNT and CARRY_SET need of a charge: from
 * which carry on it takes more, and how much that is; by how much the carry
 * grows, and how much otherwise. Nothing where there is no rest.
 */
static void
args_carry(QueryArgs *args, const Charge *charge)
{
	if (charge->rest == 0)
		return;
	args_datum(args, rest_to_datum(REST_HALF - charge->rest));
	args_money(args, charge->amount + 1);
	args_datum(args, rest_to_datum(charge->rest));
	args_datum(args, rest_to_datum(charge->rest - REST_UNIT));
}

/*
 * Append the links of the entry that a charge may become; nothing
 * where the chain is off.
 */
static void
args_links(QueryArgs *args, const Charge *charge)
{
	if (charge->link == NULL)
		return;
	args_datum(args, PointerGetDatum(charge->link));
	if (charge->rest != 0)
		args_datum(args, PointerGetDatum(charge->raised_link));
}

/*
 * Append what the statements that charge have in common: limit is the floor, or
 * what is freed.
 */
static void
args_charge(QueryArgs *args, const pg_uuid_t *id, const Charge *charge, Money limit, TimestampTz now)
{
	args_uuid(args, id);
	args_money(args, charge->amount);
	args_money(args, limit);
	args_time(args, now);
}

/*
 * Take a charge from an account by a guarded update.
 */
static bool
try_charge(KeptQuery *query, QueryArgs *args, const pg_uuid_t *id, const Charge *charge, Account *after, AccountChange *change)
{
	args_carry(args, charge);
	args_links(args, charge);
	if (!account_update(query, id, args))
		return false;
	if (account_charged(id, charge, after, change))
		return true;
	account_undo(id, change);
	return false;
}

/*
 * account_try_charge takes a charge from a user's account in one statement
 * when that is all there is to do: nothing is due, and balance - held stays at
 * the floor or above, and pricing, unless it is NULL, is the active one: it is
 * not where the charge has a rest. change tells what it took, of which
 * change->expiring from grants. With a link it moves the head of the account's
 * chain, unless it took from grants. False: it did nothing.
 */
bool
account_try_charge(const pg_uuid_t *id, const Charge *charge, Money floor, const pg_uuid_t *pricing,
				   Account *after, AccountChange *change)
{
	static KeptQuery *const queries[3][2] = {
		{&account_charge_query, &account_charge_chained_query},
		{&account_charge_priced_query, &account_charge_priced_chained_query},
		{&account_charge_carry_query, &account_charge_carry_chained_query}
	};
	int			kind = charge->rest != 0 ? 2 : pricing != NULL ? 1 : 0;
	QueryArgs	args = {0};

	args_charge(&args, id, charge, floor, clock_now());
	if (pricing != NULL)
		args_uuid(&args, pricing);
	return try_charge(queries[kind][charge->link != NULL], &args, id, charge, after, change);
}

/*
 * account_try_settle takes a charge from a user's account, and frees what a
 * hold held for it, under the conditions of account_try_charge. False: it did
 * nothing.
 */
bool
account_try_settle(const pg_uuid_t *id, const Charge *charge, Money freed, Account *after, AccountChange *change)
{
	static KeptQuery *const queries[2][2] = {
		{&account_settle_query, &account_settle_chained_query},
		{&account_settle_carry_query, &account_settle_carry_chained_query}
	};
	QueryArgs	args = {0};
	bool		valid;

	args_charge(&args, id, charge, freed, clock_now());
	args_carry(&args, charge);
	args_links(&args, charge);
	if (!account_update(queries[charge->rest != 0][charge->link != NULL], id, &args))
		return false;
	valid = account_charged(id, charge, after, change);
	change->held = -freed;
	if (!valid)
		account_undo(id, change);
	return valid;
}

/*
 * account_try_charge_team takes a charge, without a rest, from a team's pool
 * under the same conditions as account_try_charge, with the floor 0, for a
 * member who may spend it as far as the snapshot tells.
 */
bool
account_try_charge_team(const pg_uuid_t *id, const pg_uuid_t *member, const Charge *charge,
						Account *after, AccountChange *change)
{
	QueryArgs	args = {0};
	TimestampTz now = clock_now();

	args_charge(&args, id, charge, 0, now);
	args_uuid(&args, member);
	args_datum(&args, DateADTGetDatum(period_month(now)));
	if (!try_charge(charge->link != NULL ? &account_charge_team_chained_query : &account_charge_team_query,
					&args, id, charge, after, change))
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
	valid = account_after(id, after, change);
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
	args_datum(&args, rest_to_datum(change->carry));
	if (query_run(&account_undo_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	if (!change->linked)
		return;
	memset(&args, 0, sizeof(args));
	args_uuid(&args, id);
	if (query_run(&account_unlink_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}
