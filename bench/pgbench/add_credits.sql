\set n random(1, :accounts)
SELECT * FROM ducto_add_credits(user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01, type => 'promo');
