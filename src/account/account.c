/*
 * account.c
 *		The table accounts: loading, locking and writing an account's row.
 */
#include "postgres.h"

#include "account/account.h"
#include "account/ahead.h"
#include "account/alert.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/funds.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/records.h"
#include "base/uuid.h"
#include "base/zone.h"

#define ACCOUNT_COLUMNS \
	"a.kind, a.balance, a.held, a.expiring, a.lifetime_purchased, a.next_boundary, a.last_seq," \
	" a.closing_keys, a.updated_at, a.plan_id, coalesce(a.cycle_start, '-infinity'), a.allowance_used," \
	" a.held_from_credits, a.promised, a.caps, coalesce(a.ended_until, '-infinity'), a.chain_head," \
	" coalesce(a.ahead_from, 'infinity'), coalesce(a.ahead_until, '-infinity'), a.carry," \
	" coalesce(a.anchor, '-infinity'), a.zone, a.caps_version," \
	" nullif(a.alert_below, '-Infinity'), a.alert_mark, coalesce(a.cycle_end, '-infinity')"
#define ACCOUNT_SELECT	"SELECT " ACCOUNT_COLUMNS " FROM ducto.accounts a WHERE a.id = $1"

#define CHAIN_COLUMN		17
#define ALERT_COLUMN		24
#define ID_COLUMN			27

/*
 * Those with a lock wait for the holder of the row, or skip it, and then read
 * what that one committed. The plan is read after that: a join with it costs
 * more than the two apart, and reaches on a cluster for a table of every node.
 */
static KeptQuery account_queries[] = {
	[ACCOUNT_READ] = {.sql = ACCOUNT_SELECT, .types = {UUIDOID}},
	[ACCOUNT_WAIT] = {.sql = ACCOUNT_SELECT " FOR NO KEY UPDATE", .types = {UUIDOID}},
	[ACCOUNT_SKIP_LOCKED] = {.sql = ACCOUNT_SELECT " FOR NO KEY UPDATE SKIP LOCKED", .types = {UUIDOID}}
};

/* Waits for another that makes the same account, and makes it when that one aborts. */
static KeptQuery account_create_query = {
	.sql = "INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at) VALUES ($1, $2, $2 = 'user', $3, $3)"
	" ON CONFLICT (id) DO NOTHING",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

/*
 * What an operation writes of a row, of values that are parameters, or columns
 * of rows. WRITE_ROW names their types once more.
 */
#define ACCOUNT_SET(v) \
	" SET balance = " v "2, held = " v "3, expiring = " v "4, lifetime_purchased = " v "5," \
	" next_boundary = " v "6, last_seq = " v "7, closing_keys = " v "8, updated_at = " v "9, plan_id = " v "10," \
	" cycle_start = nullif(" v "11, '-infinity'), allowance_used = " v "12, held_from_credits = " v "13, promised = " v "14," \
	" caps = " v "15," \
	" plain = kind = 'user' AND " v "10 IS NULL AND " v "14 = 0 AND " v "15 = 0 AND " v "19 <= " v "9," \
	" ended_until = nullif(" v "16, '-infinity'), chain_head = " v "17," \
	" ahead_from = nullif(" v "18, 'infinity'), ahead_until = nullif(" v "19, '-infinity'), carry = " v "20," \
	" anchor = nullif(" v "21, '-infinity'), zone = " v "22, caps_version = " v "23," \
	" alert_below = coalesce(" v "24, '-Infinity'), alert_mark = " v "25," \
	" cycle_end = nullif(" v "26, '-infinity')"
#define WRITE_TYPES \
	{UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, INT8OID, BOOLOID, TIMESTAMPTZOID, TEXTOID, \
		TIMESTAMPTZOID, NUMERICOID, NUMERICOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, BYTEAOID, TIMESTAMPTZOID, TIMESTAMPTZOID, \
		NUMERICOID, TIMESTAMPTZOID, TEXTOID, INT8OID, NUMERICOID, INT8OID, TIMESTAMPTZOID, InvalidOid}
#define WRITE_ROW \
	"v(c1 uuid, c2 numeric, c3 numeric, c4 numeric, c5 numeric, c6 timestamptz, c7 bigint, c8 boolean, c9 timestamptz, c10 text," \
	" c11 timestamptz, c12 numeric, c13 numeric, c14 numeric, c15 integer, c16 timestamptz, c17 bytea, c18 timestamptz," \
	" c19 timestamptz, c20 numeric, c21 timestamptz, c22 text, c23 bigint, c24 numeric, c25 bigint, c26 timestamptz)"

/* The caller has the row's lock. */
static KeptQuery account_write_query = {
	.sql = "UPDATE ducto.accounts" ACCOUNT_SET("$") " WHERE id = $1",
	.types = WRITE_TYPES
};

/* The caller has the rows' locks. */
static KeptQuery accounts_write_query = {
	.sql = "UPDATE ducto.accounts a" ACCOUNT_SET("v.c") " FROM unnest($1) AS " WRITE_ROW " WHERE a.id = v.c1",
	.types = {RECORDARRAYOID},
	.anew = true
};

static KeptQuery accounts_find_query = {
	.sql = "SELECT a.id FROM ducto.accounts a WHERE a.id = ANY ($1) ORDER BY a.id",
	.types = {UUIDARRAYOID}
};

/*
 * Waits for the holder of each row in the order of the ids, or skips it, and reads
 * what that one committed. The plans are read after that.
 */
#define ACCOUNTS_LOCK_SQL \
	"SELECT " ACCOUNT_COLUMNS ", a.id FROM ducto.accounts a WHERE a.id = ANY ($1) ORDER BY a.id FOR NO KEY UPDATE OF a"

static KeptQuery accounts_lock_query = {.sql = ACCOUNTS_LOCK_SQL, .types = {UUIDARRAYOID}};
static KeptQuery accounts_try_lock_query = {.sql = ACCOUNTS_LOCK_SQL " SKIP LOCKED", .types = {UUIDARRAYOID}};

/* As account_create_query, in the order of the ids. */
static KeptQuery accounts_create_query = {
	.sql = "INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at)"
	" SELECT v.id, 'user', true, $2, $2 FROM unnest($1) AS v(id) ORDER BY v.id ON CONFLICT (id) DO NOTHING",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID}
};

/* Fewer rows are written one by one: that needs no plan of their own. */
#define WRITE_TOGETHER	8

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
account_select_locked(const pg_uuid_t *id, AccountLock lock, KeptQuery *query, QueryArgs *args)
{
	uint64		found;

	if (lock == ACCOUNT_SKIP_LOCKED && account_is_claimed(id))
		return 0;
	account_claim(id);
	found = query_run(query, args, SPI_OK_SELECT);
	if (found == 0)
		account_unclaim(id);
	return found;
}

/*
 * account_head_from_row reads the head of an account's chain.
 */
void
account_head_from_row(Account *acc, uint64 row, int column)
{
	acc->chained = !row_is_null(row, column);
	if (acc->chained)
		memcpy(acc->chain_head, VARDATA_ANY(DatumGetByteaPP(row_datum(row, column))), DIGEST_LENGTH);
}

/*
 * Make an account that there is none of.
 */
static void
account_clear(Account *acc, const pg_uuid_t *id)
{
	memset(acc, 0, sizeof(Account));
	acc->id = *id;
	acc->next_boundary = DT_NOEND;
	acc->ended_until = DT_NOBEGIN;
	acc->ahead_from = DT_NOEND;
	acc->ahead_until = DT_NOBEGIN;
	acc->anchor = DT_NOBEGIN;
	acc->alert_below = NO_ALERTS;
	acc->cycle.start = DT_NOBEGIN;
	acc->cycle.end = DT_NOBEGIN;
	acc->now = clock_now();
}

/*
 * Read a row of ACCOUNT_COLUMNS.
 */
static void
account_from_row(Account *acc, uint64 row)
{
	acc->exists = true;
	acc->team = strcmp(row_text(row, 1), "team") == 0;
	acc->balance = row_money(row, 2);
	acc->held = row_money(row, 3);
	acc->expiring = row_money(row, 4);
	acc->lifetime_purchased = row_spend(row, 5);
	acc->next_boundary = row_time(row, 6);
	acc->last_seq = row_int8(row, 7);
	acc->closing_keys = row_bool(row, 8);
	acc->updated_at = row_time(row, 9);
	acc->plan_id = row_text(row, 10);
	acc->cycle.start = row_time(row, 11);
	acc->allowance_used = row_spend(row, 12);
	acc->held_from_credits = row_money(row, 13);
	acc->promised = row_money(row, 14);
	acc->caps = DatumGetInt32(row_datum(row, 15));
	acc->ended_until = row_time(row, 16);
	account_head_from_row(acc, row, CHAIN_COLUMN);
	acc->ahead_from = row_time(row, CHAIN_COLUMN + 1);
	acc->ahead_until = row_time(row, CHAIN_COLUMN + 2);
	acc->carry = rest_from_datum(row_datum(row, CHAIN_COLUMN + 3));
	acc->anchor = row_time(row, CHAIN_COLUMN + 4);
	acc->zone_name = row_text(row, CHAIN_COLUMN + 5);
	acc->zone = zone_find(acc->zone_name);
	acc->caps_version = row_int8(row, CHAIN_COLUMN + 6);
	acc->cycle.end = row_time(row, ALERT_COLUMN + 2);
	acc->late = TIMESTAMP_IS_NOBEGIN(acc->next_boundary);
	acc->alert_below = row_is_null(row, ALERT_COLUMN) ? NO_ALERTS : row_money(row, ALERT_COLUMN);
	acc->alert_mark = row_int8(row, ALERT_COLUMN + 1);
	acc->watched.balance = acc->balance;
	acc->watched.cycle = acc->cycle;
	acc->watched.allowance_used = acc->allowance_used;
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
	KeptQuery  *query = &account_queries[lock];
	QueryArgs	args = {0};
	uint64		found;

	args_uuid(&args, id);
	found = lock == ACCOUNT_READ ? query_read(query, &args) : account_select_locked(id, lock, query, &args);

	account_clear(acc, id);
	if (found == 0)
		return false;

	account_from_row(acc, 0);
	if (acc->plan_id != NULL)
		plan_find(acc->plan_id, &acc->plan, lock == ACCOUNT_READ);
	if (account_is_ahead(acc))
		account_set_back(acc, lock == ACCOUNT_READ);
	return true;
}

/*
 * Append the ids of accounts as an array.
 */
static void
args_ids(QueryArgs *args, const Account *accs, int n)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));

	for (int i = 0; i < n; i++)
		ids[i] = accs[i].id;
	args_uuid_array(args, ids, n);
}

/*
 * accounts_begin makes accounts of which nothing is known yet, for a batch: in
 * the order of their ids.
 */
void
accounts_begin(Account *accs, const pg_uuid_t *ids, int n, struct LedgerQueue *queue)
{
	for (int i = 0; i < n; i++)
	{
		Assert(i == 0 || memcmp(&ids[i - 1], &ids[i], UUID_LEN) < 0);
		account_clear(&accs[i], &ids[i]);
		accs[i].queue = queue;
	}
}

/*
 * accounts_find tells which of the accounts of a batch there are, and locks
 * none.
 */
void
accounts_find(Account *accs, int n)
{
	QueryArgs	args = {0};
	uint64		found;
	int			i = 0;

	args_ids(&args, accs, n);
	found = query_run(&accounts_find_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < found; row++)
	{
		pg_uuid_t	id = row_uuid(row, 1);

		while (memcmp(&accs[i].id, &id, UUID_LEN) != 0)
			i++;
		accs[i].exists = true;
	}
}

/*
 * accounts_create makes accounts of users unless there are some.
 */
void
accounts_create(Account *accs, int n)
{
	QueryArgs	args = {0};

	args_ids(&args, accs, n);
	args_time(&args, clock_now());
	query_run(&accounts_create_query, &args, SPI_OK_INSERT);
}

/*
 * Read the plan of an account of a batch, which another before it may have
 * read.
 */
static void
accounts_find_plan(Account *accs, int i)
{
	static const UserPlan none;
	Account    *acc = &accs[i];

	acc->plan = none;
	if (acc->plan_id == NULL)
		return;
	for (int j = i - 1; j >= 0 && acc->plan.id == NULL; j--)
		if (accs[j].plan.id != NULL && strcmp(accs[j].plan.id, acc->plan_id) == 0)
			acc->plan = accs[j].plan;
	if (acc->plan.id == NULL)
		plan_find(acc->plan_id, &acc->plan, false);
}

/*
 * Read and lock accounts of a batch one by one, in their order, and list those
 * that there are. On a cluster each is on a node of its own.
 */
static uint64
accounts_lock_each(Account *accs, int n, pg_uuid_t *locked)
{
	uint64		found = 0;

	for (int i = 0; i < n; i++)
	{
		QueryArgs	args = {0};

		args_uuid(&args, &accs[i].id);
		if (query_run(&account_queries[ACCOUNT_WAIT], &args, SPI_OK_SELECT) == 0)
			continue;
		account_from_row(&accs[i], 0);
		locked[found++] = accs[i].id;
	}
	return found;
}

/*
 * Read and lock accounts by one statement, and list those that it found.
 */
static uint64
accounts_lock_together(KeptQuery *query, Account *accs, int n, pg_uuid_t *locked)
{
	QueryArgs	args = {0};
	uint64		found;
	int			i = 0;

	args_ids(&args, accs, n);
	found = query_run(query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < found; row++)
	{
		locked[row] = row_uuid(row, ID_COLUMN);
		while (memcmp(&accs[i].id, &locked[row], UUID_LEN) != 0)
			i++;
		account_from_row(&accs[i], row);
	}
	SPI_freetuptable(SPI_tuptable);
	return found;
}

/*
 * Claim accounts of which those listed were locked, and take the time of their
 * operations: the clock after the last lock.
 */
static void
accounts_enter(Account *accs, int n, const pg_uuid_t *locked, uint64 found)
{
	TimestampTz now;

	accounts_claim(locked, (int) found);
	now = clock_now();
	for (int i = 0; i < n; i++)
	{
		accs[i].now = now;
		accounts_find_plan(accs, i);
	}
}

/*
 * accounts_load reads and locks accounts of a batch, in their order, and takes
 * the time of its operations.
 */
void
accounts_load(Account *accs, int n)
{
	pg_uuid_t  *locked = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	uint64		found;

	found = query_distributed(&accounts_lock_query) ? accounts_lock_each(accs, n, locked) :
		accounts_lock_together(&accounts_lock_query, accs, n, locked);
	accounts_enter(accs, n, locked, found);
}

/*
 * accounts_try_load does the same with those of some accounts that no other
 * session has locked; to the caller the others do not exist. They must not be
 * apart, and none be claimed.
 */
void
accounts_try_load(Account *accs, int n)
{
	pg_uuid_t  *locked = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	uint64		found = accounts_lock_together(&accounts_try_lock_query, accs, n, locked);

	accounts_enter(accs, n, locked, found);
}

/*
 * accounts_are_apart tells whether each account is on a node of its own, and has
 * to be worked on by statements of its own. The caller has connected to SPI.
 */
bool
accounts_are_apart(void)
{
	return query_distributed(&accounts_try_lock_query);
}

/*
 * account_require_user rejects a team's id where a user's is wanted.
 */
void
account_require_user(const Account *acc)
{
	if (acc->team)
		arg_reject_because("user_id", uuid_to_cstring(&acc->id), "It is the id of a team.",
						   "\"user_id\" must be the id of a user.");
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
 * Append what is written of an account's row.
 */
static void
args_account(QueryArgs *args, const Account *acc)
{
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
	args_uuid(args, &acc->id);
	args_money(args, acc->balance);
	args_money(args, acc->held);
	args_money(args, acc->expiring);
	args_spend(args, acc->lifetime_purchased);
	args_time(args, acc->next_boundary);
	args_int8(args, acc->last_seq);
	args_bool(args, acc->closing_keys);
	args_time(args, acc->updated_at);
	args_text(args, acc->plan_id);
	args_time(args, acc->cycle.start);
	args_spend(args, acc->allowance_used);
	args_money(args, acc->held_from_credits);
	args_money(args, acc->promised);
	args_int4(args, acc->caps);
	args_time(args, acc->ended_until);
	if (acc->chained)
		args_datum(args, digest_to_datum(acc->chain_head));
	else
		args_null(args);
	args_time(args, acc->ahead_from);
	args_time(args, acc->ahead_until);
	args_datum(args, rest_to_datum(acc->carry));
	args_time(args, acc->anchor);
	args_text(args, acc->zone_name);
	args_int8(args, acc->caps_version);
	if (acc->alert_below == NO_ALERTS)
		args_null(args);
	else
		args_money(args, acc->alert_below);
	args_int8(args, acc->alert_mark);
	args_time(args, acc->cycle.end);
}

/*
 * Write one row.
 */
static void
account_write_row(const Account *acc)
{
	QueryArgs	args = {0};

	args_account(&args, acc);
	if (query_run(&account_write_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}

/*
 * account_write writes a locked account's row; that of an account of a batch or of
 * a set is written at its end.
 */
void
account_write(Account *acc)
{
	acc->updated_at = acc->now;
	allowance_rely(acc, acc->now);
	alerts_watch(acc);
	events_write(acc);
	if (acc->queue != NULL || acc->set != NULL)
		acc->unwritten = true;
	else
		account_write_row(acc);
}

/*
 * Write the rows of all accounts of a batch that are to be written.
 */
static void
accounts_write_rows(const Account *accs, int n)
{
	Records		rows;
	QueryArgs	args = {0};

	records_begin(&rows, account_write_query.types);
	for (int i = 0; i < n; i++)
	{
		QueryArgs	row = {0};

		if (!accs[i].unwritten)
			continue;
		args_account(&row, &accs[i]);
		records_add(&rows, &row);
	}
	args_records(&args, &rows);
	if (query_run(&accounts_write_query, &args, SPI_OK_UPDATE) != rows.n)
		row_missing("accounts");
}

/*
 * accounts_write writes what a batch has left unwritten of its accounts.
 */
void
accounts_write(Account *accs, int n)
{
	int			unwritten = 0;
	bool		together;

	for (int i = 0; i < n; i++)
		unwritten += accs[i].unwritten ? 1 : 0;
	together = unwritten >= WRITE_TOGETHER && !query_distributed(&account_write_query);
	if (together)
		accounts_write_rows(accs, n);
	for (int i = 0; i < n; i++)
	{
		if (accs[i].unwritten && !together)
			account_write_row(&accs[i]);
		accs[i].unwritten = false;
	}
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
