# shellcheck shell=bash
# How many bytes a charge and a hold take, tables and indexes, and what that is
# for ten million calls.

calls=$(by_size 200000 100000)
call="bench.account(i % :accounts + 1)"
usage="operation_type => 'chat', model => 'gpt-4.1', metadata => '{\"request\": \"a1b2c3d4\"}'"

# size_of TABLE prints the bytes of a table and those of its indexes.
size_of() { sql -F ' ' -c "SELECT pg_table_size('$1'), pg_indexes_size('$1')"; }

# row TITLE TABLE STATEMENT prints a row: what calls of a statement add to a table.
row() {
	local before after

	before=$(size_of "$2")
	sql -v "calls=$calls" -o /dev/null -f - <<<"$3"
	after=$(size_of "$2")
	awk -v title="$1" -v before="$before" -v after="$after" -v calls="$calls" 'BEGIN {
		split(before, b); split(after, a)
		heap = (a[1] - b[1]) / calls; indexes = (a[2] - b[2]) / calls
		printf "%s|%.0f|%.0f|%.0f|%.1f\n", title, heap, indexes, heap + indexes, (heap + indexes) * 10000000 / 1024 ^ 3
	}'
}

{
	echo 'each|bytes|of indexes|together|GB of 10 million'
	row 'ledger entry of a charge' ducto.ledger \
		"SELECT count(*) FROM generate_series(1, :calls) i, ducto_charge($call, 0.0012, $usage) c;"
	row 'with a key of 36 bytes' ducto.ledger \
		"SELECT count(*) FROM generate_series(1, :calls) i, ducto_charge($call, 0.0012, gen_random_uuid()::text, $usage) c;"
	row 'reservation with a key of 36 bytes' ducto.reservations \
		"SELECT count(*) FROM generate_series(1, :calls) i, ducto_reserve($call, 0.0012, 'chat',
			model => 'gpt-4.1', idempotency_key => gen_random_uuid()::text) r;"
} | table "Size, $calls calls"
