/*
 * capmake.c
 *		What the counters of spend caps are made of where nobody has counted:
 *		the ledger, the open reservations, and the caps that a plan has. It reads
 *		only.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/capmake.h"
#include "account/ledger.h"
#include "base/query.h"

/* What was spent by an entry l on a model, or on all when that is empty. */
#define ENTRY_SPENT(l, model) \
	"CASE WHEN " model " = '' OR " l ".models IS NULL THEN -" l ".amount ELSE" \
	" (SELECT m.spend FROM unnest(" l ".models, " l ".model_spend) AS m(model, spend) WHERE m.model = " model ") END"

/* What r.refunded, all that was refunded of an entry, gives back of that: its lines' models get it back in their order. */
#define ENTRY_REFUNDED(r, model) \
	"CASE WHEN " model " = '' OR " r ".models IS NULL THEN " r ".refunded ELSE" \
	" (SELECT least(greatest(" r ".refunded - m.before, 0.0000), m.spend) FROM (SELECT u.model, u.spend," \
	"   sum(u.spend) OVER (ORDER BY u.n) - u.spend AS before" \
	"   FROM unnest(" r ".models, " r ".model_spend) WITH ORDINALITY AS u(model, spend, n)) m WHERE m.model = " model ") END"

/* Whether an entry l may have spent on a model, which is empty for all. */
#define IS_OF_MODEL(l, model)	"(" model " = '' OR " l ".model = " model " OR " l ".models IS NOT NULL)"

/*
 * What the ledger says was spent from $3 until $5, less what was refunded of it,
 * by buckets of the width $6 before the time $4; what was spent from then on is
 * in bucket 0. No entry up to the seq $7 counts. An entry is grouped by all that
 * is read of it, as its key alone does not do on a cluster.
 */
static KeptQuery cap_said_query = {
	.sql = "SELECT CASE WHEN s.at >= $4 THEN 0"
	"  ELSE ((extract(epoch FROM $4 - s.at) * 1000000)::bigint + $6 - 1) / $6 END::integer, coalesce(sum(s.spent), 0.0000)"
	" FROM (SELECT l.effective_at AS at, " ENTRY_SPENT("l", "$2") " AS spent FROM ducto.ledger l"
	"   WHERE l.account_id = $1 AND l.seq > $7 AND l.type = 'usage' AND " IS_OF_MODEL("l", "$2")
	"  UNION ALL SELECT r.at, -" ENTRY_REFUNDED("r", "$2") " FROM ("
	"   SELECT d.effective_at AS at, d.models, d.model_spend, sum(f.amount) AS refunded FROM ducto.ledger f"
	"    JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = $1"
	"    WHERE f.account_id = $1 AND f.seq > $7 AND f.type = 'refund' AND " IS_OF_MODEL("d", "$2")
	"    GROUP BY d.account_id, d.seq, d.effective_at, d.models, d.model_spend) r) s"
	" WHERE s.at >= $3 AND s.at < $5 GROUP BY 1",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, INT8OID}
};

enum
{
	SAID_BUCKET = 1, SAID_SPENT
};

/* The first spend or hold after one time and no later than another. */
static KeptQuery session_query = {
	.sql = "SELECT coalesce(least((SELECT min(l.effective_at) FROM ducto.ledger l WHERE l.account_id = $1 AND l.seq > $5"
	"  AND l.type = 'usage' AND l.effective_at > $3 AND l.effective_at <= $4 AND " IS_OF_MODEL("l", "$2")
	"  AND " ENTRY_SPENT("l", "$2") " > 0),"
	" (SELECT min(r.created_at) FROM ducto.reservations r WHERE r.account_id = $1 AND r.state = 'open' AND r.expires_at > $6"
	"  AND r.cap_held > 0 AND r.created_at > $3 AND r.created_at <= $4 AND ($2 = '' OR r.model = $2))), '-infinity')",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
};

static KeptQuery cap_held_query = {
	.sql = "SELECT coalesce(sum(cap_held), 0.0000) FROM ducto.reservations"
	" WHERE account_id = $1 AND state = 'open' AND expires_at > $3 AND ($2 = '' OR model = $2)",
	.types = {UUIDOID, TEXTOID, TIMESTAMPTZOID}
};

/* What holds that are past their time, but count still, hold: by model, and empty for all. */
static KeptQuery caps_due_query = {
	.sql = CAPS_DUE,
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery plan_caps_query = {
	.sql = "SELECT p.caps_version, c.cap_type, coalesce(c.model, ''), round(c.cap_limit, 4), coalesce(c.action, 'deny'),"
	" c.window_length FROM ducto.plans p LEFT JOIN LATERAL jsonb_to_recordset("
	"  CASE WHEN jsonb_typeof(p.caps) = 'array' THEN p.caps ELSE '[]' END)"
	"  AS c (cap_type text, model text, cap_limit numeric, action text, window_length interval) ON true WHERE p.id = $1",
	.types = {TEXTOID}
};

enum
{
	PLAN_VERSION = 1, PLAN_CAP_TYPE, PLAN_CAP_MODEL, PLAN_CAP_LIMIT, PLAN_CAP_ACTION, PLAN_CAP_LENGTH
};

/*
 * Execute a query.
 */
static uint64
make_query(KeptQuery *query, QueryArgs *args, bool read_only)
{
	return read_only ? query_read(query, args) : query_run(query, args, SPI_OK_SELECT);
}

/*
 * Return the last seq of an account of which no entry took effect at a time or
 * later: created_at is never before effective_at.
 */
static int64
seq_before(const Account *acc, TimestampTz at, bool read_only)
{
	if (TIMESTAMP_IS_NOBEGIN(at))
		return 0;
	return ledger_seq_before(&acc->id, acc->last_seq, at, false, false, read_only);
}

/*
 * Return until when holds of an account that are open have ended, booked or
 * not.
 */
static TimestampTz
holds_end_until(const Account *acc)
{
	return Max(acc->now, acc->ended_until);
}

/*
 * Let the window of a session cap be that of the clock: one that opened with
 * the first spend or hold in the length of it, after the last one that is known.
 * Where there is none, the last one is over by now: what was spent opens none
 * later, whatever length the cap is given.
 */
static void
session_make(const Account *acc, Cap *cap, bool read_only)
{
	TimestampTz after = acc->now - cap_length(cap);
	QueryArgs	args = {0};

	if (cap->until > acc->now)
		cap->until = DT_NOBEGIN;
	else if (!TIMESTAMP_IS_NOBEGIN(cap->until))
		after = Max(after, cap->until - 1);
	args_uuid(&args, &acc->id);
	args_text(&args, cap->model);
	args_time(&args, after);
	args_time(&args, acc->now);
	args_int8(&args, seq_before(acc, after, read_only));
	args_time(&args, holds_end_until(acc));
	make_query(&session_query, &args, read_only);
	cap->from = row_time(0, 1);
	if (TIMESTAMP_IS_NOBEGIN(cap->from))
		cap->from = cap->until = acc->now;
	else
		cap->until = cap->from + cap_length(cap);
}

/*
 * cap_make lets a cap count in the window of the clock what the ledger says was
 * spent in it.
 */
void
cap_make(const Account *acc, Cap *cap, bool read_only)
{
	QueryArgs	args = {0};
	uint64		n;

	if (cap->kind == CAP_SESSION)
		session_make(acc, cap, read_only);
	else
		cap_window_at(acc, cap, acc->now);
	args_uuid(&args, &acc->id);
	args_text(&args, cap->model);
	args_time(&args, cap_counts_from(cap));
	args_time(&args, cap->from);
	args_time(&args, cap->until);
	args_int8(&args, cap->kind == CAP_SLIDING ? cap_bucket_width(cap) : 1);
	args_int8(&args, seq_before(acc, cap_counts_from(cap), read_only));
	n = make_query(&cap_said_query, &args, read_only);

	cap->spent = 0;
	cap_make_buckets(cap);
	for (uint64 i = 0; i < n; i++)
	{
		int			bucket = row_int4(i, SAID_BUCKET);
		Spend		spent = row_spend(i, SAID_SPENT);

		Assert(bucket >= 0 && bucket <= CAP_BUCKETS);
		cap->spent += spent;
		if (bucket == 0)
			continue;
		cap->buckets[bucket - 1] = spent;
		cap->nbuckets = Max(cap->nbuckets, bucket);
	}
}

/*
 * cap_make_held lets a cap count what open reservations hold.
 */
void
cap_make_held(const Account *acc, Cap *cap, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_text(&args, cap->model);
	args_time(&args, holds_end_until(acc));
	make_query(&cap_held_query, &args, read_only);
	cap->held = row_spend(0, 1);
}

/*
 * caps_subtract_due takes out of caps, in the snapshot of the calling
 * statement, what holds hold that are past their time and count in them still.
 */
void
caps_subtract_due(const Account *acc, CapList *list)
{
	QueryArgs	args = {0};
	uint64		n;

	if (acc->next_boundary > acc->now || list->n == 0)
		return;
	args_uuid(&args, &acc->id);
	args_time(&args, acc->ended_until);
	args_time(&args, acc->now);
	n = query_read(&caps_due_query, &args);
	for (uint64 i = 0; i < n; i++)
		for (int j = 0; j < list->n; j++)
			if (strcmp(list->caps[j].model, row_text(i, CAPS_DUE_MODEL + 1)) == 0)
				list->caps[j].held -= row_spend(i, CAPS_DUE_HELD + 1);
}

/*
 * cap_edit lets a cap that was brought to the clock have other terms. What it
 * has counted stays, as far as it is in a window of another length.
 */
void
cap_edit(const Account *acc, Cap *cap, const Cap *terms, bool read_only)
{
	int64		before = cap_has_length(cap->kind) ? cap_length(cap) : 0;

	cap->limit = terms->limit;
	cap->action = terms->action;
	cap->of_plan = terms->of_plan;
	cap->window_length = terms->window_length;
	if (before == 0 || cap_length(cap) == before)
		return;
	if (cap->kind == CAP_SLIDING)
		cap_make(acc, cap, read_only);
	else if (session_is_open(acc, cap))
	{
		cap->until = cap->from + cap_length(cap);
		if (cap->until <= acc->now)
			cap_make(acc, cap, read_only);
	}
}

/*
 * plan_caps reads the caps that a plan, NULL for none, has for everybody on it,
 * and returns their version.
 */
int64
plan_caps(const char *plan_id, bool read_only, CapList *list)
{
	QueryArgs	args = {0};
	uint64		n;

	list->n = 0;
	list->caps = NULL;
	if (plan_id == NULL)
		return 0;
	args_text(&args, plan_id);
	n = make_query(&plan_caps_query, &args, read_only);
	list->caps = palloc0(sizeof(Cap) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		Cap		   *cap = &list->caps[list->n];

		if (row_is_null(i, PLAN_CAP_TYPE))
			continue;
		cap->kind = (CapKind) row_word(i, PLAN_CAP_TYPE, cap_kinds);
		cap->model = row_text(i, PLAN_CAP_MODEL);
		cap->limit = row_money(i, PLAN_CAP_LIMIT);
		cap->action = (CapAction) row_word(i, PLAN_CAP_ACTION, cap_actions);
		cap->of_plan = true;
		cap->window_length = row_interval(i, PLAN_CAP_LENGTH);
		list->n++;
	}
	return n > 0 ? row_int8(0, PLAN_VERSION) : 0;
}
