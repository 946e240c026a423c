#ifndef DUCTO_BASE_DIRECT_H
#define DUCTO_BASE_DIRECT_H

#include "postgres.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "nodes/execnodes.h"
#include "nodes/plannodes.h"
#include "nodes/lockoptions.h"
#include "utils/plancache.h"
#include "utils/snapshot.h"

#include "base/query.h"
#include "base/rowwrite.h"

/* Where a value comes from. */
typedef enum ValueKind
{
	VALUE_PARAM,				/* a parameter of the statement */
	VALUE_COLUMN,				/* of the row */
	VALUE_CONST,
	VALUE_EXPR
} ValueKind;

/* A value that a statement computes from its parameters and a row. */
typedef struct DirectValue
{
	ValueKind	kind;
	int			number;			/* of the parameter or column */
	Const	   *constant;
	ExprState  *expr;
	bool		byval;			/* its type is passed by value, */
	int16		len;			/* and has this length */
} DirectValue;

/* A condition on a column of an index. */
typedef struct DirectKey
{
	ScanKeyData key;
	DirectValue value;			/* what it is compared with */
	bool		has_value;		/* false: the key is whole */
} DirectKey;

/* How a statement finds its rows. */
typedef struct DirectScan
{
	bool		by_place;		/* it is at this place in the table: */
	DirectValue place;
	Oid			index;			/* otherwise */
	bool		unique;			/* it finds one row at most, */
	bool		is_partial;		/* of the rows for which the index is: a SELECT does not ask that of a row again */
	bool		is_remembered;	/* it is remembered where the row is: one that has the keys is the one */
	ScanDirection direction;
	int			nkeys;
	DirectKey  *keys;
	ExprState  *quals;			/* what else is asked of a row */
	ExprState  *keys_recheck;	/* the same as the keys, of a row that has changed since it was found */
} DirectScan;

/* A statement of one table that needs no executor. */
typedef struct Direct
{
	MemoryContext context;		/* all of this is in it */
	CachedPlan *plan;			/* that it was made from, */
	const PlannedStmt *statement;	/* and its statement */
	CmdType		command;
	Oid			table;
	LOCKMODE	lock;			/* of the table and the index */
	DirectScan	scan;			/* not of an INSERT */
	uint64		limit;			/* 0 for none */
	bool		locks;			/* a SELECT's rows are locked: */
	LockTupleMode row_lock;
	LockWaitPolicy wait;
	ExprState  *gate;			/* what has to be met for it to find any row */
	bool		counts;			/* it has one row, which says how many it finds: */
	bool		few;			/* not many */
	int			nresults;
	DirectValue *results;		/* of a SELECT, or what is returned of a row that was written, */
	int			last_result;	/* and the last column of the row that is one of them; 0 for none */
	int			nvalues;
	DirectValue *values;		/* that are written, */
	AttrNumber *columns;		/* to these columns */
	RequiredColumns required;	/* and that must not be NULL */
	int			nchecks;
	ExprState **checks;
	int			nindexes;
	RowIndex   *indexes;
	RowIndex   *arbiter;		/* an INSERT does nothing where this index has the row; NULL for none */
	int			nbefore;		/* statements of which the others need a value: */
	struct Before
	{
		struct Direct *direct;
		int			param;		/* which value it is */
		bool		exists;		/* it is whether there is a row */
	}		   *before;
	ParamExecData *inner;		/* the values of those */
} Direct;

extern bool direct_is_unfit(Node *node, void *direct);
extern bool direct_make_writer(Direct *direct, Oid arbiter);
extern Direct *direct_make(CachedPlan *plan, bool few);
extern void direct_free(Direct *direct);
extern bool direct_is_under_way(void);
extern void direct_return_to(bool before);
extern bool direct_execute(KeptQuery *query, const QueryArgs *args, bool read_only);
extern bool direct_execute_each(KeptQuery *query, const QueryEach *each);
extern void direct_forget(KeptQuery *query);

#endif
