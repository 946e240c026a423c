#ifndef DUCTO_BASE_PROGRESS_H
#define DUCTO_BASE_PROGRESS_H

#include "postgres.h"
#include "portability/instr_time.h"

/* Long work, and when something was last said of it. */
typedef struct Progress
{
	instr_time	told;
} Progress;

extern void progress_begin(Progress *progress);
extern bool progress_is_due(Progress *progress);

#endif
