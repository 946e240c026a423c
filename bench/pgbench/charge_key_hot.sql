\set account :accounts + 1
\set key random(1000000000000000000, 9000000000000000000)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:account::bigint), 32, '0')::uuid, amount => 0.01, idempotency_key => :key);
