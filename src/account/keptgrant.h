#ifndef DUCTO_ACCOUNT_KEPTGRANT_H
#define DUCTO_ACCOUNT_KEPTGRANT_H

#include "account/account.h"
#include "account/grant.h"

extern void account_burn(Account *acc, Money amount, BurnList *burned);
extern void account_add_grant(Account *acc, const Gift *gift);
extern bool grants_can_be_kept(void);
extern void grants_keep(Account *accs, const bool *burns, int n);
extern void grants_write_kept(Account *accs, int n);

#endif
