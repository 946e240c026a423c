# shellcheck shell=bash
# What an analytics call costs on a long ledger, beside the GROUP BY that it
# replaces; how fast the ledger is rolled up, and in how much memory.

entries=$(by_size 10000000 1000000)
users=$(by_size 100000 10000)
sql -o /dev/null -v "entries=$entries" -v "users=$users" -v models=50 -v days=90 -f "$BENCH/ledger.sql"
sql -o /dev/null -c 'VACUUM ANALYZE ducto.ledger, ducto.accounts'
sql -o /dev/null -f "$BENCH/analytics.sql"

cpu_of memory_of sql -o /dev/null -c 'SELECT ducto_rollup()'
{
	echo 'entries|entries/s|CPU s|MB of memory at 10 %|at 50 %|at most|size of the rollup|of the ledger'
	printf '%d|%d|%.1f|%s|%s|%s|%s|%s\n' "$entries" "$(calculate "int($entries / $seconds)")" "$(calculate "$cpu / 1000000")" \
		"$(memory_at 10)" "$(memory_at 50)" "$(memory_at max)" \
		"$(sql -c "SELECT pg_size_pretty(pg_total_relation_size('ducto.usage_rollup'))")" \
		"$(sql -c "SELECT pg_size_pretty(pg_total_relation_size('ducto.ledger'))")"
} | table 'Rolling up a ledger (target: 200000 entries/s)'

# both ends in the middle of an hour, and the last hour of the ledger
window="now() - interval '30 days 1 hour', now() - interval '1 hour'"
rounds=$(by_size 40 10)

# calls N STATEMENT has a session run a statement N times: cpu is what the
# server used for one, fastest the least time in ms that one took.
calls() {
	local i

	cpu_of sql -f - >"$T/times" < <(
		printf '%s\n' '\timing on'
		for ((i = 0; i < $1; i++)); do
			echo "$2"
		done
	)
	cpu=$(calculate "$cpu / $1 / 1000")
	fastest=$(sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$T/times" | sort -n | head -n 1)
}

{
	echo 'call over 30 days|CPU ms|GROUP BY, CPU ms|ratio|ms at best|GROUP BY|target'
	for name in spend_by_user spend_by_model top_users daily_spend aggregate_stats; do
		call="ducto_$name($([ $name != top_users ] || echo '10, ')$window)"
		plain="bench.plain_$name($window)"
		different=$(sql -c "BEGIN; SELECT count(*) FROM (
			(SELECT * FROM $call EXCEPT ALL SELECT * FROM $plain) UNION ALL
			(SELECT * FROM $plain EXCEPT ALL SELECT * FROM $call)) d; COMMIT" 2>&1 | tail -n 1)
		[ "$different" = 0 ] || die "$name and the GROUP BY differ: $different"
		calls "$rounds" "SELECT count(*) FROM $call;"
		ours="$cpu $fastest"
		calls 3 "SELECT count(*) FROM $plain;"
		printf '%s %s %s %s\n' "$name" "$ours" "$cpu" "$fastest" | awk '{
			met = $4 >= 50 * $2 && $3 <= 100
			printf "%s|%.1f|%.0f|1/%.0f|%.1f|%.0f|1/50 and 100 ms, %s\n", $1, $2, $4, $4 / $2, $3, $5, met ? "met" : "missed"
		}'
	done
} | table "Analytics, $entries entries, $users users, 50 models, 90 days"
