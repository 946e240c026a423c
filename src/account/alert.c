/*
 * alert.c
 *		The table alerts: the lines of an account, its auto top-up, and what of
 *		them was told.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/alert.h"
#include "account/claim.h"
#include "account/event.h"
#include "base/uuid.h"

/* The caller has the account's lock. The lists are read as of these types, whatever the columns have become. */
static KeptQuery own_query = {
	.sql = "SELECT balance::numeric[], allowance_percent::integer[], cap_percent::integer[], expiring_days, topup_below,"
	" topup_amount, topup_max_per_month, topup_due_key, coalesce(topup_month, '-infinity'), topup_count, told"
	" FROM ducto.alerts WHERE account_id = $1",
	.types = {UUIDOID}
};

enum
{
	ALERTS_BALANCE = 1, ALERTS_ALLOWANCE, ALERTS_CAP, ALERTS_DAYS, ALERTS_BELOW, ALERTS_AMOUNT, ALERTS_MAX_PER_MONTH,
	ALERTS_DUE_KEY, ALERTS_MONTH, ALERTS_COUNT, ALERTS_TOLD
};

/* What is written of them after the account, as value.h has it; the month of the top-ups comes last. */
#define ALERTS_FIELDS(FIELD) \
	FIELD(2, balance, numerics) \
	FIELD(3, allowance_percent, integers) \
	FIELD(4, cap_percent, integers) \
	FIELD(5, expiring_days, int4) \
	FIELD(6, topup_below, money) \
	FIELD(7, topup_amount, money) \
	FIELD(8, topup_max_per_month, int4) \
	FIELD(9, topup_due_key, text) \
	FIELD(10, topup_count, int4) \
	FIELD(11, told, bool)
#define COLUMN_EXCLUDED(n, column, ...)	", " #column " = excluded." #column

/* The caller has the account's lock. */
static KeptQuery save_query = {
	.sql = "INSERT INTO ducto.alerts (account_id" ALERTS_FIELDS(COLUMN_NAME) ", topup_month)"
	" VALUES ($1" ALERTS_FIELDS(COLUMN_PARAM) ", nullif($12, '-infinity'))"
	" ON CONFLICT (account_id) DO UPDATE SET topup_month = excluded.topup_month" ALERTS_FIELDS(COLUMN_EXCLUDED),
	.types = {UUIDOID, ALERTS_FIELDS(COLUMN_TYPE) DATEOID}
};

/* As this where there is a row. */
static KeptQuery save_again_query = {
	.sql = "UPDATE ducto.alerts SET topup_month = nullif($12, '-infinity')" ALERTS_FIELDS(COLUMN_SET) " WHERE account_id = $1",
	.types = {UUIDOID, ALERTS_FIELDS(COLUMN_TYPE) DATEOID}
};

/* The caller has the account's lock. */
static KeptQuery forget_due_query = {
	.sql = "UPDATE ducto.alerts SET topup_due_key = NULL WHERE account_id = $1 AND topup_due_key = $2",
	.types = {UUIDOID, TEXTOID}
};

/*
 * The accounts with grants that expire within the days that are said for them,
 * and are not told of, in the order of their ids. The index grants_due has those
 * of the most days that anybody is told of.
 */
static KeptQuery expiring_query = {
	.sql = "WITH pricing AS (SELECT (SELECT (config -> 'alerts' ->> 'expiring_days')::integer FROM ducto.pricing WHERE active)"
	"  AS days)"
	" SELECT DISTINCT g.account_id FROM ducto.grants g JOIN ducto.accounts a ON a.id = g.account_id"
	" LEFT JOIN ducto.alerts t ON t.account_id = g.account_id LEFT JOIN ducto.plans p ON p.id = a.plan_id, pricing"
	" WHERE g.live AND g.expires_at AT TIME ZONE 'UTC' > $1 AT TIME ZONE 'UTC'"
	" AND g.expires_at AT TIME ZONE 'UTC' <= $1 AT TIME ZONE 'UTC' + interval '24 hours' * greatest((SELECT days FROM pricing),"
	"  (SELECT max((alerts ->> 'expiring_days')::integer) FROM ducto.plans), (SELECT max(expiring_days) FROM ducto.alerts), 0)"
	" AND g.expires_at <= $1 + interval '24 hours' *"
	"  coalesce(t.expiring_days, (p.alerts ->> 'expiring_days')::integer, pricing.days, 0)"
	" AND (g.created_at <= t.expiring_at AND g.expires_at <= t.expiring_until) IS NOT TRUE ORDER BY g.account_id",
	.types = {TIMESTAMPTZOID},
	.whole = true
};

/* The caller has the account's lock. */
static KeptQuery expiring_grants_query = {
	.sql = "SELECT g.id, g.type, g.remaining, g.expires_at FROM ducto.grants g"
	" LEFT JOIN ducto.alerts t ON t.account_id = g.account_id WHERE g.account_id = $1 AND g.live AND g.expires_at > $2"
	" AND g.expires_at <= greatest($3, t.expiring_until)"
	" AND (g.created_at <= t.expiring_at AND g.expires_at <= t.expiring_until) IS NOT TRUE ORDER BY g.expires_at, g.seq",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

enum
{
	EXPIRING_ID = 1, EXPIRING_TYPE, EXPIRING_REMAINING, EXPIRING_AT
};

/* The caller has the account's lock. */
static KeptQuery expiring_told_query = {
	.sql = "INSERT INTO ducto.alerts AS a (account_id, expiring_at, expiring_until) VALUES ($1, $2, $3) ON CONFLICT (account_id)"
	" DO UPDATE SET expiring_at = $2, expiring_until = greatest(a.expiring_until, $3)",
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the account's lock, here too. */
static KeptQuery cap_told_query = {
	.sql = "SELECT (caps_told -> $2 ->> 'percent')::integer FROM ducto.alerts WHERE account_id = $1"
	" AND (caps_told -> $2 ->> 'window')::timestamptz = $3",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

static KeptQuery tell_cap_query = {
	.sql = "INSERT INTO ducto.alerts AS a (account_id, caps_told)"
	" VALUES ($1, jsonb_build_object($2, jsonb_build_object('window', $3, 'percent', $4))) ON CONFLICT (account_id)"
	" DO UPDATE SET caps_told = a.caps_told || excluded.caps_told",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, INT4OID}
};

/*
 * Take a list of the row of own_query apart, and tell how many lines it has.
 * False: it is NULL.
 */
static bool
row_lines(int column, Oid type, Datum **lines, int *n)
{
	if (row_is_null(0, column))
		return false;
	if (type == INT4OID)
		deconstruct_array(DatumGetArrayTypeP(row_datum(0, column)), INT4OID, sizeof(int32), true, TYPALIGN_INT, lines, NULL, n);
	else
		deconstruct_array(DatumGetArrayTypeP(row_datum(0, column)), NUMERICOID, -1, false, TYPALIGN_INT, lines, NULL, n);
	*n = Min(*n, MAX_LINES);
	return true;
}

/*
 * Read a list of percentages of the row of own_query. False: it is NULL.
 */
static bool
row_percent(int column, int *percent, int *n)
{
	Datum	   *values;
	bool		there = row_lines(column, INT4OID, &values, n);

	for (int i = 0; i < *n; i++)
		percent[i] = DatumGetInt32(values[i]);
	return there;
}

/*
 * Read the lines of the row of own_query into lines that are all zeros.
 */
static void
lines_from_row(Lines *lines)
{
	Datum	   *values;

	lines->has_balance = row_lines(ALERTS_BALANCE, NUMERICOID, &values, &lines->nbalance);
	for (int i = 0; i < lines->nbalance; i++)
		lines->balance[i] = money_from_datum(values[i]);
	lines->has_allowance = row_percent(ALERTS_ALLOWANCE, lines->allowance, &lines->nallowance);
	lines->has_cap = row_percent(ALERTS_CAP, lines->cap, &lines->ncap);
	lines->has_days = !row_is_null(0, ALERTS_DAYS);
	lines->days = lines->has_days ? row_int4(0, ALERTS_DAYS) : 0;
	lines_order(lines);
}

/*
 * alerts_load reads what a locked account says itself; all zeros for nothing.
 */
void
alerts_load(Account *acc, OwnAlerts *own)
{
	Topup	   *topup = &own->topup;
	QueryArgs	args = {0};

	memset(own, 0, sizeof(OwnAlerts));
	topup->month = DATEVAL_NOBEGIN;
	args_uuid(&args, &acc->id);
	if (query_run(&own_query, &args, SPI_OK_SELECT) == 0)
		return;
	lines_from_row(&own->lines);
	topup->on = !row_is_null(0, ALERTS_AMOUNT);
	topup->below = row_money(0, ALERTS_BELOW);
	topup->amount = row_money(0, ALERTS_AMOUNT);
	topup->max_per_month = row_is_null(0, ALERTS_MAX_PER_MONTH) ? 0 : row_int4(0, ALERTS_MAX_PER_MONTH);
	topup->due_key = row_text(0, ALERTS_DUE_KEY);
	topup->month = DatumGetDateADT(row_datum(0, ALERTS_MONTH));
	topup->count = row_int4(0, ALERTS_COUNT);
	own->told = row_bool(0, ALERTS_TOLD);
	own->exist = true;
}

/*
 * alerts_save writes what a locked account says itself. The account's row is
 * for the caller to write.
 */
void
alerts_save(Account *acc, const OwnAlerts *own)
{
	const Lines *lines = &own->lines;
	const Topup *topup = &own->topup;
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	if (lines->has_balance)
		args_money_array(&args, lines->balance, lines->nbalance);
	else
		args_null(&args);
	if (lines->has_allowance)
		args_int4_array(&args, lines->allowance, lines->nallowance);
	else
		args_null(&args);
	if (lines->has_cap)
		args_int4_array(&args, lines->cap, lines->ncap);
	else
		args_null(&args);
	if (lines->has_days)
		args_int4(&args, lines->days);
	else
		args_null(&args);
	if (topup->on)
	{
		args_money(&args, topup->below);
		args_money(&args, topup->amount);
	}
	else
	{
		args_null(&args);
		args_null(&args);
	}
	if (topup->on && topup->max_per_month > 0)
		args_int4(&args, topup->max_per_month);
	else
		args_null(&args);
	args_text(&args, topup->due_key);
	args_int4(&args, topup->count);
	args_bool(&args, own->told);
	args_datum(&args, DateADTGetDatum(topup->month));
	if ((own->exist ? query_run(&save_again_query, &args, SPI_OK_UPDATE) : query_run(&save_query, &args, SPI_OK_INSERT)) != 1)
		row_missing("alerts");
	acc->lines_changed = true;
}

/*
 * topup_withdraw ends a top-up that is due on a locked account without one:
 * its event is not told any more. The caller saves what the account says.
 */
void
topup_withdraw(const Account *acc, Topup *topup)
{
	Datum		id;

	if (topup->due_key == NULL)
		return;
	id = DirectFunctionCall1(uuid_in, CStringGetDatum(topup->due_key + strlen(TOPUP_KEY)));
	event_withdraw(acc, DatumGetUUIDP(id));
	topup->due_key = NULL;
}

/*
 * alerts_lines returns the lines of a locked account: its own, else those of its
 * plan, else those of the active pricing.
 */
void
alerts_lines(Account *acc, OwnAlerts *own, Lines *lines)
{
	Lines		plan;

	alerts_load(acc, own);
	*lines = own->lines;
	if (acc->plan.alerts != NULL)
	{
		lines_from_json(&acc->plan.alerts->root, &plan);
		lines_inherit(lines, &plan);
	}
	lines_inherit(lines, lines_of_pricing());
}

/*
 * alerts_cap_told returns the percentage of a cap, by its key, that was told of
 * last in a window; 0 for none.
 */
int
alerts_cap_told(const Account *acc, const char *key, TimestampTz window)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_text(&args, key);
	args_time(&args, window);
	return query_run(&cap_told_query, &args, SPI_OK_SELECT) > 0 ? row_int4(0, 1) : 0;
}

/*
 * alerts_tell_cap keeps the percentage of a cap that was told of in a window.
 */
void
alerts_tell_cap(const Account *acc, const char *key, TimestampTz window, int percent)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_text(&args, key);
	args_time(&args, window);
	args_int4(&args, percent);
	if (query_run(&tell_cap_query, &args, SPI_OK_INSERT) != 1)
		row_missing("alerts");
}

/*
 * alerts_added ends a top-up that is due on a locked account, where credits were
 * added with its key. The account's row is for the caller to write.
 */
void
alerts_added(Account *acc, const char *key)
{
	QueryArgs	args = {0};

	if (key == NULL || strncmp(key, TOPUP_KEY, strlen(TOPUP_KEY)) != 0)
		return;
	args_uuid(&args, &acc->id);
	args_text(&args, key);
	if (query_run(&forget_due_query, &args, SPI_OK_UPDATE) > 0)
		acc->lines_changed = true;
}

/*
 * alerts_expiring finds the accounts with credit that expires soon and is not
 * told of. They are the last result; it returns how many there are.
 */
uint64
alerts_expiring(TimestampTz now)
{
	QueryArgs	args = {0};

	args_time(&args, now);
	return query_run(&expiring_query, &args, SPI_OK_SELECT);
}

/*
 * alerts_tell_expiring tells of the credit of a locked account that expires
 * soon: of each grant once.
 */
void
alerts_tell_expiring(Account *acc)
{
	QueryArgs	args = {0};
	QueryArgs	told = {0};
	OwnAlerts	own;
	Lines		lines;
	TimestampTz until;
	uint64		n;

	alerts_lines(acc, &own, &lines);
	if (lines.days == 0)
		return;
	until = acc->now + lines.days * USECS_PER_DAY;
	args_uuid(&args, &acc->id);
	args_time(&args, acc->now);
	args_time(&args, until);
	n = query_run(&expiring_grants_query, &args, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		pg_uuid_t	grant = row_uuid(i, EXPIRING_ID);
		JsonOut		payload;

		event_begin(&payload);
		event_uuid(&payload, "grant_id", &grant);
		event_text(&payload, "type", row_text(i, EXPIRING_TYPE));
		event_money(&payload, "remaining", row_money(i, EXPIRING_REMAINING));
		event_time(&payload, "expires_at", row_time(i, EXPIRING_AT));
		event_add(acc, NULL, EVENT_GRANT_EXPIRING, &payload);
	}
	args_uuid(&told, &acc->id);
	args_time(&told, acc->now);
	args_time(&told, until);
	if (query_run(&expiring_told_query, &told, SPI_OK_INSERT) != 1)
		row_missing("alerts");
	account_tell(acc);
}
