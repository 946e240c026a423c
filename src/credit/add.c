/*
 * add.c
 *		Adding credits and reading balances.
 */
#include "postgres.h"

#include "account/alert.h"
#include "account/funds.h"
#include "account/grant.h"
#include "account/hold.h"
#include "account/keptgrant.h"
#include "account/key.h"
#include "account/ledger.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "credit/add.h"
#include "credit/here.h"
#include "credit/read.h"
#include "credit/there.h"

PG_FUNCTION_INFO_V1(ducto_add_credits);
PG_FUNCTION_INFO_V1(ducto_add_team_credits);
PG_FUNCTION_INFO_V1(ducto_get_balance);

/*
 * arg_credit_type returns a type of credit, or its default.
 */
EntryType
arg_credit_type(FunctionCallInfo fcinfo, int n, const char *name, EntryType fallback)
{
	return PG_ARGISNULL(n) ? fallback : (EntryType) arg_choice(fcinfo, n, name, credit_types);
}

/*
 * Check that an amount, a type and an expiry go together.
 */
static void
credit_check(const CreditRequest *request)
{
	bool		adjustment = request->type == TYPE_ADJUSTMENT;
	bool		expires = !TIMESTAMP_NOT_FINITE(request->expires_at);

	if (request->amount <= 0 && !adjustment)
		arg_reject("amount", money_to_cstring(request->amount),
				   "\"amount\" must be greater than 0, unless \"type\" is adjustment.");
	if (request->amount <= 0 && expires)
		arg_reject("expires_at", timestamptz_to_str(request->expires_at),
				   "\"expires_at\" must be null unless \"amount\" is greater than 0.");
	if (request->amount <= 0 && request->has_priority)
		arg_reject("priority", psprintf("%d", request->priority),
				   "\"priority\" must be null unless \"amount\" is greater than 0.");
}

/*
 * credit_terms is the door of ducto_add_credits and ducto_add_team_credits; which
 * argument the account is, is told.
 */
void
credit_terms(FunctionCallInfo fcinfo, int account, bool team, CreditRequest *request)
{
	request->team = team;
	request->account = arg_uuid(fcinfo, account, team ? "team_id" : "user_id");
	request->amount = arg_money(fcinfo, 1, "amount", MONEY_ANY);
	request->type = arg_credit_type(fcinfo, 2, "type", team ? TYPE_PURCHASE : TYPE_ADJUSTMENT);
	request->metadata = arg_metadata(fcinfo, 3, "metadata");
	request->expires_at = PG_ARGISNULL(4) ? DT_NOEND : arg_time(fcinfo, 4, "expires_at");
	request->may_be_past = false;
	request->book_zero = false;
	request->any_amount = false;
	request->key = arg_key(fcinfo, 5, "idempotency_key");
	request->has_priority = !PG_ARGISNULL(6);
	request->priority = arg_int_between(fcinfo, 6, "priority", 0, 100, DEFAULT_PRIORITY);
	credit_check(request);
}

/*
 * Decide: a negative adjustment must fit into what is not held.
 */
static Rejection
credit_decide(const Account *acc, const CreditRequest *request)
{
	if (request->amount < 0 && account_available(acc) + request->amount < 0)
		return account_lacks(-request->amount, account_available(acc), 0);
	return ACCEPTED;
}

/*
 * Return how much of a grant remains after an account's debt took its part.
 */
static Money
grant_remaining(const Account *acc, Money amount)
{
	return Max(0, Min(amount, acc->balance + amount));
}

/*
 * Tell whether credit that is past its time as it comes has to expire with the
 * same operation: it would count against a debt or for open holds else.
 */
static bool
expires_at_once(const Account *acc, TimestampTz expires_at)
{
	return expires_at <= acc->now && (acc->balance < 0 || acc->held > 0);
}

/*
 * Book that the grant of an entry, whole, has expired.
 */
static void
credit_expire(Account *acc, const LedgerEntry *entry)
{
	Rolled		expiry = {.grant = entry->id, .amount = entry->amount, .effective_at = acc->now};

	acc->expiring += expiry.amount;
	ledger_append_rolled(acc, &expiry, 1, acc->queue);
}

/*
 * Add the grant of an entry.
 */
static void
credit_add_grant(Account *acc, const LedgerEntry *entry, Money remaining)
{
	Gift		grant = {
		.id = entry->id,
		.seq = entry->seq,
		.type = entry->type,
		.amount = entry->amount,
		.remaining = remaining,
		.priority = entry->priority,
		.given_at = entry->created_at,
		.expires_at = entry->expires_at,
		.rolls_to = DT_NOBEGIN,
	};

	account_add_grant(acc, &grant);
}

/*
 * Book an amount on a locked account.
 */
static void
credit_book(Account *acc, const CreditRequest *request, LedgerEntry *entry)
{
	bool		makes_grant = request->has_priority || !TIMESTAMP_NOT_FINITE(request->expires_at);
	bool		gone = expires_at_once(acc, request->expires_at);
	Money		remaining = makes_grant && !gone ? grant_remaining(acc, request->amount) : 0;
	Money		burn = request->amount < 0 ? Min(acc->expiring, -request->amount) : 0;

	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = request->amount;
	entry->type = request->type;
	entry->idempotency_key = request->key;
	entry->metadata = request->metadata;
	account_burn(acc, burn, &entry->burned);
	acc->expiring += remaining - burn;
	if (request->type == TYPE_PURCHASE)
		acc->lifetime_purchased = spend_add(acc->lifetime_purchased, request->amount, "lifetime_purchased");
	entry->is_credit = true;
	entry->lifetime_purchased = acc->lifetime_purchased;
	entry->makes_grant = makes_grant;
	entry->expires_at = request->expires_at;
	entry->priority = request->priority;
	ledger_append(acc, entry);

	if (makes_grant)
	{
		credit_add_grant(acc, entry, remaining);
		if (remaining > 0)
			acc->next_boundary = Min(acc->next_boundary, request->expires_at);
		if (gone)
			credit_expire(acc, entry);
	}
	alerts_added(acc, request->key);
	account_store(acc);
}

/*
 * Lock the account of a request; a new user's is made unless it has to be
 * rejected anyway.
 */
static void
credit_lock(const CreditRequest *request, Account *acc)
{
	if (request->team)
		account_lock_team(request->account, acc);
	else if (request->amount >= 0)
		account_lock_or_create(request->account, acc);
	else
		account_lock(request->account, acc);
}

/*
 * Make the outcome of a request that books nothing.
 */
static void
credit_unbooked(const CreditRequest *request, const Account *acc, Rejection rejection, CreditOutcome *outcome)
{
	outcome->amount = request->amount;
	outcome->balance = acc->balance;
	outcome->lifetime_purchased = acc->lifetime_purchased;
	outcome->expires_at = request->expires_at;
	outcome->rejection = rejection;
}

/*
 * Make the outcome of a request that an entry, booked now or before, answers.
 */
static void
credit_booked(const LedgerEntry *entry, CreditOutcome *outcome)
{
	outcome->booked = true;
	outcome->transaction = entry->id;
	outcome->amount = entry->amount;
	outcome->balance = entry->balance_after;
	outcome->lifetime_purchased = entry->lifetime_purchased;
	outcome->expires_at = entry->expires_at;
}

/*
 * Add credits to a locked account.
 */
static void
credit_apply(const CreditRequest *request, Account *acc, CreditOutcome *outcome)
{
	LedgerEntry original = {0};
	LedgerEntry entry;
	KeyState	known = key_find(acc, request->key, KEY_CREDIT, NULL, NULL, &original);
	Rejection	rejection;

	if (!request->any_amount)
		known = key_repeat(known, request->amount != original.amount || request->expires_at != original.expires_at);
	if (known == KEY_REPLAY)
	{
		credit_booked(&original, outcome);
		outcome->idempotent = true;
		return;
	}
	if (known == KEY_FREE && request->expires_at <= acc->now && !request->may_be_past)
		arg_reject("expires_at", timestamptz_to_str(request->expires_at),
				   "\"expires_at\" must lie in the future.");
	rejection = known == KEY_FREE ? credit_decide(acc, request) : key_conflict(request->key);
	if (rejection != ACCEPTED || (request->amount == 0 && !request->book_zero))
	{
		credit_unbooked(request, acc, rejection, outcome);
		return;
	}
	credit_book(acc, request, &entry);
	credit_booked(&entry, outcome);
}

/*
 * credit_locked adds credits to a locked account, or there may be none, or one of
 * the other kind.
 */
void
credit_locked(const CreditRequest *request, Account *acc, CreditOutcome *outcome)
{
	static const Account none;

	memset(outcome, 0, sizeof(CreditOutcome));
	if (!request->team)
		account_require_user(acc);
	if (request->team && !acc->team)	/* it may be a user's: show nothing of it */
		credit_unbooked(request, &none, team_missing(request->account), outcome);
	else
		credit_apply(request, acc, outcome);
}

/*
 * credit_add adds credits to a user's account or a team's pool and locks it.
 * The caller has connected to SPI.
 */
void
credit_add(const CreditRequest *request, CreditOutcome *outcome)
{
	Account		acc;

	credit_lock(request, &acc);
	credit_locked(request, &acc, outcome);
}

/*
 * credit_columns appends what became of a request to a row.
 */
void
credit_columns(ResultRow *row, const CreditRequest *request, const CreditOutcome *outcome)
{
	result_uuid(row, outcome->booked ? &outcome->transaction : NULL);
	result_uuid(row, request->team ? NULL : request->account);
	result_money(row, outcome->amount);
	result_money(row, outcome->balance);
	result_spend(row, outcome->lifetime_purchased);
	result_time_or_null(row, outcome->expires_at);
	result_bool(row, outcome->idempotent);
}

/*
 * Answer of ducto_add_credits and ducto_add_team_credits.
 */
static Datum
credit_answer(FunctionCallInfo fcinfo, bool team)
{
	CreditRequest request;
	CreditOutcome outcome;
	ResultRow	row;
	Datum		result;

	credit_terms(fcinfo, 0, team, &request);
	query_begin();
	credit_add(&request, &outcome);
	result_begin(&row, fcinfo);
	credit_columns(&row, &request, &outcome);
	result = result_end_with_error(&row, outcome.rejection);
	query_end();
	return result;
}

/*
 * ducto_add_credits adds credits to a user, making the account when it is
 * new. It locks the account. Arguments, rejections and errors: see its
 * COMMENT.
 */
Datum
ducto_add_credits(PG_FUNCTION_ARGS)
{
	Datum		result;

	if (add_credits_there(fcinfo, &result))
		PG_RETURN_DATUM(result);
	PG_RETURN_DATUM(credit_answer(fcinfo, false));
}

/*
 * ducto_add_team_credits adds credits to a team's pool. It locks the pool.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_add_team_credits(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(credit_answer(fcinfo, true));
}

/*
 * Return when the next of an account's credit expires; infinity for never. Where
 * something is due, what cycles gave and what lives on is not in the table yet.
 */
static TimestampTz
next_expiry(const pg_uuid_t *user, const Account *acc)
{
	TimestampTz next = DT_NOEND;
	Account		projected;
	Grant	   *grants;
	int			n;

	if (acc->expiring == 0)
		return DT_NOEND;
	if (acc->next_boundary <= acc->now)
	{
		n = account_project_grants(user, &projected, &grants);
		for (int i = 0; i < n; i++)
			next = Min(next, grants[i].expires_at);
	}
	return Min(next, grants_next_expiry(user, acc->now));
}

/*
 * balance_read answers with a user's credits, exact at the moment of the call.
 */
Datum
balance_read(FunctionCallInfo fcinfo, const pg_uuid_t *user)
{
	Account		acc;
	ResultRow	row;
	Datum		result;

	query_begin();
	account_show(user, &acc);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_money(&row, acc.balance);
	result_spend(&row, acc.lifetime_purchased);
	result_money(&row, acc.held);
	result_money(&row, account_available(&acc));
	result_time_or_null(&row, next_expiry(user, &acc));
	result = result_end(&row);
	query_end();
	return result;
}

/*
 * ducto_get_balance returns a user's credits. It takes no lock.
 */
Datum
ducto_get_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Datum		result;

	if (call_reads(fcinfo, user, ducto_get_balance, &result))
		PG_RETURN_DATUM(result);
	PG_RETURN_DATUM(balance_read(fcinfo, user));
}
