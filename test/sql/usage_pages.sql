-- What a user has used, page by page: of its own and in teams, every page is a part of the whole.
\set ada '''11111111-0000-0000-0000-000000000001'''
\set bob '''11111111-0000-0000-0000-000000000002'''
\set eve '''11111111-0000-0000-0000-000000000003'''
SET timezone = 'UTC';
-- Ada has spent alone, bob in a team as well, eve, who has no account, in the team only.
SELECT team_id AS team FROM ducto_create_team('Red') \gset
SELECT new_balance FROM ducto_add_team_credits(:'team', 100, idempotency_key => 'seed');
SELECT count(*) FROM unnest(ARRAY[:bob, :eve]::uuid[]) u, ducto_add_team_member(:'team', u);
SELECT count(CASE WHEN n % 6 = 0 THEN (SELECT transaction_id FROM ducto_add_credits(u, 10 + n, 'purchase'))
	ELSE (SELECT transaction_id FROM ducto_charge(u, 0.5, model => 'm' || n)) END)
FROM unnest(ARRAY[:ada, :bob]::uuid[]) u, generate_series(0, 29) n;
SELECT count(d.transaction_id) FROM unnest(ARRAY[:bob, :eve]::uuid[]) u, generate_series(1, 4) n, ducto_deduct_team(:'team', u, n) d;
SELECT u, count(*), count(e.team_id) AS in_teams, max(e.total_count) AS total, sum(e.amount) AS spent
FROM unnest(ARRAY[:ada, :bob, :eve]::uuid[]) u, ducto_list_usage_events(u, max_rows => 1000) e GROUP BY u ORDER BY u;
-- what a user has used of its own is in its ledger, in the same order
SELECT u FROM unnest(ARRAY[:ada, :bob, :eve]::uuid[]) u
WHERE ARRAY(SELECT id FROM ducto_list_usage_events(u, max_rows => 1000) WHERE team_id IS NULL)
	IS DISTINCT FROM ARRAY(SELECT id FROM ducto_list_transactions(u, '{usage}', max_rows => 1000));

SELECT min(created_at) + (max(created_at) - min(created_at)) / 2 AS some FROM ducto_list_transactions(:bob, max_rows => 1000) \gset
WITH whole AS MATERIALIZED (
	SELECT u, w.low, w.high, ARRAY(SELECT e.id FROM ducto_list_usage_events(u, max_rows => 1000) e
		WHERE e.created_at BETWEEN coalesce(w.low::timestamptz, '-infinity') AND coalesce(w.high::timestamptz, 'infinity')) AS ids
	FROM unnest(ARRAY[:ada, :bob, :eve]::uuid[]) u, (VALUES (NULL, NULL), (:'some', NULL), (NULL, :'some')) w(low, high))
SELECT u, low IS NULL AS from_start, m, s
FROM whole, unnest(ARRAY[1, 2, 7, 50]) m, unnest(ARRAY[0, 1, 3, 24, 60]) s,
	LATERAL (SELECT array_agg(e.id) AS ids, array_agg(DISTINCT e.total_count) AS totals
		FROM ducto_list_usage_events(u, low::timestamptz, high::timestamptz, m, s) e) page
WHERE page.ids IS DISTINCT FROM nullif(whole.ids[s + 1 : s + m], '{}') OR page.totals <> ARRAY[cardinality(whole.ids)::bigint];

SELECT * FROM ducto_verify();
