#ifndef DUCTO_BASE_CLUSTER_H
#define DUCTO_BASE_CLUSTER_H

#include "postgres.h"
#include "nodes/pg_list.h"

extern bool cluster_is_there(void);
extern bool cluster_has_any(List *tables);
extern bool cluster_is_used(void);

#endif
