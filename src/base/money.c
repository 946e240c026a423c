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

/* A numeric as it is sent. */
typedef struct SentNumeric
{
	int			ndigits;
	int			last;			/* the digit of the fourth decimal */
	int			sign;
	const uint16 *digits;
	bytea	   *bytes;			/* what these are in; it is larger than a number needs */
} SentNumeric;

/*
 * Take a numeric apart. The form in which it is sent is stable: the number of
 * its digits, which are of base 10000, the exponent of the first, the sign, the
 * scale, and the digits.
 */
static void
numeric_sent(Datum value, SentNumeric *sent)
{
	const uint16 *words;

	sent->bytes = DatumGetByteaPP(DirectFunctionCall1(numeric_send, value));
	words = (uint16 *) VARDATA_ANY(sent->bytes);
	sent->ndigits = pg_ntoh16(words[0]);
	sent->last = (int16) pg_ntoh16(words[1]) + 1;
	sent->sign = pg_ntoh16(words[2]);
	sent->digits = words + 4;
}

/*
 * Return a digit, 0 where there is none.
 */
static inline int
sent_digit(const SentNumeric *sent, int i)
{
	return i >= 0 && i < sent->ndigits ? pg_ntoh16(sent->digits[i]) : 0;
}

/*
 * Sum up the digits of a numeric to the fourth decimal; false when it is not
 * finite or out of the bounds of money.
 */
static bool
sent_units(const SentNumeric *sent, Money *units)
{
	int64		sum = 0;

	if (sent->sign != NUMERIC_SENT_POSITIVE && sent->sign != NUMERIC_SENT_NEGATIVE)
		return false;
	if (sent->ndigits > 0 && (sent->last > 4 || (sent->last == 4 && sent_digit(sent, 0) > 99)))
		return false;
	for (int i = 0; i <= sent->last; i++)
		sum = sum * MONEY_UNIT + sent_digit(sent, i);
	*units = sum;
	return true;
}

/*
 * Round a numeric to 1/10000 credits, half away from zero; false when it is
 * not finite or out of the bounds of money.
 */
static bool
numeric_to_units(Datum value, Money *units)
{
	SentNumeric sent;
	Money		sum;
	bool		bounded;

	numeric_sent(value, &sent);
	bounded = sent_units(&sent, &sum);
	if (bounded)
	{
		if (sent_digit(&sent, sent.last + 1) >= MONEY_UNIT / 2)
			sum++;
		*units = sent.sign == NUMERIC_SENT_NEGATIVE ? -sum : sum;
		bounded = sum <= MONEY_MAX;
	}
	pfree(sent.bytes);
	return bounded;
}

/*
 * Sum up the digits of a numeric behind the fourth decimal, as many as count.
 */
static Rest
sent_rest(const SentNumeric *sent)
{
	Rest		rest = 0;

	for (int i = 1; i <= (REST_DECIMALS - MONEY_DECIMALS) / 4; i++)
		rest = rest * MONEY_UNIT + sent_digit(sent, sent->last + i);
	return rest;
}

/*
 * money_round rounds a numeric to four decimals, half away from zero. False: it
 * is not finite, or out of the bounds of money.
 */
bool
money_round(Numeric value, Money *amount)
{
	return numeric_to_units(NumericGetDatum(value), amount);
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
				 errhint(MONEY_BOUNDS_HINT)));

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
 * money_is_exact reads an amount that has four decimals at most. False: it has
 * more, is not finite, or out of the bounds of money.
 */
bool
money_is_exact(Datum value, Money *amount)
{
	SentNumeric sent;

	numeric_sent(value, &sent);
	if (sent.ndigits > sent.last + 1 || !sent_units(&sent, amount))
		return false;
	Assert(*amount >= 0 && *amount <= MONEY_MAX);
	if (sent.sign == NUMERIC_SENT_NEGATIVE)
		*amount = -*amount;
	return true;
}

/*
 * money_split takes a numeric apart: what of it is money, rounded down, and the
 * rest, cut off behind 20 decimals; both are 0 where it is negative. False: it
 * is not finite, or rounded to four decimals out of the bounds of money.
 */
bool
money_split(Numeric value, Money *lower, Rest *rest)
{
	SentNumeric sent;
	bool		bounded;

	numeric_sent(NumericGetDatum(value), &sent);
	if (!sent_units(&sent, lower))
		return false;
	*rest = sent_rest(&sent);
	pfree(sent.bytes);
	bounded = *lower + (*rest >= REST_HALF ? 1 : 0) <= MONEY_MAX;
	if (sent.sign == NUMERIC_SENT_NEGATIVE)
		*lower = *rest = 0;
	return bounded;
}

/*
 * rest_from_datum reads a numeric column that this extension wrote: a rest.
 */
Rest
rest_from_datum(Datum value)
{
	SentNumeric sent;
	Money		units;
	Rest		rest;

	numeric_sent(value, &sent);
	if (!sent_units(&sent, &units) || units > 100)
		elog(ERROR, "a carry is out of bounds");
	rest = units * REST_UNIT + sent_rest(&sent);
	pfree(sent.bytes);
	return sent.sign == NUMERIC_SENT_NEGATIVE ? -rest : rest;
}

/*
 * rest_to_datum makes a numeric with as many decimals as it needs.
 */
Datum
rest_to_datum(Rest rest)
{
	int			decimals = REST_DECIMALS;

	while (decimals > MONEY_DECIMALS && rest % MONEY_UNIT == 0)
	{
		rest /= MONEY_UNIT;
		decimals -= 4;
	}
	while (decimals > MONEY_DECIMALS && rest % 10 == 0)
	{
		rest /= 10;
		decimals--;
	}
	return NumericGetDatum(int64_div_fast_to_numeric(rest, decimals));
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
