-- What differs between the SDKs' tables and the engine, from these two alone: a
-- later call finds the same, and what has changed since.

CREATE TYPE ducto.sdk_import_difference AS (
	check_name text,
	id text,
	theirs text,
	ours text,
	action text
);
COMMENT ON TYPE ducto.sdk_import_difference IS 'A difference that ducto_sdk_import found, and what was done about it.';
COMMENT ON COLUMN ducto.sdk_import_difference.check_name IS 'What was compared.';
COMMENT ON COLUMN ducto.sdk_import_difference.id IS 'The account, entry, lease, plan or version.';
COMMENT ON COLUMN ducto.sdk_import_difference.theirs IS 'What the SDKs'' tables say.';
COMMENT ON COLUMN ducto.sdk_import_difference.ours IS 'What the engine says.';
COMMENT ON COLUMN ducto.sdk_import_difference.action IS 'What was done about it.';

CREATE FUNCTION ducto.sdk_import_report() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
SELECT * FROM ducto.sdk_import_report_pricing()
UNION ALL SELECT * FROM ducto.sdk_import_report_accounts()
UNION ALL SELECT * FROM ducto.sdk_import_report_entries()
UNION ALL SELECT * FROM ducto.sdk_import_report_holds()
UNION ALL SELECT * FROM ducto.sdk_import_report_caps()
UNION ALL SELECT * FROM ducto.sdk_import_report_members()
UNION ALL SELECT 'foreign key', c.conname, c.conrelid::regclass::text, NULL, 'refers to the old table: drop it'
FROM pg_constraint c WHERE c.contype = 'f' AND c.confrelid IN (SELECT ducto.sdk_table(t.name) FROM ducto.sdk_tables() t)
AND c.conrelid NOT IN (SELECT ducto.sdk_table(t.name) FROM ducto.sdk_tables() t WHERE ducto.sdk_table(t.name) IS NOT NULL)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report() IS 'For ducto_sdk_import: all differences.';

-- An account that the import made has all the entries that it moved, the corrections among them.
CREATE FUNCTION ducto.sdk_import_report_accounts() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
WITH theirs AS MATERIALIZED (
	SELECT u.user_id AS id, 'user' AS kind, ducto.sdk_import_money(u.balance) AS balance,
		ducto.sdk_import_money(u.lifetime_purchased) AS purchased, p.plan_key AS plan, u.plan_id::text AS plan_id, NULL AS name
	FROM ducto_sdk_old.user_credits u LEFT JOIN ducto_sdk_old.credit_plans p ON p.id = u.plan_id
	UNION ALL
	SELECT t.id, 'team', ducto.sdk_import_money(t.balance), NULL, NULL, NULL, t.name FROM ducto_sdk_old.credit_teams t
	UNION ALL
	SELECT o.user_id, 'user', 0.0000, NULL, NULL, NULL, NULL
	FROM (SELECT DISTINCT t.user_id FROM ducto_sdk_old.credit_transactions t WHERE t.type::text <> 'team_usage') o
	WHERE NOT EXISTS (SELECT FROM ducto_sdk_old.user_credits u WHERE u.user_id = o.user_id)
), moved AS MATERIALIZED (
	SELECT account_id, sum(amount), sum(purchased) AS purchased, sum(consumed) AS consumed
	FROM (
		SELECT l.account_id, l.amount, CASE WHEN l.type = 'purchase' THEN l.amount END AS purchased,
			CASE WHEN l.created_at >= date_trunc('month', ducto.clock() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
				THEN l.allowance_consumed END AS consumed
		FROM ducto.ledger l JOIN ducto_sdk_old.credit_transactions t ON t.id = l.id
		UNION ALL
		SELECT c.account_id, c.amount, 0.0000,
			CASE WHEN c.created_at >= date_trunc('month', ducto.clock() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
				THEN c.allowance_consumed END
		FROM theirs t JOIN ducto.ledger c
		ON c.id IN (ducto.sdk_import_correction(t.id, 'balance'), ducto.sdk_import_correction(t.id, 'allowance'))
	) e GROUP BY account_id
), compared AS MATERIALIZED (
	SELECT t.*, a.kind AS our_kind, a.plan_id AS our_plan, coalesce(m.sum, 0.0000) AS sum,
		coalesce(m.purchased, 0.0000) AS our_purchased, coalesce(m.consumed, 0.0000) AS consumed,
		m.account_id IS NOT NULL OR t.balance = 0 AS moved,
		CASE WHEN a.id IS NULL THEN 'not moved'
			WHEN a.kind <> t.kind THEN 'not moved: the engine has this id as a ' || a.kind
			WHEN m.account_id IS NULL THEN 'not moved: the engine has had this account before'
			ELSE 'left alone: changed after it was moved' END AS action
	FROM theirs t LEFT JOIN ducto.accounts a ON a.id = t.id LEFT JOIN moved m ON m.account_id = t.id
), corrections AS MATERIALIZED (
	SELECT t.*, b.amount AS correction, w.allowance_consumed AS allowance_correction
	FROM compared t
	LEFT JOIN ducto.ledger b ON b.id = ducto.sdk_import_correction(t.id, 'balance') AND b.account_id = t.id
	LEFT JOIN ducto.ledger w ON w.id = ducto.sdk_import_correction(t.id, 'allowance') AND w.account_id = t.id
		AND w.created_at >= date_trunc('month', ducto.clock() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
), windows AS MATERIALIZED (
	SELECT u.user_id, sum(ducto.sdk_import_money(w.usage)) AS used
	FROM ducto_sdk_old.user_credits u JOIN ducto_sdk_old.credit_usage_window w ON w.user_id = u.user_id AND w.plan_id = u.plan_id
	WHERE date_trunc('month', w.billing_period::timestamp) = date_trunc('month', ducto.clock() AT TIME ZONE 'UTC')
	GROUP BY u.user_id
)
SELECT 'balance', c.id::text, c.balance::text, CASE WHEN c.moved THEN c.sum::text END, c.action
FROM compared c WHERE c.balance <> c.sum OR c.our_kind IS DISTINCT FROM c.kind
UNION ALL
SELECT 'ledger', c.id::text, (c.sum - c.correction) || ' in entries', c.balance || ' as balance',
	'booked an adjustment of ' || c.correction || ' before them'
FROM corrections c WHERE c.correction IS NOT NULL
UNION ALL
SELECT 'allowance', c.id::text, coalesce(w.used, 0.0000) || ' in the window',
	(c.consumed - c.allowance_correction) || ' in entries',
	'counted ' || c.allowance_correction || ' more'
FROM corrections c LEFT JOIN windows w ON w.user_id = c.id WHERE c.allowance_correction IS NOT NULL
UNION ALL
SELECT 'allowance', c.id::text, w.used::text, c.consumed::text, c.action
FROM compared c JOIN windows w ON w.user_id = c.id WHERE w.used <> c.consumed
UNION ALL
SELECT 'lifetime_purchased', c.id::text, c.purchased::text, c.our_purchased::text, 'counts the purchases in the ledger'
FROM compared c WHERE c.moved AND c.purchased <> c.our_purchased
UNION ALL
SELECT 'plan of user', c.id::text, coalesce(c.plan, c.plan_id), c.our_plan,
	CASE WHEN c.plan IS NULL AND c.our_plan IS NULL THEN 'moved without it: there is no such plan'
		ELSE 'left alone: changed after it was moved' END
FROM compared c WHERE c.our_kind = c.kind AND (c.plan IS DISTINCT FROM c.our_plan OR c.plan IS NULL AND c.plan_id IS NOT NULL)
AND c.kind = 'user' AND (c.plan_id IS NOT NULL OR c.our_plan IS NOT NULL)
UNION ALL
SELECT 'team', c.id::text, c.name, t.name, 'not moved'
FROM compared c LEFT JOIN ducto.teams t ON t.id = c.id WHERE c.kind = 'team' AND c.name IS DISTINCT FROM t.name
UNION ALL
SELECT 'expiry', g.account_id::text, sum(g.remaining) || ' past its time', '0.0000', 'expires at once'
FROM ducto.grants g JOIN compared c ON c.id = g.account_id
WHERE g.live AND g.expires_at <= ducto.clock() GROUP BY g.account_id
UNION ALL
SELECT 'total', NULL, sum(c.balance)::text, sum(c.sum)::text, 'see the rows above'
FROM compared c HAVING sum(c.balance) <> sum(c.sum)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_accounts() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_accounts() IS
'For ducto_sdk_import: differences of balances, allowances, plans and teams.';

CREATE FUNCTION ducto.sdk_import_report_entries() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
WITH entries AS (
	SELECT t.id, t.type::text AS type, t.amount, t.metadata::jsonb AS metadata, t.user_id, l.id AS ours, l.type AS our_type,
		l.amount AS our_amount, l.idempotency_key, l.expires_at, a.id AS account, l.metadata ->> 'sdk_type' AS sdk_type
	FROM ducto_sdk_old.credit_transactions t
	LEFT JOIN ducto.ledger l ON l.id = t.id
	LEFT JOIN ducto.accounts a
	ON a.id = CASE WHEN t.type::text = 'team_usage' THEN ducto.sdk_import_team(t.type::text, t.metadata::jsonb) ELSE t.user_id END
)
SELECT 'entry', e.id::text, e.type || ' of ' || coalesce(e.amount::text, 'NULL'), NULL,
	CASE WHEN e.account IS NOT NULL THEN 'not moved: its account was not'
		WHEN e.type = 'team_usage' THEN 'not moved: there is no such team' ELSE 'not moved' END
FROM entries e WHERE e.ours IS NULL
UNION ALL
SELECT 'entry', e.id::text, e.type || ' of ' || coalesce(e.amount::text, 'NULL'), e.our_type || ' of ' || e.our_amount,
	CASE WHEN e.type = 'refund' THEN 'moved as an adjustment: there is no debit that it fits' ELSE 'moved so' END
FROM entries e WHERE e.ours IS NOT NULL AND (e.our_amount IS DISTINCT FROM e.amount OR e.sdk_type IS NOT NULL)
UNION ALL
SELECT 'idempotency_key', e.id::text, e.metadata ->> 'idempotency_key', NULL,
	'moved without it: another entry has it, or it is too long'
FROM entries e WHERE e.ours IS NOT NULL AND e.metadata ->> 'idempotency_key' IS NOT NULL AND e.idempotency_key IS NULL
UNION ALL
SELECT 'expires_at', e.id::text, e.metadata ->> 'expires_at', NULL, 'never expires: it is no time, or no credit'
FROM entries e WHERE e.ours IS NOT NULL AND e.metadata ->> 'expires_at' IS NOT NULL AND e.expires_at IS NULL
AND e.metadata ->> 'swept_at' IS NULL AND e.metadata ->> 'expires_at' <> 'infinity'
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_entries() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_entries() IS 'For ducto_sdk_import: entries that are not what they were.';

CREATE FUNCTION ducto.sdk_import_report_holds() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'hold', r.id::text, r.status::text || ', ' || coalesce(r.amount::text, 'NULL'), h.state || ', ' || h.amount,
	CASE WHEN h.id IS NULL AND a.id IS NULL THEN 'not moved: its account was not'
		WHEN h.id IS NULL THEN 'not moved: it holds nothing, or its account was there before'
		WHEN r.status::text = 'active' AND r.expires_at <= ducto.clock() AND h.state = 'expired' THEN 'past its time: holds nothing'
		ELSE 'left alone: changed after it was moved' END
FROM ducto_sdk_old.credit_reservations r
LEFT JOIN ducto.reservations h ON h.account_id = r.user_id AND h.id = r.id
LEFT JOIN ducto.accounts a ON a.id = r.user_id
WHERE h.id IS NULL OR h.state <> CASE WHEN r.status::text = 'active' THEN 'open' ELSE r.status::text END OR h.amount <> r.amount
UNION ALL
SELECT 'held', h.account_id::text, h.theirs::text, a.held::text, 'left alone: changed after it was moved'
FROM (
	SELECT r.user_id AS account_id, sum(r.amount) AS theirs FROM ducto_sdk_old.credit_reservations r
	WHERE r.status::text = 'active' AND r.expires_at > ducto.clock() AND r.amount > 0 AND r.amount <> 'NaN'
	GROUP BY r.user_id
) h
JOIN ducto.accounts a ON a.id = h.account_id WHERE a.held <> h.theirs
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_holds() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_holds() IS
'For ducto_sdk_import: leases that are not what they were, and differences of what is held.';

CREATE FUNCTION ducto.sdk_import_report_caps() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'cap', concat_ws(' ', c.user_id, c.cap_type, c.model), c.action::text || ' above ' || coalesce(c.cap_limit::text, 'NULL'),
	o.action || ' above ' || o.cap_limit,
	CASE WHEN m.user_id IS NULL THEN 'not moved: the engine has no such cap'
		WHEN m.cap_limit <> c.cap_limit OR m.action <> c.action::text THEN 'another for the same is lower'
		WHEN o.account_id IS NULL THEN 'not there: its account was there before, or it was removed'
		ELSE 'left alone: changed after it was moved' END
FROM ducto_sdk_old.credit_spend_caps c
LEFT JOIN ducto.sdk_import_caps() m ON m.user_id = c.user_id AND m.cap_type = c.cap_type::text AND m.model = coalesce(c.model, '')
LEFT JOIN ducto.spend_caps o ON o.account_id = c.user_id AND o.cap_type = c.cap_type::text AND o.model = coalesce(c.model, '')
WHERE o.account_id IS NULL OR o.cap_limit IS DISTINCT FROM ducto.sdk_import_money(c.cap_limit) OR o.action <> c.action::text
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_caps() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_caps() IS 'For ducto_sdk_import: differences of spend caps.';

CREATE FUNCTION ducto.sdk_import_report_members() RETURNS SETOF ducto.sdk_import_difference
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
WITH spent AS MATERIALIZED (
	SELECT l.account_id, l.actor, -sum(l.amount) AS spent
	FROM ducto.ledger l JOIN ducto_sdk_old.credit_transactions t ON t.id = l.id
	WHERE l.actor IS NOT NULL GROUP BY l.account_id, l.actor
)
SELECT 'member', m.team_id || ' ' || m.user_id, concat_ws(', ', m.role, 'cap ' || m.spend_cap),
	concat_ws(', ', o.role, 'cap ' || o.spend_cap),
	CASE WHEN o.user_id IS NULL THEN 'not moved: its team was not' WHEN m.spend_cap = 'NaN' THEN 'moved without a cap'
		WHEN m.spend_cap < 0 THEN 'a cap is 0 or more' ELSE 'left alone: changed after it was moved' END
FROM ducto_sdk_old.credit_team_members m
LEFT JOIN ducto.team_members o ON o.team_id = m.team_id AND o.user_id = m.user_id
WHERE o.user_id IS NULL OR o.role <> coalesce(m.role::text, 'member') OR o.spend_cap IS DISTINCT FROM m.spend_cap
UNION ALL
SELECT 'spent by member', m.team_id || ' ' || m.user_id, coalesce(m.total_spent, 0)::text, coalesce(s.spent, 0.0000)::text,
	'counts the entries in the ledger'
FROM ducto_sdk_old.credit_team_members m
JOIN ducto.team_members o ON o.team_id = m.team_id AND o.user_id = m.user_id
LEFT JOIN spent s ON s.account_id = m.team_id AND s.actor = m.user_id
WHERE coalesce(m.total_spent, 0) <> coalesce(s.spent, 0.0000)
UNION ALL
SELECT 'members of team', t.id::text, t.member_count::text, m.members::text, 'counts the members'
FROM ducto_sdk_old.credit_teams t
CROSS JOIN LATERAL (SELECT count(*) AS members FROM ducto_sdk_old.credit_team_members m WHERE m.team_id = t.id) m
WHERE t.member_count <> m.members
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_report_members() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_report_members() IS 'For ducto_sdk_import: differences of the members of teams.';
