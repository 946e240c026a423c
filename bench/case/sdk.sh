# shellcheck shell=bash
# What the SDKs' functions cost beside those of the engine that they call, and
# beside PL/pgSQL.

sql -o /dev/null -c 'CREATE EXTENSION ducto_sdk'
PGOPTIONS='-c synchronous_commit=off' race 'The SDKs, synchronous_commit off, clients: 1' 1 \
	'sdk_deduct/charge' 'sdk_lease_settle/reserve_deduct' \
	'sdk_deduct/plpgsql_charge' 'sdk_lease_settle/plpgsql_reserve_deduct'
