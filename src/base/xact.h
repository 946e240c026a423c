#ifndef DUCTO_BASE_XACT_H
#define DUCTO_BASE_XACT_H

#include "postgres.h"

/*
 * The number of a transaction: its 48-bit id below a tag of the cluster that
 * gave it, so that ids which came with a restore are told from those given
 * here.
 */
#define XACT_ID_BITS	48

extern int64 xact_current(void);
extern int64 xact_number(uint64 id);
extern int64 xact_first_here(void);
extern int64 xact_last_here(void);

#endif
