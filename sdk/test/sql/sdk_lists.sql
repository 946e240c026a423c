-- Pages of entries: what is put into an entry's metadata, and that every page is that of the whole list.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
\set ada '''00000000-0000-4000-8000-000000000001'''
\set bob '''00000000-0000-4000-8000-000000000002'''

-- What the ledger knows stands for the caller's of the same name, beside all else that the caller gave: names that are
-- shorter, longer, before and after, and objects and arrays in one another.
SELECT count(credits_add(:ada, 100, 'purchase'));
SELECT deduct_with_allowance(:ada, 1, 'key', 0, 'gpt-4', '{"model": "theirs", "balance_after": {"a": [1]}, "lodel": 1, "nodel": [], "m": {},
	"reference_type": "chat", "reference_id": "no id", "idempotency_kex": [[], {"b": {"c": null}}, "d", 1.50, true], "zzzzzzzzzzzzzzzzzzz": null,
	"é": "ü", "allowance_consumed": 7, "reason": "mine", "team_id": "t"}')->>'amount' AS amount;
SELECT deduct_with_allowance(:ada, 2)->>'amount' AS amount;
SELECT amount, type, reference_type, reference_id, metadata FROM list_user_transactions(:ada);
-- as jsonb would have made it: in order, each name once, every name found
SELECT bool_and(metadata = metadata::text::jsonb) AS equal, bool_and(metadata::text = metadata::text::jsonb::text) AS in_order,
	bool_and(metadata ?& ARRAY(SELECT jsonb_object_keys(metadata))) AS found
FROM list_user_transactions(:ada);

-- Entries of every kind, usage here and there; bob has the same and spends in a team too.
SELECT create_team('Red', 100)->>'team_id' AS team \gset
SELECT count(add_team_member(:'team', :bob));
SELECT count(CASE WHEN n % 5 = 0 THEN credits_add(u, n, 'purchase') WHEN n % 7 = 0 THEN credits_add(u, n) ELSE deduct_with_allowance(u, 0.01 * n) END)
FROM unnest(ARRAY[:ada, :bob]::uuid[]) u, generate_series(1, 40) n;
SELECT count(deduct_team(:'team', :bob, n)) FROM generate_series(1, 6) n;
SELECT count(*), min(created_at) + (max(created_at) - min(created_at)) / 3 AS some, max(created_at) AS last
FROM list_user_transactions(:ada, NULL, NULL, NULL, 1000) \gset

-- Every page, of any types in any window, is a part of the whole list, and knows how long that is.
CREATE FUNCTION pages_differ(u uuid, types text[], low timestamptz, high timestamptz) RETURNS TABLE (max_rows integer, skip_rows integer)
LANGUAGE sql AS $$
	WITH whole AS (SELECT array_agg(e.id) AS ids FROM list_user_transactions(u, NULL, NULL, NULL, 1000) e
		WHERE (types IS NULL OR e.type = ANY (types)) AND e.created_at BETWEEN coalesce(low, '-infinity') AND coalesce(high, 'infinity'))
	SELECT m, s FROM whole, unnest(ARRAY[0, 1, 2, 7, 50]) m, unnest(ARRAY[0, 1, 2, 3, 10, 29, 60]) s,
		LATERAL (SELECT array_agg(e.id) AS ids, array_agg(DISTINCT e.total_count) AS totals
			FROM list_user_transactions(u, types, low, high, m, s) e) page
	WHERE page.ids IS DISTINCT FROM nullif(whole.ids[s + 1 : s + m], '{}') OR page.totals <> ARRAY[cardinality(whole.ids)::bigint]
$$;
SELECT u, types, d.* FROM unnest(ARRAY[:ada, :bob]::uuid[]) u,
	(VALUES (NULL::text[]), ('{usage}'), ('{usage, adjustment}'), ('{purchase}'), ('{usage, team_usage}'), ('{team_usage}'), ('{refund}')) t(types),
	(VALUES (NULL, NULL), (:'some', NULL), (NULL, :'some'), (:'some', :'last')) w(low, high),
	LATERAL pages_differ(u, types, low::timestamptz, high::timestamptz) d;
-- and list_usage_events is of what was used, of the user's own and in teams
SELECT u, m, s FROM unnest(ARRAY[:ada, :bob]::uuid[]) u, unnest(ARRAY[0, 1, 5, 50]) m, unnest(ARRAY[0, 1, 5, 30]) s
WHERE ARRAY(SELECT e FROM list_usage_events(u, NULL, NULL, m, s) e)
	IS DISTINCT FROM ARRAY(SELECT e FROM list_user_transactions(u, '{usage, team_usage}', NULL, NULL, m, s) e)
	OR ARRAY(SELECT e FROM list_usage_events(u, :'some', :'last', m, s) e)
	IS DISTINCT FROM ARRAY(SELECT e FROM list_user_transactions(u, '{usage, team_usage}', :'some', :'last', m, s) e);
SELECT u, count(*), max(total_count) FROM unnest(ARRAY[:ada, :bob]::uuid[]) u, list_usage_events(u, NULL, NULL, 1000) GROUP BY u ORDER BY u;

-- A page reads no more entries than it has and those among them that are not usage.
BEGIN;
SELECT pg_stat_get_xact_tuples_fetched('ducto.ledger_pkey'::regclass) AS before \gset
SELECT count(*) FROM list_usage_events(:ada, NULL, NULL, 2, 0);
SELECT pg_stat_get_xact_tuples_fetched('ducto.ledger_pkey'::regclass) - :before <= 4 AS few;
COMMIT;
-- Whether there is anything that bob spent in teams the first such entry tells.
BEGIN;
SELECT pg_stat_get_xact_tuples_returned('ducto.ledger_actor'::regclass) AS before \gset
SELECT count(*) FROM list_user_transactions(:bob, '{usage}', NULL, NULL, 2, 0);
SELECT pg_stat_get_xact_tuples_returned('ducto.ledger_actor'::regclass) - :before <= 1 AS few;
COMMIT;
SELECT * FROM ducto_verify();
DROP FUNCTION pages_differ;
