/*
 * elements.c
 *		The door of functions that take many at once: reads an array of JSON
 *		objects, whose fields become arguments and are checked as such.
 *
 *		A field that is null or not there is NULL; one of another name is an
 *		error. Amounts may be texts too, for languages whose numbers lose
 *		digits: both are rounded once, by arg_money. Identifiers and times are
 *		texts, as JSON has neither.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "base/elements.h"

/*
 * Return a JSON value as messages show it.
 */
static char *
value_shown(JsonbValue *value)
{
	Jsonb	   *json = JsonbValueToJsonb(value);

	return text_shortened(JsonbToCString(NULL, &json->root, VARSIZE(json)));
}

/*
 * Raise the error for the value of a field that is not of its type.
 */
pg_noreturn static void
field_reject(const Field *field, JsonbValue *value, const char *expected)
{
	arg_reject(field->name, value_shown(value), psprintf("\"%s\" must be %s.", field->name, expected));
}

/*
 * Return a value that must be a text.
 */
static char *
value_text(const Field *field, JsonbValue *value, const char *expected)
{
	if (value->type != jbvString)
		field_reject(field, value, expected);
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * Skip digits and count them.
 */
static int
skip_digits(const char **text)
{
	const char *begin = *text;

	while (isdigit((unsigned char) **text))
		(*text)++;
	return (int) (*text - begin);
}

/*
 * Tell whether a text is a number as JSON or a sign may have it, with an
 * exponent of four digits at most.
 */
static bool
is_number(const char *text)
{
	int			digits;

	if (*text == '-' || *text == '+')
		text++;
	digits = skip_digits(&text);
	if (*text == '.')
	{
		text++;
		digits += skip_digits(&text);
	}
	if (digits == 0 || digits > 255)
		return false;
	if (*text == 'e' || *text == 'E')
	{
		text++;
		if (*text == '-' || *text == '+')
			text++;
		digits = skip_digits(&text);
		if (digits == 0 || digits > 4)
			return false;
	}
	return *text == '\0';
}

/*
 * Read an amount: a number, or a text of one.
 */
static Datum
field_numeric(const Field *field, JsonbValue *value)
{
	char	   *text;

	if (value->type == jbvNumeric)
		return NumericGetDatum(value->val.numeric);
	text = value_text(field, value, "a number");
	if (!is_number(text))
		field_reject(field, value, "a number");
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/*
 * Read an integer.
 */
static Datum
field_integer(const Field *field, JsonbValue *value)
{
	Datum		number;
	Datum		trunc;

	if (value->type != jbvNumeric)
		field_reject(field, value, "an integer");
	number = NumericGetDatum(value->val.numeric);
	trunc = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, number, trunc)) ||
		DatumGetBool(DirectFunctionCall2(numeric_gt, number, NumericGetDatum(int64_to_numeric(PG_INT32_MAX)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number, NumericGetDatum(int64_to_numeric(PG_INT32_MIN)))))
		field_reject(field, value, "an integer");
	return DirectFunctionCall1(numeric_int4, number);
}

/*
 * Return the value of a hexadecimal digit, -1 for none.
 */
static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char) tolower((unsigned char) c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Read the digits of an identifier in any of the forms that PostgreSQL takes:
 * with or without braces, and a hyphen after any four of them. False: it is none.
 */
static bool
uuid_parse(const char *text, pg_uuid_t *uuid)
{
	bool		braces = *text == '{';

	text += braces ? 1 : 0;
	for (int i = 0; i < UUID_LEN; i++)
	{
		int			high = hex_value(text[0]);
		int			low = high >= 0 ? hex_value(text[1]) : -1;

		if (low < 0)
			return false;
		uuid->data[i] = (unsigned char) (high * 16 + low);
		text += 2;
		if (*text == '-' && i % 2 == 1 && i < UUID_LEN - 1)
			text++;
	}
	return strcmp(text, braces ? "}" : "") == 0;
}

/*
 * Read an identifier.
 */
static Datum
field_uuid(const Field *field, JsonbValue *value)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));
	char	   *text = value_text(field, value, "a uuid");

	if (!uuid_parse(text, uuid))
		field_reject(field, value, "a uuid");
	pfree(text);
	return UUIDPGetDatum(uuid);
}

/*
 * Take a time apart. False: it is none.
 */
static bool
time_decode(const char *text, int *type, struct pg_tm *tm, fsec_t *fsec, int *zone)
{
	char		buffer[MAXDATELEN + MAXDATEFIELDS];
	char	   *fields[MAXDATEFIELDS];
	int			types[MAXDATEFIELDS];
	int			n;
#if PG_VERSION_NUM >= 160000
	DateTimeErrorExtra extra;
#endif

	if (ParseDateTime(text, buffer, sizeof(buffer), fields, types, MAXDATEFIELDS, &n) != 0)
		return false;
#if PG_VERSION_NUM >= 160000
	return DecodeDateTime(fields, types, n, type, tm, fsec, zone, &extra) == 0;
#else
	return DecodeDateTime(fields, types, n, type, tm, fsec, zone) == 0;
#endif
}

/*
 * Read a time in any of the forms that PostgreSQL takes, as the session's
 * settings have it. False: it is none.
 */
static bool
time_parse(const char *text, TimestampTz *time)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			type;
	int			zone;

	if (!time_decode(text, &type, &tm, &fsec, &zone))
		return false;
	switch (type)
	{
		case DTK_DATE:
			return tm2timestamp(&tm, fsec, &zone, time) == 0;
		case DTK_EPOCH:
			*time = SetEpochTimestamp();
			return true;
		case DTK_LATE:
			TIMESTAMP_NOEND(*time);
			return true;
		case DTK_EARLY:
			TIMESTAMP_NOBEGIN(*time);
			return true;
		default:
			return false;
	}
}

/*
 * Read a time.
 */
static Datum
field_time(const Field *field, JsonbValue *value)
{
	TimestampTz time;

	if (!time_parse(value_text(field, value, "a time"), &time))
		field_reject(field, value, "a time");
	return TimestampTzGetDatum(time);
}

/*
 * Make the value of a field an argument.
 */
static Datum
field_datum(const Field *field, JsonbValue *value)
{
	switch (field->type)
	{
		case UUIDOID:
			return field_uuid(field, value);
		case NUMERICOID:
			return field_numeric(field, value);
		case INT4OID:
			return field_integer(field, value);
		case TIMESTAMPTZOID:
			return field_time(field, value);
		case TEXTOID:
			if (value->type != jbvString)
				field_reject(field, value, "a text");
			return PointerGetDatum(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
		case BOOLOID:
			if (value->type != jbvBool)
				field_reject(field, value, "true or false");
			return BoolGetDatum(value->val.boolean);
		default:
			Assert(field->type == JSONBOID);
			return JsonbPGetDatum(JsonbValueToJsonb(value));
	}
}

/*
 * Raise the error for a field that elements do not have.
 */
pg_noreturn static void
field_unknown(const Elements *elements, const JsonbValue *key)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < elements->nfields; i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : i < elements->nfields - 1 ? ", " : " and ", elements->fields[i].name);
	arg_reject(text_shortened(pnstrdup(key->val.string.val, key->val.string.len)), "unknown field",
			   psprintf("An element may have %s.", names.data));
}

/*
 * Find the field of a name.
 */
static int
field_find(const Elements *elements, const JsonbValue *key)
{
	for (int i = 0; i < elements->nfields; i++)
		if (strlen(elements->fields[i].name) == key->val.string.len &&
			memcmp(elements->fields[i].name, key->val.string.val, key->val.string.len) == 0)
			return i;
	field_unknown(elements, key);
}

/* What a thousand elements need is less than twice as much. */
#define KEPT_BYTES	(2 * 1024 * 1024)

/*
 * Let the process keep the memory of one array for the next. The C library
 * gives back to the system what is free at the end of its heap, where that is
 * more than twice the largest piece that was ever freed by itself, and the system
 * clears each page before it gives it again. A piece that nobody has written to
 * costs nothing.
 */
static void
memory_keep(void)
{
	static bool kept = false;

	if (!kept)
		pfree(palloc(KEPT_BYTES));
	kept = true;
}

/*
 * elements_begin starts to read a required array of objects.
 */
void
elements_begin(Elements *elements, FunctionCallInfo fcinfo, int n, const char *name, const Field *fields)
{
	Jsonb	   *json;

	arg_require(fcinfo, n, name);
	json = PG_GETARG_JSONB_P(n);
	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		arg_reject(name, JsonbToCString(NULL, &json->root, VARSIZE(json)),
				   psprintf("\"%s\" must be a JSON array of objects.", name));
	memset(elements, 0, sizeof(Elements));
	elements->argument = name;
	elements->array = &json->root;
	elements->n = JsonContainerSize(elements->array);
	if (elements->n > ELEMENTS_MAX)
		arg_reject(name, psprintf("an array of %d elements", elements->n),
				   psprintf("\"%s\" must have %d elements at most: make several calls.", name, ELEMENTS_MAX));
	memory_keep();
	elements->fields = fields;
	while (fields[elements->nfields].name != NULL)
		elements->nfields++;
	elements->args = palloc0(SizeForFunctionCallInfo(elements->nfields));
	elements->args->nargs = (short) elements->nfields;
}

/*
 * elements_enter reads an element, from 0, and returns its fields as arguments:
 * errors for them name its place until elements_leave.
 */
FunctionCallInfo
elements_enter(Elements *elements, int i)
{
	JsonbValue *element = getIthJsonbValueFromContainer(elements->array, i);
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		arg_reject_at(elements->argument, psprintf("/%d", i), value_shown(element), "It must be an object.");
	for (int field = 0; field < elements->nfields; field++)
		elements->args->args[field].isnull = true;
	element_enter(&elements->scope, elements->argument, i);
	it = JsonbIteratorInit(element->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		int			field = field_find(elements, &key);

		(void) JsonbIteratorNext(&it, &value, true);
		elements->args->args[field].isnull = value.type == jbvNull;
		if (value.type != jbvNull)
			elements->args->args[field].value = field_datum(&elements->fields[field], &value);
	}
	return elements->args;
}

/*
 * elements_leave ends the reading of an element.
 */
void
elements_leave(const Elements *elements)
{
	element_leave(&elements->scope);
}
