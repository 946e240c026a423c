#ifndef DUCTO_BASE_PROBE_H
#define DUCTO_BASE_PROBE_H

#include "postgres.h"
#include "utils/uuid.h"

extern int	probe_texts(const char *table, const char *const *columns, const pg_uuid_t *first, const char *const *texts, int n,
						const char **possible);

#endif
