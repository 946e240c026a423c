#ifndef DUCTO_ACCOUNT_KNOWNKEY_H
#define DUCTO_ACCOUNT_KNOWNKEY_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "account/entrytype.h"

/* What is known of a key of a line. */
typedef struct KnownKey
{
	bool		twice;			/* a line before it has it too, which may be all */
	bool		line;			/* a line of the account has it, */
	Numeric		amount;			/* which costs that */
	Jsonb	   *usage;			/* NULL for none */
	EntryType	type;			/* that of the entry which has it */
	bool		closed;			/* a deduct of 0 has it */
} KnownKey;

/* Receives what is known of one of the keys that were asked for, n counts them from 0. It may be told twice. */
typedef void (*KnownKeyReader) (int n, const KnownKey *known, void *state);

extern void keys_find_known(const pg_uuid_t *account, char *const *keys, int n, KnownKeyReader reader, void *state);

#endif
