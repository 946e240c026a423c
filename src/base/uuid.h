#ifndef DUCTO_BASE_UUID_H
#define DUCTO_BASE_UUID_H

#include "postgres.h"
#include "utils/uuid.h"

extern bool uuid_has_form(const char *text);
extern char *uuid_to_cstring(const pg_uuid_t *uuid);

#endif
