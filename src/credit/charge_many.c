/*
 * charge_many.c
 *		Many charges in one call.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/elements.h"
#include "base/query.h"
#include "base/shard.h"
#include "credit/batch.h"
#include "credit/debit.h"
#include "credit/spread.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_charge_many);
PG_FUNCTION_INFO_V1(ducto_charge_many_shards);

#define CHARGES	"charges"

/* The fields of a charge: the arguments of ducto_charge in their order, and what it may have instead. */
static const Field charge_fields[] = {
	{"user_id", UUIDOID},
	{"amount", NUMERICOID},
	{"idempotency_key", TEXTOID},
	{"metadata", JSONBOID},
	{"model", TEXTOID},
	{"min_balance", NUMERICOID},
	{"operation_type", TEXTOID},
	{"skip_allowance", BOOLOID},
	{"required_feature", TEXTOID},
	{"overrun", TEXTOID},
	{"usage", JSONBOID},
	{"team_id", UUIDOID},
	{NULL, InvalidOid}
};

/* Places of these. */
#define AMOUNT_FIELD	1
#define MODEL_FIELD		4
#define MIN_BALANCE_FIELD	5
#define USAGE_FIELD		10
#define TEAM_FIELD		11

/* Many charges, and what became of them. */
typedef struct ManyCharges
{
	FunctionCallInfo fcinfo;
	Pricing    *active;			/* NULL for none */
	bool		looked;			/* it is known */
	Debit	   *requests;
	Deduction  *deductions;
	Rejection  *rejections;
} ManyCharges;

/*
 * Reject the fields from one to another that do not go with another field.
 */
static void
fields_refuse(FunctionCallInfo element, int from, int to, const char *other)
{
	for (int field = from; field <= to; field++)
		if (!element->args[field].isnull)
			arg_reject(charge_fields[field].name, "must not be given",
					   psprintf("\"%s\" does not go with \"%s\".", charge_fields[field].name, other));
}

/*
 * Door of an element that charges a usage.
 */
static void
usage_request(FunctionCallInfo element, Debit *request)
{
	fields_refuse(element, AMOUNT_FIELD, AMOUNT_FIELD, "usage");
	fields_refuse(element, MODEL_FIELD, MODEL_FIELD, "usage");
	request->priced = palloc0(sizeof(PricedUsage));
	arg_usage(element, USAGE_FIELD, "usage", &request->priced->usage);
}

/*
 * Door of an element.
 */
static void
element_request(FunctionCallInfo element, Debit *request)
{
	charge_terms(element, request);
	if (!element->args[TEAM_FIELD].isnull)
	{
		fields_refuse(element, MIN_BALANCE_FIELD, USAGE_FIELD, "team_id");
		request->team = arg_uuid(element, TEAM_FIELD, "team_id");
		request->amount = arg_money(element, AMOUNT_FIELD, "amount", MONEY_POSITIVE);
	}
	else if (!element->args[USAGE_FIELD].isnull)
		usage_request(element, request);
	else
		request->amount = arg_money(element, AMOUNT_FIELD, "amount", MONEY_NOT_NEGATIVE);
}

/*
 * Door of ducto_charge_many. Returns the charges as elements of a batch.
 */
static BatchElement *
many_request(FunctionCallInfo fcinfo, int array, void *items, int *n)
{
	ManyCharges *many = items;
	Elements	charges;
	BatchElement *elements;

	elements_begin(&charges, fcinfo, array, CHARGES, charge_fields);
	elements = palloc0(sizeof(BatchElement) * Max(charges.n, 1));
	many->requests = palloc0(sizeof(Debit) * Max(charges.n, 1));
	many->deductions = palloc0(sizeof(Deduction) * Max(charges.n, 1));
	many->rejections = palloc0(sizeof(Rejection) * Max(charges.n, 1));
	for (int i = 0; i < charges.n; i++)
	{
		Debit	   *request = &many->requests[i];

		element_request(elements_enter(&charges, i), request);
		elements_leave(&charges);
		elements[i].place = i;
		elements[i].account = request->team != NULL ? request->team : request->user;
		elements[i].key = request->key;
		elements[i].burns = true;
		elements[i].member = request->team != NULL ? request->user : NULL;
	}
	*n = charges.n;
	return elements;
}

/*
 * Price the usages by the active pricing. What depends on the user's plan is
 * priced anew under the account's lock.
 */
static void
many_price(void *items, const BatchElement *elements, int n)
{
	ManyCharges *many = items;
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "ducto price", ALLOCSET_SMALL_SIZES);

	for (int i = 0; i < n; i++)
	{
		Debit	   *request = &many->requests[elements[i].place];
		ElementScope scope;

		if (request->priced == NULL)
			continue;
		if (!many->looked)
			many->active = pricing_get_active(false);
		many->looked = true;
		element_enter(&scope, CHARGES, elements[i].place);
		usage_price_within(request->priced, many->active, NULL, each);
		charge_of_usage(request);
		element_leave(&scope);
	}
	MemoryContextDelete(each);
}

/*
 * Tell whether a charge may make the account of a new user: it can only get a
 * shortfall, a debt or a price that charges nothing yet.
 */
static bool
many_may_make(const void *items, int place)
{
	const Debit *request = &((const ManyCharges *) items)->requests[place];

	return request->team == NULL && (request->overrun != OVERRUN_REJECT || request->priced != NULL);
}

/*
 * Tell whether a charge makes the account of a new user.
 */
static bool
many_makes(void *items, int place, Account *none)
{
	Debit	   *request = &((ManyCharges *) items)->requests[place];
	Deduction	deduction;

	return debit_locked(request, none, NULL, &deduction) == ACCEPTED && debit_books(request);
}

/*
 * Append the columns of a charge's row.
 */
static void
many_row(const void *items, int place, ResultRow *row)
{
	const ManyCharges *many = items;
	const Debit *request = &many->requests[place];
	const Deduction *deduction = &many->deductions[place];

	result_int4(row, place + 1);
	result_uuid(row, deduction->booked ? &deduction->transaction : NULL);
	result_uuid(row, request->user);
	result_uuid(row, request->team);
	result_money(row, deduction->amount);
	result_money(row, deduction->balance_after);
	result_money(row, deduction->allowance_consumed);
	result_money(row, deduction->shortfall);
	result_bool(row, deduction->idempotent);
	result_text(row, cap_actions[deduction->cap_warning]);
	result_text(row, rejection_code(many->rejections[place]));
}

static const BatchKind kind;

/*
 * Charge an account, or there may be none. A rejection is raised where
 * rejections are.
 */
static void
many_decide(void *items, int place, Account *acc)
{
	ManyCharges *many = items;
	Debit	   *request = &many->requests[place];
	Deduction  *deduction = &many->deductions[place];

	if (request->team == NULL)
		account_require_user(acc);
	many->rejections[place] = debit_locked(request, acc, NULL, deduction);
	batch_reject(many->fcinfo, &kind, many, place, many->rejections[place]);
}

static const BatchKind kind = {CHARGES, many_request, many_price, many_may_make, many_makes, many_decide, many_row};

static WaveWork spread_work = SPREAD_WORK("charge_many_shards");

/*
 * ducto_charge_many does many charges as if each were called in turn. It locks
 * the accounts in the order of their ids. Arguments, rejections and errors: see
 * its COMMENT.
 */
Datum
ducto_charge_many(PG_FUNCTION_ARGS)
{
	ManyCharges many = {.fcinfo = fcinfo};

	return batch_call(fcinfo, &kind, &many, &spread_work);
}

/*
 * Do the operations of shards.
 */
static Datum
many_on_shards(PG_FUNCTION_ARGS)
{
	ManyCharges many = {.fcinfo = fcinfo};

	return batch_call_on_shards(fcinfo, &kind, &many);
}

/*
 * ducto.charge_many_shards is ducto_charge_many for accounts of shards of this
 * node.
 */
Datum
ducto_charge_many_shards(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(spread_answer(fcinfo, many_on_shards));
}
