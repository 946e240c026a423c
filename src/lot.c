/*
 * lot.c
 *		The table grants: what is due, what is spent, what is given back. All
 *		of it happens under the account's lock.
 */
#include "postgres.h"

#include "claim.h"
#include "lot.h"
#include "query.h"

/*
 * Grants past their time with something left. Conditions on expires_at are
 * written so that grants_due cannot serve them: it has all accounts' grants.
 */
static KeptQuery lots_due_query = {
	.sql = "SELECT id, remaining, expires_at FROM ducto.grants"
	" WHERE account_id = $1 AND live AND (expires_at <= $2) IS TRUE ORDER BY expires_at, seq",
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery lots_next_query = {
	.sql = "SELECT coalesce(min(greatest(expires_at, $2)), 'infinity') FROM ducto.grants"
	" WHERE account_id = $1 AND live AND (expires_at > $2) IS TRUE",
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

/* As many grants as it takes; those past their time, which holds keep, come first. */
static KeptQuery lots_burn_query = {
	.sql = "WITH ordered AS (SELECT id, remaining, sum(remaining) OVER"
	"  (ORDER BY expires_at > $3, priority, expires_at, seq) - remaining AS before"
	"  FROM ducto.grants WHERE account_id = $1 AND live)"
	" UPDATE ducto.grants g SET remaining = g.remaining - least(o.remaining, $2 - o.before),"
	"  live = o.remaining > $2 - o.before"
	" FROM ordered o WHERE g.account_id = $1 AND g.id = o.id AND o.before < $2"
	" RETURNING g.id, least(o.remaining, $2 - o.before), o.before",
	.types = {UUIDOID, NUMERICOID, TIMESTAMPTZOID}
};

static KeptQuery lots_take_query = {
	.sql = "UPDATE ducto.grants g SET remaining = g.remaining - t.amount, live = g.remaining > t.amount"
	" FROM unnest($2, $3) AS t(id, amount) WHERE g.account_id = $1 AND g.id = t.id",
	.types = {UUIDOID, UUIDARRAYOID, NUMERICARRAYOID}
};

static KeptQuery lots_find_query = {
	.sql = "SELECT g.id, g.remaining, g.expires_at FROM unnest($2) WITH ORDINALITY AS t(id, position)"
	" JOIN ducto.grants g ON g.account_id = $1 AND g.id = t.id ORDER BY t.position",
	.types = {UUIDOID, UUIDARRAYOID}
};

static KeptQuery lots_give_query = {
	.sql = "UPDATE ducto.grants g SET remaining = g.remaining + t.amount, live = true"
	" FROM unnest($2, $3) AS t(id, amount) WHERE g.account_id = $1 AND g.id = t.id",
	.types = {UUIDOID, UUIDARRAYOID, NUMERICARRAYOID}
};

/*
 * Read the lots that a query returned.
 */
static int
lots_from_rows(uint64 n, Lot **lots)
{
	*lots = palloc(sizeof(Lot) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*lots)[i].id = row_uuid(i, 1);
		(*lots)[i].remaining = row_money(i, 2);
		(*lots)[i].expires_at = row_time(i, 3);
	}
	return (int) n;
}

/*
 * lots_due finds the grants of an account that are past their time, soonest
 * first.
 */
int
lots_due(const pg_uuid_t *account, TimestampTz now, bool read_only, Lot **lots)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_time(&args, now);
	return lots_from_rows(read_only ? query_read(&lots_due_query, &args) :
						  query_run(&lots_due_query, &args, SPI_OK_SELECT), lots);
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

/* A burn and what was burned before it, to restore the order. */
typedef struct OrderedBurn
{
	Burn		burn;
	Money		before;
} OrderedBurn;

/*
 * Compare burns by their order.
 */
static int
burn_compare(const void *a, const void *b)
{
	Money		x = ((const OrderedBurn *) a)->before;
	Money		y = ((const OrderedBurn *) b)->before;

	return (x > y) - (x < y);
}

/*
 * lots_burn takes an amount from the grants of an account in burn order and
 * tells what it took from which. The account knows that they have as much.
 */
void
lots_burn(const pg_uuid_t *account, Money amount, TimestampTz now, bool late, BurnList *burned)
{
	QueryArgs	args = {0};
	OrderedBurn *ordered;
	Money		total = 0;

	burned->n = 0;
	if (amount == 0 || (!late && lot_burn_first(account, amount, burned)))
		return;

	args_uuid(&args, account);
	args_money(&args, amount);
	args_time(&args, now);
	burned->n = (int) query_run(&lots_burn_query, &args, SPI_OK_UPDATE_RETURNING);
	ordered = palloc(sizeof(OrderedBurn) * Max(burned->n, 1));
	for (int i = 0; i < burned->n; i++)
	{
		ordered[i].burn.grant = row_uuid(i, 1);
		ordered[i].burn.amount = row_money(i, 2);
		ordered[i].before = row_money(i, 3);
		total += ordered[i].burn.amount;
	}
	if (total != amount)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("the grants of an account do not sum to its expiring credit"),
				 errhint("Run ducto_verify.")));
	qsort(ordered, burned->n, sizeof(OrderedBurn), burn_compare);
	burned->burns = palloc(sizeof(Burn) * burned->n);
	for (int i = 0; i < burned->n; i++)
		burned->burns[i] = ordered[i].burn;
}

/*
 * Append the ids and the amounts of a list as arrays.
 */
static void
args_burns(QueryArgs *args, const BurnList *list, bool amounts)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(list->n, 1));
	Money	   *values = palloc(sizeof(Money) * Max(list->n, 1));

	for (int i = 0; i < list->n; i++)
	{
		ids[i] = list->burns[i].grant;
		values[i] = list->burns[i].amount;
	}
	args_uuid_array(args, ids, list->n);
	if (amounts)
		args_money_array(args, values, list->n);
}

/*
 * lots_take takes given amounts from given grants.
 */
void
lots_take(const pg_uuid_t *account, const BurnList *list)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_burns(&args, list, true);
	if (query_run(&lots_take_query, &args, SPI_OK_UPDATE) != list->n)
		row_missing("grants");
}

/*
 * lots_find reads given grants, in the list's order.
 */
int
lots_find(const pg_uuid_t *account, const BurnList *list, Lot **lots)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_burns(&args, list, false);
	return lots_from_rows(query_run(&lots_find_query, &args, SPI_OK_SELECT), lots);
}

/*
 * lots_give gives given amounts back to given grants.
 */
void
lots_give(const pg_uuid_t *account, const BurnList *list)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_burns(&args, list, true);
	if (query_run(&lots_give_query, &args, SPI_OK_UPDATE) != list->n)
		row_missing("grants");
}
