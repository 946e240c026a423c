/*
 * money.c
 *		The one place where numeric becomes a 64-bit count of 1/10000 credits
 *		and back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "money.h"

/*
 * Scale a numeric to 1/10000 credits, rounding half away from zero.
 */
static int64
numeric_to_units(Numeric value)
{
	Datum		scaled = DirectFunctionCall2(numeric_mul, NumericGetDatum(value),
											 NumericGetDatum(int64_to_numeric(MONEY_UNIT)));

	return DatumGetInt64(DirectFunctionCall1(numeric_int8, scaled));
}

/*
 * money_is_bounded tells whether a numeric is finite and, once rounded to four
 * decimals, within the bounds of money.
 */
bool
money_is_bounded(Numeric value)
{
	Datum		half = NumericGetDatum(int64_div_fast_to_numeric(5, MONEY_DECIMALS + 1));
	Datum		limit;
	Datum		magnitude;

	if (numeric_is_nan(value) || numeric_is_inf(value))
		return false;
	limit = DirectFunctionCall2(numeric_add, money_to_datum(MONEY_MAX), half);
	magnitude = DirectFunctionCall1(numeric_abs, NumericGetDatum(value));
	return DatumGetBool(DirectFunctionCall2(numeric_lt, magnitude, limit));
}

/*
 * money_from_numeric takes an argument's value to money: rounded to four
 * decimals half away from zero, rejected when it is not finite or out of
 * bounds.
 */
Money
money_from_numeric(Numeric value, const char *argument)
{
	if (!money_is_bounded(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("argument \"%s\" is out of range: %s", argument,
						DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)))),
				 errhint("Amounts are finite and at most 99999999999999.9999 in magnitude.")));

	return numeric_to_units(value);
}

/*
 * money_from_datum reads a numeric column that this extension wrote.
 */
Money
money_from_datum(Datum value)
{
	return numeric_to_units(DatumGetNumeric(value));
}

/*
 * money_to_datum makes a numeric with four decimals.
 */
Datum
money_to_datum(Money amount)
{
	return NumericGetDatum(int64_div_fast_to_numeric(amount, MONEY_DECIMALS));
}

/*
 * money_to_cstring makes the text of an amount, for messages.
 */
char *
money_to_cstring(Money amount)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, money_to_datum(amount)));
}

/*
 * money_add adds two amounts and rejects a sum that no column could hold.
 * Both are within bounds, so the 64-bit sum itself cannot overflow.
 */
Money
money_add(Money a, Money b, const char *what)
{
	Money		sum = a + b;

	if (sum > MONEY_MAX || sum < -MONEY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range: %s", what, money_to_cstring(sum)),
				 errhint("Amounts are at most 99999999999999.9999 in magnitude.")));
	return sum;
}
