-- Moving a database of the SDKs' own engine, with all that there can be in it.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
\set SHOW_CONTEXT never

-- without their tables there is nothing to move
SELECT * FROM ducto_sdk_import();

CREATE TYPE credit_tx_type AS ENUM ('purchase', 'subscription', 'signup_bonus', 'adjustment', 'usage', 'refund', 'team_usage');
CREATE TABLE user_credits (user_id uuid PRIMARY KEY, balance numeric(18,4) NOT NULL DEFAULT 0,
	lifetime_purchased numeric(18,4) NOT NULL DEFAULT 0, plan_id uuid, created_at timestamptz DEFAULT now(),
	updated_at timestamptz DEFAULT now());
CREATE TABLE credit_transactions (id uuid PRIMARY KEY, user_id uuid NOT NULL, amount numeric(18,4) NOT NULL,
	type credit_tx_type NOT NULL, reference_type text, reference_id uuid, metadata jsonb DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE credit_reservations (id uuid PRIMARY KEY, user_id uuid NOT NULL, amount numeric(18,4) NOT NULL,
	operation_type text, metadata jsonb DEFAULT '{}', expires_at timestamptz NOT NULL, created_at timestamptz DEFAULT now(),
	status text NOT NULL DEFAULT 'active', billing_mode text NOT NULL DEFAULT 'strict', overdraft_floor numeric(18,4),
	settle_tx_id uuid);
CREATE TABLE credit_pricing_config (id uuid PRIMARY KEY, config jsonb NOT NULL, active boolean NOT NULL, version integer NOT NULL,
	label text, created_at timestamptz DEFAULT now());
CREATE TABLE credit_plans (id uuid PRIMARY KEY, plan_key text UNIQUE, name text, free_allowance numeric(18,4) DEFAULT 0,
	rate_overrides jsonb DEFAULT '{}', features jsonb DEFAULT '{}', default_billing_mode text DEFAULT 'strict',
	per_operation jsonb DEFAULT '{}', max_concurrent integer, overdraft_floor numeric(18,4));
CREATE TABLE credit_usage_window (user_id uuid, plan_id uuid, billing_period date, usage numeric(18,4) DEFAULT 0,
	PRIMARY KEY (user_id, plan_id, billing_period));
CREATE TABLE credit_teams (id uuid PRIMARY KEY, name text, balance numeric(18,4) DEFAULT 0, member_count integer DEFAULT 0);
CREATE TABLE credit_team_members (team_id uuid, user_id uuid, role text DEFAULT 'member', spend_cap numeric(18,4),
	total_spent numeric(18,4) DEFAULT 0, joined_at timestamptz DEFAULT now(), PRIMARY KEY (team_id, user_id));
CREATE TABLE credit_spend_caps (user_id uuid, cap_type text, model text, cap_limit numeric(18,4), action text DEFAULT 'deny');

-- nothing in them
SELECT * FROM ducto_sdk_import();

-- Users u(1), u(2)…, entries e(1)…, leases h(1)…, plans, teams, versions.
CREATE FUNCTION u(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('00000000-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid $$;
CREATE FUNCTION e(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('eeeeeeee-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid $$;
CREATE FUNCTION h(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('aaaaaaaa-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid $$;
CREATE FUNCTION p(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('bbbbbbbb-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid $$;
CREATE FUNCTION t(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE
	AS $$ SELECT ('dddddddd-0000-4000-8000-00000000' || lpad(n::text, 4, '0'))::uuid $$;

INSERT INTO credit_pricing_config (id, config, active, version, label) VALUES
	('cccccccc-0000-4000-8000-000000000001', '{"models": {"_default": "input_tokens * nonsense"}}', false, 1, 'broken'),
	('cccccccc-0000-4000-8000-000000000002', '{"models": {"_default": "1"}}', false, 2, 'first'),
	('cccccccc-0000-4000-8000-000000000004', '{"models": {"_default": "input_tokens * 0.5"}, "plans":
		{"pro": {"name": "Pro", "free_allowance": 500}, "team": {"name": "Team"}}}', true, 4, 'second');
INSERT INTO credit_plans VALUES
	(p(1), 'pro', 'Pro', 800, '{}', '{"chat": true}', 'strict_prepaid', '{"agent": {"billing_mode": "strict_prepaid"}}', 3, NULL),
	(p(2), 'gold', 'Gold', 10, '{"gpt-4": "1"}', '{}', 'overdraft', '{}', NULL, -50),
	(p(3), 'broken', 'Broken', 0, '{}', '{}', 'strict', '{}', 0, NULL);

-- 1: a purchase, a charge, a refund of a part
INSERT INTO user_credits VALUES (u(1), 80, 100);
INSERT INTO credit_transactions VALUES
	(e(1), u(1), 100, 'purchase', NULL, NULL, '{"idempotency_key": "buy-1"}', now() - interval '40 days'),
	(e(2), u(1), -30, 'usage', 'chat', u(77), '{"idempotency_key": "use-1", "model": "gpt-4"}', now() - interval '39 days'),
	(e(3), u(1), 10, 'refund', NULL, e(2), '{}', now() - interval '38 days');
-- 2: two live grants, of which the sooner is spent and the later in part
INSERT INTO user_credits VALUES (u(2), 120, 190);
INSERT INTO credit_transactions VALUES
	(e(10), u(2), 100, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() + interval '30 days'), now() - interval '9 days'),
	(e(11), u(2), 50, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() + interval '10 days'), now() - interval '8 days'),
	(e(12), u(2), -70, 'usage', NULL, NULL, '{}', now() - interval '7 days'),
	(e(13), u(2), 40, 'purchase', NULL, NULL, NULL, now() - interval '6 days');
-- 3: credit past its time that nobody has swept
INSERT INTO user_credits VALUES (u(3), 50, 60);
INSERT INTO credit_transactions VALUES
	(e(20), u(3), 60, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() - interval '1 day'), now() - interval '9 days'),
	(e(21), u(3), -10, 'usage', NULL, NULL, '{}', now() - interval '8 days');
-- 4: a swept grant, and a live one
INSERT INTO user_credits VALUES (u(4), 20, 85);
INSERT INTO credit_transactions VALUES
	(e(30), u(4), 60, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() - interval '5 days', 'swept_at',
		now() - interval '4 days'), now() - interval '20 days'),
	(e(31), u(4), 25, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() + interval '20 days'), now() - interval '19 days'),
	(e(32), u(4), -20, 'usage', NULL, NULL, '{}', now() - interval '18 days'),
	(e(33), u(4), -40, 'adjustment', NULL, NULL, '{"reason": "credit_expired"}', now() - interval '4 days'),
	(e(34), u(4), -5, 'usage', NULL, NULL, '{}', now() - interval '3 days');
-- 5: a ledger that does not sum to the balance
INSERT INTO user_credits VALUES (u(5), 500, 520);
INSERT INTO credit_transactions VALUES (e(40), u(5), -20, 'usage', NULL, NULL, '{}', now() - interval '2 days');
-- 6: a plan, an allowance window that counts more than the entries, caps, open leases
INSERT INTO user_credits VALUES (u(6), 250, 300, p(1));
INSERT INTO credit_transactions VALUES
	(e(50), u(6), 300, 'purchase', NULL, NULL, '{}', now() - interval '70 days'),
	(e(51), u(6), -50, 'usage', 'chat', NULL, '{"model": "gpt-4", "allowance_consumed": "200"}', now());
INSERT INTO credit_usage_window VALUES
	(u(6), p(1), date_trunc('month', now()), 300), (u(6), p(2), date_trunc('month', now()), 7),
	(u(6), p(1), date_trunc('month', now()) - interval '1 month', 800);
INSERT INTO credit_spend_caps VALUES
	(u(6), 'daily', NULL, 100, 'deny'), (u(6), 'monthly', 'gpt-4', 1000, 'warn'), (u(6), 'weekly', NULL, 5, 'deny'),
	(u(6), 'daily', NULL, 150, 'deny');
INSERT INTO credit_reservations VALUES
	(h(1), u(6), 20, 'chat', '{"model": "gpt-4"}', now() + interval '1 hour', now(), 'active', 'strict', NULL),
	(h(2), u(6), 15, 'agent', '{}', now() + interval '2 hours', now(), 'active', 'overdraft', -30);
-- 7: leases of all states
INSERT INTO user_credits VALUES (u(7), 90, 100);
INSERT INTO credit_transactions VALUES
	(e(60), u(7), 100, 'purchase', NULL, NULL, '{}', now() - interval '2 days'),
	(e(61), u(7), -10, 'usage', 'chat', NULL, '{"idempotency_key": "settle-1"}', now() - interval '1 day');
INSERT INTO credit_reservations VALUES
	(h(10), u(7), 12, 'agent', '{}', now() - interval '23 hours', now() - interval '25 hours', 'settled', 'strict', NULL, e(61)),
	(h(11), u(7), 5, 'agent', NULL, now() - interval '23 hours', now() - interval '25 hours', 'settled', 'strict', NULL, NULL),
	(h(12), u(7), 6, 'agent', '{}', now() - interval '23 hours', now() - interval '25 hours', 'released', 'strict', NULL, NULL),
	(h(13), u(7), 7, 'agent', '{}', now() - interval '23 hours', now() - interval '25 hours', 'expired', 'strict', NULL, NULL),
	(h(14), u(7), 8, 'agent', '{}', now() - interval '23 hours', now() - interval '25 hours', 'active', 'strict', NULL, NULL),
	(h(15), u(7), 9, NULL, '{}', now() + interval '1 hour', now(), 'active', 'strict_prepaid', NULL, NULL);
-- 8: a debt that takes of a grant
INSERT INTO user_credits VALUES (u(8), 20, 50);
INSERT INTO credit_transactions VALUES
	(e(70), u(8), -30, 'usage', NULL, NULL, '{}', now() - interval '3 days'),
	(e(71), u(8), 50, 'purchase', NULL, NULL, jsonb_build_object('expires_at', now() + interval '5 days'), now() - interval '2 days');
-- 9: what the engine cannot have
INSERT INTO user_credits VALUES (u(9), 95, 100, p(9));
INSERT INTO credit_transactions VALUES
	(e(80), u(9), 100, 'purchase', NULL, NULL, '{"idempotency_key": "twice"}', now() - interval '9 days'),
	(e(81), u(9), 'NaN', 'adjustment', NULL, NULL, '{}', now() - interval '8 days'),
	(e(82), u(9), -10, 'usage', NULL, NULL, '{"idempotency_key": "twice"}', now() - interval '7 days'),
	(e(83), u(9), 8, 'refund', NULL, e(82), '{}', now() - interval '6 days'),
	(e(84), u(9), 8, 'refund', NULL, e(82), '{}', now() - interval '5 days'),
	(e(85), u(9), 1, 'refund', NULL, e(999), '{}', now() - interval '4 days'),
	(e(86), u(9), 2, 'usage', NULL, NULL, '"a text"', now() - interval '3 days'),
	(e(87), u(9), -4, 'purchase', NULL, NULL, '{"expires_at": "tomorrow-ish"}', now() - interval '2 days'),
	(e(88), u(9), 3, 'signup_bonus', NULL, NULL, '{"expires_at": "2999-01-01T00:00:00"}', now() - interval '1 day'),
	(e(89), u(9), -13, 'usage', repeat('long', 100), NULL, jsonb_build_object('idempotency_key', repeat('k', 256)), now());
-- 10: a ledger without an account
INSERT INTO credit_transactions VALUES (e(90), u(10), 5, 'purchase', NULL, NULL, '{}', now() - interval '1 day');
-- 11: the engine has the account already
INSERT INTO user_credits VALUES (u(11), 33, 33);
INSERT INTO credit_transactions VALUES (e(91), u(11), 33, 'purchase', NULL, NULL, '{}', now() - interval '1 day');
SELECT error FROM ducto_add_credits(u(11), 7, 'purchase');
-- teams
INSERT INTO credit_teams VALUES (t(1), 'Red', 900, 2), (t(2), 'Blue', 0, 5);
INSERT INTO credit_team_members VALUES
	(t(1), u(1), 'admin', 200, 60, now() - interval '5 days'), (t(1), u(6), 'member', NULL, 41, now()), (t(3), u(1), 'member', NULL, 0, now());
INSERT INTO credit_transactions VALUES
	(e(100), u(1), -60, 'team_usage', 'chat', NULL, jsonb_build_object('team_id', t(1), 'model', 'gpt-4'), now()),
	(e(101), u(6), -40, 'team_usage', NULL, NULL, jsonb_build_object('team_id', t(1), 'idempotency_key', 'team-1'), now()),
	(e(102), u(12), -3, 'team_usage', NULL, NULL, jsonb_build_object('team_id', t(3)), now()),
	(e(103), u(12), -3, 'team_usage', NULL, NULL, '{"team_id": "red"}', now());

-- what it would do, and that it did nothing
SET ducto.progress_interval = 0;
CREATE TEMPORARY TABLE dry AS SELECT * FROM ducto_sdk_import(dry_run => true);
RESET ducto.progress_interval;
SELECT count(*) FROM ducto.accounts;
SELECT count(*) FROM ducto.ledger;
SELECT count(*) FROM ducto.pricing;
SELECT count(*) FROM ducto.plans;

-- interrupted in the second batch: the first stays, the second leaves nothing
CREATE FUNCTION break() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'interrupted'; END $$;
CREATE TRIGGER break BEFORE INSERT ON ducto.ledger FOR EACH ROW
	WHEN (NEW.id = 'eeeeeeee-0000-4000-8000-000000000040') EXECUTE FUNCTION break();
CALL ducto_sdk_import_batches(2);
SELECT count(*) FROM ducto.accounts WHERE id IN (u(1), u(2), u(3), u(4), u(5), u(6));
SELECT * FROM ducto_verify();
DROP TRIGGER break ON ducto.ledger;
DROP FUNCTION break();

-- the rest, and what differs: what the dry run said
SET ducto.progress_interval = 0;
CALL ducto_sdk_import_batches(5);
RESET ducto.progress_interval;
CREATE TEMPORARY TABLE wet AS SELECT * FROM ducto_sdk_import();
SELECT check_name, id, left(theirs, 30) AS theirs, ours, action FROM wet ORDER BY check_name, id COLLATE "C", theirs COLLATE "C";
SELECT count(*) AS only_dry FROM (TABLE dry EXCEPT TABLE wet) d;
SELECT count(*) AS only_wet FROM (TABLE wet EXCEPT TABLE dry) w;
SELECT * FROM ducto_verify();

-- again
SELECT count(*) AS changed FROM (SELECT * FROM ducto_sdk_import() EXCEPT TABLE wet) a;

-- what it moved
SELECT right(a.id::text, 4) AS account, kind, balance, held, expiring, lifetime_purchased AS purchased, plan_id, allowance_used AS used,
	caps, plain, last_seq, next_boundary = '-infinity' AS due, next_boundary = 'infinity' AS never
FROM ducto.accounts a ORDER BY a.id;
SELECT right(account_id::text, 4) AS account, seq, right(id::text, 4) AS entry, amount, balance_after, type, operation_type AS operation,
	right(actor::text, 4) AS actor, model, idempotency_key AS key, right(reference::text, 4) AS ref, allowance_consumed AS allowance,
	burned_amounts AS burned, lifetime_purchased AS purchased, expires_at IS NOT NULL AS expires,
	metadata - 'expires_at' - 'swept_at' - 'idempotency_key' - 'model' - 'team_id' AS metadata
FROM ducto.ledger l WHERE octet_length(metadata::text) < 300 AND account_id <> u(11) ORDER BY account_id, l.seq;
SELECT right(account_id::text, 4) AS account, right(id::text, 4) AS entry, type, amount, remaining, priority, expires_at > now() AS live
FROM ducto.grants ORDER BY account_id, seq;
SELECT right(account_id::text, 4) AS account, right(id::text, 4) AS lease, amount, remaining, operation_type, model, billing_mode, floor,
	state, closing_balance, cap_held, closed_at IS NOT NULL AS closed
FROM ducto.reservations ORDER BY account_id, id;
SELECT right(account_id::text, 4) AS account, cap_type, model, cap_limit, action, spent, held FROM ducto.spend_caps
ORDER BY account_id, cap_type;
SELECT right(team_id::text, 4) AS team, right(user_id::text, 4) AS member, role, spend_cap, spent FROM ducto.team_members
ORDER BY team_id, user_id;
SELECT version, label, active, right(id::text, 4) AS id, config FROM ducto.pricing ORDER BY version;
SELECT * FROM ducto.plans ORDER BY id;

-- and life goes on
SELECT balance, reserved, available FROM ducto_get_balance(u(3));
SELECT error, amount, balance_after FROM ducto_charge(u(2), 90);
SELECT amount, remaining FROM ducto_list_grants(u(2));
SELECT amount, idempotent, error FROM ducto_charge(u(1), 30, idempotency_key => 'use-1');
SELECT amount, idempotent, error FROM ducto_deduct(u(7), h(10), 10, idempotency_key => 'settle-1');
SELECT amount, balance_after, error FROM ducto_deduct(u(6), h(1), 18);
SELECT released, reason FROM ducto_release(u(7), h(14));
SELECT amount, error FROM ducto_refund(e(12));
SELECT error FROM ducto_refund(e(2), 21);
SELECT amount, new_balance, error FROM ducto_refund(e(2));
SELECT team_balance_after, error FROM ducto_deduct_team(t(1), u(1), 141);
SELECT team_balance_after, error FROM ducto_deduct_team(t(1), u(1), 140);
SELECT error FROM ducto_set_user_plan(u(1), 'gold');
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM ducto_spend_by_model(now() - interval '100 days', now());
SELECT * FROM ducto_verify();
SELECT check_name, id, theirs, ours, action FROM ducto_sdk_import() w
WHERE NOT EXISTS (SELECT FROM wet WHERE (wet.check_name, wet.id, wet.theirs, wet.action) = (w.check_name, w.id, w.theirs, w.action))
ORDER BY check_name, id COLLATE "C", theirs COLLATE "C";

-- refusals
ALTER EVENT TRIGGER ducto_sdk_guard DISABLE;
CREATE FUNCTION deduct_with_allowance(p_user_id uuid, p_amount integer) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
SELECT * FROM ducto_sdk_import();
CALL ducto_sdk_import_batches();
DROP FUNCTION deduct_with_allowance(uuid, integer);
BEGIN;
CREATE OR REPLACE FUNCTION credits_add(p_user_id uuid, p_amount numeric, p_type text DEFAULT 'adjustment', p_metadata jsonb DEFAULT NULL)
	RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '{}'; END $$;
SELECT * FROM ducto_sdk_import();
ROLLBACK;
ALTER EVENT TRIGGER ducto_sdk_guard ENABLE ALWAYS;
SELECT * FROM ducto_sdk_import(NULL);
SELECT * FROM ducto_sdk_import(batch_size => NULL);
SELECT * FROM ducto_sdk_import(batch_size => 0);
BEGIN;
CALL ducto_sdk_import_batches();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM ducto_sdk_import();
ROLLBACK;
CREATE ROLE regress_ducto_import;
SET ROLE regress_ducto_import;
SELECT * FROM ducto_sdk_import();
CALL ducto_sdk_import_batches();
RESET ROLE;
DROP ROLE regress_ducto_import;
SELECT ducto_sdk_give_back();
ALTER TABLE credit_spend_caps RENAME TO credit_spend_caps_old;
SELECT * FROM ducto_sdk_import();
SELECT * FROM ducto_verify();
DROP TABLE user_credits, credit_transactions, credit_reservations, credit_pricing_config, credit_plans, credit_usage_window,
	credit_teams, credit_team_members, credit_spend_caps_old;
DROP TYPE credit_tx_type;
DROP FUNCTION u(integer), e(integer), h(integer), p(integer), t(integer);
