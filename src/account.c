/*
 * account.c
 *		Adding credits and reading balances.
 */
#include "postgres.h"

#include "fmgr.h"

#include "args.h"
#include "hold.h"
#include "key.h"
#include "ledger.h"
#include "lot.h"
#include "query.h"
#include "result.h"
#include "roll.h"

#define DEFAULT_PRIORITY	50

PG_FUNCTION_INFO_V1(ducto_add_credits);
PG_FUNCTION_INFO_V1(ducto_add_team_credits);
PG_FUNCTION_INFO_V1(ducto_get_balance);

static const char *const credit_types[] = {
	TYPE_ADJUSTMENT, TYPE_PURCHASE, "subscription", "signup_bonus", "promo", NULL
};

/* What ducto_add_credits is asked for. */
typedef struct CreditRequest
{
	pg_uuid_t  *account;
	bool		team;			/* it is a team's pool */
	Money		amount;
	const char *type;
	Jsonb	   *metadata;
	TimestampTz expires_at;		/* infinity for never */
	char	   *key;
	int			priority;
} CreditRequest;

/*
 * Check that an amount, a type and an expiry go together.
 */
static void
CheckCredit(const CreditRequest *request)
{
	bool		adjustment = strcmp(request->type, TYPE_ADJUSTMENT) == 0;
	bool		expires = !TIMESTAMP_NOT_FINITE(request->expires_at);

	if (request->amount <= 0 && !adjustment)
		arg_reject("amount", money_to_cstring(request->amount),
				   "\"amount\" must be greater than 0, unless \"type\" is adjustment.");
	if (request->amount <= 0 && expires)
		arg_reject("expires_at", timestamptz_to_str(request->expires_at),
				   "\"expires_at\" must be null unless \"amount\" is greater than 0.");
	if (request->priority != DEFAULT_PRIORITY && !expires)
		arg_reject("priority", psprintf("%d", request->priority),
				   "\"priority\" must be null unless \"expires_at\" is given.");
}

/*
 * Door of ducto_add_credits and ducto_add_team_credits.
 */
static void
credit_request(FunctionCallInfo fcinfo, bool team, CreditRequest *request)
{
	request->team = team;
	request->account = arg_uuid(fcinfo, 0, team ? "team_id" : "user_id");
	request->amount = arg_money(fcinfo, 1, "amount", MONEY_ANY);
	request->type = PG_ARGISNULL(2) && team ? TYPE_PURCHASE : arg_word(fcinfo, 2, "type", credit_types);
	request->metadata = arg_metadata(fcinfo, 3, "metadata");
	request->expires_at = PG_ARGISNULL(4) ? DT_NOEND : arg_time(fcinfo, 4, "expires_at");
	request->key = arg_text(fcinfo, 5, "idempotency_key");
	request->priority = arg_int_between(fcinfo, 6, "priority", 0, 100, DEFAULT_PRIORITY);
	CheckCredit(request);
}

/*
 * Decide: a negative adjustment must fit into what is not held.
 */
static Rejection
credit_decide(const Account *acc, const CreditRequest *request)
{
	if (request->amount < 0 && account_available(acc) + request->amount < 0)
		return INSUFFICIENT_CREDITS;
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
 * Book an amount, not 0, on a locked account.
 */
static void
credit_book(Account *acc, const CreditRequest *request, LedgerEntry *entry)
{
	bool		expires = !TIMESTAMP_NOT_FINITE(request->expires_at);
	Money		remaining = expires ? grant_remaining(acc, request->amount) : 0;
	Money		burn = request->amount < 0 ? Min(acc->expiring, -request->amount) : 0;

	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = request->amount;
	entry->type = request->type;
	entry->idempotency_key = request->key;
	entry->metadata = request->metadata;
	lots_burn(&acc->id, burn, acc->now, acc->late, &entry->burned);
	acc->expiring += remaining - burn;
	if (strcmp(request->type, TYPE_PURCHASE) == 0)
		acc->lifetime_purchased = money_add(acc->lifetime_purchased, request->amount, "lifetime_purchased");
	entry->is_credit = true;
	entry->lifetime_purchased = acc->lifetime_purchased;
	entry->expires_at = request->expires_at;
	ledger_append(acc, entry);

	if (expires)
	{
		lot_insert(&acc->id, &entry->id, entry->seq, request->type, request->amount, remaining,
				   request->priority, request->expires_at, acc->now);
		if (remaining > 0)
			acc->next_boundary = Min(acc->next_boundary, request->expires_at);
	}
	account_store(acc);
}

/*
 * Answer of ducto_add_credits and ducto_add_team_credits.
 */
static Datum
credit_result(FunctionCallInfo fcinfo, const CreditRequest *request, const pg_uuid_t *transaction,
			  Money amount, Money balance, Money lifetime, TimestampTz expires_at,
			  bool idempotent, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, transaction);
	result_uuid(&row, request->team ? NULL : request->account);
	result_money(&row, amount);
	result_money(&row, balance);
	result_money(&row, lifetime);
	result_time_or_null(&row, expires_at);
	result_bool(&row, idempotent);
	return result_end_with_error(&row, rejection);
}

/*
 * Lock the account of a request; a new user's is made unless it has to be
 * rejected anyway. False: there is no such team.
 */
static bool
credit_lock(const CreditRequest *request, Account *acc)
{
	if (request->team)
		return account_lock_team(request->account, acc);
	if (request->amount >= 0)
		account_lock_or_create(request->account, acc);
	else
		account_lock(request->account, acc);
	return true;
}

/*
 * Add credits to a locked account.
 */
static Datum
credit_apply(FunctionCallInfo fcinfo, const CreditRequest *request, Account *acc)
{
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;
	Rejection	rejection;

	if (request->key != NULL)
		known = key_find(acc, request->key, KEY_CREDIT, NULL, NULL, &original);
	if (known == KEY_REPLAY)
		return credit_result(fcinfo, request, &original.id, original.amount, original.balance_after,
							 original.lifetime_purchased, original.expires_at, true, ACCEPTED);
	if (known == KEY_FREE && request->expires_at <= acc->now)
		arg_reject("expires_at", timestamptz_to_str(request->expires_at),
				   "\"expires_at\" must lie in the future.");
	rejection = known == KEY_FREE ? credit_decide(acc, request) : IDEMPOTENCY_CONFLICT;
	if (rejection != ACCEPTED || request->amount == 0)
		return credit_result(fcinfo, request, NULL, request->amount, acc->balance, acc->lifetime_purchased,
							 request->expires_at, false, rejection);
	credit_book(acc, request, &entry);
	return credit_result(fcinfo, request, &entry.id, request->amount, entry.balance_after,
						 acc->lifetime_purchased, request->expires_at, false, ACCEPTED);
}

/*
 * Add credits to a user's account or a team's pool.
 */
static Datum
credit_add(FunctionCallInfo fcinfo, bool team)
{
	CreditRequest request;
	Account		acc;
	Datum		result;

	credit_request(fcinfo, team, &request);
	query_begin();
	if (credit_lock(&request, &acc))
		result = credit_apply(fcinfo, &request, &acc);
	else
		result = credit_result(fcinfo, &request, NULL, request.amount, 0, 0, request.expires_at, false,
							   TEAM_NOT_FOUND);
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
	PG_RETURN_DATUM(credit_add(fcinfo, false));
}

/*
 * ducto_add_team_credits adds credits to a team's pool. It locks the pool.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_add_team_credits(PG_FUNCTION_ARGS)
{
	PG_RETURN_DATUM(credit_add(fcinfo, true));
}

/*
 * ducto_get_balance returns a user's credits, exact at the moment of the
 * call. It takes no lock.
 */
Datum
ducto_get_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Account		acc;
	RollTotals	totals;
	ResultRow	row;
	Datum		result;

	query_begin();
	account_project(user, &acc, DT_NOEND, &totals);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_money(&row, acc.balance);
	result_money(&row, acc.lifetime_purchased);
	result_money(&row, acc.held);
	result_money(&row, account_available(&acc));
	result_time_or_null(&row, acc.expiring > 0 ? lots_next_expiry(user, acc.now) : DT_NOEND);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
