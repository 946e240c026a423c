\set n random(1, :accounts)
SELECT * FROM ducto_charge_usage(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid,
	usage => '{"model": "model-7", "input_tokens": 1000, "output_tokens": 200}');
