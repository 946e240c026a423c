#ifndef DUCTO_CREDIT_ADD_H
#define DUCTO_CREDIT_ADD_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "account/entrytype.h"
#include "base/money.h"
#include "base/result.h"

/* Credit to be added, already checked. */
typedef struct CreditRequest
{
	pg_uuid_t  *account;
	bool		team;			/* it is a team's pool */
	Money		amount;
	EntryType	type;
	Jsonb	   *metadata;		/* NULL for an empty object */
	TimestampTz expires_at;		/* infinity for never */
	bool		may_be_past;	/* expires_at is taken even when it is */
	bool		book_zero;		/* an amount of 0 is an entry, too */
	char	   *key;			/* NULL for none */
	bool		any_amount;		/* a replay is one whatever the amount was */
	bool		has_priority;	/* it is in a grant even if it never expires */
	int			priority;
} CreditRequest;

/* What became of it. */
typedef struct CreditOutcome
{
	Rejection	rejection;
	bool		booked;			/* transaction is the entry */
	pg_uuid_t	transaction;
	Money		amount;
	Money		balance;
	Spend		lifetime_purchased;
	TimestampTz expires_at;		/* infinity for never */
	bool		idempotent;		/* it was booked before, under the same key */
} CreditOutcome;

extern EntryType arg_credit_type(FunctionCallInfo fcinfo, int n, const char *name, EntryType fallback);
extern void credit_terms(FunctionCallInfo fcinfo, int account, bool team, CreditRequest *request);
extern void credit_locked(const CreditRequest *request, Account *acc, CreditOutcome *outcome);
extern void credit_columns(ResultRow *row, const CreditRequest *request, const CreditOutcome *outcome);
extern void credit_add(const CreditRequest *request, CreditOutcome *outcome);

#endif
