#ifndef DUCTO_BASE_BULK_H
#define DUCTO_BASE_BULK_H

#include "postgres.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "base/query.h"
#include "base/records.h"
#include "base/rowwrite.h"

/* Rows that are written at a time are no more than these. */
#define BULK_ROWS	200

/* Fewer are better written by a statement, which has less to find out. */
#define BULK_LEAST	8

/* A column of a table as its writer knows it. */
typedef struct BulkColumn
{
	const char *name;
	Oid			type;
} BulkColumn;

/* As this a column of a list, as value.h has it. */
#define COLUMN_WRITTEN(n, column, kind, ...)	{#column, OID_##kind},

/* An index of the table. */
typedef struct BulkIndex
{
	Relation	rel;
	RowIndex	row;
	bool		summarizes;		/* it has blocks, not rows */
} BulkIndex;

/* Rows of one table that are being written together. */
typedef struct Bulk
{
	Relation	table;
	EState	   *estate;			/* for the expressions of its indexes */
	int			places[VALUES_MAX];	/* of the columns in the table, from 0 */
	bool		in_order;		/* they are the table's in its order */
	RequiredColumns required;	/* those that must not be NULL */
	int			nindexes;
	BulkIndex  *indexes;
	int			together;		/* rows that are written at a time; 0 before the first */
	int			n;				/* rows that wait to be written */
	TupleTableSlot *rows[BULK_ROWS];
} Bulk;

extern bool bulk_begin(Bulk *bulk, const char *table, const BulkColumn *columns, int ncolumns);
extern void bulk_add(Bulk *bulk, const QueryArgs *row);
extern void bulk_end(Bulk *bulk);
extern bool bulk_write(const char *table, const BulkColumn *columns, const Records *records);

#endif
