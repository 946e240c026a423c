-- The bare statement on one row that all clients write.
\set n 1
WITH a AS (
	UPDATE bare.accounts SET balance = balance - 0.01, last_seq = last_seq + 1, updated_at = clock_timestamp()
	 WHERE id = lpad(to_hex(:n::bigint), 32, '0')::uuid AND balance >= 0.01
	RETURNING id, balance, last_seq, updated_at
)
INSERT INTO bare.ledger (account_id, seq, id, amount, balance_after, type, operation_type, created_at, effective_at)
SELECT id, last_seq, gen_random_uuid(), -0.01, balance, 'usage', 'usage', updated_at, updated_at FROM a;
