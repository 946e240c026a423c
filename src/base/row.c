/*
 * row.c
 *		Reading the columns of a query's rows.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/query.h"

/*
 * Read a column of the last result.
 */
static Datum
row_get(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/*
 * row_is_null tells whether a column is NULL.
 */
bool
row_is_null(uint64 row, int column)
{
	bool		isnull;

	row_get(row, column, &isnull);
	return isnull;
}

/*
 * row_datum returns a column that must not be NULL.
 */
Datum
row_datum(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected NULL in column %d", column);
	return value;
}

/*
 * row_money returns an amount, 0 for NULL.
 */
Money
row_money(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? 0 : money_from_datum(value);
}

/*
 * row_spend returns a sum, 0 for NULL.
 */
Spend
row_spend(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? 0 : spend_from_datum(value);
}

/*
 * row_uuid returns a uuid.
 */
pg_uuid_t
row_uuid(uint64 row, int column)
{
	return *DatumGetUUIDP(row_datum(row, column));
}

/*
 * row_text returns a text, NULL for NULL.
 */
char *
row_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/*
 * row_time returns a timestamp with time zone.
 */
TimestampTz
row_time(uint64 row, int column)
{
	return DatumGetTimestampTz(row_datum(row, column));
}

/*
 * row_int8 returns a bigint.
 */
int64
row_int8(uint64 row, int column)
{
	return DatumGetInt64(row_datum(row, column));
}

/*
 * row_bool returns a boolean.
 */
bool
row_bool(uint64 row, int column)
{
	return DatumGetBool(row_datum(row, column));
}
