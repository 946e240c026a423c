/*
 * add_many.c
 *		Many additions of credits in one call.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/elements.h"
#include "base/query.h"
#include "base/shard.h"
#include "credit/add.h"
#include "credit/batch.h"
#include "credit/spread.h"

PG_FUNCTION_INFO_V1(ducto_add_credits_many);
PG_FUNCTION_INFO_V1(ducto_add_credits_many_shards);

#define CREDITS	"credits"

/* The fields of an addition: the arguments of ducto_add_credits in their order, and what it may have instead. */
static const Field credit_fields[] = {
	{"user_id", UUIDOID},
	{"amount", NUMERICOID},
	{"type", TEXTOID},
	{"metadata", JSONBOID},
	{"expires_at", TIMESTAMPTZOID},
	{"idempotency_key", TEXTOID},
	{"priority", INT4OID},
	{"team_id", UUIDOID},
	{NULL, InvalidOid}
};

/* Places of these. */
#define USER_FIELD	0
#define TEAM_FIELD	7

/* Many additions, and what became of them. */
typedef struct ManyCredits
{
	FunctionCallInfo fcinfo;
	CreditRequest *requests;
	CreditOutcome *outcomes;
} ManyCredits;

/*
 * Door of an element: it is for a user or for a team.
 */
static void
element_request(FunctionCallInfo element, CreditRequest *request)
{
	bool		team = !element->args[TEAM_FIELD].isnull;

	if (team && !element->args[USER_FIELD].isnull)
		arg_reject("user_id", "must not be given", "\"user_id\" does not go with \"team_id\".");
	credit_terms(element, team ? TEAM_FIELD : USER_FIELD, team, request);
}

/*
 * Door of ducto_add_credits_many. Returns the additions as elements of a batch.
 */
static BatchElement *
many_request(FunctionCallInfo fcinfo, int array, void *items, int *n)
{
	ManyCredits *many = items;
	Elements	credits;
	BatchElement *elements;

	elements_begin(&credits, fcinfo, array, CREDITS, credit_fields);
	elements = palloc0(sizeof(BatchElement) * Max(credits.n, 1));
	many->requests = palloc0(sizeof(CreditRequest) * Max(credits.n, 1));
	many->outcomes = palloc0(sizeof(CreditOutcome) * Max(credits.n, 1));
	for (int i = 0; i < credits.n; i++)
	{
		CreditRequest *request = &many->requests[i];

		element_request(elements_enter(&credits, i), request);
		elements_leave(&credits);
		elements[i].place = i;
		elements[i].account = request->account;
		elements[i].key = request->key;
		elements[i].burns = request->amount < 0;
	}
	*n = credits.n;
	return elements;
}

/*
 * Tell whether an addition makes the account of a new user.
 */
static bool
many_may_make(const void *items, int place)
{
	const CreditRequest *request = &((const ManyCredits *) items)->requests[place];

	return !request->team && request->amount >= 0;
}

/*
 * Tell the same of an account that there is none of.
 */
static bool
many_makes(void *items, int place, Account *none)
{
	return many_may_make(items, place);
}

/*
 * Append the columns of an addition's row.
 */
static void
many_row(const void *items, int place, ResultRow *row)
{
	const ManyCredits *many = items;
	const CreditRequest *request = &many->requests[place];
	const CreditOutcome *outcome = &many->outcomes[place];

	result_int4(row, place + 1);
	credit_columns(row, request, outcome);
	result_text(row, rejection_code(outcome->rejection));
	result_uuid(row, request->team ? request->account : NULL);
}

static const BatchKind kind;

/*
 * Add credits to an account, or there may be none. A rejection is raised where
 * rejections are.
 */
static void
many_decide(void *items, int place, Account *acc)
{
	ManyCredits *many = items;
	CreditOutcome *outcome = &many->outcomes[place];

	credit_locked(&many->requests[place], acc, outcome);
	batch_reject(many->fcinfo, &kind, many, place, outcome->rejection);
}

static const BatchKind kind = {CREDITS, many_request, NULL, many_may_make, many_makes, many_decide, many_row};

static WaveWork spread_work = SPREAD_WORK("add_credits_many_shards");

/*
 * ducto_add_credits_many does many additions as if each were called in turn. It
 * locks the accounts in the order of their ids. Arguments, rejections and errors:
 * see its COMMENT.
 */
Datum
ducto_add_credits_many(PG_FUNCTION_ARGS)
{
	ManyCredits many = {.fcinfo = fcinfo};

	return batch_call(fcinfo, &kind, &many, &spread_work);
}

/*
 * Do the operations of shards.
 */
static Datum
many_on_shards(PG_FUNCTION_ARGS)
{
	ManyCredits many = {.fcinfo = fcinfo};

	return batch_call_on_shards(fcinfo, &kind, &many);
}

/*
 * ducto.add_credits_many_shards is ducto_add_credits_many for accounts of shards of
 * this node.
 */
Datum
ducto_add_credits_many_shards(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(spread_answer(fcinfo, many_on_shards));
}
