/*
 * cap.c
 *		The counters of spend caps, kept under the account's lock. A team's pool
 *		has the caps of its members.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/member.h"
#include "base/period.h"
#include "base/query.h"

/* The period that a cap counts in, from the parameters day and month. */
#define CURRENT_PERIOD(day, month)	"CASE cap_type WHEN 'daily' THEN " day " ELSE " month " END"

/* Models as parameters: empty for none. A cap of all models has an empty one. */
#define COUNTS(model_param)	"(model = '' OR model = " model_param ")"

#define NOW_SPENT			"CASE WHEN period = " CURRENT_PERIOD("$2", "$3") " THEN spent ELSE 0.0000 END"
#define MORE_SPENT			"CASE WHEN " COUNTS("$4") " THEN $5 ELSE 0.0000 END"
#define MORE_HELD			"CASE WHEN " COUNTS("$6") " THEN $7 ELSE 0.0000 END"
#define IS_MORE				"($5 > 0 AND " COUNTS("$4") " OR $7 > 0 AND " COUNTS("$6") ")"

#define CAPS_APPLY_SQL(condition) \
	"UPDATE ducto.spend_caps SET spent = " NOW_SPENT " + " MORE_SPENT ", period = " CURRENT_PERIOD("$2", "$3") "," \
	" held = held + " MORE_HELD " WHERE account_id = $1 AND (" COUNTS("$4") " OR " COUNTS("$6") ")" condition \
	" RETURNING action, spent + held > cap_limit AND " IS_MORE
#define CAPS_APPLY_TYPES	{UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID, TEXTOID, NUMERICOID}

static KeptQuery caps_apply_query = {.sql = CAPS_APPLY_SQL(""), .types = CAPS_APPLY_TYPES};

/* Changes nothing when a deny cap would be exceeded. The snapshot is right: caps change under the account's lock only. */
static KeptQuery caps_admit_query = {
	.sql = CAPS_APPLY_SQL(" AND NOT EXISTS (SELECT FROM ducto.spend_caps WHERE account_id = $1 AND action = 'deny'"
						  " AND " IS_MORE " AND " NOW_SPENT " + " MORE_SPENT " + held + " MORE_HELD " > cap_limit)"),
	.types = CAPS_APPLY_TYPES
};

static KeptQuery caps_deny_query = {
	.sql = "WITH due AS MATERIALIZED (" CAPS_DUE("$1", "$6", "$7") ")"
	" SELECT EXISTS (SELECT FROM ducto.spend_caps c LEFT JOIN due d ON d.model = c.model"
	" WHERE c.account_id = $1 AND c.action = 'deny' AND (c.model = '' OR c.model = $4)"
	" AND CASE WHEN c.period = " CURRENT_PERIOD("$2", "$3") " THEN c.spent ELSE 0.0000 END + c.held - coalesce(d.held, 0.0000)"
	"  + $5 > c.cap_limit)",
	.types = {UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery caps_refund_query = {
	.sql = "UPDATE ducto.spend_caps SET spent = spent - $5"
	" WHERE account_id = $1 AND " COUNTS("$4") " AND period = " CURRENT_PERIOD("$2", "$3"),
	.types = {UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID}
};

static KeptQuery caps_due_query = {
	.sql = CAPS_DUE("$1", "$2", "$3"),
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery caps_free_query = {
	.sql = "UPDATE ducto.spend_caps SET held = held - $3 WHERE account_id = $1 AND model = $2",
	.types = {UUIDOID, TEXTOID, NUMERICOID}
};

/*
 * Append the account, and the day and month of a time.
 */
static void
args_period(QueryArgs *args, const pg_uuid_t *account, TimestampTz at)
{
	args_uuid(args, account);
	args_datum(args, DateADTGetDatum(period_day(at)));
	args_datum(args, DateADTGetDatum(period_month(at)));
}

/*
 * Append a model, empty for none.
 */
static void
args_model(QueryArgs *args, const char *model)
{
	args_text(args, model != NULL ? model : "");
}

/*
 * Return how strong an action is.
 */
static int
action_strength(const char *action)
{
	return strcmp(action, "deny") == 0 ? 3 : strcmp(action, "warn") == 0 ? 2 : 1;
}

/*
 * Move the counters of a locked account's caps by one of the statements that
 * do, and tell the strongest action that is exceeded with it. False: it changed
 * none.
 */
static bool
caps_move(KeptQuery *query, const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	QueryArgs	args = {0};
	uint64		n;

	args_period(&args, &acc->id, acc->now);
	args_model(&args, change->model);
	args_money(&args, change->spent);
	args_model(&args, change->held_model);
	args_money(&args, change->held);
	n = query_run(query, &args, SPI_OK_UPDATE_RETURNING);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *action = row_text(i, 1);

		if (row_bool(i, 2) &&
			(verdict->warning == NULL || action_strength(action) > action_strength(verdict->warning)))
			verdict->warning = action;
	}
	return n > 0;
}

/*
 * caps_apply moves the counters of a locked account's caps and tells which
 * action is exceeded with it.
 */
void
caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	verdict->warning = NULL;
	if (change->spent == 0 && change->held == 0)
		return;
	if (acc->team && member_apply(acc, change->actor, change->spent, change->held) &&
		(change->spent > 0 || change->held > 0))
		verdict->warning = "deny";
	if (acc->caps > 0)
		(void) caps_move(&caps_apply_query, acc, change, verdict);
}

/*
 * caps_admit moves the counters of a locked account's caps unless a deny cap
 * would be exceeded; false then, and nothing has changed.
 */
bool
caps_admit(const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	verdict->warning = NULL;
	if (change->spent == 0 && change->held == 0)
		return true;
	if (acc->team)
		return member_try_apply(acc, change->actor, change->spent, change->held);
	return acc->caps == 0 || caps_move(&caps_admit_query, acc, change, verdict) || !caps_would_deny(acc, change, false);
}

/*
 * caps_would_deny tells whether a change would exceed a deny cap: of a locked
 * account, or in the snapshot of the calling statement.
 */
bool
caps_would_deny(const Account *acc, const CapChange *change, bool read_only)
{
	QueryArgs	args = {0};
	Money		amount = change->spent + change->held;

	if (amount == 0)
		return false;
	if (acc->team)
		return member_state(acc, change->actor, amount, read_only) == MEMBER_CAPPED;
	if (acc->caps == 0)
		return false;
	args_period(&args, &acc->id, acc->now);
	args_model(&args, change->spent != 0 ? change->model : change->held_model);
	args_money(&args, amount);
	args_time(&args, acc->ended_until);
	args_time(&args, acc->now);
	if (read_only)
		query_read(&caps_deny_query, &args);
	else
		query_run(&caps_deny_query, &args, SPI_OK_SELECT);
	return row_bool(0, 1);
}

/*
 * caps_refund gives room back in the periods of a debit that is refunded.
 */
void
caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at)
{
	QueryArgs	args = {0};

	if (acc->team && refunded->spent != 0)
		member_refund(acc, refunded->actor, refunded->spent, debited_at);
	if (acc->caps == 0 || refunded->spent == 0)
		return;
	args_period(&args, &acc->id, debited_at);
	args_model(&args, refunded->model);
	args_money(&args, refunded->spent);
	query_run(&caps_refund_query, &args, SPI_OK_UPDATE);
}

/*
 * Free what holds held against the caps of a model, or of all: a row of
 * caps_due_query.
 */
static bool
caps_free(TupleTableSlot *slot, void *state)
{
	const Account *acc = state;
	QueryArgs	args = {0};

	slot_getallattrs(slot);
	query_begin();
	args_uuid(&args, &acc->id);
	args_datum(&args, slot->tts_values[0]);
	args_datum(&args, slot->tts_values[1]);
	query_run(&caps_free_query, &args, SPI_OK_UPDATE);
	query_end();
	return true;
}

/*
 * caps_end_holds frees what holds of a locked account that end now held
 * against its caps, or its members': those that expire no later than a time
 * and still count. It touches the counters of these only.
 */
void
caps_end_holds(Account *acc, TimestampTz until)
{
	QueryArgs	args = {0};

	if (acc->team)
		members_end_holds(acc, until);
	if (acc->caps == 0)
		return;
	args_uuid(&args, &acc->id);
	args_time(&args, acc->ended_until);
	args_time(&args, until);
	query_each(&caps_due_query, &args, false, caps_free, acc);
}
