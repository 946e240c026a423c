-- The whole switch of a database that is in use: import, a deploy that runs the SDKs' migrations again, a sign-up, a cap
-- that is set by INSERT, a refund that is retried, a sweep, and the way back.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
\set SHOW_CONTEXT never
\set ann '\'00000000-0000-4000-8000-000000000001\''
\set bob '\'00000000-0000-4000-8000-000000000002\''
\set eve '\'00000000-0000-4000-8000-000000000003\''

-- theirs: tables, policies, functions, a trigger, data
CREATE ROLE regress_ducto_user;
CREATE ROLE regress_ducto_server BYPASSRLS;
CREATE SCHEMA auth;
CREATE TABLE auth.users (id uuid PRIMARY KEY);
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
GRANT USAGE ON SCHEMA auth TO regress_ducto_user;
CREATE TYPE credit_tx_type AS ENUM ('purchase', 'subscription', 'signup_bonus', 'usage', 'refund', 'adjustment', 'team_usage');
CREATE TABLE user_credits (user_id uuid PRIMARY KEY, balance numeric(18,4) NOT NULL DEFAULT 0, lifetime_purchased numeric(18,4) NOT NULL DEFAULT 0,
	plan_id uuid, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE credit_transactions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES user_credits, amount numeric(18,4) NOT NULL,
	type credit_tx_type NOT NULL, reference_type text, reference_id uuid, metadata jsonb DEFAULT '{}', created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE credit_reservations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid REFERENCES user_credits, amount numeric(18,4), operation_type text,
	metadata jsonb DEFAULT '{}', expires_at timestamptz, created_at timestamptz DEFAULT now(), status text DEFAULT 'active', billing_mode text,
	overdraft_floor numeric(18,4), settle_tx_id uuid);
CREATE TABLE credit_pricing_config (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), config jsonb, active boolean, version int, label text, created_at timestamptz DEFAULT now());
CREATE TABLE credit_plans (id uuid PRIMARY KEY, plan_key text, name text, free_allowance numeric(18,4), rate_overrides jsonb,
	features jsonb, default_billing_mode text, per_operation jsonb, max_concurrent int, overdraft_floor numeric(18,4));
CREATE TABLE credit_usage_window (user_id uuid, plan_id uuid, billing_period date, usage numeric(18,4));
CREATE TABLE credit_teams (id uuid PRIMARY KEY, name text, balance numeric(18,4), member_count int);
CREATE TABLE credit_team_members (team_id uuid, user_id uuid, role text, spend_cap numeric(18,4), total_spent numeric(18,4), joined_at timestamptz);
CREATE TABLE credit_spend_caps (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid, cap_type text, model text, cap_limit numeric(18,4),
	action text DEFAULT 'deny', created_at timestamptz DEFAULT now());
DO $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['user_credits', 'credit_transactions', 'credit_reservations'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY own ON %I FOR SELECT USING (auth.uid() = user_id)', t);
	END LOOP;
	FOREACH t IN ARRAY ARRAY['credit_pricing_config', 'credit_plans', 'credit_usage_window', 'credit_teams', 'credit_team_members', 'credit_spend_caps'] LOOP
		EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
		EXECUTE format('CREATE POLICY server ON %I USING (false)', t);
	END LOOP;
END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO regress_ducto_user, regress_ducto_server;
CREATE FUNCTION handle_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at = now(); RETURN NEW; END $$;
CREATE TRIGGER set_user_credits_updated_at BEFORE UPDATE ON user_credits FOR EACH ROW EXECUTE FUNCTION handle_updated_at();
CREATE FUNCTION grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	INSERT INTO public.user_credits (user_id, balance) VALUES (NEW.id, 50);
	INSERT INTO public.credit_transactions (user_id, amount, type) VALUES (NEW.id, 50, 'signup_bonus');
	RETURN NEW;
END $$;
CREATE CONSTRAINT TRIGGER on_signup_credit_bonus AFTER INSERT ON auth.users DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION grant_signup_bonus();
CREATE FUNCTION get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('balance', balance::text) FROM user_credits WHERE user_id = p_user_id $$;
INSERT INTO credit_pricing_config (config, active, version) VALUES ('{"models": {"_default": "1"}, "plans": {"pro": {"name": "Pro", "free_allowance": 10}}}', true, 1);
INSERT INTO credit_plans VALUES ('bbbbbbbb-0000-4000-8000-000000000001', 'pro', 'Pro', 10, '{}', '{}', 'strict', '{}', NULL, NULL);
INSERT INTO auth.users VALUES (:ann), (:bob);
UPDATE user_credits SET balance = balance - 20, plan_id = CASE user_id WHEN :bob THEN 'bbbbbbbb-0000-4000-8000-000000000001'::uuid END;
INSERT INTO credit_transactions (user_id, amount, type, metadata) SELECT user_id, -20, 'usage', '{"model": "gpt-4"}' FROM user_credits;
INSERT INTO credit_reservations (user_id, amount, operation_type, expires_at, billing_mode) VALUES (:ann, 5, 'chat', now() + interval '1 hour', 'strict');
INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES (:bob, 'monthly', 1000);

-- the switch
DROP FUNCTION get_credits_balance(uuid);
SET client_min_messages = warning;
CREATE EXTENSION ducto_sdk CASCADE;
SELECT ducto_grant_access('regress_ducto_server');
CALL ducto_sdk_import_batches(1);
RESET client_min_messages;
SELECT * FROM ducto_sdk_import();

-- what read their tables reads the engine
SELECT user_id, balance, lifetime_purchased, plan_id = ducto.sdk_plan_uuid('pro') AS on_pro FROM user_credits ORDER BY user_id;
SELECT deduct_with_allowance(:ann, 3) ->> 'balance_after' AS balance_after;
SELECT balance FROM user_credits WHERE user_id = :ann;
SELECT amount, type, metadata ->> 'model' AS model FROM credit_transactions WHERE user_id = :ann ORDER BY created_at, id;
SELECT amount, status, billing_mode, overdraft_floor FROM credit_reservations;
SELECT version, active, config -> 'signup_bonus' AS signup_bonus FROM credit_pricing_config;
SELECT plan_key, free_allowance, features FROM credit_plans;
SELECT create_team('Red', 100) ->> 'team_id' AS team \gset
SELECT add_team_member(:'team', :ann, 'admin', 60) ->> 'role' AS role;
SELECT deduct_team(:'team', :ann, 7) ->> 'team_balance_after' AS team_balance_after;
SELECT name, balance, member_count FROM credit_teams;
SELECT user_id, role, spend_cap, total_spent FROM credit_team_members;
SELECT amount, type, metadata ->> 'team_id' = :'team' AS of_team FROM credit_transactions WHERE user_id = :ann AND type = 'team_usage';
SELECT deduct_with_allowance(:bob, 4) ->> 'allowance_consumed' AS allowance_consumed;
SELECT user_id, plan_id = ducto.sdk_plan_uuid('pro') AS on_pro, billing_period = date_trunc('month', now()) AS this_month, usage FROM credit_usage_window;
-- by their index, not by reading everybody's entries
CREATE FUNCTION plan_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP plan := plan || line; END LOOP;
	RETURN plan;
END $$;
SET enable_seqscan = off;
SELECT plan ~ 'ledger_pkey' AS own, plan ~ 'ledger_actor' AS of_teams, plan ~ 'Seq Scan' AS everything
FROM plan_of($$SELECT * FROM credit_transactions WHERE user_id = '00000000-0000-4000-8000-000000000001'$$) plan;
RESET enable_seqscan;
DROP FUNCTION plan_of(text);

-- under the policies that they had: a user sees its own, and nothing of what was the server's
SET ROLE regress_ducto_user;
SELECT count(*) FROM user_credits;
SET request.jwt.claim.sub = '00000000-0000-4000-8000-000000000001';
SELECT user_id, balance FROM user_credits;
SELECT user_id, count(*) FROM credit_transactions GROUP BY user_id;
SELECT count(*) FROM credit_reservations;
SELECT count(*) FROM credit_spend_caps;
SELECT count(*) FROM credit_team_members;
SELECT count(*) FROM credit_pricing_config;
-- those are read by their index, without a condition of the user's too: nothing is read to be left out
CREATE FUNCTION pg_temp.read_in_vain(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE line text; vain numeric := 0;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		vain := vain + coalesce(substring(line FROM 'Rows Removed by Filter: ([0-9]+)')::numeric, 0);
	END LOOP;
	RETURN vain;
END $$;
SET enable_seqscan = off;
SELECT pg_temp.read_in_vain('SELECT * FROM user_credits') AS credits, pg_temp.read_in_vain('SELECT * FROM credit_transactions') AS transactions,
	pg_temp.read_in_vain('SELECT * FROM credit_reservations') AS reservations;
RESET enable_seqscan;
INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES (:ann, 'daily', 1000000);
UPDATE user_credits SET balance = 1000000;
SELECT * FROM ducto.accounts;
RESET ROLE;
RESET request.jwt.claim.sub;

-- a cap is set as before, and counts
SET ROLE regress_ducto_server;
INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit, action) VALUES (:ann, 'daily', 10, 'deny');
INSERT INTO credit_spend_caps (user_id, cap_type, model, cap_limit) VALUES (:ann, 'monthly', 'gpt-4', 500) RETURNING user_id, cap_limit;
SELECT user_id, cap_type, model, cap_limit, action FROM credit_spend_caps ORDER BY user_id, cap_type;
RESET ROLE;
SELECT deduct_with_allowance(:ann, 11) ->> 'error' AS error;
UPDATE credit_spend_caps SET cap_limit = 20 WHERE user_id = :ann AND cap_type = 'daily';
SELECT check_spend_cap(:ann, NULL, 11) ->> 'capped' AS capped;
UPDATE credit_spend_caps SET cap_type = 'monthly' WHERE user_id = :ann AND model IS NULL;
DELETE FROM credit_spend_caps WHERE model = 'gpt-4';
SELECT cap_type, model, cap_limit, current_spend FROM ducto_list_spend_caps(:ann);
INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES (:ann, 'yearly', 10);
-- everything else is refused, and says what to call
INSERT INTO user_credits (user_id, balance) VALUES (:eve, 1000);
UPDATE user_credits SET balance = 1000;
DELETE FROM credit_transactions;
INSERT INTO credit_transactions (user_id, amount, type) VALUES (:ann, 1000, 'purchase');
UPDATE credit_reservations SET status = 'released';
INSERT INTO credit_pricing_config (config, active, version) VALUES ('{}', true, 2);
DELETE FROM credit_plans;
UPDATE credit_usage_window SET usage = 0;
INSERT INTO credit_teams (name, balance) VALUES ('Blue', 1000);
UPDATE credit_team_members SET spend_cap = NULL;
\set VERBOSITY sqlstate
DELETE FROM credit_teams;
\set VERBOSITY default

-- a deploy runs the SDKs' migrations again: it fails, and nothing has changed
CREATE TABLE IF NOT EXISTS user_credits (user_id uuid PRIMARY KEY);
CREATE TRIGGER set_user_credits_updated_at BEFORE UPDATE ON user_credits FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE OR REPLACE FUNCTION public.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path TO ''
	AS $$ BEGIN RETURN jsonb_build_object('balance', (SELECT balance FROM public.user_credits WHERE user_id = p_user_id)); END $$;
CREATE OR REPLACE FUNCTION public.grant_signup_bonus() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN INSERT INTO public.credit_transactions (user_id, amount, type) VALUES (NEW.id, 50, 'signup_bonus'); RETURN NEW; END $$;
SELECT get_credits_balance(:ann);

-- a sign-up
INSERT INTO auth.users VALUES (:eve);
SELECT get_credits_balance(:eve) ->> 'balance' AS balance;
SELECT amount, type FROM credit_transactions WHERE user_id = :eve;
-- a refund that is retried
SELECT deduct_with_allowance(:eve, 10) ->> 'transaction_id' AS tx \gset
SELECT refund_credits(:'tx', 4, 'partly', '{"idempotency_key": "back"}') ->> 'new_balance' AS new_balance;
SELECT refund_credits(:'tx', 4, 'partly', '{"idempotency_key": "back"}') ->> 'new_balance' AS new_balance;
-- credit that is past its time does not count in the view, swept or not; the sweep reports it
SELECT credits_add(:eve, 100, 'purchase', '{"expires_at": "2001-01-01"}') ->> 'new_balance' AS new_balance;
SELECT balance FROM user_credits WHERE user_id = :eve;
SELECT expire_credits();
SELECT balance FROM user_credits WHERE user_id = :eve;
SELECT * FROM ducto_verify();

-- the extension of the functions can be made anew while the views are there
DROP EXTENSION ducto_sdk;
CREATE EXTENSION ducto_sdk;
SELECT balance FROM user_credits WHERE user_id = :eve;
INSERT INTO credit_spend_caps (user_id, cap_type, cap_limit) VALUES (:eve, 'daily', 10);
SELECT object FROM ducto_sdk_setup() WHERE object ~ '^function';

-- back: their tables as they were, and what was booked since from the ledger
CREATE TABLE orders (user_id uuid REFERENCES ducto_sdk_old.user_credits);
SELECT check_name, id, theirs, action FROM ducto_sdk_import() WHERE check_name = 'foreign key';
DROP TABLE orders;
SELECT ducto_sdk_give_back();
SELECT user_id, balance FROM user_credits ORDER BY user_id;
SELECT c.relname, c.relkind, n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname ~ '^(user_credits|credit_[a-z_]+)$' AND c.relkind IN ('r', 'v') ORDER BY 1;
INSERT INTO user_credits AS u (user_id, balance, lifetime_purchased)
SELECT a.id, a.balance, a.lifetime_purchased FROM ducto.accounts a WHERE a.kind = 'user'
ON CONFLICT (user_id) DO UPDATE SET balance = excluded.balance, lifetime_purchased = greatest(u.lifetime_purchased, excluded.lifetime_purchased);
INSERT INTO credit_transactions (id, user_id, amount, type, reference_id, metadata, created_at)
SELECT l.id, coalesce(l.actor, l.account_id), l.amount,
	(CASE WHEN l.actor IS NOT NULL THEN 'team_usage' WHEN l.type IN ('expiry', 'promo') THEN 'adjustment' ELSE l.type END)::credit_tx_type,
	l.reference, l.metadata, l.created_at
FROM ducto.ledger l WHERE NOT EXISTS (SELECT FROM credit_transactions t WHERE t.id = l.id)
AND NOT EXISTS (SELECT FROM ducto.teams t WHERE t.id = l.account_id AND l.actor IS NULL);
SELECT u.user_id, u.balance, sum(t.amount) FILTER (WHERE t.type <> 'team_usage') AS entries FROM user_credits u LEFT JOIN credit_transactions t USING (user_id)
GROUP BY 1, 2 ORDER BY 1;
SELECT * FROM ducto_verify();
SET client_min_messages = warning;
DROP EXTENSION ducto CASCADE;
CREATE FUNCTION get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE sql
	AS $$ SELECT jsonb_build_object('balance', balance::text) FROM user_credits WHERE user_id = p_user_id $$;
SELECT get_credits_balance(:eve);

DROP FUNCTION get_credits_balance(uuid);
DROP TABLE user_credits, credit_transactions, credit_reservations, credit_pricing_config, credit_plans, credit_usage_window, credit_teams,
	credit_team_members, credit_spend_caps;
DROP SCHEMA auth, ducto_sdk_old CASCADE;
DROP TYPE credit_tx_type;
DROP OWNED BY regress_ducto_user, regress_ducto_server;
DROP ROLE regress_ducto_user, regress_ducto_server;
