\if :i = 0
SET ducto.ledger_chain = on;
\set i 1
\endif
\set n random(1, :accounts)
\set key random(1000000000000000000, 9000000000000000000)
SELECT * FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01, idempotency_key => :key);
