/*
 * row.c
 *		Reading the columns of a query's rows.
 *
 *		A row is taken apart once, when a column of it is first read: to look for
 *		each column from the start would take longer the more there are.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/query.h"

/* The rows of the last result where no tuples were made of them; none where rows is NULL. */
static RowsRead last;

/* The row that was taken apart last; NULL for none. */
static const void *taken = NULL;
static int	ncolumns;
static Datum values[ROW_MAX_COLUMNS];
static bool nulls[ROW_MAX_COLUMNS];

/*
 * rows_read_add adds a row, and returns where the values of its columns go, and
 * after them which are NULL.
 */
Datum *
rows_read_add(RowsRead *rows, int columns)
{
	if (rows->n == rows->room)
	{
		rows->room = Max(rows->room * 2, 1);
		rows->rows = rows->rows == NULL ? palloc(sizeof(Datum *) * rows->room) :
			repalloc_huge(rows->rows, sizeof(Datum *) * rows->room);
	}
	rows->ncolumns = columns;
	rows->rows[rows->n] = palloc((sizeof(Datum) + sizeof(bool)) * Max(columns, 1));
	return rows->rows[rows->n++];
}

/*
 * rows_read_set makes rows the last result.
 */
void
rows_read_set(const RowsRead *rows)
{
	last = *rows;
	taken = NULL;
	SPI_processed = rows->n;
	SPI_tuptable = NULL;
}

/*
 * rows_read_one makes a row the last result, until the statement that finds it goes
 * on.
 */
void
rows_read_one(const RowsRead *row)
{
	last = *row;
	taken = NULL;
}

/*
 * rows_begin puts the last result aside for an operation inside of another, and
 * rows_restore takes it up again.
 */
void
rows_begin(RowsRead *before)
{
	*before = last;
	row_forget();
}

void
rows_restore(const RowsRead *before)
{
	last = *before;
	taken = NULL;
}

/*
 * rows_free frees the rows of the last result.
 */
void
rows_free(void)
{
	for (uint64 i = 0; last.rows != NULL && i < last.n; i++)
		pfree(last.rows[i]);
	if (last.rows != NULL)
		pfree(last.rows);
	else
		SPI_freetuptable(SPI_tuptable);
	row_forget();
}

/*
 * row_forget forgets the last result, unless it is SPI's, and the row that was
 * taken apart: its memory may be that of another by now.
 */
void
row_forget(void)
{
	memset(&last, 0, sizeof(last));
	taken = NULL;
}

/*
 * Take a row apart.
 */
static void
row_take_apart(HeapTuple tuple, TupleDesc desc)
{
	if (desc->natts > ROW_MAX_COLUMNS)
		elog(ERROR, "a row of %d columns, more than %d", desc->natts, ROW_MAX_COLUMNS);
	heap_deform_tuple(tuple, desc, values, nulls);
	ncolumns = desc->natts;
}

/*
 * Find the columns of a record of a type, of which a number is never another's.
 */
static void
columns_find(RecordColumns *columns, TupleDesc desc)
{
	columns->type = InvalidOid;
	for (int i = 0; columns->names[i] != NULL; i++)
	{
		columns->numbers[i] = SPI_fnumber(desc, columns->names[i]);
		if (columns->numbers[i] <= 0)
			elog(ERROR, "column \"%s\" is gone", columns->names[i]);
	}
	columns->type = desc->tdtypeid;
}

/*
 * Take a row that was read without the executor.
 */
static void
row_take(uint64 row)
{
	ncolumns = last.ncolumns;
	memcpy(values, last.rows[row], sizeof(Datum) * ncolumns);
	memcpy(nulls, rows_read_nulls(&last, row), sizeof(bool) * ncolumns);
}

/*
 * Read a column of the last result.
 */
static Datum
row_get(uint64 row, int column, bool *isnull)
{
	const void *wanted = last.rows != NULL ? (void *) last.rows[row] : (void *) SPI_tuptable->vals[row];

	if (wanted != taken && last.rows != NULL)
		row_take(row);
	else if (wanted != taken)
		row_take_apart(SPI_tuptable->vals[row], SPI_tuptable->tupdesc);
	taken = wanted;
	Assert(column > 0 && column <= ncolumns);
	*isnull = nulls[column - 1];
	return values[column - 1];
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
 * row_unpack lets the columns of a row be those of the record that is its only
 * column, in the order in which they are named. The record may have more, of
 * somebody's own, and as many places as a table ever had columns.
 */
void
row_unpack(uint64 row, RecordColumns *columns)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(row_datum(row, 1));
	HeapTupleData record = {.t_data = header, .t_len = HeapTupleHeaderGetDatumLength(header)};
	TupleDesc	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	Datum		all[MaxTupleAttributeNumber];
	bool		all_nulls[MaxTupleAttributeNumber];

	if (columns->type != desc->tdtypeid)
		columns_find(columns, desc);
	heap_deform_tuple(&record, desc, all, all_nulls);
	ReleaseTupleDesc(desc);
	for (ncolumns = 0; columns->names[ncolumns] != NULL; ncolumns++)
	{
		values[ncolumns] = all[columns->numbers[ncolumns] - 1];
		nulls[ncolumns] = all_nulls[columns->numbers[ncolumns] - 1];
	}
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
 * row_rest returns a rest of a price.
 */
Rest
row_rest(uint64 row, int column)
{
	return rest_from_datum(row_datum(row, column));
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
 * Return a copy of a value of a type that has one size, NULL for NULL.
 */
static void *
row_copy(uint64 row, int column, Size size)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? NULL : memcpy(palloc(size), DatumGetPointer(value), size);
}

/*
 * row_uuid_or_null returns a uuid, NULL for NULL.
 */
pg_uuid_t *
row_uuid_or_null(uint64 row, int column)
{
	return row_copy(row, column, sizeof(pg_uuid_t));
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
 * row_word returns which of a list of words a text is.
 */
int
row_word(uint64 row, int column, Words words)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);
	text	   *written;
	int			word;

	if (isnull && words[0] == NULL)
		return 0;
	if (isnull)
		elog(ERROR, "unexpected NULL in column %d", column);
	written = DatumGetTextPP(value);
	word = word_find_of(words, VARDATA_ANY(written), (int) VARSIZE_ANY_EXHDR(written));
	if (word < 0)
		elog(ERROR, "unknown word \"%s\" in column %d", text_to_cstring(written), column);
	return word;
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
 * row_interval returns an interval, NULL for NULL.
 */
Interval *
row_interval(uint64 row, int column)
{
	return row_copy(row, column, sizeof(Interval));
}

/*
 * row_jsonb returns a copy of a JSON value, NULL for NULL.
 */
Jsonb *
row_jsonb(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_get(row, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
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
 * row_int4 returns an integer.
 */
int32
row_int4(uint64 row, int column)
{
	return DatumGetInt32(row_datum(row, column));
}

/*
 * row_bool returns a boolean.
 */
bool
row_bool(uint64 row, int column)
{
	return DatumGetBool(row_datum(row, column));
}
