# shellcheck shell=bash
# What a plan and two spend caps cost a charge, also when the month is long; and
# a plan that gives credit each cycle, with a session and a monthly cap.

entries=$(by_size 1000000 100000)
sql -o /dev/null -v "entries=$entries" -f - <<'SQL'
SET synchronous_commit = off;
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "1"},
  "plans": {"pro": {"name": "Pro", "free_allowance": 0.01}}}');
-- the accounts of the second half have a plan, whose allowance is used up, and two caps
SELECT count(*) FROM generate_series(:accounts / 2 + 1, :accounts) n,
	ducto_set_user_plan(user_id => bench.account(n), plan_id => 'pro'),
	ducto_set_spend_cap(user_id => bench.account(n), cap_type => 'daily', cap_limit => 100000, action => 'warn') daily,
	ducto_set_spend_cap(user_id => bench.account(n), cap_type => 'monthly', cap_limit => 1000000) monthly;
-- the last one has a long month
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, created_at, effective_at)
SELECT a.id, a.last_seq + n, gen_random_uuid(), -0.01, a.balance - 0.01 * n, 'usage', 'usage', a.updated_at, a.updated_at
  FROM ducto.accounts a, generate_series(1, :entries) n WHERE a.id = bench.account(:accounts);
UPDATE ducto.accounts SET balance = balance - 0.01 * :entries, last_seq = last_seq + :entries WHERE id = bench.account(:accounts);
UPDATE ducto.spend_caps SET spent = spent + 0.01 * :entries WHERE account_id = bench.account(:accounts);
VACUUM ANALYZE;
SQL
PGOPTIONS='-c synchronous_commit=off' race 'Plan and two caps, synchronous_commit off, clients: 1' 1 \
	'charge_plan_caps/charge_plain<=1.5'
PGOPTIONS='-c synchronous_commit=off' race "Plan and two caps: an account with $entries entries in the month" 1 \
	'charge_plan_caps_of_1000000/charge_plan_caps_of_10<=1.1'
sql -o /dev/null -f - <<'SQL'
SET synchronous_commit = off;
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "1"},
  "plans": {"max": {"name": "Max", "grants": [{"amount": 1000000}], "caps": [
	{"cap_type": "session", "cap_limit": 1000000, "window_length": "5 hours"}, {"cap_type": "monthly", "cap_limit": 1000000}]}}}');
SELECT count(*) FROM generate_series(:accounts / 2 + 1, :accounts / 2 + 1000) n,
	ducto_remove_spend_cap(user_id => bench.account(n), cap_type => 'daily') daily,
	ducto_remove_spend_cap(user_id => bench.account(n), cap_type => 'monthly') monthly,
	ducto_set_user_plan(user_id => bench.account(n), plan_id => 'max');
VACUUM ANALYZE;
SQL
PGOPTIONS='-c synchronous_commit=off' race 'Plan with cycle grants, a session and a monthly cap' 1 'charge_cycle/charge_plain<=1.5'
