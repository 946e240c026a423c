/*
 * numeric.c
 *	  What the expression language needs of the server, in a simple way: memory
 *	  that is freed all at once, UTF-8, and exact decimals digit by digit.
 */
#include "postgres.h"

struct NumericData
{
	int32		size;			/* in bytes */
	int32		scale;			/* decimal places */
	int32		count;			/* of digits, none of them leading zeros; 0 has none */
	bool		negative;
	uint8		digits[FLEXIBLE_ARRAY_MEMBER];	/* the last one first */
};

typedef struct Chunk
{
	struct Chunk *previous;
	struct Chunk *next;
} Chunk;

static Chunk kept = {&kept, &kept};
static Chunk dropped = {&dropped, &dropped};
static Chunk *current = &dropped;

static Numeric number_make(int scale, int count);
static Numeric number_finish(Numeric number);
static Numeric number_shift(Numeric value, int places);
static Numeric number_add(Numeric left, Numeric right, bool negate);
static Numeric number_divide(Numeric dividend, Numeric divisor, int scale, Numeric *rest);
static Numeric number_round(Numeric value, int scale, bool up);
static int	compare_digits(const uint8 *left, int left_count, const uint8 *right, int right_count);

/*
 * palloc allocates until memory_reset, or for ever in TopMemoryContext.
 */
void *
palloc(Size size)
{
	Chunk	   *chunk = malloc(sizeof(Chunk) + size);

	if (chunk == NULL)
		abort();
	chunk->previous = current;
	chunk->next = current->next;
	chunk->next->previous = chunk;
	current->next = chunk;
	return chunk + 1;
}

/*
 * palloc0 allocates zeros.
 */
void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

/*
 * pfree frees one allocation.
 */
void
pfree(void *pointer)
{
	Chunk	   *chunk = (Chunk *) pointer - 1;

	chunk->previous->next = chunk->next;
	chunk->next->previous = chunk->previous;
	free(chunk);
}

/*
 * pnstrdup copies the beginning of a text.
 */
char *
pnstrdup(const char *text, Size length)
{
	char	   *copy = palloc0(length + 1);

	memcpy(copy, text, length);
	return copy;
}

/*
 * MemoryContextSwitchTo tells whether what is allocated from now on stays.
 */
MemoryContext
MemoryContextSwitchTo(MemoryContext context)
{
	MemoryContext before = current == &kept;

	current = context ? &kept : &dropped;
	return before;
}

/*
 * memory_reset frees all that does not stay.
 */
void
memory_reset(void)
{
	while (dropped.next != &dropped)
		pfree(dropped.next + 1);
}

/*
 * pg_mbcharcliplen gives the bytes of the first characters of a text.
 */
int
pg_mbcharcliplen(const char *text, int length, int limit)
{
	int			bytes = 0;

	while (bytes < length && limit-- > 0)
	{
		bytes++;
		while (bytes < length && (text[bytes] & 0xc0) == 0x80)
			bytes++;
	}
	return bytes;
}

/*
 * pg_mbcliplen gives the bytes of the whole characters within a limit of bytes.
 */
int
pg_mbcliplen(const char *text, int length, int limit)
{
	int			bytes = Min(length, limit);

	while (bytes > 0 && bytes < length && (text[bytes] & 0xc0) == 0x80)
		bytes--;
	return bytes;
}

/*
 * pg_mbstrlen_with_len counts characters.
 */
int
pg_mbstrlen_with_len(const char *text, int limit)
{
	int			characters = 0;

	for (int i = 0; i < limit; characters++)
		i += pg_mbcharcliplen(text + i, limit - i, 1);
	return characters;
}

/*
 * numeric_in reads digits with a point and an exponent.
 */
Datum
numeric_in(Datum text, Datum type, Datum typmod)
{
	const char *digits = (const char *) text;
	size_t		length = strcspn(digits, "eE");
	Numeric		value = number_make(0, length);
	int			shift = digits[length] == '\0' ? 0 : atoi(digits + length + 1);
	int			count = 0;

	for (size_t i = length; i-- > 0;)
	{
		if (digits[i] == '.')
			value->scale = count;
		else if (digits[i] != '-')
			value->digits[count++] = digits[i] - '0';
	}
	value->count = count;
	value->negative = digits[0] == '-';

	value->scale -= shift;
	if (value->scale < 0)
	{
		shift = -value->scale;
		value->scale = 0;
		value = number_shift(value, shift);
	}
	return NumericGetDatum(number_finish(value));
}

/*
 * numeric_cmp compares two values.
 */
Datum
numeric_cmp(Datum left, Datum right)
{
	Numeric		difference = number_add((Numeric) left, (Numeric) right, true);

	return Int32GetDatum(difference->count == 0 ? 0 : difference->negative ? -1 : 1);
}

/*
 * numeric_scale gives the decimal places.
 */
Datum
numeric_scale(Datum value)
{
	return Int32GetDatum(((Numeric) value)->scale);
}

/*
 * numeric_trim_scale drops the zeros at the end of a fraction.
 */
Datum
numeric_trim_scale(Datum value)
{
	Numeric		number = (Numeric) value;
	int			zeros = 0;

	while (zeros < number->scale && (zeros >= number->count || number->digits[zeros] == 0))
		zeros++;
	return NumericGetDatum(number_round(number, number->scale - zeros, false));
}

/*
 * numeric_uminus changes the sign.
 */
Datum
numeric_uminus(Datum value)
{
	return NumericGetDatum(number_add(int64_to_numeric(0), (Numeric) value, true));
}

/*
 * numeric_floor gives the greatest integer that is not above the value.
 */
Datum
numeric_floor(Datum value)
{
	Numeric		whole = number_round((Numeric) value, 0, false);

	if ((int32) numeric_cmp(value, NumericGetDatum(whole)) < 0)
		whole = number_add(whole, int64_to_numeric(1), true);
	return NumericGetDatum(whole);
}

/*
 * numeric_ceil gives the least integer that is not below the value.
 */
Datum
numeric_ceil(Datum value)
{
	return numeric_uminus(numeric_floor(numeric_uminus(value)));
}

/*
 * numeric_round rounds half away from zero, and adds zeros where places are missing.
 */
Datum
numeric_round(Datum value, Datum scale)
{
	return NumericGetDatum(number_round((Numeric) value, (int32) scale, true));
}

/*
 * numeric_div_trunc gives the quotient cut off to an integer.
 */
Datum
numeric_div_trunc(Datum dividend, Datum divisor)
{
	Numeric		rest;

	return NumericGetDatum(number_divide((Numeric) dividend, (Numeric) divisor, 0, &rest));
}

/*
 * numeric_add_opt_error gives the sum.
 */
Numeric
numeric_add_opt_error(Numeric left, Numeric right, bool *error)
{
	return number_add(left, right, false);
}

/*
 * numeric_sub_opt_error gives the difference.
 */
Numeric
numeric_sub_opt_error(Numeric left, Numeric right, bool *error)
{
	return number_add(left, right, true);
}

/*
 * numeric_mul_opt_error gives the product.
 */
Numeric
numeric_mul_opt_error(Numeric left, Numeric right, bool *error)
{
	Numeric		product = number_make(left->scale + right->scale, left->count + right->count);

	for (int i = 0; i < left->count; i++)
	{
		int			carry = 0;

		for (int j = 0; j < right->count || carry > 0; j++)
		{
			carry += product->digits[i + j];
			if (j < right->count)
				carry += left->digits[i] * right->digits[j];
			product->digits[i + j] = carry % 10;
			carry /= 10;
		}
	}
	product->negative = left->negative != right->negative;
	return number_finish(product);
}

/*
 * numeric_div_opt_error gives the quotient, rounded to at least 16 significant digits.
 */
Numeric
numeric_div_opt_error(Numeric dividend, Numeric divisor, bool *error)
{
	int			exponent = (dividend->count - dividend->scale) - (divisor->count - divisor->scale);
	int			scale = dividend->scale > divisor->scale ? dividend->scale : divisor->scale;
	Numeric		rest;

	if (scale < 17 - exponent)
		scale = 17 - exponent;
	if (scale > NUMERIC_MAX_DISPLAY_SCALE)
		scale = NUMERIC_MAX_DISPLAY_SCALE;
	return number_round(number_divide(dividend, divisor, scale + 1, &rest), scale, true);
}

/*
 * numeric_mod_opt_error gives what is left of the dividend, with its sign.
 */
Numeric
numeric_mod_opt_error(Numeric dividend, Numeric divisor, bool *error)
{
	Numeric		rest;

	number_divide(dividend, divisor, 0, &rest);
	return rest;
}

/*
 * numeric_int4_opt_error gives the nearest integer, which must not have more than nine digits.
 */
int32
numeric_int4_opt_error(Numeric value, bool *error)
{
	Numeric		whole = number_round(value, 0, true);
	int			result = 0;

	assert(whole->count <= 9);
	for (int i = whole->count; i-- > 0;)
		result = result * 10 + whole->digits[i];
	return whole->negative ? -result : result;
}

/*
 * int64_to_numeric gives the numeric of an integer that is not negative.
 */
Numeric
int64_to_numeric(int64_t value)
{
	Numeric		number = number_make(0, 20);

	for (int i = 0; value > 0; i++, value /= 10)
		number->digits[i] = value % 10;
	return number_finish(number);
}

/*
 * number_make allocates a zero with room for digits.
 */
static Numeric
number_make(int scale, int count)
{
	int			size = offsetof(struct NumericData, digits) + count;
	Numeric		number = palloc0(size);

	number->size = size;
	number->scale = scale;
	number->count = count;
	return number;
}

/*
 * number_finish takes away leading zeros, and the sign of zero.
 */
static Numeric
number_finish(Numeric number)
{
	while (number->count > 0 && number->digits[number->count - 1] == 0)
		number->count--;
	if (number->count == 0)
		number->negative = false;
	return number;
}

/*
 * number_shift puts zeros behind the last digit, or cuts digits off; the scale stays as it is.
 */
static Numeric
number_shift(Numeric value, int places)
{
	Numeric		shifted = number_make(value->scale, value->count + places > 0 ? value->count + places : 0);

	for (int i = 0; i < shifted->count; i++)
		shifted->digits[i] = i < places ? 0 : value->digits[i - places];
	shifted->negative = value->negative;
	return number_finish(shifted);
}

/*
 * number_add adds the right value, or takes it away.
 */
static Numeric
number_add(Numeric left, Numeric right, bool negate)
{
	int			scale = left->scale > right->scale ? left->scale : right->scale;
	Numeric		more = number_shift(left, scale - left->scale);
	Numeric		less = number_shift(right, scale - right->scale);
	Numeric		sum;
	int			carry = 0;

	less->negative = less->negative != negate;
	if (compare_digits(more->digits, more->count, less->digits, less->count) < 0)
	{
		sum = more;
		more = less;
		less = sum;
	}

	sum = number_make(scale, more->count + 1);
	sum->negative = more->negative;
	for (int i = 0; i < sum->count; i++)
	{
		int			digit = i < less->count ? less->digits[i] : 0;

		carry += i < more->count ? more->digits[i] : 0;
		carry += more->negative == less->negative ? digit : -digit;
		sum->digits[i] = (carry + 10) % 10;
		carry = (carry + 10) / 10 - 1;
	}
	return number_finish(sum);
}

/*
 * number_divide gives the quotient cut off to some decimal places, and what is left of the dividend.
 */
static Numeric
number_divide(Numeric dividend, Numeric divisor, int scale, Numeric *rest)
{
	Numeric		over = number_shift(dividend, scale + divisor->scale - dividend->scale);
	Numeric		quotient;
	Numeric		product;
	uint8	   *window;
	int			used = 0;

	over->scale = scale + divisor->scale;
	quotient = number_make(scale, over->count);
	window = palloc0(over->count + divisor->count + 2);
	for (int i = over->count; i-- > 0;)
	{
		memmove(window + 1, window, used);
		window[0] = over->digits[i];
		used++;
		while (used > 0 && window[used - 1] == 0)
			used--;
		while (compare_digits(window, used, divisor->digits, divisor->count) >= 0)
		{
			int			borrow = 0;

			for (int j = 0; j < used; j++)
			{
				borrow += window[j] - (j < divisor->count ? divisor->digits[j] : 0);
				window[j] = (borrow + 10) % 10;
				borrow = (borrow + 10) / 10 - 1;
			}
			while (used > 0 && window[used - 1] == 0)
				used--;
			quotient->digits[i]++;
		}
	}
	pfree(window);
	quotient->negative = dividend->negative != divisor->negative;
	number_finish(quotient);

	product = numeric_mul_opt_error(quotient, divisor, NULL);
	*rest = number_add(dividend, product, true);
	return quotient;
}

/*
 * number_round changes the decimal places, rounding half away from zero or cutting off.
 */
static Numeric
number_round(Numeric value, int scale, bool up)
{
	int			cut = value->scale - scale;
	Numeric		rounded = number_shift(value, -cut);

	rounded->negative = value->negative;
	rounded->scale = scale;
	if (up && cut > 0 && cut <= value->count && value->digits[cut - 1] >= 5)
	{
		Numeric		one = int64_to_numeric(1);

		one->scale = scale;
		one->negative = value->negative;
		rounded = number_add(rounded, one, false);
	}
	if (scale < 0)
	{
		rounded = number_shift(rounded, -scale);
		rounded->scale = 0;
	}
	return number_finish(rounded);
}

/*
 * compare_digits compares two rows of digits without leading zeros.
 */
static int
compare_digits(const uint8 *left, int left_count, const uint8 *right, int right_count)
{
	if (left_count != right_count)
		return left_count < right_count ? -1 : 1;
	for (int i = left_count; i-- > 0;)
	{
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
	}
	return 0;
}
