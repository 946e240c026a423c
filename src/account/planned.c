/*
 * planned.c
 *		The guarded updates of an account with a plan, as those of guarded.c: usage
 *		that its allowance pays, and another plan.
 */
#include "postgres.h"

#include "account/alertline.h"
#include "account/claim.h"
#include "account/guarded.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/period.h"
#include "base/zone.h"

/*
 * A user's account in a cycle that goes on, whose ledger is not ahead of the
 * clock, with no hold that relies on the allowance, or may after it; the balance
 * lines are those of the mark $5, and the caps of its plan have the version $6.
 */
#define IN_CYCLE(plan) \
	GUARD("kind = 'user' AND plan_id = " plan) " AND cycle_start <= $4 AND cycle_end > $4 AND ended_until IS NULL" \
	" AND (ahead_until <= updated_at) IS NOT FALSE AND promised = 0.0000 AND held <= greatest(balance, 0.0000)" \
	" AND alert_mark = $5 AND caps_version = $6"

/* Counts $2 on the allowance of the plan $3. Nobody is to be told of it by lines of the account's own. */
static KeptQuery account_consume_query = {
	.sql = "UPDATE ducto.accounts SET allowance_used = allowance_used + $2, last_seq = last_seq + 1,"
	" updated_at = greatest(updated_at, $4)" IN_CYCLE("$3") " AND alert_below = '-Infinity'"
	" RETURNING " AFTER_COLUMNS ", allowance_used, cycle_start, cycle_end, zone",
	.types = {UUIDOID, NUMERICOID, TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID}
};

enum
{
	USED_COLUMN = AFTER_COLUMN_COUNT + 1, CYCLE_START_COLUMN, CYCLE_END_COLUMN, ZONE_COLUMN
};

enum
{
	TOLD_COLUMN = AFTER_COLUMN_COUNT + 1
};

/* What a plan is in the place of. Who has no caps, and cycles of the calendar, may get another one at once. */
static KeptQuery plan_before_query = {
	.sql = "SELECT plan_id FROM ducto.accounts WHERE id = $1 AND caps = 0 AND anchor IS NULL AND zone IS NULL",
	.types = {UUIDOID}
};

/* Gives an account without caps the plan $2 in the place of $3, whose cycle from $7 to $8 goes on, and counts the event of it. */
static KeptQuery account_switch_query = {
	.sql = "UPDATE ducto.accounts SET plan_id = $2, last_event = last_event + 1, updated_at = greatest(updated_at, $4)"
	IN_CYCLE("$3")
	" AND caps = 0 AND anchor IS NULL AND zone IS NULL AND cycle_start = $7 AND cycle_end = $8"
	" RETURNING " AFTER_COLUMNS ", last_event - 1",
	.types = {UUIDOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock by the guarded update that it takes back. */
static KeptQuery account_switch_back_query = {
	.sql = "UPDATE ducto.accounts SET plan_id = $2, last_event = last_event - 1 WHERE id = $1",
	.types = {UUIDOID, TEXTOID}
};

/*
 * account_try_consume counts an amount on the allowance of a user's plan, under
 * the conditions of account_try_charge but for the plan, of which nobody is told
 * how much is used. False: it did nothing.
 */
bool
account_try_consume(const pg_uuid_t *id, const UserPlan *plan, Money amount, Account *after)
{
	AccountChange change;
	QueryArgs	args = {0};
	bool		valid;

	args_uuid(&args, id);
	args_money(&args, amount);
	args_text(&args, plan->id);
	args_time(&args, clock_now());
	args_int8(&args, lines_pricing_mark());
	args_int8(&args, plan->caps_version);
	if (plan->alerts != NULL || lines_of_pricing()->nallowance > 0 || !account_update(&account_consume_query, id, &args))
		return false;
	valid = account_after(id, after, &change);
	change.allowance = amount;
	change.entries = 1;
	after->plan_id = plan->id;
	after->plan = *plan;
	after->allowance_used = row_spend(0, USED_COLUMN);
	after->cycle.start = row_time(0, CYCLE_START_COLUMN);
	after->cycle.end = row_time(0, CYCLE_END_COLUMN);
	after->zone_name = row_text(0, ZONE_COLUMN);
	after->zone = zone_find(after->zone_name);
	if (!valid)
		account_undo(id, &change);
	return valid;
}

/*
 * Return the plan that another is to be in the place of, as far as the snapshot
 * tells; NULL where there is none, or more to do.
 */
static char *
plan_before(const pg_uuid_t *id)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	if (query_run(&plan_before_query, &args, SPI_OK_SELECT) == 0)
		return NULL;
	return row_text(0, 1);
}

/*
 * account_try_switch gives a user a plan in the place of another, and tells which
 * that was, under the conditions of account_try_consume: there are no caps before
 * or after, and the cycle goes on as it is, of which the plan gives nothing. False:
 * it did nothing.
 */
bool
account_try_switch(const pg_uuid_t *id, UserPlan *plan, Account *after, char **before)
{
	PeriodRule	rule = {.unit = plan->cycle, .anchor = DT_NOBEGIN};
	TimestampTz now = clock_now();
	Period		cycle = period_find(&rule, now);
	AccountChange change;
	PlanTerms  *terms;
	QueryArgs	args = {0};
	QueryArgs	back = {0};

	if (plan->alerts != NULL || plan->caps_version != 0 || cluster_is_used() || plan_gives(plan->id, now, &terms))
		return false;
	*before = plan_before(id);
	if (*before == NULL || strcmp(*before, plan->id) == 0)
		return false;
	args_uuid(&args, id);
	args_text(&args, plan->id);
	args_text(&args, *before);
	args_time(&args, now);
	args_int8(&args, lines_pricing_mark());
	args_int8(&args, plan->caps_version);
	args_time(&args, cycle.start);
	args_time(&args, cycle.end);
	if (!account_update(&account_switch_query, id, &args))
		return false;
	if (account_after(id, after, &change))
	{
		after->plan_id = plan->id;
		after->plan = *plan;
		after->cycle = cycle;
		after->last_event = row_int8(0, TOLD_COLUMN);
		return true;
	}
	args_uuid(&back, id);
	args_text(&back, *before);
	if (query_run(&account_switch_back_query, &back, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	return false;
}
