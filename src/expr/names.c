/*
 * names.c
 *	  The variables and functions of the expression language.
 */
#include "postgres.h"

#include "expr/internal.h"

static const ExprFunction functions[] = {
	{"ceil", EXPR_CEIL, 1, 1, false, "1 argument"},
	{"floor", EXPR_FLOOR, 1, 1, false, "1 argument"},
	{"round", EXPR_ROUND, 1, 2, false, "1 or 2 arguments"},
	{"min", EXPR_MIN, 1, EXPR_MAX_NODES, false, "at least 1 argument"},
	{"max", EXPR_MAX, 1, EXPR_MAX_NODES, false, "at least 1 argument"},
	{"if", EXPR_IF, 3, 3, false, "3 arguments"},
	{"tier", EXPR_TIER, 4, EXPR_MAX_NODES, true, "an even number of arguments, at least 4"},
	{"clamp", EXPR_CLAMP, 3, 3, false, "3 arguments"},
	{"percentile", EXPR_PERCENTILE, 2, EXPR_MAX_NODES, false, "at least 2 arguments"}
};

const char *const expr_variable_names[EXPR_VARIABLE_COUNT] = {
	[EXPR_INPUT_TOKENS] = "input_tokens",
	[EXPR_OUTPUT_TOKENS] = "output_tokens",
	[EXPR_CACHE_READ_TOKENS] = "cache_read_tokens",
	[EXPR_CACHE_WRITE_TOKENS] = "cache_write_tokens",
	[EXPR_TOOL_CALLS] = "tool_calls",
	[EXPR_SEARCH_QUERIES] = "search_queries",
	[EXPR_SEARCH_RESULTS] = "search_results",
	[EXPR_WEB_SEARCH_CALLS] = "web_search_calls",
	[EXPR_CODE_EXEC_CALLS] = "code_exec_calls"
};

static void name_append(char *list, const char *name);

/*
 * expr_variable_find gives the place of a variable: an ExprVariable, or behind these that of a unit (NULL for none); or -1.
 */
int
expr_variable_find(const char *name, int len, const ExprUnits *units)
{
	for (int i = 0; i < EXPR_VARIABLE_COUNT; i++)
	{
		if (strlen(expr_variable_names[i]) == len && memcmp(expr_variable_names[i], name, len) == 0)
			return i;
	}
	for (int i = 0; units != NULL && i < units->count; i++)
	{
		if (strlen(units->names[i]) == len && memcmp(units->names[i], name, len) == 0)
			return EXPR_VARIABLE_COUNT + i;
	}
	return -1;
}

/*
 * expr_unit_valid tells whether a name can be a unit's: it has the form of one, and the language has no such name.
 */
bool
expr_unit_valid(const char *name)
{
	int			length = (int) strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");

	return name[0] >= 'a' && name[0] <= 'z' && name[length] == '\0' && !lexer_has_word(name) &&
		expr_variable_find(name, length, NULL) < 0 && expr_function_find(name, length) == NULL;
}

/*
 * expr_function_find gives the function of a name, or NULL.
 */
const ExprFunction *
expr_function_find(const char *name, int len)
{
	for (int i = 0; i < lengthof(functions); i++)
	{
		if (strlen(functions[i].name) == len && memcmp(functions[i].name, name, len) == 0)
			return &functions[i];
	}
	return NULL;
}

/*
 * expr_variable_list writes the names of all variables into list, of EXPR_NAMES_SIZE, and returns it.
 *
 * Of the units, NULL for none, it leaves out those that it has no place for.
 */
const char *
expr_variable_list(char *list, const ExprUnits *units)
{
	list[0] = '\0';
	for (int i = 0; i < EXPR_VARIABLE_COUNT; i++)
		name_append(list, expr_variable_names[i]);
	for (int i = 0; units != NULL && i < units->count; i++)
	{
		if (strlen(list) + strlen(units->names[i]) + sizeof(", , ...") > EXPR_NAMES_SIZE)
		{
			name_append(list, "...");
			break;
		}
		name_append(list, units->names[i]);
	}
	return list;
}

/*
 * expr_function_list writes the names of all functions into list, of EXPR_NAMES_SIZE, and returns it.
 */
const char *
expr_function_list(char *list)
{
	list[0] = '\0';
	for (int i = 0; i < lengthof(functions); i++)
		name_append(list, functions[i].name);
	return list;
}

/*
 * name_append writes one more name behind those of a list.
 */
static void
name_append(char *list, const char *name)
{
	int			used = (int) strlen(list);

	snprintf(list + used, EXPR_NAMES_SIZE - used, "%s%s", used == 0 ? "" : ", ", name);
}
