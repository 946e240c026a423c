#ifndef DUCTO_BASE_ZONE_H
#define DUCTO_BASE_ZONE_H

#include "postgres.h"
#include "fmgr.h"
#include "pgtime.h"

extern pg_tz *zone_find(const char *name);
extern char *arg_zone(FunctionCallInfo fcinfo, int n, const char *name);

#endif
