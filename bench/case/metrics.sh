# shellcheck shell=bash
# What ducto_metrics takes on a long ledger, and on one ten times as long.

entries=$(by_size 10000000 1000000)
users=$(by_size 100000 10000)
{
	echo 'entries|CPU ms|ms at best|target'
	for part in 1 10; do
		sql -o /dev/null -c 'DROP PROCEDURE IF EXISTS bench.make_hour, bench.make_ledger; DELETE FROM ducto.usage_rollup'
		if [ "$part" = 1 ]; then
			sql -o /dev/null -v "entries=$((entries / 10))" -v "users=$users" -v models=50 -v days=90 -f "$BENCH/ledger.sql"
		else
			sql -o /dev/null -v "entries=$((entries - entries / 10))" -v "accounts=$((ACCOUNTS + users))" -v "users=$users" \
				-v models=50 -v days=90 -f "$BENCH/ledger.sql"
		fi
		sql -o /dev/null -c 'VACUUM ANALYZE ducto.ledger, ducto.accounts' -c 'SELECT ducto_rollup()'
		cpu_of sql -f - >"$T/times" < <(
			printf '%s\n' '\timing on'
			for ((i = 0; i < 50; i++)); do
				echo 'SELECT count(*) FROM ducto_metrics();'
			done
		)
		fastest=$(sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' "$T/times" | sort -n | head -n 1)
		echo "$(sql -c 'SELECT count(*) FROM ducto.ledger')|$(calculate "$cpu / 50 / 1000")|$fastest|$(verdict "$fastest" 5)"
	done
} | table 'Figures for a monitor'
