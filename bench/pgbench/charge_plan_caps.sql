-- the accounts of the second half have a plan and two caps
\set n random(:accounts / 2 + 1, :accounts - 2)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
