/*
 * money.c
 *		The one place where numeric becomes a 64-bit count of 1/10000 credits
 *		and back.
 */
#include "postgres.h"

#ifndef HAVE_INT128
#include "common/int.h"
#endif
#include "fmgr.h"
#include "port/pg_bswap.h"
#include "utils/builtins.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "base/money.h"

#define NUMERIC_SENT_POSITIVE	0x0000
#define NUMERIC_SENT_NEGATIVE	0x4000

/*
 * Round a numeric to 1/10000 credits, half away from zero; false when it is
 * not finite or out of the bounds of money. The form in which a numeric is
 * sent is stable: the number of its digits, which are of base 10000, the
 * exponent of the first, the sign, the scale, and the digits.
 */
static bool
numeric_to_units(Datum value, Money *units)
{
	bytea	   *sent = DatumGetByteaPP(DirectFunctionCall1(numeric_send, value));
	uint16	   *words = (uint16 *) VARDATA_ANY(sent);
	int			ndigits = pg_ntoh16(words[0]);
	int			last = (int16) pg_ntoh16(words[1]) + 1; /* the digit of the fourth decimal */
	int			sign = pg_ntoh16(words[2]);
	uint16	   *digits = words + 4;
	int64		sum = 0;

	if (sign != NUMERIC_SENT_POSITIVE && sign != NUMERIC_SENT_NEGATIVE)
		return false;
	if (ndigits > 0 && (last > 4 || (last == 4 && pg_ntoh16(digits[0]) > 99)))
		return false;
	for (int i = 0; i <= last; i++)
		sum = sum * MONEY_UNIT + (i < ndigits ? pg_ntoh16(digits[i]) : 0);
	if (last + 1 >= 0 && last + 1 < ndigits && pg_ntoh16(digits[last + 1]) >= MONEY_UNIT / 2)
		sum++;
	*units = sign == NUMERIC_SENT_NEGATIVE ? -sum : sum;
	return sum <= MONEY_MAX;
}

/*
 * money_is_bounded tells whether a numeric is finite and, once rounded to four
 * decimals, within the bounds of money.
 */
bool
money_is_bounded(Numeric value)
{
	Money		units;

	return numeric_to_units(NumericGetDatum(value), &units);
}

/*
 * money_from_numeric takes an argument's value to money: rounded to four
 * decimals half away from zero, rejected when it is not finite or out of
 * bounds.
 */
Money
money_from_numeric(Numeric value, const char *argument)
{
	Money		units;

	if (!numeric_to_units(NumericGetDatum(value), &units))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("argument \"%s\" is out of range: %s", argument,
						DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value)))),
				 errhint("Amounts are finite and at most 99999999999999.9999 in magnitude.")));

	return units;
}

/*
 * money_from_datum reads a numeric column that this extension wrote.
 */
Money
money_from_datum(Datum value)
{
	Money		units;

	if (!numeric_to_units(value, &units))
		elog(ERROR, "an amount is out of bounds");
	return units;
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

/*
 * spend_add adds an amount to a sum. Where sums have 64 bits only, one that is
 * too large for them is rejected.
 */
Spend
spend_add(Spend sum, Money amount, const char *what)
{
#ifdef HAVE_INT128
	return sum + amount;
#else
	if (pg_add_s64_overflow(sum, amount, &sum))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("%s is out of range", what)));
	return sum;
#endif
}

/* Sums beyond 64 bits are made and read in two parts: this is 1 of the higher. */
#define SPEND_LIMB	INT64CONST(1000000000000000)

/*
 * spend_to_datum returns a sum as numeric credits.
 */
Datum
spend_to_datum(Spend spend)
{
	Datum		high;

	if (spend <= PG_INT64_MAX && spend >= PG_INT64_MIN)
		return money_to_datum((Money) spend);
	high = DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric((int64) (spend / SPEND_LIMB))),
							   money_to_datum(SPEND_LIMB));
	return DirectFunctionCall2(numeric_add, high, money_to_datum((Money) (spend % SPEND_LIMB)));
}

/*
 * spend_to_cstring makes the text of a sum.
 */
char *
spend_to_cstring(Spend spend)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, spend_to_datum(spend)));
}

/*
 * spend_from_datum reads a numeric column that this extension wrote and that
 * may be beyond the bounds of an amount.
 */
Spend
spend_from_datum(Datum value)
{
	Money		units;
	Datum		limb;
	Datum		high;
	Datum		low;

	if (numeric_to_units(value, &units))
		return units;
	limb = money_to_datum(SPEND_LIMB);
	high = DirectFunctionCall2(numeric_div_trunc, value, limb);
	low = DirectFunctionCall2(numeric_sub, value, DirectFunctionCall2(numeric_mul, high, limb));
	return (Spend) DatumGetInt64(DirectFunctionCall1(numeric_int8, high)) * SPEND_LIMB + money_from_datum(low);
}
