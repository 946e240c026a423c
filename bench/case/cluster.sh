# shellcheck shell=bash
# What calls cost on a cluster of Citus beside one server: on the node that has
# the account, and sent there by the coordinator, in CPU time of all nodes. Then
# many clients on two workers and on three, which are asked themselves, each for
# accounts that it has, beside as many servers that are no cluster. A worker has a
# core of its own: of three, two at a time, which finds out what each does while
# there are the others.

ACCOUNTS=1000
shards=12
clients=32
rounds=$(by_size 7 3)
calls=$(by_size 5000 1500)
seconds_each=$(by_size 15 4)
export PGOPTIONS='-c ducto.rejections=return' # or each statement of a batch would be sent
declare -A port=([one]=$SERVER_PORT) server=([one]=$postmaster) idle_at=([one]=$idle)

# start NAME starts a node of the cluster.
start() {
	local name=$1
	local -a settings

	port[$name]=$((SERVER_PORT + ${#port[@]}))
	mapfile -t settings < <(node_settings)
	start_node "$name" "${port[$name]}" "${settings[@]}" "shared_buffers = '256MB'" "max_wal_size = '16GB'" \
		"checkpoint_timeout = '1h'" 'autovacuum = off'
	server[$name]=$(head -n 1 "$T/data/$name/postmaster.pid")
}

# settle finds out what the nodes do by themselves.
settle() {
	local name before

	"$BIN/psql" -Xq -p "${port[coordinator]}" -o /dev/null -c 'VACUUM ANALYZE ducto.accounts, ducto.ledger'
	sleep 3
	for name in "${!port[@]}"; do
		before=$(cpu_now "$name")
		sleep 2
		idle_at[$name]=$((($(cpu_now "$name") - before) / 2))
	done
}

# on NAME COMMAND… runs a command with a node for its server.
on() { PGPORT=${port[$1]} "${@:2}"; }

# cpu_now NAME prints the CPU time of a node in us. Citus's own sessions between
# nodes come and go, so clients are given time to leave.
cpu_now() {
	local postmaster=${server[$1]} ticks

	read -r ticks _ < <(server_stat)
	echo $((ticks * (1000000 / $(getconf CLK_TCK))))
}

# cpu_of_nodes COMMAND… runs a command and sets used to the CPU time of each node,
# cpu to that of all, and seconds.
cpu_of_nodes() {
	local name start=$EPOCHREALTIME
	local -A before

	for name in "${!port[@]}"; do
		before[$name]=$(cpu_now "$name")
	done
	"$@"
	cpu=0
	sleep 0.2
	for name in "${!port[@]}"; do
		used[$name]=$(cpu_now "$name")
	done
	seconds=$(calculate "$EPOCHREALTIME - $start")
	for name in "${!port[@]}"; do
		used[$name]=$(calculate "int(${used[$name]} - ${before[$name]} - ${idle_at[$name]} * $seconds)")
		cpu=$((cpu + used[$name]))
	done
}

# call NAME AT makes calls of a script at a node.
call() {
	local count=$calls place=$BENCH/pgbench

	if [ "$1" = charge_many ]; then
		count=$((calls / 50))
		place=$T/scripts
	fi
	place=$place on "$2" cpu_of_nodes pgbench_run_plain "$1" "$count"
	operations=$count
}

# pgbench_run_plain SCRIPT OPERATIONS runs a script of $place and sets rate.
pgbench_run_plain() {
	"$BIN/pgbench" -n -M prepared -t "$2" -D "accounts=$ACCOUNTS" -f "$place/$1.sql" >"$T/pgbench.log" 2>&1 || die "$1:
$(tail -n 20 "$T/pgbench.log")"
	rate=$(tps_of "$T/pgbench.log")
}

# note ROUND NAME PLACE notes what calls took.
note() { echo "$1 $2@$3 $cpu $operations $rate"; }

# rounds_of CALL… makes calls at the three places in turns, A B C C B A …; the
# first turn is for the caches.
rounds_of() {
	local round name at i
	local -a places=(one asked sent)
	local -A node=([one]=one [asked]=worker1 [sent]=coordinator)

	for ((round = 0; round <= rounds; round++)); do
		for ((i = 0; i < 3; i++)); do
			at=${places[round % 2 ? i : 2 - i]}
			for name in "$@"; do
				call "$name" "${node[$at]}"
				[ "$round" -gt 0 ] || continue
				note "$round" "$name" "$at"
				[ "$at" != sent ] || cpu=${used[coordinator]} note "$round" "$name" coordinator
			done
		done
	done >"$T/race"
}

# entries_of NAME prints how many entries the first accounts have at a node.
entries_of() {
	on "$1" sql -c "SELECT count(*) FROM ducto.ledger WHERE account_id <= '00000000-0000-0000-0000-0000000003e8'"
}

# numbers_on NAME N prints the numbers of accounts that are at a node.
numbers_on() {
	if [[ $1 != worker* ]]; then
		seq "$2"
	else
		on coordinator sql -c "SELECT n FROM generate_series(1, $ACCOUNTS) n JOIN pg_dist_shard_placement p
			ON p.shardid = get_shard_id_for_distribution_column('ducto.accounts', lpad(to_hex(n), 32, '0')::uuid)
			WHERE p.nodeport = ${port[$1]} ORDER BY n LIMIT $2"
	fi
}

# script_on NAME N makes the script of N clients of a node, each with an account of
# its own.
script_on() {
	numbers_on "$1" "$2" | awk '
		BEGIN { printf "\\set n CASE" }
		{ printf " WHEN :client_id = %d THEN %d", NR - 1, $1 }
		END {
			print " END"
			print "SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '"'0'"')::uuid, amount => 0.01);"
		}' >"$T/scripts/$1.sql"
}

# pin NAME… lets each node run on a core of its own.
pin() {
	local core=0 name process

	for name in "$@"; do
		taskset -c -p "$core" "${server[$name]}" >/dev/null
		for process in $(<"/proc/${server[$name]}/task/${server[$name]}/children"); do
			taskset -c -p "$core" "$process" >/dev/null 2>&1 || true # it may have left
		done
		cores[$name]=$core
		core=$((core + 1))
	done
}

# charge_at NAME… has the clients charge at nodes, as many at each.
charge_at() {
	local name
	local -a running=()

	for name in "$@"; do
		on "$name" taskset -c "${cores[$name]}" "$BIN/pgbench" -n -M prepared -c $((clients / $#)) -T "$seconds_each" \
			-f "$T/scripts/$name.sql" >"$T/scripts/$name.log" 2>&1 &
		running+=($!)
	done
	for name in "${running[@]}"; do
		wait "$name" || die "charges: $(tail -n 20 "$T/scripts/$1.log")"
	done
}

# many ROUND TITLE NODES… measures that, of several lists of nodes one after the
# other, and notes it for all of them together.
many() {
	local list name charges all_cpu=0 all_charges=0 all_rate=0
	local -a names

	for list in "${@:3}"; do
		read -ra names <<<"$list"
		for name in "${names[@]}"; do
			script_on "$name" $((clients / ${#names[@]}))
		done
		pin "${names[@]}"
		cpu_of_nodes charge_at "${names[@]}"
		all_cpu=$((all_cpu + cpu))
		for name in "${names[@]}"; do
			charges=$(sed -n 's/^number of transactions actually processed: \([0-9]*\).*/\1/p' "$T/scripts/$name.log")
			all_charges=$((all_charges + charges))
			all_rate=$(calculate "$all_rate + $(tps_of "$T/scripts/$name.log") / ($# - 2)")
		done
	done
	echo "$1 $2 $all_cpu $all_charges $all_rate" >>"$T/many"
}

# add_worker NAME adds a node and gives it its part of the shards.
add_worker() {
	start "$1"
	join_cluster "${port[coordinator]}" "${port[$1]}"
	on coordinator sql -o /dev/null -c "SELECT rebalance_table_shards(shard_transfer_mode => 'block_writes')" 2>"$T/rebalance.log" ||
		die "$(tail "$T/rebalance.log")"
	settle
}

# add_server NAME adds a server that is no part of the cluster.
add_server() {
	start "$1"
	on "$1" sql -o /dev/null -c 'CREATE EXTENSION ducto' -c "$credits"
	on "$1" sql -c 'VACUUM ANALYZE ducto.accounts, ducto.ledger'
}

# run_cluster does all of it.
run_cluster() {
	local round before
	local credits="SELECT count(*) FROM generate_series(1, $ACCOUNTS) n, ducto_add_credits(user_id => lpad(to_hex(n), 32, '0')::uuid,
		amount => 1000000)"
	local -A used=() cores=()

	mkdir "$T/scripts"
	awk -v batches=1 -v size=1000 -v first=1 -v "accounts=$ACCOUNTS" -v keys= -v fields= \
		-f "$BENCH/batch.awk" >"$T/scripts/charge_many.sql"
	start coordinator
	begin_cluster "${port[coordinator]}"
	start worker1
	join_cluster "${port[coordinator]}" "${port[worker1]}"
	on coordinator sql -o /dev/null -c 'CREATE EXTENSION ducto' -c "SELECT * FROM ducto_distribute($shards)" -c "$credits"
	settle
	before=$(entries_of one)
	rounds_of charge charge_key reserve_deduct get_balance add_credits charge_many
	awk -f "$BENCH/median.awk" -f "$BENCH/cluster.awk" "$T/race" <(printf '%s\n' 'charge 3 4' 'charge_key - -' \
		'reserve_deduct - -' 'get_balance - -' 'add_credits - -' 'charge_many 2 2') |
		table "A call on a cluster, $shards shards on one worker, 1000 in a batch"
	[ "$(entries_of coordinator)" -eq $((ACCOUNTS + 2 * ($(entries_of one) - before))) ] || die 'calls were rejected'

	: >"$T/many"
	add_server other1
	add_server other2
	add_worker worker2
	for ((round = 1; round <= rounds; round++)); do
		many "$round" one one
		many "$round" two 'worker1 worker2'
		many "$round" two_apart 'one other1'
		many "$round" three_apart 'one other1' 'other1 other2' 'other2 one'
	done
	add_worker worker3
	for ((round = 1; round <= rounds; round++)); do
		many "$round" three 'worker1 worker2' 'worker2 worker3' 'worker3 worker1'
	done
	awk -f "$BENCH/median.awk" -f "$BENCH/nodes.awk" "$T/many" | table "$clients clients charge at the nodes that have the accounts"
	[ -z "$(on coordinator sql -c 'SELECT * FROM ducto_verify() LIMIT 10')" ] || die 'ducto_verify found something on the cluster'
}

missing=$(citus_missing)
[ -n "$missing" ] || [ "$(nproc)" -ge 2 ] || missing='two cores are needed'
if [ -n "$missing" ]; then
	printf '\nSkipped: %s.\n' "$missing"
else
	run_cluster
fi
