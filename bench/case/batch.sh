# shellcheck shell=bash
# Many at once against single calls: charges of many accounts, of one and of a
# pool, with plans and caps, retries; credits for all accounts against the bare
# statements; and what the backend needs for it.

size=1000
batches=$(by_size 30 6)
rounds=$(by_size 5 3)
elements=$((size * batches))
half=$((ACCOUNTS / 2))
export PGOPTIONS='-c synchronous_commit=off'

# batches_of NAME FIRST ACCOUNTS KEYS [POOL] makes a file of batches, of charges to
# a pool where one is given.
batches_of() {
	awk -v "batches=$batches" -v "size=${1##*_}" -v "first=$2" -v "accounts=$3" -v "keys=$4" \
		-v "fields=${5:+,\"team_id\":\"$5\"}" -f "$BENCH/batch.awk" >"$T/$1.sql"
}

# make_pool makes a team with credits and 20 members, and prints its id.
make_pool() {
	sql -f - <<'SQL' | head -n 1
SELECT team_id FROM ducto_create_team('Hot', 10000000) \gset
SELECT :'team_id';
SELECT FROM generate_series(1, 20) n, ducto_add_team_member(:'team_id', bench.account(n), spend_cap => 1000000);
SQL
}

# measure NAME OPERATIONS COMMAND… notes what a command costs.
measure() {
	cpu_of "${@:3}"
	echo "$round $1 $cpu $2 $(calculate "$2 / $seconds")" >>"$T/race"
}

# make_plans gives the second half of the accounts a plan and two caps.
make_plans() {
	sql -o /dev/null -f - <<'SQL'
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "1"},
  "plans": {"pro": {"name": "Pro", "free_allowance": 0.01}}}');
SELECT count(*) FROM generate_series(:accounts / 2 + 1, :accounts / 2 + 1000) n,
	ducto_set_user_plan(user_id => bench.account(n), plan_id => 'pro'),
	ducto_set_spend_cap(user_id => bench.account(n), cap_type => 'daily', cap_limit => 100000, action => 'warn') daily,
	ducto_set_spend_cap(user_id => bench.account(n), cap_type => 'monthly', cap_limit => 1000000) monthly;
VACUUM ANALYZE;
SQL
}

# credits adds to all accounts, 10,000 at once; what an application that has
# arrays would send is made in the server for both.
credits() {
	sql -o /dev/null -f - <<'SQL'
SELECT count(r.error) FROM generate_series(0, :accounts / 10000 - 1) batch, LATERAL
	(SELECT jsonb_agg(jsonb_build_object('user_id', bench.account(batch * 10000 + n), 'amount', 1, 'type', 'promo')) AS credits
	 FROM generate_series(1, 10000) n) c, LATERAL ducto_add_credits_many(c.credits) r;
SQL
}

# bare_credits does the same by an INSERT and an UPDATE.
bare_credits() {
	sql -o /dev/null -f "$BENCH/bare_credits.sql"
}

# at_once NAME… runs files of batches, each by a client of its own that stays
# connected, as those of single calls do, and sets rate to the elements of a second.
at_once() {
	local name client
	local -a clients=()

	for name in "$@"; do
		"$BIN/pgbench" -n -t 1 -f "$T/$name.sql" >"$T/$name.log" 2>&1 &
		clients+=($!)
	done
	for client in "${clients[@]}"; do
		wait "$client" || die "$(tail -n 20 "$T"/*.log | cut -c -200)"
	done
	rate=0
	for name in "$@"; do
		rate=$(calculate "$rate + $batches * $size * $(tps_of "$T/$name.log")")
	done
}

# durable_row TITLE CLIENTS OPERATIONS COMMAND… runs a command, which sets rate, and
# prints a row of what it did. Others are compared with the first, until single is
# emptied.
durable_row() {
	local before

	before=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	"${@:4}"
	single=${single:-$rate}
	echo "$1|$2|${rate%.*}|$(calculate "sprintf(\"%.1f\", $rate / $single)")|$(calculate "sprintf(\"%.1f\", $cpu / $3)")|$(sql -c \
		"SELECT round((pg_current_wal_insert_lsn() - '$before') / $3)")"
}

make_plans
: >"$T/race"
for ((round = 1; round <= rounds; round++)); do
	batches_of "keys_$size" 1 1000 "many-$round"
	batches_of "plain_$size" 1 1000 ''
	batches_of "one_$size" 5000 1 "one-$round"
	batches_of "plans_$size" $((half + 1)) 1000 ''
	pgbench_run charge_key 1 "$elements"
	echo "$round charge_key $cpu $elements $rate" >>"$T/race"
	measure charge_many "$elements" sql -o /dev/null -f "$T/keys_$size.sql"
	measure charge_many_again "$elements" sql -o /dev/null -f "$T/keys_$size.sql"
	measure charge_many_without_keys "$elements" sql -o /dev/null -f "$T/plain_$size.sql"
	measure charge_many_of_one "$elements" sql -o /dev/null -f "$T/one_$size.sql"
	measure charge_many_plans_caps "$elements" sql -o /dev/null -f "$T/plans_$size.sql"
	measure bare_credits "$ACCOUNTS" bare_credits
	measure add_credits_many "$ACCOUNTS" credits
done
race_table "Many at once, $size in a batch, synchronous_commit off" 'charge_many/charge_key<=0.25' \
	'charge_many_again/charge_key' 'charge_many_of_one/charge_key' 'charge_many_plans_caps/charge_many_without_keys<=1.5' \
	'add_credits_many/bare_credits<=2'
{
	echo 'elements in a batch|memory of the backend, MB'
	batches_of memory_10000 1 10000 memory
	memory_of sql -o /dev/null -f "$T/memory_10000.sql"
	echo "10000|$(memory_at max)"
} | table "Memory, $batches batches in turn"
sql -o /dev/null -f - <<<'SELECT FROM ducto_add_credits(bench.account(:accounts + 1), 10000000);'
export PGOPTIONS=
durable=$(by_size 40000 8000)
{
	echo 'operation|clients|operations a second|times the first row of as many clients|CPU us|bytes of WAL'
	for clients in 1 8 16; do
		single=
		each=$((durable / clients / size))
		batches=$((each > 0 ? each : 1))
		files=()
		for ((client = 1; client <= clients; client++)); do
			batches_of "client-${client}_$size" $((1000 * client + 1)) 1000 "durable-$clients-$client"
			files+=("client-${client}_$size")
		done
		durable_row charge_key "$clients" "$durable" pgbench_run charge_key "$clients" "$durable"
		durable_row charge_many "$clients" $((batches * size * clients)) cpu_of at_once "${files[@]}"
	done
	single=
	batches=$((durable / size))
	batches_of "hot_$size" $((ACCOUNTS + 1)) 1 durable-hot
	durable_row 'bare statement, one row' 16 "$durable" pgbench_run bare_statement_hot 16 "$durable"
	durable_row 'charge_key, one account' 16 "$durable" pgbench_run charge_key_hot 16 "$durable"
	durable_row 'charge_many, one account' 1 "$durable" cpu_of at_once "hot_$size"
	batches_of "pool_$size" 1 20 durable-pool "$(make_pool)"
	durable_row 'charge_many, one pool' 1 "$durable" cpu_of at_once "pool_$size"
} | table "Durable, $size in a batch"
