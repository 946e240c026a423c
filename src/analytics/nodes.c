/*
 * nodes.c
 *		Sums of a window on a cluster, where there is no rollup: each node sums up
 *		the entries that it has, by what is wanted, and the sums come here.
 */
#include "postgres.h"

#include "executor/tuptable.h"

#include "analytics/rollup.h"
#include "base/period.h"

#define OF_WINDOW "created_at >= $1 AND created_at <= $2"

/* When the day of an entry began. */
#define DAY "date_trunc('day', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'"

/* By users, models and days, as far as they are wanted. */
#define USAGE_SUMS(entries) \
	"SELECT CASE WHEN $3 THEN user_id END, CASE WHEN $4 THEN coalesce(model, 'unknown') END, CASE WHEN $5 THEN day END," \
	" sum(spend), sum(n)::bigint FROM (SELECT coalesce(actor, account_id) AS user_id, " DAY " AS day, " entries \
	" AND type = 'usage' AND " OF_WINDOW ") e GROUP BY 1, 2, 3"
#define USAGE_TYPES {TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, BOOLOID, BOOLOID}

/* Entries of one model, and those that have lines. */
static KeptQuery usage_queries[] = {
	{
		.sql = USAGE_SUMS("model, -amount AS spend, 1 AS n FROM ducto.ledger WHERE models IS NULL"),
		.types = USAGE_TYPES,
		.whole = true
	},
	{
		.sql = USAGE_SUMS("unnest(models) AS model, unnest(model_spend) AS spend, unnest(model_lines) AS n"
						  " FROM ducto.ledger WHERE models IS NOT NULL"),
		.types = USAGE_TYPES,
		.whole = true
	}
};

/* Where a row has them. */
enum
{
	USED_BY, USED_MODEL, USED_ON, USED_SPEND, USED_ENTRIES
};

/* What an entry took from grants is what window.c counts on one server. */
static KeptQuery books_query = {
	.sql = "SELECT day, type, count(*), sum(amount), sum(from_grants), sum(allowance_consumed)"
	" FROM (SELECT " DAY " AS day, type, amount, allowance_consumed, CASE WHEN type = 'expiry' THEN -amount"
	"  WHEN burned_amounts IS NULL THEN 0"
	"  ELSE (SELECT sum(b) FROM unnest(burned_amounts) b) * CASE WHEN amount > 0 THEN -1 ELSE 1 END END AS from_grants"
	"  FROM ducto.ledger WHERE " OF_WINDOW ") e GROUP BY day, type",
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID},
	.whole = true
};

enum
{
	BOOK_DAY, BOOK_TYPE, BOOK_ENTRIES, BOOK_AMOUNT, BOOK_FROM_GRANTS, BOOK_ALLOWANCE
};

/*
 * Add a sum of usage. What is not wanted is NULL.
 */
static bool
read_usage_sum(TupleTableSlot *slot, void *state)
{
	static const pg_uuid_t nobody = {{0}};
	const pg_uuid_t *user = &nobody;
	text	   *model = NULL;
	TimestampTz day = 0;

	slot_getallattrs(slot);
	if (!slot->tts_isnull[USED_BY])
		user = DatumGetUUIDP(slot->tts_values[USED_BY]);
	if (!slot->tts_isnull[USED_MODEL])
		model = DatumGetTextPP(slot->tts_values[USED_MODEL]);
	if (!slot->tts_isnull[USED_ON])
		day = DatumGetTimestampTz(slot->tts_values[USED_ON]);
	usage_sums_add(state, day, user, model == NULL ? NULL : VARDATA_ANY(model), model == NULL ? 0 : (int) VARSIZE_ANY_EXHDR(model),
				   spend_from_datum(slot->tts_values[USED_SPEND]), DatumGetInt64(slot->tts_values[USED_ENTRIES]));
	return true;
}

/*
 * Add the sum of a day and a type.
 */
static bool
read_book_sum(TupleTableSlot *slot, void *state)
{
	text	   *type;
	BookSum		sum = {.status = 0};

	slot_getallattrs(slot);
	type = DatumGetTextPP(slot->tts_values[BOOK_TYPE]);
	sum.key = (BookKey) {
		.day = period_day(DatumGetTimestampTz(slot->tts_values[BOOK_DAY])),
		.length = VARSIZE_ANY_EXHDR(type),
		.type = VARDATA_ANY(type)
	};
	sum.entries = DatumGetInt64(slot->tts_values[BOOK_ENTRIES]);
	sum.amount = spend_from_datum(slot->tts_values[BOOK_AMOUNT]);
	sum.from_grants = spend_from_datum(slot->tts_values[BOOK_FROM_GRANTS]);
	sum.allowance = spend_from_datum(slot->tts_values[BOOK_ALLOWANCE]);
	book_sums_add(state, &sum);
	return true;
}

/*
 * nodes_sum adds what was booked in a time, both ends included, on all nodes of
 * a cluster, to what is wanted.
 */
void
nodes_sum(TimestampTz from, TimestampTz to, int wanted, UsageSums *sums)
{
	QueryArgs	args = {0};

	args_time(&args, from);
	args_time(&args, to);
	if (wanted & SUM_BOOKS)
	{
		(void) query_each(&books_query, &args, true, read_book_sum, usage_sums_books(sums));
		return;
	}
	args_bool(&args, (wanted & SUM_USERS) != 0);
	args_bool(&args, (wanted & SUM_MODELS) != 0);
	args_bool(&args, (wanted & SUM_DAYS) != 0);
	for (int i = 0; i < lengthof(usage_queries); i++)
		(void) query_each(&usage_queries[i], &args, true, read_usage_sum, sums);
}
