/*
 * team.c
 *		Teams: a pool of credits that is an account, and its members.
 */
#include "postgres.h"

#include "args.h"
#include "key.h"
#include "member.h"
#include "period.h"
#include "query.h"
#include "reservation.h"
#include "result.h"
#include "roll.h"
#include "uuidv7.h"

PG_FUNCTION_INFO_V1(ducto_create_team);
PG_FUNCTION_INFO_V1(ducto_get_team_balance);
PG_FUNCTION_INFO_V1(ducto_add_team_member);
PG_FUNCTION_INFO_V1(ducto_remove_team_member);
PG_FUNCTION_INFO_V1(ducto_get_team_members);
PG_FUNCTION_INFO_V1(ducto_deduct_team);

static KeptQuery team_insert_query = {
	.sql = "INSERT INTO ducto.teams (id, name, created_at) VALUES ($1, $2, $3)",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

static KeptQuery team_name_query = {
	.sql = "SELECT name FROM ducto.teams WHERE id = $1",
	.types = {UUIDOID}
};

static KeptQuery members_query = {
	.sql = "SELECT user_id, role, spend_cap, CASE WHEN month = $2 THEN spent ELSE 0.0000 END, joined_at"
	" FROM ducto.team_members WHERE team_id = $1 AND left_at IS NULL ORDER BY joined_at, user_id",
	.types = {UUIDOID, DATEOID}
};

/* What ducto_deduct_team is asked for. */
typedef struct TeamDeduction
{
	pg_uuid_t  *team;
	pg_uuid_t  *user;
	Money		amount;
	Jsonb	   *metadata;
	char	   *key;
	char	   *model;
} TeamDeduction;

/*
 * Make the row of a team and its pool, locked.
 */
static void
team_insert(Account *pool, const char *name)
{
	TimestampTz now = GetCurrentTimestamp();
	pg_uuid_t	id;
	QueryArgs	args = {0};

	uuidv7_make(&id, now);
	args_uuid(&args, &id);
	args_text(&args, name);
	args_time(&args, now);
	query_run(&team_insert_query, &args, SPI_OK_INSERT);
	account_create(&id, "team");
	account_lock_team(&id, pool);
}

/*
 * ducto_create_team makes a team with an empty pool. Arguments and errors: see
 * its COMMENT.
 */
Datum
ducto_create_team(PG_FUNCTION_ARGS)
{
	char	   *name;
	Money		amount = PG_ARGISNULL(1) ? 0 : arg_money(fcinfo, 1, "initial_balance", MONEY_NOT_NEGATIVE);
	LedgerEntry entry = {.type = TYPE_ADJUSTMENT, .amount = amount, .is_credit = true, .expires_at = DT_NOEND};
	Account		pool;
	ResultRow	row;
	Datum		result;

	arg_require(fcinfo, 0, "name");
	name = arg_text(fcinfo, 0, "name");
	query_begin();
	team_insert(&pool, name);
	if (amount > 0)
	{
		ledger_append(&pool, &entry);
		account_store(&pool);
	}
	result_begin(&row, fcinfo);
	result_uuid(&row, &pool.id);
	result_text(&row, name);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_get_team_balance returns a pool's credits, exact at the moment of the
 * call. It takes no lock.
 */
Datum
ducto_get_team_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	QueryArgs	args = {0};
	char	   *name = NULL;
	Account		pool;
	RollTotals	totals;
	ResultRow	row;
	Datum		result;

	query_begin();
	args_uuid(&args, team);
	if (query_read(&team_name_query, &args) > 0)
		name = row_text(0, 1);
	account_project(team, &pool, DT_NOEND, &totals);
	if (name == NULL)
		memset(&pool, 0, sizeof(pool));
	result_begin(&row, fcinfo);
	result_uuid(&row, team);
	result_text(&row, name);
	result_money(&row, pool.balance);
	result_money(&row, pool.held);
	result_money(&row, account_available(&pool));
	result_datum(&row, Int32GetDatum(name != NULL ? members_count(team) : 0));
	result = result_end_with_error(&row, name != NULL ? ACCEPTED : TEAM_NOT_FOUND);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_add_team_member adds a user to a team or updates a member. It locks
 * the pool. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_add_team_member(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	pg_uuid_t  *user = arg_uuid(fcinfo, 1, "user_id");
	char	   *role = arg_text_default(fcinfo, 2, "role", "member");
	bool		capped = !PG_ARGISNULL(3);
	Money		cap = capped ? arg_money(fcinfo, 3, "spend_cap", MONEY_NOT_NEGATIVE) : 0;
	Rejection	rejection = ACCEPTED;
	Account		pool;
	ResultRow	row;
	Datum		result;

	query_begin();
	account_check_user(user);
	if (!account_lock_team(team, &pool))
		rejection = TEAM_NOT_FOUND;
	else
	{
		member_join(&pool, user, role, capped, &cap, &capped);
		account_store(&pool);
	}
	result_begin(&row, fcinfo);
	result_uuid(&row, team);
	result_uuid(&row, user);
	result_text(&row, role);
	if (capped)
		result_money(&row, cap);
	else
		result_null(&row);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_remove_team_member removes a user from a team. It locks the pool.
 */
Datum
ducto_remove_team_member(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	pg_uuid_t  *user = arg_uuid(fcinfo, 1, "user_id");
	Account		pool;
	bool		removed = false;

	query_begin();
	if (account_lock_team(team, &pool))
		removed = member_leave(&pool, user);
	if (removed)
		account_store(&pool);
	else
		account_check_user(user);
	query_end();
	PG_RETURN_BOOL(removed);
}

/*
 * ducto_get_team_members returns the members of a team. It takes no lock.
 */
Datum
ducto_get_team_members(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	Account		pool;
	QueryArgs	args = {0};

	query_begin();
	account_load(team, &pool, ACCOUNT_READ);
	args_uuid(&args, team);
	args_datum(&args, DateADTGetDatum(period_month(pool.now)));
	query_read_into(fcinfo, &members_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * Answer of ducto_deduct_team.
 */
static Datum
team_result(FunctionCallInfo fcinfo, const TeamDeduction *request, const pg_uuid_t *transaction,
			Money amount, Money balance, bool idempotent, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, transaction);
	result_uuid(&row, request->team);
	result_uuid(&row, request->user);
	result_money(&row, amount);
	result_money(&row, balance);
	result_bool(&row, idempotent);
	return result_end_with_error(&row, rejection);
}

/*
 * Make the ledger entry of a charge to a pool.
 */
static void
team_entry(const TeamDeduction *request, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->type = TYPE_USAGE;
	entry->operation_type = "usage";
	entry->actor = request->user;
	entry->model = request->model;
	entry->idempotency_key = request->key;
	entry->metadata = request->metadata;
}

/*
 * Charge a pool where there is nothing else to do: lock, decision and booking
 * of the pool are one statement. False: nothing was done, and the charge is to
 * be made step by step.
 */
static bool
team_deduct_at_once(FunctionCallInfo fcinfo, const TeamDeduction *request, Datum *result)
{
	Account		after;
	AccountChange change;
	LedgerEntry entry;

	if (!account_try_charge_team(request->team, request->amount, &after, &change))
		return false;
	if (!member_try_spend(&after, request->user, request->amount))
	{
		account_undo(request->team, &change);
		return false;
	}
	team_entry(request, &entry);
	entry.amount = -request->amount;
	if (!debit_try_book(&after, &change, &entry))
	{
		member_apply(&after, request->user, -request->amount, 0);
		return false;
	}
	*result = team_result(fcinfo, request, &entry.id, request->amount, entry.balance_after, false, ACCEPTED);
	return true;
}

/*
 * Decide whether a locked pool admits a member's charge, and let the member's
 * cap count it.
 */
static Rejection
team_decide(const Account *pool, const TeamDeduction *request)
{
	switch (member_state(pool, request->user, request->amount, false))
	{
		case MEMBER_ABSENT:
			account_check_user(request->user);
			return USER_NOT_IN_TEAM;
		case MEMBER_CAPPED:
			return CAP_REACHED;
		case MEMBER_FREE:
			break;
	}
	if (request->amount > account_headroom(pool, 0, false))
		return INSUFFICIENT_CREDITS;
	member_apply(pool, request->user, request->amount, 0);
	return ACCEPTED;
}

/*
 * Charge a pool step by step.
 */
static Datum
team_deduct_in_steps(FunctionCallInfo fcinfo, const TeamDeduction *request)
{
	Account		pool;
	LedgerEntry entry;
	LedgerRecord original;
	KeyState	known = KEY_FREE;
	Rejection	rejection;

	if (!account_lock_team(request->team, &pool))
	{
		account_check_user(request->user);
		return team_result(fcinfo, request, NULL, request->amount, 0, false, TEAM_NOT_FOUND);
	}
	if (request->key != NULL)
		known = key_find(&pool, request->key, KEY_DEBIT, NULL, request->user, &original);
	if (known == KEY_REPLAY)
		return team_result(fcinfo, request, &original.id, -original.amount, original.balance_after, true, ACCEPTED);
	rejection = known == KEY_CONFLICT ? IDEMPOTENCY_CONFLICT : team_decide(&pool, request);
	if (rejection != ACCEPTED)
		return team_result(fcinfo, request, NULL, request->amount, pool.balance, false, rejection);
	team_entry(request, &entry);
	account_debit(&pool, &entry, request->amount);
	account_store(&pool);
	return team_result(fcinfo, request, &entry.id, request->amount, entry.balance_after, false, ACCEPTED);
}

/*
 * ducto_deduct_team charges credits to a pool on behalf of a member. It locks
 * the pool. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_deduct_team(PG_FUNCTION_ARGS)
{
	TeamDeduction request;
	Datum		result;

	request.team = arg_uuid(fcinfo, 0, "team_id");
	request.user = arg_uuid(fcinfo, 1, "user_id");
	request.amount = arg_money(fcinfo, 2, "amount", MONEY_POSITIVE);
	request.metadata = arg_metadata(fcinfo, 3, "metadata");
	request.key = arg_text(fcinfo, 4, "idempotency_key");
	request.model = arg_text(fcinfo, 5, "model");
	query_begin();
	if (!team_deduct_at_once(fcinfo, &request, &result))
		result = team_deduct_in_steps(fcinfo, &request);
	query_end();
	PG_RETURN_DATUM(result);
}
