# shellcheck shell=bash
# What a price costs, and a charge of a usage, also when the price list is long.

publish() {
	sql -o /dev/null -v "models=$1" -f - <<'SQL'
SELECT version FROM ducto_set_active_pricing(jsonb_build_object('models',
	(SELECT jsonb_object_agg('model-' || n, 'input_tokens * 0.00001 + output_tokens * 0.00003') FROM generate_series(1, :models) n)));
SQL
}

for models in 10 10000; do
	publish $models
	PGOPTIONS='-c synchronous_commit=off' race "Pricing, $models models, synchronous_commit off, clients: 1" 1 \
		'price/price_in_sql<=3' 'charge_usage/charge<=1.3'
done
