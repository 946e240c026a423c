#ifndef DUCTO_BASE_RECORDS_H
#define DUCTO_BASE_RECORDS_H

#include "postgres.h"
#include "access/htup.h"
#include "access/tupdesc.h"

#include "base/query.h"

/* Rows that go to a statement together, as one parameter of type record[]. */
typedef struct Records
{
	MemoryContext context;		/* of the rows */
	TupleDesc	desc;
	int			n;
	int			max;
	Datum	   *rows;
} Records;

extern void records_begin(Records *records, const Oid *types);
extern void records_add(Records *records, Values *columns);
extern HeapTupleData records_tuple(const Records *records, int i);
extern void args_records(QueryArgs *args, const Records *records);
extern void records_clear(Records *records);

#endif
