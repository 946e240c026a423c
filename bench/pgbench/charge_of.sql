-- an account with :value entries, made by case/growth.sh, or one that gets 20 charges: 10 on average
\set i :i + 1
\set n CASE :value WHEN 1000000 THEN 1 WHEN 100000 THEN 2 WHEN 10000 THEN 3 + :i % 10 WHEN 1000 THEN 13 + :i % 100 ELSE 200 + (1000 * :run + :i / 20) % (:accounts - 200) END
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
