# shellcheck shell=bash
# Calls of one account as lines, settled by one client, beside single charges of
# that account by 16 clients. All have keys, and commits are durable.

total=$(by_size 400000 100000)
sql -o /dev/null -f - <<'SQL'
SELECT FROM ducto_add_credits(bench.account(:accounts + 1), 10000000);
SELECT reservation_id AS block FROM ducto_reserve(bench.account(:accounts + 1), 1000000, 'gateway', ttl_seconds => 2592000);
SQL
account=$(sql -f - <<<'SELECT bench.account(:accounts + 1);')
block=$(sql -c "SELECT id FROM ducto.reservations WHERE account_id = '$account'")

# batches SIZE prints a statement for each batch of lines, as a client sends them.
batches() {
	awk -v size="$1" -v total="$total" -v run="$RANDOM$RANDOM" -v call="${2//&/\\&}" 'BEGIN {
		for (n = 1; n <= total; n++) {
			json = json (json == "" ? "" : ",")
			json = json sprintf("{\"key\": \"%08x-0000-4000-8000-%012x\", \"amount\": 0.0123, \"model\": \"gpt-4.1\"}", run, n)
			if (n % size == 0) {
				statement = call
				sub(/LINES/, "\x27[" json "]\x27", statement)
				print statement ";"
				json = ""
			}
		}
	}'
}

# settled TITLE prints a row of what was measured.
settled() {
	awk -v title="$1" -v cpu="$cpu" -v parsing="$parsing" -v seconds="$seconds" -v total="$total" -v wal="$wal" \
		-v charges="$charges" 'BEGIN {
		printf "%s|%d|%.1f|%.2f|%.2f|%.0f\n", title, total / seconds, total / seconds / charges, cpu / total,
			(cpu - parsing) / total, wal / total
	}'
}

# made KEY SELECT [MORE] measures a statement that makes batches of lines in the
# server, each with a key. A text that becomes jsonb takes a third of what
# jsonb_build_object and jsonb_agg take.
made() {
	cat >"$T/made.sql" <<-SQL
		$2 (SELECT ('['
			|| string_agg('{"key": "' || $1 || '", "amount": 0.0123, "model": "gpt-4.1"}', ',' ORDER BY n) || ']')::jsonb AS lines
			FROM generate_series(1, $total) n GROUP BY n / 1000 OFFSET 0) b${3:-};
	SQL
	measured "$T/made.sql"
}

# settled_there TITLE KEY prints a row of lines that are made in the server.
settled_there() {
	made "$2" 'SELECT count(lines) FROM'
	parsing=$cpu
	made "$2" 'SELECT count(s) FROM' ", ducto_settle('$account', '$block', lines) s"
	settled "$1"
}

# measured FILE sets cpu, seconds and wal to those of a file of statements.
measured() {
	local before

	before=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	cpu_of sql -o /dev/null -f "$1"
	wal=$(sql -c "SELECT pg_current_wal_insert_lsn() - '$before'")
}

pgbench_run charge_key_hot 16 "$(by_size 20000 5000)"
charges=$rate
{
	echo 'lines a call|lines a second|times 16 clients that charge|CPU of a line, in us|without parsing|bytes of WAL'
	for size in 10 100 1000 10000; do
		batches "$size" 'SELECT jsonb_array_length(LINES)' >"$T/parse.sql"
		measured "$T/parse.sql"
		parsing=$cpu
		batches "$size" "SELECT booked FROM ducto_settle('$account', '$block', LINES)" >"$T/lines.sql"
		measured "$T/lines.sql"
		settled "$size"
	done
	settled_there '1000, made in the server' "'00000001-0000-7000-8000-' || lpad(to_hex(n), 12, '0')"
	settled_there '1000, made in the server, keys at random' 'gen_random_uuid()'
} | table "Lines of one account, one client, durable commits; single charges by 16 clients: ${charges%.*} a second"
