# shellcheck shell=bash
# What a charge to a team's pool costs, and how many there can be on one pool:
# beside as many bare statements on one row.

sql -o /dev/null -f - <<'SQL'
SET synchronous_commit = off;
-- teams have the ids after those of the accounts, each has one member: the account of the same place
INSERT INTO ducto.teams (id, name, created_at)
SELECT bench.account(:accounts + n), 'Team ' || n, now() FROM generate_series(1, :accounts / 10) n;
INSERT INTO ducto.accounts (id, kind, plain, created_at, updated_at) SELECT id, 'team', false, now(), now() FROM ducto.teams;
SELECT count(*) FROM generate_series(1, :accounts / 10) n,
	ducto_add_team_credits(team_id => bench.account(:accounts + n), amount => 1000000),
	ducto_add_team_member(team_id => bench.account(:accounts + n), user_id => bench.account(n), spend_cap => 1000000);
-- 16 members share the first pool
SELECT count(*) FROM generate_series(1, 16) n,
	ducto_add_team_member(team_id => bench.account(:accounts + 1), user_id => bench.account(n), spend_cap => 1000000);
VACUUM ANALYZE;
SQL
PGOPTIONS='-c synchronous_commit=off' race 'Teams, synchronous_commit off, clients: 1' 1 'deduct_team/charge<=1.5'
for sync in off on; do
	PGOPTIONS="-c synchronous_commit=$sync" race \
		"One hot pool, synchronous_commit $sync, clients: 16 (compare ops/s: at least 0.7)" 16 \
		'deduct_team_hot/bare_statement_hot'
done
