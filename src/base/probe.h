#ifndef DUCTO_BASE_PROBE_H
#define DUCTO_BASE_PROBE_H

#include "postgres.h"
#include "utils/uuid.h"

/* A key that is looked for: a uuid, and a text. */
typedef struct ProbeKey
{
	const pg_uuid_t *first;
	const char *text;
	int			len;			/* of the text */
	int			number;			/* the caller's */
	bool		possible;		/* the index may have it */
} ProbeKey;

extern bool probe_keys(const char *table, const char *const *columns, ProbeKey *keys, int n);

#endif
