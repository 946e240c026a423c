/*
 * show.c
 *		Reading of an account no more than is to be shown.
 */
#include "postgres.h"

#include "account/account.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/query.h"
#include "base/uuid.h"

static KeptQuery account_glance_query = {
	.sql = "SELECT a.kind, a.balance, a.held, a.expiring, a.lifetime_purchased FROM ducto.accounts a"
	" WHERE a.id = $1 AND " SAYS_IT_ALL("a", "$2"),
	.types = {UUIDOID, TIMESTAMPTZOID}
};

enum
{
	GLANCE_KIND = 1, GLANCE_BALANCE, GLANCE_HELD, GLANCE_EXPIRING, GLANCE_PURCHASED
};

static KeptQuery account_settled_query = {
	.sql = "SELECT FROM ducto.accounts a WHERE a.id = $1 AND " SAYS_IT_ALL("a", "$2"),
	.types = {UUIDOID, TIMESTAMPTZOID}
};

static KeptQuery account_kind_query = {
	.sql = "SELECT kind FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

/* The plan is read after that: a join with it costs more than the two apart. */
static KeptQuery account_plan_query = {
	.sql = "SELECT kind, plan_id FROM ducto.accounts WHERE id = $1",
	.types = {UUIDOID}
};

enum
{
	USER_KIND = 1, USER_PLAN_ID
};

/*
 * account_require_user rejects a team's id where a user's is wanted.
 */
void
account_require_user(const Account *acc)
{
	if (acc->team)
		arg_reject_because("user_id", uuid_to_cstring(&acc->id), "It is the id of a team.",
						   "\"user_id\" must be the id of a user.");
}

/*
 * account_read_user reads the row of a user's account in the snapshot of the
 * calling statement. A team's id is an error.
 */
void
account_read_user(const pg_uuid_t *user, Account *acc)
{
	account_load(user, acc, ACCOUNT_READ);
	account_require_user(acc);
}

/*
 * account_glance reads the credits of an account in the snapshot of the calling
 * statement, and nothing else of it: nothing is due. False: there is no account,
 * or they have to be computed.
 */
bool
account_glance(const pg_uuid_t *id, Account *acc)
{
	QueryArgs	args = {0};

	memset(acc, 0, sizeof(Account));
	acc->now = clock_now();
	args_uuid(&args, id);
	args_time(&args, acc->now);
	if (query_read(&account_glance_query, &args) == 0)
		return false;
	acc->id = *id;
	acc->exists = true;
	acc->next_boundary = DT_NOEND;
	acc->team = row_word(0, GLANCE_KIND, account_kinds) != 0;
	acc->balance = row_money(0, GLANCE_BALANCE);
	acc->held = row_money(0, GLANCE_HELD);
	acc->expiring = row_money(0, GLANCE_EXPIRING);
	acc->lifetime_purchased = row_spend(0, GLANCE_PURCHASED);
	return true;
}

/*
 * account_says_it_all tells whether there is an account whose row says, in the
 * snapshot of the calling statement, what it has at a time.
 */
bool
account_says_it_all(const pg_uuid_t *id, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	args_time(&args, now);
	return query_read(&account_settled_query, &args) > 0;
}

/*
 * account_read_plan reads the plan of a user in the snapshot of the calling
 * statement; its id is NULL for none. A team's id is an error.
 */
void
account_read_plan(const pg_uuid_t *user, UserPlan *plan)
{
	Account		acc = {.id = *user};
	QueryArgs	args = {0};
	char	   *plan_id;

	memset(plan, 0, sizeof(UserPlan));
	args_uuid(&args, user);
	if (query_read(&account_plan_query, &args) == 0)
		return;
	acc.team = row_word(0, USER_KIND, account_kinds) != 0;
	account_require_user(&acc);
	plan_id = row_text(0, USER_PLAN_ID);
	if (plan_id != NULL)
		plan_find(plan_id, plan, true);
}

/*
 * account_check_user rejects the id of a team as that of a user.
 */
void
account_check_user(const pg_uuid_t *user)
{
	Account		acc = {.id = *user};
	QueryArgs	args = {0};

	args_uuid(&args, user);
	acc.team = query_read(&account_kind_query, &args) > 0 && row_word(0, 1, account_kinds) != 0;
	account_require_user(&acc);
}
