/*
 * result.c
 *		Result rows.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "base/result.h"

/*
 * result_begin starts a row of the calling function's composite type.
 */
void
result_begin(ResultRow *row, FunctionCallInfo fcinfo)
{
	if (get_call_result_type(fcinfo, NULL, &row->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	row->function = fcinfo->flinfo->fn_oid;
	row->n = 0;
}

/*
 * result_datum appends a column.
 */
void
result_datum(ResultRow *row, Datum value)
{
	Assert(row->n < row->desc->natts);
	row->values[row->n] = value;
	row->nulls[row->n] = false;
	row->n++;
}

/*
 * result_null appends a NULL.
 */
void
result_null(ResultRow *row)
{
	result_datum(row, (Datum) 0);
	row->nulls[row->n - 1] = true;
}

/*
 * result_uuid appends a uuid, NULL for none.
 */
void
result_uuid(ResultRow *row, const pg_uuid_t *value)
{
	if (value == NULL)
		result_null(row);
	else
		result_datum(row, UUIDPGetDatum(value));
}

/*
 * result_money appends an amount as numeric.
 */
void
result_money(ResultRow *row, Money value)
{
	result_datum(row, money_to_datum(value));
}

/*
 * result_spend appends a sum as numeric.
 */
void
result_spend(ResultRow *row, Spend value)
{
	result_datum(row, spend_to_datum(value));
}

/*
 * result_text appends a text, NULL for none.
 */
void
result_text(ResultRow *row, const char *value)
{
	if (value == NULL)
		result_null(row);
	else
		result_datum(row, CStringGetTextDatum(value));
}

/*
 * result_bool appends a boolean.
 */
void
result_bool(ResultRow *row, bool value)
{
	result_datum(row, BoolGetDatum(value));
}

/*
 * result_int appends an integer.
 */
void
result_int(ResultRow *row, int32 value)
{
	result_datum(row, Int32GetDatum(value));
}

/*
 * result_time_or_null appends a timestamp with time zone, NULL for infinity.
 */
void
result_time_or_null(ResultRow *row, TimestampTz value)
{
	if (TIMESTAMP_NOT_FINITE(value))
		result_null(row);
	else
		result_datum(row, TimestampTzGetDatum(value));
}

/*
 * result_put adds the finished row to a set, and starts the next.
 */
void
result_put(ResultRow *row, Tuplestorestate *store)
{
	Assert(row->n == row->desc->natts);
	tuplestore_putvalues(store, row->desc, row->values, row->nulls);
	row->n = 0;
}

/*
 * result_end makes the finished row a datum in the memory of SPI's caller.
 */
Datum
result_end(ResultRow *row)
{
	HeapTuple	tuple;

	Assert(row->n == row->desc->natts);
	tuple = heap_form_tuple(row->desc, row->values, row->nulls);
	return HeapTupleHeaderGetDatum(SPI_returntuple(tuple, row->desc));
}

/*
 * result_end_with_error appends the column error and ends the row as
 * result_end does; a rejection is also told as ducto.rejections says. A success
 * takes back the status of one that came before it in the transaction.
 */
Datum
result_end_with_error(ResultRow *row, Rejection rejection)
{
	Datum		datum;

	result_text(row, rejection_code(rejection));
	datum = result_end(row);
	if (rejection == ACCEPTED)
		rejection_over();
	else
		rejection_tell(rejection, row->function, datum);
	return datum;
}
