-- Credits for all accounts by bare statements: entries and rows.
INSERT INTO bare.ledger (account_id, seq, id, amount, balance_after, type, created_at, effective_at, lifetime_purchased)
SELECT a.id, a.last_seq + 1, gen_random_uuid(), 1, a.balance + 1, 'promo', clock_timestamp(), clock_timestamp(), a.lifetime_purchased
  FROM bare.accounts a;
UPDATE bare.accounts a SET balance = a.balance + v.amount, last_seq = a.last_seq + 1, updated_at = clock_timestamp()
  FROM (SELECT bench.account(n) AS id, 1.0000 AS amount FROM generate_series(1, :accounts) n) v WHERE a.id = v.id;
