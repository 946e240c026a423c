-- Caps of a plan are everybody's who is on it. A database of its own has a test clock.
\pset null -
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_ducto_caps;
CREATE DATABASE regress_ducto_caps TEMPLATE template0;
ALTER DATABASE regress_ducto_caps SET ducto.test_clock = on;
\set main :DBNAME
\c regress_ducto_caps
\set ann '\'ca920000-0000-4000-8000-000000000001\''
\set bob '\'ca920000-0000-4000-8000-000000000002\''
\set cat '\'ca920000-0000-4000-8000-000000000003\''
CREATE EXTENSION ducto;

-- The story begins on a Monday at noon.
SELECT ducto_advance_clock(date_trunc('week', ducto.clock(), 'UTC') + interval '7 days 12 hours' - ducto.clock()) IS NOT NULL AS monday;
CREATE FUNCTION caps(who uuid) RETURNS TABLE (cap text, model text, cap_limit numeric, action text, counted numeric, resets_in interval, of_plan boolean) LANGUAGE sql AS
$$ SELECT cap_type || coalesce(' ' || window_length, ''), model, cap_limit, action, current_spend, date_trunc('hour', resets_at - ducto.clock() + interval '30 min'), of_plan FROM ducto_list_spend_caps(who) $$;
-- Holds the auditor's findings against what a test clock is: the only one.
CREATE FUNCTION found() RETURNS TABLE (check_name text, expected text, actual text) LANGUAGE sql AS
$$ SELECT check_name, expected, actual FROM ducto_verify() WHERE check_name <> 'test clock' $$;

-- The length of a window is the same in a plan and in a user's own cap.
SELECT l, (SELECT count(*) FROM ducto_validate_pricing(jsonb_build_object('models', '{"_default": "1"}'::jsonb, 'plans', jsonb_build_object('p',
	jsonb_build_object('name', 'P', 'caps', jsonb_build_array(jsonb_build_object('cap_type', 'sliding', 'cap_limit', 1, 'window_length', l))))))) AS problems
FROM unnest(ARRAY['1 minute', '0 minutes', '1 year', '365 days', '366 days', '12 months', '1 year 1 second']) l;

-- 5 hours and a week, as AI assistants have them; and one model costs extra.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0, "plans": {
	"pro": {"name": "Pro", "caps": [{"cap_type": "session", "cap_limit": 100, "window_length": "5 hours"}, {"capType": "weekly", "capLimit": "400"},
		{"cap_type": "daily", "cap_limit": 50, "action": "warn", "model": "large"}]},
	"max": {"name": "Max", "caps": [{"cap_type": "session", "cap_limit": 500, "window_length": "5 hours"}]},
	"free": {"name": "Free"}}}');
SELECT config #> '{plans,pro,caps}' AS normal FROM ducto_get_active_pricing();
-- What was spent before counts in the week.
SELECT new_balance FROM ducto_add_credits(:ann, 10000);
SELECT amount FROM ducto_charge(:ann, 30);
SELECT ducto_advance_clock('10 hours') IS NOT NULL AS ten_hours_later;
SELECT plan_id FROM ducto_set_user_plan(:ann, 'pro');
SELECT * FROM caps(:ann);
-- That there was no session yet is right; a session that was made none is seen.
SELECT * FROM found();
-- The session opens with the first spend, and what is rejected opens none.
SELECT error FROM ducto_charge(:ann, 100.0001);
SELECT * FROM caps(:ann) WHERE cap LIKE 'session%';
SELECT affordable, reason FROM ducto_can_afford(:ann, 100.0001);
SELECT affordable, reason FROM ducto_can_afford(:ann, 100);
SELECT amount, error FROM ducto_charge(:ann, 60, model => 'large');
SELECT d.amount, cap_warning, d.error FROM ducto_reserve(:ann, 40) r, LATERAL ducto_deduct(:ann, r.reservation_id, 40) d;
SELECT capped, current_spend, cap_limit, resets_at - ducto.clock() > interval '4 h 59 min' AS in_five_hours FROM ducto_check_spend_cap(:ann, amount => 1);
SELECT * FROM caps(:ann);
BEGIN;
UPDATE ducto.spend_caps SET window_from = '-infinity', window_until = '-infinity', spent = 0 WHERE cap_type = 'session';
SELECT check_name, left(expected, 10) AS expected, actual FROM found();
ROLLBACK;
SELECT ducto_advance_clock('5 hours') IS NOT NULL AS five_hours_later;
SELECT * FROM caps(:ann);
SELECT amount, error FROM ducto_charge(:ann, 100);
SELECT * FROM found();

-- An own cap of the same type and model goes before that of the plan, with what is counted; without it the plan's is in force again.
SELECT cap_limit, current_spend, of_plan FROM ducto_set_spend_cap(:ann, 'session', 250, window_length => '5 hours');
SELECT amount, error FROM ducto_charge(:ann, 100);
SELECT ducto_remove_spend_cap(:ann, 'session'), ducto_remove_spend_cap(:ann, 'session') AS again;
SELECT * FROM caps(:ann);
SELECT amount, error FROM ducto_charge(:ann, 0.0001);
SELECT * FROM found();

-- Another plan: what both have stays counted, what it lacks is gone. And back: the week is counted again, from the ledger.
SELECT plan_id FROM ducto_set_user_plan(:ann, 'max');
SELECT * FROM caps(:ann);
SELECT plan_id FROM ducto_set_user_plan(:ann, 'free');
SELECT * FROM caps(:ann);
SELECT caps, caps_version, plain FROM ducto.accounts WHERE id = :ann;
SELECT plan_id FROM ducto_set_user_plan(:ann, 'pro');
SELECT * FROM caps(:ann);
SELECT * FROM found();

-- A publication is in force for everybody on the plan at once, where it is read and where it is spent, and keeps what is counted.
SELECT new_balance FROM ducto_add_credits(:bob, 1000);
SELECT plan_id FROM ducto_set_user_plan(:bob, 'pro');
SELECT amount FROM ducto_charge(:bob, 90);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0, "plans": {
	"pro": {"name": "Pro", "caps": [{"cap_type": "session", "cap_limit": 120, "window_length": "3 hours"}, {"cap_type": "total", "cap_limit": 5000, "action": "notify"},
		{"cap_type": "sliding", "cap_limit": 110, "window_length": "1 hour"}]}}}');
SELECT * FROM caps(:bob);
BEGIN READ ONLY;
SELECT capped, current_spend, cap_limit FROM ducto_check_spend_cap(:bob, amount => 25);
SELECT affordable, reason FROM ducto_can_afford(:bob, 25);
COMMIT;
SELECT cap_type FROM ducto.spend_caps WHERE account_id = :bob ORDER BY 1;
SELECT error FROM ducto_charge(:bob, 25);
SELECT cap_type, of_plan FROM ducto.spend_caps WHERE account_id = :bob ORDER BY 1;
SELECT amount, error FROM ducto_charge(:bob, 20);
SELECT * FROM caps(:bob);
-- A retired plan is as it was; without a plan there are no caps.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0}');
SELECT count(*) FROM caps(:bob);
SELECT plan_id FROM ducto_set_user_plan(:bob, NULL);
SELECT count(*) FROM caps(:bob);
SELECT plain FROM ducto.accounts WHERE id = :bob;
SELECT * FROM found();

-- A sliding window never lets more through in its length than its limit, and frees what was spent a 60th of it late at most.
SELECT new_balance FROM ducto_add_credits(:cat, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:cat, 'sliding', 10, window_length => '1 hour');
SELECT amount, error FROM ducto_charge(:cat, 4);
SELECT ducto_advance_clock('20 minutes') IS NOT NULL AS later;
SELECT transaction_id AS t, amount, error FROM ducto_charge(:cat, 6) \gset
SELECT capped, resets_at - ducto.clock() BETWEEN '39 min' AND '41 min' AS in_forty_minutes FROM ducto_check_spend_cap(:cat, amount => 4);
SELECT capped, resets_at - ducto.clock() BETWEEN '59 min' AND '61 min' AS in_an_hour FROM ducto_check_spend_cap(:cat, amount => 5);
SELECT ducto_advance_clock('39 minutes') IS NOT NULL AS later;
SELECT error FROM ducto_charge(:cat, 0.0001);
SELECT ducto_advance_clock('2 minutes') IS NOT NULL AS later;
SELECT error FROM ducto_charge(:cat, 4.0001);
SELECT error FROM ducto_charge(:cat, 4);
-- A refund gives room back where the debit was counted.
SELECT amount FROM ducto_refund(:'t', 6);
SELECT * FROM caps(:cat);
SELECT * FROM found();

-- Hours, days, weeks and months are those of the user's time zone, and a change of it counts them anew.
SELECT n, cap_type, current_spend FROM unnest(ARRAY['hourly', 'daily', 'weekly', 'monthly']) WITH ORDINALITY t (type, n), LATERAL ducto_set_spend_cap(:cat, type, 100) ORDER BY n;
SELECT plan_id FROM ducto_set_user_plan(:cat, NULL, timezone => 'Asia/Kathmandu');
SELECT cap_type, resets_at AT TIME ZONE 'Asia/Kathmandu' = date_trunc(unit, resets_at AT TIME ZONE 'Asia/Kathmandu') AS at_its_end, resets_at > ducto.clock() AS ahead
FROM ducto_list_spend_caps(:cat) JOIN (VALUES ('hourly', 'hour'), ('daily', 'day'), ('weekly', 'week'), ('monthly', 'month')) u (type, unit) ON type = cap_type;
SELECT * FROM found();

-- A pool has caps of its own, beside those of its members, for whoever spends from it.
SELECT team_id AS team FROM ducto_create_team('Team', 1000, 'made') \gset
SELECT error FROM ducto_add_team_member(:'team', :ann, spend_cap => 50);
SELECT error FROM ducto_add_team_member(:'team', :bob);
SELECT user_id = :'team' AS of_the_team, cap_limit, current_spend FROM ducto_set_spend_cap(:'team', 'session', 60, window_length => '5 hours');
SELECT cap_limit FROM ducto_set_spend_cap(:'team', 'daily', 5, 'warn', 'large');
SELECT error FROM ducto_deduct_team(:'team', :ann, 51);
SELECT current_spend, resets_at FROM ducto_list_spend_caps(:'team') WHERE cap_type = 'session';
SELECT error FROM ducto_deduct_team(:'team', :ann, 30, model => 'large');
SELECT cap_warning FROM ducto.ledger WHERE account_id = :'team' AND actor = :ann;
SELECT error FROM ducto_deduct_team(:'team', :bob, 31);
SELECT reservation_id AS r, error FROM ducto_reserve(:bob, 30, team_id => :'team', min_balance => 0) \gset
SELECT error FROM ducto_reserve(:ann, 0.0001, team_id => :'team', min_balance => 0);
SELECT user_id = :ann AS ann, total_spent FROM ducto_get_team_members(:'team') ORDER BY 1;
SELECT amount, cap_warning, error FROM ducto_deduct(:bob, :'r', 20);
SELECT error FROM ducto_deduct_team(:'team', :bob, 10);
SELECT error FROM ducto_deduct_team(:'team', :bob, 0.0001);
SET ducto.rejections = 'raise';
\set VERBOSITY sqlstate
SELECT error FROM ducto_deduct_team(:'team', :bob, 1);
\set VERBOSITY default
RESET ducto.rejections;
SELECT * FROM caps(:'team');
SELECT id AS t FROM ducto.ledger WHERE account_id = :'team' AND actor = :ann \gset
SELECT amount FROM ducto_refund(:'t');
SELECT * FROM caps(:'team');
SELECT error FROM ducto_deduct_team(:'team', :bob, 30);
SELECT * FROM found();

-- Lines of a model that the allowance pays are not spent: neither a session nor a day begins with them in that model's caps.
\set dan '\'ca920000-0000-4000-8000-000000000004\''
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"lines": {"name": "Lines", "free_allowance": 5}}}');
SELECT new_balance FROM ducto_add_credits(:dan, 100);
SELECT plan_id FROM ducto_set_user_plan(:dan, 'lines');
SELECT cap_limit FROM ducto_set_spend_cap(:dan, 'session', 10, model => 'b', window_length => '5 hours');
SELECT cap_limit FROM ducto_set_spend_cap(:dan, 'daily', 10, model => 'b');
SELECT ducto_advance_clock('1 day') IS NOT NULL AS later;
SELECT reservation_id AS r FROM ducto_reserve(:dan, 30) \gset
SELECT booked, amount, allowance_consumed FROM ducto_settle(:dan, :'r', '[{"key": "1", "model": "b", "amount": 4}, {"key": "2", "model": "a", "amount": 7}]');
SELECT models, model_spend FROM ducto.ledger WHERE account_id = :dan AND type = 'usage';
SELECT cap, model, counted, resets_in IS NULL AS not_open FROM caps(:dan);
SELECT * FROM found();
SELECT amount FROM ducto_settle(:dan, :'r', '[{"key": "3", "model": "a", "amount": 1}, {"key": "4", "model": "b", "amount": 2}]');
SELECT cap, model, counted, resets_in IS NULL AS not_open FROM caps(:dan);
SELECT * FROM found();
-- What was spent by such lines is missed where a window does not know of it.
BEGIN;
UPDATE ducto.spend_caps SET window_from = '-infinity', window_until = '-infinity', spent = 0 WHERE account_id = :dan AND cap_type = 'session';
SELECT check_name, left(expected, 10) AS expected, actual FROM found();
ROLLBACK;

-- A session that was none when its cap was made is none by a longer length, nor by a plan that comes or goes: it opens with the next spend.
\set eve '\'ca920000-0000-4000-8000-000000000005\''
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT amount FROM ducto_charge(:eve, 7);
SELECT ducto_advance_clock('3 hours') IS NOT NULL AS later;
SELECT current_spend, resets_at FROM ducto_set_spend_cap(:eve, 'session', 10, window_length => '1 hour');
SELECT current_spend, resets_at FROM ducto_set_spend_cap(:eve, 'session', 10, window_length => '5 hours');
SELECT * FROM found();
SELECT plan_id FROM ducto_set_user_plan(:eve, 'lines');
SELECT plan_id FROM ducto_set_user_plan(:eve, NULL);
SELECT * FROM caps(:eve);
SELECT amount, error FROM ducto_charge(:eve, 10);
SELECT * FROM caps(:eve);
SELECT * FROM found();

-- One that is over by a shorter length, when more has been spent since than that length knows of, is over now.
SELECT current_spend FROM ducto_set_spend_cap(:eve, 'session', 100, window_length => '7 days');
SELECT ducto_advance_clock('1 hour') IS NOT NULL AS later;
SELECT amount FROM ducto_charge(:eve, 1);
SELECT ducto_advance_clock('1 hour') IS NOT NULL AS later;
SELECT cap, counted FROM caps(:eve);
SELECT current_spend, resets_at FROM ducto_set_spend_cap(:eve, 'session', 100, window_length => '10 minutes');
SELECT * FROM found();
SELECT plan_id FROM ducto_set_user_plan(:eve, 'lines');
SELECT current_spend, resets_at FROM ducto_set_spend_cap(:eve, 'session', 100, window_length => '7 days');
SELECT * FROM found();
SELECT amount FROM ducto_charge(:eve, 7);
SELECT cap, counted FROM caps(:eve);

-- Days of 23 and of 25 hours: a day's cap lasts as long as its day, and an hour's through the hour that is there twice.
\set fay '\'ca920000-0000-4000-8000-000000000006\''
CREATE FUNCTION charged(at timestamptz) RETURNS TABLE (amount numeric, error text, day_ends_in interval, hour_ends_in interval) LANGUAGE sql AS $$
	SELECT FROM ducto_advance_clock(at - ducto.clock());
	SELECT c.amount, c.error, date_trunc('minute', d.resets_at - at), date_trunc('minute', h.resets_at - at)
	FROM ducto_charge('ca920000-0000-4000-8000-000000000006', 10) c, LATERAL (SELECT c.amount) after,
		LATERAL (SELECT resets_at FROM ducto_list_spend_caps('ca920000-0000-4000-8000-000000000006') WHERE cap_type = 'daily' AND after.amount > 0) d,
		LATERAL (SELECT resets_at FROM ducto_list_spend_caps('ca920000-0000-4000-8000-000000000006') WHERE cap_type = 'hourly' AND after.amount > 0) h
$$;
SELECT new_balance FROM ducto_add_credits(:fay, 1000);
SELECT plan_id FROM ducto_set_user_plan(:fay, NULL, timezone => 'Europe/Berlin');
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'daily', 19);
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'hourly', 10);
SELECT c.* FROM unnest(ARRAY['2061-03-26 23:00Z', '2061-03-27 21:59Z', '2061-03-27 22:00Z', '2061-03-28 21:59Z', '2061-03-28 22:00Z']) at, charged(at::timestamptz) c;
SELECT c.* FROM unnest(ARRAY['2061-10-29 22:00Z', '2061-10-29 22:59Z', '2061-10-30 22:59Z', '2061-10-30 23:00Z']) at, charged(at::timestamptz) c;
-- The hour from two to three is there twice, each with its own cap.
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'daily', 1000);
SELECT c.* FROM unnest(ARRAY['2062-10-29 00:30Z', '2062-10-29 00:59Z', '2062-10-29 01:00Z', '2062-10-29 01:59Z', '2062-10-29 02:00Z']) at, charged(at::timestamptz) c;
SELECT * FROM found();

-- A window that slides is moved on by a batch as by single calls: it keeps the buckets from before, and what has left them counts no more.
CREATE FUNCTION sliding(side text, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT (side || 'a92511d-0000-4000-8000-00000000000' || n)::uuid $$;
CREATE FUNCTION counted(side text) RETURNS TABLE (n text, cap_type text, spent numeric, buckets numeric[]) LANGUAGE sql AS
$$ SELECT right(account_id::text, 1), cap_type, spent, buckets FROM ducto.spend_caps WHERE account_id BETWEEN sliding(side, 0) AND sliding(side, 9) $$;
CREATE TABLE charges AS SELECT n, 1 + n % 5 AS who, n * 0.25 AS amount FROM generate_series(1, 20) n;
SELECT count(c.cap_limit), count(d.cap_limit) FROM unnest('{a,b}'::text[]) side, generate_series(1, 5) n, ducto_add_credits(sliding(side, n), 1000),
	ducto_set_spend_cap(sliding(side, n), 'sliding', 20 + n, window_length => '60 days') c, ducto_set_spend_cap(sliding(side, n), 'daily', 100) d;
CREATE PROCEDURE turn(gone interval) LANGUAGE plpgsql AS $$
DECLARE
	one text; other text;
BEGIN
	PERFORM ducto_advance_clock(gone);
	SELECT string_agg(coalesce(r.error, r.amount::text), ' ' ORDER BY r.position) INTO one FROM ducto_charge_many((
		SELECT jsonb_agg(jsonb_build_object('user_id', sliding('a', who), 'amount', amount) ORDER BY n) FROM charges)) r;
	SELECT string_agg(coalesce(r.error, r.amount::text), ' ' ORDER BY c.n) INTO other
	FROM charges c, LATERAL ducto_charge(sliding('b', who), amount) r;
	RAISE NOTICE '%', one;
	ASSERT one = other, other;
	ASSERT NOT EXISTS ((TABLE counted_a EXCEPT TABLE counted_b) UNION ALL (TABLE counted_b EXCEPT TABLE counted_a)), 'a cap is another';
END $$;
CREATE VIEW counted_a AS SELECT * FROM counted('a');
CREATE VIEW counted_b AS SELECT * FROM counted('b');
SET client_min_messages = notice;
CALL turn('0');
CALL turn('3 days');
CALL turn('1 day');
SELECT * FROM counted('a') ORDER BY n, cap_type;
CALL turn('58 days');
CALL turn('100 days');
RESET client_min_messages;
SELECT * FROM counted('a') ORDER BY n, cap_type;
SELECT * FROM found();

-- Caps that have changed are written where nothing else is, and with them that a hold keeps credit past its end.
\set fay '\'ca920000-0000-4000-8000-00000000000f\''
CREATE FUNCTION late(cap int) RETURNS text LANGUAGE sql AS $$ SELECT error FROM ducto_set_active_pricing(jsonb_build_object('models', '{"_default": "1"}'::jsonb,
	'plans', jsonb_build_object('late', jsonb_build_object('name', 'Late', 'default_billing_mode', 'overdraft', 'overdraft_floor', -20,
		'caps', jsonb_build_array(jsonb_build_object('cap_type', 'weekly', 'cap_limit', cap)))))) $$;
SELECT late(100);
SELECT new_balance FROM ducto_add_credits(:fay, 10, 'purchase');
SELECT new_balance FROM ducto_add_credits(:fay, 0.5, 'promo', expires_at => ducto.clock() + interval '1 day');
SELECT plan_id FROM ducto_set_user_plan(:fay, 'late');
SELECT error FROM ducto_reserve(:fay, 14, ttl_seconds => 864000);
SELECT ducto_advance_clock('2 days') IS NOT NULL AS two_days_later;
SELECT late(90);
SELECT error FROM ducto_reserve(:fay, 25);
SELECT cap, cap_limit FROM caps(:fay);
SELECT * FROM found();

\c :main
DROP DATABASE regress_ducto_caps;
