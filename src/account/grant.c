/*
 * grant.c
 *		The table grants: what is due, what is spent, what is given back. All
 *		of it happens under the account's lock.
 */
#include "postgres.h"

#include "account/claim.h"
#include "account/grant.h"
#include "base/query.h"

#define LOT_COLUMNS "id, seq, remaining, expires_at"

/* Grants past their time with something left. */
static KeptQuery lots_due_query = {
	.sql = "SELECT " LOT_COLUMNS " FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at <= $2 ORDER BY expires_at, seq",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery lots_next_query = {
	.sql = "SELECT coalesce(min(expires_at), 'infinity') FROM ducto.grants"
	" WHERE account_id = $1 AND live AND expires_at > $2",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery lot_insert_query = {
	.sql = "INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
	.types = {UUIDOID, UUIDOID, INT8OID, TEXTOID, NUMERICOID, NUMERICOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID}
};

/* The first grant in burn order, when it covers the amount and none is past its time. */
static KeptQuery lot_burn_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - $2, live = remaining > $2"
	" WHERE account_id = $1 AND remaining >= $2 AND id ="
	" (SELECT g.id FROM ducto.grants g WHERE g.account_id = $1 AND g.live"
	"  ORDER BY g.priority, g.expires_at, g.seq LIMIT 1)"
	" RETURNING id",
	.types = {UUIDOID, NUMERICOID}
};

/* Read up to where the amount is covered. */
static KeptQuery lots_in_order_query = {
	.sql = "SELECT " LOT_COLUMNS " FROM ducto.grants WHERE account_id = $1 AND live ORDER BY priority, expires_at, seq",
	.types = {UUIDOID}
};

static KeptQuery lots_late_query = {
	.sql = "SELECT " LOT_COLUMNS " FROM ducto.grants WHERE account_id = $1 AND live AND expires_at <= $2"
	" ORDER BY priority, expires_at, seq",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

/*
 * One by one, by the key: a join with a list of ids could be planned as one
 * that compares each with each.
 */
static KeptQuery lot_take_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - $3, live = remaining > $3 WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

static KeptQuery lot_give_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining + $3, live = true WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

/* All up to one in the order in which they expire: a range of the index. */
static KeptQuery lots_expire_query = {
	.sql = "UPDATE ducto.grants SET remaining = 0.0000, live = false"
	" WHERE account_id = $1 AND live AND (expires_at, seq) <= ($2, $3)",
	.types = {UUIDOID, TIMESTAMPTZOID, INT8OID}
};

/* OFFSET 0: each id is looked up by the key, and not the account's grants read for each. */
static KeptQuery lots_times_query = {
	.sql = "SELECT g.expires_at FROM unnest($2) WITH ORDINALITY AS t(id, position), LATERAL"
	" (SELECT expires_at FROM ducto.grants WHERE account_id = $1 AND id = t.id OFFSET 0) g ORDER BY t.position",
	.types = {UUIDOID, UUIDARRAYOID}
};

/* Lots that are being read. */
typedef struct LotArray
{
	int			n;
	int			max;
	Lot		   *lots;
} LotArray;

/*
 * Read a row of LOT_COLUMNS.
 */
static void
lot_from_slot(TupleTableSlot *slot, Lot *lot)
{
	slot_getallattrs(slot);
	lot->id = *DatumGetUUIDP(slot->tts_values[0]);
	lot->seq = DatumGetInt64(slot->tts_values[1]);
	lot->remaining = money_from_datum(slot->tts_values[2]);
	lot->expires_at = DatumGetTimestampTz(slot->tts_values[3]);
}

/*
 * Append a row of lots_due_query.
 */
static bool
append_lot(TupleTableSlot *slot, void *state)
{
	LotArray   *array = state;

	if (array->n == array->max)
	{
		array->max *= 2;
		array->lots = repalloc_huge(array->lots, sizeof(Lot) * array->max);
	}
	lot_from_slot(slot, &array->lots[array->n++]);
	return true;
}

/*
 * lots_due finds the grants of an account that are past their time, soonest
 * first.
 */
int
lots_due(const pg_uuid_t *account, TimestampTz now, bool read_only, Lot **lots)
{
	LotArray	array = {.max = 8};
	QueryArgs	args = {0};

	array.lots = palloc(sizeof(Lot) * array.max);
	args_uuid(&args, account);
	args_time(&args, now);
	query_each(&lots_due_query, &args, read_only, append_lot, &array);
	*lots = array.lots;
	return array.n;
}

/*
 * lots_next_expiry returns when the next grant of an account expires, in the
 * snapshot of the calling statement; infinity for never.
 */
TimestampTz
lots_next_expiry(const pg_uuid_t *account, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, now);
	query_read(&lots_next_query, &args);
	return row_time(0, 1);
}

/*
 * lot_insert adds a grant.
 */
void
lot_insert(const pg_uuid_t *account, const pg_uuid_t *id, int64 seq, const char *type,
		   Money amount, Money remaining, int priority, TimestampTz expires_at,
		   TimestampTz created_at)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_uuid(&args, id);
	args_int8(&args, seq);
	args_text(&args, type);
	args_money(&args, amount);
	args_money(&args, remaining);
	args_int4(&args, priority);
	args_time(&args, expires_at);
	args_time(&args, created_at);
	args_bool(&args, remaining > 0);
	if (query_run(&lot_insert_query, &args, SPI_OK_INSERT) != 1)
		row_missing("grants");
}

/*
 * Take an amount from the first grant alone; false when it is too small.
 */
static bool
lot_burn_first(const pg_uuid_t *account, Money amount, BurnList *burned)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_money(&args, amount);
	if (query_run(&lot_burn_query, &args, SPI_OK_UPDATE_RETURNING) == 0)
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
burn_lot(TupleTableSlot *slot, void *state)
{
	Burning    *burning = state;
	BurnList   *burned = burning->burned;
	Lot			lot;

	lot_from_slot(slot, &lot);
	if (lot.expires_at <= burning->after)
		return true;
	if (burned->n == burning->max)
	{
		burning->max *= 2;
		burned->burns = repalloc_huge(burned->burns, sizeof(Burn) * burning->max);
	}
	burned->burns[burned->n].grant = lot.id;
	burned->burns[burned->n].amount = Min(lot.remaining, burning->left);
	burning->left -= burned->burns[burned->n].amount;
	burned->n++;
	return burning->left > 0;
}

/*
 * lots_burn takes an amount from the grants of an account in burn order and
 * tells what it took from which; those past their time, which holds keep, come
 * first. The account knows that they have as much.
 */
void
lots_burn(const pg_uuid_t *account, Money amount, TimestampTz now, bool late, BurnList *burned)
{
	Burning		burning = {.left = amount, .after = DT_NOBEGIN, .max = 8, .burned = burned};
	QueryArgs	args = {0};

	burned->n = 0;
	if (amount == 0 || (!late && lot_burn_first(account, amount, burned)))
		return;

	burned->burns = palloc(sizeof(Burn) * burning.max);
	args_uuid(&args, account);
	if (late)
	{
		QueryArgs	late_args = args;

		args_time(&late_args, now);
		query_each(&lots_late_query, &late_args, false, burn_lot, &burning);
		burning.after = now;
	}
	if (burning.left > 0)
		query_each(&lots_in_order_query, &args, false, burn_lot, &burning);
	if (burning.left > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the grants of an account do not sum to its expiring credit"),
				 errhint("Run ducto_verify.")));
	lots_take(account, burned);
}

/*
 * Change what remains of the grants of a list by a query.
 */
static void
lots_change(KeptQuery *query, const pg_uuid_t *account, const BurnList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		QueryArgs	args = {0};

		args_uuid(&args, account);
		args_uuid(&args, &list->burns[i].grant);
		args_money(&args, list->burns[i].amount);
		if (query_run(query, &args, SPI_OK_UPDATE) != 1)
			row_missing("grants");
	}
}

/*
 * lots_take takes given amounts from given grants.
 */
void
lots_take(const pg_uuid_t *account, const BurnList *list)
{
	lots_change(&lot_take_query, account, list);
}

/*
 * lots_give gives given amounts back to given grants.
 */
void
lots_give(const pg_uuid_t *account, const BurnList *list)
{
	lots_change(&lot_give_query, account, list);
}

/*
 * lots_expire takes all that remains of the first n grants of an account that
 * are past their time; last is the last of them.
 */
void
lots_expire(const pg_uuid_t *account, const Lot *last, int n)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, last->expires_at);
	args_int8(&args, last->seq);
	if (query_run(&lots_expire_query, &args, SPI_OK_UPDATE) != n)
		row_missing("grants");
}

/*
 * lots_times tells when the grants of a list expire.
 */
TimestampTz *
lots_times(const pg_uuid_t *account, const BurnList *list)
{
	TimestampTz *times = palloc(sizeof(TimestampTz) * Max(list->n, 1));
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(list->n, 1));
	QueryArgs	args = {0};

	if (list->n == 0)
		return times;
	for (int i = 0; i < list->n; i++)
		ids[i] = list->burns[i].grant;
	args_uuid(&args, account);
	args_uuid_array(&args, ids, list->n);
	if (query_run(&lots_times_query, &args, SPI_OK_SELECT) != list->n)
		row_missing("grants");
	for (int i = 0; i < list->n; i++)
		times[i] = row_time(i, 1);
	return times;
}
