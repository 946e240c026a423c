#ifndef DUCTO_ACCOUNT_LINES_H
#define DUCTO_ACCOUNT_LINES_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

/* A line: one of many debits under one entry of the ledger. Pointers may be NULL, but for amount. */
typedef struct UsageLine
{
	char	   *key;
	Numeric		amount;			/* exact */
	const char *model;
	Jsonb	   *usage;
	Jsonb	   *metadata;
} UsageLine;

extern bool line_has_key(const pg_uuid_t *account, const char *key);
extern void lines_insert(const pg_uuid_t *account, const pg_uuid_t *entry, UsageLine *const *lines, int n);
extern bool line_find(const pg_uuid_t *account, const char *key, pg_uuid_t *entry, int *line);

#endif
