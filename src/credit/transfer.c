/*
 * transfer.c
 *		Moving credits from one account to another.
 */
#include "postgres.h"

#include "account/claim.h"
#include "account/funds.h"
#include "account/grant.h"
#include "account/key.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "base/uuid.h"
#include "base/uuidv7.h"

PG_FUNCTION_INFO_V1(ducto_transfer);

/* What ducto_transfer is asked for. */
typedef struct TransferRequest
{
	pg_uuid_t  *from;
	pg_uuid_t  *to;
	bool		everything;		/* all that is available */
	Money		amount;
	Jsonb	   *metadata;		/* with the reason */
	char	   *key;
} TransferRequest;

/* What became of it. */
typedef struct TransferOutcome
{
	bool		booked;			/* out and in are the entries */
	pg_uuid_t	out;
	pg_uuid_t	in;
	Money		amount;
	Money		from_balance;
	Money		to_balance;
	bool		idempotent;
} TransferOutcome;

/*
 * Door of ducto_transfer.
 */
static void
transfer_request(FunctionCallInfo fcinfo, TransferRequest *request)
{
	request->from = arg_uuid(fcinfo, 0, "from_id");
	request->to = arg_uuid(fcinfo, 1, "to_id");
	request->everything = PG_ARGISNULL(2);
	request->amount = request->everything ? 0 : arg_money(fcinfo, 2, "amount", MONEY_POSITIVE);
	request->metadata = arg_metadata_and_reason(fcinfo, 4, "metadata", 3);
	request->key = arg_key(fcinfo, 5, "idempotency_key");
	if (memcmp(request->from, request->to, UUID_LEN) == 0)
		arg_reject("to_id", uuid_to_cstring(request->to), "\"to_id\" must be another account than \"from_id\".");
}

/*
 * Lock both accounts in the order of their ids and roll them forward to one
 * time. Either may not exist.
 */
static void
transfer_lock(const TransferRequest *request, Account *from, Account *to)
{
	bool		sender_first = memcmp(request->from, request->to, UUID_LEN) < 0;

	account_lock_any(sender_first ? request->from : request->to, sender_first ? from : to);
	account_lock_any(sender_first ? request->to : request->from, sender_first ? to : from);
	account_advance(from, to->now);
	account_advance(to, from->now);
}

/*
 * Tell of the entries that a transfer is.
 */
static void
transfer_booked(const LedgerEntry *out, const LedgerEntry *in, TransferOutcome *outcome)
{
	outcome->booked = true;
	outcome->out = out->id;
	outcome->in = in->id;
	outcome->amount = in->amount;
	outcome->from_balance = out->balance_after;
	outcome->to_balance = in->balance_after;
}

/*
 * Tell of a transfer that was booked before, by its entry of the sender. False:
 * it was to another account.
 */
static bool
transfer_replay(const TransferRequest *request, const LedgerEntry *out, TransferOutcome *outcome)
{
	LedgerEntry in;

	if (!ledger_find_id(out->reference, request->to, &in))
		return false;
	transfer_booked(out, &in, outcome);
	outcome->idempotent = true;
	return true;
}

/*
 * Make the entries of a transfer, which name each other.
 */
static void
transfer_entries(const TransferRequest *request, const Account *from, Money amount, LedgerEntry *out, LedgerEntry *in)
{
	memset(out, 0, sizeof(LedgerEntry));
	memset(in, 0, sizeof(LedgerEntry));
	out->type = TYPE_TRANSFER_OUT;
	out->amount = -amount;
	out->idempotency_key = request->key;
	in->type = TYPE_TRANSFER_IN;
	in->amount = amount;
	out->metadata = in->metadata = request->metadata;
	out->has_id = in->has_id = true;
	uuidv7_make(&out->id, from->now);
	uuidv7_make(&in->id, from->now);
	out->reference = &in->id;
	in->reference = &out->id;
}

/*
 * Move an amount between two locked accounts: what is in grants first, in the
 * order in which it would be spent. A debt of the receiver eats of that first.
 */
static void
transfer_book(Account *from, Account *to, LedgerEntry *out, LedgerEntry *in)
{
	Money		amount = in->amount;
	Money		moved = Min(from->expiring, amount);
	Money		eaten = Min(amount, Max(-to->balance, 0));
	TimestampTz expires_at;

	grants_find(&from->id, moved, from->now, from->late, &out->burned);
	from->expiring -= moved;
	ledger_append(from, out);

	expires_at = grants_move(&from->id, &to->id, &out->burned, eaten, to->last_seq + 1, ledger_time(to),
							 &in->burned);
	to->next_boundary = Min(to->next_boundary, expires_at);
	to->expiring += Max(moved - eaten, 0);
	ledger_append(to, in);
	account_store(from);
	account_store(to);
}

/*
 * Move credits between two locked accounts. A new user's is made when it is to
 * get some.
 */
static Rejection
transfer_locked(const TransferRequest *request, Account *from, Account *to, TransferOutcome *outcome)
{
	Money		available = account_available(from);
	Money		amount = request->everything ? Max(available, 0) : request->amount;
	LedgerEntry original = {0};
	LedgerEntry out;
	LedgerEntry in;
	KeyState	known = key_find(from, request->key, KEY_TRANSFER, NULL, NULL, &original);

	known = key_repeat(known, !request->everything && request->amount != -original.amount);
	if (known == KEY_REPLAY && transfer_replay(request, &original, outcome))
		return ACCEPTED;
	if (known != KEY_FREE)
		return key_conflict(request->key);
	if (amount == 0)
		return ACCEPTED;
	if (amount > available)
		return account_lacks(amount, available, 0);
	if (!to->exists)
		account_lock_or_create(request->to, to);
	transfer_entries(request, from, amount, &out, &in);
	transfer_book(from, to, &out, &in);
	transfer_booked(&out, &in, outcome);
	return ACCEPTED;
}

/*
 * ducto_transfer moves credits from one account to another. It locks both.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_transfer(PG_FUNCTION_ARGS)
{
	TransferRequest request;
	TransferOutcome outcome = {0};
	Account		from;
	Account		to;
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	transfer_request(fcinfo, &request);
	query_begin();
	transfer_lock(&request, &from, &to);
	outcome.amount = request.amount;
	outcome.from_balance = from.balance;
	outcome.to_balance = to.balance;
	rejection = transfer_locked(&request, &from, &to, &outcome);
	result_begin(&row, fcinfo);
	result_uuid(&row, outcome.booked ? &outcome.out : NULL);
	result_uuid(&row, outcome.booked ? &outcome.in : NULL);
	result_uuid(&row, request.from);
	result_uuid(&row, request.to);
	result_money(&row, outcome.amount);
	result_money(&row, outcome.from_balance);
	result_money(&row, outcome.to_balance);
	result_bool(&row, outcome.idempotent);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
