-- the accounts of the first half have neither plan nor caps
\set n random(1, :accounts / 2)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
