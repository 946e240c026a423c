\set n random(1, :accounts)
SELECT * FROM plain.charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
