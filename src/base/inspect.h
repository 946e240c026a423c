#ifndef DUCTO_BASE_INSPECT_H
#define DUCTO_BASE_INSPECT_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "base/json.h"
#include "base/money.h"

#define MAX_KEYS		16

/* Of what has a name in a configuration. */
#define NAME_MAX_BYTES	255

/* A key that an object may have, in all its spellings. */
#define MAX_SPELLINGS	4
typedef const char *const KeyRule[MAX_SPELLINGS];

/* What is wrong with a configuration, and where. */
typedef struct Problem
{
	char	   *path;			/* JSON Pointer */
	char	   *problem;
} Problem;

/* A configuration under inspection. */
typedef struct Inspection
{
	List	   *problems;		/* of Problem */
	JsonOut		out;			/* the normal form */
	HTAB	   *plan_names;		/* seen; NULL until there is one */
	struct ExprUnits *units;	/* that expressions may name; NULL for none */
} Inspection;

/* The members of an object, in the order of its rules. */
typedef struct Members
{
	JsonbValue *values[MAX_KEYS];	/* NULL for absent and null */
	const char *paths[MAX_KEYS];
} Members;

extern void problem_add(Inspection *in, const char *path, const char *format,...) pg_attribute_printf(3, 4);

extern char *value_text(const JsonbValue *value);
extern JsonbContainer *value_object(Inspection *in, const char *path, const JsonbValue *value);
extern bool value_number(Inspection *in, const char *path, const JsonbValue *value, Numeric *number);
extern bool value_money(Inspection *in, const char *path, const JsonbValue *value, int sign, Money *amount);
extern void members_read(Inspection *in, const char *path, JsonbContainer *object, KeyRule *rules, int nrules,
						 Members *members);

#endif
