#ifndef DUCTO_BASE_THERE_H
#define DUCTO_BASE_THERE_H

#include "postgres.h"
#include "fmgr.h"

#include "base/args.h"
#include "base/query.h"

/* The types of a function's arguments, and of the settings that go with them. */
#define THERE_TYPES(...)	{__VA_ARGS__, TEXTARRAYOID}

extern void args_carried(QueryArgs *args);
extern bool call_there(FunctionCallInfo fcinfo, KeptQuery *query, Datum *result);
extern bool call_there_unless(FunctionCallInfo fcinfo, KeptQuery *query, const char *again, Datum *result);
extern Datum call_here(FunctionCallInfo fcinfo, PGFunction function);
extern Datum call_on_shard(FunctionCallInfo fcinfo, int64 shard, PGFunction function);
extern Datum call_on_shards(FunctionCallInfo fcinfo, PGFunction function);
pg_noreturn extern void call_raise_again(MemoryContext context, bool moved);
extern bool call_is_from_elsewhere(void);

#endif
