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

extern Datum batch_call(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, KeptQuery *on_shard);
extern Datum batch_call_on_shard(FunctionCallInfo fcinfo, const BatchKind *kind, void *items);
extern Datum spread_answer(FunctionCallInfo fcinfo, PGFunction function);

#endif
