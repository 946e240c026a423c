-- Gives all accounts a plan, whose cycle is over at :at, and so is the 100
-- credits that it gave.
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "1"},
  "plans": {"pro": {"name": "Pro", "grants": [{"amount": 100}]}}}');
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, cycle_end, priority,
	   metadata, created_at, effective_at)
SELECT id, last_seq + 1, gen_random_uuid(), 100, balance + 100, 'subscription', lifetime_purchased, :at, :at, 50,
	   '{"plan_id": "pro"}', updated_at, updated_at FROM ducto.accounts;
INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
SELECT account_id, id, seq, type, amount, amount, priority, expires_at, created_at, true
  FROM ducto.ledger WHERE type = 'subscription' ORDER BY account_id;
UPDATE ducto.accounts
   SET balance = balance + 100, expiring = 100, last_seq = last_seq + 1, next_boundary = :at, plan_id = 'pro', plain = false,
	   anchor = :at, cycle_start = :at - interval '1 month', cycle_end = :at;
COMMIT;
VACUUM ANALYZE;
