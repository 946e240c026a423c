# shellcheck shell=bash
# What ducto_verify() takes, beside a scan of the ledger that makes a hash of each
# row. Of the ledger, each entry is of another user and hour than nearly all others,
# so that the rollup, which is proven too, is as long as the ledger.

entries=$(by_size 1000000 100000)
users=$(by_size 10000 1000)
sql -o /dev/null -v "entries=$entries" -v "users=$users" -v models=50 -v days=90 -f "$BENCH/ledger.sql"
sql -o /dev/null -c 'VACUUM ANALYZE ducto.ledger, ducto.accounts'
serial="PGOPTIONS=-c max_parallel_workers_per_gather=0"

# least COMMAND… sets cpu to the least that three runs of a statement took.
least() {
	local least=

	for _ in 1 2 3; do
		cpu_of env "$serial" "$BIN/psql" -XAtq -o /dev/null -c "$1"
		[ -n "$least" ] && [ "$least" -le "$cpu" ] || least=$cpu
	done
	cpu=$least
}

{
	echo 'what|CPU ms|ratio|target'
	least 'SELECT count(hashtext(l::text)) FROM ducto.ledger l'
	scan=$cpu
	echo "scan with a hash of each row|$(calculate "int($scan / 1000)")|1|"
	for rolled_up in 'not rolled up' 'rolled up'; do
		least 'SELECT * FROM ducto_verify()'
		ratio=$(calculate "$cpu / $scan")
		echo "ducto_verify, $rolled_up|$(calculate "int($cpu / 1000)")|$(printf '%.2f' "$ratio")|$(verdict "$ratio" 1.5)"
		sql -o /dev/null -c 'SELECT ducto_rollup()'
	done
} | table "Verify, $entries entries"
