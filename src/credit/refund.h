#ifndef DUCTO_CREDIT_REFUND_H
#define DUCTO_CREDIT_REFUND_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "base/money.h"
#include "base/rejection.h"

/* A refund that is asked for. */
typedef struct RefundRequest
{
	pg_uuid_t  *transaction;
	pg_uuid_t  *account;		/* whose ledger has it; NULL = wherever it is */
	bool		everything;		/* all that is left */
	Money		amount;
	Jsonb	   *metadata;		/* with the reason; NULL for an empty object */
	char	   *key;			/* NULL for none */
	bool		restore_allowance;
} RefundRequest;

/* What became of it; whose debit it was: a user's, or a member's of a team. */
typedef struct RefundOutcome
{
	Rejection	rejection;
	bool		booked;			/* refund is the entry */
	pg_uuid_t	refund;
	bool		has_user;
	pg_uuid_t	user;
	bool		has_team;
	pg_uuid_t	team;
	Money		amount;
	Money		balance;
	Money		allowance;
	bool		idempotent;		/* it was booked before, under the same key */
	bool		at_once;		/* already refunded, by one refund of all credits */
} RefundOutcome;

extern void refund_make(RefundRequest *request, RefundOutcome *outcome);

#endif
