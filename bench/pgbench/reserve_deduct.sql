\set n random(1, :accounts)
SELECT user_id, reservation_id FROM ducto_reserve(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.02) \gset
SELECT * FROM ducto_deduct(user_id => :user_id, reservation_id => :reservation_id, amount => 0.01);
