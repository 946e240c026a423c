/*
 * alert.c
 *		The table alerts: the lines of an account and its auto top-up. When its
 *		row is written, they decide what there is to tell, and which figure the
 *		balance has to fall below for the next time.
 */
#include "postgres.h"

#include "account/alert.h"
#include "account/capalert.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/funds.h"
#include "base/period.h"
#include "base/uuid.h"
#include "base/uuidv7.h"

/* What the key of a top-up begins with; the event's id follows. */
#define TOPUP_KEY	"topup:"

/* A balance below it is exhausted: 1/10000 credits. */
#define EXHAUSTED_BELOW	1

/* The caller has the account's lock. */
static KeptQuery own_query = {
	.sql = "SELECT jsonb_strip_nulls(jsonb_build_object('balance', balance, 'allowance_percent', allowance_percent,"
	" 'cap_percent', cap_percent, 'expiring_days', expiring_days)), topup_below, topup_amount, topup_max_per_month,"
	" topup_due_key, coalesce(topup_month, '-infinity'), topup_count, told FROM ducto.alerts WHERE account_id = $1",
	.types = {UUIDOID}
};

enum
{
	ALERTS_LINES = 1, ALERTS_BELOW, ALERTS_AMOUNT, ALERTS_MAX_PER_MONTH, ALERTS_DUE_KEY, ALERTS_MONTH, ALERTS_COUNT, ALERTS_TOLD
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

/* The caller has the account's lock: a row that this does not find is there for nobody, */
static KeptQuery number_query = {
	.sql = "UPDATE ducto.alerts SET last_event = last_event + $2 WHERE account_id = $1 RETURNING last_event - $2",
	.types = {UUIDOID, INT8OID}
};

/* and this makes it, or fails where the transaction's snapshot does not see it. */
static KeptQuery first_number_query = {
	.sql = "INSERT INTO ducto.alerts (account_id, last_event) VALUES ($1, $2) ON CONFLICT (account_id) DO NOTHING",
	.types = {UUIDOID, INT8OID}
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
 * Return the mark of the lines that an account has of its plan, or else of the
 * pricing.
 */
static int64
account_mark(const Account *acc)
{
	Lines		lines;

	if (acc->plan.alerts == NULL)
		return lines_pricing_mark();
	lines_from_json(&acc->plan.alerts->root, &lines);
	return lines.has_balance ? lines_mark(&lines) : lines_pricing_mark();
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
	lines_from_json(&row_jsonb(0, ALERTS_LINES)->root, &own->lines);
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
	if (query_run(&save_query, &args, SPI_OK_INSERT) != 1)
		row_missing("alerts");
	acc->lines_changed = true;
}

/*
 * alerts_number gives events of a locked account their numbers, and returns the
 * one before them.
 */
int64
alerts_number(const Account *acc, int n)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, n);
	if (query_run(&number_query, &args, SPI_OK_UPDATE_RETURNING) == 1)
		return row_int8(0, 1);
	if (query_run(&first_number_query, &args, SPI_OK_INSERT) != 1)
		row_missing("alerts");
	return 0;
}

/*
 * Begin the payload of an event that a line was crossed: of a team by whom.
 */
static void
tell_begin(const Account *acc, JsonOut *payload)
{
	event_begin(payload);
	if (acc->has_actor)
		event_uuid(payload, "user_id", &acc->actor);
}

/*
 * Note an event of a balance that crossed a line.
 */
static void
tell_balance(Account *acc, const char *kind, Money line)
{
	JsonOut		payload;

	tell_begin(acc, &payload);
	event_money(&payload, "line", line);
	event_add(acc, NULL, kind, &payload);
}

/*
 * Tell of the lines that a balance has fallen below, the highest first. That of
 * 0 is there wherever there are any. Returns whether there was one.
 */
static bool
watch_falls(Account *acc, const Lines *lines)
{
	Money		before = acc->watched.balance;
	bool		told = false;
	bool		exhausted = before > 0 && acc->balance <= 0;

	for (int i = 0; i <= lines->nbalance; i++)
	{
		bool		over = i == lines->nbalance;
		Money		line = over ? 0 : lines->balance[i];

		if (exhausted && line <= 0)
		{
			tell_balance(acc, EVENT_BALANCE_EXHAUSTED, 0);
			exhausted = false;
			told = true;
		}
		if (!over && before >= line && acc->balance < line)
		{
			tell_balance(acc, EVENT_BALANCE_LOW, line);
			told = true;
		}
	}
	return told;
}

/*
 * Tell that a balance has risen to a line or above it, where one that it fell
 * below was told: of several the highest.
 */
static void
watch_rise(Account *acc, const Lines *lines, const OwnAlerts *own)
{
	const Topup *topup = &own->topup;
	Money		before = acc->watched.balance;
	Money		highest = 0;
	bool		crossed = before <= 0 && acc->balance > 0;

	if (topup->on && before < topup->below && acc->balance >= topup->below)
	{
		highest = topup->below;
		crossed = true;
	}
	for (int i = 0; i < lines->nbalance; i++)
	{
		Money		line = lines->balance[i];

		if (before < line && acc->balance >= line && (!crossed || line > highest))
		{
			highest = line;
			crossed = true;
		}
	}
	if (crossed && own->told)
		tell_balance(acc, EVENT_BALANCE_RECOVERED, highest);
}

/*
 * Tell whether a month has had as many top-ups as it may.
 */
static bool
topup_is_spent(const Topup *topup, DateADT month)
{
	return topup->max_per_month > 0 && topup->month == month && topup->count >= topup->max_per_month;
}

/*
 * Tell that a top-up is due, unless one is, or the month has had its number.
 */
static bool
watch_topup(Account *acc, OwnAlerts *own)
{
	Topup	   *topup = &own->topup;
	DateADT		month = period_month(acc->now);
	JsonOut		payload;
	pg_uuid_t	id;

	if (!topup->on || topup->due_key != NULL || acc->balance >= topup->below || topup_is_spent(topup, month))
		return false;
	uuidv7_make(&id, acc->now);
	topup->due_key = psprintf(TOPUP_KEY "%s", uuid_to_cstring(&id));
	topup->count = topup->month == month ? topup->count + 1 : 1;
	topup->month = month;
	tell_begin(acc, &payload);
	event_money(&payload, "line", topup->below);
	event_money(&payload, "amount", topup->amount);
	event_text(&payload, "idempotency_key", topup->due_key);
	event_add(acc, &id, EVENT_TOPUP_DUE, &payload);
	return true;
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
 * Return the figure that the balance of an account has to fall below for
 * something to be told, the highest of several. An auto top-up that waits for
 * the next month is looked at with each operation.
 */
static Money
next_line(const Account *acc, const Lines *lines, const OwnAlerts *own)
{
	const Topup *topup = &own->topup;
	Money		next = own->exist || lines->has_balance ? NO_LINE : NO_ALERTS;

	if (topup->on && topup->due_key == NULL)
		next = topup->below;
	if ((lines->has_balance || topup->on) && acc->balance > 0)
		next = Max(next, EXHAUSTED_BELOW);
	for (int i = 0; i < lines->nbalance; i++)
		if (lines->balance[i] <= acc->balance)
			return Max(next, lines->balance[i]);
	return next;
}

/*
 * Tell whether a balance is below any line.
 */
static bool
is_below_any(const Account *acc, const Lines *lines, const Topup *topup)
{
	if (!lines->has_balance && !topup->on)
		return false;
	return acc->balance <= 0 || (lines->nbalance > 0 && acc->balance < lines->balance[0]) ||
		(topup->on && acc->balance < topup->below);
}

/*
 * Look at the balance of a locked account.
 */
static void
watch_balance(Account *acc, Lines *lines, OwnAlerts *own)
{
	bool		told = false;
	bool		topup_told = false;

	lines->has_balance |= own->topup.on;
	if (lines->has_balance)
	{
		told = watch_falls(acc, lines);
		topup_told = watch_topup(acc, own);
		watch_rise(acc, lines, own);
		told |= topup_told;
	}
	told = (own->told || told) && is_below_any(acc, lines, &own->topup);
	if (told != own->told || topup_told)
	{
		own->told = told;
		alerts_save(acc, own);
	}
	acc->alert_below = next_line(acc, lines, own);
}

/*
 * Return what of the allowance was used in the month of the operation when the
 * account was looked at last.
 */
static Spend
watched_allowance(Account *acc)
{
	Period		cycle = acc->cycle;
	Spend		used = acc->allowance_used;
	Spend		before;

	acc->cycle = acc->watched.cycle;
	acc->allowance_used = acc->watched.allowance_used;
	before = allowance_used(acc, acc->now);
	acc->cycle = cycle;
	acc->allowance_used = used;
	return before;
}

/*
 * percent_of returns the least amount that is a percentage of an amount or more.
 */
Money
percent_of(Money amount, int percent)
{
	return amount / 100 * percent + (amount % 100 * percent + 99) / 100;
}

/*
 * Tell which parts of the month's allowance an operation has reached.
 */
static void
watch_allowance(Account *acc, const Lines *lines)
{
	Money		allowance = acc->plan.free_allowance;
	Spend		before = watched_allowance(acc);
	Spend		used = allowance_used(acc, acc->now);
	JsonOut		payload;

	for (int i = 0; i < lines->nallowance; i++)
	{
		Money		line = percent_of(allowance, lines->allowance[i]);

		if (before >= line || used < line)
			continue;
		tell_begin(acc, &payload);
		event_int(&payload, "percent", lines->allowance[i]);
		event_text(&payload, "plan_id", acc->plan.id);
		event_money(&payload, "allowance", allowance);
		event_money(&payload, "used", (Money) Min(used, MONEY_MAX));
		event_add(acc, NULL, EVENT_ALLOWANCE_USED, &payload);
	}
}

/*
 * Tell whether the balance of a locked account, or its lines, have to be looked
 * at. As long as the balance neither rises nor falls below a line, and the lines
 * are the same, it needs not know them.
 */
static bool
balance_matters(const Account *acc, int64 mark)
{
	if (mark != acc->alert_mark || acc->lines_changed || acc->balance < acc->alert_below)
		return true;
	return acc->alert_below != NO_ALERTS && acc->balance > acc->watched.balance;
}

/*
 * Tell whether more of the allowance of a locked account is used, where
 * somebody may be told of it.
 */
static bool
allowance_matters(const Account *acc)
{
	if (acc->plan.free_allowance == 0 || acc->allowance_used == acc->watched.allowance_used)
		return false;
	return acc->alert_below != NO_ALERTS || acc->plan.alerts != NULL || lines_of_pricing()->nallowance > 0;
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
 * Tell whether a locked account has spent, where it has caps and somebody may be
 * told of them.
 */
static bool
caps_matter(const Account *acc)
{
	if (acc->caps == 0 || acc->balance >= acc->watched.balance)
		return false;
	return acc->alert_below != NO_ALERTS || acc->plan.alerts != NULL || lines_of_pricing()->ncap > 0;
}

/*
 * alerts_watch looks what there is to tell of a locked account whose row is to
 * be written, and finds below which figure its balance is to be told next.
 */
void
alerts_watch(Account *acc)
{
	int64		mark = account_mark(acc);
	bool		balance = balance_matters(acc, mark);
	bool		allowance = allowance_matters(acc);
	bool		caps = caps_matter(acc);
	OwnAlerts	own;
	Lines		lines;

	if (balance || allowance || caps)
		alerts_lines(acc, &own, &lines);
	if (caps && lines.ncap > 0)
		caps_watch(acc, &lines);
	if (allowance)
		watch_allowance(acc, &lines);
	if (balance)
		watch_balance(acc, &lines, &own);
	acc->alert_mark = mark;
	acc->lines_changed = false;
	acc->watched.balance = acc->balance;
	acc->watched.cycle = acc->cycle;
	acc->watched.allowance_used = acc->allowance_used;
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
	events_write(acc);
}
