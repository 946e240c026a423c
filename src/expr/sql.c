/*
 * sql.c
 *	  The SQL face of the expression language, for trying out a formula.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "expr/expr.h"

static void read_variables(Jsonb *object, Numeric *variables);
static void read_variable(const JsonbValue *name, const JsonbValue *value, Numeric *variables);
static char *variable_path(const char *name, int length);

PG_FUNCTION_INFO_V1(expr_value);

/*
 * expr_value evaluates an expression with the variables that a JSON object gives.
 */
Datum
expr_value(PG_FUNCTION_ARGS)
{
	Numeric		variables[EXPR_VARIABLE_COUNT] = {NULL};
	Numeric		result;
	ExprProgram *program;
	ExprError	error;
	char	   *expression;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"expression\" must not be NULL")));
	if (!PG_ARGISNULL(1))
		read_variables(PG_GETARG_JSONB_P(1), variables);

	expression = text_to_cstring(PG_GETARG_TEXT_PP(0));
	program = expr_parse(expression, (int) strlen(expression), &error);
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
 * read_variables takes the values of the variables from a JSON object.
 */
static void
read_variables(Jsonb *object, Numeric *variables)
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
		read_variable(&name, &value, variables);
	}
}

/*
 * read_variable takes the value of one variable.
 */
static void
read_variable(const JsonbValue *name, const JsonbValue *value, Numeric *variables)
{
	int			length = name->val.string.len;
	int			variable = expr_variable_find(name->val.string.val, length);
	char		known[EXPR_NAMES_SIZE];

	if (variable < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for argument \"variables\": %s: unknown variable",
						variable_path(name->val.string.val, length)),
				 errhint("Known variables are %s.", expr_variable_list(known))));
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
