/*
 * eval.c
 *	  Evaluates a program: one walk over its instructions.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "expr/internal.h"

static Numeric variable_load(ExprVariable variable, const Numeric *values, ExprError *error);
static Numeric calculate(ExprOp op, Numeric left, Numeric right, ExprError *error);
static Numeric call(const ExprInstruction *instruction, Numeric *arguments, ExprError *error);
static bool comparison_holds(ExprOp op, Numeric left, Numeric right);
static Numeric truth(bool value);

/*
 * expr_eval gives the value of a program for these values of the variables, or returns false and fills error.
 *
 * The array has EXPR_VARIABLE_COUNT values and those of the units, NULL standing for 0.  The result, without zeros at its end, and
 * all that is needed on the way are allocated in the current memory context, which the caller should drop
 * or reset soon.
 */
bool
expr_eval(const ExprProgram *program, const Numeric *variables, Numeric *result, ExprError *error)
{
	Numeric		stack[EXPR_MAX_NODES];	/* each value on it is of a node of its own */
	Numeric    *top = stack;	/* behind the last value */
	const ExprInstruction *end = program->code + program->count;

	/* The parser lets no operator be without its operands. NOLINTBEGIN(clang-analyzer-core.CallAndMessage) */
	for (const ExprInstruction *instruction = program->code; instruction < end; instruction++)
	{
		ExprOp		op = instruction->op;

		CHECK_FOR_INTERRUPTS();
		switch (op)
		{
			case EXPR_LITERAL:
				*top++ = ExprProgramNumber(program, instruction->argument);
				break;
			case EXPR_VARIABLE:
				*top++ = variable_load(instruction->argument, variables, error);
				break;
			case EXPR_JUMP:
				instruction += instruction->argument;
				continue;
			case EXPR_JUMP_IF_FALSE:
				if (expr_is_zero(*--top))
					instruction += instruction->argument;
				continue;
			case EXPR_AND:
			case EXPR_OR:
				if (expr_is_zero(top[-1]) == (op == EXPR_AND))
					instruction += instruction->argument;
				else
					top--;
				continue;
			case EXPR_NOT:
				top[-1] = truth(expr_is_zero(top[-1]));
				break;
			case EXPR_NEGATE:
				top[-1] = expr_negate(top[-1]);
				break;
			case EXPR_LESS:
			case EXPR_LESS_EQUAL:
			case EXPR_GREATER:
			case EXPR_GREATER_EQUAL:
			case EXPR_EQUAL:
			case EXPR_NOT_EQUAL:
				top--;
				if (!comparison_holds(op, top[-1], top[0]))
				{
					top[-1] = expr_constants.zero;
					instruction += instruction->argument;
				}
				else if (instruction->argument > 0)
					top[-1] = top[0];
				else
					top[-1] = expr_constants.one;
				break;
			case EXPR_ADD:
			case EXPR_SUBTRACT:
			case EXPR_MULTIPLY:
			case EXPR_DIVIDE:
			case EXPR_FLOOR_DIVIDE:
			case EXPR_MODULO:
				top--;
				top[-1] = calculate(op, top[-1], top[0], error);
				break;
			default:
				top -= instruction->argument;
				*top = call(instruction, top, error);
				top++;
				break;
		}

		if (top[-1] == NULL)
		{
			error->position = instruction->offset + 1;
			return false;
		}
	}
	*result = expr_trim(top[-1]);
	/* NOLINTEND(clang-analyzer-core.CallAndMessage) */
	return true;
}

/*
 * variable_load gives the value of a variable, or NULL.
 */
static Numeric
variable_load(ExprVariable variable, const Numeric *values, ExprError *error)
{
	if (values[variable] == NULL)
		return expr_constants.zero;
	return expr_check_range(values[variable], error) ? values[variable] : NULL;
}

/*
 * calculate gives what an operator makes of two values, or NULL.
 */
static Numeric
calculate(ExprOp op, Numeric left, Numeric right, ExprError *error)
{
	Numeric		value = expr_calculate(op, left, right, error);

	return value != NULL && expr_check_range(value, error) ? value : NULL;
}

/*
 * call gives what a function makes of its arguments, or NULL.
 */
static Numeric
call(const ExprInstruction *instruction, Numeric *arguments, ExprError *error)
{
	Numeric		value = expr_call(instruction->op, arguments, instruction->argument, error);

	return value != NULL && expr_check_range(value, error) ? value : NULL;
}

/*
 * comparison_holds tells whether a comparison is true.
 */
static bool
comparison_holds(ExprOp op, Numeric left, Numeric right)
{
	int			order = expr_compare(left, right);

	switch (op)
	{
		case EXPR_LESS:
			return order < 0;
		case EXPR_LESS_EQUAL:
			return order <= 0;
		case EXPR_GREATER:
			return order > 0;
		case EXPR_GREATER_EQUAL:
			return order >= 0;
		case EXPR_EQUAL:
			return order == 0;
		default:
			return order != 0;
	}
}

/*
 * truth gives the number for a truth value.
 */
static Numeric
truth(bool value)
{
	return value ? expr_constants.one : expr_constants.zero;
}
