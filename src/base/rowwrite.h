#ifndef DUCTO_BASE_ROWWRITE_H
#define DUCTO_BASE_ROWWRITE_H

#include "postgres.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "nodes/nodes.h"
#include "utils/rel.h"

/* An index that rows are entered into. */
typedef struct RowIndex
{
	Oid			id;
	IndexInfo  *info;
	bool		unchanged;		/* no column of it is updated */
} RowIndex;

/* The columns of a table that must not be NULL. */
typedef struct RequiredColumns
{
	int			n;
	int		   *columns;		/* from 0 */
} RequiredColumns;

extern bool table_is_simple(Relation table);
extern bool table_fires(const TriggerDesc *triggers, CmdType command);
extern bool session_fires_as_usual(void);
extern bool session_is_watched(void);
extern bool row_index_make(RowIndex *index, Relation relation);
extern bool row_index_form(const RowIndex *index, TupleTableSlot *row, EState *estate, Datum *values, bool *nulls);
extern void required_make(RequiredColumns *required, TupleDesc desc);
extern void row_check_required(const RequiredColumns *required, Relation table, TupleTableSlot *row);
extern void row_refuse(Relation table, TupleTableSlot *row);

#endif
