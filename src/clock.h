#ifndef DUCTO_CLOCK_H
#define DUCTO_CLOCK_H

#include "postgres.h"
#include "utils/timestamp.h"

extern TimestampTz clock_now(void);

#endif
