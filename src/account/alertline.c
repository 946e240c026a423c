/*
 * alertline.c
 *		Lines at which something is to be told, and those of the active pricing,
 *		which a backend reads once: who publishes others lets it know.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "account/alertline.h"
#include "base/listen.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_alert_mark);
PG_FUNCTION_INFO_V1(ducto_pricing_changed);

static KeptQuery pricing_query = {
	.sql = "SELECT p.config -> 'alerts' FROM ducto.pricing p WHERE p.active",
};

/* The lines of the active pricing, as this backend knows them. */
static Lines pricing_lines;
static int64 pricing_mark;
static bool pricing_known = false;
static Oid	pricing_table = InvalidOid;

/*
 * Return the number of an element of an array.
 */
static Numeric
element_number(JsonbContainer *array, int n)
{
	JsonbValue *element = getIthJsonbValueFromContainer(array, n);

	if (element == NULL || element->type != jbvNumeric)
		elog(ERROR, "a line is no number");
	return element->val.numeric;
}

/*
 * Read a member that is an array, and return how many lines it has; false when
 * it is absent.
 */
static bool
lines_member(JsonbContainer *object, const char *key, JsonbContainer **array, int *n)
{
	JsonbValue	value;

	if (getKeyJsonValueFromContainer(object, key, (int) strlen(key), &value) == NULL)
		return false;
	if (value.type != jbvBinary || !JsonContainerIsArray(value.val.binary.data))
		elog(ERROR, "lines are no array");
	*array = value.val.binary.data;
	*n = Min((int) JsonContainerSize(*array), MAX_LINES);
	return true;
}

/*
 * Order amounts from the highest.
 */
static int
money_descends(const void *a, const void *b)
{
	Money		one = *(const Money *) a;
	Money		other = *(const Money *) b;

	return one < other ? 1 : one > other ? -1 : 0;
}

/*
 * Order percentages from the lowest.
 */
static int
percent_ascends(const void *a, const void *b)
{
	return *(const int *) a - *(const int *) b;
}

/*
 * Read a list of percentages. False: it is absent.
 */
static bool
lines_percent(JsonbContainer *object, const char *key, int *percent, int *n)
{
	JsonbContainer *array = NULL;

	if (!lines_member(object, key, &array, n))
		return false;
	for (int i = 0; i < *n; i++)
		percent[i] = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(element_number(array, i))));
	return true;
}

/*
 * Order a list and take out what is there twice; returns how many are left.
 */
static int
list_order(void *list, int n, size_t size, int (*compare) (const void *, const void *))
{
	char	   *items = list;
	int			left = 0;

	qsort(list, n, size, compare);
	for (int i = 0; i < n; i++)
		if (i == 0 || compare(items + (left - 1) * size, items + i * size) != 0)
			memmove(items + left++ * size, items + i * size, size);
	return left;
}

/*
 * lines_order brings lines into their order.
 */
void
lines_order(Lines *lines)
{
	lines->nbalance = list_order(lines->balance, lines->nbalance, sizeof(Money), money_descends);
	lines->nallowance = list_order(lines->allowance, lines->nallowance, sizeof(int), percent_ascends);
	lines->ncap = list_order(lines->cap, lines->ncap, sizeof(int), percent_ascends);
}

/*
 * lines_from_json reads lines from an object that was checked when it was given.
 */
void
lines_from_json(JsonbContainer *object, Lines *lines)
{
	JsonbContainer *array = NULL;
	JsonbValue	value;

	memset(lines, 0, sizeof(Lines));
	lines->has_balance = lines_member(object, "balance", &array, &lines->nbalance);
	for (int i = 0; i < lines->nbalance; i++)
		lines->balance[i] = money_from_datum(NumericGetDatum(element_number(array, i)));
	lines->has_allowance = lines_percent(object, "allowance_percent", lines->allowance, &lines->nallowance);
	lines->has_cap = lines_percent(object, "cap_percent", lines->cap, &lines->ncap);
	lines->has_days = getKeyJsonValueFromContainer(object, "expiring_days", strlen("expiring_days"), &value) != NULL;
	if (lines->has_days)
		lines->days = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
	lines_order(lines);
}

/*
 * lines_mark returns what tells the lines of a balance from others; 0 for none.
 */
int64
lines_mark(const Lines *lines)
{
	if (!lines->has_balance)
		return 0;
	return (int64) (hash_bytes_extended((const unsigned char *) lines->balance, (int) sizeof(Money) * lines->nbalance, 0) | 1);
}

/*
 * ducto.alert_mark returns the mark of balance lines, 0 for NULL.
 */
Datum
ducto_alert_mark(PG_FUNCTION_ARGS)
{
	Lines		lines = {0};
	Datum	   *elements;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT64(0);
	lines.has_balance = true;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), NUMERICOID, -1, false, TYPALIGN_INT, &elements, NULL, &lines.nbalance);
	lines.nbalance = Min(lines.nbalance, MAX_LINES);
	for (int i = 0; i < lines.nbalance; i++)
		lines.balance[i] = money_from_datum(elements[i]);
	lines_order(&lines);
	PG_RETURN_INT64(lines_mark(&lines));
}

/*
 * A table is another one now, or somebody has published: look anew.
 */
static void
pricing_forget(Oid table)
{
	if (!OidIsValid(table) || table == pricing_table)
		pricing_known = false;
}

/*
 * Read the lines of the active pricing where this backend does not know them.
 * Who publishes others sends an invalidation; one that comes while they are
 * read counts. They are what is active now, not in the snapshot of a
 * transaction that keeps one: so they are kept for the transactions to come.
 */
static void
pricing_look(void)
{
	QueryArgs	none = {0};

	if (pricing_known)
		return;
	relations_listen(pricing_forget);
	pricing_table = table_named("pricing");
	pricing_known = true;
	memset(&pricing_lines, 0, sizeof(Lines));
	PushActiveSnapshot(GetLatestSnapshot());
	if (query_read(&pricing_query, &none) > 0 && !row_is_null(0, 1))
		lines_from_json(&DatumGetJsonbP(row_datum(0, 1))->root, &pricing_lines);
	PopActiveSnapshot();
	pricing_mark = lines_mark(&pricing_lines);
}

/*
 * lines_of_pricing returns the lines of the active pricing.
 */
const Lines *
lines_of_pricing(void)
{
	pricing_look();
	return &pricing_lines;
}

/*
 * lines_pricing_mark returns what tells the balance lines of the active pricing from
 * others. An account whose row has another mark is to get these lines.
 */
int64
lines_pricing_mark(void)
{
	AcceptInvalidationMessages();
	pricing_look();
	return pricing_mark;
}

/*
 * Return what a configuration says of lines, NULL for nothing.
 */
static Jsonb *
lines_said(const Jsonb *config)
{
	JsonbValue	alerts;

	if (config == NULL ||
		getKeyJsonValueFromContainer((JsonbContainer *) &config->root, "alerts", (int) strlen("alerts"), &alerts) == NULL)
		return NULL;
	return JsonbValueToJsonb(&alerts);
}

/*
 * lines_published lets all backends know, when the transaction commits, that
 * the lines of the active pricing are others: those of a configuration after
 * those of another, NULL for none. Where they are the same nobody has to look,
 * and no plan of the pricing's table has to be made anew.
 */
void
lines_published(const Jsonb *before, const Jsonb *after)
{
	Jsonb	   *left = lines_said(before);
	Jsonb	   *right = lines_said(after);

	if (left == NULL || right == NULL ? left == right : compareJsonbContainers(&left->root, &right->root) == 0)
		return;
	CacheInvalidateRelcacheByRelid(table_named("pricing"));
	pricing_known = false;
}

/*
 * ducto.pricing_changed lets all backends of a node of a cluster know, when the
 * transaction commits, that the pricing is another one: of the table's part
 * there. Who publishes lets those of one server, and of his node, know.
 */
Datum
ducto_pricing_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.pricing_changed is a trigger function for changes of rows")));
	if (strcmp(RelationGetRelationName(trigger->tg_relation), "pricing") != 0)
		table_changed(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/*
 * lines_inherit gives lines what they lack of others.
 */
void
lines_inherit(Lines *lines, const Lines *from)
{
	if (!lines->has_balance)
	{
		lines->has_balance = from->has_balance;
		lines->nbalance = from->nbalance;
		memcpy(lines->balance, from->balance, sizeof(lines->balance));
	}
	if (!lines->has_allowance)
	{
		lines->has_allowance = from->has_allowance;
		lines->nallowance = from->nallowance;
		memcpy(lines->allowance, from->allowance, sizeof(lines->allowance));
	}
	if (!lines->has_cap)
	{
		lines->has_cap = from->has_cap;
		lines->ncap = from->ncap;
		memcpy(lines->cap, from->cap, sizeof(lines->cap));
	}
	if (!lines->has_days)
	{
		lines->has_days = from->has_days;
		lines->days = from->days;
	}
}
