/*
 * verify.c
 *		The auditor: proves the invariants of design and names what breaks them.
 */
#include "postgres.h"

#include "query.h"
#include "xact.h"

PG_FUNCTION_INFO_V1(ducto_verify);

/* A check that two figures of each account agree. */
#define DIFFER(name, expected, actual, source) \
	" SELECT account_id, '" name "', (" expected ")::text, (" actual ")::text FROM " source \
	" WHERE (" expected ") IS DISTINCT FROM (" actual ")"

/* Entries with the one before. */
#define CHAIN(mine) \
	"(SELECT account_id, seq, balance_after, amount, created_at, effective_at," \
	" coalesce(lag(balance_after) OVER w, 0) AS balance_before," \
	" coalesce(lag(seq) OVER w, 0) AS seq_before," \
	" coalesce(lag(created_at) OVER w, '-infinity') AS created_before," \
	" coalesce(lag(effective_at) OVER w, '-infinity') AS effective_before" \
	" FROM ducto.ledger WHERE " mine("account_id") " WINDOW w AS (PARTITION BY account_id ORDER BY seq)) c"

/* Accounts with the sum of their ledger; an entry without an account too. */
#define LEDGER_SUMS(mine) \
	"(SELECT coalesce(a.id, l.account_id) AS account_id, a.balance, a.last_seq, a.lifetime_purchased, l.sum, l.last, l.purchased" \
	" FROM (SELECT * FROM ducto.accounts WHERE " mine("id") ") a FULL JOIN (SELECT account_id, sum(amount), max(seq) AS last," \
	" sum(amount) FILTER (WHERE type = 'purchase') AS purchased" \
	" FROM ducto.ledger WHERE " mine("account_id") " GROUP BY account_id) l ON l.account_id = a.id) s"

/* Whether a reservation holds: an open one may have ended, see accounts.ended_until. */
#define HOLDS(r) \
	r ".state = 'open' AND (" r ".expires_at <=" \
	" (SELECT e.ended_until FROM ducto.accounts e WHERE e.id = " r ".account_id)) IS NOT TRUE"

#define HOLD_SUMS(mine) \
	"(SELECT coalesce(a.id, r.account_id) AS account_id, a.held, a.held_from_credits, r.sum, r.skipping" \
	" FROM (SELECT * FROM ducto.accounts WHERE " mine("id") ") a FULL JOIN (SELECT account_id, sum(remaining)," \
	" sum(remaining) FILTER (WHERE skip_allowance) AS skipping FROM ducto.reservations h" \
	" WHERE " HOLDS("h") " AND " mine("account_id") " GROUP BY account_id) r ON r.account_id = a.id) s"

#define GRANT_SUMS(mine) \
	"(SELECT coalesce(a.id, g.account_id) AS account_id, a.expiring, a.balance, g.sum" \
	" FROM (SELECT * FROM ducto.accounts WHERE " mine("id") ") a FULL JOIN (SELECT account_id, sum(remaining)" \
	" FROM ducto.grants WHERE " mine("account_id") " GROUP BY account_id) g ON g.account_id = a.id) s"

/* What the ledger says is left of each grant: added, burned, given back, expired. */
#define GRANT_HISTORY(mine) \
	"(SELECT account_id, id, sum(amount) AS said, sum(remaining) AS remaining FROM (" \
	" SELECT account_id, id, NULL::numeric AS amount, remaining FROM ducto.grants WHERE " mine("account_id") \
	" UNION ALL SELECT account_id, id, greatest(0, least(amount, balance_after)), NULL" \
	"  FROM ducto.ledger WHERE expires_at IS NOT NULL AND " mine("account_id") \
	" UNION ALL SELECT account_id, unnest(burned_grants), unnest(burned_amounts) * CASE type WHEN 'refund' THEN 1 ELSE -1 END, NULL" \
	"  FROM ducto.ledger WHERE burned_grants IS NOT NULL AND " mine("account_id") \
	" UNION ALL SELECT account_id, reference, amount, NULL FROM ducto.ledger WHERE type = 'expiry' AND " mine("account_id") \
	") h GROUP BY account_id, id) g"

#define REFUND_SUMS(mine) \
	"(SELECT r.account_id, r.reference, r.refunded, d.amount AS debit, d.type FROM" \
	" (SELECT account_id, reference, sum(amount) AS refunded FROM ducto.ledger" \
	"  WHERE type = 'refund' AND " mine("account_id") " GROUP BY account_id, reference) r" \
	" LEFT JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id) s"

/* The first time at which something is due, past what is late. */
#define BOUNDARIES(mine) \
	"(SELECT id AS account_id, next_boundary, least(" \
	" (SELECT min(expires_at) FROM ducto.reservations r WHERE r.account_id = a.id AND " HOLDS("r") ")," \
	" (SELECT CASE WHEN min(expires_at) <= a.updated_at THEN '-infinity' ELSE min(expires_at) END" \
	"  FROM ducto.grants g WHERE g.account_id = a.id AND live)) AS due" \
	" FROM ducto.accounts a WHERE " mine("id") ") b"

/* What the ledger says was spent in the period of each cap, and what is held. */
#define CAP_SUMS(mine) \
	"(SELECT c.account_id, c.cap_type || ' ' || c.model AS cap, c.spent, c.held," \
	" coalesce((SELECT sum(-l.amount) FROM ducto.ledger l WHERE l.account_id = c.account_id AND l.type = 'usage'" \
	"  AND (c.model = '' OR l.model = c.model)" \
	"  AND date_trunc(CASE c.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END, l.created_at AT TIME ZONE 'UTC') = c.period), 0)" \
	" - coalesce((SELECT sum(f.amount) FROM ducto.ledger f JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = f.account_id" \
	"  WHERE f.account_id = c.account_id AND f.type = 'refund' AND (c.model = '' OR d.model = c.model)" \
	"  AND date_trunc(CASE c.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END," \
	"   d.created_at AT TIME ZONE 'UTC') = c.period), 0) AS said," \
	" (SELECT coalesce(sum(cap_held), 0) FROM ducto.reservations r WHERE r.account_id = c.account_id AND " HOLDS("r") \
	"  AND (c.model = '' OR r.model = c.model)) AS open" \
	" FROM ducto.spend_caps c WHERE " mine("account_id") ") s"

/* What the ledger says was consumed in the allowance month of each account. */
#define ALLOWANCE_SUMS(mine) \
	"(SELECT a.id AS account_id, a.allowance_used, coalesce((SELECT sum(l.allowance_consumed) FROM ducto.ledger l" \
	"  LEFT JOIN ducto.ledger d ON l.type = 'refund' AND d.id = l.reference AND d.account_id = l.account_id" \
	"  WHERE l.account_id = a.id AND l.allowance_consumed <> 0" \
	"  AND date_trunc('month', coalesce(d.created_at, l.created_at) AT TIME ZONE 'UTC') = a.allowance_month), 0) AS said" \
	" FROM ducto.accounts a WHERE allowance_month IS NOT NULL AND " mine("id") ") s"

/* What the ledger says each member spent in the month, and what is held. */
#define MEMBER_SUMS(mine) \
	"(SELECT m.team_id AS account_id, m.user_id, m.spent, m.held," \
	" coalesce((SELECT sum(-l.amount) FROM ducto.ledger l WHERE l.account_id = m.team_id AND l.actor = m.user_id" \
	"  AND l.type = 'usage' AND date_trunc('month', l.created_at AT TIME ZONE 'UTC') = m.month), 0)" \
	" - coalesce((SELECT sum(f.amount) FROM ducto.ledger f JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = f.account_id" \
	"  WHERE f.account_id = m.team_id AND f.type = 'refund' AND d.actor = m.user_id" \
	"  AND date_trunc('month', d.created_at AT TIME ZONE 'UTC') = m.month), 0) AS said," \
	" (SELECT coalesce(sum(remaining), 0) FROM ducto.reservations r WHERE r.account_id = m.team_id AND r.actor = m.user_id" \
	"  AND " HOLDS("r") ") AS open FROM ducto.team_members m WHERE " mine("team_id") ") s"

#define CAP_COUNTS(mine) \
	"(SELECT a.id AS account_id, a.caps, (SELECT count(*) FROM ducto.spend_caps c WHERE c.account_id = a.id) AS counted" \
	" FROM ducto.accounts a WHERE " mine("id") ") s"

#define VERIFY_SQL(mine) \
	DIFFER("balance", "coalesce(sum, 0)", "balance", LEDGER_SUMS(mine)) \
	" UNION ALL" DIFFER("last_seq", "coalesce(last, 0)", "last_seq", LEDGER_SUMS(mine)) \
	" UNION ALL" DIFFER("lifetime_purchased", "coalesce(purchased, 0)", "lifetime_purchased", LEDGER_SUMS(mine)) \
	" UNION ALL SELECT account_id, 'seq ' || seq, (seq_before + 1)::text, seq::text FROM " CHAIN(mine) \
	" WHERE seq <> seq_before + 1" \
	" UNION ALL SELECT account_id, 'balance_after ' || seq, (balance_before + amount)::text, balance_after::text" \
	" FROM " CHAIN(mine) " WHERE balance_after <> balance_before + amount" \
	" UNION ALL SELECT account_id, 'created_at ' || seq, 'not before ' || created_before, created_at::text" \
	" FROM " CHAIN(mine) " WHERE created_at < created_before" \
	" UNION ALL SELECT account_id, 'effective_at ' || seq, 'not before ' || effective_before, effective_at::text" \
	" FROM " CHAIN(mine) " WHERE effective_at < effective_before" \
	" UNION ALL" DIFFER("held", "coalesce(sum, 0)", "held", HOLD_SUMS(mine)) \
	" UNION ALL SELECT account_id, 'reservation ' || id, CASE state WHEN 'open' THEN '0 to ' || amount ELSE '0' END," \
	" remaining::text FROM ducto.reservations WHERE " mine("account_id") \
	" AND (remaining < 0 OR remaining > CASE state WHEN 'open' THEN amount ELSE 0 END)" \
	" UNION ALL" DIFFER("held_from_credits", "coalesce(skipping, 0)", "held_from_credits", HOLD_SUMS(mine)) \
	" UNION ALL SELECT id, 'promised', '0 to ' || held - held_from_credits, promised::text FROM ducto.accounts" \
	" WHERE " mine("id") " AND (promised < 0 OR promised > held - held_from_credits)" \
	" UNION ALL SELECT account_id, 'cap_held of reservation ' || id, '0 to ' || remaining, cap_held::text" \
	" FROM ducto.reservations WHERE " mine("account_id") " AND (cap_held < 0 OR cap_held > remaining)" \
	" UNION ALL" DIFFER("allowance_used", "said", "allowance_used", ALLOWANCE_SUMS(mine)) \
	" UNION ALL" DIFFER("caps", "counted", "caps", CAP_COUNTS(mine)) \
	" UNION ALL SELECT account_id, 'spent of cap ' || cap, said::text, spent::text FROM " CAP_SUMS(mine) \
	" WHERE spent <> said" \
	" UNION ALL SELECT account_id, 'held of cap ' || cap, open::text, held::text FROM " CAP_SUMS(mine) \
	" WHERE held <> open" \
	" UNION ALL SELECT account_id, 'spent by member ' || user_id, said::text, spent::text FROM " MEMBER_SUMS(mine) \
	" WHERE spent <> said" \
	" UNION ALL SELECT account_id, 'held by member ' || user_id, open::text, held::text FROM " MEMBER_SUMS(mine) \
	" WHERE held <> open" \
	" UNION ALL SELECT coalesce(a.id, t.id), 'team', 'a team and its pool'," \
	"  CASE WHEN a.id IS NULL THEN 'a team without a pool' ELSE 'a pool without a team' END" \
	" FROM (SELECT id FROM ducto.accounts WHERE kind = 'team' AND " mine("id") ") a" \
	" FULL JOIN (SELECT id, name FROM ducto.teams WHERE " mine("id") ") t ON t.id = a.id WHERE a.id IS NULL OR t.id IS NULL" \
	" UNION ALL" DIFFER("expiring", "coalesce(sum, 0)", "expiring", GRANT_SUMS(mine)) \
	" UNION ALL SELECT account_id, 'expiring within balance', 'at most ' || greatest(balance, 0), expiring::text" \
	" FROM " GRANT_SUMS(mine) " WHERE expiring > greatest(balance, 0)" \
	" UNION ALL SELECT account_id, 'grant ' || id, '0 to ' || amount, remaining::text FROM ducto.grants" \
	" WHERE " mine("account_id") " AND (remaining < 0 OR remaining > amount OR live <> (remaining > 0))" \
	" UNION ALL SELECT account_id, 'grant history ' || id, said::text, remaining::text FROM " GRANT_HISTORY(mine) \
	" WHERE said IS DISTINCT FROM remaining" \
	" UNION ALL SELECT account_id, 'refunds of ' || reference, 'at most ' || coalesce(-debit, 0), refunded::text" \
	" FROM " REFUND_SUMS(mine) " WHERE type IS DISTINCT FROM 'usage' OR refunded > -debit" \
	" UNION ALL SELECT account_id, 'idempotency_key ' || idempotency_key, '1', count(*)::text FROM ducto.ledger" \
	" WHERE idempotency_key IS NOT NULL AND " mine("account_id") \
	" GROUP BY account_id, idempotency_key HAVING count(*) > 1" \
	" UNION ALL SELECT account_id, 'next_boundary', 'not after ' || due, next_boundary::text FROM " BOUNDARIES(mine) \
	" WHERE next_boundary > due"

/* Credits are neither made nor lost: all entries sum to all balances. */
#define CONSERVATION_SQL \
	" UNION ALL SELECT NULL, 'conservation', l.sum::text, a.sum::text" \
	" FROM (SELECT coalesce(sum(amount), 0) AS sum FROM ducto.ledger) l," \
	" (SELECT coalesce(sum(balance), 0) AS sum FROM ducto.accounts) a WHERE l.sum <> a.sum"

/* Whether an entry of the ledger is rolled up; $1 to $2 are the transactions of this cluster. */
#define IS_ROLLED_UP \
	"CASE WHEN s.next_xact <= $2 THEN NOT l.xact BETWEEN s.next_xact AND $2 ELSE l.xact > $2 AND l.xact < s.next_xact END"

/* What was used in each hour by a user, or of a model, by the ledger. */
#define LEDGER_HOURS(name) \
	"(SELECT " name " AS name, 1 AS hours, date_bin('1 hour', l.created_at, '2000-01-01 00:00:00+00') AS start," \
	" sum(-l.amount) AS spend, count(*) AS entries FROM ducto.ledger l, ducto.usage_rollup s" \
	" WHERE s.hours = 0 AND s.first_xact = $1 AND l.type = 'usage' AND " IS_ROLLED_UP " GROUP BY 1, 3)"

/* The same by the rollup: of its hours, or of all of its periods. */
#define ROLLUP_CELLS(names, spend, entries, condition) \
	"(SELECT c.name, r.hours, r.start, sum(c.spend) / 10000.0 AS spend, sum(c.entries) AS entries" \
	" FROM ducto.usage_rollup s, ducto.usage_rollup r, unnest(r." names ", r." spend ", r." entries ") AS c(name, spend, entries)" \
	" WHERE s.hours = 0 AND s.first_xact = $1 AND " condition " GROUP BY 1, 2, 3)"
#define USER_CELLS(condition)	ROLLUP_CELLS("users", "user_spend", "user_entries", condition)
#define MODEL_CELLS(condition)	ROLLUP_CELLS("models", "model_spend", "model_entries", condition)

#define CELL_DIFFERS(id, what, expected) \
	" SELECT " id ", " what " || coalesce(e.hours, a.hours) || ' hours from ' || coalesce(e.start, a.start)," \
	"  e.spend || ' in ' || e.entries, a.spend || ' in ' || a.entries" \
	" FROM " expected " WHERE e.spend IS DISTINCT FROM a.spend OR e.entries IS DISTINCT FROM a.entries"

/* The hours of the rollup against the ledger, its longer periods against its hours. */
#define HOURS_AGAINST(ledger, cells) \
	ledger " e FULL JOIN " cells " a ON a.name = e.name AND a.start = e.start"
#define PERIODS_AGAINST(cells) \
	"(SELECT h.name, p.hours, p.start, sum(h.spend) AS spend, sum(h.entries) AS entries" \
	" FROM (SELECT DISTINCT hours, start FROM ducto.usage_rollup WHERE hours > 1) p" \
	" JOIN " cells("r.hours = 1") " h ON h.start >= p.start AND h.start < p.start + make_interval(hours => p.hours)" \
	" GROUP BY 1, 2, 3) e FULL JOIN " cells("r.hours > 1") " a ON a.name = e.name AND a.hours = e.hours AND a.start = e.start"

#define ROLLUP_SQL \
	" UNION ALL" CELL_DIFFERS("coalesce(e.name, a.name)", "'rollup of '", \
	HOURS_AGAINST(LEDGER_HOURS("coalesce(l.actor, l.account_id)"), USER_CELLS("r.hours = 1"))) \
	" UNION ALL" CELL_DIFFERS("NULL", "'rollup of model ' || coalesce(e.name, a.name) || ' of '", \
	HOURS_AGAINST(LEDGER_HOURS("coalesce(l.model, 'unknown')"), MODEL_CELLS("r.hours = 1"))) \
	" UNION ALL" CELL_DIFFERS("coalesce(e.name, a.name)", "'rollup of '", PERIODS_AGAINST(USER_CELLS)) \
	" UNION ALL" CELL_DIFFERS("NULL", "'rollup of model ' || coalesce(e.name, a.name) || ' of '", PERIODS_AGAINST(MODEL_CELLS))

#define OF_ONE(column)	column " = $1"
#define OF_ALL(column)	"true"

static KeptQuery verify_one_query = {.sql = VERIFY_SQL(OF_ONE), .types = {UUIDOID}};
static KeptQuery verify_all_query = {
	.sql = VERIFY_SQL(OF_ALL) CONSERVATION_SQL ROLLUP_SQL,
	.types = {INT8OID, INT8OID},
	.whole = true
};

/*
 * ducto_verify returns a row for each invariant that does not hold. It takes
 * no lock. Arguments: see its COMMENT.
 */
Datum
ducto_verify(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};

	query_begin();
	if (PG_ARGISNULL(0))
	{
		args_int8(&args, xact_first_here());
		args_int8(&args, xact_last_here());
		query_read_into(fcinfo, &verify_all_query, &args);
	}
	else
	{
		args_uuid(&args, PG_GETARG_UUID_P(0));
		query_read_into(fcinfo, &verify_one_query, &args);
	}
	query_end();
	return (Datum) 0;
}
