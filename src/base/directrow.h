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
	Relation	index;			/* by which rows are found; NULL as long as it is not needed */
	IndexScanDesc scan;
	ScanKeyData *keys;
	uint32		hash;			/* of the keys, where it is remembered where a row was found */
	ItemPointerData root;		/* which is what the index has named last */
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
extern bool run_has_keys(const Run *run, TupleTableSlot *row);
extern void run_found(Run *run);
extern void run_insert(Run *run);

#endif
