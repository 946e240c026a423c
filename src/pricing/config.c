/*
 * config.c
 *		Checks a pricing configuration: finds all of its problems, and makes its
 *		normal form, in snake_case, with numbers as numbers.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

#include "base/args.h"
#include "base/inspect.h"
#include "pricing/pricing.h"

/* What the operations of a plan need to know of it, and tell it. */
typedef struct PlanModes
{
	bool		overdraft;		/* the plan's own mode */
	bool		has_floor;
	bool		used;			/* an operation is overdraft */
} PlanModes;

/* Checks a member of an object and pushes it. */
typedef void (*MemberInspector) (Inspection *in, const char *path, const char *name, const JsonbValue *value,
								 PlanModes *plan);

enum
{
	TOP_VERSION, TOP_MODELS, TOP_TOOLS, TOP_SEARCH, TOP_CACHE, TOP_FIXED,
	TOP_MIN_BALANCE, TOP_SIGNUP_BONUS, TOP_PLANS, TOP_UNITS, TOP_ALERTS, TOP_KEYS
};

static KeyRule top_rules[TOP_KEYS] = {
	{"version"}, {"models"}, {"tools"}, {"search"}, {"cache"}, {"fixed"},
	{"min_balance", "minBalance"}, {"signup_bonus", "signupBonus"}, {"plans"}, {"units"}, {"alerts"}
};

enum
{
	PLAN_ID, PLAN_NAME, PLAN_ALLOWANCE, PLAN_OVERRIDES, PLAN_FEATURES, PLAN_MODE,
	PLAN_CONCURRENT, PLAN_FLOOR, PLAN_PER_OPERATION, PLAN_CYCLE, PLAN_GRANTS, PLAN_CAPS, PLAN_ALERTS, PLAN_KEYS
};

static KeyRule plan_rules[PLAN_KEYS] = {
	{"id"}, {"name"}, {"free_allowance", "freeAllowance"}, {"rate_overrides", "rateOverrides"}, {"features"},
	{"default_billing_mode", "defaultBillingMode", "billing_mode", "billingMode"},
	{"max_concurrent", "maxConcurrent"}, {"overdraft_floor", "overdraftFloor"},
	{"per_operation", "perOperation"}, {"cycle"}, {"grants"}, {"caps"}, {"alerts"}
};

enum
{
	OPERATION_MODE, OPERATION_FLOOR, OPERATION_CONCURRENT, OPERATION_KEYS
};

static KeyRule operation_rules[OPERATION_KEYS] = {
	{"billing_mode", "billingMode"}, {"overdraft_floor", "overdraftFloor"}, {"max_concurrent", "maxConcurrent"}
};

enum
{
	BONUS_AMOUNT, BONUS_ANONYMOUS, BONUS_CONFIRMED, BONUS_KEYS
};

static KeyRule bonus_rules[BONUS_KEYS] = {
	{"amount"}, {"anonymous"}, {"confirmed"}
};

/*
 * The functions that follow check a value and push exactly one, whatever they
 * find: where there is a problem the normal form is not used.
 */

/*
 * Check an expression and push it.
 */
static void
inspect_expression(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	ExprError	error;
	ExprProgram *program;
	char	   *text;

	if (value->type != jbvString)
	{
		problem_add(in, path, "must be an expression, as a text");
		jsonout_text(&in->out, "");
		return;
	}
	text = value_text(value);
	program = expr_parse(text, value->val.string.len, in->units, &error);
	if (program == NULL)
		problem_add(in, path, "at position %d: %s", error.position, error.message);
	else
		pfree(program);
	jsonout_text(&in->out, text);
}

/*
 * Check an amount of 0 or more and push it.
 */
static void
inspect_price(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	Money		amount = 0;

	(void) value_money(in, path, value, 1, &amount);
	jsonout_numeric(&in->out, DatumGetNumeric(money_to_datum(amount)));
}

/*
 * Check a limit of concurrent reservations and push it.
 */
static void
inspect_concurrent(Inspection *in, const char *path, const JsonbValue *value)
{
	Numeric		number;
	int32		limit = 1;
	Datum		floor;

	if (value_number(in, path, value, &number))
	{
		floor = DirectFunctionCall1(numeric_floor, NumericGetDatum(number));
		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, floor, NumericGetDatum(number))) ||
			DatumGetBool(DirectFunctionCall2(numeric_lt, floor, NumericGetDatum(int64_to_numeric(1)))) ||
			DatumGetBool(DirectFunctionCall2(numeric_gt, floor, NumericGetDatum(int64_to_numeric(PG_INT32_MAX)))))
			problem_add(in, path, "must be a whole number from 1 to %d", PG_INT32_MAX);
		else
			limit = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(number)));
	}
	jsonout_numeric(&in->out, int64_to_numeric(limit));
}

/*
 * Check an object member by member and push it. Returns how many there are.
 */
static int
inspect_object(Inspection *in, const char *path, const JsonbValue *value, MemberInspector inspect, PlanModes *plan)
{
	JsonbContainer *object = value_object(in, path, value);
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	member;
	int			n = 0;

	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
	{
		it = JsonbIteratorInit(object);
		(void) JsonbIteratorNext(&it, &key, true);
		while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
		{
			char	   *name = value_text(&key);
			char	   *member_path = path_member(path, name);

			CHECK_FOR_INTERRUPTS();
			(void) JsonbIteratorNext(&it, &member, true);
			if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES)
				problem_add(in, member_path, "a name must be 1 to %d bytes long", NAME_MAX_BYTES);
			jsonout_key(&in->out, name);
			inspect(in, member_path, name, &member, plan);
			n++;
		}
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
	return n;
}

/*
 * Check an object of expressions and push it.
 */
static void
inspect_expressions(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	inspect_object(in, path, value, inspect_expression, plan);
}

/*
 * Check the models, of which there is at least one, and push them.
 */
static void
inspect_models(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	if (inspect_object(in, path, value, inspect_expression, plan) == 0)
		problem_add(in, path, "must have at least one model");
}

/*
 * Check an object of amounts and push it.
 */
static void
inspect_prices(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	inspect_object(in, path, value, inspect_price, plan);
}

/*
 * Check a plan's features, which can be any object, and push them.
 */
static void
inspect_features(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	JsonbValue	copy = *value;

	if (value_object(in, path, value) == NULL)
		jsonout_text(&in->out, "");
	else
		jsonout_push(&in->out, WJB_VALUE, &copy);
}

/*
 * Check the version of the format, which is 1, and push it.
 */
static void
inspect_version(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	Numeric		number;

	if (value_number(in, path, value, &number) &&
		!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(number), NumericGetDatum(int64_to_numeric(1)))))
		problem_add(in, path, "must be 1");
	jsonout_numeric(&in->out, int64_to_numeric(1));
}

/*
 * Check a member, when it is there, and push it under its name.
 */
static void
inspect_member(Inspection *in, const Members *members, int rule, const char *name, MemberInspector inspect)
{
	if (members->values[rule] == NULL)
		return;
	jsonout_key(&in->out, name);
	inspect(in, members->paths[rule], name, members->values[rule], NULL);
}

/*
 * Check a truth value and push it.
 */
static void
inspect_bool(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	JsonbValue	copy = {.type = jbvBool};

	if (value->type == jbvBool)
		copy.val.boolean = value->val.boolean;
	else
		problem_add(in, path, "must be true or false");
	jsonout_push(&in->out, WJB_VALUE, &copy);
}

/*
 * Check the bonus of new users, an amount or an object with the amount and who
 * gets it, and push it.
 */
static void
inspect_signup_bonus(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	Members		members;

	if (value->type != jbvBinary)
	{
		inspect_price(in, path, name, value, plan);
		return;
	}
	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (!JsonContainerIsObject(value->val.binary.data))
		problem_add(in, path, "must be a number or an object");
	else
	{
		members_read(in, path, value->val.binary.data, bonus_rules, BONUS_KEYS, &members);
		if (members.values[BONUS_AMOUNT] == NULL)
			problem_add(in, path, "needs an amount");
		inspect_member(in, &members, BONUS_AMOUNT, "amount", inspect_price);
		inspect_member(in, &members, BONUS_ANONYMOUS, "anonymous", inspect_bool);
		inspect_member(in, &members, BONUS_CONFIRMED, "confirmed", inspect_bool);
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Check at which lines something is to be told and push them.
 */
static void
inspect_alerts(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	inspect_alert_lines(in, path, value);
}

/* The billing rules of a plan or of one of its operations. */
typedef struct BillingRules
{
	const char *path;
	const char *mode_key;		/* what the normal form calls the mode */
	JsonbValue *mode;
	const char *mode_path;
	JsonbValue *floor;
	const char *floor_path;
	JsonbValue *concurrent;
	const char *concurrent_path;
} BillingRules;

/*
 * Tell whether a mode, or else the one that it inherits, is overdraft.
 */
static bool
mode_is_overdraft(const JsonbValue *mode, bool inherited)
{
	if (mode == NULL)
		return inherited;
	return mode->type == jbvString && strcmp(value_text(mode), "overdraft") == 0;
}

/*
 * Check billing rules and push them. Overdraft needs a floor, its own or
 * inherited.
 */
static void
inspect_rules(Inspection *in, const BillingRules *rules, bool overdraft, bool inherits_floor)
{
	Money		amount = 0;

	if (rules->mode != NULL)
	{
		char	   *mode = rules->mode->type == jbvString ? value_text(rules->mode) : "";

		if (strcmp(mode, "strict") != 0 && strcmp(mode, "overdraft") != 0)
			problem_add(in, rules->mode_path, "must be strict or overdraft");
		jsonout_key(&in->out, rules->mode_key);
		jsonout_text(&in->out, mode);
	}
	if (overdraft && rules->floor == NULL && !inherits_floor)
		problem_add(in, rules->path, "overdraft needs an overdraft_floor");
	if (rules->floor != NULL)
	{
		(void) value_money(in, rules->floor_path, rules->floor, -1, &amount);
		jsonout_key(&in->out, "overdraft_floor");
		jsonout_numeric(&in->out, DatumGetNumeric(money_to_datum(amount)));
	}
	if (rules->concurrent != NULL)
	{
		jsonout_key(&in->out, "max_concurrent");
		inspect_concurrent(in, rules->concurrent_path, rules->concurrent);
	}
}

/*
 * Check the rules of an operation type and push them.
 */
static void
inspect_operation(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};
	BillingRules rules = {.path = path, .mode_key = "billing_mode"};
	bool		overdraft;

	if (object != NULL)
		members_read(in, path, object, operation_rules, OPERATION_KEYS, &members);
	rules.mode = members.values[OPERATION_MODE];
	rules.mode_path = members.paths[OPERATION_MODE];
	rules.floor = members.values[OPERATION_FLOOR];
	rules.floor_path = members.paths[OPERATION_FLOOR];
	rules.concurrent = members.values[OPERATION_CONCURRENT];
	rules.concurrent_path = members.paths[OPERATION_CONCURRENT];

	overdraft = mode_is_overdraft(rules.mode, plan->overdraft);
	plan->used |= overdraft;
	if (rules.floor != NULL && !overdraft)
		problem_add(in, rules.floor_path, "needs billing_mode overdraft");
	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	inspect_rules(in, &rules, overdraft, plan->has_floor);
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Note the name of a plan, of NAME_MAX_BYTES at most. False: another plan has
 * it.
 */
static bool
plan_name_note(Inspection *in, const char *name)
{
	bool		found;

	if (in->plan_names == NULL)
	{
		HASHCTL		control = {.keysize = NAME_MAX_BYTES + 1, .entrysize = NAME_MAX_BYTES + 1,
			.hcxt = CurrentMemoryContext};

		in->plan_names = hash_create("ducto plan names", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	hash_search(in->plan_names, name, HASH_ENTER, &found);
	return !found;
}

/*
 * Check a plan's name, which is unique, and push it.
 */
static void
inspect_plan_name(Inspection *in, const char *path, const JsonbValue *value)
{
	char	   *name = NULL;

	if (value->type == jbvString && value->val.string.len >= 1 && value->val.string.len <= NAME_MAX_BYTES)
		name = value_text(value);
	else
		problem_add(in, path, "must be a text of 1 to %d bytes", NAME_MAX_BYTES);
	if (name != NULL && !plan_name_note(in, name))
		problem_add(in, path, "is the name of another plan too");
	jsonout_text(&in->out, name != NULL ? name : "");
}

/*
 * Check the billing rules of a plan, its operations' among them, and push
 * them.
 */
static void
inspect_plan_rules(Inspection *in, const char *path, const Members *members)
{
	BillingRules rules = {
		.path = path,
		.mode_key = "default_billing_mode",
		.mode = members->values[PLAN_MODE],
		.mode_path = members->paths[PLAN_MODE],
		.floor = members->values[PLAN_FLOOR],
		.floor_path = members->paths[PLAN_FLOOR],
		.concurrent = members->values[PLAN_CONCURRENT],
		.concurrent_path = members->paths[PLAN_CONCURRENT],
	};
	PlanModes	modes = {
		.overdraft = mode_is_overdraft(rules.mode, false),
		.has_floor = rules.floor != NULL,
	};

	inspect_rules(in, &rules, modes.overdraft, false);
	if (members->values[PLAN_PER_OPERATION] != NULL)
	{
		jsonout_key(&in->out, "per_operation");
		inspect_object(in, members->paths[PLAN_PER_OPERATION], members->values[PLAN_PER_OPERATION],
					   inspect_operation, &modes);
	}
	if (rules.floor != NULL && !modes.overdraft && !modes.used)
		problem_add(in, rules.floor_path, "needs billing_mode overdraft");
}

/*
 * Check what a plan gives and allows in its cycles, and push it.
 */
static void
inspect_plan_cycles(Inspection *in, const Members *members)
{
	static const struct
	{
		int			rule;
		const char *name;
		void		(*inspect) (Inspection *in, const char *path, const JsonbValue *value);
	}			parts[] = {
		{PLAN_CYCLE, "cycle", inspect_cycle}, {PLAN_GRANTS, "grants", inspect_grants}, {PLAN_CAPS, "caps", inspect_caps}
	};

	for (int i = 0; i < lengthof(parts); i++)
	{
		if (members->values[parts[i].rule] == NULL)
			continue;
		jsonout_key(&in->out, parts[i].name);
		parts[i].inspect(in, members->paths[parts[i].rule], members->values[parts[i].rule]);
	}
}

/*
 * Check a plan and push it.
 */
static void
inspect_plan(Inspection *in, const char *path, const char *id, const JsonbValue *value, PlanModes *unused)
{
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};
	JsonbValue **values = members.values;

	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
	{
		members_read(in, path, object, plan_rules, PLAN_KEYS, &members);
		if (values[PLAN_ID] != NULL &&
			(values[PLAN_ID]->type != jbvString || strcmp(value_text(values[PLAN_ID]), id) != 0))
			problem_add(in, members.paths[PLAN_ID], "must be the plan's key");
		jsonout_key(&in->out, "id");
		jsonout_text(&in->out, id);
		if (values[PLAN_NAME] == NULL)
			problem_add(in, path, "needs a name");
		else
		{
			jsonout_key(&in->out, "name");
			inspect_plan_name(in, members.paths[PLAN_NAME], values[PLAN_NAME]);
		}
		inspect_member(in, &members, PLAN_ALLOWANCE, "free_allowance", inspect_price);
		inspect_member(in, &members, PLAN_OVERRIDES, "rate_overrides", inspect_expressions);
		inspect_member(in, &members, PLAN_FEATURES, "features", inspect_features);
		inspect_member(in, &members, PLAN_ALERTS, "alerts", inspect_alerts);
		inspect_plan_rules(in, path, &members);
		inspect_plan_cycles(in, &members);
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Check the plans and push them.
 */
static void
inspect_plans(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	inspect_object(in, path, value, inspect_plan, plan);
}

/*
 * Check the name of a unit, which is a key of usage that nothing else has, and
 * let expressions name it.
 */
static void
inspect_unit(Inspection *in, const char *path, const JsonbValue *value)
{
	char	   *name = value->type == jbvString ? value_text(value) : "";

	if (name[0] < 'a' || name[0] > 'z' || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") != strlen(name) ||
		strlen(name) > NAME_MAX_BYTES)
		problem_add(in, path, "must be a name: a letter from a to z, then such letters, digits or _, %d at most", NAME_MAX_BYTES);
	else if (!expr_unit_valid(name) || strcmp(name, "model") == 0 || strcmp(name, "fixed_job") == 0)
		problem_add(in, path, "is a built-in name");
	else if (expr_variable_find(name, (int) strlen(name), in->units) >= 0)
		problem_add(in, path, "is there twice");
	else if (in->units->count == EXPR_MAX_UNITS)
		problem_add(in, path, "is more than %d units", EXPR_MAX_UNITS);
	else
		in->units->names[in->units->count++] = name;
	jsonout_element(&in->out, name);
}

/*
 * Check the units and push them.
 */
static void
inspect_units(Inspection *in, const char *path, const char *name, const JsonbValue *value, PlanModes *plan)
{
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	in->units = palloc0(sizeof(ExprUnits));
	jsonout_push(&in->out, WJB_BEGIN_ARRAY, NULL);
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		problem_add(in, path, "must be an array of names");
	else
	{
		it = JsonbIteratorInit(value->val.binary.data);
		(void) JsonbIteratorNext(&it, &element, true);
		while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
			inspect_unit(in, psprintf("%s/%d", path, n++), &element);
	}
	jsonout_push(&in->out, WJB_END_ARRAY, NULL);
}

/*
 * pricing_validate checks a configuration and returns its problems, a list of
 * Problem. Without any, normal is its normal form and min_balance the
 * default floor of ducto_reserve.
 */
List *
pricing_validate(Jsonb *config, Jsonb **normal, Money *min_balance)
{
	Inspection	in = {0};
	Members		members = {0};
	JsonbValue **values = members.values;

	*min_balance = DEFAULT_MIN_BALANCE;
	if (!JB_ROOT_IS_OBJECT(config))
	{
		problem_add(&in, "", "must be an object");
		return in.problems;
	}
	members_read(&in, "", &config->root, top_rules, TOP_KEYS, &members);
	jsonout_push(&in.out, WJB_BEGIN_OBJECT, NULL);
	inspect_member(&in, &members, TOP_VERSION, "version", inspect_version);
	inspect_member(&in, &members, TOP_UNITS, "units", inspect_units);
	if (values[TOP_MODELS] == NULL)
		problem_add(&in, "/models", "is required");
	inspect_member(&in, &members, TOP_MODELS, "models", inspect_models);
	inspect_member(&in, &members, TOP_TOOLS, "tools", inspect_expressions);
	inspect_member(&in, &members, TOP_SEARCH, "search", inspect_expressions);
	inspect_member(&in, &members, TOP_CACHE, "cache", inspect_expressions);
	inspect_member(&in, &members, TOP_FIXED, "fixed", inspect_prices);
	inspect_member(&in, &members, TOP_MIN_BALANCE, "min_balance", inspect_price);
	inspect_member(&in, &members, TOP_SIGNUP_BONUS, "signup_bonus", inspect_signup_bonus);
	inspect_member(&in, &members, TOP_ALERTS, "alerts", inspect_alerts);
	inspect_member(&in, &members, TOP_PLANS, "plans", inspect_plans);
	if (in.problems == NIL)
	{
		*normal = jsonout_end(&in.out);
		if (values[TOP_MIN_BALANCE] != NULL)
			value_money(&in, "", values[TOP_MIN_BALANCE], 1, min_balance);
	}
	return in.problems;
}
