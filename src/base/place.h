#ifndef DUCTO_BASE_PLACE_H
#define DUCTO_BASE_PLACE_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/args.h"

#define MAX_NAMES	4

/* A place in a JSON argument: a member or an element of another, or all of it. */
typedef struct Place
{
	const struct Place *within; /* NULL for all of it */
	const char *key;			/* NULL for an element */
	int			element;
	JsonbContainer *container;	/* NULL for what is neither object nor array */
	const char *argument;		/* of all of it: its name, and the hint of errors */
	const char *hint;
} Place;

/* The names that a member may have, in the order of preference. */
typedef const char *const Names[MAX_NAMES + 1];

extern char *place_path(const Place *place);
pg_noreturn extern void place_reject(const Place *place, const char *problem);
extern char *place_keys(const Place *object);

extern bool place_member(const Place *object, Names names, JsonbValue *value, Place *place);
extern bool place_has(const Place *object, Names names);
extern bool place_object(const Place *object, Names names, Place *place);
extern int	place_array(const Place *object, Names names, Place *place);
extern void place_element(const Place *array, int n, Place *place);
extern char *place_text(const Place *object, Names names);
extern Numeric place_number(const Place *object, Names names);

#endif
