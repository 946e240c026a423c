/*
 * cap.c
 *		Spend caps and their counters, kept under the account's lock. A team's pool
 *		has the caps of its members.
 */
#include "postgres.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/claim.h"
#include "account/ledger.h"
#include "account/member.h"
#include "base/keep.h"
#include "base/period.h"
#include "base/query.h"

/* The period that a cap counts in, from the parameters day and month. */
#define CURRENT_PERIOD(day, month)	CAP_WINDOW("spend_caps", day, month)

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

/* Of the deny caps that would be exceeded the one that resets last. */
static KeptQuery caps_deny_query = {
	.sql = "WITH due AS MATERIALIZED (" CAPS_DUE("$1", "$6", "$7") ")"
	" SELECT cap_type, model, cap_limit, counted FROM (SELECT c.cap_type, c.model, c.cap_limit,"
	" " CAP_SPENT("c", "$2", "$3", "$8", "$9") " + c.held - coalesce(d.held, 0.0000) AS counted"
	" FROM ducto.spend_caps c LEFT JOIN due d ON d.model = c.model"
	" WHERE c.account_id = $1 AND c.action = 'deny' AND (c.model = '' OR c.model = $4)) c"
	" WHERE counted + $5 > cap_limit ORDER BY cap_type DESC, model LIMIT 1",
	.types = {UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID}
};

static KeptQuery caps_refund_query = {
	.sql = "UPDATE ducto.spend_caps SET spent = spent - $5"
	" WHERE account_id = $1 AND " COUNTS("$4") " AND period = " CURRENT_PERIOD("$2", "$3"),
	.types = {UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID}
};

/* The caller has the account's lock. */
static KeptQuery caps_make_query = {
	.sql = "UPDATE ducto.spend_caps c SET period = " CAP_WINDOW("c", "$2", "$3") ","
	" spent = " CAP_SPENT("c", "$2", "$3", "true", "$4")
	" WHERE c.account_id = $1 AND c.period <> " CAP_WINDOW("c", "$2", "$3"),
	.types = {UUIDOID, DATEOID, DATEOID, INT8OID}
};

static KeptQuery caps_due_query = {
	.sql = CAPS_DUE("$1", "$2", "$3"),
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery caps_free_query = {
	.sql = "UPDATE ducto.spend_caps SET held = held - $3 WHERE account_id = $1 AND model = $2",
	.types = {UUIDOID, TEXTOID, NUMERICOID}
};

/* Changes what a cap says, not what it has counted. */
static KeptQuery cap_change_query = {
	.sql = "UPDATE ducto.spend_caps SET cap_limit = $4, action = $5"
	" WHERE account_id = $1 AND cap_type = $2 AND model = $3",
	.types = {UUIDOID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID}
};

/*
 * Counts what the ledger says was spent from $9 until $10, by entries after $7,
 * less what was refunded of it, and what open reservations hold. The caller has
 * the account's lock.
 */
static KeptQuery cap_insert_query = {
	.sql = "INSERT INTO ducto.spend_caps (account_id, cap_type, model, cap_limit, action, period, spent, held)"
	" SELECT $1, $2, $3, $4, $5, $6,"
	" " SAID_SPENT("$1", "$3", "$9", "$10", "$7") ","
	" (SELECT coalesce(sum(r.cap_held), 0.0000) FROM ducto.reservations r WHERE r.account_id = $1"
	"   AND r.state = 'open' AND r.expires_at > $8 AND ($3 = '' OR r.model = $3))",
	.types = {UUIDOID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID, DATEOID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
	TIMESTAMPTZOID}
};

/* The account's models that have caps of their own. */
static KeptQuery capped_models_query = {
	.sql = "SELECT DISTINCT model FROM ducto.spend_caps WHERE account_id = $1 AND model <> ''",
	.types = {UUIDOID}
};

static KeptQuery cap_delete_query = {
	.sql = "DELETE FROM ducto.spend_caps WHERE account_id = $1 AND cap_type = $2 AND model = $3" REMOVED_BY_DUCTO("action"),
	.types = {UUIDOID, TEXTOID, TEXTOID}
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
 * Append what identifies a cap.
 */
static void
args_cap(QueryArgs *args, const pg_uuid_t *user, const Cap *cap)
{
	args_uuid(args, user);
	args_text(args, cap->cap_type);
	args_text(args, cap->model);
}

/*
 * Add a cap to a locked account, with what its period has seen.
 */
static void
cap_insert(Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};
	bool		daily = strcmp(cap->cap_type, "daily") == 0;
	DateADT		period = daily ? period_day(acc->now) : period_month(acc->now);
	int64		before = ledger_seq_before(&acc->id, acc->last_seq, period_start(period), false, false, false);

	args_cap(&args, &acc->id, cap);
	args_money(&args, cap->limit);
	args_text(&args, cap->action);
	args_datum(&args, DateADTGetDatum(period));
	args_int8(&args, before);
	args_time(&args, acc->ended_until);
	args_time(&args, period_start(period));
	args_time(&args, period_start(daily ? period + 1 : period_next_month(period)));
	if (query_run(&cap_insert_query, &args, SPI_OK_INSERT) != 1)
		row_missing("spend_caps");
	acc->caps++;
}

/*
 * Change a cap of a locked account; false when there is none.
 */
static bool
cap_change(const Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};

	args_cap(&args, &acc->id, cap);
	args_money(&args, cap->limit);
	args_text(&args, cap->action);
	return query_run(&cap_change_query, &args, SPI_OK_UPDATE) > 0;
}

/*
 * cap_set adds or changes a cap of a locked account. What it has counted stays.
 */
void
cap_set(Account *acc, const Cap *cap)
{
	if (!cap_change(acc, cap))
		cap_insert(acc, cap);
}

/*
 * cap_remove removes a cap of a locked account; false when there is none.
 */
bool
cap_remove(Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};

	args_cap(&args, &acc->id, cap);
	if (query_remove(&cap_delete_query, &args) == 0)
		return false;
	acc->caps--;
	return true;
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
 * Return which of the models of lines have caps of their own.
 */
static bool *
models_capped(const Account *acc, const EntryModels *models)
{
	bool	   *capped = palloc0(sizeof(bool) * models->n);
	QueryArgs	args = {0};
	uint64		n;

	args_uuid(&args, &acc->id);
	n = query_run(&capped_models_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < n; row++)
	{
		char	   *model = row_text(row, 1);

		for (int i = 0; i < models->n; i++)
			capped[i] |= models->models[i] != NULL && strcmp(models->models[i], model) == 0;
	}
	return capped;
}

/*
 * Apply a part of a change, and keep the stronger of two warnings.
 */
static void
caps_apply_part(const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	CapVerdict	part;

	caps_apply(acc, change, &part);
	if (part.warning != NULL &&
		(verdict->warning == NULL || action_strength(part.warning) > action_strength(verdict->warning)))
		verdict->warning = part.warning;
}

/*
 * caps_apply_models does what caps_apply does where lines of several models
 * spend. Models without caps of their own count together.
 */
void
caps_apply_models(const Account *acc, const CapChange *change, const EntryModels *models, CapVerdict *verdict)
{
	CapChange	rest = *change;
	bool	   *capped;

	if (acc->caps == 0)
	{
		caps_apply(acc, change, verdict);
		return;
	}
	capped = models_capped(acc, models);
	verdict->warning = NULL;
	rest.model = NULL;
	for (int i = 0; i < models->n; i++)
		rest.spent -= capped[i] ? models->spend[i] : 0;
	caps_apply_part(acc, &rest, verdict);
	for (int i = 0; i < models->n; i++)
	{
		CapChange	part = {.model = models->models[i], .spent = models->spend[i], .actor = change->actor};

		if (capped[i])
			caps_apply_part(acc, &part, verdict);
	}
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
		return member_admit(acc, change->actor, change->spent, change->held);
	return acc->caps == 0 || caps_move(&caps_admit_query, acc, change, verdict) || !caps_would_deny(acc, change, false);
}

/*
 * cap_exceeded keeps the reason of a rejection by a cap: what was needed, the
 * cap, what counts against it, and when that is 0 again.
 */
void
cap_exceeded(Money needed, const char *cap, Money limit, Spend counted, TimestampTz resets_at)
{
	(void) rejection_because(CAP_REACHED, "Needed: %s; %s: %s; spent and held: %s; it resets at %s.", money_to_cstring(needed),
							 cap, money_to_cstring(limit), spend_to_cstring(counted), timestamptz_to_str(resets_at));
}

/*
 * Keep the reason of a rejection by the cap that caps_deny_query found.
 */
static void
cap_explain(const Account *acc, Money needed)
{
	char	   *cap_type = row_text(0, 1);
	char	   *model = row_text(0, 2);
	bool		daily = strcmp(cap_type, "daily") == 0;
	DateADT		next = daily ? period_day(acc->now) + 1 : period_next_month(period_month(acc->now));
	char	   *cap = model[0] == '\0' ? psprintf("%s cap", cap_type) : psprintf("%s cap of model \"%s\"", cap_type, model);

	cap_exceeded(needed, cap, row_money(0, 3), row_spend(0, 4), period_start(next));
}

/*
 * caps_would_deny tells whether a change would exceed a deny cap: of a locked
 * account, or in the snapshot of the calling statement. It keeps the reason.
 */
bool
caps_would_deny(const Account *acc, const CapChange *change, bool read_only)
{
	QueryArgs	args = {0};
	Money		amount = change->spent + change->held;
	uint64		found;

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
	args_moved(&args, acc, read_only);
	found = read_only ? query_read(&caps_deny_query, &args) : query_run(&caps_deny_query, &args, SPI_OK_SELECT);
	if (found > 0)
		cap_explain(acc, amount);
	return found > 0;
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
 * caps_refund_models does what caps_refund does where the debit was of lines,
 * after as much was refunded of it before: their models get it back in their
 * order.
 */
void
caps_refund_models(const Account *acc, const CapChange *refunded, const EntryModels *models, Money before,
				   TimestampTz debited_at)
{
	Money		position = 0;

	for (int i = 0; i < models->n; i++)
	{
		Money		end = position + models->spend[i];
		CapChange	part = *refunded;

		part.model = models->models[i];
		part.spent = Min(end, before + refunded->spent) - Max(position, before);
		if (part.spent > 0)
			caps_refund(acc, &part, debited_at);
		position = end;
	}
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

/*
 * caps_make makes the counters of a locked account's caps anew whose window is
 * not that of the clock.
 */
void
caps_make(const Account *acc)
{
	QueryArgs	args = {0};

	args_period(&args, &acc->id, acc->now);
	args_int8(&args, windows_before(acc, false));
	query_run(&caps_make_query, &args, SPI_OK_UPDATE);
}
