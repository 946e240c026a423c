-- an account with :value entries, made by case/growth.sh; one with 10 is charged no more than 20 times
\set i :i + 1
\set n CASE WHEN :value = 1000000 THEN 1 WHEN :value = 100000 THEN 2 WHEN :value = 10000 THEN 3 + :i % 10 WHEN :value = 1000 THEN 13 + :i % 100 ELSE 113 + (1000 * :run + :i / 20) % 10000 END
SELECT * FROM ducto_list_transactions(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, max_rows => 10);
