#ifndef DUCTO_ACCOUNT_CAPALERT_H
#define DUCTO_ACCOUNT_CAPALERT_H

#include "account/alertline.h"
#include "account/cap.h"

extern void caps_watch(Account *acc, const Lines *lines);
extern void cap_denied(Account *acc, const Cap *cap);

#endif
