-- cap: limits of what a user spends in a day or a month
\pset null -

\set ada '\'ca900000-0000-4000-8000-000000000001\''
\set bob '\'ca900000-0000-4000-8000-000000000002\''
\set cyd '\'ca900000-0000-4000-8000-000000000003\''
\set dan '\'ca900000-0000-4000-8000-000000000004\''
\set eve '\'ca900000-0000-4000-8000-000000000005\''
\set fay '\'ca900000-0000-4000-8000-000000000006\''
\set gus '\'ca900000-0000-4000-8000-000000000007\''
\set hal '\'ca900000-0000-4000-8000-000000000008\''
\set ida '\'ca900000-0000-4000-8000-000000000009\''
\set jon '\'ca900000-0000-4000-8000-00000000000a\''
\set kim '\'ca900000-0000-4000-8000-00000000000b\''
\set lee '\'ca900000-0000-4000-8000-00000000000c\''
\set mia '\'ca900000-0000-4000-8000-00000000000d\''
\set ned '\'ca900000-0000-4000-8000-00000000000e\''
\set ola '\'ca900000-0000-4000-8000-00000000000f\''
\set pam '\'ca900000-0000-4000-8000-000000000010\''
\set quy '\'ca900000-0000-4000-8000-000000000011\''
\set nobody '\'ca900000-0000-4000-8000-0000000000ff\''

-- A cap is a day's or a month's: the story must not run across the end of one.
DO $$
BEGIN
	IF (clock_timestamp() AT TIME ZONE 'UTC')::time > '23:59:15' THEN
		PERFORM pg_sleep(46);
	END IF;
END $$;

-- What a statement raises: SQLSTATE, message and hint.
CREATE FUNCTION pg_temp.raised(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END $$;

-- Moves all that a user ever did to one moment in the past, as if the caps had counted it then. Holds stay open.
CREATE FUNCTION pg_temp.move_history(who uuid, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	month_start CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[1];
	month_end CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[2];
	cap text;
	from_then timestamptz;
	until_then timestamptz;
BEGIN
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger SET created_at = moment, effective_at = moment WHERE account_id = who;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.reservations SET created_at = moment WHERE account_id = who;
	UPDATE ducto.accounts SET updated_at = moment,
		cycle_start = month_start, cycle_end = month_end, next_boundary = least(next_boundary, month_end)
		WHERE id = who;
	FOR cap, from_then, until_then IN SELECT DISTINCT c.cap_type, (ducto.cap_window(c.cap_type, NULL, moment, NULL))[1],
		(ducto.cap_window(c.cap_type, NULL, moment, NULL))[2] FROM ducto.spend_caps c WHERE c.account_id = who
	LOOP
		UPDATE ducto.spend_caps SET window_from = from_then, window_until = until_then WHERE account_id = who AND cap_type = cap;
	END LOOP;
END $$;

-- Lets the open holds of a user be past their time.
CREATE FUNCTION pg_temp.holds_expire_now(who uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	moment CONSTANT timestamptz := clock_timestamp();
BEGIN
	UPDATE ducto.reservations SET expires_at = moment WHERE account_id = who AND state = 'open';
	UPDATE ducto.accounts SET next_boundary = updated_at WHERE id = who;
END $$;

-- Noon of yesterday, and noon of the last day of the last month.
SELECT (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '12 hours') AT TIME ZONE 'UTC' AS yesterday,
	(date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 hours') AT TIME ZONE 'UTC' AS last_month \gset

-- A plan with an allowance, and none without.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0, "plans": {
	"free": {"name": "Free Plan", "free_allowance": 100, "max_concurrent": 3},
	"debt": {"name": "Debt Plan", "default_billing_mode": "overdraft", "overdraft_floor": -1000}
}}');

-- A cap stops a runaway loop: it spends up to its limit and not beyond.
SELECT new_balance FROM ducto_add_credits(:ada, 1000);
SELECT user_id = :ada AS same_user, cap_type, model, cap_limit, action, current_spend FROM ducto_set_spend_cap(:ada, 'daily', 100);
SELECT amount, balance_after, cap_warning, error FROM ducto_charge(:ada, 60);
SELECT transaction_id, amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_charge(:ada, 40.0001);
-- Spent + amount = limit passes.
SELECT amount, balance_after, cap_warning, error FROM ducto_charge(:ada, 40);
SELECT amount, balance_after, cap_warning, error FROM ducto_charge(:ada, 0.0001);
SELECT reservation_id, amount, balance, reserved, error FROM ducto_reserve(:ada, 0.0001);
SELECT affordable, available, reason FROM ducto_can_afford(:ada, 0.0001);
-- A charge of nothing spends nothing.
SELECT transaction_id, amount, error FROM ducto_charge(:ada, 0);
SELECT cap_type, model, cap_limit, action, current_spend FROM ducto_list_spend_caps(:ada);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:ada);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:ada, amount => 0.0001);

-- Held credits count: holds that fit one by one cannot pass a cap together.
SELECT new_balance FROM ducto_add_credits(:bob, 1000);
SELECT cap_limit, current_spend FROM ducto_set_spend_cap(:bob, 'monthly', 100);
SELECT n, r.amount, r.reserved, r.error FROM (VALUES (1, 40), (2, 40), (3, 40), (4, 20.0001), (5, 20)) t (n, amount), LATERAL ducto_reserve(:bob, t.amount, idempotency_key => 'r' || n) r ORDER BY n;
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:bob);
SELECT amount, error FROM ducto_charge(:bob, 0.0001);
-- Releasing one frees its room.
SELECT released FROM ducto_reserve(:bob, 40, idempotency_key => 'r1') r, LATERAL ducto_release(:bob, r.reservation_id);
SELECT current_spend FROM ducto_list_spend_caps(:bob);
SELECT amount, error FROM ducto_charge(:bob, 40.0001);
-- So does a deduct of less than was held, and one of nothing.
SELECT d.amount, d.cap_warning, d.error FROM ducto_reserve(:bob, 40, idempotency_key => 'r2') r, LATERAL ducto_deduct(:bob, r.reservation_id, 10) d;
SELECT current_spend FROM ducto_list_spend_caps(:bob);
SELECT d.amount, d.cap_warning, d.error FROM ducto_reserve(:bob, 20, idempotency_key => 'r5') r, LATERAL ducto_deduct(:bob, r.reservation_id, 0) d;
SELECT current_spend FROM ducto_list_spend_caps(:bob);
-- So does a hold that expires, swept or not.
SELECT reservation_id IS NOT NULL AS held FROM ducto_reserve(:bob, 90);
SELECT current_spend FROM ducto_list_spend_caps(:bob);
SELECT pg_temp.holds_expire_now(:bob);
SELECT current_spend FROM ducto_list_spend_caps(:bob);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:bob, amount => 90);
SELECT affordable, reason FROM ducto_can_afford(:bob, 90);
SELECT amount, error FROM ducto_charge(:bob, 90.0001);
SELECT amount, error FROM ducto_charge(:bob, 90);
SELECT * FROM ducto_verify(:bob);

-- A hold that is captured bit by bit counts once: what is spent, and what is still held.
SELECT new_balance FROM ducto_add_credits(:cyd, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:cyd, 'daily', 100);
SELECT reservation_id AS r FROM ducto_reserve(:cyd, 100) \gset
SELECT amount, cap_warning, error FROM ducto_deduct(:cyd, :'r', 30, final => false);
SELECT current_spend FROM ducto_list_spend_caps(:cyd);
SELECT amount, cap_warning, error FROM ducto_deduct(:cyd, :'r', 70, final => false);
SELECT current_spend FROM ducto_list_spend_caps(:cyd);
-- A cap never blocks a deduct: the work is done. It tells that it was exceeded.
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:cyd, :'r', 5, idempotency_key => 'over');
SELECT current_spend FROM ducto_list_spend_caps(:cyd);
SELECT amount, error FROM ducto_charge(:cyd, 1);
-- And tells a retry the same, whatever has become of the cap.
SELECT ducto_remove_spend_cap(:cyd, 'daily');
SELECT amount, balance_after, idempotent, cap_warning, error FROM ducto_deduct(:cyd, :'r', 5, idempotency_key => 'over');
SELECT cap_warning FROM ducto.ledger WHERE account_id = :cyd AND idempotency_key = 'over';

-- warn and notify only report; of several the strongest is told.
SELECT new_balance FROM ducto_add_credits(:dan, 1000);
SELECT cap_type, cap_limit, action FROM ducto_set_spend_cap(:dan, 'daily', 10, 'notify');
SELECT cap_type, cap_limit, action FROM ducto_set_spend_cap(:dan, 'monthly', 20, 'warn');
SELECT cap_type, model, cap_limit, action FROM ducto_set_spend_cap(:dan, 'daily', 30, 'deny', 'gpt');
SELECT n, c.amount, c.cap_warning, c.error
FROM (VALUES (1, 10.0), (2, 0.0001), (3, 9.9999), (4, 0.0001)) t (n, amount), LATERAL ducto_charge(:dan, t.amount, 'c' || n) c ORDER BY n;
SELECT amount, cap_warning, error FROM ducto_charge(:dan, 30, model => 'gpt');
SELECT amount, cap_warning, error FROM ducto_charge(:dan, 1, model => 'gpt');
SELECT amount, idempotent, cap_warning FROM ducto_charge(:dan, 1, 'c4');
SELECT amount, idempotent, cap_warning FROM ducto_charge(:dan, 1, 'c1');
-- A reservation passes soft caps, and its deduct reports them; a deny cap is reported only from beyond its limit.
SELECT reservation_id AS r FROM ducto_reserve(:dan, 5) \gset
SELECT amount, cap_warning FROM ducto_deduct(:dan, :'r', 5);
SELECT cap_limit FROM ducto_set_spend_cap(:dan, 'daily', 40, 'deny', 'gpt');
SELECT reservation_id AS r FROM ducto_reserve(:dan, 5, model => 'gpt') \gset
SELECT amount, cap_warning FROM ducto_deduct(:dan, :'r', 5);
SELECT reservation_id AS r FROM ducto_reserve(:dan, 5, model => 'gpt') \gset
SELECT amount, cap_warning FROM ducto_deduct(:dan, :'r', 5.0001);
SELECT cap_type, model, cap_limit, action, current_spend FROM ducto_list_spend_caps(:dan);

-- User-wide and per model: both count what concerns them, and both are told right.
SELECT new_balance FROM ducto_add_credits(:eve, 1000);
SELECT cap_type, model, cap_limit FROM ducto_set_spend_cap(:eve, 'monthly', 100);
SELECT cap_type, model, cap_limit FROM ducto_set_spend_cap(:eve, 'monthly', 50, model => 'gpt');
SELECT n, c.amount, c.error
FROM (VALUES (1, 30, 'gpt'), (2, 20.0001, 'gpt'), (3, 40, 'llama'), (4, 10, NULL), (5, 20, 'gpt'), (6, 0.0001, 'gpt'), (7, 0.0001, 'llama'), (8, 0.0001, NULL)) t (n, amount, model),
	LATERAL ducto_charge(:eve, t.amount, 'c' || n, model => t.model) c ORDER BY n;
SELECT cap_type, model, cap_limit, action, current_spend FROM ducto_list_spend_caps(:eve);
SELECT m AS of_model, c.capped, c.current_spend, c.cap_limit, c.action, c.model FROM unnest(ARRAY['gpt', 'llama', NULL]) WITH ORDINALITY t (m, n), LATERAL ducto_check_spend_cap(:eve, m) c ORDER BY n;
-- A deduct on another model than was reserved counts for the one that was used.
SELECT cap_limit FROM ducto_set_spend_cap(:eve, 'monthly', 200);
SELECT cap_limit FROM ducto_set_spend_cap(:eve, 'monthly', 90, model => 'gpt');
SELECT reservation_id AS r FROM ducto_reserve(:eve, 40, model => 'gpt') \gset
SELECT model, current_spend FROM ducto_list_spend_caps(:eve);
SELECT amount, cap_warning FROM ducto_deduct(:eve, :'r', 40, model => 'llama');
SELECT model, current_spend FROM ducto_list_spend_caps(:eve);

-- Limit 0 blocks all spending, and nothing else.
SELECT new_balance FROM ducto_add_credits(:fay, 100);
SELECT cap_limit, current_spend FROM ducto_set_spend_cap(:fay, 'daily', 0);
SELECT amount, error FROM ducto_charge(:fay, 0.0001);
SELECT amount, error FROM ducto_reserve(:fay, 0.0001);
SELECT amount, new_balance, error FROM ducto_add_credits(:fay, -10);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:fay);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:fay, amount => 0.0001);
-- One that forbids a model leaves the others alone.
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'daily', 0, model => 'gpt');
SELECT ducto_remove_spend_cap(:fay, 'daily');
SELECT amount, error FROM ducto_charge(:fay, 1, model => 'gpt');
SELECT amount, error FROM ducto_charge(:fay, 1, model => 'llama');
SELECT amount, error FROM ducto_charge(:fay, 1);

-- Caps count credits: what the allowance pays is free, and what is beyond it counts.
SELECT plan_id FROM ducto_set_user_plan(:gus, 'free');
SELECT new_balance FROM ducto_add_credits(:gus, 100);
SELECT cap_limit FROM ducto_set_spend_cap(:gus, 'daily', 30);
SELECT amount, allowance_consumed, error FROM ducto_charge(:gus, 50);
SELECT amount, allowance_consumed, error FROM ducto_charge(:gus, 80.0001);
SELECT affordable, reason FROM ducto_can_afford(:gus, 80.0001);
SELECT affordable, reason FROM ducto_can_afford(:gus, 80);
SELECT reservation_id AS r1 FROM ducto_reserve(:gus, 50) \gset
SELECT current_spend FROM ducto_list_spend_caps(:gus);
SELECT reservation_id AS r2 FROM ducto_reserve(:gus, 30) \gset
SELECT current_spend FROM ducto_list_spend_caps(:gus);
SELECT amount, error FROM ducto_reserve(:gus, 0.0001);
-- A hold was counted with what it needed beyond the allowance when it was admitted; a deduct counts with what it takes.
SELECT amount, allowance_consumed, cap_warning, error FROM ducto_deduct(:gus, :'r2', 30);
SELECT current_spend FROM ducto_list_spend_caps(:gus);
SELECT amount, allowance_consumed, cap_warning, error FROM ducto_deduct(:gus, :'r1', 50);
SELECT current_spend FROM ducto_list_spend_caps(:gus);
-- A cap of 0 still lets the allowance be used; skip_allowance counts it all.
SELECT plan_id FROM ducto_set_user_plan(:hal, 'free');
SELECT new_balance FROM ducto_add_credits(:hal, 100);
SELECT cap_limit FROM ducto_set_spend_cap(:hal, 'monthly', 0);
SELECT amount, allowance_consumed, error FROM ducto_charge(:hal, 10);
SELECT amount, error FROM ducto_charge(:hal, 10, skip_allowance => true);
SELECT amount, error FROM ducto_reserve(:hal, 10, skip_allowance => true);
SELECT amount, reserved, error FROM ducto_reserve(:hal, 90);
SELECT amount, reserved, error FROM ducto_reserve(:hal, 0.0001);

-- A new cap starts from what its window has seen: usage, less what was refunded of it, and what is held.
SELECT new_balance FROM ducto_add_credits(:ida, 1000);
SELECT transaction_id AS t FROM ducto_charge(:ida, 40, model => 'gpt') \gset
SELECT amount FROM ducto_charge(:ida, 30, model => 'llama');
SELECT amount FROM ducto_charge(:ida, 7);
SELECT amount FROM ducto_refund(:'t', 15);
SELECT amount FROM ducto_reserve(:ida, 5, model => 'gpt');
SELECT amount FROM ducto_reserve(:ida, 3);
SELECT cap_type, model, current_spend FROM ducto_set_spend_cap(:ida, 'daily', 1000);
SELECT cap_type, model, current_spend FROM ducto_set_spend_cap(:ida, 'monthly', 1000);
SELECT cap_type, model, current_spend FROM ducto_set_spend_cap(:ida, 'daily', 30, model => 'gpt');
SELECT cap_type, model, current_spend FROM ducto_set_spend_cap(:ida, 'monthly', 1000, model => 'llama');
SELECT cap_type, model, current_spend FROM ducto_set_spend_cap(:ida, 'monthly', 1000, model => 'mistral');
SELECT amount, error FROM ducto_charge(:ida, 0.0001, model => 'gpt');
-- A refund after that gives room back, in every cap that had counted the debit.
SELECT amount FROM ducto_refund(:'t', 5);
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:ida);
-- One below what was spent already blocks at once.
SELECT cap_limit, current_spend FROM ducto_set_spend_cap(:ida, 'daily', 10);
SELECT amount, error FROM ducto_charge(:ida, 1, model => 'mistral');
SELECT * FROM ducto_verify(:ida);

-- A second set changes limit and action, and keeps the count.
SELECT cap_limit, action, current_spend FROM ducto_set_spend_cap(:ida, 'daily', 2000, 'warn');
SELECT cap_limit, action, current_spend FROM ducto_set_spend_cap(:ida, 'daily', 60, NULL);
SELECT count(*) FROM ducto_list_spend_caps(:ida) WHERE cap_type = 'daily' AND model IS NULL;
-- Removing takes the one that is named, and tells whether there was one.
SELECT ducto_remove_spend_cap(:ida, 'monthly', 'gpt') AS not_there, ducto_remove_spend_cap(:ida, 'daily', 'gpt') AS there;
SELECT ducto_remove_spend_cap(:ida, 'daily', 'gpt') AS again, ducto_remove_spend_cap(:nobody, 'daily') AS of_nobody;
SELECT cap_type, model, cap_limit, action, current_spend FROM ducto_list_spend_caps(:ida);
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;
-- Set again, it starts from what its window has seen, not from nothing.
SELECT current_spend FROM ducto_set_spend_cap(:ida, 'daily', 100, model => 'gpt');
-- A cap comes before the account's first credit.
SELECT current_spend FROM ducto_set_spend_cap(:jon, 'monthly', 5);
SELECT error FROM ducto_charge(:jon, 1);
SELECT error FROM ducto_charge(:jon, 6);

-- A new day has its whole room: yesterday's usage does not count, also not in a cap that is made today.
SELECT new_balance FROM ducto_add_credits(:kim, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:kim, 'daily', 100);
SELECT transaction_id AS t FROM ducto_charge(:kim, 90) \gset
SELECT pg_temp.move_history(:kim, :'yesterday');
SELECT current_spend FROM ducto_list_spend_caps(:kim);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:kim, amount => 100);
SELECT affordable, reason FROM ducto_can_afford(:kim, 100);
SELECT * FROM ducto_verify(:kim);
-- A refund gives room back only in the window in which the debit was: not today,
SELECT amount FROM ducto_refund(:'t', 50);
SELECT current_spend FROM ducto_list_spend_caps(:kim);
SELECT * FROM ducto_verify(:kim);
SELECT amount, error FROM ducto_charge(:kim, 80);
SELECT amount FROM ducto_refund(:'t', 30);
SELECT current_spend FROM ducto_list_spend_caps(:kim);
SELECT current_spend FROM ducto_set_spend_cap(:kim, 'daily', 100, model => 'gpt');
SELECT * FROM ducto_verify(:kim);
SELECT ducto_remove_spend_cap(:kim, 'daily');
SELECT current_spend FROM ducto_set_spend_cap(:kim, 'daily', 100);
-- A hold of yesterday that is settled today counts today.
SELECT new_balance FROM ducto_add_credits(:lee, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:lee, 'daily', 100);
SELECT amount FROM ducto_charge(:lee, 35);
SELECT reservation_id AS r FROM ducto_reserve(:lee, 60) \gset
SELECT pg_temp.move_history(:lee, :'yesterday');
SELECT current_spend FROM ducto_list_spend_caps(:lee);
SELECT amount, error FROM ducto_charge(:lee, 40.0001);
SELECT amount, cap_warning, error FROM ducto_deduct(:lee, :'r', 50);
SELECT current_spend FROM ducto_list_spend_caps(:lee);
SELECT * FROM ducto_verify(:lee);
-- The same for months: what was spent in the last one counts neither in an old cap nor in a new one.
SELECT new_balance FROM ducto_add_credits(:mia, 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:mia, 'monthly', 100);
SELECT transaction_id AS t FROM ducto_charge(:mia, 90, model => 'gpt') \gset
SELECT pg_temp.move_history(:mia, :'last_month');
SELECT current_spend FROM ducto_list_spend_caps(:mia);
SELECT current_spend FROM ducto_set_spend_cap(:mia, 'monthly', 100, model => 'gpt');
SELECT amount FROM ducto_refund(:'t', 10);
SELECT model, current_spend FROM ducto_list_spend_caps(:mia);
SELECT amount, error FROM ducto_charge(:mia, 100, model => 'gpt');
SELECT amount FROM ducto_refund(:'t', 10);
SELECT model, current_spend FROM ducto_list_spend_caps(:mia);
SELECT * FROM ducto_verify(:mia);

-- Days are UTC's, whatever the session's time zone.
BEGIN;
SET LOCAL TIME ZONE 'Pacific/Kiritimati';
SELECT current_spend FROM ducto_list_spend_caps(:ada);
SELECT amount, error FROM ducto_charge(:ada, 1);
SET LOCAL TIME ZONE 'Etc/GMT+12';
SELECT current_spend FROM ducto_list_spend_caps(:ada);
SELECT amount, error FROM ducto_charge(:ada, 1);
COMMIT;

-- check_spend_cap tells the cap that matters: the first deny exceeded, else the first soft one exceeded, else the one with the least room.
SELECT new_balance FROM ducto_add_credits(:ned, 1000);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:ned);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:ned, 'gpt', 5);
SELECT n, c.action FROM (VALUES (1, 'daily', 40, 'deny', NULL), (2, 'daily', 20, 'notify', 'gpt'), (3, 'monthly', 60, 'deny', 'gpt'), (4, 'monthly', 30, 'warn', NULL)) t (n, type, lim, act, model),
	LATERAL ducto_set_spend_cap(:ned, type, lim, act, model) c ORDER BY n;
SELECT amount FROM ducto_charge(:ned, 10, model => 'gpt');
SELECT t.model AS of_model, t.amount, c.capped, c.current_spend, c.cap_limit, c.action, c.model
FROM (VALUES (1, 'gpt', 0), (2, 'gpt', 10), (3, 'gpt', 10.0001), (4, 'gpt', 25), (5, 'gpt', 31), (6, 'gpt', 51), (7, NULL, 0), (8, NULL, 20), (9, NULL, 25), (10, NULL, 31), (11, 'llama', 15)) t (n, model, amount),
	LATERAL ducto_check_spend_cap(:ned, t.model, t.amount) c ORDER BY n;
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:nobody, 'gpt', 5);
SELECT capped, current_spend, cap_limit, action, model FROM ducto_check_spend_cap(:ned, NULL, NULL);

-- The order of rejections: feature, concurrency, cap, funds – and can_afford explains in the same order.
SELECT plan_id FROM ducto_set_user_plan(:ola, 'free');
SELECT cap_limit FROM ducto_set_spend_cap(:ola, 'daily', 10);
SELECT r.n, s.error FROM generate_series(1, 3) AS r (n), LATERAL ducto_reserve(:ola, n, idempotency_key => 'r' || n) s ORDER BY n;
SELECT error FROM ducto_reserve(:ola, 1000, required_feature => 'chat');
SELECT error FROM ducto_reserve(:ola, 1000);
SELECT affordable, reason FROM ducto_can_afford(:ola, 1000);
SELECT released FROM ducto_reserve(:ola, 1, idempotency_key => 'r1') r, LATERAL ducto_release(:ola, r.reservation_id);
SELECT error FROM ducto_reserve(:ola, 1000);
SELECT error FROM ducto_charge(:ola, 1000);
SELECT affordable, allowance_remaining, reason FROM ducto_can_afford(:ola, 1000);
SELECT error FROM ducto_reserve(:ola, 105);
SELECT error FROM ducto_charge(:ola, 105);
SELECT affordable, reason FROM ducto_can_afford(:ola, 105);
SELECT affordable, reason FROM ducto_can_afford(:ola, 95);
SELECT error FROM ducto_charge(:ola, 1000, required_feature => 'chat');
-- A cap holds in debt too, and only for its model.
SELECT plan_id FROM ducto_set_user_plan(:pam, 'debt');
SELECT cap_limit FROM ducto_set_spend_cap(:pam, 'daily', 10, model => 'gpt');
SELECT affordable, reason FROM ducto_can_afford(:pam, 11, 'gpt');
SELECT affordable, reason FROM ducto_can_afford(:pam, 11, 'llama');
SELECT amount, balance_after, error FROM ducto_charge(:pam, 11, model => 'gpt');
SELECT amount, balance_after, error FROM ducto_charge(:pam, 10, model => 'gpt');
-- A rejection changes nothing.
SELECT count(*) FROM ducto.ledger WHERE account_id = :pam;
SELECT current_spend FROM ducto_list_spend_caps(:pam);
-- A retry of what was admitted is answered before the cap is asked.
SELECT amount, idempotent, error FROM ducto_reserve(:bob, 40, idempotency_key => 'r2');
SELECT amount, idempotent, error FROM ducto_charge(:eve, 1000, 'c1', model => 'gpt');

-- Prices count like amounts, for the model of the usage, and a clamped or late charge counts what it took.
SELECT new_balance FROM ducto_add_credits(:quy, 100);
SELECT cap_limit FROM ducto_set_spend_cap(:quy, 'daily', 50, model => 'gpt');
SELECT amount, error FROM ducto_charge_usage(:quy, '{"model": "gpt", "input_tokens": 50.0001}');
SELECT amount, error FROM ducto_reserve_usage(:quy, '{"model": "gpt", "input_tokens": 50.0001}');
SELECT reservation_id AS r, amount FROM ducto_reserve_usage(:quy, '{"model": "gpt", "input_tokens": 50}') \gset
SELECT amount, cap_warning, error FROM ducto_charge_usage(:quy, '{"model": "gpt", "input_tokens": 60}', :'r');
SELECT current_spend FROM ducto_list_spend_caps(:quy);
SELECT reservation_id AS r FROM ducto_reserve(:quy, 10) \gset
SELECT pg_temp.holds_expire_now(:quy);
SELECT amount, shortfall, cap_warning, error FROM ducto_deduct(:quy, :'r', 50, model => 'gpt', overrun => 'clamp');
SELECT current_spend FROM ducto_list_spend_caps(:quy);

-- What is no cap is an error that names it.
SELECT s, pg_temp.raised(format(s, :ada)) FROM unnest(ARRAY[
	'SELECT ducto_set_spend_cap(NULL, ''daily'', 1)',
	'SELECT ducto_set_spend_cap(%L, NULL, 1)',
	'SELECT ducto_set_spend_cap(%L, ''yearly'', 1)',
	'SELECT ducto_set_spend_cap(%L, ''Daily'', 1)',
	'SELECT ducto_set_spend_cap(%L, ''daily'', NULL)',
	'SELECT ducto_set_spend_cap(%L, ''daily'', -0.0001)',
	'SELECT ducto_set_spend_cap(%L, ''daily'', 0.00004)',
	'SELECT ducto_set_spend_cap(%L, ''daily'', ''Infinity'')',
	'SELECT ducto_set_spend_cap(%L, ''daily'', 1, ''block'')',
	'SELECT ducto_set_spend_cap(%L, ''daily'', 1, ''deny'', '''')',
	'SELECT ducto_set_spend_cap(%L, ''daily'', 1, ''deny'', repeat(''m'', 256))',
	'SELECT ducto_remove_spend_cap(NULL, ''daily'')',
	'SELECT ducto_remove_spend_cap(%L, NULL)',
	'SELECT ducto_remove_spend_cap(%L, ''yearly'')',
	'SELECT ducto_list_spend_caps(NULL)',
	'SELECT ducto_check_spend_cap(NULL)',
	'SELECT ducto_check_spend_cap(%L, ''gpt'', -1)',
	'SELECT ducto_check_spend_cap(%L, ''gpt'', ''NaN'')']) AS s;
SELECT team_id AS team FROM ducto_create_team('cap test') \gset
-- A team has caps too.
SELECT user_id = :'team' AS of_team, cap_limit, current_spend FROM ducto_set_spend_cap(:'team', 'daily', 1);
SELECT ducto_remove_spend_cap(:'team', 'daily');
-- A read of a cap works where nothing can be written.
BEGIN READ ONLY;
SELECT count(*) FROM ducto_list_spend_caps(:eve);
SELECT capped FROM ducto_check_spend_cap(:eve, 'gpt', 1000);
COMMIT;
-- A rejection raises where that is wanted, and tells which cap it was: the one that resets last, of a model, or a member's.
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SELECT regexp_replace(pg_temp.raised(format('SELECT ducto_charge(%L, 1)', :ada)), ' at .*', ' at TIME') AS raised;
SELECT new_balance FROM ducto_add_credits('ca900000-0000-4000-8000-0000000000ff', 1000) \gset
SELECT cap_limit FROM ducto_set_spend_cap('ca900000-0000-4000-8000-0000000000ff', 'daily', 8);
SELECT cap_limit FROM ducto_set_spend_cap('ca900000-0000-4000-8000-0000000000ff', 'monthly', 9, model => 'gpt');
SELECT error FROM ducto_reserve('ca900000-0000-4000-8000-0000000000ff', 5, model => 'gpt', min_balance => 0);
SELECT error FROM ducto_add_team_member(:'team', 'ca900000-0000-4000-8000-0000000000ff', spend_cap => 3);
SELECT error FROM ducto_add_team_credits(:'team', 100);
SELECT error FROM ducto_deduct_team(:'team', 'ca900000-0000-4000-8000-0000000000ff', 2);
SELECT regexp_replace(pg_temp.raised(format(call, 'ca900000-0000-4000-8000-0000000000ff', :'team')), ' at .*', ' at TIME') AS raised FROM unnest(ARRAY[
	'SELECT ducto_charge(%L, 4)', 'SELECT ducto_charge(%L, 5, model => ''gpt'')', 'SELECT ducto_reserve(%L, 3.5, min_balance => 0)',
	'SELECT ducto_deduct_team(team_id => %2$L, user_id => %1$L, amount => 2)', 'SELECT ducto_reserve(%L, 2, team_id => %L, min_balance => 0)',
	'SELECT ducto_reserve(%L, 2000, min_balance => 0)']) AS call;
-- It resets when the day, or the month, is over.
SELECT regexp_replace(pg_temp.raised(format('SELECT ducto_charge(%L, 4)', 'ca900000-0000-4000-8000-0000000000ff')), '.* at (.*)\.', '\1')::timestamptz
	= (date_trunc('day', clock_timestamp() AT TIME ZONE 'UTC') + interval '1 day') AT TIME ZONE 'UTC' AS tomorrow,
	regexp_replace(pg_temp.raised(format('SELECT ducto_charge(%L, 5, model => ''gpt'')', 'ca900000-0000-4000-8000-0000000000ff')), '.* at (.*)\.', '\1')::timestamptz
	= (date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC' AS next_month;
COMMIT;

-- Neutral pricing for who comes next: no plans, a floor of 5.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
