#ifndef DUCTO_BASE_VALUE_H
#define DUCTO_BASE_VALUE_H

#include "postgres.h"
#include "catalog/pg_type.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/money.h"

#define VALUES_MAX	32

/* Values in their order: the parameters of a statement, or the columns of a row. */
typedef struct Values
{
	int			n;
	Datum		values[VALUES_MAX];
	bool		nulls[VALUES_MAX];
} Values;

extern void args_datum(Values *args, Datum value);
extern void args_null(Values *args);
extern void args_uuid(Values *args, const pg_uuid_t *value);
extern void args_money(Values *args, Money value);
extern void args_spend(Values *args, Spend value);
extern void args_rest(Values *args, Rest value);
extern void args_text(Values *args, const char *value);
extern void args_time(Values *args, TimestampTz value);
extern void args_time_or_null(Values *args, TimestampTz value);
extern void args_int8(Values *args, int64 value);
extern void args_int4(Values *args, int32 value);
extern void args_bool(Values *args, bool value);
extern void args_interval(Values *args, const Interval *value);
extern void args_jsonb(Values *args, Jsonb *value);
extern void args_metadata(Values *args, Jsonb *value);
extern void args_money_array(Values *args, const Money *values, int n);
extern void args_uuid_array(Values *args, const pg_uuid_t *values, int n);
extern void args_time_array(Values *args, const TimestampTz *values, int n);
extern void args_text_array(Values *args, const char *const *values, int n);
extern void args_int4_array(Values *args, const int32 *values, int n);
extern void args_int8_array(Values *args, const int64 *values, int n);
extern void args_array(Values *args, Oid type, void *const *values, int n);

/*
 * The kinds of values that go between C and the columns of tables. Each has a
 * type in SQL and its OID here, row_KIND that reads a column and args_KIND that
 * appends a parameter, so that a list of columns says what they are once.
 */
#define SQL_bool	"boolean"
#define SQL_int4	"integer"
#define SQL_int8	"bigint"
#define SQL_interval	"interval"
#define SQL_money	"numeric"
#define SQL_rest	"numeric"
#define SQL_spend	"numeric"
#define SQL_text	"text"
#define SQL_time	"timestamptz"
#define SQL_uuid	"uuid"
#define SQL_numeric	"numeric"
#define SQL_jsonb	"jsonb"
#define SQL_bytea	"bytea"
#define SQL_uuids	"uuid[]"
#define SQL_numerics	"numeric[]"
#define SQL_texts	"text[]"
#define SQL_integers	"integer[]"

#define OID_bool	BOOLOID
#define OID_int4	INT4OID
#define OID_int8	INT8OID
#define OID_interval	INTERVALOID
#define OID_money	NUMERICOID
#define OID_rest	NUMERICOID
#define OID_spend	NUMERICOID
#define OID_text	TEXTOID
#define OID_time	TIMESTAMPTZOID
#define OID_uuid	UUIDOID
#define OID_numeric	NUMERICOID
#define OID_jsonb	JSONBOID
#define OID_bytea	BYTEAOID
#define OID_uuids	UUIDARRAYOID
#define OID_numerics	NUMERICARRAYOID
#define OID_texts	TEXTARRAYOID
#define OID_integers	INT4ARRAYOID

/* What stands in C for NULL in a column: nothing, a time before or after all others, a number below all others for none. */
#define READ_AS_IS(read, row, n)	read(row, n)
#define READ_BEFORE(read, row, n)	(row_is_null(row, n) ? DT_NOBEGIN : read(row, n))
#define READ_AFTER(read, row, n)	(row_is_null(row, n) ? DT_NOEND : read(row, n))
#define READ_BELOW(read, row, n)	read(row, n)
#define WRITE_AS_IS(value)	value
#define WRITE_BEFORE(value)	"nullif(" value ", '-infinity')"
#define WRITE_AFTER(value)	"nullif(" value ", 'infinity')"
#define WRITE_BELOW(value)	"coalesce(" value ", '-Infinity')"

/*
 * What the columns of a list are in statements. A list gives each as FIELD(n,
 * column, kind, member): its number, as it is read and as a parameter, its name,
 * its kind of value, and where C has it.
 */
#define COLUMN_NAME(n, column, ...)	", " #column
#define COLUMN_PARAM(n, ...)	", $" #n
#define COLUMN_SET(n, column, ...)	", " #column " = $" #n
#define COLUMN_TYPE(n, column, kind, ...)	OID_##kind,
#define COLUMN_OF_ROW(n, column, kind, ...)	", " #column " " SQL_##kind

#endif
