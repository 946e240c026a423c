/*
 * account.c
 *		The table accounts: loading, locking and writing an account's row.
 */
#include "postgres.h"

#include "account/account.h"
#include "account/ahead.h"
#include "account/claim.h"
#include "account/funds.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/uuid.h"
#include "base/zone.h"

#define ACCOUNT_SELECT \
	"SELECT a.kind, a.balance, a.held, a.expiring, a.lifetime_purchased, a.next_boundary, a.last_seq," \
	" a.closing_keys, a.updated_at, a.plan_id, coalesce(a.allowance_month, '-infinity'), a.allowance_used," \
	" a.held_from_credits, a.promised, a.caps, coalesce(a.ended_until, '-infinity'), a.chain_head," \
	" coalesce(a.ahead_from, 'infinity'), coalesce(a.ahead_until, '-infinity'), a.carry," \
	" coalesce(a.anchor, '-infinity'), a.zone, " PLAN_COLUMNS \
	" FROM ducto.accounts a LEFT JOIN ducto.plans p ON p.id = a.plan_id WHERE a.id = $1"

#define CHAIN_COLUMN		17
#define FIRST_PLAN_COLUMN	23

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
	" ahead_from = nullif($18, 'infinity'), ahead_until = nullif($19, '-infinity'), carry = $20,"
	" anchor = nullif($21, '-infinity'), zone = $22 WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, INT8OID, BOOLOID, TIMESTAMPTZOID,
	TEXTOID, DATEOID, NUMERICOID, NUMERICOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	NUMERICOID, TIMESTAMPTZOID, TEXTOID}
};

/* The caller has the row's lock. */
static KeptQuery account_write_head_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = $2 WHERE id = $1",
	.types = {UUIDOID, BYTEAOID}
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
 * account_head_from_row reads the head of an account's chain.
 */
void
account_head_from_row(Account *acc, int column)
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
	acc->anchor = DT_NOBEGIN;
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
	account_head_from_row(acc, CHAIN_COLUMN);
	acc->ahead_from = row_time(0, CHAIN_COLUMN + 1);
	acc->ahead_until = row_time(0, CHAIN_COLUMN + 2);
	acc->carry = rest_from_datum(row_datum(0, CHAIN_COLUMN + 3));
	acc->anchor = row_time(0, CHAIN_COLUMN + 4);
	acc->zone_name = row_text(0, CHAIN_COLUMN + 5);
	acc->zone = zone_find(acc->zone_name);
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
	args_time(&args, acc->anchor);
	args_text(&args, acc->zone_name);
	if (query_run(&account_write_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
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
