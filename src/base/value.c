/*
 * value.c
 *		The parameters of a statement and the columns of a row, appended in their
 *		order.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"

#include "base/value.h"

/*
 * args_datum appends a value.
 */
void
args_datum(Values *args, Datum value)
{
	Assert(args->n < VALUES_MAX);
	args->values[args->n] = value;
	args->nulls[args->n] = false;
	args->n++;
}

/*
 * args_null appends a NULL.
 */
void
args_null(Values *args)
{
	args_datum(args, (Datum) 0);
	args->nulls[args->n - 1] = true;
}

/*
 * args_uuid appends a uuid, NULL for none.
 */
void
args_uuid(Values *args, const pg_uuid_t *value)
{
	if (value == NULL)
		args_null(args);
	else
		args_datum(args, UUIDPGetDatum(value));
}

/*
 * args_money appends an amount as numeric.
 */
void
args_money(Values *args, Money value)
{
	args_datum(args, money_to_datum(value));
}

/*
 * args_spend appends a sum as numeric.
 */
void
args_spend(Values *args, Spend value)
{
	args_datum(args, spend_to_datum(value));
}

/*
 * args_rest appends a rest of a price as numeric.
 */
void
args_rest(Values *args, Rest value)
{
	args_datum(args, rest_to_datum(value));
}

/*
 * args_text appends a text, NULL for none.
 */
void
args_text(Values *args, const char *value)
{
	if (value == NULL)
		args_null(args);
	else
		args_datum(args, CStringGetTextDatum(value));
}

/*
 * args_time appends a timestamp with time zone.
 */
void
args_time(Values *args, TimestampTz value)
{
	args_datum(args, TimestampTzGetDatum(value));
}

/*
 * args_time_or_null appends a timestamp with time zone, NULL for infinity.
 */
void
args_time_or_null(Values *args, TimestampTz value)
{
	if (TIMESTAMP_NOT_FINITE(value))
		args_null(args);
	else
		args_time(args, value);
}

/*
 * args_int8 appends a bigint.
 */
void
args_int8(Values *args, int64 value)
{
	args_datum(args, Int64GetDatum(value));
}

/*
 * args_int4 appends an integer.
 */
void
args_int4(Values *args, int32 value)
{
	args_datum(args, Int32GetDatum(value));
}

/*
 * args_bool appends a boolean.
 */
void
args_bool(Values *args, bool value)
{
	args_datum(args, BoolGetDatum(value));
}

/*
 * args_interval appends an interval, NULL for none.
 */
void
args_interval(Values *args, const Interval *value)
{
	if (value == NULL)
		args_null(args);
	else
		args_datum(args, IntervalPGetDatum(value));
}

/*
 * args_jsonb appends a JSON value, NULL for none.
 */
void
args_jsonb(Values *args, Jsonb *value)
{
	if (value == NULL)
		args_null(args);
	else
		args_datum(args, JsonbPGetDatum(value));
}

/*
 * args_metadata appends a JSON object, an empty one for NULL.
 */
void
args_metadata(Values *args, Jsonb *value)
{
	static Jsonb empty = {.root.header = JB_FOBJECT};

	SET_VARSIZE(&empty, sizeof(Jsonb));
	args_datum(args, value != NULL ? JsonbPGetDatum(value) : PointerGetDatum(&empty));
}

/*
 * args_money_array appends an array of amounts.
 */
void
args_money_array(Values *args, const Money *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = money_to_datum(values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, NUMERICOID, -1, false, TYPALIGN_INT)));
}

/*
 * args_uuid_array appends an array of uuids.
 */
void
args_uuid_array(Values *args, const pg_uuid_t *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = UUIDPGetDatum(&values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
}

/*
 * args_time_array appends an array of timestamps with time zone.
 */
void
args_time_array(Values *args, const TimestampTz *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = TimestampTzGetDatum(values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, TIMESTAMPTZOID, 8,
													 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/*
 * args_text_array appends an array of texts.
 */
void
args_text_array(Values *args, const char *const *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false, TYPALIGN_INT)));
}

/*
 * args_int4_array appends an array of integers.
 */
void
args_int4_array(Values *args, const int32 *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int32GetDatum(values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
}

/*
 * args_int8_array appends an array of bigints.
 */
void
args_int8_array(Values *args, const int64 *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(values[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, INT8OID, 8,
													 FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)));
}

/*
 * args_array appends an array of values of a type of variable length; a NULL
 * is one in the array.
 */
void
args_array(Values *args, Oid type, void *const *values, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	int			lower = 1;

	for (int i = 0; i < n; i++)
	{
		elements[i] = PointerGetDatum(values[i]);
		nulls[i] = values[i] == NULL;
	}
	args_datum(args, PointerGetDatum(construct_md_array(elements, nulls, 1, &n, &lower, type, -1, false, TYPALIGN_INT)));
}
