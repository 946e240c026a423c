-- the same account always: it has 1,000,000 entries
\set n 1
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
