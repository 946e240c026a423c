/*
 * claim.c
 *		Triggers and rules of users: an account that an operation works on is
 *		claimed by it until it ends, because an operation on the same account
 *		inside of it would find rows of which some are written and some are not.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "account/claim.h"
#include "base/args.h"
#include "base/query.h"

/* A claim of accounts. It lives in the memory of its operation, and goes with it. */
typedef struct Claim
{
	pg_uuid_t  *ids;			/* in their order */
	int			n;
	int			depth;			/* of the operation */
	MemoryContextCallback forget;
	struct Claim *next;
} Claim;

static Claim *claims = NULL;

/*
 * Forget a claim, unless it is forgotten.
 */
static void
claim_forget(void *arg)
{
	Claim	  **link = &claims;

	while (*link != NULL && *link != arg)
		link = &(*link)->next;
	if (*link != NULL)
		*link = (*link)->next;
}

/*
 * Compare identifiers for bsearch.
 */
static int
id_compare(const void *a, const void *b)
{
	return memcmp(a, b, UUID_LEN);
}

/*
 * account_is_claimed tells whether an operation around this one works on an
 * account.
 */
bool
account_is_claimed(const pg_uuid_t *id)
{
	for (Claim *claim = claims; claim != NULL; claim = claim->next)
		if (claim->depth < query_depth() && bsearch(id, claim->ids, claim->n, UUID_LEN, id_compare) != NULL)
			return true;
	return false;
}

/*
 * Raise the error of an account that an operation around this one works on.
 */
static void
claim_check(const pg_uuid_t *id)
{
	if (account_is_claimed(id))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("account %s is in the middle of an operation",
						DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)))),
				 errdetail("A trigger or rule on a table of ducto called another operation on the same account."),
				 errhint("Call it from a constraint trigger that is DEFERRABLE INITIALLY DEFERRED, or after the operation.")));
}

/*
 * accounts_claim claims accounts, in the order of their ids, for the operation
 * that runs. It is an error when an operation around this one works on one.
 */
void
accounts_claim(const pg_uuid_t *ids, int n)
{
	Claim	   *claim;

	for (int i = 0; i < n; i++)
		claim_check(&ids[i]);
	claim = palloc0(sizeof(Claim));
	claim->ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	memcpy(claim->ids, ids, sizeof(pg_uuid_t) * n);
	claim->n = n;
	claim->depth = query_depth();
	claim->forget.func = claim_forget;
	claim->forget.arg = claim;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &claim->forget);
	claim->next = claims;
	claims = claim;
}

/*
 * account_claim claims an account for the operation that runs, before it locks
 * it.
 */
void
account_claim(const pg_uuid_t *id)
{
	accounts_claim(id, 1);
}

/*
 * account_unclaim takes back the last claim of the operation that runs: it did
 * not get to work on the account.
 */
void
account_unclaim(const pg_uuid_t *id)
{
	for (Claim *claim = claims; claim != NULL; claim = claim->next)
		if (claim->depth == query_depth() && claim->n == 1 && memcmp(claim->ids, id, UUID_LEN) == 0)
		{
			claim_forget(claim);
			return;
		}
}

/*
 * row_missing raises the error of a row that was to be written, and was not
 * although nothing of ducto is in its way.
 */
void
row_missing(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a row of table \"%s\" was not written", table),
			 errdetail("A trigger or a rule on the table suppressed it, or it was deleted."),
			 errhint("Triggers and rules of your own must leave the rows of ducto alone. Run ducto_verify.")));
}
