/*
 * price.c
 *		What was used, and what it costs under a pricing.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/args.h"
#include "base/json.h"
#include "pricing/pricing.h"

#define DEFAULT_NAME	"_default"
#define PRICE_PARTS		5

/* A place in a usage: a member, and what is in it. */
typedef struct UsagePlace
{
	const char *key;
	int			element;		/* from 0; -1 for the member itself */
	const char *member;			/* of the element; NULL for the element itself */
} UsagePlace;

/*
 * Raise the error for a place in a usage.
 */
pg_noreturn static void
usage_reject(const UsagePlace *place, const char *problem, const char *hint)
{
	char	   *path = path_member("", place->key);

	if (place->element >= 0)
		path = psprintf("%s/%d", path, place->element);
	if (place->member != NULL)
		path = path_member(path, place->member);
	arg_reject_at("usage", path, problem, hint);
}

/*
 * Read a member that counts something.
 */
static Numeric
usage_number(const UsagePlace *place, const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		usage_reject(place, "is not a number", "It must be a number, 0 or greater.");
	if (numeric_is_nan(value->val.numeric) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(value->val.numeric),
										 NumericGetDatum(int64_to_numeric(0)))))
		usage_reject(place, psprintf("is %s", numeric_shown(value->val.numeric)), "It must be a number, 0 or greater.");
	return DatumGetNumeric(DirectFunctionCall1(numeric_uplus, NumericGetDatum(value->val.numeric)));
}

/*
 * Tell whether a variable is 0.
 */
static bool
variable_is_zero(const Usage *usage, int variable)
{
	return usage->variables[variable] == NULL ||
		DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(usage->variables[variable]),
											NumericGetDatum(int64_to_numeric(0))));
}

/*
 * Read a member that is a name.
 */
static char *
usage_name(const UsagePlace *place, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0 || value->val.string.len > 255)
		usage_reject(place, "is not a name", "It must be a text of 1 to 255 bytes.");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * Read a call of a tool: its name, or an object with it.
 */
static char *
usage_tool(UsagePlace place, const JsonbValue *value)
{
	JsonbValue	name;

	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
	{
		if (getKeyJsonValueFromContainer(value->val.binary.data, "name", strlen("name"), &name) == NULL)
			usage_reject(&place, "needs a \"name\"",
						 "\"tool_calls\" must be an array of tool names, or of objects with \"name\".");
		place.member = "name";
		return usage_name(&place, &name);
	}
	return usage_name(&place, value);
}

/*
 * Read the calls of tools.
 */
static void
usage_tools(UsagePlace place, const JsonbValue *value, Usage *usage)
{
	JsonbIterator *it;
	JsonbValue	element;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		usage_reject(&place, "is not an array",
					 "\"tool_calls\" must be an array of tool names, or of objects with \"name\".");
	usage->tools = palloc(sizeof(char *) * Max(JsonContainerSize(value->val.binary.data), 1));
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
	{
		place.element = usage->ntools;
		usage->tools[usage->ntools++] = usage_tool(place, &element);
	}
}

/*
 * Read one member of a usage.
 */
static void
usage_member(const char *name, const JsonbValue *value, Usage *usage)
{
	UsagePlace	place = {.key = name, .element = -1};
	int			variable;

	if (value->type == jbvNull)
		value = NULL;
	if (strcmp(name, "model") == 0)
	{
		usage->model = value != NULL ? usage_name(&place, value) : NULL;
		if (usage->model != NULL && strcmp(usage->model, "none") == 0)
			usage->model = NULL;
	}
	else if (strcmp(name, "fixed_job") == 0)
		usage->fixed_job = value != NULL ? usage_name(&place, value) : NULL;
	else if (strcmp(name, "tool_calls") == 0)
	{
		if (value != NULL)
			usage_tools(place, value, usage);
	}
	else if ((variable = expr_variable_find(name, (int) strlen(name), NULL)) >= 0)
	{
		if (value != NULL)
			usage->variables[variable] = usage_number(&place, value);
	}
	else
	{
		UsageCount *count = palloc(sizeof(UsageCount));

		count->name = pstrdup(name);
		count->value = value != NULL ? *value : (JsonbValue) {.type = jbvNull};
		usage->counts = lappend(usage->counts, count);
	}
}

/*
 * Let what a usage counts beside the built-in keys be the units of its pricing.
 * False: it has a key that is none of them.
 */
static bool
usage_count(PricedUsage *priced)
{
	Usage	   *usage = &priced->usage;
	ListCell   *cell;

	priced->unknown = NULL;
	usage->has_units = false;
	if (usage->counts != NIL)
		memset(usage->variables + EXPR_VARIABLE_COUNT, 0, sizeof(Numeric) * EXPR_MAX_UNITS);
	foreach(cell, usage->counts)
	{
		const UsageCount *count = lfirst(cell);
		UsagePlace	place = {.key = count->name, .element = -1};
		int			variable = expr_variable_find(count->name, (int) strlen(count->name), pricing_units(priced->pricing));

		if (variable < 0)
		{
			priced->unknown = count->name;
			return false;
		}
		if (count->value.type != jbvNull)
			usage->variables[variable] = usage_number(&place, &count->value);
		usage->has_units |= !variable_is_zero(usage, variable);
	}
	return true;
}

/*
 * Raise the error for a key of a usage that neither ducto nor the pricing has.
 */
pg_noreturn static void
usage_unknown(const PricedUsage *priced)
{
	UsagePlace	place = {.key = priced->unknown, .element = -1};
	const ExprUnits *units = pricing_units(priced->pricing);
	StringInfoData hint;

	initStringInfo(&hint);
	appendStringInfoString(&hint, "\"usage\" may have model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, "
						   "search_queries, search_results, web_search_calls, code_exec_calls, tool_calls and fixed_job");
	if (units->count > 0)
	{
		appendStringInfoString(&hint, ", and the units of the pricing:");
		for (int i = 0; i < units->count; i++)
			appendStringInfo(&hint, "%s %s", i > 0 ? "," : "", units->names[i]);
	}
	appendStringInfoChar(&hint, '.');
	usage_reject(&place, "unknown key", hint.data);
}

/*
 * usage_check raises the error for a key of a usage that neither ducto nor a
 * pricing has.
 */
void
usage_check(PricedUsage *priced, Pricing *pricing)
{
	priced->pricing = pricing;
	if (!usage_count(priced))
		usage_unknown(priced);
}

/*
 * usage_read reads a usage, a JSON object.
 */
void
usage_read(Jsonb *json, Usage *usage)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	memset(usage, 0, sizeof(Usage));
	usage->json = json;
	it = JsonbIteratorInit(&usage->json->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		usage_member(pnstrdup(key.val.string.val, key.val.string.len), &value, usage);
	}
	usage->variables[EXPR_TOOL_CALLS] = int64_to_numeric(usage->ntools);
	usage->has_tokens = !variable_is_zero(usage, EXPR_INPUT_TOKENS) ||
		!variable_is_zero(usage, EXPR_OUTPUT_TOKENS) ||
		!variable_is_zero(usage, EXPR_CACHE_READ_TOKENS) ||
		!variable_is_zero(usage, EXPR_CACHE_WRITE_TOKENS);
}

/*
 * arg_usage returns a required usage.
 */
void
arg_usage(FunctionCallInfo fcinfo, int n, const char *name, Usage *usage)
{
	arg_require(fcinfo, n, name);
	usage_read(arg_metadata(fcinfo, n, name), usage);
}

/*
 * Add a number to a sum, which is NULL before the first.
 */
static void
sum_add(Numeric *sum, Numeric value)
{
	if (*sum == NULL)
		*sum = value;
	else
		*sum = DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(*sum), NumericGetDatum(value)));
}

/*
 * Add the value of an expression, NULL standing for 0, to a sum. False: it
 * has none, and error tells why.
 */
static bool
add_value(const ExprProgram *program, const Numeric *variables, Numeric *sum, ExprError *error)
{
	Numeric		value;

	if (program == NULL)
		return true;
	if (!expr_eval(program, variables, &value, error))
		return false;
	sum_add(sum, value);
	return true;
}

/*
 * Add the value of a tool's expression to a sum. There may be many tools, so
 * what an evaluation needs, in the context each, is freed after it.
 */
static bool
add_tool(MemoryContext each, const ExprProgram *program, const Numeric *variables, Numeric *sum, ExprError *error)
{
	MemoryContext previous = MemoryContextSwitchTo(each);
	Numeric		value;
	bool		valid = expr_eval(program, variables, &value, error);

	MemoryContextSwitchTo(previous);
	if (valid)
		sum_add(sum, DatumGetNumeric(DirectFunctionCall1(numeric_uplus, NumericGetDatum(value))));
	MemoryContextReset(each);
	return valid;
}

/*
 * Find the expression of a usage's model: the plan's for the model, the
 * pricing's, then their defaults.
 */
static ExprProgram *
model_program(const PricedUsage *priced)
{
	const char *model = priced->usage.model;
	ExprProgram *program = NULL;

	if (model != NULL)
		program = pricing_override(priced->pricing, priced->plan_id, model);
	if (program == NULL && model != NULL)
		program = pricing_expression(priced->pricing, "models", model);
	if (program == NULL)
		program = pricing_override(priced->pricing, priced->plan_id, DEFAULT_NAME);
	if (program == NULL)
		program = pricing_expression(priced->pricing, "models", DEFAULT_NAME);
	return program;
}

/*
 * Compare names for qsort.
 */
static int
name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/*
 * pricing_missing returns the rejection of what needs a pricing where none is
 * active.
 */
Rejection
pricing_missing(void)
{
	return rejection_because(NO_ACTIVE_PRICING, "Publish a pricing with ducto_set_active_pricing.");
}

/*
 * Return the rejection of a usage that a pricing has no price for, and tell
 * what has none.
 */
static Rejection
model_missing(const PricedUsage *priced, bool model)
{
	if (!model)
		return rejection_because(MODEL_NOT_PRICED, "Pricing version %d has no fixed job \"%s\".",
								 pricing_version(priced->pricing), priced->usage.fixed_job);
	return rejection_because(MODEL_NOT_PRICED, "Pricing version %d has no expression for the model \"%s\", and no default.",
							 pricing_version(priced->pricing), priced->usage.model != NULL ? priced->usage.model : "");
}

/*
 * Price the calls of tools: each tool that has an expression once, seeing all
 * calls; the calls of all others together by the default.
 */
static bool
price_tools(PricedUsage *priced, Numeric *sum)
{
	const Usage *usage = &priced->usage;
	Numeric		variables[EXPR_MAX_VARIABLES];
	MemoryContext each;
	int			others = 0;

	if (usage->ntools == 0)
		return true;
	each = AllocSetContextCreate(CurrentMemoryContext, "ducto tool", ALLOCSET_SMALL_SIZES);
	qsort(usage->tools, usage->ntools, sizeof(char *), name_compare);
	for (int i = 0; i < usage->ntools; i++)
	{
		bool		again = i > 0 && strcmp(usage->tools[i], usage->tools[i - 1]) == 0;
		ExprProgram *program = NULL;

		if (strcmp(usage->tools[i], DEFAULT_NAME) != 0)
			program = pricing_expression(priced->pricing, "tools", usage->tools[i]);
		if (program == NULL)
			others++;
		else if (!again && !add_tool(each, program, usage->variables, sum, &priced->error))
			return false;
	}
	if (others == 0)
		return true;
	memcpy(variables, usage->variables, sizeof(variables));
	variables[EXPR_TOOL_CALLS] = int64_to_numeric(others);
	return add_value(pricing_expression(priced->pricing, "tools", DEFAULT_NAME), variables, sum, &priced->error);
}

/*
 * Price a usage into exact parts, NULL where there is nothing to price. False:
 * an expression has no value, or the usage has no price, as priced tells.
 */
static bool
price_parts(PricedUsage *priced, Numeric parts[PRICE_PARTS])
{
	const Usage *usage = &priced->usage;
	bool		has_model = usage->model != NULL || usage->has_tokens;
	ExprProgram *model = has_model || usage->has_units ? model_program(priced) : NULL;

	memset(parts, 0, sizeof(Numeric) * PRICE_PARTS);
	if ((has_model && model == NULL) ||
		(usage->fixed_job != NULL && !pricing_fixed(priced->pricing, usage->fixed_job, &parts[4])))
	{
		priced->rejection = model_missing(priced, has_model && model == NULL);
		return false;
	}
	priced->failed = !add_value(model, usage->variables, &parts[0], &priced->error) ||
		!price_tools(priced, &parts[1]) ||
		!add_value(pricing_expression(priced->pricing, "search", "costs"), usage->variables, &parts[2], &priced->error) ||
		!add_value(pricing_expression(priced->pricing, "cache", "discount"), usage->variables, &parts[3], &priced->error);
	return !priced->failed;
}

/*
 * Take the sum of a price's parts to money, not below 0. False: it is out of
 * bounds.
 */
static bool
price_set_total(Price *price, Numeric sum)
{
	if (!money_split(sum, &price->lower, &price->rest))
		return false;
	price->total = price->lower + (price->rest >= REST_HALF ? 1 : 0);
	if (price->rest == 0)
		return true;
	if (DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(sum))) <= REST_DECIMALS)
		price->exact = sum;
	else
		price->exact = DatumGetNumeric(DirectFunctionCall2(numeric_add, money_to_datum(price->lower), rest_to_datum(price->rest)));
	return true;
}

/*
 * Take the parts of a price and their sum to money. False: one of them is out
 * of bounds.
 */
static bool
price_set(Price *price, const Numeric parts[PRICE_PARTS])
{
	Money	   *amounts[PRICE_PARTS] = {&price->model, &price->tools, &price->search, &price->cache, &price->fixed};
	Numeric		sum = NULL;

	for (int i = 0; i < PRICE_PARTS; i++)
	{
		if (parts[i] == NULL)
			continue;
		if (!money_round(parts[i], amounts[i]))
			return false;
		sum_add(&sum, parts[i]);
	}
	return sum == NULL || price_set_total(price, sum);
}

/*
 * Price a usage for a plan: the exact sum of the parts, not below 0.
 */
static void
usage_price_for(PricedUsage *priced, const char *plan_id)
{
	Numeric		parts[PRICE_PARTS];

	priced->plan_id = plan_id;
	priced->failed = false;
	priced->rejection = ACCEPTED;
	memset(&priced->price, 0, sizeof(Price));
	priced->unknown = NULL;
	if (priced->pricing == NULL)
	{
		priced->rejection = pricing_missing();
		return;
	}
	priced->failed = !usage_count(priced);
	if (priced->failed || !price_parts(priced, parts) || price_set(&priced->price, parts))
		return;
	memset(&priced->price, 0, sizeof(Price));
	priced->failed = true;
	priced->error.sqlstate = ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE;
	priced->error.position = 0;
	strlcpy(priced->error.message, "the price is beyond 99999999999999.9999 in magnitude", sizeof(priced->error.message));
}

/*
 * usage_price prices a usage, under a pricing (NULL for none) and a plan. What
 * prevents it is kept, for usage_outcome.
 */
void
usage_price(PricedUsage *priced, Pricing *pricing, const char *plan_id)
{
	priced->pricing = pricing;
	usage_price_for(priced, plan_id);
}

/*
 * usage_price_within prices a usage as usage_price does, one of many: what that
 * needs is allocated in a context, and freed but for the price.
 */
void
usage_price_within(PricedUsage *priced, Pricing *pricing, const char *plan_id, MemoryContext each)
{
	MemoryContext previous = MemoryContextSwitchTo(each);
	Price	   *price = &priced->price;

	usage_price(priced, pricing, plan_id);
	MemoryContextSwitchTo(previous);
	if (price->exact != NULL)
		price->exact = DatumGetNumeric(DirectFunctionCall1(numeric_uplus, NumericGetDatum(price->exact)));
	MemoryContextReset(each);
}

/*
 * usage_outcome returns the rejection of a usage that has no price. It raises
 * the error of an expression that has no value.
 */
Rejection
usage_outcome(const PricedUsage *priced)
{
	if (priced->unknown != NULL)
		usage_unknown(priced);
	if (priced->failed)
		ereport(ERROR,
				(errcode(priced->error.sqlstate),
				 errmsg("could not price the usage: %s", priced->error.message),
				 priced->error.position > 0 ?
				 errdetail("It is at position %d of an expression of pricing version %d.",
						   priced->error.position, pricing_version(priced->pricing)) :
				 errdetail("It is the price under pricing version %d.", pricing_version(priced->pricing))));
	return priced->rejection;
}

/*
 * usage_require lets a usage be priced for a locked account, or returns its
 * rejection. It was priced without a plan; for one it is priced anew, by the
 * version that the plan's row belongs to, unless a reservation says by what.
 */
Rejection
usage_require(PricedUsage *priced, Account *acc)
{
	if (acc->plan_id != NULL && !priced->pinned)
	{
		priced->pricing = pricing_with_plan(acc->plan_id, &acc->plan);
		usage_price_for(priced, acc->plan_id);
	}
	return usage_outcome(priced);
}

/*
 * Push an amount.
 */
static void
push_money(JsonOut *out, const char *name, Money amount)
{
	jsonout_key(out, name);
	jsonout_numeric(out, DatumGetNumeric(money_to_datum(amount)));
}

/*
 * price_to_datum returns the exact price.
 */
Datum
price_to_datum(const Price *price)
{
	return price->exact != NULL ? NumericGetDatum(price->exact) : money_to_datum(price->total);
}

/*
 * usage_explain makes what the ledger keeps of a price: version, plan, usage
 * and parts.
 */
Jsonb *
usage_explain(const PricedUsage *priced)
{
	JsonOut		out = {0};
	JsonbValue	value;

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	jsonout_key(&out, "version");
	jsonout_numeric(&out, int64_to_numeric(pricing_version(priced->pricing)));
	jsonout_key(&out, "plan_id");
	value.type = jbvNull;
	if (priced->plan_id != NULL)
		jsonout_text(&out, priced->plan_id);
	else
		jsonout_push(&out, WJB_VALUE, &value);
	jsonout_key(&out, "usage");
	value.type = jbvBinary;
	value.val.binary.data = &priced->usage.json->root;
	value.val.binary.len = VARSIZE(priced->usage.json) - VARHDRSZ;
	jsonout_push(&out, WJB_VALUE, &value);
	jsonout_key(&out, "total");
	jsonout_numeric(&out, DatumGetNumeric(price_to_datum(&priced->price)));
	push_money(&out, "model_credits", priced->price.model);
	push_money(&out, "tool_credits", priced->price.tools);
	push_money(&out, "search_credits", priced->price.search);
	push_money(&out, "cache_savings", priced->price.cache);
	push_money(&out, "fixed_credits", priced->price.fixed);
	return jsonout_end(&out);
}
