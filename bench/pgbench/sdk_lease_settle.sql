\set n random(1, :accounts)
SELECT l ->> 'user_id' AS user_id, l ->> 'lease_id' AS lease_id FROM create_lease(lpad(to_hex(:n::bigint), 32, '0')::uuid, 0.02, 'usage') l \gset
SELECT * FROM settle_lease(:user_id, :lease_id, 0.01);
