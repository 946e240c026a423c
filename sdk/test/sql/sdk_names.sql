-- The names of the SDKs' functions are those of the extension: what the SDKs' migrations make in their place or beside them is refused.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
CREATE ROLE regress_ducto_deploy;
GRANT CREATE, USAGE ON SCHEMA public TO regress_ducto_deploy;
RESET client_min_messages;
\set SHOW_CONTEXT never
SELECT credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance' AS new_balance;

-- a migration, as a superuser runs it, and as any role with CREATE on the schema
CREATE OR REPLACE FUNCTION public.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path TO ''
	AS $$ BEGIN RETURN jsonb_build_object('user_id', p_user_id, 'balance', 0); END $$;
SET ROLE regress_ducto_deploy;
CREATE OR REPLACE FUNCTION public.settle_lease(p_user_id uuid, p_lease_id uuid, p_amount numeric, p_idempotency_key text DEFAULT NULL,
	p_min_balance numeric DEFAULT 0, p_model text DEFAULT NULL, p_metadata jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE plpgsql
	AS $$ BEGIN RETURN '{}'; END $$;
CREATE FUNCTION regress_ducto_other() RETURNS integer LANGUAGE sql AS 'SELECT 7';
ALTER FUNCTION regress_ducto_other() RENAME TO expire_credits;
DO $$ BEGIN EXECUTE 'CREATE FUNCTION public.top_users() RETURNS integer LANGUAGE sql AS ''SELECT 7'''; END $$;
RESET ROLE;
-- whatever it is that is called so, and however it gets there
CREATE PROCEDURE public.create_team() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE public.daily_spend(integer) (sfunc = int4pl, stype = integer);
CREATE SCHEMA regress_ducto_mine;
CREATE FUNCTION regress_ducto_mine.deduct_team(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
ALTER FUNCTION regress_ducto_mine.deduct_team(integer) SET SCHEMA public;
ALTER ROUTINE regress_ducto_mine.deduct_team(integer) SET SCHEMA public;
-- ours are not moved out of the way either
ALTER FUNCTION public.activate_pricing(integer) RENAME TO activate_prices;
ALTER FUNCTION public.activate_pricing(integer) SET SCHEMA regress_ducto_mine;
CREATE OR REPLACE FUNCTION ducto.sdk_plan_uuid(plan_key text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid';
-- what books by a trigger
CREATE FUNCTION public.grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.credit_transactions (user_id, amount, type) VALUES (NEW.id, 50, 'signup_bonus'); RETURN NEW; END $$;
CREATE FUNCTION public.grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;

-- everything else goes on: other names, other schemas, other things about ours, and the extension itself
CREATE OR REPLACE FUNCTION regress_ducto_mine.credits_add(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION public.credits_added() RETURNS integer LANGUAGE sql AS 'SELECT 7';
ALTER FUNCTION public.credits_added() RENAME TO credits_lost;
ALTER FUNCTION public.activate_pricing(integer) COST 200;
SELECT credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance' AS new_balance;
SELECT count(*) FROM pg_proc WHERE proname IN ('get_credits_balance', 'settle_lease', 'expire_credits', 'create_team', 'top_users', 'deduct_team')
	AND pronamespace = 'public'::regnamespace;
DROP EXTENSION ducto_sdk;
CREATE FUNCTION public.expire_credits(text) RETURNS integer LANGUAGE sql AS 'SELECT 7';
CREATE EXTENSION ducto_sdk;
-- what was there before is reported
SELECT object, action FROM ducto_sdk_setup() WHERE object ~ '^function';
SELECT ducto_sdk_import();
DROP FUNCTION public.expire_credits(text);

-- so is what a dump restores, and what was made while the trigger was off
BEGIN;
SET LOCAL check_function_bodies = off;
SET LOCAL row_security = off;
CREATE FUNCTION public.settle_lease(text) RETURNS integer LANGUAGE sql AS 'SELECT 7';
COMMIT;
ALTER EVENT TRIGGER ducto_sdk_guard DISABLE;
CREATE OR REPLACE FUNCTION public.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '{}'; END $$;
SELECT object, action FROM ducto_sdk_setup() WHERE object ~ '^(function|event)';
ALTER EVENT TRIGGER ducto_sdk_guard ENABLE ALWAYS;
DROP FUNCTION public.settle_lease(text);
SELECT object, action FROM ducto_sdk_setup() WHERE object ~ '^(function|event)';
DROP EXTENSION ducto_sdk;
CREATE EXTENSION ducto_sdk;
SELECT object, action FROM ducto_sdk_setup() WHERE object ~ '^(function|event)';
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001') ->> 'balance' AS balance;

-- in another schema it is the names there
DROP EXTENSION ducto_sdk;
CREATE EXTENSION ducto_sdk SCHEMA regress_ducto_mine;
DROP EXTENSION ducto_sdk;
DROP FUNCTION regress_ducto_mine.credits_add(integer), regress_ducto_mine.deduct_team(integer);
CREATE EXTENSION ducto_sdk SCHEMA regress_ducto_mine;
CREATE FUNCTION regress_ducto_mine.credits_add(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION public.credits_add(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
-- and it needs no schema public
ALTER SCHEMA public RENAME TO regress_ducto_public;
CREATE FUNCTION regress_ducto_mine.credits_lost(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
SELECT count(*) AS strangers FROM ducto.sdk_strangers();
ALTER SCHEMA regress_ducto_public RENAME TO public;
SELECT ducto.sdk_guard();

-- without the extension all names are free
DROP EXTENSION ducto_sdk;
CREATE FUNCTION public.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '{}'; END $$;
SELECT * FROM ducto_verify();
DROP FUNCTION get_credits_balance(uuid), credits_add(integer), grant_signup_bonus(), credits_lost(), regress_ducto_other();
SET client_min_messages = warning;
DROP SCHEMA regress_ducto_mine CASCADE;
DROP OWNED BY regress_ducto_deploy;
DROP ROLE regress_ducto_deploy;
