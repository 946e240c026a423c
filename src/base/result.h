#ifndef DUCTO_BASE_RESULT_H
#define DUCTO_BASE_RESULT_H

#include "postgres.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

#include "base/rejection.h"
#include "base/value.h"

/* A result row. */
typedef struct ResultRow
{
	Oid			function;		/* whose row it is, where it has one alone */
	TupleDesc	desc;
	Tuplestorestate *store;		/* where it is one of a set */
	Values		columns;
} ResultRow;

/* Its columns are appended as parameters are. */
#define RESULT_WRITER(kind, type) \
	static inline void \
	result_##kind(ResultRow *row, type value) \
	{ \
		args_##kind(&row->columns, value); \
	}

RESULT_WRITER(datum, Datum)
RESULT_WRITER(uuid, const pg_uuid_t *)
RESULT_WRITER(money, Money)
RESULT_WRITER(spend, Spend)
RESULT_WRITER(text, const char *)
RESULT_WRITER(bool, bool)
RESULT_WRITER(time, TimestampTz)
RESULT_WRITER(time_or_null, TimestampTz)
RESULT_WRITER(int4, int32)
RESULT_WRITER(int8, int64)
RESULT_WRITER(interval, const Interval *)
RESULT_WRITER(metadata, Jsonb *)

extern void result_begin(ResultRow *row, FunctionCallInfo fcinfo);
extern void result_null(ResultRow *row);
extern Datum result_end(ResultRow *row);
extern Datum result_end_with_error(ResultRow *row, Rejection rejection);
extern void result_set_begin(ResultRow *row, FunctionCallInfo fcinfo);
extern void result_put(ResultRow *row);

#endif
