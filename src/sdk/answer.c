/*
 * answer.c
 *		What the doors and answers that the SDKs know have in common.
 *
 *		A rejection is an object with "error" here, whatever ducto.rejections is,
 *		and so is an amount that the engine would refuse with an SQL error. Money
 *		goes as text.
 */
#include "postgres.h"

#include <ctype.h>

#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "base/uuid.h"
#include "sdk/answer.h"

/*
 * Return what the clients call a rejection.
 */
static const char *
sdk_error(Rejection rejection)
{
	switch (rejection)
	{
		case RESERVATION_NOT_FOUND:
		case RESERVATION_CLOSED:
			return "lease_not_found";
		case RESERVATION_EXPIRED:
			return "lease_expired";
		case TRANSACTION_NOT_FOUND:
			return "not_found";
		case NOT_REFUNDABLE:
			return "over_refund";
		default:
			return rejection_code(rejection);
	}
}

/*
 * put_text appends a text, null for NULL.
 */
void
put_text(JsonOut *out, const char *key, const char *text)
{
	JsonbValue	null = {.type = jbvNull};

	jsonout_key(out, key);
	if (text != NULL)
		jsonout_text(out, text);
	else
		jsonout_push(out, WJB_VALUE, &null);
}

/*
 * put_money appends an amount.
 */
void
put_money(JsonOut *out, const char *key, Money amount)
{
	put_text(out, key, money_to_cstring(amount));
}

/*
 * figure_text returns a numeric as the clients know it.
 */
char *
figure_text(Datum value)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, value));
}

/*
 * put_figure appends a numeric, as text too.
 */
void
put_figure(JsonOut *out, const char *key, Datum value)
{
	put_text(out, key, figure_text(value));
}

/*
 * put_uuid appends an id, null for NULL.
 */
void
put_uuid(JsonOut *out, const char *key, const pg_uuid_t *id)
{
	put_text(out, key, id != NULL ? uuid_to_cstring(id) : NULL);
}

/*
 * put_bool appends a truth.
 */
void
put_bool(JsonOut *out, const char *key, bool truth)
{
	JsonbValue	value = {.type = jbvBool, .val.boolean = truth};

	jsonout_key(out, key);
	jsonout_push(out, WJB_VALUE, &value);
}

/*
 * put_int appends a number.
 */
void
put_int(JsonOut *out, const char *key, int64 value)
{
	jsonout_key(out, key);
	jsonout_numeric(out, int64_to_numeric(value));
}

/*
 * time_text returns a time as jsonb has times.
 */
char *
time_text(TimestampTz time)
{
	return JsonEncodeDateTime(palloc(MAXDATELEN + 1), TimestampTzGetDatum(time), TIMESTAMPTZOID, NULL);
}

/*
 * put_time appends a time.
 */
void
put_time(JsonOut *out, const char *key, TimestampTz time)
{
	put_text(out, key, time_text(time));
}

/*
 * put_date appends a date, as jsonb has dates.
 */
void
put_date(JsonOut *out, const char *key, DateADT date)
{
	put_text(out, key, JsonEncodeDateTime(palloc(MAXDATELEN + 1), DateADTGetDatum(date), DATEOID, NULL));
}

/*
 * put_object appends an object, empty for NULL.
 */
void
put_object(JsonOut *out, const char *key, Jsonb *object)
{
	JsonbValue	value;

	jsonout_key(out, key);
	if (object == NULL)
	{
		jsonout_push(out, WJB_BEGIN_OBJECT, NULL);
		jsonout_push(out, WJB_END_OBJECT, NULL);
		return;
	}
	value.type = jbvBinary;
	value.val.binary.data = &object->root;
	value.val.binary.len = VARSIZE(object) - VARHDRSZ;
	jsonout_push(out, WJB_VALUE, &value);
}

/*
 * put_plan appends the id by which the SDKs know a plan, null for none.
 */
void
put_plan(JsonOut *out, const char *plan_id)
{
	pg_uuid_t	id;

	if (plan_id != NULL)
		sdk_plan_id(plan_id, &id);
	put_uuid(out, "plan_id", plan_id != NULL ? &id : NULL);
}

/*
 * sdk_begin begins an answer. False: it is a rejection, and the answer says so.
 */
bool
sdk_begin(JsonOut *out, Rejection rejection)
{
	jsonout_push(out, WJB_BEGIN_OBJECT, NULL);
	if (rejection != ACCEPTED)
		put_text(out, "error", sdk_error(rejection));
	return rejection == ACCEPTED;
}

/*
 * sdk_answer ends the object and returns it in the memory of SPI's caller.
 */
Datum
sdk_answer(JsonOut *out)
{
	Jsonb	   *made = jsonout_end(out);
	Jsonb	   *answer = SPI_palloc(VARSIZE(made));

	memcpy(answer, made, VARSIZE(made));
	return JsonbPGetDatum(answer);
}

/*
 * Tell whether a numeric is 0 itself, and not only rounded to it.
 */
static bool
is_zero(Datum value)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq, value, NumericGetDatum(int64_to_numeric(0))));
}

/*
 * sdk_amount reads an amount. False: it is none, or has not the sign that it
 * must have, and the answer says so.
 */
bool
sdk_amount(FunctionCallInfo fcinfo, int n, SdkSign sign, Money *amount, Datum *answer)
{
	JsonOut		out = {0};

	if (!PG_ARGISNULL(n) && money_round(PG_GETARG_NUMERIC(n), amount))
	{
		if (*amount > 0 || (*amount < 0 && sign == SDK_ANY))
			return true;
		/* what is rounded to 0 is none */
		if (*amount == 0 && sign != SDK_POSITIVE && is_zero(PG_GETARG_DATUM(n)))
			return true;
	}
	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	put_text(&out, "error", "invalid_amount");
	put_text(&out, "amount", PG_ARGISNULL(n) ? NULL : figure_text(PG_GETARG_DATUM(n)));
	*answer = JsonbPGetDatum(jsonout_end(&out));
	return false;
}

/*
 * sdk_member returns a member of an object as ->> does; NULL when there is
 * none, or no object.
 */
char *
sdk_member(Jsonb *object, const char *name)
{
	JsonbValue	value;
	Jsonb	   *member;

	if (object == NULL || getKeyJsonValueFromContainer(&object->root, name, (int) strlen(name), &value) == NULL ||
		value.type == jbvNull)
		return NULL;
	if (value.type == jbvString)
		return pnstrdup(value.val.string.val, value.val.string.len);
	member = JsonbValueToJsonb(&value);
	return JsonbToCString(NULL, &member->root, VARSIZE(member));
}

/*
 * sdk_uuid reads a uuid; false when it is none, or NULL.
 */
bool
sdk_uuid(const char *text, Datum *id)
{
	if (text == NULL || strlen(text) != strlen("00000000-0000-0000-0000-000000000000"))
		return false;
	for (int i = 0; text[i] != '\0'; i++)
		if ((i == 8 || i == 13 || i == 18 || i == 23) ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	*id = DirectFunctionCall1(uuid_in, CStringGetDatum(text));
	return true;
}
