/*
 * place.c
 *		Reads a JSON argument member by member, and knows the place of each for
 *		its errors.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/place.h"

#define TEXT_MAX_BYTES	255
#define SHOWN_KEYS		12

/*
 * place_path returns the JSON Pointer to a place.
 */
char *
place_path(const Place *place)
{
	char	   *path;

	if (place->within == NULL)
		return "";
	path = place_path(place->within);
	return place->key != NULL ? path_member(path, place->key) : psprintf("%s/%d", path, place->element);
}

/*
 * place_reject raises the error for a place.
 */
void
place_reject(const Place *place, const char *problem)
{
	const Place *all = place;

	while (all->within != NULL)
		all = all->within;
	arg_reject_at(all->argument, place_path(place), problem, all->hint);
}

/*
 * place_keys lists the keys of an object, for a message.
 */
char *
place_keys(const Place *object)
{
	JsonbIterator *it = JsonbIteratorInit(object->container);
	JsonbValue	key;
	JsonbValue	value;
	StringInfoData list;
	int			n = 0;

	initStringInfo(&list);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY && n <= SHOWN_KEYS)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		appendStringInfoString(&list, n == 0 ? "" : ", ");
		if (n == SHOWN_KEYS || key.val.string.len > TEXT_MAX_BYTES)
			appendStringInfoString(&list, "...");
		else
			appendBinaryStringInfo(&list, key.val.string.val, key.val.string.len);
		n++;
	}
	return n == 0 ? "nothing" : list.data;
}

/*
 * place_member finds a member that is there and not null.
 */
bool
place_member(const Place *object, Names names, JsonbValue *value, Place *place)
{
	for (int i = 0; names[i] != NULL; i++)
	{
		if (getKeyJsonValueFromContainer(object->container, names[i], (int) strlen(names[i]), value) == NULL ||
			value->type == jbvNull)
			continue;
		place->within = object;
		place->key = names[i];
		place->container = value->type == jbvBinary ? value->val.binary.data : NULL;
		return true;
	}
	return false;
}

/*
 * place_has tells whether an object has a member that is not null.
 */
bool
place_has(const Place *object, Names names)
{
	JsonbValue	value;
	Place		place;

	return place_member(object, names, &value, &place);
}

/*
 * place_object finds a member that is an object.
 */
bool
place_object(const Place *object, Names names, Place *place)
{
	JsonbValue	value;

	if (!place_member(object, names, &value, place))
		return false;
	if (place->container == NULL || !JsonContainerIsObject(place->container))
		place_reject(place, "is not an object");
	return true;
}

/*
 * place_array finds a member that is an array. It returns how many elements
 * that has, 0 where it is not there.
 */
int
place_array(const Place *object, Names names, Place *place)
{
	JsonbValue	value;

	if (!place_member(object, names, &value, place))
		return 0;
	if (place->container == NULL || !JsonContainerIsArray(place->container))
		place_reject(place, "is not an array");
	return JsonContainerSize(place->container);
}

/*
 * place_element finds an element of an array, which must be an object.
 */
void
place_element(const Place *array, int n, Place *place)
{
	JsonbValue *value = getIthJsonbValueFromContainer(array->container, n);

	place->within = array;
	place->key = NULL;
	place->element = n;
	if (value == NULL || value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		place_reject(place, "is not an object");
	place->container = value->val.binary.data;
}

/*
 * place_text returns a member that is a text of at most 255 bytes, NULL where
 * it is not there or empty.
 */
char *
place_text(const Place *object, Names names)
{
	JsonbValue	value;
	Place		place;

	if (!place_member(object, names, &value, &place))
		return NULL;
	if (value.type != jbvString)
		place_reject(&place, "is not a text");
	if (value.val.string.len > TEXT_MAX_BYTES)
		place_reject(&place, psprintf("is a text of %d bytes, more than %d", value.val.string.len, TEXT_MAX_BYTES));
	return value.val.string.len > 0 ? pnstrdup(value.val.string.val, value.val.string.len) : NULL;
}

/*
 * place_number returns a member that is a number, 0 or greater, NULL where it
 * is not there.
 */
Numeric
place_number(const Place *object, Names names)
{
	JsonbValue	value;
	Place		place;
	Datum		number;

	if (!place_member(object, names, &value, &place))
		return NULL;
	if (value.type != jbvNumeric)
		place_reject(&place, "is not a number");
	number = NumericGetDatum(value.val.numeric);
	if (numeric_is_nan(value.val.numeric) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number, NumericGetDatum(int64_to_numeric(0)))))
		place_reject(&place, psprintf("is %s", numeric_shown(value.val.numeric)));
	return DatumGetNumeric(DirectFunctionCall1(numeric_uplus, number));
}
