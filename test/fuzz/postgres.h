/*
 * postgres.h
 *	  As much of the server's headers as the expression language needs, so that
 *	  it can be fuzzed without a server.
 *
 * numeric.c beside this file has the functions.  script/fuzz lets the names of
 * the other server headers that src/expr*.c include lead here.
 */
#ifndef FUZZ_POSTGRES_H
#define FUZZ_POSTGRES_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t int32;
typedef uint8_t uint8;
typedef uint16_t uint16;
typedef size_t Size;
typedef uintptr_t Datum;
typedef struct NumericData *Numeric;
typedef bool MemoryContext;		/* whether what is allocated stays */

#define PG_VERSION_NUM 150000
#define FLEXIBLE_ARRAY_MEMBER
#define Min(x, y) ((x) < (y) ? (x) : (y))
#define lengthof(array) ((int) (sizeof(array) / sizeof((array)[0])))
#define MAXALIGN(size) (((Size) (size) + 7) & ~(Size) 7)
#define Assert(condition) assert(condition)
#define StaticAssertStmt(condition, message) _Static_assert(condition, message)
#define pg_attribute_printf(f, a) __attribute__((format(printf, f, a)))
#define elog(level, ...) (fprintf(stderr, __VA_ARGS__), abort())
#define CHECK_FOR_INTERRUPTS() ((void) 0)

#define ERRCODE_INVALID_PARAMETER_VALUE 22023
#define ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE 22003
#define ERRCODE_DIVISION_BY_ZERO 22012

#define TopMemoryContext true

extern void *palloc(Size size);
extern void *palloc0(Size size);
extern void pfree(void *chunk);
extern char *pnstrdup(const char *text, Size length);
extern MemoryContext MemoryContextSwitchTo(MemoryContext context);
extern void memory_reset(void);

extern int	pg_mbcharcliplen(const char *text, int length, int limit);
extern int	pg_mbcliplen(const char *text, int length, int limit);
extern int	pg_mbstrlen_with_len(const char *text, int limit);

#define VARSIZE(datum) (*(const int32 *) (datum))
#define InvalidOid 0
#define CStringGetDatum(value) ((Datum) (value))
#define NumericGetDatum(value) ((Datum) (value))
#define ObjectIdGetDatum(value) ((Datum) (value))
#define Int32GetDatum(value) ((Datum) (value))
#define DatumGetNumeric(datum) ((Numeric) (datum))
#define DatumGetInt32(datum) ((int32) (datum))
#define DirectFunctionCall1(function, a) function(a)
#define DirectFunctionCall2(function, a, b) function(a, b)
#define DirectFunctionCall3(function, a, b, c) function(a, b, c)

#define NUMERIC_MAX_DISPLAY_SCALE 1000

extern Datum numeric_in(Datum text, Datum type, Datum typmod);
extern Datum numeric_cmp(Datum left, Datum right);
extern Datum numeric_scale(Datum value);
extern Datum numeric_trim_scale(Datum value);
extern Datum numeric_uminus(Datum value);
extern Datum numeric_floor(Datum value);
extern Datum numeric_ceil(Datum value);
extern Datum numeric_round(Datum value, Datum scale);
extern Datum numeric_div_trunc(Datum dividend, Datum divisor);
extern Numeric numeric_add_opt_error(Numeric left, Numeric right, bool *error);
extern Numeric numeric_sub_opt_error(Numeric left, Numeric right, bool *error);
extern Numeric numeric_mul_opt_error(Numeric left, Numeric right, bool *error);
extern Numeric numeric_div_opt_error(Numeric dividend, Numeric divisor, bool *error);
extern Numeric numeric_mod_opt_error(Numeric dividend, Numeric divisor, bool *error);
extern int32 numeric_int4_opt_error(Numeric value, bool *error);
extern Numeric int64_to_numeric(int64_t value);

#endif							/* FUZZ_POSTGRES_H */
