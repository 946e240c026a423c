# shellcheck shell=bash
# The turn of a cycle for all accounts at once: what their plan gave expires, and
# it gives anew; against the bare statements for the same rows.

rounds=$(by_size 3 1)
declare -A most_memory

# measure NAME COMMAND… notes what a sweep costs.
measure() {
	memory_of cpu_of "${@:2}"
	echo "$round $1 $cpu $ACCOUNTS $(calculate "$ACCOUNTS / $seconds")" >>"$T/race"
	most_memory[$1]=$(memory_at max)
}

sql -o /dev/null -v 'at=now()' -f "$BENCH/turn.sql"
sql -f - <<'SQL'
SET synchronous_commit = off;
TRUNCATE bare.accounts, bare.ledger, bare.grants, plain.accounts, plain.ledger;
INSERT INTO bare.accounts SELECT * FROM ducto.accounts;
INSERT INTO bare.ledger SELECT * FROM ducto.ledger;
INSERT INTO bare.grants SELECT * FROM ducto.grants;
VACUUM ANALYZE;
SQL

: >"$T/race"
template=$PGDATABASE
for ((round = 1; round <= rounds; round++)); do
	sql -d postgres -c "CREATE DATABASE turn TEMPLATE $template"
	PGDATABASE=turn
	measure bare_turn sql -f "$BENCH/bare_turn.sql"
	measure turn sql -o /dev/null -c 'SELECT * FROM ducto_sweep_expired()'
	verify >"$T/verify.log"
	sql -d postgres -c 'DROP DATABASE turn'
done
PGDATABASE=$template
race_table "Turn of the cycles of $ACCOUNTS accounts" 'turn/bare_turn<=2.5'
{
	echo 'sweep|memory of the backend, MB'
	for name in bare_turn turn; do
		echo "${name//_/ }|${most_memory[$name]}"
	done
} | table 'Memory'
