#ifndef DUCTO_CREDIT_BATCH_H
#define DUCTO_CREDIT_BATCH_H

#include "postgres.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "base/rejection.h"
#include "base/result.h"

/* One of many operations. */
typedef struct BatchElement
{
	int			place;			/* in the array, from 0 */
	const pg_uuid_t *account;
	const char *key;			/* NULL for none */
	bool		burns;			/* it may take credit that expires */
	const pg_uuid_t *member;	/* who spends from a pool by it; NULL for none */
	bool		key_is_new;		/* neither the ledger nor an element before has it */
} BatchElement;

/* What the operations of a batch are; items is theirs. */
typedef struct BatchKind
{
	const char *argument;
	BatchElement *(*request) (FunctionCallInfo fcinfo, int array, void *items, int *n);	/* reads an array argument */
	void		(*price) (void *items, const BatchElement *elements, int n);	/* what needs a price; NULL for nothing */
	bool		(*may_make) (const void *items, int place); /* it may make the account of a new user */
	bool		(*makes) (void *items, int place, Account *none);	/* it does, where there is none */
	void		(*decide) (void *items, int place, Account *acc);
	void		(*row) (const void *items, int place, ResultRow *row);	/* appends the columns of its row */
} BatchKind;

extern void batch_run(const BatchKind *kind, void *items, BatchElement *elements, int n);
extern void batch_reject(FunctionCallInfo fcinfo, const BatchKind *kind, const void *items, int place, Rejection rejection);
extern void batch_answer(FunctionCallInfo fcinfo, const BatchKind *kind, const void *items, int n);

#endif
