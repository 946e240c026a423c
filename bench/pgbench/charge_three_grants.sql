-- the accounts after the first :accounts have three live grants each
\set n :accounts + random(1, :accounts)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
