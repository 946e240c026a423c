#ifndef DUCTO_BASE_QUERY_H
#define DUCTO_BASE_QUERY_H

#include "postgres.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "base/value.h"
#include "base/words.h"

#define ROW_MAX_COLUMNS	64

/*
 * A statement with parameters, planned once per backend and kept. The
 * functions of this extension run with search_path = pg_catalog, pg_temp, so
 * operators and functions in a statement are those of pg_catalog; tables are
 * written with their schema.
 */
typedef struct KeptQuery
{
	const char *sql;
	Oid			types[VALUES_MAX + 1];	/* of the parameters, ended by 0 */
	bool		whole;			/* it reads whole tables: a sequential scan is right */
	bool		block_range;	/* its index is of ranges of blocks: a bitmap is right */
	bool		anew;			/* it joins as many rows as its parameters have: planned for each execution */
	bool		tuples;			/* its rows are taken as tuples, not column by column */
	bool		few;			/* what it counts is so few that each is looked at */
	SPIPlanPtr	plan;			/* NULL until it is used */
	bool		distributed;	/* a table of it is, over the nodes of a cluster */
	bool		of_shard;		/* it is on one shard of a cluster, as shard_query made it */
	Oid			reader;			/* the role that is known to see all rows, */
	int			reader_of;		/* by the generation of the plan that it is known of */
	struct Direct *direct;		/* what does without the executor; NULL for nothing */
	int			direct_of;		/* the generation of the plan that it is of, 0 for none */
} KeptQuery;

/* The parameters of one execution. */
typedef Values QueryArgs;

/* Parameters of several executions of a statement, which together are one. */
typedef struct QueryEach
{
	int			n;
	void		(*args) (QueryArgs *args, int i, const void *state);
	void		(*found) (int i, ItemPointer place, void *state);	/* reads a row, which is the first of the result until it
																 * returns, and tells where it is; NULL: the rows are kept */
	void	   *state;
	uint64	   *ends;			/* after each, how many rows there are by then; NULL when nobody asks */
	const ItemPointerData *likely;	/* where the row of each most likely is, NULL where nobody knows */
} QueryEach;

/* Receives the rows of a SELECT one by one; false: no more are wanted. */
typedef bool (*RowReader) (TupleTableSlot *slot, void *state);

extern void query_begin(void);
extern void query_end(void);
extern int	query_depth(void);
extern bool query_distributed(KeptQuery *query);
extern ParamListInfo query_params(const KeptQuery *query, const QueryArgs *args);
extern void query_copy(KeptQuery *copy, const KeptQuery *of, const char *sql);
extern void query_forget(KeptQuery *query);

extern uint64 query_run(KeptQuery *query, QueryArgs *args, int expected);
extern bool query_run_each(KeptQuery *query, const QueryEach *each);
extern uint64 query_read(KeptQuery *query, QueryArgs *args);
extern void query_utility(const char *command);
extern void query_read_into(FunctionCallInfo fcinfo, KeptQuery *query, QueryArgs *args);
extern uint64 query_each(KeptQuery *query, QueryArgs *args, bool read_only, RowReader reader, void *state);

/*
 * Columns of a record by their names. A query of many columns is slow to start
 * for each of them, one of the record of a row is not.
 */
typedef struct RecordColumns
{
	const char *const *names;	/* ended by NULL */
	Oid			type;			/* of the record that numbers is of; InvalidOid for none yet */
	int			numbers[ROW_MAX_COLUMNS];
} RecordColumns;

/* Rows that were read without the executor: of each the values of its columns, and then which of them are NULL. */
typedef struct RowsRead
{
	int			ncolumns;
	uint64		n;
	uint64		room;
	Datum	  **rows;
} RowsRead;

extern Datum *rows_read_add(RowsRead *rows, int ncolumns);
extern void rows_read_set(const RowsRead *rows);
extern void rows_read_one(const RowsRead *row);
extern void rows_begin(RowsRead *before);
extern void rows_restore(const RowsRead *before);
extern void rows_free(void);

/* Which columns of a row are NULL. */
static inline bool *
rows_read_nulls(const RowsRead *rows, uint64 row)
{
	return (bool *) (rows->rows[row] + rows->ncolumns);
}

/* Columns of a row of the last result; the first column is 1. */
extern void row_forget(void);
extern void row_unpack(uint64 row, RecordColumns *columns);
extern bool row_is_null(uint64 row, int column);
extern Datum row_datum(uint64 row, int column);
extern Money row_money(uint64 row, int column);
extern Spend row_spend(uint64 row, int column);
extern Rest row_rest(uint64 row, int column);
extern pg_uuid_t row_uuid(uint64 row, int column);
extern pg_uuid_t *row_uuid_or_null(uint64 row, int column);
extern char *row_text(uint64 row, int column);
extern int	row_word(uint64 row, int column, Words words);
extern TimestampTz row_time(uint64 row, int column);
extern Interval *row_interval(uint64 row, int column);
extern Jsonb *row_jsonb(uint64 row, int column);
extern int64 row_int8(uint64 row, int column);
extern int32 row_int4(uint64 row, int column);
extern bool row_bool(uint64 row, int column);

#endif
