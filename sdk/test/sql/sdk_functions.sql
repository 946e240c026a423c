-- The other functions: their shape and their codes.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE FUNCTION shown(answer jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_object_agg(key, CASE WHEN key IN ('id', 'lease_id', 'transaction_id', 'refund_transaction_id', 'team_id')
		AND jsonb_typeof(value) = 'string' THEN '"an id"' ELSE value END)
	FROM jsonb_each(answer) WHERE key NOT IN ('user_id', 'expires_at', 'created_at', 'period_start', 'period_end', 'joined_at') $$;

-- pricing
SELECT * FROM get_active_pricing_config();
SELECT * FROM get_pricing_config(1);
SELECT * FROM activate_pricing_config(1);
SELECT shown(a) FROM set_active_pricing_config('{"models": {"_default": "1"}, "plans": {"pro": {"name": "Pro", "free_allowance": 50,
	"features": {"chat": true}, "max_concurrent": 2, "per_operation": {"agent": {"billing_mode": "overdraft", "overdraft_floor": -30}}}}}') a;
SELECT shown(a) FROM set_active_pricing_config('{"models": {"_default": "2"}, "plans": {"pro": {"name": "Pro", "free_allowance": 50,
	"features": {"chat": true}}}}', 'second') a;
SELECT * FROM set_active_pricing_config('{"models": {"_default": "nonsense"}}');
SELECT a ? 'id' AS has_id, a -> 'version', a -> 'label', a #> '{config,models}' FROM get_active_pricing_config() a;
SELECT a -> 'version', a -> 'label', a #> '{config,models}' FROM get_pricing_config(1) a;
SELECT shown(a), a ? 'created_at' AS dated FROM get_pricing_configs() a;
SELECT version, label, active, id IS NOT NULL, created_at IS NOT NULL FROM get_pricing_history();
SELECT shown(a) FROM activate_pricing_config(1) a;
SELECT shown(a) FROM activate_pricing(7) a;
SELECT shown(a) FROM activate_pricing(1) a;
SELECT * FROM get_pricing_config(NULL);

-- plans: known by the key, and by a uuid that is made from it
SELECT shown(a) FROM get_user_plan('00000000-0000-4000-8000-000000000001') a;
SELECT * FROM check_plan_allowance('00000000-0000-4000-8000-000000000001');
SELECT * FROM set_user_plan('00000000-0000-4000-8000-000000000001', 'gold');
SELECT * FROM set_user_plan('00000000-0000-4000-8000-000000000001', 'pro');
SELECT * FROM set_user_plan('00000000-0000-4000-8000-000000000001', (get_user_plan('00000000-0000-4000-8000-000000000001') ->> 'plan_id'));
SELECT shown(a) FROM get_user_plan('00000000-0000-4000-8000-000000000001') a;
SELECT shown(a), (a ->> 'period_start')::date = date_trunc('month', now())::date AS first_day
FROM check_plan_allowance('00000000-0000-4000-8000-000000000001') a;
SELECT shown(a), a ? 'period_start' AS dated FROM increment_usage_window('00000000-0000-4000-8000-000000000001',
	(get_user_plan('00000000-0000-4000-8000-000000000001') ->> 'plan_id')::uuid, 20) a;
SELECT * FROM increment_usage_window('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 20);
SELECT * FROM increment_usage_window('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', -1);
SELECT * FROM increment_usage_window('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'NaN');

-- the allowance pays first; what it pays is available to a lease
SELECT credits_add('00000000-0000-4000-8000-000000000001', 100, 'purchase') ->> 'new_balance';
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 40, 'chat') a;
SELECT shown(a), a ->> 'transaction_id' AS tx FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 40, 'use-1', 0, 'gpt-4',
	'{"reference_type": "chat", "reference_id": "00000000-0000-4000-8000-0000000000ff"}') a \gset
\echo :shown
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 5, NULL, 0, NULL, '{}', true) a;

-- caps
SELECT * FROM check_spend_cap('00000000-0000-4000-8000-000000000001');
SELECT cap_limit FROM ducto_set_spend_cap('00000000-0000-4000-8000-000000000001', 'daily', 100, 'deny', 'gpt-4');
SELECT * FROM check_spend_cap('00000000-0000-4000-8000-000000000001', 'gpt-4', 10);
SELECT * FROM check_spend_cap('00000000-0000-4000-8000-000000000001', 'gpt-4', 95);
SELECT * FROM check_spend_cap('00000000-0000-4000-8000-000000000001', 'gpt-4', 'NaN');

-- refunds
SELECT shown(a) FROM refund_credits('00000000-0000-4000-8000-0000000000aa') a;
SELECT shown(a) FROM refund_credits(:'tx', 4, 'partly', '{"ticket": 7}') a;
SELECT shown(a) FROM refund_credits(:'tx', 7) a;
SELECT shown(a) FROM refund_credits(:'tx') a;
SELECT shown(a) FROM refund_credits(:'tx') a;
SELECT shown(a) FROM refund_credits(:'tx', -1) a;
SELECT a ->> 'transaction_id' AS tx2 FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 3, NULL, 0, NULL, '{}', true) a \gset
SELECT shown(a) FROM refund_credits(:'tx2', NULL, NULL) a;
SELECT shown(a) FROM refund_credits(:'tx2') a;
SELECT id AS purchase FROM ducto.ledger WHERE type = 'purchase' \gset
SELECT shown(a) FROM refund_credits(:'purchase') a;
SELECT shown(a) FROM refund_credits(NULL) a;
-- what the allowance paid stays used
SELECT shown(a) FROM check_plan_allowance('00000000-0000-4000-8000-000000000001') a;

-- teams
SELECT * FROM create_team('Red', 'NaN');
SELECT * FROM create_team(NULL);
SELECT shown(a), a ->> 'team_id' AS team FROM create_team('Red', 500) a \gset
\echo :shown
SELECT * FROM get_team_balance('00000000-0000-4000-8000-0000000000aa');
SELECT shown(a) FROM add_team_member(:'team', '00000000-0000-4000-8000-000000000001', 'admin', 100) a;
SELECT shown(a) FROM add_team_member(:'team', '00000000-0000-4000-8000-000000000002') a;
SELECT * FROM add_team_member('00000000-0000-4000-8000-0000000000aa', '00000000-0000-4000-8000-000000000002');
SELECT shown(a) FROM add_team_member(:'team', '00000000-0000-4000-8000-000000000002', 'member', -1) a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000001', 60, '{"idempotency_key": "team-1", "model": "gpt-4"}') a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000001', 60, '{"idempotency_key": "team-1"}') a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000001', 60) a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000002', 460) a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000003', 1) a;
SELECT shown(a) FROM deduct_team(:'team', '00000000-0000-4000-8000-000000000001', 0) a;
SELECT * FROM deduct_team('00000000-0000-4000-8000-0000000000aa', '00000000-0000-4000-8000-000000000001', 1);
SELECT shown(a) FROM get_team_balance(:'team') a;
SELECT shown(a), a ->> 'user_id' AS member, a ? 'joined_at' AS dated FROM get_team_members(:'team') a;

-- expiry
SELECT credits_add('00000000-0000-4000-8000-000000000001', 6, 'purchase', '{"expires_at": "2001-01-01T00:00:00"}') ->> 'new_balance';
SELECT * FROM expire_credits(true);
SELECT * FROM expire_credits();

-- lists: newest first, with the types and the metadata that the clients read
SELECT amount, type, reference_type, reference_id = :'tx' AS of_tx, metadata - 'team_id' AS metadata, metadata ->> 'team_id' = :'team' AS team,
	total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000001');
\set VERBOSITY sqlstate
SELECT * FROM list_user_transactions(NULL);
SELECT * FROM list_usage_events(NULL);
SELECT * FROM list_user_transactions(:'team');
SELECT * FROM list_usage_events(:'team');
SELECT get_user_plan(:'team');
SELECT check_plan_allowance(:'team');
\set VERBOSITY default
SELECT amount, type, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000001', ARRAY['adjustment', 'team_usage']);
SELECT amount, type, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000001', NULL, NULL, NULL, 2, 3);
SELECT amount, type, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000001', NULL, now() + interval '1 day', NULL, 2, 3);
SELECT amount, type, reference_type, reference_id, total_count FROM list_usage_events('00000000-0000-4000-8000-000000000001');
SELECT amount, type, total_count FROM list_usage_events('00000000-0000-4000-8000-000000000001', NULL, NULL, 1, 1);
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-0000000000aa');
SELECT column_name, ordinal_position, data_type FROM (
	SELECT unnest(proargnames[7:]), generate_series(1, 9), format_type(unnest(proallargtypes[7:]), NULL)
	FROM pg_proc WHERE proname = 'list_user_transactions') c(column_name, ordinal_position, data_type);

-- analytics
SELECT * FROM spend_by_user(now() - interval '1 hour', now());
SELECT * FROM spend_by_model(now() - interval '1 hour', now());
SELECT * FROM top_users(1, now() - interval '1 hour', now());
SELECT bool_and(date ~ '^\d{4}-\d{2}-\d{2}$') AS dates, pg_typeof(date), sum(total_spend) AS total_spend, sum(transaction_count) AS transaction_count
	FROM daily_spend(now() - interval '1 hour', now() + interval '1 hour') GROUP BY pg_typeof(date);
SELECT * FROM aggregate_stats(now() - interval '1 hour', now());
SELECT * FROM aggregate_stats(now() - interval '2 hours', now() - interval '1 hour');
SELECT * FROM spend_by_user('2026-02-01 00:00Z', '2026-01-01 00:00Z');

-- one signature each, and none that returns several columns where the clients read one
SELECT p.proname, count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ducto_sdk' GROUP BY 1 HAVING count(*) > 1;
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ducto_sdk'
WHERE p.pronamespace = 'public'::regnamespace ORDER BY p.proname COLLATE "C";
SELECT * FROM ducto_verify();
DROP FUNCTION shown(jsonb);
