#ifndef DUCTO_BASE_UUIDV7_H
#define DUCTO_BASE_UUIDV7_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/uuid.h"

extern void uuidv7_make(pg_uuid_t *uuid, TimestampTz at);
extern void uuidv7_derive(pg_uuid_t *uuid, TimestampTz at, const void *parts, int length);

#endif
