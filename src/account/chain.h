#ifndef DUCTO_ACCOUNT_CHAIN_H
#define DUCTO_ACCOUNT_CHAIN_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#define DIGEST_LENGTH	32

/*
 * The columns that an entry's own digest is made of beside account_id, which is
 * the first, as value.h has them. A digest tells of the names and of this order,
 * so they stay as they are, and others come after them.
 */
#define LEDGER_OWN_FIELDS(FIELD) \
	FIELD(2, amount, numeric) \
	FIELD(3, type, text) \
	FIELD(4, operation_type, text) \
	FIELD(5, model, text) \
	FIELD(6, idempotency_key, text) \
	FIELD(7, reference, uuid) \
	FIELD(8, shortfall, numeric) \
	FIELD(9, burned_grants, uuids) \
	FIELD(10, burned_amounts, numerics) \
	FIELD(11, lifetime_purchased, numeric) \
	FIELD(12, expires_at, time) \
	FIELD(13, priority, int4) \
	FIELD(14, metadata, jsonb) \
	FIELD(15, allowance_consumed, numeric) \
	FIELD(16, cap_warning, text) \
	FIELD(17, pricing, jsonb) \
	FIELD(18, actor, uuid) \
	FIELD(19, exact_price, numeric) \
	FIELD(20, models, texts) \
	FIELD(21, model_spend, numerics) \
	FIELD(22, model_lines, integers)

/* Where each is among the values that chain_own gets. */
#define OWN_PLACE(n, column, ...)	OWN_##column = (n) - 1,

enum
{
	OWN_account_id, LEDGER_OWN_FIELDS(OWN_PLACE) OWN_COLUMNS
};

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

extern void chain_own(const Datum *values, const bool *nulls, ChainLink *link);
extern Datum digest_to_datum(const uint8 *digest);
extern void chain_digest(uint8 *head, const ChainLink *link, const ChainPlace *place);

#endif
