/*
 * expr_fuzz.c
 *	  A libFuzzer target: parses any bytes as an expression and evaluates what parses.
 *
 * Beside the sanitizers it checks what must hold for every text: an error has a
 * place in the text, a program is within its limits and uses its stack rightly,
 * evaluating it again, or a copy of it, gives the same, and so do parentheses
 * around it.
 */
#include "postgres.h"

#include "expr/internal.h"

#define CHECK(condition) \
	((condition) ? (void) 0 : (fprintf(stderr, "%s does not hold\n", #condition), abort()))

/* What texts may name besides, and how many variables there are with that. */
static const ExprUnits units = {.count = 2, .names = {"images", "gpu_s"}};

#define VARIABLES	(EXPR_VARIABLE_COUNT + 2)

/* Values for the variables: none, usual ones, and those at the ends of the range. */
static const char *const vectors[][VARIABLES] = {
	{NULL},
	{"1200", "350", "100", "20", "3", "2", "10", "1", "0.5", "4", "12.25"},
	{"1e40", "-1e40", "1e-40", "-1e-40", "0.1", "-7", "1.50", "1e20", "1e-20", "1e39", "-1e-39"}
};

typedef struct Outcome
{
	Numeric		value;			/* NULL: an error */
	ExprError	error;
} Outcome;

static void check_error(const ExprError *error, int length);
static void check_program(const ExprProgram *program);
static void check_value(const ExprProgram *program, const char *text, int length);
static void check_same(Outcome left, Outcome right, int offset);
static Outcome evaluate(const ExprProgram *program, const char *const *vector);
static int	flow(int *depths, int place, int depth);
static int	arguments_taken(const ExprInstruction *instruction);

/*
 * LLVMFuzzerTestOneInput checks one text.
 */
int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	const char *text = (const char *) data;
	ExprError	error = {0};
	ExprProgram *program = expr_parse(text, size, &units, &error);

	if (program == NULL)
		check_error(&error, size);
	else
	{
		check_program(program);
		check_value(program, text, size);
	}
	memory_reset();
	return 0;
}

/*
 * check_error checks that an error says what is wrong and where.
 */
static void
check_error(const ExprError *error, int length)
{
	CHECK(error->position >= 1 && error->position <= length + 1);
	CHECK(error->message[0] != '\0' && strlen(error->message) < sizeof(error->message));
	CHECK(error->sqlstate == ERRCODE_INVALID_PARAMETER_VALUE ||
		  error->sqlstate == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE ||
		  error->sqlstate == ERRCODE_DIVISION_BY_ZERO);
}

/*
 * check_program follows every path through the code and checks what lies on the stack.
 */
static void
check_program(const ExprProgram *program)
{
	int			count = program->count;
	int			code_end = offsetof(ExprProgram, code) + count * sizeof(ExprInstruction);
	int		   *depths = palloc((count + 1) * sizeof(int));

	CHECK(count >= 1 && count <= 2 * EXPR_MAX_NODES && code_end <= program->size);
	memset(depths, -1, (count + 1) * sizeof(int));
	depths[0] = 0;

	for (int i = 0; i < count; i++)
	{
		const ExprInstruction *instruction = &program->code[i];
		int			argument = instruction->argument;
		int			taken = arguments_taken(instruction);
		int			depth = depths[i] - taken;

		CHECK(depths[i] >= taken && instruction->op < EXPR_IF && instruction->offset < EXPR_MAX_BYTES);
		if (instruction->op == EXPR_LITERAL)
			CHECK(argument >= code_end && argument % 8 == 0 &&
				  argument + VARSIZE(ExprProgramNumber(program, argument)) <= program->size);
		else if (instruction->op == EXPR_VARIABLE)
			CHECK(argument >= 0 && argument < VARIABLES);
		else if (instruction->op < EXPR_NOT ||
				 (instruction->op >= EXPR_LESS && instruction->op <= EXPR_NOT_EQUAL && argument != 0))
		{
			/* A jump: what decides a logical operation or a chain stays on the stack. */
			CHECK(argument > 0 && i + argument + 1 <= count);
			flow(depths, i + argument + 1, depth + (instruction->op >= EXPR_AND));
			if (instruction->op != EXPR_JUMP)
				flow(depths, i + 1, depth + (instruction->op >= EXPR_LESS));
			continue;
		}
		CHECK(flow(depths, i + 1, depth + 1) <= EXPR_MAX_NODES);
	}
	CHECK(depths[count] == 1);
}

/*
 * check_value checks that a program has one value, however it is evaluated.
 */
static void
check_value(const ExprProgram *program, const char *text, int length)
{
	ExprProgram *copy = palloc(program->size);
	char	   *enclosed = palloc(length + 2);
	ExprError	error = {0};
	ExprProgram *other;

	memcpy(copy, program, program->size);
	enclosed[0] = '(';
	memcpy(enclosed + 1, text, length);
	enclosed[length + 1] = ')';
	other = expr_parse(enclosed, length + 2, &units, &error);
	CHECK(other != NULL || length + 2 > EXPR_MAX_BYTES || strstr(error.message, "nested") != NULL);

	for (int i = 0; i < lengthof(vectors); i++)
	{
		Outcome		outcome = evaluate(program, vectors[i]);

		if (outcome.value == NULL)
			check_error(&outcome.error, length);
		else
			CHECK(expr_check_range(outcome.value, &error));
		check_same(outcome, evaluate(program, vectors[i]), 0);
		check_same(outcome, evaluate(copy, vectors[i]), 0);
		if (other != NULL)
			check_same(outcome, evaluate(other, vectors[i]), 1);
	}
}

/*
 * check_same compares two outcomes, the place of the second's error being some characters further on.
 */
static void
check_same(Outcome left, Outcome right, int offset)
{
	CHECK((left.value == NULL) == (right.value == NULL));
	if (left.value != NULL)
		CHECK(expr_compare(left.value, right.value) == 0);
	else
		CHECK(left.error.sqlstate == right.error.sqlstate &&
			  left.error.position + offset == right.error.position &&
			  strcmp(left.error.message, right.error.message) == 0);
}

/*
 * evaluate evaluates a program with these values of the variables.
 */
static Outcome
evaluate(const ExprProgram *program, const char *const *vector)
{
	Numeric		values[VARIABLES];
	Outcome		outcome = {.value = NULL};

	for (int i = 0; i < VARIABLES; i++)
		values[i] = vector[i] == NULL ? NULL : expr_number(vector[i]);
	if (!expr_eval(program, values, &outcome.value, &outcome.error))
		outcome.value = NULL;
	return outcome;
}

/*
 * flow notes how deep the stack is where a path leads, and checks that all paths agree.
 */
static int
flow(int *depths, int place, int depth)
{
	CHECK(depths[place] == -1 || depths[place] == depth);
	return depths[place] = depth;
}

/*
 * arguments_taken tells how many values an instruction takes from the stack.
 */
static int
arguments_taken(const ExprInstruction *instruction)
{
	switch ((ExprOp) instruction->op)
	{
		case EXPR_LITERAL:
		case EXPR_VARIABLE:
		case EXPR_JUMP:
			return 0;
		case EXPR_JUMP_IF_FALSE:
		case EXPR_AND:
		case EXPR_OR:
		case EXPR_NOT:
		case EXPR_NEGATE:
			return 1;
		default:
			return instruction->op <= EXPR_MODULO ? 2 : instruction->argument;
	}
}
