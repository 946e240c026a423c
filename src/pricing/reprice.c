/*
 * reprice.c
 *		What the usage of a window would have cost at other prices.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_reprice);

#define MODEL_MAX_BYTES	255

/* All that was used in a window, with the price of then; a scan of ledger and lines, which have no index by time. */
static KeptQuery usage_query = {
	.sql = "SELECT coalesce(model, 'unknown'), coalesce(exact_price, allowance_consumed + coalesce(shortfall, 0) - amount),"
	" pricing, id"
	" FROM ducto.ledger WHERE type = 'usage' AND models IS NULL AND created_at >= $1 AND created_at <= $2"
	" UNION ALL SELECT coalesce(u.model, 'unknown'), u.amount,"
	" CASE WHEN u.usage IS NOT NULL THEN jsonb_build_object('plan_id', l.pricing -> 'plan_id', 'usage', u.usage) END, l.id"
	" FROM ducto.ledger l JOIN ducto.usage_lines u ON u.account_id = l.account_id AND u.entry = l.id"
	" WHERE l.models IS NOT NULL AND l.created_at >= $1 AND l.created_at <= $2",
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID},
	.whole = true
};

/* Where its rows have the model, what was charged, the usage, and the entry. */
enum
{
	USED_MODEL, USED_CHARGED, USED_PRICING, USED_ENTRY
};

/* What the entries are summed by; all zeros where there is nothing. */
typedef struct ModelKey
{
	char		model[MODEL_MAX_BYTES + 1];
	bool		priced;			/* there is another price */
} ModelKey;

typedef struct ModelSum
{
	ModelKey	key;
	int64		entries;
	Numeric		charged;
	Numeric		repriced;
} ModelSum;

/* A run over the entries. */
typedef struct Reprice
{
	Pricing    *pricing;
	MemoryContext context;		/* of the groups and their sums */
	HTAB	   *groups;
} Reprice;

/*
 * Add a number to a sum that lives in a context.
 */
static void
sum_grow(MemoryContext context, Numeric *sum, Numeric more)
{
	MemoryContext previous = MemoryContextSwitchTo(context);
	Numeric		grown = DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(*sum), NumericGetDatum(more)));

	MemoryContextSwitchTo(previous);
	pfree(*sum);
	*sum = grown;
}

/*
 * Return the group that entries are summed in.
 */
static ModelSum *
group_get(Reprice *reprice, const char *model, bool priced)
{
	ModelKey	key;
	ModelSum	   *group;
	bool		found;
	MemoryContext previous;

	memset(&key, 0, sizeof(ModelKey));
	strlcpy(key.model, model, sizeof(key.model));
	key.priced = priced;
	group = hash_search(reprice->groups, &key, HASH_ENTER, &found);
	if (found)
		return group;
	previous = MemoryContextSwitchTo(reprice->context);
	group->entries = 0;
	group->charged = int64_to_numeric(0);
	group->repriced = int64_to_numeric(0);
	MemoryContextSwitchTo(previous);
	return group;
}

/*
 * Find a member of what an entry keeps of its price.
 */
static bool
kept_member(Jsonb *kept, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(&kept->root, name, (int) strlen(name), value) != NULL;
}

/*
 * Price the usage that an entry keeps anew. NULL: it keeps none, or the pricing
 * has no price for it, or lacks a unit of it. The usage is what any door let in, so it is not judged
 * again.
 */
static Numeric
entry_reprice(const Reprice *reprice, Jsonb *kept, const pg_uuid_t *id)
{
	PricedUsage priced = {0};
	JsonbValue	usage;
	JsonbValue	plan;
	char	   *plan_id = NULL;

	if (!kept_member(kept, "usage", &usage) || usage.type != jbvBinary)
		return NULL;
	if (kept_member(kept, "plan_id", &plan) && plan.type == jbvString)
		plan_id = pnstrdup(plan.val.string.val, plan.val.string.len);
	usage_read(JsonbValueToJsonb(&usage), &priced.usage);
	usage_price(&priced, reprice->pricing, plan_id);
	if (priced.unknown != NULL)
		return NULL;
	if (priced.failed)
		ereport(ERROR,
				(errcode(priced.error.sqlstate),
				 errmsg("could not price the usage of entry %s: %s",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id))), priced.error.message),
				 priced.error.position > 0 ?
				 errdetail("It is at position %d of an expression.", priced.error.position) : 0));
	return priced.rejection == ACCEPTED ? DatumGetNumeric(price_to_datum(&priced.price)) : NULL;
}

/*
 * Sum an entry.
 */
static bool
entry_receive(TupleTableSlot *slot, void *state)
{
	Reprice    *reprice = state;
	Numeric		repriced = NULL;
	ModelSum	   *group;

	CHECK_FOR_INTERRUPTS();
	slot_getallattrs(slot);
	if (!slot->tts_isnull[USED_PRICING])
		repriced = entry_reprice(reprice, DatumGetJsonbP(slot->tts_values[USED_PRICING]), DatumGetUUIDP(slot->tts_values[USED_ENTRY]));
	group = group_get(reprice, TextDatumGetCString(slot->tts_values[USED_MODEL]), repriced != NULL);
	group->entries++;
	sum_grow(reprice->context, &group->charged, DatumGetNumeric(slot->tts_values[USED_CHARGED]));
	if (repriced != NULL)
		sum_grow(reprice->context, &group->repriced, repriced);
	return true;
}

/*
 * Compare groups for qsort: the largest charge first, then by model, and what
 * has a price first.
 */
static int
group_compare(const void *a, const void *b)
{
	const ModelSum *left = *(ModelSum *const *) a;
	const ModelSum *right = *(ModelSum *const *) b;
	int			order = DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(right->charged),
														  NumericGetDatum(left->charged)));

	if (order == 0)
		order = strcmp(left->key.model, right->key.model);
	return order != 0 ? order : (int) right->key.priced - (int) left->key.priced;
}

/*
 * Round a sum of exact prices to four decimals.
 */
static Datum
sum_round(Numeric sum)
{
	return DirectFunctionCall2(numeric_round, NumericGetDatum(sum), Int32GetDatum(MONEY_DECIMALS));
}

/*
 * Put a group into the result.
 */
static void
group_put(ResultRow *row, const ModelSum *group)
{
	Datum		charged = sum_round(group->charged);

	result_text(row, group->key.model);
	result_int8(row, group->entries);
	result_datum(row, charged);
	if (group->key.priced)
	{
		Datum		repriced = sum_round(group->repriced);

		result_datum(row, repriced);
		result_datum(row, DirectFunctionCall2(numeric_sub, repriced, charged));
	}
	else
	{
		result_null(row);
		result_null(row);
	}
	result_put(row);
}

/*
 * Put all groups into the result, in order.
 */
static void
groups_put(FunctionCallInfo fcinfo, const Reprice *reprice)
{
	int			n = (int) hash_get_num_entries(reprice->groups);
	ModelSum	  **groups = palloc(sizeof(ModelSum *) * Max(n, 1));
	HASH_SEQ_STATUS status;
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	hash_seq_init(&status, reprice->groups);
	for (int i = 0; i < n; i++)
		groups[i] = hash_seq_search(&status);
	hash_seq_term(&status);
	qsort(groups, n, sizeof(ModelSum *), group_compare);
	for (int i = 0; i < n; i++)
		group_put(&row, groups[i]);
}

/*
 * Return the pricing that the arguments name: a draft, a version or the active
 * one.
 */
static Pricing *
arg_pricing(FunctionCallInfo fcinfo, int version, int config)
{
	Pricing    *pricing;
	Money		min_balance;

	if (!PG_ARGISNULL(version) && !PG_ARGISNULL(config))
		arg_reject("config", "given with a version", "Give \"version\" or \"config\", or none of them for the active version.");
	if (!PG_ARGISNULL(config))
		return pricing_draft(pricing_normal(PG_GETARG_JSONB_P(config), &min_balance));
	pricing = PG_ARGISNULL(version) ? pricing_get_active(true) : pricing_get(PG_GETARG_INT32(version));
	if (pricing == NULL)
		arg_reject("version", PG_ARGISNULL(version) ? "null" : psprintf("%d", PG_GETARG_INT32(version)),
				   PG_ARGISNULL(version) ? "No pricing is active: give \"version\" or \"config\"." :
				   "\"version\" must be a published version of the pricing.");
	return pricing;
}

/*
 * ducto_reprice returns what the usage of a window would have cost at other
 * prices. It changes nothing and takes no lock. Arguments and errors: see its
 * COMMENT.
 */
Datum
ducto_reprice(PG_FUNCTION_ARGS)
{
	TimestampTz from = arg_time(fcinfo, 0, "from_time");
	TimestampTz to = arg_time(fcinfo, 1, "to_time");
	Reprice		reprice = {0};
	HASHCTL		control = {.keysize = sizeof(ModelKey), .entrysize = sizeof(ModelSum)};
	QueryArgs	args = {0};

	if (from > to)
		arg_reject("from_time", timestamptz_to_str(from), "\"from_time\" must not be after \"to_time\".");
	query_begin();
	reprice.context = CurrentMemoryContext;
	reprice.pricing = arg_pricing(fcinfo, 2, 3);
	control.hcxt = reprice.context;
	reprice.groups = hash_create("ducto reprice", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	args_time(&args, from);
	args_time(&args, to);
	query_each(&usage_query, &args, true, entry_receive, &reprice);
	groups_put(fcinfo, &reprice);
	query_end();
	return (Datum) 0;
}
