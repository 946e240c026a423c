#ifndef DUCTO_CREDIT_SPREAD_H
#define DUCTO_CREDIT_SPREAD_H

#include "postgres.h"
#include "fmgr.h"

#include "account/wave.h"
#include "base/query.h"
#include "credit/batch.h"

/* The query by which a batch is done on shards: NAME has found, ITEMS, places and settings as arguments. */
#define SPREAD_QUERY(name, shards) \
	{ \
		.sql = "SELECT w.n, t.* FROM " shards ", LATERAL ducto." name \
		"(w.n, $3 -> (w.n - 1), " OF_SHARD("$6") ", $7) t", \
		.types = {UUIDARRAYOID, INT8ARRAYOID, JSONBOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, TEXTARRAYOID} \
	}
#define SPREAD_WORK(name) \
	{ \
		.together = SPREAD_QUERY(name, THESE_SHARDS), \
		.alone = SPREAD_QUERY(name, ANY_SHARD), \
		.arguments = spread_arguments, \
		.answer = spread_answered \
	}

extern void spread_arguments(const Wave *wave, QueryArgs *args, void *state);
extern void spread_answered(ShardPart *part, uint64 row, void *state);
extern Datum batch_call(FunctionCallInfo fcinfo, const BatchKind *kind, void *items, WaveWork *work);
extern Datum batch_call_on_shards(FunctionCallInfo fcinfo, const BatchKind *kind, void *items);
extern Datum spread_answer(FunctionCallInfo fcinfo, PGFunction function);

#endif
