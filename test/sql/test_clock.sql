-- The test clock: a database of tests where a superuser turned it on has a clock that can be moved ahead, for ducto alone.
-- It has a database of its own here: in this one accounts would be ahead of the clock afterwards.
\pset null -
\set SHOW_CONTEXT never
\set main :DBNAME
\set ann '\'7c200000-0000-4000-8000-000000000001\''
\set bob '\'7c200000-0000-4000-8000-000000000002\''
\set cat '\'7c200000-0000-4000-8000-000000000003\''

-- It is off: the clock is the server's, and nothing moves it.
SELECT ducto_advance_clock('1 day');
SELECT count(*) FROM ducto.test_clock;
SELECT value FROM ducto_metrics() WHERE name = 'ducto_test_clock';
SELECT ducto.clock_ahead(), ducto.clock() - clock_timestamp() < interval '1 second' AS servers;

-- Who is no superuser cannot turn it on: not before the library is there, not in a session, a function, a role or a database that is theirs.
CREATE ROLE regress_ducto_tester LOGIN;
SELECT ducto_grant_access('regress_ducto_tester');
CREATE DATABASE regress_ducto_clock OWNER regress_ducto_tester TEMPLATE template0;
\c -
SET SESSION AUTHORIZATION regress_ducto_tester;
SET ducto.test_clock = on;
SELECT ducto_advance_clock('1 day');
SET ducto.test_clock = on;
ALTER ROLE regress_ducto_tester SET ducto.test_clock = on;
ALTER DATABASE regress_ducto_clock SET ducto.test_clock = on;
CREATE FUNCTION pg_temp.on() RETURNS void LANGUAGE sql SET ducto.test_clock = on AS 'SELECT';
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM ducto.test_clock;

-- Turned on, it is the server's until it is moved, and the auditor says so.
ALTER DATABASE regress_ducto_clock SET ducto.test_clock = on;
\c regress_ducto_clock
CREATE EXTENSION ducto;
SELECT account_id, check_name, expected, actual FROM ducto_verify();
SELECT count(*) FROM ducto.test_clock;
SELECT ducto.clock() - clock_timestamp() < interval '1 second' AS servers;

-- Not for everybody: who has the API may move it.
SET ROLE regress_ducto_tester;
SELECT ducto_advance_clock('1 day');
RESET ROLE;
SELECT ducto_grant_access('regress_ducto_tester');
SET ROLE regress_ducto_tester;
SELECT ducto_advance_clock('0') - clock_timestamp() < interval '1 second' AS servers;
SELECT ducto_advance_clock('1 hour') - clock_timestamp() > interval '59 minutes' AS moved;
RESET ROLE;
SELECT * FROM ducto.test_clock;

-- Never back, and not beyond what an id has room for.
SELECT ducto_advance_clock(NULL);
SELECT ducto_advance_clock('-1 second');
SELECT ducto_advance_clock('1 day -25 hours');
SELECT ducto_advance_clock('9000 years');
SELECT ducto_advance_clock('290000 years');
SELECT (ducto_advance_clock('1 day') BETWEEN now() AND now() + interval '1 year') AS called_twice;
DELETE FROM ducto.test_clock;
TRUNCATE ducto.test_clock;
SELECT * FROM ducto.test_clock;

-- Months and days are those of the calendar in UTC, whatever the session's zone.
SET TimeZone = 'America/New_York';
SELECT ducto_advance_clock(date_trunc('year', ducto.clock() AT TIME ZONE 'UTC') + interval '1 year 60 days 12 hours' - ducto.clock() AT TIME ZONE 'UTC') IS NOT NULL AS in_march;
SELECT ducto.clock() AS day \gset
SELECT round(extract(epoch FROM ducto_advance_clock('1 day') - :'day')) AS seconds;
SELECT ducto.clock() AS day \gset
SELECT date_trunc('second', ducto_advance_clock('1 month') AT TIME ZONE 'UTC') = date_trunc('second', :'day'::timestamptz AT TIME ZONE 'UTC' + interval '1 month') AS a_month;
RESET TimeZone;

-- A rollback takes the move back, with all that was booked after it.
SELECT new_balance FROM ducto_add_credits(:ann, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ann, 10, 'promo', expires_at => ducto.clock() + interval '1 day');
SELECT ahead FROM ducto.test_clock \gset
BEGIN;
SELECT ducto_advance_clock('2 days') > now() AS moved;
SELECT balance FROM ducto_get_balance(:ann);
SELECT balance_after FROM ducto_charge(:ann, 1);
SAVEPOINT s;
SELECT ducto_advance_clock('30 days') > now() AS moved;
SELECT ahead - :'ahead' AS moved FROM ducto.test_clock;
ROLLBACK TO s;
SELECT ahead - :'ahead' AS moved FROM ducto.test_clock;
ROLLBACK;
SELECT ahead - :'ahead' AS moved FROM ducto.test_clock;
SELECT balance FROM ducto_get_balance(:ann);
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT ducto_verify(:ann);

-- Everything goes by it. Grants and holds:
SELECT reserved, expires_at - ducto.clock() < interval '601 seconds' AS ten_minutes FROM ducto_reserve(:ann, 20);
SELECT reservation_id AS held FROM ducto_reserve(:ann, 5) \gset
\set VERBOSITY sqlstate
SELECT error FROM ducto_add_credits(:ann, 1, 'promo', expires_at => clock_timestamp() + interval '1 hour');
\set VERBOSITY default
SELECT balance, reserved, next_expiry - ducto.clock() > interval '23 hours' AS tomorrow FROM ducto_get_balance(:ann);
SELECT ducto_advance_clock('11 minutes') > now() AS moved;
SELECT balance, reserved FROM ducto_get_balance(:ann);
SELECT released, reason FROM ducto_release(:ann, :'held');
SELECT ducto.clock() AS before \gset
SELECT ducto_advance_clock('1 day') > now() AS moved;
SELECT balance, ducto_balance_at(:ann, ducto.clock()) AS now, ducto_balance_at(:ann, :'before') AS yesterday FROM ducto_get_balance(:ann);
SELECT count(*) FROM ducto_list_grants(:ann);
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT type, amount, effective_at < created_at AS as_of_its_time FROM ducto.ledger WHERE account_id = :ann ORDER BY seq DESC LIMIT 1;

-- Allowances, caps and members, by the day and by the month:
SELECT ducto_advance_clock(date_trunc('month', ducto.clock() AT TIME ZONE 'UTC') + interval '1 month 9 days 12 hours' - ducto.clock() AT TIME ZONE 'UTC') IS NOT NULL AS on_the_tenth;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"small": {"name": "Small", "free_allowance": 20}}}');
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT error FROM ducto_set_user_plan(:bob, 'small');
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'daily', 10);
SELECT amount, allowance_consumed, error FROM ducto_charge(:bob, 30);
SELECT amount, error FROM ducto_charge(:bob, 1);
SELECT ducto_advance_clock('1 day') > now() AS moved;
SELECT current_spend FROM ducto_list_spend_caps(:bob);
SELECT amount, allowance_consumed, error FROM ducto_charge(:bob, 1);
SELECT ducto_advance_clock('1 month') > now() AS moved;
SELECT allowance_used, allowance_remaining, period_start = date_trunc('month', ducto.clock() AT TIME ZONE 'UTC') AS this_month FROM ducto_check_allowance(:bob);
SELECT amount, allowance_consumed, error FROM ducto_charge(:bob, 15);
SELECT team_id AS team FROM ducto_create_team('Clock', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :cat, spend_cap => 10);
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 10);
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 10);
SELECT ducto_advance_clock('1 month') > now() AS moved;
SELECT total_spent FROM ducto_get_team_members(:'team');
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 10);

-- lists, analytics and the rollup:
SELECT total_spend, transaction_count FROM ducto_daily_spend(ducto.clock() - interval '1 day', ducto.clock());
SELECT total_spend FROM ducto_spend_by_user() WHERE user_id = :cat;
SELECT ducto_rollup() > 0 AS rolled_up;
SELECT total_spend FROM ducto_spend_by_user() WHERE user_id = :cat;
SELECT ducto_advance_clock('1 month') > now() AS moved;
SELECT count(*) FROM ducto_spend_by_user();
SELECT (SELECT created_at FROM ducto_list_transactions(:'team') LIMIT 1) > now() + interval '30 days' AS ahead;

-- and ids, which stay in the order of time.
SELECT bool_and(id > before) FROM (SELECT id, lag(id) OVER (ORDER BY seq) AS before FROM ducto.ledger WHERE account_id = :bob) l WHERE before IS NOT NULL;

-- The books are sound; that they are no books to trust is all that the auditor says.
SELECT account_id, check_name, expected, actual LIKE 'on, ahead by %' AS says FROM ducto_verify();
SELECT * FROM ducto_verify(:bob);
SELECT value FROM ducto_metrics() WHERE name = 'ducto_test_clock';

-- Off again, the clock is the server's. Accounts are ahead of it, each operation mends one, and the move is kept.
ALTER DATABASE regress_ducto_clock RESET ducto.test_clock;
\c -
SELECT check_name, count(*) FROM ducto_verify() GROUP BY 1;
SELECT error, balance_after FROM ducto_charge(:ann, 1);
SELECT ducto_advance_clock('1 day');
SELECT check_name, count(*) FROM ducto_verify() GROUP BY 1;
SET ducto.test_clock = on;
SELECT ducto.clock() > now() + interval '90 days' AS ahead;
SELECT error, balance_after FROM ducto_charge(:ann, 1);
SELECT ducto_verify(:ann);

\c :main
DROP DATABASE regress_ducto_clock;
DROP OWNED BY regress_ducto_tester;
DROP ROLE regress_ducto_tester;
SELECT * FROM ducto_verify();
