#ifndef DUCTO_ACCOUNT_CLAIM_H
#define DUCTO_ACCOUNT_CLAIM_H

#include "postgres.h"
#include "utils/uuid.h"

#include "base/args.h"

extern void account_claim(const pg_uuid_t *id);
extern void accounts_claim(const pg_uuid_t *ids, int n);
extern void account_unclaim(const pg_uuid_t *id);
extern bool account_is_claimed(const pg_uuid_t *id);
pg_noreturn extern void row_missing(const char *table);

#endif
