/*
 * teams.c
 *		Teams: a pool of credits that is an account, and its members.
 */
#include "postgres.h"

#include "credit/here.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/claim.h"
#include "account/funds.h"
#include "account/key.h"
#include "account/member.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/result.h"
#include "base/uuidv7.h"
#include "credit/debit.h"
#include "credit/read.h"
#include "credit/teams.h"

PG_FUNCTION_INFO_V1(ducto_create_team);
PG_FUNCTION_INFO_V1(ducto_list_teams);
PG_FUNCTION_INFO_V1(ducto_get_team_balance);
PG_FUNCTION_INFO_V1(ducto_add_team_member);
PG_FUNCTION_INFO_V1(ducto_remove_team_member);
PG_FUNCTION_INFO_V1(ducto_get_team_members);
PG_FUNCTION_INFO_V1(ducto_deduct_team);

static KeptQuery team_insert_query = {
	.sql = "INSERT INTO ducto.teams (id, name, created_at) VALUES ($1, $2, $3)",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

/* Waits for another call with the key; that one's team is then the team. */
static KeptQuery team_key_query = {
	.sql = "INSERT INTO ducto.team_keys (idempotency_key, team_id) VALUES ($1, $2) ON CONFLICT (idempotency_key) DO NOTHING",
	.types = {TEXTOID, UUIDOID}
};

static KeptQuery team_of_key_query = {
	.sql = "SELECT t.id, t.name FROM ducto.team_keys k JOIN ducto.teams t ON t.id = k.team_id WHERE k.idempotency_key = $1",
	.types = {TEXTOID}
};

#define MEMBER_COUNT(team)	"(SELECT count(*) FROM ducto.team_members c WHERE c.team_id = " team " AND " IS_STILL_IN("c") ")"

#define TEAM_COLUMNS	"t.id, t.name, t.created_at, " MEMBER_COUNT("t.id")

static KeptQuery teams_query = {
	.sql = "SELECT " TEAM_COLUMNS ", NULL::text FROM ducto.teams t WHERE t.id > $1 ORDER BY t.id LIMIT $2",
	.types = {UUIDOID, INT4OID}
};

static KeptQuery teams_of_user_query = {
	.sql = "SELECT " TEAM_COLUMNS ", m.role FROM ducto.team_members m JOIN ducto.teams t ON t.id = m.team_id"
	" WHERE m.user_id = $3 AND m.left_at IS NULL AND m.team_id > $1 ORDER BY m.team_id LIMIT $2",
	.types = {UUIDOID, INT4OID, UUIDOID}
};

enum
{
	TEAM_ID = 1, TEAM_NAME, TEAM_CREATED_AT, TEAM_MEMBERS, TEAM_ROLE
};

/* The name apart: a join would make all columns of both tables ready. */
static KeptQuery team_glance_query = {
	.sql = "SELECT (SELECT t.name FROM ducto.teams t WHERE t.id = $1), " MEMBER_COUNT("$1") ", a.balance, a.held"
	" FROM ducto.accounts a WHERE a.id = $1 AND a.kind = 'team' AND " SAYS_IT_ALL("a", "$2"),
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery team_name_query = {
	.sql = "SELECT t.name, " MEMBER_COUNT("$1") " FROM ducto.teams t WHERE t.id = $1",
	.types = {UUIDOID}
};

enum
{
	GLANCE_NAME = 1, GLANCE_MEMBERS, GLANCE_BALANCE, GLANCE_HELD
};

/* By a clock that was not set back the counters say it all. */
static KeptQuery members_plain_query = {
	.sql = "SELECT user_id, role, spend_cap, CASE WHEN month = $2 THEN spent ELSE 0.0000 END, joined_at"
	" FROM ducto.team_members m WHERE team_id = $1 AND " IS_STILL_IN("m") " ORDER BY joined_at, user_id",
	.types = {UUIDOID, DATEOID}
};

static KeptQuery members_query = {
	.sql = "SELECT m.user_id, m.role, m.spend_cap,"
	" CASE WHEN m.month = $2 THEN m.spent ELSE coalesce(s.spent, 0.0000) END, m.joined_at FROM ducto.team_members m"
	" LEFT JOIN (" MEMBERS_SAID("$5", "$1", "$3", "$4", "$6") ") s ON s.actor = m.user_id"
	" WHERE m.team_id = $1 AND " IS_STILL_IN("m") " ORDER BY m.joined_at, m.user_id",
	.types = {UUIDOID, DATEOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID}
};

/*
 * Find the team that the key of a request has made, or take the key. True: it
 * was made before, and the request tells that team.
 */
static bool
team_replay(TeamRequest *request)
{
	QueryArgs	args = {0};
	QueryArgs	key = {0};

	if (request->key == NULL)
		return false;
	args_text(&args, request->key);
	args_uuid(&args, &request->id);
	if (query_run(&team_key_query, &args, SPI_OK_INSERT) == 1)
		return false;
	args_text(&key, request->key);
	if (query_run(&team_of_key_query, &key, SPI_OK_SELECT) != 1)
		elog(ERROR, "the team of idempotency key \"%s\" is gone", request->key);
	request->id = row_uuid(0, 1);
	request->name = row_text(0, 2);
	return true;
}

/*
 * Make a team and its pool, with what is to be in it.
 */
static void
team_book(const TeamRequest *request)
{
	LedgerEntry entry = {.type = TYPE_ADJUSTMENT, .amount = request->amount, .is_credit = true, .expires_at = DT_NOEND};
	QueryArgs	args = {0};
	Account		pool;

	args_uuid(&args, &request->id);
	args_text(&args, request->name);
	args_time(&args, request->now);
	query_run(&team_insert_query, &args, SPI_OK_INSERT);
	account_create(&request->id, true);
	if (request->amount == 0)
		return;
	if (!account_lock_team(&request->id, &pool))
		row_missing("accounts");
	ledger_append(&pool, &entry);
	account_store(&pool);
}

/*
 * team_make makes a team with a pool of its own, once for a key, which credits
 * may require. True: it was made before. The caller has connected to SPI.
 */
bool
team_make(TeamRequest *request)
{
	bool		idempotent;

	if (request->amount > 0)
		request->key = key_checked(request->key, "idempotency_key");
	uuidv7_make(&request->id, request->now);
	idempotent = team_replay(request);
	if (!idempotent)
		team_book(request);
	return idempotent;
}

/*
 * ducto_create_team makes a team with a pool of its own, once for a key.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_create_team(PG_FUNCTION_ARGS)
{
	TeamRequest request = {.now = clock_now()};
	bool		idempotent;
	ResultRow	row;
	Datum		result;

	arg_require(fcinfo, 0, "name");
	request.name = arg_text(fcinfo, 0, "name");
	request.amount = PG_ARGISNULL(1) ? 0 : arg_money(fcinfo, 1, "initial_balance", MONEY_NOT_NEGATIVE);
	request.key = arg_text(fcinfo, 2, "idempotency_key");
	query_begin();
	idempotent = team_make(&request);
	result_begin(&row, fcinfo);
	result_uuid(&row, &request.id);
	result_text(&row, request.name);
	result_bool(&row, idempotent);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}

/* A team of a page, and what is listed of it beside its pool. */
typedef struct ListedTeam
{
	pg_uuid_t	id;
	char	   *name;
	TimestampTz created_at;
	int32		members;
	char	   *role;			/* NULL for none */
} ListedTeam;

/*
 * Read a page of teams after an id: all, or those of a user.
 */
static uint64
teams_page(const pg_uuid_t *user, int max_rows, const pg_uuid_t *after, ListedTeam **teams)
{
	static const pg_uuid_t lowest = {{0}};
	QueryArgs	args = {0};
	uint64		n;

	args_uuid(&args, after != NULL ? after : &lowest);
	args_int4(&args, max_rows);
	if (user != NULL)
		args_uuid(&args, user);
	n = query_read(user != NULL ? &teams_of_user_query : &teams_query, &args);
	*teams = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ListedTeam) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*teams)[i].id = row_uuid(i, TEAM_ID);
		(*teams)[i].name = row_text(i, TEAM_NAME);
		(*teams)[i].created_at = row_time(i, TEAM_CREATED_AT);
		(*teams)[i].members = (int32) row_int8(i, TEAM_MEMBERS);
		(*teams)[i].role = row_text(i, TEAM_ROLE);
	}
	return n;
}

/*
 * Append a team to the result of ducto_list_teams, in memory of its own.
 */
static void
team_put(const ListedTeam *team, ResultRow *row)
{
	Account		pool;
	RollTotals	totals;

	query_begin();
	account_project(&team->id, &pool, DT_NOEND, &totals);
	result_uuid(row, &team->id);
	result_text(row, team->name);
	result_money(row, pool.balance);
	result_money(row, pool.held);
	result_money(row, account_available(&pool));
	result_int4(row, team->members);
	result_text(row, team->role);
	result_time(row, team->created_at);
	result_put(row);
	query_end();
}

/*
 * ducto_list_teams returns teams with the credits of their pools. It takes no
 * lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_list_teams(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid_or_null(fcinfo, 0);
	int			max_rows = arg_int_between(fcinfo, 1, "max_rows", 1, PG_INT32_MAX, DEFAULT_PAGE);
	ListedTeam *teams;
	ResultRow	row;
	uint64		n;

	result_set_begin(&row, fcinfo);
	query_begin();
	if (user != NULL)
		account_check_user(user);
	n = teams_page(user, max_rows, arg_uuid_or_null(fcinfo, 2), &teams);
	for (uint64 i = 0; i < n; i++)
		team_put(&teams[i], &row);
	query_end();
	return (Datum) 0;
}

/*
 * Read a team and its pool where the row says what the pool has. False: it does
 * not, or there is no such team.
 */
static bool
team_glance(const pg_uuid_t *team, TeamBalance *balance)
{
	QueryArgs	args = {0};

	args_uuid(&args, team);
	args_time(&args, clock_now());
	if (query_read(&team_glance_query, &args) == 0)
		return false;
	balance->name = row_text(0, GLANCE_NAME);
	balance->members = (int32) row_int8(0, GLANCE_MEMBERS);
	balance->balance = row_money(0, GLANCE_BALANCE);
	balance->held = row_money(0, GLANCE_HELD);
	return true;
}

/*
 * team_read reads a team and its pool, exact at the moment of the call. The
 * caller has connected to SPI.
 */
Rejection
team_read(const pg_uuid_t *team, TeamBalance *balance)
{
	QueryArgs	args = {0};
	RollTotals	totals;
	Account		pool;

	memset(balance, 0, sizeof(TeamBalance));
	if (team_glance(team, balance))
		return ACCEPTED;
	args_uuid(&args, team);
	if (query_read(&team_name_query, &args) == 0)
		return team_missing(team);
	balance->name = row_text(0, GLANCE_NAME);
	balance->members = (int32) row_int8(0, GLANCE_MEMBERS);
	account_project(team, &pool, DT_NOEND, &totals);
	balance->balance = pool.balance;
	balance->held = pool.held;
	return ACCEPTED;
}

/*
 * ducto_get_team_balance returns a pool's credits, exact at the moment of the
 * call. It takes no lock.
 */
Datum
ducto_get_team_balance(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	TeamBalance balance;
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	if (call_reads(fcinfo, team, ducto_get_team_balance, &result))
		PG_RETURN_DATUM(result);
	query_begin();
	rejection = team_read(team, &balance);
	result_begin(&row, fcinfo);
	result_uuid(&row, team);
	result_text(&row, balance.name);
	result_money(&row, balance.balance);
	result_money(&row, balance.held);
	result_money(&row, balance.balance - balance.held);
	result_int4(&row, balance.members);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * team_add_member adds a user to a team or updates a member, and tells what the
 * member is then. It locks the pool. The caller has connected to SPI.
 */
Rejection
team_add_member(const pg_uuid_t *team, const pg_uuid_t *user, MemberTerms *terms)
{
	Account		pool;

	account_check_user(user);
	if (!account_lock_team(team, &pool))
		return team_missing(team);
	member_join(&pool, user, terms);
	account_store(&pool);
	return ACCEPTED;
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
	MemberTerms terms = {.role = arg_text(fcinfo, 2, "role")};
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	terms.uncapped = !PG_ARGISNULL(3) && numeric_is_inf(PG_GETARG_NUMERIC(3)) &&
		DatumGetBool(DirectFunctionCall2(numeric_gt, PG_GETARG_DATUM(3), NumericGetDatum(int64_to_numeric(0))));
	terms.capped = !PG_ARGISNULL(3) && !terms.uncapped;
	if (terms.capped)
		terms.cap = arg_money(fcinfo, 3, "spend_cap", MONEY_NOT_NEGATIVE);

	query_begin();
	rejection = team_add_member(team, user, &terms);
	result_begin(&row, fcinfo);
	result_uuid(&row, team);
	result_uuid(&row, user);
	result_text(&row, terms.role);
	if (terms.capped)
		result_money(&row, terms.cap);
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
 * Find the query that lists the members of a team, and its parameters.
 */
static KeptQuery *
members_listed(const pg_uuid_t *team, QueryArgs *args)
{
	TimestampTz now = clock_now();
	DateADT		month = period_month(now);
	Account		pool;

	args_uuid(args, team);
	args_datum(args, DateADTGetDatum(month));
	if (account_says_it_all(team, now))
		return &members_plain_query;
	account_load(team, &pool, ACCOUNT_READ);
	args_time(args, period_start(month));
	args_time(args, period_start(period_next_month(month)));
	args_moved(args, &pool, true);
	return &members_query;
}

/*
 * team_members calls a function with each member of a team: what LISTED_MEMBER
 * and the names after it say. The caller has connected to SPI.
 */
void
team_members(const pg_uuid_t *team, RowReader reader, void *state)
{
	QueryArgs	args = {0};
	KeptQuery  *query = members_listed(team, &args);

	(void) query_each(query, &args, true, reader, state);
}

/*
 * ducto_get_team_members returns the members of a team. It takes no lock.
 */
Datum
ducto_get_team_members(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *team = arg_uuid(fcinfo, 0, "team_id");
	QueryArgs	args = {0};
	KeptQuery  *query;
	Datum		result;

	if (call_reads(fcinfo, team, ducto_get_team_members, &result))
		PG_RETURN_DATUM(result);
	query_begin();
	query = members_listed(team, &args);
	query_read_into(fcinfo, query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * pool_decide decides whether a locked pool admits a member's charge, and lets
 * the caps of the pool and the member count it.
 */
Rejection
pool_decide(Account *pool, const Debit *debit, DebitPlan *plan)
{
	CapChange	change = {.model = debit->model, .spent = debit->amount, .actor = debit->user};
	CapVerdict	verdict;

	switch (member_state(pool, debit->user, debit->amount, false))
	{
		case MEMBER_ABSENT:
			account_check_user(debit->user);
			return member_missing(&pool->id, debit->user);
		case MEMBER_CAPPED:
			return CAP_REACHED;
		case MEMBER_FREE:
			break;
	}
	if (debit->amount > account_headroom(pool, 0, false))
		return caps_would_deny(pool, &change, false) ? CAP_REACHED :
			account_lacks(debit->amount, account_available(pool), 0);
	if (!caps_admit(pool, &change, &verdict))
		return CAP_REACHED;
	plan->charge = debit->amount;
	plan->cap_warning = verdict.warning;
	return ACCEPTED;
}

/*
 * ducto_deduct_team charges credits to a pool on behalf of a member. It locks
 * the pool. Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_deduct_team(PG_FUNCTION_ARGS)
{
	Debit		debit = {.operation_type = "usage"};
	Deduction	deduction;
	Rejection	rejection;
	ResultRow	row;
	Datum		result;

	debit.team = arg_uuid(fcinfo, 0, "team_id");
	debit.user = arg_uuid(fcinfo, 1, "user_id");
	debit.amount = arg_money(fcinfo, 2, "amount", MONEY_POSITIVE);
	debit.metadata = arg_metadata(fcinfo, 3, "metadata");
	debit.key = arg_key(fcinfo, 4, "idempotency_key");
	debit.model = arg_text(fcinfo, 5, "model");
	query_begin();
	rejection = debit_make(&debit, &deduction);
	result_begin(&row, fcinfo);
	result_uuid(&row, deduction.booked ? &deduction.transaction : NULL);
	result_uuid(&row, debit.team);
	result_uuid(&row, debit.user);
	result_money(&row, deduction.amount);
	result_money(&row, deduction.balance_after);
	result_bool(&row, deduction.idempotent);
	result = result_end_with_error(&row, rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
