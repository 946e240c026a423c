# shellcheck shell=bash
# What the length of an account's ledger costs: nothing.

entries=$(by_size 1000000 100000)
sql -v "entries=$entries" -f - <<'SQL'
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, idempotency_key, created_at, effective_at)
SELECT a.id, a.last_seq + n, gen_random_uuid(), -0.01, a.balance - 0.01 * n, 'usage', 'usage', 'request-' || n, a.updated_at, a.updated_at
  FROM ducto.accounts a, generate_series(1, :entries) n WHERE a.id = bench.account(1);
UPDATE ducto.accounts SET balance = balance - 0.01 * :entries, last_seq = last_seq + :entries WHERE id = bench.account(1);
VACUUM ANALYZE ducto.ledger, ducto.accounts;
SQL
PGOPTIONS='-c synchronous_commit=off' race "Growth: an account with $entries entries" 1 'charge_of_1000000/charge_of_10<=1.1'
