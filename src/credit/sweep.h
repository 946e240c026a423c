#ifndef DUCTO_CREDIT_SWEEP_H
#define DUCTO_CREDIT_SWEEP_H

#include "postgres.h"

#include "base/money.h"

extern int64 sweep_expired(bool dry_run, int64 max_accounts, Spend *expired);
extern int64 sweep_reservations(int64 max_rows);

#endif
