#ifndef DUCTO_BASE_CLOCK_H
#define DUCTO_BASE_CLOCK_H

#include "postgres.h"
#include "utils/timestamp.h"

extern TimestampTz clock_now(void);

#endif
