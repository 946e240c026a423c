# shellcheck shell=bash
# What credit that expires costs a charge, and what a refund costs. That of the
# refund is the difference to the charge that it refunds.

sql -o /dev/null -f - <<'SQL'
SET synchronous_commit = off;
SELECT count(*) FROM generate_series(:accounts + 1, 2 * :accounts) n,
	ducto_add_credits(user_id => bench.account(n), amount => 1000000, type => 'purchase');
SQL
sql -v "at=now() + interval '1 day'" -v "after=$ACCOUNTS" -v grants=3 -f "$BENCH/add_grants.sql"
PGOPTIONS='-c synchronous_commit=off' race 'Grants and refunds, synchronous_commit off, clients: 1' 1 \
	'charge_three_grants/charge<=1.6' 'charge_refund/charge<=3'
