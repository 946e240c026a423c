#ifndef DUCTO_BASE_PERIOD_H
#define DUCTO_BASE_PERIOD_H

#include "postgres.h"
#include "utils/date.h"
#include "utils/timestamp.h"

/* Days and months are UTC. */
extern DateADT period_day(TimestampTz at);
extern DateADT period_month(TimestampTz at);
extern DateADT period_next_month(DateADT month);
extern TimestampTz period_start(DateADT day);

#endif
