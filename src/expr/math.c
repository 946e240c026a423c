/*
 * math.c
 *	  The arithmetic of the expression language over exact numeric.
 *
 * Every value that a program meets has passed expr_check_range.  So sums and
 * products fit into numeric exactly, and no step takes long.  Only a quotient
 * that has no end is rounded.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "expr/internal.h"

/* PostgreSQL 19 has other names. NULL stands for an error that is raised, with both. */
#if PG_VERSION_NUM >= 190000
#define numeric_add_opt_error	numeric_add_safe
#define numeric_sub_opt_error	numeric_sub_safe
#define numeric_mul_opt_error	numeric_mul_safe
#define numeric_div_opt_error	numeric_div_safe
#define numeric_mod_opt_error	numeric_mod_safe
#define numeric_int4_opt_error	numeric_int4_safe
#endif

/* A quotient of numeric has at least 16 significant digits; with these it has 24. */
#define GUARD_DIGITS 8

/* What round takes as its second argument. */
#define MAX_DIGITS 10

ExprConstants expr_constants;

static bool fail(ExprError *error, int sqlstate, const char *format,...) pg_attribute_printf(3, 4);
static Numeric divide(Numeric dividend, Numeric divisor);
static Numeric floor_divide(Numeric dividend, Numeric divisor);
static Numeric modulo(Numeric dividend, Numeric divisor);
static Numeric call_round(Numeric *arguments, int count, ExprError *error);
static Numeric call_tier(Numeric *arguments, int count);
static Numeric call_percentile(Numeric *arguments, int count, ExprError *error);
static Numeric lesser(Numeric left, Numeric right);
static Numeric greater(Numeric left, Numeric right);
static Numeric number_floor(Numeric value);
static Numeric number_round(Numeric value, int scale);
static int	number_scale(Numeric value);
static int	compare_for_sort(const void *left, const void *right);

/*
 * expr_constants_load makes the numbers that arithmetic refers to, once in the life of a backend.
 */
void
expr_constants_load(void)
{
	MemoryContext caller;
	ExprConstants made;

	if (expr_constants.zero != NULL)
		return;

	caller = MemoryContextSwitchTo(TopMemoryContext);
	made.zero = expr_number("0");
	made.one = expr_number("1");
	made.hundred = expr_number("100");
	made.hundredth = expr_number("0.01");
	made.greatest = expr_number("1e40");
	made.lowest = expr_number("-1e40");
	made.least = expr_number("1e-40");
	MemoryContextSwitchTo(caller);

	expr_constants = made;
}

/*
 * expr_number gives the numeric of a well-formed text.
 */
Numeric
expr_number(const char *digits)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(digits),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * expr_trim gives the value without zeros at its end.
 */
Numeric
expr_trim(Numeric value)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(value)));
}

/*
 * expr_negate gives the value with the other sign.
 */
Numeric
expr_negate(Numeric value)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_uminus, NumericGetDatum(value)));
}

/*
 * expr_compare gives a number below, at or above 0 as left is less than, equal to or greater than right.
 */
int
expr_compare(Numeric left, Numeric right)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(left), NumericGetDatum(right)));
}

/*
 * expr_is_zero tells whether the value counts as false.
 */
bool
expr_is_zero(Numeric value)
{
	return expr_compare(value, expr_constants.zero) == 0;
}

/*
 * expr_check_range accepts a value that can be calculated with: not NaN, not infinite, not too great,
 * small or long.
 */
bool
expr_check_range(Numeric value, ExprError *error)
{
	int			scale;

	if (expr_compare(value, expr_constants.greatest) > 0 || expr_compare(value, expr_constants.lowest) < 0)
		return fail(error, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						 "value out of range, its magnitude is above 10^%d", EXPR_MAX_EXPONENT);

	/* Only a value with more decimal places than the least one can be less. */
	scale = number_scale(value);
	if (scale <= EXPR_MAX_EXPONENT)
		return true;

	if (scale > EXPR_MAX_SCALE)
		return fail(error, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
						 "value out of range, it has more than %d decimal places", EXPR_MAX_SCALE);
	if (expr_compare(value, expr_constants.least) >= 0 || expr_is_zero(value) ||
		expr_compare(expr_negate(value), expr_constants.least) >= 0)
		return true;
	return fail(error, ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
					 "value out of range, its magnitude is below 10^-%d", EXPR_MAX_EXPONENT);
}

/*
 * expr_check_digits accepts what round takes as its second argument, and gives it as an integer.
 */
bool
expr_check_digits(Numeric value, int *digits, ExprError *error)
{
	if (expr_compare(value, int64_to_numeric(-MAX_DIGITS)) >= 0 &&
		expr_compare(value, int64_to_numeric(MAX_DIGITS)) <= 0 &&
		expr_compare(value, number_floor(value)) == 0)
	{
		*digits = numeric_int4_opt_error(value, NULL);
		return true;
	}
	return fail(error, ERRCODE_INVALID_PARAMETER_VALUE,
					 "function round takes a whole number of digits from -%d to %d", MAX_DIGITS, MAX_DIGITS);
}

/*
 * expr_check_percentage accepts what percentile takes as its first argument.
 */
bool
expr_check_percentage(Numeric value, ExprError *error)
{
	if (expr_compare(value, expr_constants.zero) >= 0 && expr_compare(value, expr_constants.hundred) <= 0)
		return true;
	return fail(error, ERRCODE_INVALID_PARAMETER_VALUE,
					 "function percentile takes a percentage from 0 to 100");
}

/*
 * expr_calculate gives what an operator makes of two values, or NULL.
 */
Numeric
expr_calculate(ExprOp op, Numeric left, Numeric right, ExprError *error)
{
	if (op >= EXPR_DIVIDE && expr_is_zero(right))
	{
		fail(error, ERRCODE_DIVISION_BY_ZERO, "division by zero");
		return NULL;
	}

	switch (op)
	{
		case EXPR_ADD:
			return numeric_add_opt_error(left, right, NULL);
		case EXPR_SUBTRACT:
			return numeric_sub_opt_error(left, right, NULL);
		case EXPR_MULTIPLY:
			return numeric_mul_opt_error(left, right, NULL);
		case EXPR_DIVIDE:
			return divide(left, right);
		case EXPR_FLOOR_DIVIDE:
			return floor_divide(left, right);
		case EXPR_MODULO:
			return modulo(left, right);
		default:
			elog(ERROR, "unexpected expression operator %d", op);
	}
}

/*
 * expr_call gives what a function makes of its arguments, or NULL; it may reorder them.
 */
Numeric
expr_call(ExprOp op, Numeric *arguments, int count, ExprError *error)
{
	Numeric		result = arguments[0];

	switch (op)
	{
		case EXPR_CEIL:
			return DatumGetNumeric(DirectFunctionCall1(numeric_ceil, NumericGetDatum(result)));
		case EXPR_FLOOR:
			return number_floor(result);
		case EXPR_ROUND:
			return call_round(arguments, count, error);
		case EXPR_MIN:
			for (int i = 1; i < count; i++)
				result = lesser(result, arguments[i]);
			return result;
		case EXPR_MAX:
			for (int i = 1; i < count; i++)
				result = greater(result, arguments[i]);
			return result;
		case EXPR_TIER:
			return call_tier(arguments, count);
		case EXPR_CLAMP:
			return greater(arguments[1], lesser(result, arguments[2]));
		case EXPR_PERCENTILE:
			return call_percentile(arguments, count, error);
		default:
			elog(ERROR, "unexpected expression function %d", op);
	}
}

/*
 * Fill an error but for its position. Returns false.
 */
static bool
fail(ExprError *error, int sqlstate, const char *format,...)
{
	va_list		arguments;

	error->sqlstate = sqlstate;
	va_start(arguments, format);
	vsnprintf(error->message, sizeof(error->message), format, arguments);
	va_end(arguments);
	return false;
}

/*
 * divide gives the quotient, exactly or with at least 24 significant digits.
 *
 * Digits far beyond that would do harm: what is left of x / 3 * 3 - x should not be out of range.
 */
static Numeric
divide(Numeric dividend, Numeric divisor)
{
	Numeric		quotient = numeric_div_opt_error(dividend, divisor, NULL);
	int			scale = number_scale(quotient) + GUARD_DIGITS;

	/* numeric gives a quotient as many decimal places as its dividend has, up to a maximum. */
	if (scale <= NUMERIC_MAX_DISPLAY_SCALE &&
		expr_compare(numeric_mul_opt_error(quotient, divisor, NULL), dividend) != 0)
		quotient = numeric_div_opt_error(number_round(dividend, scale), divisor, NULL);
	return expr_trim(quotient);
}

/*
 * floor_divide gives the greatest integer that is not above the quotient.
 */
static Numeric
floor_divide(Numeric dividend, Numeric divisor)
{
	Numeric		quotient = DatumGetNumeric(DirectFunctionCall2(numeric_div_trunc, NumericGetDatum(dividend),
															   NumericGetDatum(divisor)));
	Numeric		product = numeric_mul_opt_error(quotient, divisor, NULL);
	int			order = expr_compare(product, dividend);

	/* Cut off towards zero, a quotient that is not positive may be one too great. */
	if (order == 0 || (order < 0) == (expr_compare(divisor, expr_constants.zero) > 0))
		return quotient;
	return numeric_sub_opt_error(quotient, expr_constants.one, NULL);
}

/*
 * modulo gives what floor_divide leaves: it has the sign of the divisor.
 */
static Numeric
modulo(Numeric dividend, Numeric divisor)
{
	Numeric		rest = numeric_mod_opt_error(dividend, divisor, NULL);
	int			sign = expr_compare(rest, expr_constants.zero);

	if (sign == 0 || sign == expr_compare(divisor, expr_constants.zero))
		return rest;
	return numeric_add_opt_error(rest, divisor, NULL);
}

/*
 * call_round rounds to whole or decimal digits.
 */
static Numeric
call_round(Numeric *arguments, int count, ExprError *error)
{
	int			digits = 0;

	if (count == 2 && !expr_check_digits(arguments[1], &digits, error))
		return NULL;
	return number_round(arguments[0], digits);
}

/*
 * call_tier gives the rate of the first threshold above the value, else the last argument.
 */
static Numeric
call_tier(Numeric *arguments, int count)
{
	for (int i = 1; i < count - 1; i += 2)
	{
		if (expr_compare(arguments[0], arguments[i]) < 0)
			return arguments[i + 1];
	}
	return arguments[count - 1];
}

/*
 * call_percentile interpolates between the two sorted values next to the percentage's rank.
 */
static Numeric
call_percentile(Numeric *arguments, int count, ExprError *error)
{
	Numeric    *values = arguments + 1;
	Numeric		rank;
	Numeric		below;
	Numeric		fraction;
	Numeric		step;
	int			place;

	if (!expr_check_percentage(arguments[0], error))
		return NULL;
	qsort(values, count - 1, sizeof(Numeric), compare_for_sort);

	rank = numeric_mul_opt_error(numeric_mul_opt_error(arguments[0], expr_constants.hundredth, NULL),
								 int64_to_numeric(count - 2), NULL);
	below = number_floor(rank);
	place = numeric_int4_opt_error(below, NULL);
	fraction = numeric_sub_opt_error(rank, below, NULL);
	if (expr_is_zero(fraction))
		return values[place];

	step = numeric_sub_opt_error(values[place + 1], values[place], NULL);
	return numeric_add_opt_error(values[place], numeric_mul_opt_error(step, fraction, NULL), NULL);
}

/*
 * lesser gives the lesser of two values.
 */
static Numeric
lesser(Numeric left, Numeric right)
{
	return expr_compare(right, left) < 0 ? right : left;
}

/*
 * greater gives the greater of two values.
 */
static Numeric
greater(Numeric left, Numeric right)
{
	return expr_compare(right, left) > 0 ? right : left;
}

/*
 * number_floor gives the greatest integer that is not above the value.
 */
static Numeric
number_floor(Numeric value)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_floor, NumericGetDatum(value)));
}

/*
 * number_round rounds half away from zero to a number of decimal places.
 */
static Numeric
number_round(Numeric value, int scale)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(value), Int32GetDatum(scale)));
}

/*
 * number_scale gives the number of decimal places.
 */
static int
number_scale(Numeric value)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(value)));
}

/*
 * compare_for_sort compares for qsort.
 */
static int
compare_for_sort(const void *left, const void *right)
{
	return expr_compare(*(const Numeric *) left, *(const Numeric *) right);
}
