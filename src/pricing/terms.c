/*
 * terms.c
 *		Checks what a plan of a pricing configuration gives and allows in its
 *		cycles: their length, grants and spend caps. It pushes the normal form.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "account/capwindow.h"
#include "account/plan.h"
#include "base/args.h"
#include "base/inspect.h"
#include "pricing/pricing.h"

#define INTERVAL_MAX_DIGITS	5

enum
{
	GRANT_AMOUNT, GRANT_TYPE, GRANT_PRIORITY, GRANT_EXPIRES, GRANT_ROLLOVER, GRANT_KEYS
};

static KeyRule grant_rules[GRANT_KEYS] = {
	{"amount"}, {"type"}, {"priority"}, {"expires"}, {"rollover"}
};

enum
{
	ROLLOVER_MAX, ROLLOVER_CYCLES, ROLLOVER_KEYS
};

static KeyRule rollover_rules[ROLLOVER_KEYS] = {
	{"max"}, {"cycles"}
};

enum
{
	CAP_TYPE, CAP_LIMIT, CAP_ACTION, CAP_MODEL, CAP_WINDOW, CAP_KEYS
};

static KeyRule cap_rules[CAP_KEYS] = {
	{"cap_type", "capType"}, {"cap_limit", "capLimit"}, {"action"}, {"model"}, {"window_length", "windowLength"}
};

/* Checks an element of an array and pushes it. */
typedef void (*ElementInspector) (Inspection *in, const char *path, const JsonbValue *value);

/*
 * The functions that follow check a value and push exactly one, whatever they
 * find: where there is a problem the normal form is not used.
 */

/*
 * Check an array element by element and push it.
 */
static void
inspect_array(Inspection *in, const char *path, const JsonbValue *value, int most, ElementInspector inspect)
{
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	jsonout_push(&in->out, WJB_BEGIN_ARRAY, NULL);
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		problem_add(in, path, "must be an array");
	else
	{
		it = JsonbIteratorInit(value->val.binary.data);
		(void) JsonbIteratorNext(&it, &element, true);
		while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
			inspect(in, psprintf("%s/%d", path, n++), &element);
		if (n > most)
			problem_add(in, path, "must be at most %d", most);
	}
	jsonout_push(&in->out, WJB_END_ARRAY, NULL);
}

/*
 * Check that a value is one of some words, or there is none, and push it, or
 * the first.
 */
static const char *
inspect_word(Inspection *in, const char *path, const JsonbValue *value, Words words)
{
	StringInfoData allowed;
	const char *word = words[0];
	int			i;

	if (value != NULL)
	{
		word = value->type == jbvString ? value_text(value) : "";
		initStringInfo(&allowed);
		for (i = 0; words[i] != NULL && strcmp(words[i], word) != 0; i++)
			appendStringInfo(&allowed, "%s%s", i == 0 ? "" : words[i + 1] == NULL ? " or " : ", ", words[i]);
		if (words[i] == NULL)
			problem_add(in, path, "must be %s", allowed.data);
	}
	jsonout_text(&in->out, word);
	return word;
}

/*
 * Check a whole number and push it.
 */
static void
inspect_whole(Inspection *in, const char *path, const JsonbValue *value, int low, int high)
{
	Numeric		number = int64_to_numeric(low);
	Datum		whole;

	if (value_number(in, path, value, &number))
	{
		whole = DirectFunctionCall1(numeric_floor, NumericGetDatum(number));
		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, whole, NumericGetDatum(number))) ||
			DatumGetBool(DirectFunctionCall2(numeric_lt, whole, NumericGetDatum(int64_to_numeric(low)))) ||
			DatumGetBool(DirectFunctionCall2(numeric_gt, whole, NumericGetDatum(int64_to_numeric(high)))))
			problem_add(in, path, "must be a whole number from %d to %d", low, high);
		number = DatumGetNumeric(whole);
	}
	jsonout_numeric(&in->out, number);
}

/*
 * Push an amount that is there, more than 0 or also 0.
 */
static void
inspect_amount(Inspection *in, const char *path, const JsonbValue *value, bool or_zero)
{
	Money		amount = 0;

	if (value_money(in, path, value, 1, &amount) && amount == 0 && !or_zero)
		problem_add(in, path, "must be greater than 0");
	jsonout_numeric(&in->out, DatumGetNumeric(money_to_datum(amount)));
}

/*
 * Skip a word of a text that is the name of a unit of time, also of several;
 * NULL when it is none.
 */
static const char *
skip_unit(const char *text)
{
	static const char *const units[] = {"minute", "hour", "day", "week", "month", "year"};

	for (int i = 0; i < lengthof(units); i++)
	{
		size_t		length = strlen(units[i]);

		if (strncmp(text, units[i], length) == 0)
			return text + length + (text[length] == 's' ? 1 : 0);
	}
	return NULL;
}

/*
 * Read a length of time: whole numbers, each with a unit. False when a text is
 * none, or it is 0.
 */
static bool
text_to_interval(const char *text, Interval *interval)
{
	const char *p = text;

	do
	{
		size_t		digits = strspn(p, "0123456789");

		if (digits == 0 || digits > INTERVAL_MAX_DIGITS || p[digits] != ' ')
			return false;
		p = skip_unit(p + digits + 1);
		if (p == NULL)
			return false;
	} while (*p == ' ' && *++p != '\0');
	if (*p != '\0')
		return false;
	*interval = *DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
													   Int32GetDatum(-1)));
	return interval->time > 0 || interval->day > 0 || interval->month > 0;
}

/*
 * Check when a grant expires and push it.
 */
static void
inspect_expires(Inspection *in, const char *path, const JsonbValue *value)
{
	const char *expires = value->type == jbvString ? value_text(value) : "";
	Interval	interval;

	if (word_find(gift_ends, expires) < 0 && !text_to_interval(expires, &interval))
		problem_add(in, path, "must be cycle, never or a length of time such as \"90 days\"");
	jsonout_text(&in->out, expires);
}

/*
 * Check what of a grant lives on after its cycle and push it.
 */
static void
inspect_rollover(Inspection *in, const char *path, const JsonbValue *value)
{
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};

	if (object != NULL)
		members_read(in, path, object, rollover_rules, ROLLOVER_KEYS, &members);
	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (members.values[ROLLOVER_MAX] != NULL)
	{
		jsonout_key(&in->out, "max");
		inspect_amount(in, members.paths[ROLLOVER_MAX], members.values[ROLLOVER_MAX], true);
	}
	if (members.values[ROLLOVER_CYCLES] != NULL)
	{
		jsonout_key(&in->out, "cycles");
		inspect_whole(in, members.paths[ROLLOVER_CYCLES], members.values[ROLLOVER_CYCLES], 1, MAX_ROLLOVER_CYCLES);
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Check when the credit of a grant expires, and what of it lives on, and push
 * that.
 */
static void
inspect_grant_end(Inspection *in, const Members *members)
{
	const JsonbValue *expires = members->values[GRANT_EXPIRES];

	if (expires != NULL)
	{
		jsonout_key(&in->out, "expires");
		inspect_expires(in, members->paths[GRANT_EXPIRES], expires);
	}
	if (members->values[GRANT_ROLLOVER] == NULL)
		return;
	if (expires != NULL && expires->type == jbvString && strcmp(value_text(expires), gift_ends[ENDS_WITH_CYCLE]) != 0)
		problem_add(in, members->paths[GRANT_ROLLOVER], "needs credit that expires with the cycle");
	jsonout_key(&in->out, "rollover");
	inspect_rollover(in, members->paths[GRANT_ROLLOVER], members->values[GRANT_ROLLOVER]);
}

/*
 * Check a grant of a cycle and push it.
 */
static void
inspect_grant(Inspection *in, const char *path, const JsonbValue *value)
{
	static const char *const types[] = {"subscription", "promo", "signup_bonus", "adjustment", NULL};
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};

	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
	{
		members_read(in, path, object, grant_rules, GRANT_KEYS, &members);
		if (members.values[GRANT_AMOUNT] == NULL)
			problem_add(in, path, "needs an amount");
		else
		{
			jsonout_key(&in->out, "amount");
			inspect_amount(in, members.paths[GRANT_AMOUNT], members.values[GRANT_AMOUNT], false);
		}
		jsonout_key(&in->out, "type");
		inspect_word(in, members.paths[GRANT_TYPE], members.values[GRANT_TYPE], types);
		if (members.values[GRANT_PRIORITY] != NULL)
		{
			jsonout_key(&in->out, "priority");
			inspect_whole(in, members.paths[GRANT_PRIORITY], members.values[GRANT_PRIORITY], 0, 100);
		}
		inspect_grant_end(in, &members);
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Check the length of a cap's window and push it.
 */
static void
inspect_window(Inspection *in, const char *path, const JsonbValue *value)
{
	const char *length = value->type == jbvString ? value_text(value) : "";
	Interval	interval;

	if (!text_to_interval(length, &interval) || !cap_length_is_valid(&interval))
		problem_add(in, path, "must be a length of time from \"1 minute\" to \"1 year\", such as \"5 hours\"");
	jsonout_text(&in->out, length);
}

/*
 * Check the model of a cap and push it.
 */
static void
inspect_cap_model(Inspection *in, const char *path, const JsonbValue *value)
{
	char	   *model = value->type == jbvString ? value_text(value) : "";

	if (model[0] == '\0' || strlen(model) > NAME_MAX_BYTES)
		problem_add(in, path, "must be a text of 1 to %d bytes", NAME_MAX_BYTES);
	jsonout_text(&in->out, model);
}

/*
 * Check a cap's type, and that it has a window's length where it needs one, and
 * push both.
 */
static void
inspect_cap_type(Inspection *in, const char *path, const Members *members)
{
	const JsonbValue *window = members->values[CAP_WINDOW];
	int			type;
	bool		windowed;

	if (members->values[CAP_TYPE] == NULL)
	{
		problem_add(in, path, "needs a cap_type");
		return;
	}
	jsonout_key(&in->out, "cap_type");
	type = word_find(cap_kinds, inspect_word(in, members->paths[CAP_TYPE], members->values[CAP_TYPE], cap_kinds));
	windowed = type >= 0 && cap_has_length((CapKind) type);
	if (windowed && window == NULL)
		problem_add(in, path, "needs a window_length");
	if (!windowed && window != NULL)
		problem_add(in, members->paths[CAP_WINDOW], "is for session and sliding caps");
	if (window == NULL)
		return;
	jsonout_key(&in->out, "window_length");
	inspect_window(in, members->paths[CAP_WINDOW], window);
}

/*
 * Check a spend cap of a plan and push it.
 */
static void
inspect_cap(Inspection *in, const char *path, const JsonbValue *value)
{
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};

	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
	{
		members_read(in, path, object, cap_rules, CAP_KEYS, &members);
		inspect_cap_type(in, path, &members);
		if (members.values[CAP_LIMIT] == NULL)
			problem_add(in, path, "needs a cap_limit");
		else
		{
			jsonout_key(&in->out, "cap_limit");
			inspect_amount(in, members.paths[CAP_LIMIT], members.values[CAP_LIMIT], true);
		}
		jsonout_key(&in->out, "action");
		inspect_word(in, members.paths[CAP_ACTION], members.values[CAP_ACTION], cap_actions + CAP_DENY);
		if (members.values[CAP_MODEL] != NULL)
		{
			jsonout_key(&in->out, "model");
			inspect_cap_model(in, members.paths[CAP_MODEL], members.values[CAP_MODEL]);
		}
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}

/*
 * Tell whether two caps have the same text under a key, or none of them any.
 */
static bool
member_is_same(JsonbContainer *one, JsonbContainer *other, KeyRule rule)
{
	const char *texts[2] = {"", ""};

	for (int i = 0; i < MAX_SPELLINGS && rule[i] != NULL; i++)
		for (int j = 0; j < lengthof(texts); j++)
		{
			JsonbValue	value;

			if (getKeyJsonValueFromContainer(j == 0 ? one : other, rule[i], (int) strlen(rule[i]), &value) != NULL &&
				value.type == jbvString)
				texts[j] = value_text(&value);
		}
	return strcmp(texts[0], texts[1]) == 0;
}

/*
 * Tell whether two elements are caps of the same type and model.
 */
static bool
cap_is_same(const JsonbValue *one, const JsonbValue *other)
{
	if (one->type != jbvBinary || other->type != jbvBinary || !JsonContainerIsObject(one->val.binary.data) ||
		!JsonContainerIsObject(other->val.binary.data))
		return false;
	return member_is_same(one->val.binary.data, other->val.binary.data, cap_rules[CAP_TYPE]) &&
		member_is_same(one->val.binary.data, other->val.binary.data, cap_rules[CAP_MODEL]);
}

/*
 * Check that no two caps of a plan are of the same type and model.
 */
static void
inspect_cap_twice(Inspection *in, const char *path, const JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	int			n = Min((int) JsonContainerSize(array), MAX_PLAN_CAPS);

	for (int i = 1; i < n; i++)
	{
		JsonbValue *cap = getIthJsonbValueFromContainer(array, i);
		int			j = 0;

		while (j < i && !cap_is_same(cap, getIthJsonbValueFromContainer(array, j)))
			j++;
		if (j < i)
			problem_add(in, psprintf("%s/%d", path, i), "is a cap of the type and model of another one");
	}
}

/*
 * inspect_cycle checks the length of a plan's cycles and pushes it.
 */
void
inspect_cycle(Inspection *in, const char *path, const JsonbValue *value)
{
	static const char *const words[] = {"month", "week", "day", "year", NULL};

	inspect_word(in, path, value, words);
}

/*
 * inspect_grants checks what a plan gives with each cycle and pushes it.
 */
void
inspect_grants(Inspection *in, const char *path, const JsonbValue *value)
{
	inspect_array(in, path, value, MAX_CYCLE_GRANTS, inspect_grant);
}

/*
 * inspect_caps checks the spend caps of everybody on a plan and pushes them.
 */
void
inspect_caps(Inspection *in, const char *path, const JsonbValue *value)
{
	inspect_array(in, path, value, MAX_PLAN_CAPS, inspect_cap);
	if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
		inspect_cap_twice(in, path, value);
}
