/*
 * burn.c
 *		What is taken from given grants of an account, given back to them, or moved
 *		from them to another account. All of it happens under the account's lock.
 */
#include "postgres.h"

#include "account/claim.h"
#include "account/grant.h"
#include "base/query.h"

/* One by one, by the key: without the executor, where no table is distributed. */
static KeptQuery grant_take_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - $3, live = remaining > $3 WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

static KeptQuery grant_give_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining + $3, live = true WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, NUMERICOID}
};

/*
 * Many of them at once: $2 has their ids in order, and $3 the amounts, in the
 * unit of Money. No join, so that there is no plan which compares each with each.
 */
#define AMOUNT_OF_MANY	"($3)[width_bucket(id, $2)] * 0.0001"
#define MANY_TYPES		{UUIDOID, UUIDARRAYOID, INT8ARRAYOID}

static KeptQuery grants_take_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - " AMOUNT_OF_MANY ", live = remaining > " AMOUNT_OF_MANY
	" WHERE account_id = $1 AND id = ANY ($2)",
	.types = MANY_TYPES
};

static KeptQuery grants_give_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining + " AMOUNT_OF_MANY ", live = true"
	" WHERE account_id = $1 AND id = ANY ($2)",
	.types = MANY_TYPES
};

/*
 * What leaves an account for another is gone from the amount for good; with the
 * last of a grant there is nothing that could come back.
 */
static KeptQuery grants_leave_query = {
	.sql = "UPDATE ducto.grants SET remaining = remaining - " AMOUNT_OF_MANY ", live = remaining > " AMOUNT_OF_MANY ","
	" amount = CASE WHEN remaining > " AMOUNT_OF_MANY " THEN amount - " AMOUNT_OF_MANY " ELSE 0.0000 END"
	" WHERE account_id = $1 AND id = ANY ($2) RETURNING width_bucket(id, $2), type, priority, expires_at",
	.types = MANY_TYPES
};

enum
{
	LEFT_PLACE = 1, LEFT_TYPE, LEFT_PRIORITY, LEFT_EXPIRES_AT
};

/* What the statements of many are asked for. */
typedef struct Many
{
	const Burn **burns;			/* in the order of their grants' ids */
	QueryArgs	args;
} Many;

/*
 * Compare what is taken from grants by their ids, for qsort.
 */
static int
burn_compare(const void *a, const void *b)
{
	return memcmp(&(*(const Burn *const *) a)->grant, &(*(const Burn *const *) b)->grant, UUID_LEN);
}

/*
 * Put a list into the order of its grants' ids, and make the parameters of a
 * statement of it.
 */
static void
many_begin(Many *many, const pg_uuid_t *account, const BurnList *list)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * list->n);
	int64	   *amounts = palloc(sizeof(int64) * list->n);

	many->burns = palloc(sizeof(Burn *) * list->n);
	for (int i = 0; i < list->n; i++)
		many->burns[i] = &list->burns[i];
	qsort(many->burns, list->n, sizeof(Burn *), burn_compare);
	for (int i = 0; i < list->n; i++)
	{
		ids[i] = many->burns[i]->grant;
		amounts[i] = many->burns[i]->amount;
	}
	memset(&many->args, 0, sizeof(QueryArgs));
	args_uuid(&many->args, account);
	args_uuid_array(&many->args, ids, list->n);
	args_int8_array(&many->args, amounts, list->n);
}

/*
 * Change what remains of the grants of a list, each by a statement.
 */
static void
change_each(KeptQuery *query, const pg_uuid_t *account, const BurnList *list)
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
 * Change what remains of the grants of a list: where Citus sends each statement
 * to the account's node, by one for all of them.
 */
static void
grants_change(KeptQuery *one, KeptQuery *all, const pg_uuid_t *account, const BurnList *list)
{
	Many		many;

	if (list->n < 2 || !query_distributed(one))
	{
		change_each(one, account, list);
		return;
	}
	many_begin(&many, account, list);
	if (query_run(all, &many.args, SPI_OK_UPDATE) != list->n)
		row_missing("grants");
}

/*
 * grants_take takes given amounts from given grants.
 */
void
grants_take(const pg_uuid_t *account, const BurnList *list)
{
	grants_change(&grant_take_query, &grants_take_query, account, list);
}

/*
 * grants_give gives given amounts back to given grants.
 */
void
grants_give(const pg_uuid_t *account, const BurnList *list)
{
	grants_change(&grant_give_query, &grants_give_query, account, list);
}

/*
 * Take given amounts from given grants for good, and tell what each is: of what
 * type, priority and end the part is that another account is to get by an entry.
 */
static Gift *
grants_leave(const pg_uuid_t *account, const BurnList *list, int64 seq, TimestampTz given_at)
{
	Gift	   *parts = palloc0(sizeof(Gift) * list->n);
	Many		many;

	many_begin(&many, account, list);
	if (query_run(&grants_leave_query, &many.args, SPI_OK_UPDATE_RETURNING) != list->n)
		row_missing("grants");
	for (int i = 0; i < list->n; i++)
	{
		const Burn *burn = many.burns[row_int4(i, LEFT_PLACE) - 1];

		parts[burn - list->burns] = (Gift) {
			.id = burn->grant,
			.seq = seq,
			.type = (EntryType) row_word(i, LEFT_TYPE, entry_types),
			.amount = burn->amount,
			.priority = row_int4(i, LEFT_PRIORITY),
			.given_at = given_at,
			.expires_at = row_time(i, LEFT_EXPIRES_AT),
			.rolls_to = DT_NOBEGIN,
		};
	}
	return parts;
}

/*
 * grants_move lets parts of grants of one account come to another by an entry,
 * but for an amount that its debt eats of the first of them. kept is what comes
 * to the grants there; it returns when the first of that expires.
 */
TimestampTz
grants_move(const pg_uuid_t *from, const pg_uuid_t *to, const BurnList *parts, Money eaten,
			int64 seq, TimestampTz given_at, BurnList *kept)
{
	TimestampTz first = DT_NOEND;
	Gift	   *gifts;

	Assert(eaten >= 0);
	kept->n = 0;
	if (parts->n == 0)
		return first;
	kept->burns = palloc(sizeof(Burn) * parts->n);
	gifts = grants_leave(from, parts, seq, given_at);
	for (int i = 0; i < parts->n; i++)
	{
		Gift		part = gifts[i];
		Money		lost = Min(part.amount, eaten);

		eaten -= lost;
		part.amount -= lost;
		if (part.amount == 0)
			continue;
		part.remaining = part.amount;
		first = Min(first, part.expires_at);
		gifts[kept->n] = part;
		kept->burns[kept->n++] = (Burn) {.grant = part.id, .amount = part.amount};
	}
	grants_arrive(to, gifts, kept->n);
	return first;
}
