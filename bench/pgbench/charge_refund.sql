\set n random(1, :accounts)
SELECT transaction_id FROM ducto_charge(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01) \gset
SELECT * FROM ducto_refund(transaction_id => :transaction_id);
