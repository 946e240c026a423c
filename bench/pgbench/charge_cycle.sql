-- the first accounts of the second half have a plan with cycles and caps
\set n :accounts / 2 + random(1, 1000)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
