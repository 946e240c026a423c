#ifndef DUCTO_BASE_DIRECTFIND_H
#define DUCTO_BASE_DIRECTFIND_H

#include "postgres.h"
#include "storage/itemptr.h"

#include "base/directrow.h"

extern void run_find(Run *run, const ItemPointerData *likely);

#endif
