-- What the SDKs' functions work on, the same for both: users with a short history each, some of whom are only read, one with a
-- long one, plans, caps, teams; in ducto, and copied from there.
-- :users of each kind, :entries of the long history.
\if :{?users}
\else
\set users 899
\endif
\if :{?entries}
\else
\set entries 50000
\endif
SET synchronous_commit = off;
-- ids that pgbench can write: those of users begin with 1, their teams' with 21
CREATE FUNCTION bench.id(n integer) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$SELECT lpad(n::text, 32, '0')::uuid$$;
SELECT set_active_pricing_config('{"models": {"_default": "1"},
	"plans": {"pro": {"name": "Pro", "free_allowance": 1000, "features": {"chat": true}, "max_concurrent": 20},
		"plus": {"name": "Plus", "free_allowance": 2000, "features": {"chat": true}, "max_concurrent": 20}}}');
SELECT count(set_user_plan(bench.id(n), 'pro')) FROM generate_series(11101, 11100 + :users) n;
SELECT count(deduct_with_allowance(bench.id(n), 0.01, NULL, 0, 'model-' || m % 3, '{"reference_type": "chat"}', true))
  FROM unnest(ARRAY[10100, 11100, 12100, 13100]) kind, generate_series(kind + 1, kind + :users) n, generate_series(1, 20) m;
SELECT count(deduct_with_allowance(bench.account(1), 0.01, NULL, 0, 'model-' || m % 3)) FROM generate_series(1, :entries) m;
SELECT count(c) FROM generate_series(12101, 12100 + :users) n, ducto_set_spend_cap(bench.id(n), 'daily', 100000) c;
INSERT INTO ducto.teams (id, name, created_at) SELECT bench.id(200000 + n), 'Team ' || n, now() FROM generate_series(10101, 10100 + :users) n;
INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at) SELECT id, 'team', false, now(), now() FROM ducto.teams;
SELECT count(*) FROM generate_series(10101, 10100 + :users) n, ducto_add_team_credits(team_id => bench.id(200000 + n), amount => 1000000),
	ducto_add_team_member(team_id => bench.id(200000 + n), user_id => bench.id(n), spend_cap => 1000000);

\ir sdk.sql
INSERT INTO theirs.credit_plans (id, plan_key, name, free_allowance, features, max_concurrent)
SELECT ducto.sdk_plan_uuid(id), id, name, free_allowance, features, max_concurrent FROM ducto.plans;
INSERT INTO theirs.user_credits
SELECT id, balance, lifetime_purchased, ducto.sdk_plan_uuid(plan_id), created_at, updated_at FROM ducto.accounts WHERE kind = 'user';
INSERT INTO theirs.credit_transactions (id, user_id, amount, type, reference_type, metadata, created_at)
SELECT l.id, l.account_id, l.amount, l.type::theirs.credit_tx_type, l.operation_type, l.metadata || jsonb_build_object('model', l.model,
	'allowance_consumed', l.allowance_consumed::text, 'balance_after', l.balance_after::text), l.created_at
  FROM ducto.ledger l JOIN theirs.user_credits u ON u.user_id = l.account_id;
INSERT INTO theirs.credit_pricing_config SELECT id, config, active, version, label, created_at FROM ducto.pricing;
INSERT INTO theirs.credit_spend_caps SELECT account_id, cap_type, nullif(model, ''), cap_limit, action FROM ducto.spend_caps;
INSERT INTO theirs.credit_teams SELECT t.id, t.name, a.balance, 1 FROM ducto.teams t JOIN ducto.accounts a USING (id);
INSERT INTO theirs.credit_team_members SELECT team_id, user_id, role, spend_cap, spent, joined_at FROM ducto.team_members;
VACUUM ANALYZE;
