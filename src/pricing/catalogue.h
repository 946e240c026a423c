#ifndef DUCTO_PRICING_CATALOGUE_H
#define DUCTO_PRICING_CATALOGUE_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/numeric.h"

#include "base/place.h"
#include "expr/expr.h"

/* What has a rate: first what every usage counts, then what needs a unit. */
typedef enum Rate
{
	RATE_INPUT,
	RATE_OUTPUT,
	RATE_CACHE_READ,
	RATE_CACHE_WRITE,
	RATE_CACHE_WRITE_1H,
	RATE_AUDIO_INPUT,
	RATE_IMAGE_INPUT,
	RATE_REASONING,
	RATE_AUDIO_OUTPUT,
	RATE_IMAGE_OUTPUT,
	RATE_IMAGES,
	RATE_AUDIO_SECONDS,
	RATE_CHARACTERS,
	RATES
} Rate;

#define FIRST_UNIT		RATE_CACHE_WRITE_1H
#define FIRST_NO_TOKEN	RATE_IMAGES

/* The rates for prompts of more than so many tokens. */
typedef struct Tier
{
	Numeric		above;			/* 0 for the first */
	Numeric		rates[RATES];	/* NULL: the list does not say */
} Tier;

/* A model of a catalogue. */
typedef struct Model
{
	char	   *path;			/* JSON Pointer */
	char	   *name;
	char	   *qualified;		/* with the provider; NULL where the name says it all */
	List	   *tiers;			/* NIL: it has no price */
} Model;

/* An import. */
typedef struct Import
{
	Numeric		factor;			/* credits for a unit of money */
	List	   *models;			/* of Model */
	List	   *names_taken;	/* those that the result has, and their models */
	List	   *models_taken;
	ExprUnits	units;			/* of the result */
	HTAB	   *names;			/* of NameEntry */
} Import;

/* They read all models of a catalogue. */
extern void litellm_read(Import *import, const Place *catalogue);
extern void models_dev_read(Import *import, const Place *catalogue);

extern void model_add(Import *import, const Place *place, const char *provider, List *tiers);

/*
 * Multiply numbers.
 */
static inline Numeric
number_multiply(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Add numbers.
 */
static inline Numeric
number_add(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Compare numbers: below 0, 0 or above 0.
 */
static inline int
number_compare(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Make a number of a text.
 */
static inline Numeric
number_make(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid),
											   Int32GetDatum(-1)));
}

#endif
