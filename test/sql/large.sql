-- large: an amount has 14 digits before the point, a sum over many entries or accounts may have more. It is never an error, and never wraps

\set ada '\'1a26e000-0000-4000-8000-000000000001\''
\set max 99999999999999.9999

-- What was ever purchased is no balance: buying goes on, beyond what 64 bits of 1/10000 credits hold.
DO $$
BEGIN
	FOR i IN 1..10 LOOP
		PERFORM FROM ducto_add_credits('1a26e000-0000-4000-8000-000000000001', 99999999999999.9999, 'purchase', idempotency_key => 'p' || i);
		PERFORM FROM ducto_charge('1a26e000-0000-4000-8000-000000000001', 99999999999999.9999);
	END LOOP;
END $$;
SELECT new_balance, lifetime_purchased FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT balance, lifetime_purchased FROM ducto_get_balance(:ada);
SELECT new_balance, lifetime_purchased, idempotent FROM ducto_add_credits(:ada, :max, 'purchase', idempotency_key => 'p10');

-- A balance is an amount.
SELECT new_balance FROM ducto_add_credits(:ada, :max, 'purchase');
SELECT balance, lifetime_purchased FROM ducto_get_balance(:ada);

-- What was spent in a day and a month is more than a cap can be.
SELECT cap_limit, current_spend FROM ducto_set_spend_cap(:ada, 'monthly', :max, 'warn');
SELECT capped, current_spend, cap_limit FROM ducto_check_spend_cap(:ada, amount => :max);
SELECT amount, cap_warning FROM ducto_charge(:ada, 1);
SELECT current_spend FROM ducto_set_spend_cap(:ada, 'monthly', 1, 'deny');
SELECT error FROM ducto_charge(:ada, 1);
SELECT cap_type, current_spend FROM ducto_list_spend_caps(:ada);
SELECT ducto_remove_spend_cap(:ada, 'monthly');

-- The allowance counts what was metered elsewhere, however much that is; a hold on the allowance is paid by it in any case.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "plans": {"large": {"name": "Large", "free_allowance": 99999999999999.9999}}}');
SELECT plan_id FROM ducto_set_user_plan(:ada, 'large');
SELECT reservation_id AS r FROM ducto_reserve(:ada, 1000) \gset
SELECT allowance_used, allowance_remaining FROM ducto_increment_usage_window(:ada, 'large', :max);
SELECT allowance_used, allowance_remaining FROM ducto_increment_usage_window(:ada, 'large', :max);
SELECT amount, allowance_consumed, error FROM ducto_deduct(:ada, :'r', 1000);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:ada);
SELECT error FROM ducto_set_user_plan(:ada, NULL);

-- A team, a member who spends all of its pool twice, and the cap of that member.
SELECT team_id AS team FROM ducto_create_team('Large', :max) \gset
SELECT error FROM ducto_add_team_member(:'team', :ada);
SELECT error FROM ducto_deduct_team(:'team', :ada, :max);
SELECT error FROM ducto_add_team_credits(:'team', :max);
SELECT error FROM ducto_deduct_team(:'team', :ada, :max);
SELECT error FROM ducto_add_team_credits(:'team', :max);
SELECT error FROM ducto_add_team_member(:'team', :ada, spend_cap => :max);
SELECT error FROM ducto_deduct_team(:'team', :ada, 1);
SELECT error FROM ducto_reserve(:ada, 1, team_id => :'team');
SELECT spend_cap, total_spent FROM ducto_get_team_members(:'team');

-- Figures over all of it, before the ledger is rolled up and after.
SELECT total_spend, transaction_count FROM ducto_spend_by_user(clock_timestamp() - interval '1 day', clock_timestamp()) WHERE user_id = :ada;
SELECT ducto_rollup() >= 0 AS rolled_up;
SELECT total_spend, transaction_count FROM ducto_spend_by_user(clock_timestamp() - interval '1 day', clock_timestamp()) WHERE user_id = :ada;

-- Ten accounts lose all that an account can have: the sum of what expires has 15 digits before the point.
SELECT expired_count >= 0 AS swept FROM ducto_sweep_expired();
SELECT count(*) FROM generate_series(1, 10) i, ducto_add_credits(('1a26e000-0000-4000-8000-0000000001' || lpad(i::text, 2, '0'))::uuid, :max, 'promo', expires_at => clock_timestamp() + interval '1 second');
SELECT pg_sleep(1.1) \g /dev/null
SELECT expired_count, expired_amount FROM ducto_sweep_expired(dry_run => true);
SELECT expired_count, expired_amount FROM ducto_sweep_expired();

-- An amount is stored as the server itself stores it, without zeros at either end.
CREATE TEMPORARY TABLE large_amounts AS SELECT v, ('1a26e000-0000-4000-8000-0000000002' || lpad(i::text, 2, '0'))::uuid AS id
	FROM unnest('{0.0001, 0.01, 0.9999, 1, 9999, 9999.0001, 10000, 10000.0001, 12345678.9, 99999999, 100000000, 1000000000000, 99999999999999.9999}'::numeric[])
	WITH ORDINALITY AS a(v, i);
SELECT count(new_balance) FROM large_amounts, ducto_add_credits(id, v);
SELECT count(new_balance) FROM large_amounts, ducto_add_credits(id, -v);
SELECT count(*), count(*) FILTER (WHERE numeric_send(amount) <> numeric_send(CASE seq WHEN 1 THEN v ELSE -v END + 0.0000)
	OR numeric_send(balance_after) <> numeric_send(CASE seq WHEN 1 THEN v ELSE 0 END + 0.0000)) AS otherwise
	FROM large_amounts a JOIN ducto.ledger l ON l.account_id = a.id;
DROP TABLE large_amounts;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
