/*
 * parse.c
 *	  Makes a program of the text of an expression, or tells what is wrong with it.
 *
 * One function for each level of the grammar, loosest first.  What they parse
 * they append to the code, operands before operators, so the code needs no
 * tree.  They return false when the error has been filled.  Nothing here
 * raises an error: a caller wants to hear about all the texts of a config.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "expr/internal.h"

/* Parses what stands on one level of the grammar. */
typedef bool (*ParseLevel) (Parser *parser);

static bool parse_text(Parser *parser);
static bool parse_conditional(Parser *parser);
static bool parse_or(Parser *parser);
static bool parse_and(Parser *parser);
static bool parse_logic(Parser *parser, TokenKind kind, ExprOp op, ParseLevel parse_operand);
static bool parse_not(Parser *parser);
static bool parse_comparison(Parser *parser);
static bool parse_sum(Parser *parser);
static bool parse_product(Parser *parser);
static bool parse_chain(Parser *parser, TokenKind first, TokenKind last, ParseLevel parse_operand);
static bool parse_sign(Parser *parser);
static bool parse_primary(Parser *parser);
static bool parse_name(Parser *parser);
static bool parse_call(Parser *parser, const ExprFunction *function);
static bool parse_arguments(Parser *parser, const ExprFunction *function, int *count);
static bool argument_check(Parser *parser, const ExprFunction *function, int index, int start);
static bool parser_enter(Parser *parser);
static bool parser_leave(Parser *parser);
static bool parser_refuse(Parser *parser, const char *expected);
static bool parser_refuse_name(Parser *parser);
static ExprOp token_op(TokenKind kind);

/*
 * expr_parse makes the program of a text, in the current memory context, or returns NULL and fills error.
 *
 * The text may name these units, NULL for none.
 */
ExprProgram *
expr_parse(const char *text, int len, const ExprUnits *units, ExprError *error)
{
	Parser	   *parser;
	ExprProgram *program = NULL;

	expr_constants_load();
	parser = palloc(sizeof(Parser));
	parser->lexer = (Lexer) {.text = text, .length = len, .units = units, .error = error};
	parser->level = parser->nodes = parser->count = parser->number_count = 0;

	if (parse_text(parser))
		program = program_build(parser);

	for (int i = 0; i < parser->number_count; i++)
		pfree(parser->numbers[i]);
	pfree(parser);
	return program;
}

/*
 * parse_text parses all of the text.
 */
static bool
parse_text(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;

	if (lexer->length > EXPR_MAX_BYTES)
	{
		int			bytes = pg_mbcliplen(lexer->text, lexer->length, EXPR_MAX_BYTES);

		return lexer_fail(lexer, pg_mbstrlen_with_len(lexer->text, bytes), ERRCODE_INVALID_PARAMETER_VALUE,
						  "expression is longer than %d bytes", EXPR_MAX_BYTES);
	}

	if (!lexer_next(lexer))
		return false;
	if (lexer->token.kind == TOKEN_END)
		return lexer_fail(lexer, 0, ERRCODE_INVALID_PARAMETER_VALUE, "expression is empty");
	if (!parse_conditional(parser))
		return false;
	return lexer->token.kind == TOKEN_END || parser_refuse(parser, "an operator");
}

/*
 * parse_conditional parses: value if condition else value.
 *
 * The condition is evaluated first, so its code changes places with the code of the value before it.
 */
static bool
parse_conditional(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;
	int			value = parser->count;
	int			condition;
	int			skip_value;
	int			skip_other;
	Token		token;

	if (!parse_or(parser))
		return false;
	token = lexer->token;
	if (token.kind != TOKEN_IF)
		return true;

	condition = parser->count;
	if (!node_count(parser, &token) || !lexer_next(lexer) || !parse_or(parser))
		return false;
	if (lexer->token.kind != TOKEN_ELSE)
		return parser_refuse(parser, "an operator or \"else\"");
	code_append(parser, EXPR_JUMP_IF_FALSE, 0, &token);
	skip_value = value + parser->count - condition - 1;
	code_swap(parser, value, condition);

	skip_other = code_append(parser, EXPR_JUMP, 0, &token);
	jump_land(parser, skip_value);
	if (!parser_enter(parser) || !parse_conditional(parser))
		return false;
	parser->level--;
	jump_land(parser, skip_other);
	return true;
}

/*
 * parse_or parses operands of "or": the first that is true decides, else the last.
 */
static bool
parse_or(Parser *parser)
{
	return parse_logic(parser, TOKEN_OR, EXPR_OR, parse_and);
}

/*
 * parse_and parses operands of "and": the first that is false decides, else the last.
 */
static bool
parse_and(Parser *parser)
{
	return parse_logic(parser, TOKEN_AND, EXPR_AND, parse_not);
}

/*
 * parse_logic parses operands, between which a jump leaves out those that are not needed.
 */
static bool
parse_logic(Parser *parser, TokenKind kind, ExprOp op, ParseLevel parse_operand)
{
	Lexer	   *lexer = &parser->lexer;

	if (!parse_operand(parser))
		return false;

	while (lexer->token.kind == kind)
	{
		int			jump = parser->count;

		if (!node_append(parser, op, 0, &lexer->token) || !lexer_next(lexer) || !parse_operand(parser))
			return false;
		jump_land(parser, jump);
	}
	return true;
}

/*
 * parse_not parses any number of "not" and the comparison that they apply to.
 */
static bool
parse_not(Parser *parser)
{
	Token		token = parser->lexer.token;
	int			count = 0;

	for (; parser->lexer.token.kind == TOKEN_NOT; count++)
	{
		if (!node_count(parser, &parser->lexer.token) || !lexer_next(&parser->lexer))
			return false;
	}

	if (!parse_comparison(parser))
		return false;
	for (; count > 0; count--)
		code_append(parser, EXPR_NOT, 0, &token);
	return true;
}

/*
 * parse_comparison parses a chain of comparisons, each operand of which is evaluated at most once.
 *
 * While the end of the chain is not known, each comparison's argument is the place of the one before.
 */
static bool
parse_comparison(Parser *parser)
{
	int			comparison = -1;
	int			previous;

	if (!parse_sum(parser))
		return false;

	while (parser->lexer.token.kind >= TOKEN_LESS && parser->lexer.token.kind <= TOKEN_NOT_EQUAL)
	{
		Token		token = parser->lexer.token;

		if (!lexer_next(&parser->lexer) || !parse_sum(parser) ||
			!node_append(parser, token_op(token.kind), comparison, &token))
			return false;
		comparison = parser->count - 1;
	}

	if (comparison < 0)
		return true;
	previous = parser->code[comparison].argument;
	parser->code[comparison].argument = 0;
	while (previous >= 0)
	{
		comparison = previous;
		previous = parser->code[comparison].argument;
		jump_land(parser, comparison);
	}
	return true;
}

/*
 * parse_sum parses terms and the signs between them.
 */
static bool
parse_sum(Parser *parser)
{
	return parse_chain(parser, TOKEN_PLUS, TOKEN_MINUS, parse_product);
}

/*
 * parse_product parses factors and what multiplies or divides them.
 */
static bool
parse_product(Parser *parser)
{
	return parse_chain(parser, TOKEN_STAR, TOKEN_PERCENT, parse_sign);
}

/*
 * parse_chain parses operands and the operators between them, of one precedence, from left to right.
 */
static bool
parse_chain(Parser *parser, TokenKind first, TokenKind last, ParseLevel parse_operand)
{
	Lexer	   *lexer = &parser->lexer;

	if (!parse_operand(parser))
		return false;

	while (lexer->token.kind >= first && lexer->token.kind <= last)
	{
		Token		token = lexer->token;

		if (!lexer_next(lexer) || !parse_operand(parser) ||
			!node_append(parser, token_op(token.kind), 0, &token))
			return false;
	}
	return true;
}

/*
 * parse_sign parses a value with signs before it.
 */
static bool
parse_sign(Parser *parser)
{
	Token		token = parser->lexer.token;
	int			operand = parser->count;

	if (token.kind != TOKEN_PLUS && token.kind != TOKEN_MINUS)
		return parse_primary(parser);

	if (!node_count(parser, &token) || !parser_enter(parser) || !parse_sign(parser))
		return false;
	parser->level--;
	if (token.kind == TOKEN_MINUS)
		code_negate(parser, operand, &token);
	return true;
}

/*
 * parse_primary parses a number, a variable, a call, or an expression in parentheses.
 */
static bool
parse_primary(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;

	switch (lexer->token.kind)
	{
		case TOKEN_NUMBER:
			return number_append(parser, &lexer->token) && lexer_next(lexer);
		case TOKEN_IF:
		case TOKEN_NAME:
			return parse_name(parser);
		case TOKEN_OPEN:
			if (!parser_enter(parser) || !parse_conditional(parser))
				return false;
			if (lexer->token.kind != TOKEN_CLOSE)
				return parser_refuse(parser, "an operator or \")\"");
			return parser_leave(parser);
		default:
			return parser_refuse(parser, "a value");
	}
}

/*
 * parse_name parses a variable or a call.
 */
static bool
parse_name(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;
	Token		token = lexer->token;
	const char *name = lexer->text + token.offset;
	int			variable = expr_variable_find(name, token.length, lexer->units);
	const ExprFunction *function = expr_function_find(name, lexer->token.length);

	if (function != NULL)
		return parse_call(parser, function);
	if (variable < 0)
		return parser_refuse_name(parser);

	if (!node_append(parser, EXPR_VARIABLE, variable, &lexer->token) || !lexer_next(lexer))
		return false;
	if (lexer->token.kind == TOKEN_OPEN)
		return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "%.*s is a variable, not a function", token.length, name);
	return true;
}

/*
 * parse_call parses a call of this function, whose name is the token here.
 */
static bool
parse_call(Parser *parser, const ExprFunction *function)
{
	Lexer	   *lexer = &parser->lexer;
	Token		name = lexer->token;
	int			count;

	if (!node_count(parser, &name) || !lexer_next(lexer))
		return false;
	if (lexer->token.kind != TOKEN_OPEN)
	{
		char		quote[LEXER_QUOTE_SIZE];

		return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "expected \"(\" after function %s, found %s", function->name,
						  lexer_quote(lexer, quote));
	}
	if (!parser_enter(parser) || !parse_arguments(parser, function, &count))
		return false;
	if (lexer->token.kind != TOKEN_CLOSE)
		return parser_refuse(parser, "an operator, \",\" or \")\"");

	if (count < function->least || count > function->most || (function->even && count % 2 != 0))
		return lexer_fail(lexer, name.offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "function %s takes %s, found %d", function->name, function->takes, count);
	if (function->op != EXPR_IF)
		code_append(parser, function->op, count, &name);
	return parser_leave(parser);
}

/*
 * parse_arguments parses what stands between the parentheses of a call, and counts it.
 *
 * Those of "if" have the jumps of a conditional between them.
 */
static bool
parse_arguments(Parser *parser, const ExprFunction *function, int *count)
{
	Lexer	   *lexer = &parser->lexer;
	int			jump = 0;

	*count = 0;
	if (lexer->token.kind == TOKEN_CLOSE)
		return true;

	for (;;)
	{
		int			start = parser->count;
		int			landing = jump;

		if (!parse_conditional(parser) || !argument_check(parser, function, *count, start))
			return false;
		(*count)++;

		if (function->op == EXPR_IF && *count <= 2)
			jump = code_append(parser, *count == 1 ? EXPR_JUMP_IF_FALSE : EXPR_JUMP, 0, &lexer->token);
		if (function->op == EXPR_IF && (*count == 2 || *count == 3))
			jump_land(parser, landing);

		if (lexer->token.kind != TOKEN_COMMA)
			return true;
		if (!lexer_next(lexer))
			return false;
	}
}

/*
 * argument_check refuses a written argument that the function would refuse whenever it is called.
 */
static bool
argument_check(Parser *parser, const ExprFunction *function, int index, int start)
{
	const ExprInstruction *argument = &parser->code[start];
	ExprError  *error = parser->lexer.error;
	bool		valid = true;
	int			digits;

	if (parser->count != start + 1 || argument->op != EXPR_LITERAL)
		return true;

	if (function->op == EXPR_ROUND && index == 1)
		valid = expr_check_digits(parser->numbers[argument->argument], &digits, error);
	else if (function->op == EXPR_PERCENTILE && index == 0)
		valid = expr_check_percentage(parser->numbers[argument->argument], error);
	if (!valid)
		error->position = argument->offset + 1;
	return valid;
}

/*
 * parser_enter goes one level deeper with the token here, and on to the next one.
 */
static bool
parser_enter(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;

	if (++parser->level > EXPR_MAX_LEVELS)
		return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "expression is nested more than %d levels deep", EXPR_MAX_LEVELS);
	return lexer_next(lexer);
}

/*
 * parser_leave comes back from a level with the parenthesis here, and goes on to the next token.
 */
static bool
parser_leave(Parser *parser)
{
	parser->level--;
	return lexer_next(&parser->lexer);
}

/*
 * parser_refuse tells what should have stood where the token is.
 */
static bool
parser_refuse(Parser *parser, const char *expected)
{
	Lexer	   *lexer = &parser->lexer;
	char		quote[LEXER_QUOTE_SIZE];

	return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE,
					  "expected %s, found %s", expected, lexer_quote(lexer, quote));
}

/*
 * parser_refuse_name tells which names there are.
 */
static bool
parser_refuse_name(Parser *parser)
{
	Lexer	   *lexer = &parser->lexer;
	bool		call = lexer_before_open(lexer);
	char		quote[LEXER_QUOTE_SIZE];
	char		known[EXPR_NAMES_SIZE];

	return lexer_fail(lexer, lexer->token.offset, ERRCODE_INVALID_PARAMETER_VALUE,
					  "unknown %s %s, known are %s",
					  call ? "function" : "variable",
					  lexer_quote(lexer, quote),
					  call ? expr_function_list(known) : expr_variable_list(known, lexer->units));
}

/*
 * token_op gives the operation of an operator; both are listed in the same order.
 */
static ExprOp
token_op(TokenKind kind)
{
	StaticAssertStmt(TOKEN_PERCENT - TOKEN_LESS == EXPR_MODULO - EXPR_LESS,
					 "operators and operations must be listed in the same order");
	return EXPR_LESS + (kind - TOKEN_LESS);
}
