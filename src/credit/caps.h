#ifndef DUCTO_CREDIT_CAPS_H
#define DUCTO_CREDIT_CAPS_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/capwindow.h"
#include "base/money.h"

/* The spend cap that matters most for an amount; applies is false for none. */
typedef struct CapCheck
{
	bool		applies;
	bool		capped;			/* it denies the amount */
	Spend		current_spend;
	Money		limit;
	TimestampTz resets_at;		/* infinity for never */
	CapAction	action;
	const char *model;			/* NULL for all */
} CapCheck;

extern void cap_check(const pg_uuid_t *user, const char *model, Money amount, CapCheck *check);

#endif
