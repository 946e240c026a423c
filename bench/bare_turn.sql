-- What a sweep does at the turn of a cycle, as bare statements: what is left of
-- what the last cycle gave expires, the new one gives.
BEGIN;
UPDATE bare.grants g SET remaining = 0, live = false
  FROM bare.accounts a WHERE a.id = g.account_id AND g.live AND g.expires_at <= now();
INSERT INTO bare.ledger (account_id, seq, id, amount, balance_after, type, reference, created_at, effective_at)
SELECT g.account_id, a.last_seq + 1, gen_random_uuid(), -g.amount, a.balance - g.amount, 'expiry', g.id, now(), g.expires_at
  FROM bare.grants g JOIN bare.accounts a ON a.id = g.account_id;
INSERT INTO bare.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at, expires_at, priority,
	   lifetime_purchased, cycle_end, metadata)
SELECT a.id, a.last_seq + 2, gen_random_uuid(), 100, a.balance, 'subscription', now(), now(), now() + interval '1 month', 50,
	   a.lifetime_purchased, now() + interval '1 month', jsonb_build_object('plan_id', a.plan_id)
  FROM bare.accounts a WHERE a.plan_id IS NOT NULL;
INSERT INTO bare.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
SELECT account_id, id, seq, type, amount, amount, priority, expires_at, created_at, true
  FROM bare.ledger WHERE cycle_end > now();
UPDATE bare.accounts SET last_seq = last_seq + 2, updated_at = now(), cycle_start = cycle_end, cycle_end = now() + interval '1 month'
 WHERE plan_id IS NOT NULL;
COMMIT;
