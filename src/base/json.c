/*
 * json.c
 *		Makes a jsonb object, member by member.
 */
#include "postgres.h"

#include "base/json.h"

/*
 * Push a text.
 */
static void
push_string(JsonOut *out, JsonbIteratorToken token, const char *text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = (char *) text;
	value.val.string.len = (int) strlen(text);
	jsonout_push(out, token, &value);
}

/*
 * jsonout_push adds a value, or the begin or end of an object.
 */
void
jsonout_push(JsonOut *out, JsonbIteratorToken token, JsonbValue *value)
{
#if PG_VERSION_NUM >= 190000
	pushJsonbValue(out, token, value);
#else
	out->result = pushJsonbValue(&out->parseState, token, value);
#endif
}

/*
 * jsonout_key adds a key. It must live until the end.
 */
void
jsonout_key(JsonOut *out, const char *key)
{
	push_string(out, WJB_KEY, key);
}

/*
 * jsonout_text adds a text. It must live until the end.
 */
void
jsonout_text(JsonOut *out, const char *text)
{
	push_string(out, WJB_VALUE, text);
}

/*
 * jsonout_element adds a text to an array. It must live until the end.
 */
void
jsonout_element(JsonOut *out, const char *text)
{
	push_string(out, WJB_ELEM, text);
}

/*
 * jsonout_numeric adds a number.
 */
void
jsonout_numeric(JsonOut *out, Numeric number)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = number;
	jsonout_push(out, WJB_VALUE, &value);
}

/*
 * jsonout_end ends the outermost object and returns it.
 */
Jsonb *
jsonout_end(JsonOut *out)
{
	jsonout_push(out, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(out->result);
}
