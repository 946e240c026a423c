#ifndef DUCTO_BASE_RESULT_H
#define DUCTO_BASE_RESULT_H

#include "postgres.h"
#include "funcapi.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "base/money.h"
#include "base/rejection.h"

#define RESULT_MAX_COLUMNS	20

/* A result row, its columns appended in order. */
typedef struct ResultRow
{
	Oid			function;		/* whose row it is */
	TupleDesc	desc;
	int			n;
	Datum		values[RESULT_MAX_COLUMNS];
	bool		nulls[RESULT_MAX_COLUMNS];
} ResultRow;

extern void result_begin(ResultRow *row, FunctionCallInfo fcinfo);
extern void result_datum(ResultRow *row, Datum value);
extern void result_null(ResultRow *row);
extern void result_uuid(ResultRow *row, const pg_uuid_t *value);
extern void result_money(ResultRow *row, Money value);
extern void result_spend(ResultRow *row, Spend value);
extern void result_text(ResultRow *row, const char *value);
extern void result_bool(ResultRow *row, bool value);
extern void result_time_or_null(ResultRow *row, TimestampTz value);
extern void result_int(ResultRow *row, int32 value);
extern void result_put(ResultRow *row, Tuplestorestate *store);
extern Datum result_end(ResultRow *row);
extern Datum result_end_with_error(ResultRow *row, Rejection rejection);

#endif
