#ifndef DUCTO_BASE_ELEMENTS_H
#define DUCTO_BASE_ELEMENTS_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/jsonb.h"

#include "base/args.h"

#define ELEMENTS_MAX	10000

/* A field that elements may have, as an argument of its type. */
typedef struct Field
{
	const char *name;
	Oid			type;			/* uuid, numeric, text, jsonb, boolean, integer or timestamptz */
} Field;

/*
 * An array argument that is being read. args are the fields of the element that
 * was read last, in their order, for the arg_* functions; their values live as
 * long as the array.
 */
typedef struct Elements
{
	int			n;
	const char *argument;
	JsonbContainer *array;
	const Field *fields;		/* ended by one without a name */
	int			nfields;
	FunctionCallInfo args;
	ElementScope scope;
} Elements;

extern void elements_begin(Elements *elements, FunctionCallInfo fcinfo, int n, const char *name, const Field *fields);
extern FunctionCallInfo elements_enter(Elements *elements, int i);
extern void elements_leave(const Elements *elements);

#endif
