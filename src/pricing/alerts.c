/*
 * alerts.c
 *		Checks the lines of a pricing configuration, or of one of its plans, at
 *		which something is to be told, and makes their normal form.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "account/alertline.h"
#include "base/inspect.h"
#include "pricing/pricing.h"

enum
{
	ALERT_BALANCE, ALERT_ALLOWANCE, ALERT_CAP, ALERT_EXPIRING, ALERT_KEYS
};

static KeyRule alert_rules[ALERT_KEYS] = {
	{"balance"}, {"allowance_percent", "allowancePercent"}, {"cap_percent", "capPercent"}, {"expiring_days", "expiringDays"}
};

/*
 * Check a whole number within bounds and push it as a value or an element.
 */
static void
inspect_whole(Inspection *in, const char *path, const JsonbValue *value, int low, int high, JsonbIteratorToken token)
{
	JsonbValue	whole = {.type = jbvNumeric, .val.numeric = int64_to_numeric(low)};
	Numeric		number;
	Datum		floor;

	if (value_number(in, path, value, &number))
	{
		floor = DirectFunctionCall1(numeric_floor, NumericGetDatum(number));
		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, floor, NumericGetDatum(number))) ||
			DatumGetBool(DirectFunctionCall2(numeric_lt, floor, NumericGetDatum(int64_to_numeric(low)))) ||
			DatumGetBool(DirectFunctionCall2(numeric_gt, floor, NumericGetDatum(int64_to_numeric(high)))))
			problem_add(in, path, "must be a whole number from %d to %d", low, high);
		else
			whole.val.numeric = int64_to_numeric(DatumGetInt32(DirectFunctionCall1(numeric_int4, floor)));
	}
	jsonout_push(&in->out, token, &whole);
}

/*
 * Check a line, of a balance or in percent, and push it.
 */
static void
inspect_line(Inspection *in, const char *path, const JsonbValue *value, bool percent)
{
	JsonbValue	line = {.type = jbvNumeric};
	Money		amount = 0;

	if (percent)
	{
		inspect_whole(in, path, value, 1, MAX_PERCENT, WJB_ELEM);
		return;
	}
	(void) value_money(in, path, value, 0, &amount);
	line.val.numeric = DatumGetNumeric(money_to_datum(amount));
	jsonout_push(&in->out, WJB_ELEM, &line);
}

/*
 * Check a list of lines and push it.
 */
static void
inspect_lines(Inspection *in, const char *path, const JsonbValue *value, bool percent)
{
	JsonbIterator *it;
	JsonbValue	element;
	int			n = 0;

	jsonout_push(&in->out, WJB_BEGIN_ARRAY, NULL);
	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		problem_add(in, path, "must be an array of numbers");
	else if (JsonContainerSize(value->val.binary.data) > MAX_LINES)
		problem_add(in, path, "has more than %d lines", MAX_LINES);
	else
	{
		it = JsonbIteratorInit(value->val.binary.data);
		(void) JsonbIteratorNext(&it, &element, true);
		while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
			inspect_line(in, psprintf("%s/%d", path, n++), &element, percent);
	}
	jsonout_push(&in->out, WJB_END_ARRAY, NULL);
}

/*
 * inspect_alert_lines checks at which lines something is to be told and pushes
 * them.
 */
void
inspect_alert_lines(Inspection *in, const char *path, const JsonbValue *value)
{
	static const char *const names[ALERT_EXPIRING] = {"balance", "allowance_percent", "cap_percent"};
	JsonbContainer *object = value_object(in, path, value);
	Members		members = {0};

	jsonout_push(&in->out, WJB_BEGIN_OBJECT, NULL);
	if (object != NULL)
		members_read(in, path, object, alert_rules, ALERT_KEYS, &members);
	for (int i = 0; i < ALERT_EXPIRING; i++)
	{
		if (members.values[i] == NULL)
			continue;
		jsonout_key(&in->out, names[i]);
		inspect_lines(in, members.paths[i], members.values[i], i != ALERT_BALANCE);
	}
	if (members.values[ALERT_EXPIRING] != NULL)
	{
		jsonout_key(&in->out, "expiring_days");
		inspect_whole(in, members.paths[ALERT_EXPIRING], members.values[ALERT_EXPIRING], 0, MAX_EXPIRING_DAYS, WJB_VALUE);
	}
	jsonout_push(&in->out, WJB_END_OBJECT, NULL);
}
