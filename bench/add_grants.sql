-- Gives :grants grants of 100 credits, which expire one after the other from
-- :at on, to each account after the first :after.
BEGIN;
SET LOCAL synchronous_commit = off;
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, created_at, effective_at)
SELECT a.id, a.last_seq + n, gen_random_uuid(), 100, a.balance + 100 * n, 'promo', a.lifetime_purchased,
	   :at + n * interval '1 ms', a.updated_at, a.updated_at
  FROM generate_series(1, :grants) n, ducto.accounts a WHERE a.id > bench.account(:after)
 ORDER BY n, a.id;
INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
SELECT account_id, id, seq, type, amount, amount, 50, expires_at, created_at, true
  FROM ducto.ledger WHERE type = 'promo' ORDER BY seq, account_id;
UPDATE ducto.accounts
   SET balance = balance + 100 * :grants, expiring = 100 * :grants, last_seq = last_seq + :grants,
	   next_boundary = :at + interval '1 ms'
 WHERE id > bench.account(:after);
COMMIT;
VACUUM ANALYZE;
