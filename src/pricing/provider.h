#ifndef DUCTO_PRICING_PROVIDER_H
#define DUCTO_PRICING_PROVIDER_H

#include "postgres.h"
#include "utils/numeric.h"

#include "base/place.h"

/* What answers count. */
typedef enum Count
{
	COUNT_INPUT,				/* the prompt */
	COUNT_TOOL_INPUT,			/* what tools gave to the model, beside the prompt */
	COUNT_AUDIO_INPUT,			/* parts of the prompt, cached ones in them */
	COUNT_IMAGE_INPUT,
	COUNT_CACHE_READ,
	COUNT_AUDIO_CACHED,			/* parts of it */
	COUNT_IMAGE_CACHED,
	COUNT_CACHE_WRITE,
	COUNT_CACHE_WRITE_5M,		/* the parts of what was written, by how long it stays */
	COUNT_CACHE_WRITE_1H,
	COUNT_OUTPUT,
	COUNT_REASONING,			/* parts of the output */
	COUNT_AUDIO_OUTPUT,
	COUNT_IMAGE_OUTPUT,
	COUNT_THOUGHTS,				/* beside the output */
	COUNT_WEB_SEARCHES,
	COUNTS
} Count;

struct Provider;

/* What was read of an answer so far. */
typedef struct Answer
{
	const struct Provider *provider;
	bool		found;			/* a usage */
	char	   *id;
	char	   *model;
	Numeric		counts[COUNTS]; /* NULL: it was not told */
	Numeric		more[COUNTS];	/* what is to be added to them */
	int			queries;		/* of the provider's search in files */
	int			web_searches;
	int			code_runs;
	int			ntools;
	int			tool_places;
	char	  **tools;			/* a name for each call */
} Answer;

/* They read what an answer calls: tools of the application, searches, runs of code. */
extern void openai_calls(Answer *answer, const Place *holder);
extern void anthropic_calls(Answer *answer, const Place *holder);
extern void google_calls(Answer *answer, const Place *holder);

#endif
