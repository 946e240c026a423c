# shellcheck shell=bash
# What the cases of bench/case are written with. Sourced by script/bench.
#
# A case is a file bench/case/NAME.sh, sourced with a database of its own: a
# copy of the one that setup.sql makes. It prepares with sql, measures with
# race, or with cpu_of and memory_of, and prints with table. What pgbench runs
# is in bench/pgbench.

BENCH=$ROOT/bench
ACCOUNTS=100000
runs=0

# Durable; without autovacuum and checkpoints in between, so that runs compare.
# A rejection would look fast, so it is an error.
settings=("shared_buffers = '1GB'" "max_wal_size = '16GB'" "checkpoint_timeout = '1h'" 'autovacuum = off'
	"shared_preload_libraries = 'pg_stat_statements'" 'pg_stat_statements.track = none'
	"ducto.rejections = 'raise'")

# by_size FULL QUICK prints what a full or a quick run takes.
by_size() { if [ -z "$quick" ]; then echo "$1"; else echo "$2"; fi; }

calculate() { awk "BEGIN { print $1 }"; }

sql() { "$BIN/psql" -XAtq -v ON_ERROR_STOP=1 -v "accounts=$ACCOUNTS" "$@"; }

# table TITLE prints a table of the lines that it reads, cells separated by |.
table() {
	printf '\n%s%s\n\n' "${report:+### }" "$1"
	awk -f "$BENCH/table.awk"
}

# verdict VALUE TARGET prints the target and whether it is met.
verdict() {
	awk -v value="$1" -v target="$2" 'BEGIN { print "<= " target ", " (value <= target ? "met" : "missed") }'
}

# --- cases -----------------------------------------------------------------

# make_template sets up the database that each case gets a copy of.
make_template() {
	say 'making accounts ...'
	postmaster=$(head -n 1 "$T/data/postmaster.pid")
	sql -o "$T/setup.log" -f "$BENCH/setup.sql"
	sleep 1
	processes=$(server_stat | cut -d ' ' -f 2)
	idle=$(idle_cpu 3)
}

# facts prints where the figures come from.
facts() {
	local cpu

	cpu=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1)
	printf 'ducto %s, PostgreSQL %s, %s, %d cores, Linux %s, %d accounts.\n' \
		"$(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'ducto'")" \
		"$(sql -c 'SHOW server_version')" "${cpu:-$(uname -m)}" "$(nproc)" "$(uname -r)" "$ACCOUNTS"
	sql -c "SELECT string_agg(name || ' = ' || current_setting(name), ', ' ORDER BY name) || '.' FROM pg_settings
		WHERE name IN ('autovacuum', 'fsync', 'full_page_writes', 'max_wal_size', 'shared_buffers')"
	echo 'CPU is user and system time of all server processes per operation; ratios are of CPU.'
}

# report_head prints how a report starts.
report_head() {
	cat <<HEAD
# Benchmarks

What ducto costs the server in CPU time, beside the bare statement and beside the same in PL/pgSQL. Made by
\`script/bench --report\`, case by case: run it to get the figures of your machine. With \`--quick\` a case does a tenth of
the work, for a look.

\`bare statement\` is one prepared statement that updates the account and inserts the ledger entry, on tables of the same
shape and indexes: what any ledger in PostgreSQL has to pay. \`plpgsql\` is the same lifecycle as an application developer
writes it in PL/pgSQL, on such tables. \`reserve deduct\` is two calls and two transactions. Operations that are
compared run in turns, A B B A A B …; a ratio is the median of the rounds' ratios. After each case \`ducto_verify()\`
found nothing.
HEAD
}

# report_cases OLD NEW prints the cases of a report, each as the new one has it, or
# else the old one.
report_cases() {
	local file name

	for file in "$BENCH"/case/*.sh; do
		name=${file##*/}
		name=${name%.sh}
		name="## ${name^}"
		if grep -qxF "$name" "$2"; then file=$2; else file=$1; fi
		awk -v head="$name" '
			/^## / { here = $0 == head }
			here && NF == 0 { gaps++ }
			here && NF > 0 { while (gaps-- > 0) print ""; gaps = 0; if ($0 == head) print ""; print }' "$file"
	done
}

# case_head NAME prints the head of a case in a report: its name and comment, and
# where and how it was measured.
case_head() {
	printf '\n## %s\n\n' "${1^}"
	sed -n '2,/^$/s/^# \{0,1\}//p' "$BENCH/case/$1.sh"
	# shellcheck disable=SC2016
	printf '\n`script/bench%s %s`, %s: %s\n' "${quick:+ --quick}" "$1" "$(date -u +%F)" "$(facts)"
}

# run_case runs a case. Then the money must be right.
run_case() {
	[ -z "$report" ] || case_head "$1"
	sql -d postgres -c "CREATE DATABASE bench TEMPLATE $PGDATABASE"
	(
		export PGDATABASE=bench
		# shellcheck disable=SC1090
		. "$BENCH/case/$1.sh"
		verify
	)
	sql -d postgres -c 'DROP DATABASE bench'
}

# verify ends the run when the money is not right, and tells how accounts were
# updated.
verify() {
	local wrong

	wrong=$(sql -c 'SELECT * FROM ducto_verify() LIMIT 10')
	[ -z "$wrong" ] || die "ducto_verify found
$wrong"
	sql -c "SELECT format(E'\nducto_verify: nothing. Updates of ducto.accounts: %s, of them HOT: %s.', n_tup_upd, n_tup_hot_upd)
		FROM pg_stat_user_tables WHERE relid = 'ducto.accounts'::regclass"
}

# --- measuring -------------------------------------------------------------

# server_stat prints the CPU time of the server in clock ticks, that of
# processes that have ended included, and the number of its processes.
server_stat() {
	{ cat /proc/[0-9]*/stat 2>/dev/null || true; } | awk -v server="$postmaster" '
		{ pid = $1; sub(/^.*\) /, "") }
		pid == server { ticks += $12 + $13 + $14 + $15 }
		$2 == server { ticks += $12 + $13; n++ }
		END { print ticks, n }'
}

# server_cpu prints the CPU time of the server in us when all clients have left.
# A process that ends while all are read may be missed, so they are read again.
server_cpu() {
	local ticks n

	while read -r ticks n < <(server_stat) && [ "$n" -gt "$processes" ]; do
		sleep 0.02
	done
	read -r ticks n < <(server_stat)
	echo $((ticks * (1000000 / $(getconf CLK_TCK))))
}

# idle_cpu SECONDS prints the CPU time in us that the idle server uses in a second.
idle_cpu() {
	local before

	before=$(server_cpu)
	sleep "$1"
	echo $((($(server_cpu) - before) / $1))
}

# cpu_of COMMAND… runs a command and sets cpu to the CPU time in us that the
# server used for it, and seconds to how long it took. It fails as the command.
cpu_of() {
	local before start=$EPOCHREALTIME

	before=$(server_cpu)
	"$@" || return
	seconds=$(calculate "$EPOCHREALTIME - $start")
	cpu=$(calculate "int($(server_cpu) - $before - $idle * $seconds)")
}

# memory_of COMMAND… runs a command and notes the private memory of its session
# in the meantime, for memory_at.
memory_of() {
	local sampler

	sample_memory >"$T/memory" &
	sampler=$!
	PGAPPNAME=measured "$@"
	kill $sampler 2>/dev/null || true
	wait $sampler 2>/dev/null || true
}

sample_memory() {
	local pid=

	trap - EXIT
	while [ -z "$pid" ]; do
		sleep 0.1
		pid=$(sql -c "SELECT pid FROM pg_stat_activity WHERE application_name = 'measured'")
	done
	while sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status"; do
		sleep 0.2
	done 2>/dev/null
}

# memory_at PERCENT prints the memory, in MB, after a part of the command, or
# its most for max.
memory_at() {
	awk -v at="$1" '
		{ kb[NR] = $1; if ($1 > max) max = $1 }
		END { n = int(at / 100 * NR); printf "%.1f\n", (at == "max" ? max : kb[n < 1 ? 1 : n]) / 1024 }' "$T/memory"
}

# tps_of LOG prints the transactions per second that a log of pgbench tells.
tps_of() { sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$1"; }

# pgbench_run SCRIPT[@VALUE] CLIENTS OPERATIONS runs a script of bench/pgbench, or of
# $place, with prepared statements, or by $protocol, and sets cpu, and rate to the
# operations per second. The script has the variables
# accounts, i = 0, value, and run, a new number each time.
pgbench_run() {
	runs=$((runs + 1))
	cpu_of "$BIN/pgbench" -n -M "${protocol:-prepared}" -c "$2" -j "$2" -t $(($3 / $2)) \
		-D "accounts=$ACCOUNTS" -D i=0 -D "run=$runs" -D "value=${1#*@}" \
		-f "${place:-$BENCH/pgbench}/${1%@*}.sql" >"$T/pgbench.log" 2>&1 || die "$1:
$(tail -n 20 "$T/pgbench.log")"
	rate=$(tps_of "$T/pgbench.log")
}

# race TITLE CLIENTS SPEC… runs scripts in turns and prints a table. A spec is
# SCRIPT/BASE, with <=TARGET where there is one. $operations and $rounds are for
# scripts that take long.
race() {
	local title=$1 clients=$2 spec name
	local -a scripts=()

	shift 2
	for spec in "$@"; do
		spec=${spec%<=*}
		for name in "${spec#*/}" "${spec%/*}"; do
			case " ${scripts[*]} " in
			*" $name "*) ;;
			*) scripts=("$name" "${scripts[@]}") ;;
			esac
		done
	done
	race_scripts "$clients" "${scripts[@]}"
	race_table "$title" "$@"
}

# race_scripts CLIENTS SCRIPT… runs scripts in turns, A B B A A B …
race_scripts() {
	local clients=$1 round name i
	local operations=${operations:-$(by_size 10000 4000)} rounds=${rounds:-$(by_size 5 3)}
	local -a raced=("${@:2}")

	for name in "${raced[@]}"; do
		pgbench_run "$name" "$clients" "$operations"
	done
	for ((round = 1; round <= rounds; round++)); do
		for ((i = 0; i < ${#raced[@]}; i++)); do
			name=${raced[round % 2 ? i : ${#raced[@]} - 1 - i]}
			pgbench_run "$name" "$clients" "$operations"
			echo "$round $name $cpu $operations $rate"
		done
	done >"$T/race"
}

# race_table TITLE SPEC… prints the table of what $T/race has.
race_table() {
	awk -f "$BENCH/median.awk" -f "$BENCH/race.awk" "$T/race" <(printf '%s\n' "${@:2}") | table "$1"
}

# medians prints the medians of what $T/race has: NAME CPU RATE.
medians() { awk -f "$BENCH/median.awk" -f "$BENCH/medians.awk" "$T/race" | sort; }

# plot NAME TITLE X Y [COMMAND] makes a plot for the report, of lines that it
# reads, SERIES X Y, in this order of series. COMMAND is one of gnuplot's.
plot() {
	local data=$T/$1.dat series

	cat >"$data"
	[ -n "$report" ] || return 0
	mapfile -t series < <(awk '!seen[$1]++ { print $1 }' "$data")
	gnuplot - >"$report/$1.svg" <<PLOT || die "cannot plot $1"
set terminal svg size 720,400 font 'sans-serif,13' background 'white'
set title '$2'
set xlabel '$3'
set ylabel '$4'
set yrange [0:*]
set grid ytics linecolor '#dddddd'
set border 3
set tics nomirror
set key outside right top
${5:-}
plot $(for name in "${series[@]}"; do
	printf "'< grep \"^%s \" %s' using 2:3 with linespoints linewidth 2 pointtype 7 title '%s', " "$name" "$data" "${name//_/ }"
done)
PLOT
	printf '\n![%s](%s/%s.svg)\n' "$2" "${report##*/}" "$1"
}
