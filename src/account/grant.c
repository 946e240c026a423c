/*
 * grant.c
 *		The table grants: what is due, what is spent, what is given back. All
 *		of it happens under the account's lock.
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "account/claim.h"
#include "account/grant.h"
#include "base/bulk.h"
#include "base/query.h"
#include "base/value.h"

#define GRANT_COLUMNS "id, seq, remaining, expires_at"

#define DUE_COLUMNS \
	GRANT_COLUMNS ", CASE WHEN rolls_to > expires_at THEN rolls_to ELSE '-infinity' END AS rolls_to," \
	" coalesce(rollover, 0.0000) AS rollover"

/* Where a row has them; GRANT_ACCOUNT is which of several accounts it is of, from 1. */
enum
{
	GRANT_ID, GRANT_SEQ, GRANT_REMAINING, GRANT_EXPIRES_AT, GRANT_ROLLS_TO, GRANT_ROLLOVER, GRANT_ACCOUNT
};

/* Grants past their time with something left. */
static KeptQuery grants_due_query = {
	.sql = "SELECT " DUE_COLUMNS " FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at <= $2 ORDER BY expires_at, seq, id",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

/* As this, of many accounts, up to $3 of each: for each in turn a range of the index. */
static KeptQuery grants_due_of_query = {
	.sql = "SELECT g.*, a.n FROM unnest($1) WITH ORDINALITY AS a(id, n), LATERAL (SELECT " DUE_COLUMNS " FROM ducto.grants"
	"  WHERE account_id = a.id AND live AND expires_at <= $2 ORDER BY expires_at, seq, id LIMIT $3) g",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID, INT8OID}
};

static KeptQuery grants_next_query = {
	.sql = "SELECT coalesce(min(expires_at), 'infinity') FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at > $2",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

/*
 * What a grant that is new has, as value.h has it, after its account and its id:
 * all columns of the table, in its order. MAYBE is one that is NULL where it does
 * not live on after its cycle.
 */
#define GRANT_FIELDS(FIELD, MAYBE) \
	FIELD(3, seq, int8, seq) \
	FIELD(4, type, type, type) \
	FIELD(5, amount, money, amount) \
	FIELD(6, remaining, money, remaining) \
	FIELD(7, priority, int4, priority) \
	FIELD(8, expires_at, time, expires_at) \
	FIELD(9, created_at, time, given_at) \
	FIELD(10, live, bool, remaining > 0) \
	MAYBE(11, rolls_to, time, rolls_to) \
	MAYBE(12, rollover, money, rollover)

#define SQL_type	"text"
#define OID_type	TEXTOID

#define GRANT_INTO(grants) \
	"INSERT INTO ducto.grants" grants " (account_id, id" GRANT_FIELDS(COLUMN_NAME, COLUMN_NAME) ")"
#define GRANT_VALUES	" VALUES ($1, $2" GRANT_FIELDS(COLUMN_PARAM, COLUMN_PARAM) ")"
#define GRANT_TYPES	{UUIDOID, UUIDOID, GRANT_FIELDS(COLUMN_TYPE, COLUMN_TYPE) InvalidOid}

static KeptQuery grant_insert_query = {.sql = GRANT_INTO("") GRANT_VALUES, .types = GRANT_TYPES};

static KeptQuery grant_left_query = {
	.sql = "SELECT remaining FROM ducto.grants WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID}
};

/*
 * The first grant in burn order, when it covers the amount and none is past its
 * time. It is found once, by its place: no other session moves it, as the caller
 * has the account's lock.
 */
static KeptQuery grant_burn_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - $2, live = remaining > $2"
	" WHERE account_id = $1 AND remaining >= $2 AND ctid ="
	" (SELECT g.ctid FROM ducto.grants g WHERE g.account_id = $1 AND g.live"
	"  ORDER BY g.priority, g.expires_at, g.seq, g.id LIMIT 1)"
	" RETURNING id",
	.types = {UUIDOID, NUMERICOID}
};

/* Read up to where the amount is covered. */
static KeptQuery grants_in_order_query = {
	.sql = "SELECT " GRANT_COLUMNS " FROM ducto.grants WHERE account_id = $1 AND live ORDER BY priority, expires_at, seq, id",
	.types = {UUIDOID}
};

static KeptQuery grants_late_query = {
	.sql = "SELECT " GRANT_COLUMNS " FROM ducto.grants WHERE account_id = $1 AND live AND expires_at <= $2"
	" ORDER BY priority, expires_at, seq, id",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

/* All up to one in the order in which they expire: a range of the index. What lives on is changed by itself. */
static KeptQuery grants_expire_query = {
	.sql = "UPDATE ducto.grants SET remaining = 0.0000, live = false"
	" WHERE account_id = $1 AND live AND (expires_at, seq, id) <= ($2, $3, $4) AND (rolls_to > expires_at) IS NOT TRUE",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID, UUIDOID}
};

static KeptQuery grant_roll_over_query = {
	.sql = "UPDATE ducto.grants SET remaining = $3, live = $3 > 0, expires_at = rolls_to WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

/* The caller has the accounts' locks. */
static KeptQuery gifts_insert_query = {
	.sql = GRANT_INTO("") " SELECT * FROM unnest($1) AS g(account_id uuid, id uuid"
	GRANT_FIELDS(COLUMN_OF_ROW, COLUMN_OF_ROW) ")",
	.types = {RECORDARRAYOID}
};

static const BulkColumn gift_columns[] = {
	{"account_id", UUIDOID}, {"id", UUIDOID}, GRANT_FIELDS(COLUMN_WRITTEN, COLUMN_WRITTEN)
};

/* The caller has the accounts' locks. What lives on has another end. */
static KeptQuery grant_keep_query = {
	.sql = "UPDATE ducto.grants SET remaining = $3, live = $3 > 0, expires_at = coalesce($4, expires_at)"
	" WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID, TIMESTAMPTZOID}
};

/* As this of many. */
static KeptQuery grants_keep_query = {
	.sql = "UPDATE ducto.grants g SET remaining = v.c3, live = v.c3 > 0, expires_at = coalesce(v.c4, g.expires_at)"
	" FROM unnest($1) AS v(c1 uuid, c2 uuid, c3 numeric, c4 timestamptz) WHERE g.account_id = v.c1 AND g.id = v.c2",
	.types = {RECORDARRAYOID},
	.anew = true
};

/* OFFSET 0: each id is looked up by the key, and not the account's grants read for each. */
static KeptQuery grants_room_query = {
	.sql = "SELECT g.expires_at, g.room FROM unnest($2) WITH ORDINALITY AS t(id, position), LATERAL"
	" (SELECT expires_at, amount - remaining AS room FROM ducto.grants WHERE account_id = $1 AND id = t.id OFFSET 0) g"
	" ORDER BY t.position",
	.types = {UUIDOID, UUIDARRAYOID}
};

/* The account may have a part of a grant, or have had one; what comes later may live on after its cycle. */
static KeptQuery grants_arrive_query = {
	.sql = GRANT_INTO(" AS g") " SELECT * FROM unnest($1) AS v(account_id uuid, id uuid"
	GRANT_FIELDS(COLUMN_OF_ROW, COLUMN_OF_ROW) ") ON CONFLICT (account_id, id) DO UPDATE"
	" SET amount = g.amount + excluded.amount, remaining = g.remaining + excluded.remaining, live = true,"
	"  expires_at = greatest(g.expires_at, excluded.expires_at)",
	.types = {RECORDARRAYOID}
};

/* Grants that are being read. */
typedef struct GrantArray
{
	int			n;
	int			max;
	Grant	   *grants;
} GrantArray;

/* Those of many accounts. */
typedef struct GrantsOf
{
	int			max;			/* of each */
	Grant	   *grants;
	int		   *counts;
} GrantsOf;

/*
 * Read a row of GRANT_COLUMNS.
 */
static void
grant_from_slot(TupleTableSlot *slot, Grant *grant)
{
	slot_getallattrs(slot);
	memset(grant, 0, sizeof(Grant));
	grant->id = *DatumGetUUIDP(slot->tts_values[GRANT_ID]);
	grant->seq = DatumGetInt64(slot->tts_values[GRANT_SEQ]);
	grant->remaining = money_from_datum(slot->tts_values[GRANT_REMAINING]);
	grant->expires_at = DatumGetTimestampTz(slot->tts_values[GRANT_EXPIRES_AT]);
	grant->before = grant->remaining;
	Assert(grant->remaining >= 0);
}

/*
 * Read a row of DUE_COLUMNS.
 */
static void
due_from_slot(TupleTableSlot *slot, Grant *grant)
{
	grant_from_slot(slot, grant);
	grant->rolls_to = DatumGetTimestampTz(slot->tts_values[GRANT_ROLLS_TO]);
	grant->rollover = money_from_datum(slot->tts_values[GRANT_ROLLOVER]);
}

/*
 * Append a row of grants_due_query.
 */
static bool
append_grant(TupleTableSlot *slot, void *state)
{
	GrantArray *array = state;

	if (array->n == array->max)
	{
		array->max *= 2;
		array->grants = repalloc_huge(array->grants, sizeof(Grant) * array->max);
	}
	due_from_slot(slot, &array->grants[array->n++]);
	return true;
}

/*
 * grants_due finds the grants of an account that are past their time, soonest
 * first.
 */
int
grants_due(const pg_uuid_t *account, TimestampTz now, bool read_only, Grant **grants)
{
	GrantArray	array = {.max = 8};
	QueryArgs	args = {0};

	array.grants = palloc(sizeof(Grant) * array.max);
	args_uuid(&args, account);
	args_time(&args, now);
	query_each(&grants_due_query, &args, read_only, append_grant, &array);
	*grants = array.grants;
	return array.n;
}

/*
 * Put a row of grants_due_of_query where it belongs.
 */
static bool
place_grant(TupleTableSlot *slot, void *state)
{
	GrantsOf   *of = state;
	int			n;

	slot_getallattrs(slot);
	n = (int) DatumGetInt64(slot->tts_values[GRANT_ACCOUNT]) - 1;
	due_from_slot(slot, &of->grants[n * of->max + of->counts[n]++]);
	return true;
}

/*
 * grants_due_of finds the grants of accounts that are past their time, up to max
 * of each: those of the number n begin at n * max.
 */
void
grants_due_of(const pg_uuid_t *accounts, int n, TimestampTz now, int max, Grant *grants, int *counts)
{
	GrantsOf	of = {.max = max, .grants = grants, .counts = counts};
	QueryArgs	args = {0};

	args_uuid_array(&args, accounts, n);
	args_time(&args, now);
	args_int8(&args, max);
	query_each(&grants_due_of_query, &args, false, place_grant, &of);
}

/*
 * grants_next_expiry returns when the next grant of an account expires, in the
 * snapshot of the calling statement; infinity for never.
 */
TimestampTz
grants_next_expiry(const pg_uuid_t *account, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, now);
	query_read(&grants_next_query, &args);
	return row_time(0, 1);
}

/*
 * Append the type of a grant.
 */
static void
args_type(QueryArgs *args, EntryType value)
{
	args_text(args, entry_types[value]);
}

#define FIELD_APPEND(n, column, kind, member)	args_##kind(args, grant->member);
#define MAYBE_APPEND(n, column, kind, member) \
	if (rolls) \
		args_##kind(args, grant->member); \
	else \
		args_null(args);

/*
 * Append what a grant that is new has.
 */
static void
args_grant(QueryArgs *args, const pg_uuid_t *account, const Gift *grant)
{
	bool		rolls = !TIMESTAMP_IS_NOBEGIN(grant->rolls_to);

	Assert(grant->amount > 0);
	Assert(grant->remaining >= 0 && grant->remaining <= grant->amount);
	Assert(grant->priority >= 0 && grant->priority <= 100);
	Assert(grant->seq > 0);
	args_uuid(args, account);
	args_uuid(args, &grant->id);
	GRANT_FIELDS(FIELD_APPEND, MAYBE_APPEND)
}

/*
 * grant_insert adds a grant.
 */
void
grant_insert(const pg_uuid_t *account, const Gift *grant)
{
	QueryArgs	args = {0};

	args_grant(&args, account, grant);
	if (query_run(&grant_insert_query, &args, SPI_OK_INSERT) != 1)
		row_missing("grants");
}

/*
 * grant_left returns what remains of a grant of a locked account, 0 when it
 * has none of that id.
 */
Money
grant_left(const pg_uuid_t *account, const pg_uuid_t *id, bool *exists)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, id);
	*exists = query_run(&grant_left_query, &args, SPI_OK_SELECT) == 1;
	return *exists ? row_money(0, 1) : 0;
}

/*
 * Take an amount from the first grant alone; false when it is too small.
 */
static bool
grant_burn_first(const pg_uuid_t *account, Money amount, BurnList *burned)
{
	QueryArgs	args = {0};

	Assert(amount > 0);
	args_uuid(&args, account);
	args_money(&args, amount);
	if (query_run(&grant_burn_query, &args, SPI_OK_UPDATE_RETURNING) == 0)
		return false;
	burned->n = 1;
	burned->burns = palloc(sizeof(Burn));
	burned->burns[0].grant = row_uuid(0, 1);
	burned->burns[0].amount = amount;
	return true;
}

/* An amount that is being taken. */
typedef struct Burning
{
	Money		left;
	TimestampTz after;			/* of the grants that expire later */
	int			max;
	BurnList   *burned;
} Burning;

/*
 * Take from a grant, the next in burn order, what is left or what it has.
 */
static bool
burn_grant(TupleTableSlot *slot, void *state)
{
	Burning    *burning = state;
	BurnList   *burned = burning->burned;
	Grant		grant;

	grant_from_slot(slot, &grant);
	if (grant.expires_at <= burning->after)
		return true;
	if (burned->n == burning->max)
	{
		burning->max *= 2;
		burned->burns = repalloc_huge(burned->burns, sizeof(Burn) * burning->max);
	}
	burned->burns[burned->n].grant = grant.id;
	burned->burns[burned->n].amount = Min(grant.remaining, burning->left);
	burning->left -= burned->burns[burned->n].amount;
	Assert(burned->burns[burned->n].amount > 0);
	Assert(burning->left >= 0);
	burned->n++;
	return burning->left > 0;
}

/*
 * grants_do_not_sum raises the error for an account that has more to burn than
 * its grants.
 */
void
grants_do_not_sum(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the grants of an account do not sum to its expiring credit"),
			 errhint("Run ducto_verify.")));
}

/*
 * grants_find tells from which grants of an account an amount is to be taken, in
 * burn order, and how much from each; those past their time, which holds keep,
 * come first. The account knows that they have as much.
 */
void
grants_find(const pg_uuid_t *account, Money amount, TimestampTz now, bool late, BurnList *burned)
{
	Burning		burning = {.left = amount, .after = DT_NOBEGIN, .max = 8, .burned = burned};
	QueryArgs	args = {0};

	Assert(amount >= 0);
	burned->n = 0;
	if (amount == 0)
		return;

	burned->burns = palloc(sizeof(Burn) * burning.max);
	args_uuid(&args, account);
	if (late)
	{
		QueryArgs	late_args = args;

		args_time(&late_args, now);
		query_each(&grants_late_query, &late_args, false, burn_grant, &burning);
		burning.after = now;
	}
	if (burning.left > 0)
		query_each(&grants_in_order_query, &args, false, burn_grant, &burning);
	if (burning.left > 0)
		grants_do_not_sum();
	Assert(burning.left == 0 && burned->n > 0);
}

/*
 * grants_burn takes an amount from the grants of an account in burn order, as
 * grants_find tells, and tells what it took from which.
 */
void
grants_burn(const pg_uuid_t *account, Money amount, TimestampTz now, bool late, BurnList *burned)
{
	burned->n = 0;
	if (amount == 0 || (!late && grant_burn_first(account, amount, burned)))
		return;
	grants_find(account, amount, now, late, burned);
	grants_take(account, burned);
}

/*
 * grants_expire takes all that remains of the first n grants of an account that
 * are past their time; last is the last of them.
 */
void
grants_expire(const pg_uuid_t *account, const Grant *last, int n)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, last->expires_at);
	args_int8(&args, last->seq);
	args_uuid(&args, &last->id);
	if (query_run(&grants_expire_query, &args, SPI_OK_UPDATE) != n)
		row_missing("grants");
}

/*
 * grant_roll_over lets what remains of a grant live on after its cycle.
 */
void
grant_roll_over(const pg_uuid_t *account, const Grant *grant)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, &grant->id);
	args_money(&args, grant->remaining);
	if (query_run(&grant_roll_over_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("grants");
}

/*
 * grants_queue_begin starts a queue of changes.
 */
void
grants_queue_begin(GrantQueue *queue)
{
	records_begin(&queue->gifts, grant_insert_query.types);
	records_begin(&queue->kept, grant_keep_query.types);
}

/*
 * grants_queue_gift queues a grant that is new.
 */
void
grants_queue_gift(GrantQueue *queue, const pg_uuid_t *account, const Gift *gift)
{
	QueryArgs	args = {0};

	args_grant(&args, account, gift);
	records_add(&queue->gifts, &args);
}

/*
 * grants_queue_kept queues what is left of a grant that is past its time, and
 * where it lives on, until when.
 */
void
grants_queue_kept(GrantQueue *queue, const pg_uuid_t *account, const Grant *grant)
{
	QueryArgs	args = {0};

	Assert(grant->remaining >= 0 && grant->remaining <= grant->before);
	args_uuid(&args, account);
	args_uuid(&args, &grant->id);
	args_money(&args, grant->remaining);
	if (grant->rolled)
		args_time(&args, grant->expires_at);
	else
		args_null(&args);
	records_add(&queue->kept, &args);
}

/*
 * Write the rows of a queue by one of the statements that do.
 */
static void
grants_write(KeptQuery *query, Records *rows, int expected)
{
	QueryArgs	args = {0};

	if (rows->n == 0)
		return;
	args_records(&args, rows);
	if (query_run(query, &args, expected) != rows->n)
		row_missing("grants");
	records_clear(rows);
}

/*
 * Have what is left of a grant of a queue.
 */
static void
args_kept(QueryArgs *args, int i, const void *state)
{
	const Records *rows = state;
	HeapTupleData row = records_tuple(rows, i);

	heap_deform_tuple(&row, rows->desc, args->values, args->nulls);
	args->n = rows->desc->natts;
}

/*
 * Write what is left of grants, each by its key. False: that takes the executor.
 */
static bool
grants_keep_each(Records *rows)
{
	QueryEach	each = {.n = rows->n, .args = args_kept, .state = rows};

	if (!query_run_each(&grant_keep_query, &each))
		return false;
	if (SPI_processed != rows->n)
		row_missing("grants");
	records_clear(rows);
	return true;
}

/*
 * grants_queue_write writes the changes of a queue.
 */
void
grants_queue_write(GrantQueue *queue)
{
	if (queue->kept.n > 0 && !grants_keep_each(&queue->kept))
		grants_write(&grants_keep_query, &queue->kept, SPI_OK_UPDATE);
	if (queue->gifts.n >= BULK_LEAST && bulk_write("grants", gift_columns, &queue->gifts))
		records_clear(&queue->gifts);
	grants_write(&gifts_insert_query, &queue->gifts, SPI_OK_INSERT);
}

/*
 * grants_room tells when the grants of a list expire, and how much can be
 * given back to each.
 */
GrantRoom *
grants_room(const pg_uuid_t *account, const BurnList *list)
{
	GrantRoom  *rooms = palloc(sizeof(GrantRoom) * Max(list->n, 1));
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(list->n, 1));
	QueryArgs	args = {0};

	if (list->n == 0)
		return rooms;
	for (int i = 0; i < list->n; i++)
		ids[i] = list->burns[i].grant;
	args_uuid(&args, account);
	args_uuid_array(&args, ids, list->n);
	if (query_run(&grants_room_query, &args, SPI_OK_SELECT) != list->n)
		row_missing("grants");
	for (int i = 0; i < list->n; i++)
	{
		rooms[i].expires_at = row_time(i, 1);
		rooms[i].room = row_money(i, 2);
	}
	return rooms;
}

/*
 * grants_arrive gives an account, whose lock the caller has, grants or parts of
 * them that come from another.
 */
void
grants_arrive(const pg_uuid_t *account, const Gift *grants, int n)
{
	Records		rows;

	if (n == 0)
		return;
	records_begin(&rows, grant_insert_query.types);
	for (int i = 0; i < n; i++)
	{
		QueryArgs	args = {0};

		args_grant(&args, account, &grants[i]);
		records_add(&rows, &args);
	}
	grants_write(&grants_arrive_query, &rows, SPI_OK_INSERT);
}
