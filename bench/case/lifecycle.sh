# shellcheck shell=bash
# The credit lifecycle against the bare statement and against PL/pgSQL.

for sync in off on; do
	for clients in 1 2; do
		PGOPTIONS="-c synchronous_commit=$sync" race "Lifecycle, synchronous_commit $sync, clients: $clients" $clients \
			'charge/bare_statement<=1.4' 'charge_key/charge<=1.2' \
			'reserve_deduct/bare_statement<=2.8' 'reserve_deduct_key/reserve_deduct<=1.2' \
			'charge/plpgsql_charge' 'charge_key/plpgsql_charge_key' \
			'reserve_deduct/plpgsql_reserve_deduct' 'reserve_deduct_key/plpgsql_reserve_deduct_key'
	done
done
