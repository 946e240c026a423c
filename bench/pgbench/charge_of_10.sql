-- 20 times the same account, then the next: they have 10 entries on average
\set i :i + 1
\set n 2 + (1000 * :run + :i / 20) % (:accounts - 1)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
