#ifndef DUCTO_BASE_DIRECTROW_H
#define DUCTO_BASE_DIRECTROW_H

#include "postgres.h"
#include "access/genam.h"
#include "executor/tuptable.h"
#include "storage/buf.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#include "base/direct.h"
#include "base/query.h"

/* An execution, or several with one snapshot. */
typedef struct Run
{
	const Direct *direct;
	const QueryArgs *args;
	Relation	table;
	EState	   *estate;			/* for expressions, */
	ExprContext *context;		/* and their memory */
	Snapshot	snapshot;
	BlockNumber blocks;			/* of the table, where a row is found by its place */
	Relation	index;			/* by which rows are found; NULL for none */
	IndexScanDesc scan;
	ScanKeyData *keys;
	Buffer		buffer;			/* of the row that was read last */
	TupleTableSlot *found;
	TupleTableSlot *written;	/* NULL where none is */
	MemoryContext rows_context; /* of what is read */
	RowsRead	rows;
	const QueryEach *each;		/* of which this is an execution, NULL for none, */
	int			number;			/* and which one */
	RowsRead	row;			/* that is read as it is found */
} Run;

extern Datum run_value(const Run *run, const DirectValue *value, TupleTableSlot *row, bool *isnull);
extern bool run_is_for(const Run *run, TupleTableSlot *row);
extern void run_found(Run *run);
extern void run_insert(Run *run);

#endif
