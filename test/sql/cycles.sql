-- Cycles of plans: what they give is there from their first instant, once, whoever looks or books, and in whatever order.
-- In a database of its own, whose clock is moved to the year 2090.
\pset null -
\set SHOW_CONTEXT never
\set ann '\'7cc10000-0000-4000-8000-000000000001\''
\set bob '\'7cc10000-0000-4000-8000-000000000002\''
\set cat '\'7cc10000-0000-4000-8000-000000000003\''
\set dan '\'7cc10000-0000-4000-8000-000000000004\''
\set eve '\'7cc10000-0000-4000-8000-000000000005\''
\set fay '\'7cc10000-0000-4000-8000-000000000006\''
\set gus '\'7cc10000-0000-4000-8000-000000000007\''
\set hal '\'7cc10000-0000-4000-8000-000000000008\''
\set ida '\'7cc10000-0000-4000-8000-000000000009\''
\set jon '\'7cc10000-0000-4000-8000-00000000000a\''
\set kim '\'7cc10000-0000-4000-8000-00000000000b\''
\set leo '\'7cc10000-0000-4000-8000-00000000000c\''
\set own regress_ducto_cycles
\i test/sql/include/own_database.sql
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';

CREATE FUNCTION clock_to(at timestamptz) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT date_trunc('minute', c) FROM ducto_advance_clock(at - ducto.clock()) c
$$;
-- What is wrong, but for the test clock.
CREATE FUNCTION entries(who uuid) RETURNS TABLE (seq bigint, type text, amount numeric, balance_after numeric, day timestamptz, expires timestamptz, plan text)
LANGUAGE sql AS $$
	SELECT seq, type, amount, balance_after, date_trunc('hour', effective_at), expires_at, metadata ->> 'plan_id'
	FROM ducto.ledger WHERE account_id = who ORDER BY seq
$$;
CREATE FUNCTION publish(free numeric, pro numeric) RETURNS text LANGUAGE sql AS $$
	SELECT error FROM ducto_set_active_pricing(jsonb_build_object('models', '{"_default": "1"}'::jsonb, 'min_balance', 0, 'plans', jsonb_build_object(
		'free', jsonb_build_object('name', 'Free', 'grants', jsonb_build_array(jsonb_build_object('amount', free))),
		'pro', jsonb_build_object('name', 'Pro', 'free_allowance', 30, 'grants', jsonb_build_array(jsonb_build_object('amount', pro, 'priority', 20,
			'rollover', '{"max": 500, "cycles": 1}'::jsonb), '{"amount": 5, "type": "promo", "expires": "never"}'::jsonb)),
		'daily', '{"name": "Daily", "cycle": "day", "grants": [{"amount": 50}]}'::jsonb,
		'weekly', '{"name": "Weekly", "cycle": "week", "free_allowance": 7, "grants": [{"amount": 70}]}'::jsonb,
		'yearly', '{"name": "Yearly", "cycle": "year", "grants": [{"amount": 12000}]}'::jsonb,
		'roll', '{"name": "Roll", "cycle": "day", "grants": [{"amount": 10, "rollover": {"max": 4, "cycles": 3}}, {"amount": 1, "type": "promo"}]}'::jsonb,
		'ninety', '{"name": "Ninety", "cycle": "month", "grants": [{"amount": 3, "expires": "90 days"}]}'::jsonb,
		'plain', '{"name": "Plain", "free_allowance": 10}'::jsonb)))
$$;
SELECT clock_to('2090-01-15 12:00Z');
SELECT publish(100, 1000);

-- Setting a plan makes the account and gives what its cycle gives; setting it again gives nothing. An upgrade gives the
-- difference, of the plan's grants the first ones less, and switching to and fro nothing.
SELECT error FROM ducto_set_user_plan(:ann, 'free');
SELECT error FROM ducto_set_user_plan(:ann, 'free');
SELECT balance, next_expiry FROM ducto_get_balance(:ann);
SELECT error FROM ducto_set_user_plan(:ann, 'pro');
SELECT error FROM ducto_set_user_plan(:ann, 'free');
SELECT error FROM ducto_set_user_plan(:ann, NULL);
SELECT error FROM ducto_set_user_plan(:ann, 'pro');
SELECT * FROM entries(:ann);
SELECT type, amount, remaining, priority, expires_at FROM ducto_list_grants(:ann);
SELECT free_allowance, allowance_remaining, period_start, period_end, resets_at FROM ducto_check_allowance(:ann);

-- At the first instant of the next cycle it is there, booked or not: read, spent, asked for, swept. What is read before is
-- what is booked after, its id too. What was left of the old one lives on, at most 500 of it, and is spent first.
SELECT balance_after, allowance_consumed FROM ducto_charge(:ann, 330);
SELECT ducto_advance_clock('2090-01-31 23:50Z' - ducto.clock()) < '2090-02-01Z' AS january;
SELECT balance FROM ducto_get_balance(:ann);
SELECT clock_to('2090-02-01Z');
SELECT balance, next_expiry FROM ducto_get_balance(:ann);
SELECT affordable, available FROM ducto_can_afford(:ann, 1540);
SELECT affordable, available FROM ducto_can_afford(:ann, 1541);
CREATE TABLE read AS SELECT * FROM ducto_list_grants(:ann);
SELECT type, amount, remaining, priority, expires_at, date_trunc('minute', created_at) AS created_at FROM read;
SELECT balance_at FROM (VALUES ('2090-01-31 23:59:59.9Z'), ('2090-02-01Z')) t (at), ducto_balance_at(:ann, at::timestamptz) balance_at;
SELECT count(*) FROM ducto.ledger WHERE account_id = :ann AND effective_at >= '2090-02-01Z';
SELECT released FROM ducto_release(:ann, gen_random_uuid());
SELECT seq, type, amount, balance_after, effective_at, expires_at FROM ducto.ledger WHERE account_id = :ann AND effective_at >= '2090-02-01Z' ORDER BY seq;
SELECT count(*) AS differ FROM (SELECT * FROM read EXCEPT SELECT * FROM ducto_list_grants(:ann)) d;
SELECT balance_at FROM (VALUES ('2090-01-31 23:59:59.9Z'), ('2090-02-01Z')) t (at), ducto_balance_at(:ann, at::timestamptz) balance_at;
SELECT balance_after FROM ducto_charge(:ann, 600, skip_allowance => true);
SELECT amount, remaining FROM ducto_list_grants(:ann);
SELECT * FROM found();

-- New grants count from the next cycle, for who is in one already, whatever is set again; who comes today gets today's.
SELECT publish(100, 2000);
SELECT error FROM ducto_set_user_plan(:ann, 'pro');
SELECT error FROM ducto_set_user_plan(:ann, 'plain');
SELECT error FROM ducto_set_user_plan(:ann, 'pro');
SELECT balance FROM ducto_get_balance(:ann);
SELECT error FROM ducto_set_user_plan(:bob, 'pro');
SELECT balance FROM ducto_get_balance(:bob);
SELECT clock_to('2090-03-01Z');
SELECT balance FROM ducto_get_balance(:ann);

-- Other cycles, and back: what runs still counts. A new anchor is no new gift either, until its cycle begins.
SELECT clock_to('2090-03-10 10:00Z');
SELECT error FROM ducto_set_user_plan(:cat, 'free');
SELECT error FROM ducto_set_user_plan(:cat, 'weekly');
SELECT error FROM ducto_set_user_plan(:cat, 'daily');
SELECT error FROM ducto_set_user_plan(:cat, 'free', '2090-03-05 08:00Z', 'America/New_York');
SELECT error FROM ducto_set_user_plan(:cat, 'free', ducto.clock());
SELECT error FROM ducto_set_user_plan(:cat, 'yearly');
SELECT error FROM ducto_set_user_plan(:cat, 'weekly');
SELECT type, amount, balance_after, expires FROM entries(:cat);
SELECT plan_id, allowance_remaining, period_start, period_end, resets_at FROM ducto_check_allowance(:cat);
SELECT clock_to('2090-03-13Z');
SELECT type, amount, remaining, expires_at FROM ducto_list_grants(:cat);
SELECT * FROM found();

-- An allowance of a week: what of it was used goes along with the cycle, and is counted anew in another.
SELECT error FROM ducto_set_user_plan(:dan, 'plain');
SELECT allowance_consumed FROM ducto_charge(:dan, 4);
SELECT error FROM ducto_set_user_plan(:dan, 'weekly');
SELECT allowance_used, allowance_remaining, period_start FROM ducto_check_allowance(:dan);
SELECT clock_to('2090-03-20Z');
SELECT allowance_used, allowance_remaining, period_start FROM ducto_check_allowance(:dan);
SELECT error FROM ducto_set_user_plan(:dan, 'plain');
SELECT allowance_used, allowance_remaining, period_start FROM ducto_check_allowance(:dan);

-- A debt is paid first.
SELECT error FROM ducto_set_user_plan(:eve, 'free');
SELECT balance_after FROM ducto_charge(:eve, 130, overrun => 'full');
SELECT clock_to('2090-04-01Z');
SELECT balance FROM ducto_get_balance(:eve);
SELECT amount, remaining FROM ducto_list_grants(:eve);
SELECT expired_count > 0 AS swept FROM ducto_sweep_expired();
SELECT amount, remaining FROM ducto_list_grants(:eve);
SELECT type, amount, balance_after FROM entries(:eve);

-- A hold across the turn: it was admitted on the old cycle's credit and allowance, and is paid.
SELECT error FROM ducto_set_user_plan(:fay, 'pro');
SELECT error FROM ducto_charge(:fay, 1905, skip_allowance => true);
SELECT clock_to('2090-04-30 23:55Z');
SELECT reservation_id AS hold, balance, reserved FROM ducto_reserve(:fay, 130) \gset
SELECT :balance AS balance, :reserved AS reserved;
SELECT clock_to('2090-05-01 00:01Z');
SELECT balance, reserved, available FROM ducto_get_balance(:fay);
SELECT amount, allowance_consumed, balance_after FROM ducto_deduct(:fay, :'hold', 130);
SELECT type, amount, balance_after, expires FROM entries(:fay);
SELECT * FROM found();

-- Ten years asleep, with daily cycles: what each gave and the next took is one, and the balance is what it was in each.
SELECT error FROM ducto_set_user_plan(:gus, 'daily');
SELECT error FROM ducto_set_user_plan(:hal, 'roll', '2090-05-01 02:30Z', 'Europe/Berlin');
SELECT error FROM ducto_set_user_plan(:ida, 'ninety');
SELECT error FROM ducto_set_user_plan(:jon, 'free', '2090-01-31 09:00Z');
SELECT error FROM ducto_charge(:gus, 20);
SELECT clock_to('2100-05-02 12:00Z');
CREATE TABLE past AS SELECT who, at, ducto_balance_at(who, at) AS balance
FROM unnest(ARRAY[:gus, :hal, :ida, :jon]::uuid[]) who, generate_series('2090-05-01 00:30Z'::timestamptz, '2100-05-02Z', '61 days 7 hours') at;
SELECT who, min(balance), max(balance), count(*) FROM past WHERE at > '2090-06-01' GROUP BY who ORDER BY who;
SET statement_timeout = '20s';
SELECT error FROM ducto_charge(:gus, 1);
SELECT error FROM ducto_charge(:hal, 1);
SELECT error FROM ducto_charge(:ida, 1);
SELECT error FROM ducto_charge(:jon, 1);
RESET statement_timeout;
SELECT account_id, count(*) < 60 AS few FROM ducto.ledger WHERE account_id IN (:gus, :hal, :jon) GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differ FROM past WHERE balance <> ducto_balance_at(who, at);
SELECT * FROM entries(:gus);
SELECT type, amount, remaining, expires_at FROM ducto_list_grants(:hal);
SELECT type, amount, remaining, expires_at FROM ducto_list_grants(:jon);
SELECT * FROM found();

-- A plan that is retired gives on to who has it; a cycle that was longer when it began ends when it was to end.
SELECT error FROM ducto_set_user_plan(:kim, 'free');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"free": {"name": "Free", "cycle": "day", "grants": [{"amount": 1}]}}}');
SELECT clock_to('2100-05-20 12:00Z');
SELECT balance FROM ducto_get_balance(:kim);
SELECT clock_to('2100-06-02Z');
SELECT balance, next_expiry FROM ducto_get_balance(:kim);
SELECT balance, next_expiry FROM ducto_get_balance(:gus);
SELECT error FROM ducto_set_user_plan(:leo, 'daily');

-- The sweep books all of it, and a second one nothing.
SELECT expired_count > 0 AS expired FROM ducto_sweep_expired(true);
CALL ducto_sweep();
SELECT count(*) AS entries FROM ducto.ledger \gset
CALL ducto_sweep();
SELECT count(*) - :entries AS more FROM ducto.ledger;
SELECT plan_id, count(*), min(cycle_end) > ducto.clock() AS in_a_cycle, min(next_boundary) >= ducto.clock() AS nothing_due
FROM ducto.accounts WHERE plan_id IN ('free', 'daily') GROUP BY plan_id ORDER BY plan_id;
SELECT * FROM found();

-- A gift that is booked twice would be seen; so would one that is no cycle's.
BEGIN;
SET LOCAL session_replication_role = replica;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET effective_at = effective_at - interval '1 hour', cycle_end = '2100-06-03Z' WHERE account_id = :gus AND seq = 4;
SELECT regexp_replace(check_name, ' and .*', '') AS check_name FROM ducto_verify(:gus) WHERE check_name LIKE 'cycle%';
ROLLBACK;

\c :main
DROP DATABASE :own;
