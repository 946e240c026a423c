#ifndef DUCTO_ACCOUNT_CHAIN_H
#define DUCTO_ACCOUNT_CHAIN_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define DIGEST_LENGTH	32

/* The columns that an entry's own digest is made of; the last ones are those of lines, which most entries lack. */
#define CHAIN_COLUMNS	22
#define CHAIN_LINE_COLUMNS	3

/* What of an entry is known before its account is locked: its own digest and its id, as a bytea. */
typedef struct ChainLink
{
	int32		vl_len_;
	uint8		own[DIGEST_LENGTH];
	pg_uuid_t	id;
} ChainLink;

/* The rest of what its digest in the chain is made of. */
typedef struct ChainPlace
{
	int64		seq;
	TimestampTz created_at;
	TimestampTz effective_at;
	TimestampTz cycle_end;		/* -infinity for none */
} ChainPlace;

extern void chain_own(const Datum *values, const char *nulls, int n, ChainLink *link);
extern Datum digest_to_datum(const uint8 *digest);
extern void chain_digest(uint8 *head, const ChainLink *link, const ChainPlace *place);

#endif
