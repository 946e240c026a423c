#ifndef DUCTO_CREDIT_HERE_H
#define DUCTO_CREDIT_HERE_H

#include "postgres.h"
#include "fmgr.h"

extern bool call_inside(FunctionCallInfo fcinfo, PGFunction function, Datum *result);

#endif
