-- Sign-up bonuses after the switch: theirs would be booked on tables that nobody reads any more.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- a database of theirs, as far as it matters here
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
CREATE TYPE credit_tx_type AS ENUM ('purchase', 'subscription', 'signup_bonus', 'adjustment', 'usage', 'refund', 'team_usage');
CREATE TABLE user_credits (user_id uuid PRIMARY KEY, balance numeric(18,4) NOT NULL DEFAULT 0, lifetime_purchased numeric(18,4) DEFAULT 0, plan_id uuid,
	created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE credit_transactions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid, amount numeric(18,4), type credit_tx_type,
	reference_type text, reference_id uuid, metadata jsonb, created_at timestamptz DEFAULT now());
CREATE TABLE credit_reservations (id uuid PRIMARY KEY, user_id uuid, amount numeric(18,4), operation_type text, metadata jsonb,
	expires_at timestamptz, created_at timestamptz, status text, billing_mode text, overdraft_floor numeric(18,4), settle_tx_id uuid);
CREATE TABLE credit_pricing_config (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), config jsonb, active boolean, version int, label text,
	created_at timestamptz DEFAULT now());
CREATE TABLE credit_plans (id uuid PRIMARY KEY, plan_key text, name text, free_allowance numeric(18,4), rate_overrides jsonb,
	features jsonb, default_billing_mode text, per_operation jsonb, max_concurrent int, overdraft_floor numeric(18,4));
CREATE TABLE credit_usage_window (user_id uuid, plan_id uuid, billing_period date, usage numeric(18,4));
CREATE TABLE credit_teams (id uuid PRIMARY KEY, name text, balance numeric(18,4), member_count int);
CREATE TABLE credit_team_members (team_id uuid, user_id uuid, role text, spend_cap numeric(18,4), total_spent numeric(18,4), joined_at timestamptz);
CREATE TABLE credit_spend_caps (user_id uuid, cap_type text, model text, cap_limit numeric(18,4), action text);
CREATE FUNCTION handle_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE TRIGGER set_user_credits_updated_at BEFORE UPDATE ON user_credits FOR EACH ROW EXECUTE FUNCTION handle_updated_at();
CREATE FUNCTION sync_plans_from_config(p_config jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN DELETE FROM public.credit_plans; END $$;
CREATE FUNCTION grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	bonus numeric := coalesce((SELECT (config ->> 'signup_bonus')::numeric FROM public.credit_pricing_config WHERE active LIMIT 1), 50);
BEGIN
	INSERT INTO public.user_credits (user_id, balance) VALUES (NEW.id, bonus);
	INSERT INTO public.credit_transactions (user_id, amount, type) VALUES (NEW.id, bonus, 'signup_bonus');
	RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER on_signup_credit_bonus AFTER INSERT ON auth.users DEFERRABLE INITIALLY DEFERRED
	FOR EACH ROW EXECUTE FUNCTION grant_signup_bonus();
INSERT INTO credit_pricing_config (config, active, version) VALUES ('{"models": {"_default": "1"}, "signup_bonus": 7}', false, 1),
	('{"models": {"_default": "1"}, "signup_bonus": null}', true, 2), ('{"models": {"_default": "1"}, "signupBonus": 0}', false, 3);
INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-000000000001');
SELECT user_id, balance FROM user_credits;

-- a dry run takes nothing away
SET client_min_messages = warning;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SELECT * FROM ducto_sdk_import(dry_run => true);
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('auth.users'::regclass, 'user_credits'::regclass) ORDER BY 1;

-- the import puts ours in its place, and says what new users got there when nothing was said
SELECT * FROM ducto_sdk_import();
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('auth.users'::regclass, 'ducto_sdk_old.user_credits'::regclass) ORDER BY 1;
SELECT proname FROM pg_proc WHERE proname IN ('handle_updated_at', 'sync_plans_from_config', 'grant_signup_bonus');
SELECT version, config -> 'signup_bonus' AS signup_bonus FROM ducto.pricing ORDER BY version;
INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-000000000002');
SELECT id, balance FROM ducto.accounts ORDER BY id;
SELECT user_id FROM ducto_sdk_old.credit_transactions;
SELECT activate_pricing(1) ->> 'version' AS version;
INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-000000000003');
SELECT get_credits_balance('00000000-0000-4000-8000-000000000003') ->> 'balance' AS balance;
-- what is published without saying so means the same from now on; a bonus of 0 is none
SELECT set_active_pricing_config('{"models": {"_default": "1"}}') ->> 'version' AS version;
SELECT set_active_pricing_config('{"models": {"_default": "1"}, "signupBonus": null}') ->> 'version' AS version;
INSERT INTO auth.users VALUES ('00000000-0000-4000-8000-000000000006');
SELECT get_credits_balance('00000000-0000-4000-8000-000000000006') ->> 'balance' AS balance;
SELECT set_active_pricing_config('{"models": {"_default": "1"}, "signupBonus": 0}') ->> 'version' AS version;
SELECT version, config -> 'signup_bonus' AS signup_bonus, config ? 'signupBonus' AS theirs FROM ducto.pricing WHERE version > 3
ORDER BY version;
SELECT set_active_pricing_config('[]');
SELECT * FROM ducto_sdk_import();
SELECT * FROM ducto_verify();

-- what is another's stays: a function of such a name that is not theirs, and one that another table uses
SELECT ducto_sdk_give_back();
DROP EXTENSION ducto CASCADE;
CREATE FUNCTION handle_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE TRIGGER set_user_credits_updated_at BEFORE UPDATE ON user_credits FOR EACH ROW EXECUTE FUNCTION handle_updated_at();
CREATE TABLE profiles (updated_at timestamptz);
CREATE TRIGGER set_updated_at BEFORE UPDATE ON profiles FOR EACH ROW EXECUTE FUNCTION handle_updated_at();
CREATE FUNCTION grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER on_signup_credit_bonus AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION grant_signup_bonus();
SET client_min_messages = warning;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
-- without a trigger of theirs nobody got anything, and nobody does
SELECT * FROM ducto_sdk_import();
SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN ('auth.users'::regclass, 'profiles'::regclass) ORDER BY 1;
SELECT set_active_pricing_config('{"models": {"_default": "1"}}') ->> 'version' AS version;
SELECT version, config -> 'signup_bonus' AS signup_bonus FROM ducto.pricing ORDER BY version;
SELECT * FROM ducto_verify();

-- users elsewhere, and no pricing
SELECT ducto_sdk_give_back();
DROP EXTENSION ducto CASCADE;
DROP TRIGGER on_signup_credit_bonus ON auth.users;
TRUNCATE credit_pricing_config;
CREATE TABLE "user" (id uuid PRIMARY KEY);
CREATE OR REPLACE FUNCTION grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.credit_transactions (user_id) VALUES (NEW.id);
	RETURN NEW; END $$;
CREATE TRIGGER on_signup_credit_bonus AFTER INSERT ON "user" FOR EACH ROW EXECUTE FUNCTION grant_signup_bonus();
SET client_min_messages = warning;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SELECT * FROM ducto_sdk_import();
INSERT INTO "user" VALUES ('00000000-0000-4000-8000-000000000004');
SELECT set_active_pricing_config('{"models": {"_default": "1"}}') ->> 'version' AS version;
INSERT INTO "user" VALUES ('00000000-0000-4000-8000-000000000005');
SELECT id, balance FROM ducto.accounts ORDER BY id;
SELECT * FROM ducto_verify();

SET client_min_messages = warning;
DROP EXTENSION ducto CASCADE;
DROP SCHEMA auth, ducto_sdk_old CASCADE;
DROP TABLE profiles, "user";
DROP FUNCTION handle_updated_at();
DROP TYPE credit_tx_type;
