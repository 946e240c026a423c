-- What ducto_sweep_expired does for 1 grant or 1,000,000, as bare statements.
BEGIN;
UPDATE bare.grants g SET remaining = 0, live = false
  FROM bare.accounts a WHERE a.id = g.account_id AND g.live AND g.expires_at <= now();
INSERT INTO bare.ledger (account_id, seq, id, amount, balance_after, type, reference, created_at, effective_at)
SELECT g.account_id, a.last_seq + row_number() OVER w, gen_random_uuid(), -g.amount, a.balance - sum(g.amount) OVER w,
	   'expiry', g.id, now(), g.expires_at
  FROM bare.grants g JOIN bare.accounts a ON a.id = g.account_id
WINDOW w AS (PARTITION BY g.account_id ORDER BY g.expires_at, g.seq);
COMMIT;
