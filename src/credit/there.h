#ifndef DUCTO_CREDIT_THERE_H
#define DUCTO_CREDIT_THERE_H

#include "postgres.h"
#include "fmgr.h"

extern bool charge_there(FunctionCallInfo fcinfo, Datum *result);
extern bool reserve_there(FunctionCallInfo fcinfo, Datum *result);
extern bool deduct_there(FunctionCallInfo fcinfo, Datum *result);
extern bool add_credits_there(FunctionCallInfo fcinfo, Datum *result);
extern bool charge_usage_there(FunctionCallInfo fcinfo, Datum *result);
extern bool renew_there(FunctionCallInfo fcinfo, Datum *result);
extern bool release_there(FunctionCallInfo fcinfo, Datum *result);
extern bool settle_there(FunctionCallInfo fcinfo, Datum *result);

#endif
