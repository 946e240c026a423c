/*
 * value.c
 *		The parameters of a statement, appended in their order.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/query.h"

/*
 * args_datum appends a parameter.
 */
void
args_datum(QueryArgs *args, Datum value)
{
	Assert(args->n < QUERY_MAX_ARGS);
	args->values[args->n] = value;
	args->nulls[args->n] = ' ';
	args->n++;
}

/*
 * args_null appends a NULL.
 */
void
args_null(QueryArgs *args)
{
	args_datum(args, (Datum) 0);
	args->nulls[args->n - 1] = 'n';
}

/*
 * args_uuid appends a uuid, NULL for none.
 */
void
args_uuid(QueryArgs *args, const pg_uuid_t *value)
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
args_money(QueryArgs *args, Money value)
{
	args_datum(args, money_to_datum(value));
}

/*
 * args_spend appends a sum as numeric.
 */
void
args_spend(QueryArgs *args, Spend value)
{
	args_datum(args, spend_to_datum(value));
}

/*
 * args_rest appends a rest of a price as numeric.
 */
void
args_rest(QueryArgs *args, Rest value)
{
	args_datum(args, rest_to_datum(value));
}

/*
 * args_text appends a text, NULL for none.
 */
void
args_text(QueryArgs *args, const char *value)
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
args_time(QueryArgs *args, TimestampTz value)
{
	args_datum(args, TimestampTzGetDatum(value));
}

/*
 * args_int8 appends a bigint.
 */
void
args_int8(QueryArgs *args, int64 value)
{
	args_datum(args, Int64GetDatum(value));
}

/*
 * args_int4 appends an integer.
 */
void
args_int4(QueryArgs *args, int32 value)
{
	args_datum(args, Int32GetDatum(value));
}

/*
 * args_bool appends a boolean.
 */
void
args_bool(QueryArgs *args, bool value)
{
	args_datum(args, BoolGetDatum(value));
}

/*
 * args_jsonb appends a JSON value, NULL for none.
 */
void
args_jsonb(QueryArgs *args, Jsonb *value)
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
args_metadata(QueryArgs *args, Jsonb *value)
{
	static Jsonb empty = {.root.header = JB_FOBJECT};

	SET_VARSIZE(&empty, sizeof(Jsonb));
	args_datum(args, value != NULL ? JsonbPGetDatum(value) : PointerGetDatum(&empty));
}

/*
 * args_money_array appends an array of amounts.
 */
void
args_money_array(QueryArgs *args, const Money *values, int n)
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
args_uuid_array(QueryArgs *args, const pg_uuid_t *values, int n)
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
args_time_array(QueryArgs *args, const TimestampTz *values, int n)
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
args_text_array(QueryArgs *args, const char *const *values, int n)
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
args_int4_array(QueryArgs *args, const int32 *values, int n)
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
args_int8_array(QueryArgs *args, const int64 *values, int n)
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
args_array(QueryArgs *args, Oid type, void *const *values, int n)
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
