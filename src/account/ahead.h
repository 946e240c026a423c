#ifndef DUCTO_ACCOUNT_AHEAD_H
#define DUCTO_ACCOUNT_AHEAD_H

#include "account/account.h"

extern void account_enter_cycle(Account *acc, const Period *cycle, bool read_only);
extern void account_set_back(Account *acc, bool read_only);
extern void windows_make(Account *acc);
extern void args_moved(QueryArgs *args, const Account *acc, bool read_only);
extern int64 windows_before(const Account *acc, bool read_only);
extern int64 ledger_seq_at(const Account *acc, TimestampTz at);
extern bool ledger_ends_ahead(const Account *acc, int64 seq, TimestampTz now);

#endif
