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
#include "utils/builtins.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "base/args.h"
#include "base/money.h"

/*
 * How a numeric is stored, which pg_upgrade keeps as it is: a word with the
 * sign, and in the short form the weight, the exponent of the first digit; in
 * the long form another word with that; the digits, which are of base 10000.
 */
#define STORED_FORM				0xC000
#define STORED_NEGATIVE			0x4000
#define STORED_SHORT			0x8000
#define STORED_SPECIAL			0xC000
#define SHORT_NEGATIVE			0x2000
#define SHORT_SCALE_SHIFT		7
#define SHORT_WEIGHT_NEGATIVE	0x0040
#define SHORT_WEIGHT			0x003F

/* Digits that 64 bits have at most. */
#define MONEY_DIGITS	5

/* A numeric taken apart. */
typedef struct NumericParts
{
	bool		finite;
	bool		negative;
	int			ndigits;
	int			last;			/* the digit of the fourth decimal */
	const char *digits;			/* not aligned */
} NumericParts;

/*
 * Return a word of what is stored.
 */
static inline uint16
stored_word(const char *words, int i)
{
	uint16		word;

	memcpy(&word, words + i * sizeof(uint16), sizeof(uint16));
	return word;
}

/*
 * Take a numeric apart.
 */
static void
numeric_parts(Datum value, NumericParts *parts)
{
	struct varlena *stored = PG_DETOAST_DATUM_PACKED(value);
	const char *words = VARDATA_ANY(stored);
	uint16		first = stored_word(words, 0);
	bool		in_short = (first & STORED_FORM) == STORED_SHORT;
	int			head = in_short ? 1 : 2;

	memset(parts, 0, sizeof(NumericParts));
	parts->finite = (first & STORED_FORM) != STORED_SPECIAL;
	if (!parts->finite)
		return;
	parts->ndigits = VARSIZE_ANY_EXHDR(stored) / sizeof(uint16) - head;
	parts->digits = words + head * sizeof(uint16);
	if (in_short)
	{
		parts->negative = (first & SHORT_NEGATIVE) != 0;
		parts->last = (first & SHORT_WEIGHT) - ((first & SHORT_WEIGHT_NEGATIVE) != 0 ? SHORT_WEIGHT + 1 : 0) + 1;
	}
	else
	{
		parts->negative = (first & STORED_FORM) == STORED_NEGATIVE;
		parts->last = (int16) stored_word(words, 1) + 1;
	}
}

/*
 * Return a digit, 0 where there is none.
 */
static inline int
parts_digit(const NumericParts *parts, int i)
{
	return i >= 0 && i < parts->ndigits ? stored_word(parts->digits, i) : 0;
}

/*
 * Sum up the digits of a numeric to the fourth decimal; false when it is not
 * finite or out of the bounds of money.
 */
static bool
parts_units(const NumericParts *parts, Money *units)
{
	int64		sum = 0;

	if (!parts->finite)
		return false;
	if (parts->ndigits > 0 && (parts->last > 4 || (parts->last == 4 && parts_digit(parts, 0) > 99)))
		return false;
	for (int i = 0; i <= parts->last; i++)
		sum = sum * MONEY_UNIT + parts_digit(parts, i);
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
	NumericParts parts;
	Money		sum;

	numeric_parts(value, &parts);
	if (!parts_units(&parts, &sum))
		return false;
	if (parts_digit(&parts, parts.last + 1) >= MONEY_UNIT / 2)
		sum++;
	*units = parts.negative ? -sum : sum;
	return sum <= MONEY_MAX;
}

/*
 * Sum up the digits of a numeric behind the fourth decimal, as many as count.
 */
static Rest
parts_rest(const NumericParts *parts)
{
	Rest		rest = 0;

	for (int i = 1; i <= (REST_DECIMALS - MONEY_DECIMALS) / 4; i++)
		rest = rest * MONEY_UNIT + parts_digit(parts, parts->last + i);
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
				 errmsg("argument \"%s\" is out of range: %s", argument, numeric_shown(value)),
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
	NumericParts parts;

	numeric_parts(value, &parts);
	if (parts.ndigits > parts.last + 1 || !parts_units(&parts, amount))
		return false;
	Assert(*amount >= 0 && *amount <= MONEY_MAX);
	if (parts.negative)
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
	NumericParts parts;
	bool		bounded;

	numeric_parts(NumericGetDatum(value), &parts);
	if (!parts_units(&parts, lower))
		return false;
	*rest = parts_rest(&parts);
	bounded = *lower + (*rest >= REST_HALF ? 1 : 0) <= MONEY_MAX;
	if (parts.negative)
		*lower = *rest = 0;
	return bounded;
}

/*
 * rest_from_datum reads a numeric column that this extension wrote: a rest.
 */
Rest
rest_from_datum(Datum value)
{
	NumericParts parts;
	Money		units;
	Rest		rest;

	numeric_parts(value, &parts);
	if (!parts_units(&parts, &units) || units > 100)
		elog(ERROR, "a carry is out of bounds");
	rest = units * REST_UNIT + parts_rest(&parts);
	return parts.negative ? -rest : rest;
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
 * Store a numeric with four decimals.
 */
static Datum
stored_make(bool negative, int weight, const uint16 *digits, int ndigits)
{
	Size		size = VARHDRSZ + sizeof(uint16) * (1 + ndigits);
	struct varlena *stored = palloc(size);
	uint16		head = STORED_SHORT | (negative ? SHORT_NEGATIVE : 0) | MONEY_DECIMALS << SHORT_SCALE_SHIFT |
		(weight < 0 ? SHORT_WEIGHT_NEGATIVE : 0) | (weight & SHORT_WEIGHT);

	SET_VARSIZE(stored, size);
	memcpy(VARDATA(stored), &head, sizeof(uint16));
	memcpy(VARDATA(stored) + sizeof(uint16), digits, sizeof(uint16) * ndigits);
	return PointerGetDatum(stored);
}

/*
 * money_to_datum makes a numeric with four decimals, as the server makes it, in a
 * tenth of the time: without zeros at either end.
 */
Datum
money_to_datum(Money amount)
{
	uint64		rest = amount < 0 ? -(uint64) amount : (uint64) amount;
	uint16		digits[MONEY_DIGITS];
	int			first = MONEY_DIGITS;
	int			end = MONEY_DIGITS;

	for (; rest > 0; rest /= MONEY_UNIT)
		digits[--first] = (uint16) (rest % MONEY_UNIT);
	while (end > first && digits[end - 1] == 0)
		end--;
	return stored_make(amount < 0, first < end ? MONEY_DIGITS - 2 - first : 0, digits + first, end - first);
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
 * spend_add adds an amount, or a sum, to a sum. Where sums have 64 bits only,
 * one that is too large for them is rejected.
 */
Spend
spend_add(Spend sum, Spend amount, const char *what)
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
