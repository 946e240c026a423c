#ifndef DUCTO_BASE_MONEY_H
#define DUCTO_BASE_MONEY_H

#include "postgres.h"
#include "utils/numeric.h"

/* Money is a count of 1/10000 credits. */
typedef int64 Money;

#define MONEY_DECIMALS	4
#define MONEY_UNIT		INT64CONST(10000)
#define MONEY_MAX		INT64CONST(999999999999999999)

#define MONEY_BOUNDS_HINT	"Amounts are finite and at most 99999999999999.9999 in magnitude."

/* What rounding to money leaves: a count of 1e-20 credits, normally of less than 1/10000. */
typedef int64 Rest;

#define REST_DECIMALS	20
#define REST_UNIT		INT64CONST(10000000000000000)	/* 1/10000 credits */
#define REST_HALF		(REST_UNIT / 2)

/* A sum of amounts, in 1/10000 credits: it may be beyond the bounds of one. */
#ifdef HAVE_INT128
typedef int128 Spend;
typedef uint128 SpendRank;
#else
typedef int64 Spend;
typedef uint64 SpendRank;
#endif

extern bool money_round(Numeric value, Money *amount);
extern Money money_from_numeric(Numeric value, const char *argument);
extern Money money_from_datum(Datum value);
extern bool money_is_exact(Datum value, Money *amount);
extern bool money_split(Numeric value, Money *lower, Rest *rest);
extern Rest rest_from_datum(Datum value);
extern Datum rest_to_datum(Rest rest);
extern Datum money_to_datum(Money amount);
extern char *money_to_cstring(Money amount);
extern Money money_add(Money a, Money b, const char *what);
extern Spend spend_add(Spend sum, Spend amount, const char *what);
extern Datum spend_to_datum(Spend spend);
extern char *spend_to_cstring(Spend spend);
extern Spend spend_from_datum(Datum value);

#endif
