/*
 * records.c
 *		Rows that go to a statement together. FROM unnest($1) AS r(...) makes rows
 *		of them again: one parameter, and not an array for each column, which
 *		the executor would read apart and join.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/memutils.h"

#include "base/records.h"

#define FIRST_RECORDS	64

/*
 * records_begin starts rows of given types, which end with 0. They live in the
 * current memory context.
 */
void
records_begin(Records *records, const Oid *types)
{
	int			n = 0;

	while (OidIsValid(types[n]))
		n++;
	records->context = AllocSetContextCreate(CurrentMemoryContext, "ducto records", ALLOCSET_DEFAULT_SIZES);
	records->desc = CreateTemplateTupleDesc(n);
	for (int i = 0; i < n; i++)
		TupleDescInitEntry(records->desc, (AttrNumber) (i + 1), psprintf("c%d", i + 1), types[i], -1, 0);
	records->desc = BlessTupleDesc(records->desc);
	records->n = 0;
	records->max = FIRST_RECORDS;
	records->rows = palloc(sizeof(Datum) * FIRST_RECORDS);
}

/*
 * records_add adds a row. It is copied.
 */
void
records_add(Records *records, Values *columns)
{
	MemoryContext previous;

	Assert(columns->n == records->desc->natts);
	if (records->n == records->max)
	{
		records->max *= 2;
		records->rows = repalloc_huge(records->rows, sizeof(Datum) * records->max);
	}
	previous = MemoryContextSwitchTo(records->context);
	records->rows[records->n++] = HeapTupleGetDatum(heap_form_tuple(records->desc, columns->values, columns->nulls));
	MemoryContextSwitchTo(previous);
}

/*
 * records_tuple returns a row, whose data live as long as it does.
 */
HeapTupleData
records_tuple(const Records *records, int i)
{
	HeapTupleHeader row = DatumGetHeapTupleHeader(records->rows[i]);

	return (HeapTupleData) {.t_len = HeapTupleHeaderGetDatumLength(row), .t_data = row};
}

/*
 * args_records appends the rows as a parameter of type record[], which lives as
 * long as they do.
 */
void
args_records(QueryArgs *args, const Records *records)
{
	MemoryContext previous = MemoryContextSwitchTo(records->context);

	args_datum(args, PointerGetDatum(construct_array(records->rows, records->n, RECORDOID, -1, false, TYPALIGN_DOUBLE)));
	MemoryContextSwitchTo(previous);
}

/*
 * records_clear lets go of the rows, so that others can be added.
 */
void
records_clear(Records *records)
{
	MemoryContextReset(records->context);
	records->n = 0;
}
