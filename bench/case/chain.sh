# shellcheck shell=bash
# What the digests of ducto.ledger_chain cost, on accounts that have some.

sql -o /dev/null -f - <<'SQL'
SET synchronous_commit = off;
SET ducto.ledger_chain = on;
SELECT count(*) FROM generate_series(1, :accounts) n, ducto_charge(user_id => bench.account(n), amount => 0.01);
VACUUM ANALYZE ducto.accounts, ducto.ledger;
SQL
PGOPTIONS='-c synchronous_commit=off' race 'Digests, synchronous_commit off, clients: 1' 1 'charge_chain/charge<=1.15' \
	'charge_key_chain/charge_key<=1.15'
