# shellcheck shell=bash
# Expiring many due grants, against the bare statements for the same rows, and
# while others charge.

grants=$(by_size 10 1) # of each account
rounds=$(by_size 3 1)
due=$((grants * ACCOUNTS))
declare -A most_memory

# measure NAME COMMAND… notes what a sweep costs.
measure() {
	memory_of cpu_of "${@:2}"
	echo "$round $1 $cpu $due $(calculate "$due / $seconds")" >>"$T/race"
	most_memory[$1]=$(memory_at max)
}

# sweep_while_charging sweeps beside a client that charges.
sweep_while_charging() {
	local alone client before start rate

	PGOPTIONS='-c synchronous_commit=off' pgbench_run charge 1 "$(by_size 20000 4000)"
	alone=$rate
	PGOPTIONS='-c synchronous_commit=off' "$BIN/pgbench" -n -M prepared -T 3600 -D "accounts=$ACCOUNTS" \
		-l --log-prefix="$T/charge" -f "$BENCH/pgbench/charge.sql" >"$T/pgbench.log" 2>&1 &
	client=$!
	sleep 1
	before=$(charges)
	start=$EPOCHREALTIME
	sql -c 'CALL ducto_sweep()' 2>"$T/sweep.log"
	seconds=$(calculate "$EPOCHREALTIME - $start")
	rate=$(calculate "int(($(charges) - $before) / $seconds)")
	kill $client
	wait $client || true
	{
		echo 'what|figure'
		echo "due grants|$due"
		echo "seconds|$seconds"
		echo "charges per second, alone|$alone"
		echo "charges per second, meanwhile|$rate"
		echo "longest charge, ms|$(awk '$3 > max { max = $3 } END { print max / 1000 }' "$T"/charge.*)"
	} | table 'CALL ducto_sweep() while a client charges'
}

charges() { sql -c "SELECT count(*) FROM ducto.ledger WHERE type = 'usage'"; }

sql -v 'at=now()' -v after=0 -v "grants=$grants" -f "$BENCH/add_grants.sql"
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
	for sweep in 'SELECT * FROM ducto_sweep_expired()' 'CALL ducto_sweep()'; do
		sql -d postgres -c "CREATE DATABASE sweep TEMPLATE $template"
		PGDATABASE=sweep
		case $sweep in
		SELECT*)
			measure bare_sweep sql -f "$BENCH/bare_sweep.sql"
			measure sweep_expired sql -o /dev/null -c "$sweep"
			;;
		CALL*) measure sweep sql -c 'SET client_min_messages = warning' -c "$sweep" ;;
		esac
		verify >"$T/verify.log"
		sql -d postgres -c 'DROP DATABASE sweep'
	done
done
PGDATABASE=$template
race_table "Sweep of $due due grants of $ACCOUNTS accounts" 'sweep_expired/bare_sweep<=2.5' 'sweep/bare_sweep<=2.5'
{
	echo 'sweep|memory of the backend, MB'
	for name in bare_sweep sweep_expired sweep; do
		echo "${name//_/ }|${most_memory[$name]}"
	done
} | table 'Memory'
sweep_while_charging
