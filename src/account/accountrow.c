/*
 * accountrow.c
 *		The table accounts: an account's row as it is read, locked, made and
 *		written, one or, of a batch, many.
 */
#include "postgres.h"

#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/numeric.h"

#include "account/accountrow.h"
#include "account/claim.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/query.h"
#include "base/records.h"
#include "base/value.h"
#include "base/zone.h"

/*
 * What an operation reads and writes of a row: the number of the column as it is
 * read and of the parameter as it is written, its name, the kind of value,
 * where Account has it, and what stands for NULL. First what spending moves, then
 * what holding does besides, then credit, and last what all of these leave as it
 * is.
 */
#define ACCOUNT_BALANCE_FIELD(FIELD) \
	FIELD(2, balance, money, balance, AS_IS)
#define ACCOUNT_SPENDING_FIELDS(FIELD) \
	FIELD(3, expiring, money, expiring, AS_IS) \
	FIELD(4, last_seq, int8, last_seq, AS_IS) \
	FIELD(5, updated_at, time, updated_at, AS_IS) \
	FIELD(6, allowance_used, spend, allowance_used, AS_IS)
#define ACCOUNT_HOLDING_FIELDS(FIELD) \
	FIELD(7, held, money, held, AS_IS) \
	FIELD(8, next_boundary, time, next_boundary, AS_IS) \
	FIELD(9, held_from_credits, money, held_from_credits, AS_IS) \
	FIELD(10, promised, money, promised, AS_IS) \
	FIELD(11, carry, rest, carry, AS_IS) \
	FIELD(12, alert_below, line, alert_below, BELOW) \
	FIELD(13, last_event, int8, last_event, AS_IS)
#define ACCOUNT_CREDITED_FIELDS(FIELD) \
	FIELD(14, lifetime_purchased, spend, lifetime_purchased, AS_IS)
#define ACCOUNT_STANDING_FIELDS(FIELD) \
	FIELD(15, closing_keys, bool, closing_keys, AS_IS) \
	FIELD(16, plan_id, text, plan_id, AS_IS) \
	FIELD(17, cycle_start, time, cycle.start, BEFORE) \
	FIELD(18, cycle_end, time, cycle.end, BEFORE) \
	FIELD(19, caps, int4, caps, AS_IS) \
	FIELD(20, caps_version, int8, caps_version, AS_IS) \
	FIELD(21, ended_until, time, ended_until, BEFORE) \
	FIELD(22, ahead_from, time, ahead_from, AFTER) \
	FIELD(23, ahead_until, time, ahead_until, BEFORE) \
	FIELD(24, anchor, time, anchor, BEFORE) \
	FIELD(25, zone, text, zone_name, AS_IS) \
	FIELD(26, alert_mark, int8, alert_mark, AS_IS)
#define ACCOUNT_SPENT_FIELDS(FIELD)	ACCOUNT_BALANCE_FIELD(FIELD) ACCOUNT_SPENDING_FIELDS(FIELD)
#define ACCOUNT_MOVING_FIELDS(FIELD)	ACCOUNT_SPENT_FIELDS(FIELD) ACCOUNT_HOLDING_FIELDS(FIELD)
#define ACCOUNT_FIELDS(FIELD)	ACCOUNT_MOVING_FIELDS(FIELD) ACCOUNT_CREDITED_FIELDS(FIELD) ACCOUNT_STANDING_FIELDS(FIELD)

#define SQL_line	"numeric"
#define OID_line	NUMERICOID

#define FIELD_SELECT(n, column, kind, member, null)	", a." #column
#define FIELD_NAME(n, column, kind, member, null)	#column,
#define FIELD_SET(n, column, kind, member, null)	", " #column " = " WRITE_##null("$" #n)
#define FIELD_SET_OF_ROW(n, column, kind, member, null)	", " #column " = " WRITE_##null("v." #column)
#define FIELD_OF_ROW(n, column, kind, member, null)	", " #column " " SQL_##kind
#define FIELD_TYPE(n, column, kind, member, null)	OID_##kind,
#define FIELD_NUMBER(n, column, kind, member, null)	NUMBER_##column = (n),

/* By whether it is a team's. */
const char *const account_kinds[] = {"user", "team", NULL};

/* The head of the chain comes after these. */
enum
{
	KIND_COLUMN = 1, ACCOUNT_FIELDS(FIELD_NUMBER) HEAD_COLUMN
};

#define ACCOUNT_COLUMNS	"a.kind" ACCOUNT_FIELDS(FIELD_SELECT) ", a.chain_head"
#define ACCOUNT_FROM	" FROM ducto.accounts a WHERE a.id = $1"

#define ACCOUNT_QUERIES(columns) \
	{ \
		[ACCOUNT_READ] = {.sql = "SELECT " columns ACCOUNT_FROM, .types = {UUIDOID}}, \
		[ACCOUNT_WAIT] = {.sql = "SELECT " columns ACCOUNT_FROM " FOR NO KEY UPDATE", .types = {UUIDOID}}, \
		[ACCOUNT_SKIP_LOCKED] = { \
			.sql = "SELECT " columns ACCOUNT_FROM " FOR NO KEY UPDATE SKIP LOCKED", .types = {UUIDOID} \
		} \
	}

/*
 * Those with a lock wait for the holder of the row, or skip it, and then read
 * what that one committed. The plan is read after that: a join with it costs
 * more than the two apart, and reaches on a cluster for a table of every node.
 * There the type of a record is that of a shard's rows, and each column is asked
 * for.
 */
static KeptQuery account_queries[2][3] = {ACCOUNT_QUERIES("a"), ACCOUNT_QUERIES(ACCOUNT_COLUMNS)};

static const char *const account_columns[] = {"kind", ACCOUNT_FIELDS(FIELD_NAME) "chain_head", NULL};
static RecordColumns account_record = {.names = account_columns};

/* Waits for another that makes the same account, and makes it when that one aborts. */
static KeptQuery account_create_query = {
	.sql = "INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at) VALUES ($1, $2, $2 = 'user', $3, $3)"
	" ON CONFLICT (id) DO NOTHING",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock. */
static KeptQuery account_write_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = $27, plain = $28" ACCOUNT_FIELDS(FIELD_SET) " WHERE id = $1",
	.types = {UUIDOID, ACCOUNT_FIELDS(FIELD_TYPE) BYTEAOID, BOOLOID, InvalidOid}
};

/* As this, where the rest has not changed. */
static KeptQuery account_move_query = {
	.sql = "UPDATE ducto.accounts SET plain = $14" ACCOUNT_MOVING_FIELDS(FIELD_SET) " WHERE id = $1",
	.types = {UUIDOID, ACCOUNT_MOVING_FIELDS(FIELD_TYPE) BOOLOID, InvalidOid}
};

static KeptQuery account_spend_query = {
	.sql = "UPDATE ducto.accounts SET balance = $2" ACCOUNT_SPENDING_FIELDS(FIELD_SET) " WHERE id = $1",
	.types = {UUIDOID, ACCOUNT_SPENT_FIELDS(FIELD_TYPE) InvalidOid}
};

static KeptQuery account_purchase_query = {
	.sql = "UPDATE ducto.accounts SET balance = $2" ACCOUNT_SPENDING_FIELDS(FIELD_SET) ", lifetime_purchased = $7 WHERE id = $1",
	.types = {UUIDOID, ACCOUNT_SPENT_FIELDS(FIELD_TYPE) ACCOUNT_CREDITED_FIELDS(FIELD_TYPE) InvalidOid}
};

static KeptQuery account_credit_query = {
	.sql = "UPDATE ducto.accounts SET plain = $15" ACCOUNT_MOVING_FIELDS(FIELD_SET) ACCOUNT_CREDITED_FIELDS(FIELD_SET)
	" WHERE id = $1",
	.types = {UUIDOID, ACCOUNT_MOVING_FIELDS(FIELD_TYPE) ACCOUNT_CREDITED_FIELDS(FIELD_TYPE) BOOLOID, InvalidOid}
};

/* The caller has the rows' locks. */
static KeptQuery accounts_write_query = {
	.sql = "UPDATE ducto.accounts a SET chain_head = v.chain_head, plain = v.plain" ACCOUNT_FIELDS(FIELD_SET_OF_ROW)
	" FROM unnest($1) AS v(id uuid" ACCOUNT_FIELDS(FIELD_OF_ROW) ", chain_head bytea, plain boolean) WHERE a.id = v.id",
	.types = {RECORDARRAYOID},
	.anew = true
};

static KeptQuery accounts_find_query = {
	.sql = "SELECT a.id FROM ducto.accounts a WHERE a.id = ANY ($1) ORDER BY a.id",
	.types = {UUIDARRAYOID}
};

/* As account_create_query, in the order of the ids. */
static KeptQuery accounts_create_query = {
	.sql = "INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at)"
	" SELECT v.id, 'user', true, $2, $2 FROM unnest($1) AS v(id) ORDER BY v.id ON CONFLICT (id) DO NOTHING",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock, as in the next. */
static KeptQuery account_write_head_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = $2 WHERE id = $1",
	.types = {UUIDOID, BYTEAOID}
};

static KeptQuery account_tell_query = {
	.sql = "UPDATE ducto.accounts SET last_event = $2 WHERE id = $1",
	.types = {UUIDOID, INT8OID}
};

/*
 * account_clear makes an account that there is none of, and takes the time.
 */
void
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
 * Read the balance below which something is to be told, -Infinity for none.
 */
static Money
row_line(uint64 row, int column)
{
	Datum		value = row_datum(row, column);

	return numeric_is_inf(DatumGetNumeric(value)) ? NO_ALERTS : money_from_datum(value);
}

/*
 * Append such a balance.
 */
static void
args_line(QueryArgs *args, Money value)
{
	if (value == NO_ALERTS)
		args_null(args);
	else
		args_money(args, value);
}

#define FIELD_READ(n, column, kind, member, null)	acc->member = READ_##null(row_##kind, row, n);
#define FIELD_APPEND(n, column, kind, member, null)	args_##kind(args, acc->member);
#define FIELD_DIFFERS(n, column, kind, member, null)	|| acc->member != loaded->member

/*
 * Read a row of ACCOUNT_COLUMNS.
 */
static void
account_from_row(Account *acc, uint64 row)
{
	acc->exists = true;
	acc->team = row_word(row, KIND_COLUMN, account_kinds) != 0;
	ACCOUNT_FIELDS(FIELD_READ)
	account_head_from_row(acc, row, HEAD_COLUMN);
	acc->zone = zone_find(acc->zone_name);
	acc->late = TIMESTAMP_IS_NOBEGIN(acc->next_boundary);
	acc->watched.balance = acc->balance;
	acc->watched.cycle = acc->cycle;
	acc->watched.allowance_used = acc->allowance_used;
}

/*
 * account_row_read reads an account's row, with the lock that is asked for, and
 * takes the time after that. apart says that there is a cluster. False: there is
 * no such row, or it is locked and to be skipped.
 */
bool
account_row_read(const pg_uuid_t *id, AccountLock lock, bool apart, Account *acc)
{
	KeptQuery  *query = &account_queries[apart][lock];
	QueryArgs	args = {0};
	uint64		found;

	args_uuid(&args, id);
	found = lock == ACCOUNT_READ ? query_read(query, &args) : query_run(query, &args, SPI_OK_SELECT);
	account_clear(acc, id);
	if (found == 0)
		return false;
	if (!apart)
		row_unpack(0, &account_record);
	account_from_row(acc, 0);
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
 * Read and lock accounts of a batch one by one, in their order, and list those
 * that there are. On a cluster each is on a node of its own; elsewhere that is
 * for statements that are not done without the executor.
 */
static uint64
accounts_lock_each(AccountLock lock, Account *accs, int n, pg_uuid_t *locked)
{
	bool		apart = query_distributed(&account_queries[true][lock]);
	uint64		found = 0;

	for (int i = 0; i < n; i++)
	{
		QueryArgs	args = {0};

		if (apart)
			cluster_shard_stays(&accs[i].id);
		args_uuid(&args, &accs[i].id);
		if (query_run(&account_queries[true][lock], &args, SPI_OK_SELECT) == 0)
			continue;
		account_from_row(&accs[i], 0);
		locked[found++] = accs[i].id;
	}
	return found;
}

/* Accounts of a batch that are being locked. */
typedef struct Locking
{
	Account    *accs;
	Account    *loaded;			/* as each is then */
	pg_uuid_t  *locked;			/* those that there are, */
	uint64		found;			/* and how many */
	MemoryContext context;		/* of what is read */
} Locking;

/*
 * Have the id of an account of a batch as the parameter.
 */
static void
args_id_of(QueryArgs *args, int i, const void *locking)
{
	args_uuid(args, &((const Locking *) locking)->accs[i].id);
}

/*
 * Read an account of a batch that was locked.
 */
static void
account_locked(int i, ItemPointer place, void *state)
{
	Locking    *locking = state;
	MemoryContext previous = MemoryContextSwitchTo(locking->context);
	Account    *acc = &locking->accs[i];

	account_from_row(acc, 0);
	acc->place = *place;
	acc->loaded = &locking->loaded[i];
	*acc->loaded = *acc;
	locking->locked[locking->found++] = acc->id;
	MemoryContextSwitchTo(previous);
}

/*
 * accounts_lock_rows reads and locks accounts of a batch, together where that can
 * be done, in their order, and lists those that there are.
 */
uint64
accounts_lock_rows(AccountLock lock, Account *accs, int n, pg_uuid_t *locked)
{
	Locking		locking = {
		.accs = accs, .loaded = palloc(sizeof(Account) * Max(n, 1)), .locked = locked, .context = CurrentMemoryContext
	};
	QueryEach	each = {.n = n, .args = args_id_of, .found = account_locked, .state = &locking};

	if (!query_run_each(&account_queries[true][lock], &each))
		return accounts_lock_each(lock, accs, n, locked);
	return locking.found;
}

/*
 * accounts_are_apart tells whether each account is on a node of its own, and has
 * to be worked on by statements of its own. The caller has connected to SPI.
 */
bool
accounts_are_apart(void)
{
	return query_distributed(&account_queries[true][ACCOUNT_SKIP_LOCKED]);
}

/*
 * account_create makes an account unless there is one.
 */
void
account_create(const pg_uuid_t *id, bool team)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	args_text(&args, account_kinds[team]);
	args_time(&args, clock_now());
	query_run(&account_create_query, &args, SPI_OK_INSERT);
}

/*
 * Check what always holds of an account that is written.
 */
static void
account_assert(const Account *acc)
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
}

/*
 * Return the statement that writes as much of a locked account's row as an
 * operation may have changed since it was read or written last.
 */
static KeptQuery *
account_changed(const Account *acc)
{
	const Account *loaded = acc->loaded;
	bool		credited;
	bool		holding;

	if (loaded == NULL || acc->chained ACCOUNT_STANDING_FIELDS(FIELD_DIFFERS))
		return &account_write_query;
	credited = false ACCOUNT_CREDITED_FIELDS(FIELD_DIFFERS);
	holding = account_is_plain(acc) != account_is_plain(loaded) ACCOUNT_HOLDING_FIELDS(FIELD_DIFFERS);
	if (holding)
		return credited ? &account_credit_query : &account_move_query;
	return credited ? &account_purchase_query : &account_spend_query;
}

/*
 * Append what a statement writes of an account's row.
 */
static void
args_account(QueryArgs *args, const Account *acc, const KeptQuery *query)
{
	bool		all = query == &account_write_query;
	bool		holding = all || query == &account_move_query || query == &account_credit_query;
	bool		credited = all || query == &account_purchase_query || query == &account_credit_query;

	account_assert(acc);
	args_uuid(args, &acc->id);
	ACCOUNT_SPENT_FIELDS(FIELD_APPEND)
	if (holding)
	{
		ACCOUNT_HOLDING_FIELDS(FIELD_APPEND)
	}
	if (credited)
	{
		ACCOUNT_CREDITED_FIELDS(FIELD_APPEND)
	}
	if (all)
	{
		ACCOUNT_STANDING_FIELDS(FIELD_APPEND)
	}
	if (all && acc->chained)
		args_datum(args, digest_to_datum(acc->chain_head));
	else if (all)
		args_null(args);
	if (holding)
		args_bool(args, account_is_plain(acc));
}

/*
 * account_row_write writes the row of a locked account.
 */
void
account_row_write(const Account *acc)
{
	QueryArgs	args = {0};
	KeptQuery  *query = account_changed(acc);

	args_account(&args, acc, query);
	if (query_run(query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	if (acc->loaded != NULL)
		*acc->loaded = *acc;
}

/*
 * Write rows by a statement that finds them by a join.
 */
static uint64
accounts_write_rows(const Account **accs, int n)
{
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "ducto row", ALLOCSET_SMALL_SIZES);
	Records		rows;
	QueryArgs	args = {0};

	records_begin(&rows, account_write_query.types);
	for (int i = 0; i < n; i++)
	{
		QueryArgs	row = {0};
		MemoryContext previous = MemoryContextSwitchTo(each);

		args_account(&row, accs[i], &account_write_query);
		MemoryContextSwitchTo(previous);
		records_add(&rows, &row);
		MemoryContextReset(each);
	}
	args_records(&args, &rows);
	return query_run(&accounts_write_query, &args, SPI_OK_UPDATE);
}

/* Accounts that one statement writes. */
typedef struct Alike
{
	KeptQuery  *query;
	const Account **accs;
	ItemPointerData *places;
} Alike;

/*
 * Have what is to be written of one of them.
 */
static void
args_alike(QueryArgs *args, int i, const void *state)
{
	const Alike *alike = state;

	args_account(args, alike->accs[i], alike->query);
}

/*
 * Write those of some accounts that the statement for the first of them writes,
 * and let the others be all that is left. False: that takes the executor, and
 * nothing was written.
 */
static bool
accounts_write_alike(Alike *alike, const Account **accs, int *n)
{
	QueryEach	each = {.args = args_alike, .state = alike, .likely = alike->places};
	int			left = 0;

	alike->query = account_changed(accs[0]);
	for (int i = 0; i < *n; i++)
		if (account_changed(accs[i]) == alike->query)
		{
			alike->places[each.n] = accs[i]->place;
			alike->accs[each.n++] = accs[i];
		}
	if (!query_run_each(alike->query, &each))
		return false;
	if (SPI_processed != each.n)
		row_missing("accounts");
	for (int i = 0; i < *n; i++)
		if (account_changed(accs[i]) != alike->query)
			accs[left++] = accs[i];
	*n = left;
	return true;
}

/*
 * accounts_rows_write writes the rows of locked accounts, by as much as has
 * changed of each.
 */
void
accounts_rows_write(const Account **accs, int n)
{
	Alike		alike = {.accs = palloc(sizeof(Account *) * n), .places = palloc(sizeof(ItemPointerData) * n)};

	if (query_distributed(&account_write_query))
	{
		for (int i = 0; i < n; i++)
			account_row_write(accs[i]);
		return;
	}
	while (n > 0 && accounts_write_alike(&alike, accs, &n))
		continue;
	if (n > 0 && accounts_write_rows(accs, n) != n)
		row_missing("accounts");
}

/*
 * account_row_tell writes how many events a locked account has had, alone.
 */
void
account_row_tell(const Account *acc)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, acc->last_event);
	if (query_run(&account_tell_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	if (acc->loaded != NULL)
		acc->loaded->last_event = acc->last_event;
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

/* Changes nothing, but for Citus it writes to the shard. */
static KeptQuery hold_shard_query = {
	.sql = "UPDATE ducto.accounts SET kind = kind WHERE id = $1 AND balance IS NULL",
	.types = {UUIDOID}
};

/*
 * account_hold_shard keeps the shard of an account on a cluster where it is until
 * the transaction ends, lets its node take part in the transaction as one that
 * writes, and returns which it is.
 */
int64
account_hold_shard(const pg_uuid_t *id)
{
	QueryArgs	args = {0};

	cluster_shard_stays(id);
	args_uuid(&args, id);
	query_run(&hold_shard_query, &args, SPI_OK_UPDATE);
	AcceptInvalidationMessages();
	return cluster_shard(id);
}

/* The same on several shards. */
static KeptQuery hold_shards_query = {
	.sql = "UPDATE ducto.accounts SET kind = kind WHERE id = ANY ($1) AND balance IS NULL",
	.types = {UUIDARRAYOID}
};

/*
 * accounts_hold_shards does that with the shards of several accounts, of each node
 * by one connection.
 */
void
accounts_hold_shards(const pg_uuid_t *ids, int n)
{
	QueryArgs	args = {0};
	int			level = NewGUCNestLevel();

	for (int i = 0; i < n; i++)
		cluster_shard_stays(&ids[i]);
	(void) set_config_option("citus.multi_shard_modify_mode", "sequential", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	args_uuid_array(&args, ids, n);
	query_run(&hold_shards_query, &args, SPI_OK_UPDATE);
	AtEOXact_GUC(true, level);
	AcceptInvalidationMessages();
}
