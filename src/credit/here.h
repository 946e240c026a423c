#ifndef DUCTO_CREDIT_HERE_H
#define DUCTO_CREDIT_HERE_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/uuid.h"

extern bool call_reads(FunctionCallInfo fcinfo, const pg_uuid_t *account, PGFunction function, Datum *result);
extern bool may_be_inside(int depth);
extern int64 inside_keep(const pg_uuid_t *account);
extern bool call_inside(FunctionCallInfo fcinfo, PGFunction function, Datum *result);

#endif
