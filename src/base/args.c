/*
 * args.c
 *		The door: arguments are checked here, and nothing behind it sees a
 *		datum that was not.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "base/args.h"
#include "base/json.h"

#define TEXT_MAX_BYTES	255
#define SHOWN_BYTES		100

/*
 * Tell errors of which the fields are not the cause what they are about.
 */
static void
element_context(void *arg)
{
	const ElementScope *scope = arg;

	if (!scope->told)
		errcontext("element %d of argument \"%s\"", scope->element, scope->argument);
}

/* Where the elements of an array are in the one that they were taken from; NULL: where they are. */
static const int32 *numbers_now = NULL;

/*
 * element_numbers lets elements have other places in errors than they have,
 * NULL for their own, and returns those of before.
 */
const int32 *
element_numbers(const int32 *numbers)
{
	const int32 *before = numbers_now;

	numbers_now = numbers;
	return before;
}

/*
 * element_enter lets arguments be the fields of an element of an array until
 * element_leave: errors name its place.
 */
void
element_enter(ElementScope *scope, const char *argument, int element)
{
	scope->argument = argument;
	scope->element = numbers_now != NULL ? numbers_now[element] : element;
	scope->told = false;
	scope->callback.callback = element_context;
	scope->callback.arg = scope;
	scope->callback.previous = error_context_stack;
	error_context_stack = &scope->callback;
}

/*
 * element_leave ends what element_enter began.
 */
void
element_leave(const ElementScope *scope)
{
	Assert(error_context_stack == &scope->callback);
	error_context_stack = scope->callback.previous;
}

/*
 * Return the element whose fields arguments are now, NULL for none.
 */
static ElementScope *
element_scope(void)
{
	for (ErrorContextCallback *context = error_context_stack; context != NULL; context = context->previous)
		if (context->callback == element_context)
			return context->arg;
	return NULL;
}

/*
 * Raise the error for a value at a place in an argument, which may be a field
 * of an element.
 */
pg_noreturn static void
reject(const char *name, const char *path, const char *value, const char *detail, const char *hint)
{
	ElementScope *scope = element_scope();

	if (scope != NULL)
	{
		path = psprintf("%s%s", path_member(psprintf("/%d", scope->element), name), path);
		name = scope->argument;
		scope->told = true;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for argument \"%s\": %s%s%s", name, path, path[0] != '\0' ? ": " : "", value),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("%s", hint)));
}

/*
 * arg_reject raises the error for an argument's value, with a hint that says
 * what is allowed.
 */
void
arg_reject(const char *name, const char *value, const char *hint)
{
	reject(name, "", text_shortened(value), NULL, hint);
}

/*
 * arg_reject_because raises the error for an argument's value as arg_reject does,
 * with a detail that says what is wrong with it.
 */
void
arg_reject_because(const char *name, const char *value, const char *detail, const char *hint)
{
	reject(name, "", text_shortened(value), detail, hint);
}

/*
 * path_member returns the JSON Pointer to a member; a key that is longer than any
 * name may be, not all of it.
 */
char *
path_member(const char *path, const char *key)
{
	StringInfoData pointer;
	int			len = (int) strlen(key);
	int			kept = pg_mbcliplen(key, len, TEXT_MAX_BYTES);

	initStringInfo(&pointer);
	appendStringInfo(&pointer, "%s/", path);
	for (int i = 0; i < kept; i++)
	{
		if (key[i] == '~')
			appendStringInfoString(&pointer, "~0");
		else if (key[i] == '/')
			appendStringInfoString(&pointer, "~1");
		else
			appendStringInfoChar(&pointer, key[i]);
	}
	if (kept < len)
		appendStringInfoString(&pointer, "...");
	return pointer.data;
}

/*
 * arg_reject_at raises the error for a place in a JSON argument, which a JSON
 * Pointer names, with a hint that says what is allowed.
 */
void
arg_reject_at(const char *name, const char *path, const char *problem, const char *hint)
{
	reject(name, path, problem, NULL, hint);
}

/*
 * arg_missing raises the error for an argument that is NULL and must not be,
 * with a hint. The field of an element is a wrong value of the array.
 */
void
arg_missing(const char *name, const char *detail, const char *hint)
{
	if (element_scope() != NULL)
		reject(name, "", "missing", detail, hint);
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" must not be null", name),
			 detail != NULL ? errdetail("%s", detail) : 0,
			 errhint("%s", hint)));
}

/*
 * arg_require rejects NULL for a required argument.
 */
void
arg_require(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		arg_missing(name, NULL, psprintf("Pass a value for \"%s\".", name));
}

/*
 * arg_uuid returns a required uuid.
 */
pg_uuid_t *
arg_uuid(FunctionCallInfo fcinfo, int n, const char *name)
{
	arg_require(fcinfo, n, name);
	return PG_GETARG_UUID_P(n);
}

/*
 * Return what is allowed for a sign, NULL when the amount complies.
 */
static const char *
sign_violation(Money amount, MoneySign sign)
{
	if (sign == MONEY_POSITIVE && amount <= 0)
		return "must be greater than 0";
	if (sign == MONEY_NOT_NEGATIVE && amount < 0)
		return "must be 0 or greater";
	if (sign == MONEY_NOT_POSITIVE && amount > 0)
		return "must be 0 or less";
	return NULL;
}

/*
 * arg_uuid_or_null returns an id that may be left out, NULL for none.
 */
pg_uuid_t *
arg_uuid_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : PG_GETARG_UUID_P(n);
}

/*
 * arg_ids returns a required argument: an array of ids of something, of which
 * none is NULL.
 */
ArrayType *
arg_ids(FunctionCallInfo fcinfo, int n, const char *name, const char *of)
{
	ArrayType  *ids;

	arg_require(fcinfo, n, name);
	ids = PG_GETARG_ARRAYTYPE_P(n);
	if (array_contains_nulls(ids))
		arg_reject(name, "an array with null", psprintf("\"%s\" must be ids of %s.", name, of));
	return ids;
}

/*
 * text_shortened shortens a value for a message.
 */
char *
text_shortened(const char *value)
{
	int			len = (int) strlen(value);
	int			kept = pg_mbcliplen(value, len, SHOWN_BYTES);

	return kept < len ? psprintf("%.*s...", kept, value) : pstrdup(value);
}

/*
 * numeric_shown returns a number as messages show it: one of a few letters, such
 * as 1e131071, may have a hundred thousand digits.
 */
char *
numeric_shown(Numeric value)
{
	return text_shortened(DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value))));
}

/*
 * arg_money returns a required amount, rounded to four decimals once, here.
 */
Money
arg_money(FunctionCallInfo fcinfo, int n, const char *name, MoneySign sign)
{
	Numeric		value;
	Money		amount;
	const char *violation;
	char	   *shown;

	arg_require(fcinfo, n, name);
	value = PG_GETARG_NUMERIC(n);
	if (element_scope() == NULL)
		amount = money_from_numeric(value, name);
	else if (!money_round(value, &amount))
		arg_reject(name, numeric_shown(value), MONEY_BOUNDS_HINT);
	violation = sign_violation(amount, sign);
	if (amount != 0 && violation == NULL)
		return amount;

	shown = numeric_shown(value);
	if (amount == 0 && strpbrk(shown, "123456789") != NULL)
		arg_reject(name, shown, psprintf("\"%s\" must not round to 0.0000: amounts have four decimals.", name));
	if (violation != NULL)
		arg_reject(name, shown, psprintf("\"%s\" %s.", name, violation));
	return amount;
}

/*
 * text_checked returns a text that must have 1 to 255 bytes, NULL for NULL.
 */
char *
text_checked(char *value, const char *name)
{
	size_t		len;

	if (value == NULL)
		return NULL;
	len = strlen(value);
	if (len == 0 || len > TEXT_MAX_BYTES)
		arg_reject(name, len == 0 ? "\"\"" : psprintf("a text of %zu bytes", len),
				   psprintf("\"%s\" must be 1 to %d bytes long.", name, TEXT_MAX_BYTES));
	return value;
}

/*
 * arg_text returns an optional text of 1 to 255 bytes, NULL for NULL.
 */
char *
arg_text(FunctionCallInfo fcinfo, int n, const char *name)
{
	return PG_ARGISNULL(n) ? NULL : text_checked(text_to_cstring(PG_GETARG_TEXT_PP(n)), name);
}

/*
 * arg_text_default returns an optional text, or its default.
 */
char *
arg_text_default(FunctionCallInfo fcinfo, int n, const char *name, const char *fallback)
{
	char	   *value = arg_text(fcinfo, n, name);

	return value != NULL ? value : pstrdup(fallback);
}

/*
 * arg_choice returns which of a list of words an argument is: the first for NULL.
 */
int
arg_choice(FunctionCallInfo fcinfo, int n, const char *name, Words words)
{
	char	   *value;
	int			choice;
	int			first = words[0] == NULL ? 1 : 0;
	StringInfoData allowed;

	if (PG_ARGISNULL(n))
		return 0;
	value = text_to_cstring(PG_GETARG_TEXT_PP(n));
	choice = word_find(words, value);
	if (choice >= 0)
		return choice;

	initStringInfo(&allowed);
	for (int i = first; words[i] != NULL; i++)
		appendStringInfo(&allowed, "%s%s", i == first ? "" : words[i + 1] != NULL ? ", " : " or ", words[i]);
	if (strlen(value) > TEXT_MAX_BYTES)
		value = psprintf("a text of %zu bytes", strlen(value));
	else
		value = psprintf("\"%s\"", value);
	arg_reject(name, value, psprintf("\"%s\" must be %s.", name, allowed.data));
}

/*
 * arg_metadata returns a JSON object, NULL for NULL, which stands for the
 * empty object.
 */
Jsonb *
arg_metadata(FunctionCallInfo fcinfo, int n, const char *name)
{
	Jsonb	   *value;

	if (PG_ARGISNULL(n))
		return NULL;
	value = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_OBJECT(value))
		arg_reject(name, JsonbToCString(NULL, &value->root, VARSIZE(value)),
				   psprintf("\"%s\" must be a JSON object.", name));
	return value;
}

/*
 * arg_metadata_and_reason returns a JSON object with the reason, a text, that
 * another argument gives; NULL for neither.
 */
Jsonb *
arg_metadata_and_reason(FunctionCallInfo fcinfo, int n, const char *name, int reason)
{
	Jsonb	   *object = arg_metadata(fcinfo, n, name);
	JsonOut		out = {0};
	Jsonb	   *with_reason;

	if (PG_ARGISNULL(reason))
		return object;
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	jsonout_key(&out, "reason");
	jsonout_text(&out, text_to_cstring(PG_GETARG_TEXT_PP(reason)));
	with_reason = jsonout_end(&out);
	if (object == NULL)
		return with_reason;
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(object), JsonbPGetDatum(with_reason)));
}

/*
 * arg_bool_default returns an optional boolean, or its default.
 */
bool
arg_bool_default(FunctionCallInfo fcinfo, int n, bool fallback)
{
	return PG_ARGISNULL(n) ? fallback : PG_GETARG_BOOL(n);
}

/*
 * arg_int_between returns an optional integer within bounds, or its default.
 */
int
arg_int_between(FunctionCallInfo fcinfo, int n, const char *name, int low, int high, int fallback)
{
	int			value;

	if (PG_ARGISNULL(n))
		return fallback;
	value = PG_GETARG_INT32(n);
	if (value < low || value > high)
		arg_reject(name, psprintf("%d", value),
				   high == PG_INT32_MAX ? psprintf("\"%s\" must be %d or greater.", name, low) :
				   psprintf("\"%s\" must be between %d and %d.", name, low, high));
	return value;
}

/*
 * arg_time returns a required finite time.
 */
TimestampTz
arg_time(FunctionCallInfo fcinfo, int n, const char *name)
{
	TimestampTz value;

	arg_require(fcinfo, n, name);
	value = PG_GETARG_TIMESTAMPTZ(n);
	if (TIMESTAMP_NOT_FINITE(value))
		arg_reject(name, TIMESTAMP_IS_NOBEGIN(value) ? "-infinity" : "infinity",
				   psprintf("\"%s\" must be a finite time.", name));
	return value;
}
