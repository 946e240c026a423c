#ifndef DUCTO_ACCOUNT_KEPTCAP_H
#define DUCTO_ACCOUNT_KEPTCAP_H

#include "account/account.h"

extern bool caps_can_be_kept(void);
extern void caps_keep(Account *accs, int n);
extern void caps_write(Account *accs, int n);

#endif
