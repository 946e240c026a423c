/*
 * sql.c
 *	  The SQL face of the expression language, for trying out a formula.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "expr/expr.h"

static void read_units(ArrayType *array, ExprUnits *units);
static void read_variables(Jsonb *object, const ExprUnits *units, Numeric *variables);
static void read_variable(const JsonbValue *name, const JsonbValue *value, const ExprUnits *units, Numeric *variables);
static char *variable_path(const char *name, int length);

PG_FUNCTION_INFO_V1(expr_value);

/*
 * expr_value evaluates an expression with the variables that a JSON object gives.
 */
Datum
expr_value(PG_FUNCTION_ARGS)
{
	Numeric		variables[EXPR_MAX_VARIABLES] = {NULL};
	ExprUnits	units = {0};
	Numeric		result;
	ExprProgram *program;
	ExprError	error;
	char	   *expression;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"expression\" must not be NULL")));
	if (!PG_ARGISNULL(2))
		read_units(PG_GETARG_ARRAYTYPE_P(2), &units);
	if (!PG_ARGISNULL(1))
		read_variables(PG_GETARG_JSONB_P(1), &units, variables);

	expression = text_to_cstring(PG_GETARG_TEXT_PP(0));
	program = expr_parse(expression, (int) strlen(expression), &units, &error);
	if (program == NULL || !expr_eval(program, variables, &result, &error))
		ereport(ERROR,
				(errcode(error.sqlstate),
				 errmsg("%s", error.message),
				 errdetail("At character %d of the expression.", error.position),
				 internalerrquery(expression),
				 internalerrposition(error.position)));
	PG_RETURN_NUMERIC(result);
}

/*
 * read_units takes the names of units from an array.
 */
static void
read_units(ArrayType *array, ExprUnits *units)
{
	Datum	   *names;
	bool	   *nulls;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		char	   *name = nulls[i] ? "null" : TextDatumGetCString(names[i]);

		if (nulls[i] || !expr_unit_valid(name) || expr_variable_find(name, (int) strlen(name), units) >= 0 ||
			units->count == EXPR_MAX_UNITS)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("invalid value for argument \"units\": %s", name),
					 errhint("\"units\" must be no more than %d different names of letters from a to z, digits and _, none of them "
							 "built in.", EXPR_MAX_UNITS)));
		units->names[units->count++] = name;
	}
}

/*
 * read_variables takes the values of the variables from a JSON object.
 */
static void
read_variables(Jsonb *object, const ExprUnits *units, Numeric *variables)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	name;
	JsonbValue	value;

	if (!JB_ROOT_IS_OBJECT(object))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"variables\" must be a JSON object")));

	iterator = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&iterator, &name, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		JsonbIteratorNext(&iterator, &value, true);
		read_variable(&name, &value, units, variables);
	}
}

/*
 * read_variable takes the value of one variable.
 */
static void
read_variable(const JsonbValue *name, const JsonbValue *value, const ExprUnits *units, Numeric *variables)
{
	int			length = name->val.string.len;
	int			variable = expr_variable_find(name->val.string.val, length, units);
	char		known[EXPR_NAMES_SIZE];

	if (variable < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"variables\": %s: unknown variable",
						variable_path(name->val.string.val, length)),
				 errhint("Known variables are %s.", expr_variable_list(known, units))));
	if (value->type != jbvNumeric)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"variables\": %s: is not a number",
						variable_path(name->val.string.val, length))));
	variables[variable] = value->val.numeric;
}

/*
 * variable_path makes the JSON Pointer to a variable.
 */
static char *
variable_path(const char *name, int length)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoChar(&path, '/');
	for (int i = 0; i < length; i++)
	{
		if (name[i] == '~' || name[i] == '/')
			appendStringInfoString(&path, name[i] == '~' ? "~0" : "~1");
		else
			appendStringInfoChar(&path, name[i]);
	}
	return path.data;
}
