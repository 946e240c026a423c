#ifndef DUCTO_ACCOUNT_LINES_H
#define DUCTO_ACCOUNT_LINES_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "account/entrytype.h"

/* A line: one of many debits under one entry of the ledger. Pointers may be NULL, but for amount. */
typedef struct UsageLine
{
	char	   *key;
	Numeric		amount;			/* exact */
	const char *model;
	Jsonb	   *usage;
	Jsonb	   *metadata;
} UsageLine;

/* What an account knows of a key of a line. */
typedef struct KnownKey
{
	bool		line;			/* a line has it, */
	Numeric		amount;			/* which costs that */
	Jsonb	   *usage;			/* NULL for none */
	EntryType	type;			/* that of the entry which has it */
	bool		closed;			/* a deduct of 0 has it */
} KnownKey;

/* Receives what is known of one of the keys that were asked for, n counts them from 0. */
typedef void (*KnownKeyReader) (int n, const KnownKey *known, void *state);

extern void lines_find_keys(const pg_uuid_t *account, char *const *keys, int n, KnownKeyReader reader, void *state);
extern bool line_has_key(const pg_uuid_t *account, const char *key);
extern void lines_insert(const pg_uuid_t *account, const pg_uuid_t *entry, UsageLine *const *lines, int n);
extern bool line_find(const pg_uuid_t *account, const char *key, pg_uuid_t *entry, int *line);

#endif
