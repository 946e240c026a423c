/*
 * inspect.c
 *		Reads a JSON configuration that may have mistakes: notes all of its
 *		problems, each with its place.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/inspect.h"

/*
 * problem_add notes a problem.
 */
void
problem_add(Inspection *in, const char *path, const char *format,...)
{
	Problem *problem = palloc(sizeof(Problem));
	StringInfoData text;
	int			needed = 1;

	initStringInfo(&text);
	while (needed > 0)
	{
		va_list		ap;

		va_start(ap, format);
		needed = appendStringInfoVA(&text, format, ap);
		va_end(ap);
		if (needed > 0)
			enlargeStringInfo(&text, needed);
	}
	problem->path = pstrdup(path);
	problem->problem = text.data;
	in->problems = lappend(in->problems, problem);
}

/*
 * value_text returns a string value's text.
 */
char *
value_text(const JsonbValue *value)
{
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/*
 * value_object returns the object that a value is; NULL, and a problem, when it
 * is none.
 */
JsonbContainer *
value_object(Inspection *in, const char *path, const JsonbValue *value)
{
	if (value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data))
		return value->val.binary.data;
	problem_add(in, path, "must be an object");
	return NULL;
}

/*
 * Tell whether a text is a plain decimal, of a size that can be read.
 */
static bool
text_is_decimal(const char *text)
{
	const char *p = text;
	int			digits = 0;

	if (*p == '-' || *p == '+')
		p++;
	for (; isdigit((unsigned char) *p); p++)
		digits++;
	if (*p == '.')
		for (p++; isdigit((unsigned char) *p); p++)
			digits++;
	if (digits == 0 || digits > 1000)
		return false;
	if (*p == 'e' || *p == 'E')
	{
		int			exponent = 0;

		p++;
		if (*p == '-' || *p == '+')
			p++;
		if (!isdigit((unsigned char) *p))
			return false;
		for (; isdigit((unsigned char) *p); p++)
			exponent = Min(exponent * 10 + (*p - '0'), 10000);
		if (exponent > 1000)
			return false;
	}
	return *p == '\0';
}

/*
 * value_number reads a number, given as a number or as a decimal string; false,
 * and a problem, when it is none.
 */
bool
value_number(Inspection *in, const char *path, const JsonbValue *value, Numeric *number)
{
	if (value->type == jbvNumeric)
		*number = value->val.numeric;
	else if (value->type == jbvString && text_is_decimal(value_text(value)))
		*number = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(value_text(value)),
													  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	else
	{
		problem_add(in, path, "must be a number");
		return false;
	}
	return true;
}

/*
 * value_money reads an amount of money, rounded to four decimals; sign -1
 * stands for 0 or less, 1 for 0 or more. False, and a problem, when it is none.
 */
bool
value_money(Inspection *in, const char *path, const JsonbValue *value, int sign, Money *amount)
{
	Numeric		number;

	if (!value_number(in, path, value, &number))
		return false;
	if (!money_round(number, amount))
		problem_add(in, path, "must be at most 99999999999999.9999 in magnitude");
	else
	{
		if (*amount * sign < 0)
			problem_add(in, path, sign > 0 ? "must be 0 or greater" : "must be 0 or less");
		else if (*amount == 0 && !DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(number), money_to_datum(0))))
			problem_add(in, path, "must not round to 0.0000: amounts have four decimals");
		else
			return true;
	}
	return false;
}

/*
 * members_read sorts the members of an object by its rules; every key that has
 * none, or is there in two spellings, is a problem.
 */
void
members_read(Inspection *in, const char *path, JsonbContainer *object, KeyRule *rules, int nrules,
			 Members *members)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbValue	key;

	memset(members, 0, sizeof(Members));
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = value_text(&key);
		char	   *member_path = path_member(path, name);
		JsonbValue *value = palloc(sizeof(JsonbValue));
		int			rule = -1;

		(void) JsonbIteratorNext(&it, value, true);
		for (int i = 0; i < nrules && rule < 0; i++)
			for (int j = 0; j < MAX_SPELLINGS && rules[i][j] != NULL; j++)
				if (strcmp(name, rules[i][j]) == 0)
					rule = i;
		if (rule < 0)
			problem_add(in, member_path, "unknown key");
		else if (members->paths[rule] != NULL)
			problem_add(in, member_path, "is another spelling of %s, which is given too", members->paths[rule]);
		else
		{
			members->paths[rule] = member_path;
			members->values[rule] = value->type == jbvNull ? NULL : value;
		}
	}
}
