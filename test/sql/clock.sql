-- After a clock that ran ahead was set back, the clock decides again; only an entry's created_at stays at that of the last one until the clock has passed it.
-- What another clock had booked is written into the tables here, as of a day that no other test looks at; clock_jump.pl does it by a clock that
-- really jumps.
\pset null -
\set ann '\'7c100000-0000-4000-8000-000000000001\''
\set bob '\'7c100000-0000-4000-8000-000000000002\''
\set cat '\'7c100000-0000-4000-8000-000000000003\''
\set eve '\'7c100000-0000-4000-8000-000000000005\''
\set dan '\'7c100000-0000-4000-8000-000000000004\''

-- Lets the last charge of an account have been booked under a clock that was ahead, which was set back since: as if it had been the day
-- of the clock then, in every window that it counted in.
CREATE FUNCTION pg_temp.was_ahead(account uuid, ahead interval, spent numeric, consumed numeric = 0, used_model text = NULL, member uuid = NULL) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	moment CONSTANT timestamptz := clock_timestamp() + ahead;
	of_month CONSTANT date := date_trunc('month', moment AT TIME ZONE 'UTC')::date;
BEGIN
	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model, actor, allowance_consumed, created_at, effective_at)
	SELECT id, last_seq + 1, gen_random_uuid(), -spent, balance - spent, 'usage', 'usage', used_model, member, consumed, moment, moment
	FROM ducto.accounts WHERE id = account;
	UPDATE ducto.spend_caps c SET spent = was_ahead.spent, buckets = CASE WHEN c.cap_type = 'sliding' THEN '{}'::numeric[] END,
		(window_from, window_until) = (SELECT w.bounds[1], w.bounds[2] FROM (SELECT CASE WHEN c.cap_type = 'session'
			THEN ARRAY[moment, moment + c.window_length] ELSE ducto.cap_window(c.cap_type, c.window_length, moment, NULL) END) w (bounds))
	WHERE account_id = account AND (model = '' OR model = used_model);
	UPDATE ducto.team_members m SET month = of_month, spent = was_ahead.spent WHERE team_id = account AND user_id = member;
	UPDATE ducto.accounts SET balance = balance - spent, last_seq = last_seq + 1, updated_at = moment,
		cycle_start = CASE WHEN consumed > 0 THEN (ducto.period('month', moment, NULL, NULL))[1] ELSE cycle_start END,
		cycle_end = CASE WHEN consumed > 0 THEN (ducto.period('month', moment, NULL, NULL))[2] ELSE cycle_end END,
		allowance_used = CASE WHEN consumed > 0 THEN consumed ELSE allowance_used END
	WHERE id = account;
END
$$;
CREATE FUNCTION pg_temp.ahead(account uuid) RETURNS TABLE (check_name text)
LANGUAGE sql AS $$ SELECT check_name FROM ducto_verify(account) $$;

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0, "plans": {"clock_plan": {"name": "Clock Plan", "free_allowance": 20}}}');

-- A plain account. The auditor names it; its balance is the same by all ways of asking.
SELECT new_balance FROM ducto_add_credits(:ann, 150, 'purchase');
SELECT balance_after FROM ducto_charge(:ann, 1);
SELECT pg_temp.was_ahead(:ann, '300 years', 1.0000);
SELECT * FROM pg_temp.ahead(:ann);
SELECT balance, ducto_balance_at(:ann, clock_timestamp()) AS now FROM ducto_get_balance(:ann);
-- Holds live from the clock on, credit may expire tomorrow, and does.
SELECT expires_at BETWEEN clock_timestamp() + interval '599 s' AND clock_timestamp() + interval '601 s' AS in_ten_minutes FROM ducto_reserve(:ann, 5);
SELECT * FROM pg_temp.ahead(:ann);
SELECT balance, ducto_balance_at(:ann, clock_timestamp()) AS now FROM ducto_get_balance(:ann);
SELECT new_balance, expires_at < clock_timestamp() + interval '1 minute' AS soon
FROM ducto_add_credits(:ann, 10, 'promo', expires_at => clock_timestamp() + interval '1 second');
SELECT count(*) FROM ducto_list_grants(:ann);
SELECT amount, balance_after FROM ducto_charge(:ann, 2);
SELECT pg_sleep(1.1);
SELECT balance, ducto_balance_at(:ann, clock_timestamp()) AS now FROM ducto_get_balance(:ann);
SELECT amount, balance_after FROM ducto_charge(:ann, 3);
-- created_at waits for the clock, effective_at is the clock.
SELECT seq, type, amount, created_at > clock_timestamp() + interval '299 years' AS ahead, created_at = max(created_at) OVER () AS kept,
	effective_at <= clock_timestamp() AS of_the_clock FROM ducto.ledger WHERE account_id = :ann ORDER BY seq;
SELECT plain, updated_at <= clock_timestamp() AS of_the_clock, ahead_from <= clock_timestamp() AS since, ahead_until > clock_timestamp() AS ahead
FROM ducto.accounts WHERE id = :ann;
SELECT * FROM ducto_verify(:ann);
-- The balance at the moment of each entry is what it left.
SELECT l.seq, l.balance_after, ducto_balance_at(:ann, l.effective_at) AS at FROM ducto.ledger l
WHERE l.account_id = :ann AND l.effective_at <= clock_timestamp() AND l.type <> 'expiry' ORDER BY l.seq;

-- A reservation that is settled now is closed now, and replays.
SELECT id AS held FROM ducto.reservations WHERE account_id = :ann AND state = 'open' \gset
SELECT amount, balance_after, error FROM ducto_deduct(:ann, :'held', 4, 'settled');
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'held', 4, 'settled');
SELECT amount, error FROM ducto_deduct(:ann, :'held', 4);
SELECT closed_at <= clock_timestamp() AS of_the_clock FROM ducto.reservations WHERE id = :'held';
-- An expired hold can be charged late.
SELECT reservation_id AS held FROM ducto_reserve(:ann, 6, ttl_seconds => 1) \gset
SELECT pg_sleep(1.1);
SELECT reserved FROM ducto_get_balance(:ann);
SELECT amount, balance_after, error FROM ducto_deduct(:ann, :'held', 6);
SELECT * FROM ducto_verify(:ann);

-- The chain takes both times.
SET ducto.ledger_chain = on;
SELECT amount, balance_after FROM ducto_charge(:ann, 1);
SELECT new_balance FROM ducto_add_credits(:ann, 10, 'promo', expires_at => clock_timestamp() + interval '200 ms');
SELECT pg_sleep(0.3);
SELECT amount, balance_after FROM ducto_charge(:ann, 1);
SELECT seq, type, digest IS NOT NULL AS chained, created_at > effective_at AS ahead FROM ducto.ledger WHERE account_id = :ann AND seq > 9 ORDER BY seq;
SELECT * FROM ducto_verify(:ann);
RESET ducto.ledger_chain;

-- Windows: what was spent today counts today, what the clock that was ahead had counted counts when its day and month come.
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT error FROM ducto_set_user_plan(:bob, 'clock_plan');
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'daily', 10);
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'monthly', 15, model => 'gpt');
SELECT amount, allowance_consumed FROM ducto_charge(:bob, 28, model => 'gpt');
SELECT transaction_id AS charged FROM ducto_charge(:bob, 1, skip_allowance => true) \gset
SELECT pg_temp.was_ahead(:bob, '300 years', 4.0000, 7.0000, 'gpt');
SELECT * FROM pg_temp.ahead(:bob);
-- readers see it before anybody writes
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
SELECT capped, current_spend FROM ducto_check_spend_cap(:bob, amount => 2);
SELECT affordable, allowance_remaining, reason FROM ducto_can_afford(:bob, 2);
SELECT allowance_used, period_start = date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') AS this_month FROM ducto_check_allowance(:bob);
SELECT amount, error FROM ducto_charge(:bob, 2, skip_allowance => true);
SELECT amount, error FROM ducto_charge(:bob, 1, skip_allowance => true, model => 'gpt');
SELECT amount, error FROM ducto_charge(:bob, 0.5, skip_allowance => true, model => 'gpt');
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
-- a refund gives room back in the window of its debit
SELECT amount, error FROM ducto_refund(:'charged');
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
SELECT id AS ahead FROM ducto.ledger WHERE account_id = :bob AND allowance_consumed = 7 \gset
SELECT amount, allowance_restored, error FROM ducto_refund(:'ahead');
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
SELECT allowance_used FROM ducto_check_allowance(:bob);
-- a cap that is added now knows the day too, and nothing of what is ahead
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'daily', 100, 'warn', 'gpt');
SELECT * FROM ducto_verify(:bob);

-- Members of a team.
SELECT team_id AS team FROM ducto_create_team('Clock', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :cat, spend_cap => 10);
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 8);
SELECT pg_temp.was_ahead(:'team', '300 years', 3.0000, member => :cat);
SELECT total_spent FROM ducto_get_team_members(:'team');
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 3);
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 2);
SELECT amount, error FROM ducto_deduct_team(:'team', :cat, 0.5);
SELECT total_spent FROM ducto_get_team_members(:'team');
SELECT * FROM ducto_verify(:'team');

-- An operation that booked no entry leaves nothing ahead.
SELECT new_balance FROM ducto_add_credits(:dan, 10);
UPDATE ducto.accounts SET updated_at = clock_timestamp() + interval '300 years' WHERE id = :dan;
SELECT * FROM pg_temp.ahead(:dan);
SELECT balance_after FROM ducto_charge(:dan, 1);
SELECT plain, ahead_from, ahead_until FROM ducto.accounts WHERE id = :dan;
SELECT bool_and(created_at <= clock_timestamp()) AS of_the_clock FROM ducto.ledger WHERE account_id = :dan;

-- ducto_repair does what the next operation would.
SELECT pg_temp.was_ahead(:dan, '300 years', 1.0000);
SELECT check_name, mended FROM ducto_repair(:dan);
SELECT * FROM pg_temp.ahead(:dan);
SELECT check_name, mended FROM ducto_repair(:dan, dry_run => false);
SELECT * FROM ducto_verify(:dan);
SELECT balance, ducto_balance_at(:dan, clock_timestamp()) AS now FROM ducto_get_balance(:dan);

-- An account that is ahead by a moment is not when that has passed: it is plain again, and its entries have the clock's time.
SELECT new_balance FROM ducto_add_credits(:eve, 10);
SELECT pg_temp.was_ahead(:eve, '1 second', 1.0000);
SELECT balance_after FROM ducto_charge(:eve, 1);
SELECT plain FROM ducto.accounts WHERE id = :eve;
SELECT pg_sleep(1.1);
SELECT balance_after FROM ducto_charge(:eve, 1);
SELECT plain FROM ducto.accounts WHERE id = :eve;
SELECT seq, created_at = effective_at AS of_the_clock FROM ducto.ledger WHERE account_id = :eve ORDER BY seq;
-- Sessions and sliding windows: what the other clock saw does not count now, and what was spent before it and after it does.
\set fay '\'7c100000-0000-4000-8000-000000000006\''
SELECT new_balance FROM ducto_add_credits(:fay, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'session', 100, window_length => '5 hours');
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'sliding', 100, window_length => '1 hour');
SELECT error FROM ducto_charge(:fay, 10);
SELECT pg_temp.was_ahead(:fay, '3 days', 50.0000);
SELECT cap_type, current_spend FROM ducto_list_spend_caps(:fay);
SELECT error FROM ducto_charge(:fay, 20);
SELECT cap_type, current_spend FROM ducto_list_spend_caps(:fay);
SELECT error FROM ducto_charge(:fay, 70.0001);
SELECT error FROM ducto_charge(:fay, 70);
SELECT cap_type, spent FROM ducto.spend_caps WHERE account_id = :fay ORDER BY cap_type;
SELECT * FROM ducto_verify(:fay);

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
