/*
 * settle.c
 *		Charging many calls to a reservation at once: lines, which are one entry
 *		of the ledger. They are what as many deducts, one after the other, would
 *		be: first those that the allowance may pay, then the others.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "account/cap.h"
#include "account/key.h"
#include "account/knownkey.h"
#include "account/lines.h"
#include "account/roll.h"
#include "base/elements.h"
#include "base/json.h"
#include "base/query.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/there.h"
#include "credit/debit.h"
#include "credit/reserve.h"
#include "credit/there.h"

PG_FUNCTION_INFO_V1(ducto_settle);

/* The fields of a line, in the order of their arguments. */
static const Field line_fields[] = {
	{"key", TEXTOID}, {"amount", NUMERICOID}, {"usage", JSONBOID}, {"model", TEXTOID}, {"metadata", JSONBOID}, {NULL, InvalidOid}
};

/* A line, and what becomes of it. */
typedef struct Line
{
	UsageLine	row;
	PricedUsage *priced;		/* NULL where the amount is given */
	Money		lower;			/* what it costs, rounded down, */
	Rest		rest;			/* and what that leaves */
	bool		credits_only;	/* the allowance does not pay it */
	bool		known;			/* it was booked before, or is twice here */
	Money		charge;			/* what it costs with what was carried over */
} Line;

/* What ducto_settle is asked for, and what was found out about it. */
typedef struct LinesRequest
{
	pg_uuid_t  *user;
	pg_uuid_t  *reservation;
	Line	   *lines;
	int			n;
	bool		final;
	Overrun		overrun;
	bool		has_usage;
	Pricing    *pricing;		/* that of the reservation, else the active one; NULL for none */
	bool		pinned;			/* it is the reservation's */
	const char *plan_id;
	int			known;			/* lines that are */
	const char *conflict;		/* a key that was used for something else; NULL for none */
} LinesRequest;

/* The account and the reservation as they are to become, but for the balance, and what is booked. */
typedef struct LinesPlan
{
	Account		acc;
	Hold		hold;
	Money		charge;
	Money		allowance;
	Money		shortfall;
	EntryModels models;
} LinesPlan;

/* What was, or was not, charged. */
typedef struct Settled
{
	bool		booked;			/* transaction is the entry */
	pg_uuid_t	transaction;
	int			lines;
	Money		amount;
	Money		balance_after;
	Money		allowance;
	Money		shortfall;
	Money		remaining;
} Settled;

/* A text, and a number of its own. */
typedef struct TextNumber
{
	const char *text;
	int			number;
	char		status;			/* of the hash table */
} TextNumber;

#define SH_PREFIX		text_numbers
#define SH_ELEMENT_TYPE	TextNumber
#define SH_KEY_TYPE		const char *
#define SH_KEY			text
#define SH_HASH_KEY(table, key)	hash_bytes((const unsigned char *) (key), (int) strlen(key))
#define SH_EQUAL(table, a, b)	(strcmp(a, b) == 0)
#define SH_SCOPE		static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

/*
 * Read the amount of a line: given, or what a usage costs.
 */
static void
line_amount(FunctionCallInfo fcinfo, Line *line)
{
	if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
		arg_missing("amount", NULL, "A line must have \"amount\" or \"usage\".");
	if (!PG_ARGISNULL(1) && !PG_ARGISNULL(2))
		arg_reject("usage", "given with an amount", "A line must have \"amount\" or \"usage\", not both.");
	if (!PG_ARGISNULL(1))
	{
		line->lower = arg_money(fcinfo, 1, "amount", MONEY_NOT_NEGATIVE);
		line->row.amount = DatumGetNumeric(money_to_datum(line->lower));
		return;
	}
	line->priced = palloc0(sizeof(PricedUsage));
	arg_usage(fcinfo, 2, "usage", &line->priced->usage);
	line->row.usage = line->priced->usage.json;
	line->credits_only = line->priced->usage.fixed_job != NULL;
}

/*
 * Read a line.
 */
static void
line_read(FunctionCallInfo fcinfo, Line *line)
{
	line->row.key = arg_key(fcinfo, 0, "key");
	line_amount(fcinfo, line);
	line->row.model = arg_text(fcinfo, 3, "model");
	if (line->row.model == NULL && line->priced != NULL)
		line->row.model = line->priced->usage.model;
	line->row.metadata = arg_metadata(fcinfo, 4, "metadata");
	if (line->row.metadata != NULL && JsonContainerSize(&line->row.metadata->root) == 0)
		line->row.metadata = NULL;
}

/*
 * Door of ducto_settle.
 */
static void
lines_request(FunctionCallInfo fcinfo, LinesRequest *request)
{
	Elements	elements;

	memset(request, 0, sizeof(LinesRequest));
	request->user = arg_uuid(fcinfo, 0, "user_id");
	request->reservation = arg_uuid(fcinfo, 1, "reservation_id");
	request->final = arg_bool_default(fcinfo, 3, false);
	request->overrun = arg_overrun(fcinfo, 4);
	elements_begin(&elements, fcinfo, 2, "lines", line_fields);
	request->n = elements.n;
	request->lines = palloc0(sizeof(Line) * Max(elements.n, 1));
	for (int i = 0; i < elements.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		line_read(elements_enter(&elements, i), &request->lines[i]);
		elements_leave(&elements);
		request->has_usage |= request->lines[i].priced != NULL;
	}
}

/*
 * Price a line.
 */
static void
line_price(const LinesRequest *request, MemoryContext each, Line *line)
{
	const Price *price = &line->priced->price;

	line->priced->pinned = request->pinned;
	usage_price_within(line->priced, request->pricing, request->plan_id, each);
	line->lower = price->lower;
	line->rest = price->rest;
	line->row.amount = price->exact != NULL ? price->exact : DatumGetNumeric(money_to_datum(price->lower));
}

/*
 * Price the lines that tell a usage. One that has no price says so when it is
 * known to be new.
 */
static void
lines_price(LinesRequest *request)
{
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "ducto line", ALLOCSET_SMALL_SIZES);

	for (int i = 0; i < request->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (request->lines[i].priced != NULL)
			line_price(request, each, &request->lines[i]);
	}
	MemoryContextDelete(each);
}

/*
 * Price the lines by the version and the plan of the reservation, or by the
 * active version where it has none.
 */
static void
lines_price_reserved(LinesRequest *request)
{
	char	   *plan_id;

	if (!request->has_usage)
		return;
	request->pricing = pricing_reserved(request->user, request->reservation, &plan_id);
	request->pinned = request->pricing != NULL;
	request->plan_id = plan_id;
	if (!request->pinned)
		request->pricing = pricing_get_active(false);
	lines_price(request);
}

/*
 * Return the rejection of the first new line that has no price. A plan that a
 * locked account has changes the prices, unless the reservation says by what.
 */
static Rejection
lines_require(LinesRequest *request, Account *acc)
{
	Rejection	rejection = ACCEPTED;

	if (request->has_usage && acc->plan_id != NULL && !request->pinned)
	{
		request->pricing = pricing_with_plan(acc->plan_id, &acc->plan);
		request->plan_id = acc->plan_id;
		lines_price(request);
	}
	for (int i = 0; i < request->n && rejection == ACCEPTED; i++)
	{
		ElementScope scope;

		if (request->lines[i].priced == NULL || request->lines[i].known)
			continue;
		element_enter(&scope, "lines", i);
		rejection = usage_outcome(request->lines[i].priced);
		element_leave(&scope);
	}
	return rejection;
}

/*
 * Tell whether a line costs something else than the one that is known.
 */
static bool
line_differs(const Line *line, const KnownKey *known)
{
	if (!known->line)
		return true;
	if (line->priced != NULL || known->usage != NULL)
		return line->priced == NULL || known->usage == NULL ||
			compareJsonbContainers(&line->row.usage->root, &known->usage->root) != 0;
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(line->row.amount), NumericGetDatum(known->amount))) != 0;
}

/*
 * Let a line be known: it is twice here, or its key was used for a debit.
 */
static void
line_known(int n, const KnownKey *known, void *state)
{
	LinesRequest *request = state;
	Line	   *line = &request->lines[n];

	line->known = true;
	if (known->twice)
		return;
	if (known->closed || (known->type != TYPE_NONE && known->type != TYPE_USAGE) ||
		(setting_key_conflicts() && line_differs(line, known)))
		request->conflict = line->row.key;
}

/*
 * Find the lines that a locked account knows.
 */
static void
lines_find_known(LinesRequest *request, const Account *acc)
{
	char	  **keys = palloc(sizeof(char *) * Max(request->n, 1));

	for (int i = 0; i < request->n; i++)
		keys[i] = request->lines[i].row.key;
	keys_find_known(&acc->id, keys, request->n, line_known, request);
	for (int i = 0; i < request->n; i++)
		request->known += request->lines[i].known;
}

/*
 * Make what the new lines cost, and return the sum of a part of them: those
 * that the allowance may pay, or the others.
 */
static Money
lines_cost(const LinesRequest *request, bool credits_only, Rest *carry, int *n)
{
	Money		sum = 0;

	*n = 0;
	for (int i = 0; i < request->n; i++)
	{
		Line	   *line = &request->lines[i];
		Price		price = {.lower = line->lower, .rest = line->rest};

		if (line->known || line->credits_only != credits_only)
			continue;
		line->charge = price_charge(&price, carry);
		sum = money_add(sum, line->charge, "the sum of the lines");
		(*n)++;
	}
	return sum;
}

/*
 * Decide what of a part of the lines is charged, as a deduct, after what was
 * decided before.
 */
static Rejection
lines_decide_part(const LinesRequest *request, Money amount, bool credits_only, bool final, LinesPlan *plan)
{
	Debit		part = {
		.user = request->user,
		.reservation = request->reservation,
		.amount = amount,
		.overrun = request->overrun,
		.final = final,
		.allow_late = true,
		.skip_is_null = !credits_only,
		.skip_allowance = credits_only,
	};
	DebitPlan	decided = {0};
	Rejection	rejection = settle_decide(&plan->acc, &plan->hold, &part, &decided);

	if (rejection != ACCEPTED)
		return rejection;
	settle_free(&plan->acc, &plan->hold, &decided);
	plan->acc.balance -= decided.charge - decided.allowance;
	plan->charge += decided.charge;
	plan->allowance += decided.allowance;
	plan->shortfall += decided.shortfall;
	return ACCEPTED;
}

/*
 * Return the place of a model among those of an entry; NULL has one too.
 */
static int
model_place(EntryModels *models, text_numbers_hash *places, int *none, const char *model)
{
	TextNumber *place;
	bool		found = *none >= 0;
	int		   *number = none;

	if (model != NULL)
	{
		place = text_numbers_insert(places, model, &found);
		number = &place->number;
	}
	if (!found)
	{
		*number = models->n++;
		models->models[*number] = model;
		models->spend[*number] = 0;
		models->lines[*number] = 0;
	}
	return *number;
}

/*
 * Tell what a part of the lines spends on which model: the first ones are paid
 * by the allowance, the last ones miss what could not be charged.
 */
static void
lines_spend(const LinesRequest *request, bool credits_only, Money charge, Money allowance, LinesPlan *plan,
			text_numbers_hash *places, int *none)
{
	for (int i = 0; i < request->n; i++)
	{
		const Line *line = &request->lines[i];
		Money		taken = Min(line->charge, charge);
		Money		free = Min(taken, allowance);
		int			place;

		if (line->known || line->credits_only != credits_only)
			continue;
		place = model_place(&plan->models, places, none, line->row.model);
		plan->models.spend[place] += taken - free;
		plan->models.lines[place]++;
		charge -= taken;
		allowance -= free;
	}
}

/*
 * Decide what of the new lines is charged.
 */
static Rejection
lines_decide(const LinesRequest *request, const Account *acc, const Hold *hold, LinesPlan *plan)
{
	int			room = request->n - request->known;
	text_numbers_hash *places = text_numbers_create(CurrentMemoryContext, 64, NULL);
	int			none = -1;
	Money		balance = acc->balance;

	memset(plan, 0, sizeof(LinesPlan));
	plan->acc = *acc;
	plan->hold = *hold;
	plan->models.models = palloc(sizeof(char *) * Max(room, 1));
	plan->models.spend = palloc(sizeof(Money) * Max(room, 1));
	plan->models.lines = palloc(sizeof(int32) * Max(room, 1));
	for (int credits_only = 0; credits_only <= 1; credits_only++)
	{
		Money		charge = plan->charge;
		int			n;
		Money		amount = lines_cost(request, credits_only, &plan->acc.carry, &n);
		Rejection	rejection;

		room -= n;
		if (n == 0 && (credits_only || room > 0))
			continue;
		rejection = lines_decide_part(request, amount, credits_only, request->final && room == 0, plan);
		if (rejection != ACCEPTED)
			return rejection;
		lines_spend(request, credits_only, plan->charge - charge, credits_only ? 0 : plan->allowance, plan, places, &none);
	}
	plan->acc.balance = balance;
	return ACCEPTED;
}

/*
 * Sum what the new lines cost, rounded down, and return what that leaves.
 */
static Rest
lines_sum(const LinesRequest *request, Money *lower)
{
	Rest		rest = 0;

	*lower = 0;
	for (int i = 0; i < request->n; i++)
	{
		if (request->lines[i].known)
			continue;
		rest += request->lines[i].rest;
		*lower = money_add(*lower, request->lines[i].lower + rest / REST_UNIT, "the sum of the lines");
		rest %= REST_UNIT;
	}
	return rest;
}

/*
 * Make what the ledger keeps of the prices of lines: version, plan and total.
 */
static Jsonb *
lines_explain(const LinesRequest *request, Numeric total)
{
	JsonOut		out = {0};
	JsonbValue	none = {.type = jbvNull};

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	jsonout_key(&out, "version");
	jsonout_numeric(&out, int64_to_numeric(pricing_version(request->pricing)));
	jsonout_key(&out, "plan_id");
	if (request->plan_id != NULL)
		jsonout_text(&out, request->plan_id);
	else
		jsonout_push(&out, WJB_VALUE, &none);
	jsonout_key(&out, "total");
	jsonout_numeric(&out, total);
	return jsonout_end(&out);
}

/*
 * Make the ledger entry of lines. Its model is theirs where all have the same.
 */
static void
lines_entry(const LinesRequest *request, const LinesPlan *plan, LedgerEntry *entry)
{
	bool		priced = false;
	Money		lower;
	Rest		rest = lines_sum(request, &lower);
	Numeric		total = DatumGetNumeric(money_to_datum(lower));

	if (rest > 0)
		total = DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(total), rest_to_datum(rest)));
	memset(entry, 0, sizeof(LedgerEntry));
	entry->type = TYPE_USAGE;
	entry->operation_type = plan->hold.operation_type;
	entry->model = plan->models.n == 1 ? plan->models.models[0] : NULL;
	entry->actor = plan->hold.has_actor ? request->user : NULL;
	entry->reference = request->reservation;
	entry->allowance_consumed = plan->allowance;
	entry->shortfall = plan->shortfall;
	entry->models = &plan->models;
	entry->exact_price = rest > 0 ? total : NULL;
	for (int i = 0; i < request->n; i++)
		priced |= request->lines[i].priced != NULL && !request->lines[i].known;
	if (priced)
		entry->pricing = lines_explain(request, total);
}

/*
 * Return the new lines in their order.
 */
static UsageLine **
lines_new(LinesRequest *request)
{
	UsageLine **rows = palloc(sizeof(UsageLine *) * Max(request->n, 1));
	int			n = 0;

	for (int i = 0; i < request->n; i++)
		if (!request->lines[i].known)
			rows[n++] = &request->lines[i].row;
	return rows;
}

/*
 * Book lines on a locked account. Where none is new that closes the
 * reservation, as a deduct of 0 does, with the balance that is left once what it
 * kept has expired.
 */
static void
lines_book(LinesRequest *request, const Hold *before, LinesPlan *plan, LedgerEntry *entry)
{
	Account    *acc = &plan->acc;
	CapChange	change = {
		.spent = plan->charge - plan->allowance,
		.actor = &before->actor,
		.held_model = before->model,
		.held = plan->hold.cap_held - before->cap_held,
	};
	CapVerdict	verdict;
	UsageLine **rows = lines_new(request);
	int			n = request->n - request->known;

	lines_entry(request, plan, entry);
	caps_apply_models(acc, &change, &plan->models, &verdict);
	entry->cap_warning = verdict.warning;
	if (n > 0)
	{
		account_debit(acc, entry, change.spent);
		acc->closing_keys = true;
	}
	account_store(acc);
	if (n == 0)
	{
		plan->hold.closed_by_zero = true;
		plan->hold.closing_balance = entry->balance_after = acc->balance;
	}
	hold_update(&acc->id, &plan->hold, acc->now);
	if (n > 0)
		lines_insert(&acc->id, &entry->id, rows, n);
}

/*
 * Let lines without a model have the reservation's.
 */
static void
lines_set_model(LinesRequest *request, const Hold *hold)
{
	for (int i = 0; i < request->n; i++)
		if (request->lines[i].row.model == NULL)
			request->lines[i].row.model = hold->model;
}

/*
 * Return what new lines ask for, to the nearest 1/10000 credits, before anything
 * is carried over.
 */
static Money
lines_asked(const LinesRequest *request)
{
	Money		lower;
	Rest		rest = lines_sum(request, &lower);

	return lower + (rest >= REST_HALF ? 1 : 0);
}

/*
 * Charge the new lines to a reservation of a locked account.
 */
static Rejection
lines_charge(LinesRequest *request, Account *acc, Hold *hold, Settled *settled)
{
	LinesPlan	plan;
	LedgerEntry entry;
	Rejection	rejection = lines_require(request, acc);

	lines_set_model(request, hold);
	if (rejection == ACCEPTED)
		rejection = lines_decide(request, acc, hold, &plan);
	settled->amount = lines_asked(request);
	if (rejection != ACCEPTED)
		return rejection;
	lines_book(request, hold, &plan, &entry);
	settled->lines = request->n - request->known;
	settled->booked = settled->lines > 0;
	settled->transaction = entry.id;
	settled->amount = plan.charge - plan.allowance;
	settled->balance_after = entry.balance_after;
	settled->allowance = plan.allowance;
	settled->shortfall = plan.shortfall;
	settled->remaining = plan.hold.state == HOLD_OPEN ? plan.hold.remaining : 0;
	return ACCEPTED;
}

/*
 * Settle a reservation by lines. Where all are known, and nothing is to be
 * closed, they were booked before, and that is a success whatever became of the
 * reservation: but for one that may be a team's elsewhere, whose lines are
 * others.
 */
static Rejection
lines_make(LinesRequest *request, Settled *settled)
{
	Account		acc;
	Hold		hold;
	bool		found;

	memset(settled, 0, sizeof(Settled));
	lines_price_reserved(request);
	found = reservation_lock(request->user, NULL, request->reservation, &acc, &hold);
	settled->balance_after = acc.balance;
	settled->remaining = found && hold.state == HOLD_OPEN ? hold.remaining : 0;
	lines_find_known(request, &acc);
	if (request->conflict != NULL)
	{
		settled->amount = lines_asked(request);
		return key_conflict(request->conflict);
	}
	if (request->known == request->n && request->n > 0 && !found && !call_is_from_elsewhere())
		return ACCEPTED;
	if (!found)
	{
		settled->amount = lines_asked(request);
		return hold_missing(request->user, request->reservation);
	}
	if (request->known == request->n && !(request->final && hold.state == HOLD_OPEN))
		return ACCEPTED;
	return lines_charge(request, &acc, &hold, settled);
}

/*
 * ducto_settle charges lines to a reservation by one entry. It locks the
 * account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_settle(PG_FUNCTION_ARGS)
{
	LinesRequest request;
	Settled		settled;
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	if (settle_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	lines_request(fcinfo, &request);
	query_begin();
	rejection = lines_make(&request, &settled);
	result_begin(&row, fcinfo);
	result_uuid(&row, settled.booked ? &settled.transaction : NULL);
	result_int4(&row, settled.lines);
	result_int4(&row, request.known);
	result_money(&row, settled.amount);
	result_money(&row, settled.balance_after);
	result_money(&row, settled.allowance);
	result_money(&row, settled.shortfall);
	result_money(&row, settled.remaining);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
