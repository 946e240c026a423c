/*
 * reverse.c
 *		Taking back credit that was added.
 */
#include "postgres.h"

#include "account/event.h"
#include "account/funds.h"
#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/add.h"

PG_FUNCTION_INFO_V1(ducto_reverse_credits);

/* How far it goes, the default first. */
typedef enum ReverseOverrun
{
	REVERSE_CLAMP,				/* as far as what open holds do not need */
	REVERSE_UNSPENT,			/* and no further than what is left of the credit itself */
	REVERSE_REJECT,				/* all of it where open holds do not need it, else none */
	REVERSE_FULL				/* all of it */
} ReverseOverrun;

static const char *const overrun_words[] = {"clamp", "unspent", "reject", "full", NULL};

/* What ducto_reverse_credits is asked for. */
typedef struct ReverseRequest
{
	pg_uuid_t  *transaction;
	pg_uuid_t  *account;		/* whose ledger has it; NULL = wherever it is */
	bool		everything;		/* all that is left */
	Money		amount;
	ReverseOverrun overrun;
	Jsonb	   *metadata;		/* with the reason */
	char	   *key;
} ReverseRequest;

/* What there is to take from. */
typedef struct ReverseSource
{
	bool		has_grant;		/* the credit made one */
	Money		own;			/* what is left of it, else of the credit that is in no grant */
	Money		room;			/* what open holds do not need */
} ReverseSource;

/* What is to be taken. */
typedef struct ReversePlan
{
	Money		own;			/* of the credit itself */
	Money		rest;			/* of other credit */
	Money		shortfall;		/* could not be taken */
} ReversePlan;

/* What became of it. */
typedef struct ReverseOutcome
{
	Rejection	rejection;
	bool		booked;			/* reversal is the entry */
	pg_uuid_t	reversal;
	bool		found;			/* there is such a transaction, of the account */
	pg_uuid_t	account;
	bool		team;
	Money		amount;
	Money		shortfall;
	Money		balance;
	Spend		lifetime_purchased;
	bool		idempotent;
} ReverseOutcome;

/*
 * Door of ducto_reverse_credits.
 */
static void
reverse_request(FunctionCallInfo fcinfo, ReverseRequest *request)
{
	request->transaction = arg_uuid(fcinfo, 0, "transaction_id");
	request->everything = PG_ARGISNULL(1);
	request->amount = request->everything ? 0 : arg_money(fcinfo, 1, "amount", MONEY_POSITIVE);
	request->overrun = (ReverseOverrun) arg_choice(fcinfo, 2, "overrun", overrun_words);
	request->metadata = arg_metadata_and_reason(fcinfo, 4, "metadata", 3);
	request->key = arg_key(fcinfo, 5, "idempotency_key");
	request->account = arg_uuid_or_null(fcinfo, 6);
}

/*
 * Tell whether an entry is an addition of credit.
 */
static bool
is_addition(const LedgerEntry *entry)
{
	return type_is_credit(entry->type) && entry->amount > 0;
}

/*
 * Decide how much of a credit is asked for, given what was taken back before.
 */
static Rejection
reverse_wanted(const ReverseRequest *request, const LedgerEntry *credit, Money reversed, Money *wanted)
{
	Money		left = credit->amount - reversed;

	*wanted = request->everything ? left : request->amount;
	if (!is_addition(credit))
		return rejection_because(NOT_REFUNDABLE, "The transaction is of the type \"%s\", and no addition of credit.",
								 entry_types[credit->type]);
	if (left <= 0)
		return rejection_because(ALREADY_REFUNDED, "Nothing is left to reverse of the transaction.");
	if (request->amount > left)
		return rejection_because(OVER_REFUND, "Left to reverse: %s.", money_to_cstring(left));
	return ACCEPTED;
}

/*
 * Find what there is to take a credit from.
 */
static void
reverse_source(const Account *acc, const LedgerEntry *credit, ReverseSource *source)
{
	source->own = grant_left(&acc->id, &credit->id, &source->has_grant);
	if (!source->has_grant)
		source->own = Max(acc->balance - acc->expiring, 0);
	source->room = account_headroom(acc, 0, true);
}

/*
 * Decide what is taken of an amount, by overrun: first what is left of the
 * credit itself.
 */
static Rejection
reverse_decide(const ReverseSource *source, const ReverseRequest *request, Money wanted, ReversePlan *plan)
{
	Money		take = wanted;

	if (request->overrun == REVERSE_REJECT && wanted > source->room)
		return account_lacks(wanted, source->room, 0);
	if (request->overrun != REVERSE_FULL)
		take = Min(take, source->room);
	if (request->overrun == REVERSE_UNSPENT)
		take = Min(take, source->own);
	plan->own = Min(take, source->own);
	plan->rest = take - plan->own;
	plan->shortfall = wanted - take;
	return ACCEPTED;
}

/*
 * Take from the grants of a locked account what a reversal takes: from that of
 * the credit itself, and the rest as a debit does.
 */
static void
reverse_burn(Account *acc, const LedgerEntry *credit, const ReverseSource *source, const ReversePlan *plan,
			 BurnList *burned)
{
	BurnList	own = {.n = 1, .burns = palloc(sizeof(Burn))};
	BurnList	others;
	Money		own_burned = source->has_grant ? plan->own : 0;
	Money		rest = Min(plan->rest, acc->expiring - own_burned);

	own.burns->grant = credit->id;
	own.burns->amount = own_burned;
	own.n = own_burned > 0 ? 1 : 0;
	grants_take(&acc->id, &own);
	grants_burn(&acc->id, rest, acc->now, acc->late, &others);
	acc->expiring -= own_burned + rest;

	burned->n = own.n + others.n;
	burned->burns = palloc(sizeof(Burn) * Max(burned->n, 1));
	memcpy(burned->burns, own.burns, sizeof(Burn) * own.n);
	if (others.n > 0)
		memcpy(burned->burns + own.n, others.burns, sizeof(Burn) * others.n);
}

/*
 * Tell that a reversal could not take all that it was to take.
 */
static void
reverse_tell(Account *acc, const ReverseRequest *request, const LedgerEntry *entry)
{
	JsonOut		payload;

	event_begin(&payload);
	event_uuid(&payload, "transaction_id", &entry->id);
	event_uuid(&payload, "original_transaction_id", request->transaction);
	event_money(&payload, "amount", -entry->amount);
	event_money(&payload, "shortfall", entry->shortfall);
	event_add(acc, NULL, EVENT_REVERSAL_SHORTFALL, &payload);
}

/*
 * Book a reversal on a locked account.
 */
static void
reverse_book(Account *acc, const ReverseRequest *request, const LedgerEntry *credit, const ReverseSource *source,
			 const ReversePlan *plan, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = -(plan->own + plan->rest);
	entry->shortfall = plan->shortfall;
	entry->type = TYPE_REVERSAL;
	entry->idempotency_key = request->key;
	entry->reference = request->transaction;
	entry->metadata = request->metadata;
	reverse_burn(acc, credit, source, plan, &entry->burned);
	if (credit->type == TYPE_PURCHASE)
		acc->lifetime_purchased = spend_add(acc->lifetime_purchased, entry->amount, "lifetime_purchased");
	entry->is_credit = true;
	entry->lifetime_purchased = acc->lifetime_purchased;
	ledger_append(acc, entry);
	if (plan->shortfall > 0)
		reverse_tell(acc, request, entry);
	account_store(acc);
}

/*
 * Tell of the entry that a reversal is, booked now or before.
 */
static void
reverse_booked(const LedgerEntry *reversal, ReverseOutcome *outcome)
{
	outcome->booked = true;
	outcome->reversal = reversal->id;
	outcome->amount = -reversal->amount;
	outcome->shortfall = reversal->shortfall;
	outcome->balance = reversal->balance_after;
	outcome->lifetime_purchased = reversal->lifetime_purchased;
}

/*
 * Take an entry of a locked account back.
 */
static Rejection
reverse_entry(Account *acc, const ReverseRequest *request, const LedgerEntry *credit, ReverseOutcome *outcome)
{
	LedgerEntry original = {0};
	KeyState	known = key_find(acc, request->key, KEY_REVERSAL, request->transaction, NULL, &original);
	ReverseSource source;
	ReversePlan plan = {0};
	LedgerEntry entry;
	Money		wanted;
	Rejection	rejection;

	known = key_repeat(known, !request->everything && request->amount != original.shortfall - original.amount);
	if (known == KEY_REPLAY)
	{
		reverse_booked(&original, outcome);
		outcome->idempotent = true;
		return ACCEPTED;
	}
	if (known != KEY_FREE)
		return key_conflict(request->key);

	rejection = reverse_wanted(request, credit, ledger_reversed(&acc->id, request->transaction), &wanted);
	if (rejection != ACCEPTED)
		return rejection;
	reverse_source(acc, credit, &source);
	rejection = reverse_decide(&source, request, wanted, &plan);
	if (rejection != ACCEPTED)
		return rejection;
	reverse_book(acc, request, credit, &source, &plan, &entry);
	reverse_booked(&entry, outcome);
	return ACCEPTED;
}

/*
 * Lock the account of a transaction, and take it back.
 */
static void
reverse_make(const ReverseRequest *request, ReverseOutcome *outcome)
{
	LedgerEntry credit;
	Account		acc;

	memset(outcome, 0, sizeof(ReverseOutcome));
	outcome->amount = request->amount;
	if (!ledger_find_id(request->transaction, request->account, &credit))
	{
		outcome->rejection = transaction_missing(request->transaction);
		return;
	}
	account_lock_any(&credit.account_id, &acc);
	outcome->found = true;
	outcome->account = acc.id;
	outcome->team = acc.team;
	outcome->balance = acc.balance;
	outcome->lifetime_purchased = acc.lifetime_purchased;
	outcome->rejection = reverse_entry(&acc, request, &credit, outcome);
}

/*
 * ducto_reverse_credits takes back credit that was added. It locks the
 * account. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_reverse_credits(PG_FUNCTION_ARGS)
{
	ReverseRequest request;
	ReverseOutcome outcome;
	ResultRow	row;
	Datum		result;

	reverse_request(fcinfo, &request);
	query_begin();
	reverse_make(&request, &outcome);
	result_begin(&row, fcinfo);
	result_uuid(&row, outcome.booked ? &outcome.reversal : NULL);
	result_uuid(&row, request.transaction);
	result_uuid(&row, outcome.found && !outcome.team ? &outcome.account : NULL);
	result_uuid(&row, outcome.team ? &outcome.account : NULL);
	result_money(&row, outcome.amount);
	result_money(&row, outcome.shortfall);
	result_money(&row, outcome.balance);
	result_spend(&row, outcome.lifetime_purchased);
	result_bool(&row, outcome.idempotent);
	result = result_end_with_error(&row, outcome.rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
