-- unwritten: what changes nothing writes nothing
-- In a database of its own: the pricing is that of this test alone.
\set main :DBNAME
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_ducto_unwritten;
CREATE DATABASE regress_ducto_unwritten TEMPLATE template0;
\c regress_ducto_unwritten
CREATE EXTENSION ducto;
\set ada '\'b7000000-0000-4000-8000-000000000001\''
CREATE FUNCTION pg_temp.pricing(allowance int, price text) RETURNS void LANGUAGE sql AS $$
SELECT FROM (SELECT ducto_set_active_pricing(jsonb_build_object('models', jsonb_build_object('_default', price), 'plans',
	jsonb_build_object('pro', jsonb_build_object('name', 'Pro', 'free_allowance', allowance), 'free', jsonb_build_object('name', 'Free'))))) p
$$;
CREATE TEMP TABLE before AS SELECT ''::text AS name, '(0,0)'::tid AS place WHERE false;
-- The rows that were written since this was called last, by name.
CREATE FUNCTION pg_temp.written() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	names text;
BEGIN
	CREATE TEMP TABLE now AS SELECT 'account' AS name, ctid AS place FROM ducto.accounts UNION ALL SELECT 'plan ' || id, ctid FROM ducto.plans
		UNION ALL SELECT 'reservation', ctid FROM ducto.reservations;
	SELECT string_agg(name, ', ' ORDER BY name) INTO names FROM (SELECT * FROM now EXCEPT SELECT * FROM before) c;
	DROP TABLE before;
	ALTER TABLE now RENAME TO before;
	RETURN names;
END
$$;
SELECT pg_temp.pricing(50, '1');
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT pg_temp.written();

-- A plan that the user has, and one that the user has not.
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'pro');
SELECT pg_temp.written();
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'pro');
SELECT pg_temp.written();
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'free');
SELECT pg_temp.written();
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'pro');
SELECT pg_temp.written();

-- A pricing with the same plans, and one in which a plan is another.
SELECT pg_temp.pricing(50, '2');
SELECT pg_temp.written();
SELECT pg_temp.pricing(60, '2');
SELECT pg_temp.written();
SELECT free_allowance, allowance_remaining FROM ducto_check_allowance(:ada);

-- What has changed since the session looked is looked at again: a plan or its history by another hand, or a pricing that is rolled back.
SELECT pg_temp.pricing(60, '2');
SELECT pg_temp.pricing(60, '3');
SELECT pg_temp.written();
UPDATE ducto.plans SET name = 'Amateur' WHERE id = 'pro';
SELECT pg_temp.written();
SELECT pg_temp.pricing(60, '3');
SELECT pg_temp.written();
SELECT name FROM ducto.plans WHERE id = 'pro';
SELECT pg_temp.pricing(60, '3');
BEGIN;
UPDATE ducto.plan_allowances SET free_allowance = 55 WHERE plan_id = 'pro' AND number = 2;
SELECT pg_temp.pricing(60, '3');
SELECT number, free_allowance FROM ducto.plan_allowances WHERE plan_id = 'pro' ORDER BY number;
ROLLBACK;
BEGIN;
SELECT pg_temp.pricing(70, '3');
SELECT pg_temp.pricing(70, '3');
ROLLBACK;
SELECT pg_temp.pricing(70, '3');
SELECT number, free_allowance FROM ducto.plan_allowances WHERE plan_id = 'pro' ORDER BY number;
SELECT free_allowance FROM ducto.plans WHERE id = 'pro';
SELECT pg_temp.pricing(60, '2');
SELECT pg_temp.written();

-- A plan that gave nothing with its cycles, and now does.
\set eve '\'b7000000-0000-4000-8000-000000000003\''
\set dan '\'b7000000-0000-4000-8000-000000000004\''
SELECT plan_id, error FROM ducto_set_user_plan(:eve, 'free');
SELECT plan_id, error FROM ducto_set_user_plan(:eve, 'pro');
BEGIN;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "2"}, "plans": {"pro": {"name": "Pro", "free_allowance": 60,
	"grants": [{"amount": 7}]}, "free": {"name": "Free"}}}');
SELECT plan_id, error FROM ducto_set_user_plan(:dan, 'pro');
SELECT user_id, balance FROM ducto_get_balance(:eve) UNION ALL SELECT user_id, balance FROM ducto_get_balance(:dan);
ROLLBACK;
SELECT plan_id, error FROM ducto_set_user_plan(:dan, 'pro');
SELECT user_id, balance FROM ducto_get_balance(:dan);
SELECT pg_temp.written();

-- Calls that are rejected, looked into, or made again.
SELECT error FROM ducto_charge(:ada, 1000);
SELECT affordable FROM ducto_can_afford(:ada, 10);
SELECT amount, idempotent FROM ducto_charge(:ada, 80, 'once');
SELECT pg_temp.written();
SELECT amount, idempotent FROM ducto_charge(:ada, 80, 'once');
SELECT error FROM ducto_reserve(:ada, 1000);
SELECT released, reason FROM ducto_release(:ada, '00000000-0000-4000-8000-000000000000');
SELECT pg_temp.written();

-- A reservation of a user without a plan: while it is open, when it is not any more, and one that there is not.
\set bob '\'b7000000-0000-4000-8000-000000000002\''
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT reservation_id AS hold FROM ducto_reserve(:bob, 10) \gset
SELECT pg_temp.written();
SELECT amount, balance, reserved, available, billing_mode, error FROM ducto_renew(:bob, :'hold', 60);
SELECT pg_temp.written();
SELECT released, reason FROM ducto_release(:bob, :'hold');
SELECT pg_temp.written();
SELECT released, reason FROM ducto_release(:bob, :'hold');
SELECT error FROM ducto_renew(:bob, :'hold', 60);
SELECT error FROM ducto_renew(:bob, '00000000-0000-4000-8000-000000000000', 60);
SELECT pg_temp.written();
SELECT * FROM ducto_verify();
\c :main
SET client_min_messages = warning;
DROP DATABASE regress_ducto_unwritten;
