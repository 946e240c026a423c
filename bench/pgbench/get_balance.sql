\set n random(1, :accounts)
SELECT * FROM ducto_get_balance(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid);
