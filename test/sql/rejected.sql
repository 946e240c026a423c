-- A rejection changes nothing: no row of any table gets a new version, not even a dead one.
\pset null -
\set ann '\'7ec00000-0000-4000-8000-000000000001\''
\set bob '\'7ec00000-0000-4000-8000-000000000002\''
\set cat '\'7ec00000-0000-4000-8000-000000000003\''
\set SHOW_CONTEXT never

-- What this transaction has written to the tables so far.
CREATE FUNCTION pg_temp.written() RETURNS bigint
LANGUAGE sql AS $$
	SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_all_tables WHERE schemaname = 'ducto'
$$;

-- The error of a call, and what it wrote.
CREATE FUNCTION pg_temp.rejected(call text, OUT error text, OUT written bigint)
LANGUAGE plpgsql AS $$
DECLARE
	before bigint := pg_temp.written();
BEGIN
	EXECUTE 'SELECT error FROM ' || call INTO error;
	written := pg_temp.written() - before;
END $$;

SELECT error FROM ducto_set_active_pricing('{"models": {"priced": "1"}, "min_balance": 0,
	"plans": {"rejected_plan": {"name": "Rejected Plan", "free_allowance": 5, "features": {"chat": true}}}}');
SELECT new_balance FROM ducto_add_credits(:ann, 100);
SELECT plan_id FROM ducto_set_user_plan(:ann, 'rejected_plan');
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'daily', 30);
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'monthly', 50, model => 'gpt');
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'monthly', 1, 'warn');
SELECT transaction_id AS charged FROM ducto_charge(:ann, 15, 'taken') \gset
SELECT reservation_id AS held FROM ducto_reserve(:ann, 10, idempotency_key => 'hold') \gset
SELECT reservation_id AS released FROM ducto_reserve(:ann, 1) \gset
SELECT released FROM ducto_release(:ann, :'released');
SELECT amount, error FROM ducto_refund(:'charged', idempotency_key => 'back');
SELECT team_id AS team FROM ducto_create_team('Rejected', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :bob, spend_cap => 20);
SELECT error FROM ducto_deduct_team(:'team', :bob, 15);
SELECT new_balance FROM ducto_add_credits(:cat, 10);

SELECT regexp_replace(regexp_replace(w.call, '''?01[0-9a-f]{6}-[0-9a-f-]{27}''?', 'an id', 'g'), '7ec00000-0000-4000-8000-0000000000', 'user ', 'g') AS call, r.error, r.written FROM (VALUES
	(1, format('ducto_charge(%L, 31)', :ann)),
	(2, format('ducto_charge(%L, 31, model => ''gpt'')', :ann)),
	(3, format('ducto_charge(%L, 1000)', :ann)),
	(4, format('ducto_charge(%L, 1, ''hold'', required_feature => ''agents'')', :ann)),
	(5, format('ducto_charge(%L, 1, ''back'')', :ann)),
	(6, format('ducto_reserve(%L, 26)', :ann)),
	(7, format('ducto_reserve(%L, 1000)', :ann)),
	(8, format('ducto_reserve(%L, 1, max_concurrent => 1)', :ann)),
	(9, format('ducto_deduct(%L, %L, 1000)', :ann, :'held')),
	(10, format('ducto_deduct(%L, %L, 1)', :ann, :'released')),
	(11, format('ducto_deduct(%L, gen_random_uuid(), 1)', :ann)),
	(12, format('ducto_renew(%L, %L)', :ann, :'released')),
	(13, format('ducto_refund(%L)', :'charged')),
	(14, format('ducto_refund(%L, 16)', :'charged')),
	(15, 'ducto_refund(gen_random_uuid())'),
	(16, format('ducto_add_credits(%L, -1000)', :ann)),
	(17, format('ducto_add_credits(%L, 5, idempotency_key => ''taken'')', :ann)),
	(18, format('ducto_set_user_plan(%L, ''no_such_plan'')', :ann)),
	(19, format('ducto_charge_usage(%L, ''{"model": "dear", "input_tokens": 1}'')', :ann)),
	(20, format('ducto_reserve_usage(%L, ''{"model": "dear", "input_tokens": 1}'')', :ann)),
	(21, format('ducto_deduct_team(%L, %L, 6)', :'team', :bob)),
	(22, format('ducto_deduct_team(%L, %L, 6)', :'team', :ann)),
	(23, format('ducto_deduct_team(gen_random_uuid(), %L, 6)', :ann)),
	(24, format('ducto_reserve(%L, 6, team_id => %L)', :bob, :'team')),
	(25, format('ducto_reserve(%L, 1000, team_id => %L)', :bob, :'team')),
	(26, format('ducto_charge(%L, 11)', :cat)),
	(27, format('ducto_reserve(%L, 11)', :cat)),
	(28, 'ducto_reserve(''7ec00000-0000-4000-8000-0000000000ff'', 11)'),
	(29, 'ducto_charge(''7ec00000-0000-4000-8000-0000000000ff'', 11)'),
	(30, 'ducto_activate_pricing(999999)')) AS w(n, call), pg_temp.rejected(w.call) AS r ORDER BY w.n;

-- Nothing is remembered of a window that a rejected call was made in: after midnight, and after the clock was set back before it, a cap knows what was spent.
UPDATE ducto.spend_caps SET window_from = window_from - CASE cap_type WHEN 'daily' THEN interval '24 h' ELSE '744 h' END,
	window_until = window_until - CASE cap_type WHEN 'daily' THEN interval '24 h' ELSE '744 h' END WHERE account_id = :ann;
UPDATE ducto.team_members SET month = month - 31 WHERE user_id = :bob;
SELECT error FROM ducto_charge(:ann, 36);
SELECT error FROM ducto_deduct_team(:'team', :bob, 21);
SELECT cap_type, model, spent, window_until <= now() AS past FROM ducto.spend_caps WHERE account_id = :ann AND action = 'deny' ORDER BY 1;
SELECT spent, month < date_trunc('month', now() AT TIME ZONE 'UTC') AS past FROM ducto.team_members WHERE user_id = :bob;
UPDATE ducto.spend_caps SET window_from = window_from + CASE cap_type WHEN 'daily' THEN interval '24 h' ELSE '744 h' END,
	window_until = window_until + CASE cap_type WHEN 'daily' THEN interval '24 h' ELSE '744 h' END WHERE account_id = :ann;
UPDATE ducto.team_members SET month = month + 31 WHERE user_id = :bob;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
