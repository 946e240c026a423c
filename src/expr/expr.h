/*
 * expr.h
 *	  The expression language of pricing: parse a text once, evaluate it often.
 *
 * Exact decimals, a fixed set of variables and functions, no loops.  Nothing
 * here knows of tables, and nothing but the lack of memory raises an error.
 */
#ifndef EXPR_H
#define EXPR_H

#include "utils/numeric.h"

/* What a text may be at most. */
#define EXPR_MAX_BYTES	4096
#define EXPR_MAX_LEVELS 64
#define EXPR_MAX_NODES	1000

/* What a value may be at most: 10^40, not below 10^-40 unless 0, with that many decimal places. */
#define EXPR_MAX_EXPONENT	40
#define EXPR_MAX_SCALE	5000

/* The variables, in the order in which expr_eval takes their values. */
typedef enum ExprVariable
{
	EXPR_INPUT_TOKENS,
	EXPR_OUTPUT_TOKENS,
	EXPR_CACHE_READ_TOKENS,
	EXPR_CACHE_WRITE_TOKENS,
	EXPR_TOOL_CALLS,
	EXPR_SEARCH_QUERIES,
	EXPR_SEARCH_RESULTS,
	EXPR_WEB_SEARCH_CALLS,
	EXPR_CODE_EXEC_CALLS
} ExprVariable;

#define EXPR_VARIABLE_COUNT 9

/* The units that the author of an expression counts too: variables behind the others. */
#define EXPR_MAX_UNITS	64
#define EXPR_MAX_VARIABLES	(EXPR_VARIABLE_COUNT + EXPR_MAX_UNITS)

typedef struct ExprUnits
{
	int			count;
	const char *names[EXPR_MAX_UNITS];
} ExprUnits;

/* Why a text was refused, or why its evaluation has no value. */
typedef struct ExprError
{
	int			sqlstate;
	int			position;		/* 1-based, in characters of the text */
	char		message[512];
} ExprError;

/* A checked text in one chunk without pointers: pfree frees it, memcpy copies it. */
typedef struct ExprProgram ExprProgram;

extern const char *const expr_variable_names[EXPR_VARIABLE_COUNT];

/* Holds the names of all variables but for some units, or of all functions. */
#define EXPR_NAMES_SIZE 400

extern const char *expr_variable_list(char *list, const ExprUnits *units);
extern int	expr_variable_find(const char *name, int len, const ExprUnits *units);
extern bool expr_unit_valid(const char *name);
extern ExprProgram *expr_parse(const char *text, int len, const ExprUnits *units, ExprError *error);
extern bool expr_eval(const ExprProgram *program, const Numeric *variables,
					  Numeric *result, ExprError *error);

#endif							/* EXPR_H */
