/*
 * code.c
 *	  What the parser builds programs with.
 *
 * Instructions and numbers are collected in the parser and laid into one chunk
 * at the end.  Jumps are relative, so a block of code can be moved.
 */
#include "postgres.h"

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "expr/internal.h"

static Numeric number_read(const char *text, int length);
static void code_reverse(ExprInstruction *code, int count);

/*
 * node_count counts one more node, which this token stands for.
 */
bool
node_count(Parser *parser, const Token *token)
{
	if (++parser->nodes > EXPR_MAX_NODES)
		return lexer_fail(&parser->lexer, token->offset, ERRCODE_INVALID_PARAMETER_VALUE,
						  "expression has more than %d numbers, names and operators", EXPR_MAX_NODES);
	return true;
}

/*
 * node_append counts a node and appends its instruction.
 */
bool
node_append(Parser *parser, ExprOp op, int argument, const Token *token)
{
	if (!node_count(parser, token))
		return false;
	code_append(parser, op, argument, token);
	return true;
}

/*
 * code_append appends an instruction and gives its place.
 */
int
code_append(Parser *parser, ExprOp op, int argument, const Token *token)
{
	Assert(parser->count < lengthof(parser->code));
	parser->code[parser->count] = (ExprInstruction) {.op = op, .offset = token->offset, .argument = argument};
	return parser->count++;
}

/*
 * code_negate changes the sign of the value whose code begins at this place: of a number at once.
 */
void
code_negate(Parser *parser, int place, const Token *token)
{
	ExprInstruction *operand = &parser->code[place];

	if (operand->op == EXPR_LITERAL && parser->count == place + 1)
	{
		Numeric    *number = &parser->numbers[operand->argument];
		Numeric		negative = expr_negate(*number);

		pfree(*number);
		*number = negative;
		operand->offset = token->offset;
	}
	else
		code_append(parser, EXPR_NEGATE, 0, token);
}

/*
 * code_swap lets the code between two places and the code behind the second one change places.
 */
void
code_swap(Parser *parser, int first, int second)
{
	code_reverse(parser->code + first, second - first);
	code_reverse(parser->code + second, parser->count - second);
	code_reverse(parser->code + first, parser->count - first);
}

/*
 * code_reverse turns the order of instructions around.
 */
static void
code_reverse(ExprInstruction *code, int count)
{
	for (int i = 0; i < count / 2; i++)
	{
		ExprInstruction instruction = code[i];

		code[i] = code[count - 1 - i];
		code[count - 1 - i] = instruction;
	}
}

/*
 * jump_land lets the jump at this place end behind the code so far.
 */
void
jump_land(Parser *parser, int jump)
{
	parser->code[jump].argument = parser->count - jump - 1;
}

/*
 * number_append appends the literal that this token is.
 */
bool
number_append(Parser *parser, const Token *token)
{
	ExprError  *error = parser->lexer.error;
	Numeric		number;

	if (!node_append(parser, EXPR_LITERAL, parser->number_count, token))
		return false;

	number = number_read(parser->lexer.text + token->offset, token->length);
	parser->numbers[parser->number_count++] = number;
	error->position = token->offset + 1;
	return expr_check_range(number, error);
}

/*
 * number_read gives the value of a literal, or the nearest value out of range for one that is far out.
 */
static Numeric
number_read(const char *text, int length)
{
	bool		significant = false;
	bool		fraction = false;
	int			magnitude = 0;	/* the value is 0.d... * 10^magnitude */
	int			exponent = 0;
	int			i;
	char	   *digits;
	Numeric		number;
	Numeric		trimmed;

	for (i = 0; i < length && text[i] != 'e' && text[i] != 'E'; i++)
	{
		significant = significant || (text[i] != '.' && text[i] != '0');
		if (text[i] == '.')
			fraction = true;
		else if (significant && !fraction)
			magnitude++;
		else if (!significant && fraction)
			magnitude--;
	}
	if (i < length)
	{
		bool		negative = text[i + 1] == '-';

		for (i += (negative || text[i + 1] == '+') ? 2 : 1; i < length; i++)
			exponent = Min(exponent * 10 + (text[i] - '0'), 10 * EXPR_MAX_BYTES);
		magnitude += negative ? -exponent : exponent;
	}

	if (!significant)
		return expr_number("0");
	if (magnitude > EXPR_MAX_EXPONENT + 1)
		return expr_number("1e41");
	if (magnitude < -EXPR_MAX_EXPONENT + 1)
		return expr_number("1e-41");

	digits = pnstrdup(text, length);
	number = expr_number(digits);
	trimmed = expr_trim(number);
	pfree(digits);
	pfree(number);
	return trimmed;
}

/*
 * program_build lays the code and behind it the numbers into one chunk.
 */
ExprProgram *
program_build(const Parser *parser)
{
	Size		place = MAXALIGN(offsetof(ExprProgram, code) + parser->count * sizeof(ExprInstruction));
	Size		size = place;
	ExprProgram *program;

	for (int i = 0; i < parser->number_count; i++)
		size += MAXALIGN(VARSIZE(parser->numbers[i]));

	program = palloc0(size);
	program->size = size;
	program->count = parser->count;
	memcpy(program->code, parser->code, parser->count * sizeof(ExprInstruction));

	for (int i = 0; i < program->count; i++)
	{
		ExprInstruction *instruction = &program->code[i];
		Numeric		number;

		if (instruction->op != EXPR_LITERAL)
			continue;
		number = parser->numbers[instruction->argument];
		instruction->argument = place;
		memcpy(ExprProgramNumber(program, place), number, VARSIZE(number));
		place += MAXALIGN(VARSIZE(number));
	}
	return program;
}
