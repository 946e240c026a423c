# shellcheck shell=bash
# What the length of an account's ledger costs: nothing.

read -r -a lengths <<<"$(by_size '10 1000 10000 100000 1000000' '10 1000 10000 100000')"
longest=${lengths[-1]}
sql -v "longest=$longest" -f - <<'SQL'
SET synchronous_commit = off;
CREATE TABLE bench.long AS
SELECT bench.account(n) AS id,
  least(:longest, CASE WHEN n = 1 THEN 1000000 WHEN n = 2 THEN 100000
    WHEN n < 13 THEN 10000 WHEN n < 113 THEN 1000 ELSE 10 END) AS entries
  FROM generate_series(1, 10112) n;
INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, idempotency_key,
  created_at, effective_at)
SELECT id, a.last_seq + n, gen_random_uuid(), -0.01, a.balance - 0.01 * n, 'usage', 'usage', 'request-' || n,
  a.updated_at, a.updated_at
  FROM bench.long JOIN ducto.accounts a USING (id), generate_series(1, entries) n;
UPDATE ducto.accounts a SET balance = balance - 0.01 * entries, last_seq = last_seq + entries FROM bench.long l WHERE l.id = a.id;
VACUUM ANALYZE ducto.ledger, ducto.accounts;
SQL
export PGOPTIONS='-c synchronous_commit=off'
specs=()
for script in charge_of balance_of page_of; do
	for length in "${lengths[@]:1}"; do
		specs+=("$script@$length/$script@10$([ "$length" -lt "$longest" ] || echo '<=1.1')")
	done
done
race 'Growth: an account with a number of entries' 1 "${specs[@]}"
medians | sed -n 's/^\([a-z]*\)_of@\([0-9]*\) \([^ ]*\) .*/\1 \2 \3/p' | sort -k 1,1 -k 2,2n |
	plot growth 'Cost against the length of the ledger' 'entries of the account' 'server CPU per call, us' 'set logscale x'
