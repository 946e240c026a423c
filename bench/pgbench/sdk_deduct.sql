\set n random(1, :accounts)
SELECT * FROM deduct_with_allowance(lpad(to_hex(:n::bigint), 32, '0')::uuid, 0.01);
