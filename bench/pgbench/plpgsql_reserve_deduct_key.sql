\set n random(1, :accounts)
\set key random(1000000000000000000, 9000000000000000000)
SELECT user_id, reservation_id FROM plain.reserve(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.02, idempotency_key => :key) \gset
SELECT * FROM plain.deduct(user_id => :user_id, reservation_id => :reservation_id, amount => 0.01, idempotency_key => :key);
