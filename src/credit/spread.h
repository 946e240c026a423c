#ifndef DUCTO_CREDIT_SPREAD_H
#define DUCTO_CREDIT_SPREAD_H

#include "postgres.h"
#include "fmgr.h"

#include "base/query.h"
#include "credit/batch.h"

/* The query by which a batch is done on a shard: NAME has found, shard, ITEMS, places and settings as arguments. */
#define SPREAD_QUERY(name) \
	{ \
		.sql = "SELECT t.* FROM (" ON_SHARD_OF("$1") ") s, LATERAL ducto." name "(s.n, $2, $3, $4, $5) t", \
		.types = {UUIDOID, INT8OID, JSONBOID, INT4ARRAYOID, TEXTARRAYOID} \
	}

/* Where they are among the arguments. */
#define SPREAD_ITEMS	2

extern bool batch_is_spread(FunctionCallInfo fcinfo);
extern void batch_spread(FunctionCallInfo fcinfo, KeptQuery *query, BatchElement *elements, int n);
extern Datum spread_answer(FunctionCallInfo fcinfo, PGFunction function);

#endif
