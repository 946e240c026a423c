-- What a hold was admitted on it keeps until it ends: allowance, price list, plan's rates, floor. The past is decided by
-- what was in force then.
\pset null -
\set ann '\'96000000-0000-4000-8000-000000000001\''
\set bob '\'96000000-0000-4000-8000-000000000002\''
\set cat '\'96000000-0000-4000-8000-000000000003\''
\set dan '\'96000000-0000-4000-8000-000000000004\''
\set eve '\'96000000-0000-4000-8000-000000000005\''
\set fay '\'96000000-0000-4000-8000-000000000006\''
\set gus '\'96000000-0000-4000-8000-000000000007\''
\set hal '\'96000000-0000-4000-8000-000000000008\''
\set ida '\'96000000-0000-4000-8000-000000000009\''
\set jon '\'96000000-0000-4000-8000-00000000000a\''
\set kim '\'96000000-0000-4000-8000-00000000000b\''
\set lee '\'96000000-0000-4000-8000-00000000000c\''
\set max '\'96000000-0000-4000-8000-00000000000d\''
\set ned '\'96000000-0000-4000-8000-00000000000e\''

-- Publishes plans with these allowances.
CREATE FUNCTION pg_temp.publish(small numeric, large numeric) RETURNS text
LANGUAGE sql AS $$
	SELECT error FROM ducto_set_active_pricing(jsonb_build_object('models', '{"_default": "input_tokens"}'::jsonb, 'min_balance', 0,
		'plans', jsonb_build_object('promise_small', jsonb_build_object('name', 'Promise Small', 'free_allowance', small),
			'promise_large', jsonb_build_object('name', 'Promise Large', 'free_allowance', large,
				'rate_overrides', '{"_default": "input_tokens / 2"}'::jsonb))))
$$;

-- Lets all that an account ever did be of a moment.
CREATE FUNCTION pg_temp.move(who uuid, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	month_start CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[1];
	month_end CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[2];
BEGIN
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger SET created_at = moment, effective_at = moment WHERE account_id = who;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.grants SET created_at = moment WHERE account_id = who;
	UPDATE ducto.accounts SET updated_at = moment,
		cycle_start = month_start, cycle_end = month_end, next_boundary = least(next_boundary, month_end)
		WHERE id = who;
END $$;

SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 hours') AT TIME ZONE 'UTC' AS last_month \gset
SELECT pg_temp.publish(10, 30);

-- The plan is removed: the allowance of 30 that admitted the hold pays, and a strict user is not in debt.
SELECT plan_id FROM ducto_set_user_plan(:ann, 'promise_large');
SELECT reservation_id AS r FROM ducto_reserve(:ann, 30, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:ann, NULL);
SELECT reserved, available FROM ducto_get_balance(:ann);
SELECT amount, allowance_consumed, error FROM ducto_charge(:ann, 0.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ann, :'r', 30);
-- It is gone with the hold.
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0);
SELECT promised, plain FROM ducto.accounts WHERE id = :ann;

-- The plan is changed for a smaller one.
SELECT plan_id FROM ducto_set_user_plan(:bob, 'promise_large');
SELECT reservation_id AS r FROM ducto_reserve(:bob, 30, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:bob, 'promise_small');
SELECT free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:bob);
SELECT error FROM ducto_reserve(:bob, 0.0001, min_balance => 0);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:bob, :'r', 20, final => false);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:bob, :'r', 10);
SELECT free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:bob);

-- The plan is published with less, and with none.
SELECT plan_id FROM ducto_set_user_plan(:cat, 'promise_large');
SELECT reservation_id AS r FROM ducto_reserve(:cat, 30, min_balance => 0) \gset
SELECT pg_temp.publish(0, 12);
SELECT pg_temp.publish(0, 0);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:cat, :'r', 30);
SELECT error FROM ducto_charge(:cat, 0.0001);
SELECT pg_temp.publish(10, 30);

-- What was metered elsewhere uses the allowance up.
SELECT plan_id FROM ducto_set_user_plan(:dan, 'promise_large');
SELECT reservation_id AS r FROM ducto_reserve(:dan, 30, min_balance => 0) \gset
SELECT allowance_used, allowance_remaining FROM ducto_increment_usage_window(:dan, 'promise_large', 20);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:dan, :'r', 30);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:dan);

-- The month turns, and what was metered elsewhere in the new one uses that up.
SELECT plan_id FROM ducto_set_user_plan(:eve, 'promise_large');
SELECT allowance_consumed FROM ducto_charge(:eve, 5);
SELECT reservation_id AS r FROM ducto_reserve(:eve, 25, min_balance => 0) \gset
SELECT pg_temp.move(:eve, :'last_month');
SELECT allowance_used, allowance_remaining FROM ducto_increment_usage_window(:eve, 'promise_large', 30);
SELECT error FROM ducto_charge(:eve, 0.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:eve, :'r', 25);
SELECT * FROM ducto_verify(:eve);

-- A charge beside a hold may take the allowance: it leaves as many credits, and they pay the hold.
SELECT plan_id FROM ducto_set_user_plan(:fay, 'promise_large');
SELECT new_balance FROM ducto_add_credits(:fay, 20);
SELECT reservation_id AS r FROM ducto_reserve(:fay, 30, min_balance => 0) \gset
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:fay, 20);
SELECT plan_id FROM ducto_set_user_plan(:fay, NULL);
SELECT error FROM ducto_charge(:fay, 0.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:fay, :'r', 30);

-- A hold on credits is paid from credits, whatever plan there was meanwhile.
SELECT new_balance FROM ducto_add_credits(:gus, 20);
SELECT reservation_id AS r FROM ducto_reserve(:gus, 20, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:gus, 'promise_large');
SELECT plan_id FROM ducto_set_user_plan(:gus, NULL);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'r', 20);
-- But when the plan freed its credits and they were spent, the allowance pays it.
SELECT new_balance FROM ducto_add_credits(:gus, 20);
SELECT reservation_id AS r FROM ducto_reserve(:gus, 20, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:gus, 'promise_large');
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:gus, 15, skip_allowance => true);
SELECT plan_id FROM ducto_set_user_plan(:gus, NULL);
SELECT error FROM ducto_charge(:gus, 5.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'r', 20);

-- Two holds, one of them on credits, in the other order: each is paid as it was admitted.
SELECT plan_id FROM ducto_set_user_plan(:hal, 'promise_large');
SELECT new_balance FROM ducto_add_credits(:hal, 20);
SELECT reservation_id AS r1 FROM ducto_reserve(:hal, 30, min_balance => 0) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:hal, 20, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:hal, NULL);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:hal, :'r2', 20);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:hal, :'r1', 30);

-- A hold that is released or renewed: the promise goes with it, or stays with it.
SELECT plan_id FROM ducto_set_user_plan(:ida, 'promise_large');
SELECT reservation_id AS r1 FROM ducto_reserve(:ida, 10, min_balance => 0) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ida, 20, min_balance => 0) \gset
SELECT plan_id FROM ducto_set_user_plan(:ida, NULL);
SELECT released FROM ducto_release(:ida, :'r1');
SELECT error FROM ducto_renew(:ida, :'r2', 900);
SELECT promised FROM ducto.accounts WHERE id = :ida;
-- More than it holds is not promised, and not what skips the allowance.
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ida, :'r2', 20.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ida, :'r2', 1, skip_allowance => true);
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_deduct(:ida, :'r2', 25, overrun => 'clamp');

-- Credit that expired while the allowance covered the hold does not come back when there is less allowance: not when the hold was admitted on it,
SELECT plan_id FROM ducto_set_user_plan(:jon, 'promise_large');
SELECT new_balance FROM ducto_add_credits(:jon, 10, 'promo', expires_at => clock_timestamp() + interval '0.3 seconds');
SELECT reservation_id AS r FROM ducto_reserve(:jon, 30, min_balance => 0) \gset
-- and not when a larger allowance has relieved a hold on credits meanwhile.
SELECT plan_id FROM ducto_set_user_plan(:kim, 'promise_small');
SELECT new_balance FROM ducto_add_credits(:kim, 10, 'promo', expires_at => clock_timestamp() + interval '0.3 seconds');
SELECT reservation_id AS r2 FROM ducto_reserve(:kim, 20, min_balance => 0) \gset
SELECT pg_temp.publish(20, 30);
SELECT pg_sleep(0.5);
SELECT balance, reserved FROM ducto_get_balance(:jon);
SELECT balance, reserved FROM ducto_get_balance(:kim);
SELECT clock_timestamp() AS then \gset
SELECT pg_temp.publish(0, 0);
SELECT balance, reserved FROM ducto_get_balance(:jon);
SELECT balance, reserved FROM ducto_get_balance(:kim);
SELECT ducto_balance_at(:jon, :'then') AS jon, ducto_balance_at(:kim, :'then') AS kim;
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:jon, :'r', 30);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:kim, :'r2', 20);
SELECT ducto_balance_at(:jon, :'then') AS jon, ducto_balance_at(:kim, :'then') AS kim;
SELECT u.name, l.type, l.amount FROM ducto.ledger l JOIN (VALUES (:jon::uuid, 'jon'), (:kim, 'kim')) u(id, name) ON u.id = l.account_id
ORDER BY u.name, l.seq;
SELECT plan_id, number, free_allowance FROM ducto.plan_allowances WHERE plan_id LIKE 'promise%' ORDER BY plan_id, number;

-- The price list: a usage that settles a plain reservation has the prices of when it was reserved, and the plan's rates of then.
SELECT pg_temp.publish(0, 0);
SELECT version FROM ducto_get_active_pricing() \gset
SELECT new_balance FROM ducto_add_credits(:lee, 1000);
SELECT plan_id FROM ducto_set_user_plan(:lee, 'promise_large');
SELECT reservation_id AS r1 FROM ducto_reserve(:lee, 50) \gset
SELECT reservation_id AS r2 FROM ducto_reserve_usage(:lee, '{"input_tokens": 100}') \gset
SELECT plan_id FROM ducto_set_user_plan(:lee, NULL);
SELECT reservation_id AS r3 FROM ducto_reserve(:lee, 100) \gset
SELECT reservation_id AS r4 FROM ducto_reserve(:lee, 100, min_balance => 0, operation_type => 'video', max_concurrent => 1) \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 9"}}');
SELECT amount, error FROM ducto_charge_usage(:lee, '{"input_tokens": 100}', :'r1');
SELECT amount, error FROM ducto_charge_usage(:lee, '{"input_tokens": 100}', :'r2');
SELECT amount, error FROM ducto_charge_usage(:lee, '{"input_tokens": 100}', :'r3');
SELECT amount, error FROM ducto_charge_usage(:lee, '{"input_tokens": 100}', :'r4');
SELECT amount, error FROM ducto_charge_usage(:lee, '{"input_tokens": 100}');
SELECT pricing_version - :version AS after, plan_id FROM ducto.reservations WHERE account_id = :lee ORDER BY id;
-- So has a member's reservation in a team.
SELECT team_id AS team FROM ducto_create_team('Promises', 1000) \gset
SELECT error FROM ducto_add_team_member(:'team', :max);
SELECT reservation_id AS r FROM ducto_reserve(:max, 900, team_id => :'team') \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}}');
SELECT amount, error FROM ducto_charge_usage(:max, '{"input_tokens": 100}', :'r');

-- The floor: what admitted the hold decides what it may take beyond, not what the pricing says later.
SELECT new_balance FROM ducto_add_credits(:ned, 30);
SELECT reservation_id AS r FROM ducto_reserve(:ned, 20) \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0}');
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:ned, :'r', 30, overrun => 'clamp');

SELECT * FROM ducto_verify();

-- The tests that follow reserve with the default floor.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}}');
