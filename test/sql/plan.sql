-- plan: what a subscription includes – free usage per month, features, billing rules
\pset null -

\set ada '\'91a40000-0000-4000-8000-000000000001\''
\set bob '\'91a40000-0000-4000-8000-000000000002\''
\set cyd '\'91a40000-0000-4000-8000-000000000003\''
\set dan '\'91a40000-0000-4000-8000-000000000004\''
\set eve '\'91a40000-0000-4000-8000-000000000005\''
\set fay '\'91a40000-0000-4000-8000-000000000006\''
\set gus '\'91a40000-0000-4000-8000-000000000007\''
\set hal '\'91a40000-0000-4000-8000-000000000008\''
\set ida '\'91a40000-0000-4000-8000-000000000009\''
\set jon '\'91a40000-0000-4000-8000-00000000000a\''
\set kim '\'91a40000-0000-4000-8000-00000000000b\''
\set lee '\'91a40000-0000-4000-8000-00000000000c\''
\set mia '\'91a40000-0000-4000-8000-00000000000d\''
\set ned '\'91a40000-0000-4000-8000-00000000000e\''
\set ola '\'91a40000-0000-4000-8000-00000000000f\''
\set pam '\'91a40000-0000-4000-8000-000000000010\''
\set quy '\'91a40000-0000-4000-8000-000000000011\''
\set nobody '\'91a40000-0000-4000-8000-0000000000ff\''

-- An allowance is a month's: the story must not run across the end of one.
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

-- Moves all that a user ever did, grants and holds aside, to one moment.
CREATE FUNCTION pg_temp.move_history(who uuid, moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	month_start CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[1];
	month_end CONSTANT timestamptz := (ducto.period('month', moment, NULL, NULL))[2];
BEGIN
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger SET created_at = moment, effective_at = moment WHERE account_id = who;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.accounts SET updated_at = moment,
		cycle_start = month_start, cycle_end = month_end, next_boundary = least(next_boundary, month_end)
		WHERE id = who;
END $$;

-- Lets the grants of a user be due.
CREATE FUNCTION pg_temp.grants_expire_now(who uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
	moment CONSTANT timestamptz := clock_timestamp();
BEGIN
	UPDATE ducto.grants SET expires_at = moment WHERE account_id = who;
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger l SET expires_at = g.expires_at FROM ducto.grants g WHERE g.account_id = who AND l.account_id = g.account_id AND l.id = g.id;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.accounts SET next_boundary = updated_at WHERE id = who;
END $$;

-- Noon of the last day of the last month: long ago, whatever today is.
SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '12 hours') AT TIME ZONE 'UTC' AS last_month \gset

-- Plans come with the pricing.
SELECT error FROM ducto_set_active_pricing('{
	"models": {"_default": "1"},
	"min_balance": 5,
	"plans": {
		"free": {"name": "Free Plan", "free_allowance": 100, "features": {"chat": true}},
		"pro": {
			"name": "Pro Plan", "free_allowance": 300,
			"features": {"chat": true, "agentic": false, "voice": null, "seats": 0, "note": "", "list": [], "limits": {"files": 3, "off": false}, "big": 1.50},
			"max_concurrent": 2,
			"per_operation": {"agent": {"billing_mode": "overdraft", "overdraft_floor": -30, "max_concurrent": 1}, "batch": {"max_concurrent": 3}}
		},
		"credit": {
			"name": "Credit Plan", "default_billing_mode": "overdraft", "overdraft_floor": -50,
			"per_operation": {"careful": {"billing_mode": "strict"}, "deep": {"overdraft_floor": -200}}
		},
		"old": {"name": "Old Plan", "free_allowance": 20, "features": {"legacy": true}},
		"bare": {"name": "Bare Plan"}
	}
}');

-- A user gets a plan and with it an account; a new one takes the place of the old one.
SELECT * FROM ducto_set_user_plan(:ada, 'free');
SELECT count(*), max(kind) AS kind FROM ducto.accounts WHERE id = :ada;
SELECT * FROM ducto_set_user_plan(:ada, 'pro');
\x on
SELECT * FROM ducto_get_user_plan(:ada);
\x off

-- What a plan does not say is nothing, strict, unlimited.
SELECT plan_id FROM ducto_set_user_plan(:bob, 'bare');
SELECT plan_id, plan_name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor FROM ducto_get_user_plan(:bob);

-- A plan that nobody knows is a rejection: the user keeps the old one, and a new user gets no account.
SELECT * FROM ducto_set_user_plan(:ada, 'platinum');
SELECT plan_id FROM ducto_get_user_plan(:ada);
SELECT * FROM ducto_set_user_plan(:nobody, 'platinum');
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;

-- NULL takes the plan away; without a plan, and without an account, there is none to tell.
SELECT * FROM ducto_set_user_plan(:bob, NULL);
SELECT plan_id, plan_name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor FROM ducto_get_user_plan(:bob);
SELECT user_id = :nobody AS same_user, plan_id, plan_name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor FROM ducto_get_user_plan(:nobody);
SELECT * FROM ducto_set_user_plan(:bob, NULL);
SELECT * FROM ducto_set_user_plan(:pam, NULL);
SELECT count(*) FROM ducto.accounts WHERE id = :pam;

-- A feature is there unless it is absent, null or false; 0 and the empty string are values.
SELECT f.feature, f.value, f.has_feature
FROM unnest(ARRAY['chat', 'agentic', 'voice', 'seats', 'note', 'list', 'limits', 'big', 'files', 'limits.files', 'Chat', 'absent']) WITH ORDINALITY t (name, n),
	LATERAL ducto_check_feature(:ada, t.name) f
ORDER BY n;
SELECT * FROM ducto_check_feature(:bob, 'chat');
SELECT * FROM ducto_check_feature(:nobody, 'chat');

-- The allowance is that of the UTC month, and tells its first and last day, whatever the session's time zone.
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, error FROM ducto_check_allowance(:ada);
BEGIN;
SET LOCAL TIME ZONE 'Pacific/Kiritimati';
SELECT period_start = date_trunc('month', now() AT TIME ZONE 'UTC')::date AS first_day,
	period_end = (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month' - interval '1 day')::date AS last_day
FROM ducto_check_allowance(:ada);
SET LOCAL TIME ZONE 'Etc/GMT+12';
SELECT period_start = date_trunc('month', now() AT TIME ZONE 'UTC')::date AS first_day,
	period_end = (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month' - interval '1 day')::date AS last_day
FROM ducto_check_allowance(:ada);
COMMIT;

-- Without a plan there is a month, and nothing in it.
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, period_start < period_end AS a_month, error FROM ducto_check_allowance(:bob);
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, period_start < period_end AS a_month, error FROM ducto_check_allowance(:nobody);

-- Allowance first: a subscriber without credits works as long as it covers the work entirely, whatever the floor.
SELECT plan_id FROM ducto_set_user_plan(:cyd, 'free');
SELECT amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_charge(:cyd, 60, min_balance => 1000);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:cyd, 40.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:cyd, 40);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:cyd, 0.0001);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:cyd);
SELECT amount, type, allowance_consumed, balance_after FROM ducto_list_transactions(:cyd);

-- Then credits: the rest is theirs, down to the floor.
SELECT plan_id FROM ducto_set_user_plan(:dan, 'free');
SELECT new_balance FROM ducto_add_credits(:dan, 50);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:dan, 140.0001, min_balance => 10);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:dan, 140, min_balance => 10);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:dan, 10);
SELECT balance, reserved, available FROM ducto_get_balance(:dan);

-- skip_allowance pays from credits alone.
SELECT plan_id FROM ducto_set_user_plan(:eve, 'free');
SELECT amount, allowance_consumed, error FROM ducto_charge(:eve, 1, skip_allowance => true);
SELECT new_balance FROM ducto_add_credits(:eve, 30);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:eve, 20, skip_allowance => true);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:eve, 20, skip_allowance => NULL);

-- The allowance counts once over all open holds: with 100 of it and 20 credits, floor 5, holds of 115 fit and no more.
SELECT plan_id FROM ducto_set_user_plan(:fay, 'free');
SELECT new_balance FROM ducto_add_credits(:fay, 20);
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:fay, 60, idempotency_key => 'r1');
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:fay, 55.0001);
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:fay, 55, idempotency_key => 'r2');
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:fay, 0.0001);
-- Reserved is all that is held, though the allowance backs the most of it.
SELECT balance, reserved, available FROM ducto_get_balance(:fay);
SELECT affordable, available, allowance_remaining, reason FROM ducto_can_afford(:fay, 0.0001);
-- What the holds need is never spent by a charge: 5 of the 20 credits are free, and no allowance.
SELECT amount, allowance_consumed, error FROM ducto_charge(:fay, 5.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge(:fay, 5);
-- Each hold gets what it was promised, whoever settles first.
SELECT reservation_id AS r1 FROM ducto_reserve(:fay, 60, idempotency_key => 'r1') \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:fay, 55, idempotency_key => 'r2') \gset
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:fay, :'r2', 55);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:fay, :'r1', 60);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:fay);

-- Holds that skip the allowance need all from credits, and leave the allowance to the others.
SELECT plan_id FROM ducto_set_user_plan(:gus, 'free');
SELECT new_balance FROM ducto_add_credits(:gus, 50);
SELECT amount, error FROM ducto_reserve(:gus, 45.0001, skip_allowance => true);
SELECT reservation_id AS s FROM ducto_reserve(:gus, 40, skip_allowance => true) \gset
SELECT amount, error FROM ducto_reserve(:gus, 105.0001);
SELECT reservation_id AS h, reserved, available FROM ducto_reserve(:gus, 105) \gset
SELECT :reserved AS reserved, :available AS available;
-- A deduct is as its reservation was …
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'s', 10, final => false);
-- … unless it says otherwise: what was to come from credits may come from the allowance,
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'s', 10, final => false, skip_allowance => false);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'s', 20);
-- but a hold that counts on the allowance backs nothing where that is to be skipped: 20 credits are left, floor 5.
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'h', 15.0001, skip_allowance => true, final => false);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'h', 15, skip_allowance => true, final => false);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:gus, :'h', 90);
SELECT balance, reserved, available FROM ducto_get_balance(:gus);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:gus);

-- Beyond its hold a deduct may use allowance that no other hold needs, and credits down to the floor; clamp takes exactly these.
SELECT plan_id FROM ducto_set_user_plan(:hal, 'free');
SELECT new_balance FROM ducto_add_credits(:hal, 20);
SELECT reservation_id AS r1 FROM ducto_reserve(:hal, 30) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:hal, 50) \gset
SELECT amount, allowance_consumed, shortfall, error FROM ducto_deduct(:hal, :'r1', 65.0001);
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_deduct(:hal, :'r1', 70, overrun => 'clamp');
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_deduct(:hal, :'r2', 50);
SELECT balance, reserved, available FROM ducto_get_balance(:hal);

-- One window per month, whatever the plan: an upgrade gives the difference, switching back and forth gives nothing.
SELECT plan_id FROM ducto_set_user_plan(:ida, 'free');
SELECT allowance_consumed, error FROM ducto_charge(:ida, 80);
SELECT plan_id FROM ducto_set_user_plan(:ida, 'pro');
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:ida);
SELECT allowance_consumed, error FROM ducto_charge(:ida, 120);
SELECT plan_id FROM ducto_set_user_plan(:ida, 'free');
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:ida);
SELECT allowance_consumed, error FROM ducto_charge(:ida, 0.0001);
SELECT plan_id FROM ducto_set_user_plan(:ida, NULL);
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:ida);
SELECT plan_id FROM ducto_set_user_plan(:ida, 'pro');
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:ida);

-- A plan that is taken away leaves its holds open, and pays what they were admitted on of its allowance; nothing else.
SELECT reservation_id AS r FROM ducto_reserve(:ida, 70) \gset
SELECT plan_id FROM ducto_set_user_plan(:ida, NULL);
SELECT amount, allowance_consumed, error FROM ducto_charge(:ida, 0.0001);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ida, :'r', 70);

-- A new month has a whole allowance, and what was used in the last one stays its own.
SELECT plan_id FROM ducto_set_user_plan(:jon, 'free');
SELECT transaction_id AS t, allowance_consumed, error FROM ducto_charge(:jon, 90) \gset
SELECT :allowance_consumed AS allowance_consumed;
SELECT pg_temp.move_history(:jon, :'last_month');
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:jon);
SELECT affordable, allowance_remaining FROM ducto_can_afford(:jon, 100);
SELECT amount, allowance_consumed, error FROM ducto_charge(:jon, 30);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:jon);
-- A refund gives allowance back only into the month that it came from.
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', 10);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:jon);
SELECT * FROM ducto_verify(:jon);
-- So does one that comes before anything else in the new month.
SELECT plan_id FROM ducto_set_user_plan(:kim, 'free');
SELECT transaction_id AS t FROM ducto_charge(:kim, 90) \gset
SELECT pg_temp.move_history(:kim, :'last_month');
SELECT amount, allowance_restored, error FROM ducto_refund(:'t');
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:kim);
SELECT allowance_consumed, error FROM ducto_charge(:kim, 100);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:kim);
SELECT * FROM ducto_verify(:kim);

-- A refund gives credits back first, then allowance.
SELECT plan_id FROM ducto_set_user_plan(:lee, 'free');
SELECT new_balance FROM ducto_add_credits(:lee, 50);
SELECT transaction_id AS t FROM ducto_charge(:lee, 130) \gset
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', 20);
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', 110.0001);
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', 25, idempotency_key => 'back');
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:lee);
-- restore_allowance => false counts credits alone, of which nothing is left.
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', restore_allowance => false);
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t');
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:lee);
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t');
SELECT amount, new_balance, allowance_restored, idempotent, error FROM ducto_refund(:'t', 25, idempotency_key => 'back');
SELECT amount, type, allowance_consumed FROM ducto_list_transactions(:lee);
-- Where allowance is not to come back, all that is left is the credits.
SELECT transaction_id AS t FROM ducto_charge(:lee, 110) \gset
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', 10.0001, restore_allowance => false);
SELECT amount, new_balance, allowance_restored, error FROM ducto_refund(:'t', restore_allowance => false);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:lee);

-- Usage that was metered elsewhere is counted in the same window, and may exceed it.
SELECT plan_id FROM ducto_set_user_plan(:mia, 'free');
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, period_start < period_end AS a_month, error FROM ducto_increment_usage_window(:mia, 'free', 30);
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, error FROM ducto_increment_usage_window(:mia, 'free', 90.00005);
SELECT amount, type, operation_type, allowance_consumed, balance_after FROM ducto_list_transactions(:mia);
SELECT plan_id, allowance_used, allowance_remaining FROM ducto_check_allowance(:mia);
SELECT amount, allowance_consumed, error FROM ducto_charge(:mia, 1);
-- The plan named is the one whose allowance is told; the window is the user's.
SELECT plan_id, free_allowance, allowance_used, allowance_remaining, error FROM ducto_increment_usage_window(:mia, 'pro', 0);
SELECT count(*) FROM ducto.ledger WHERE account_id = :mia;
SELECT plan_id, allowance_used, allowance_remaining, error FROM ducto_increment_usage_window(:mia, 'platinum', 10);
SELECT plan_id, allowance_used, allowance_remaining, error FROM ducto_increment_usage_window(:nobody, 'platinum', 10);
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;

-- What a plan says of an operation type goes before what it says of all, and an argument before both: max_concurrent 2, agent 1, batch 3.
SELECT plan_id FROM ducto_set_user_plan(:ned, 'pro');
SELECT new_balance FROM ducto_add_credits(:ned, 10);
SELECT n, r.error FROM generate_series(1, 3) n, LATERAL ducto_reserve(:ned, n, 'chat') r ORDER BY n;
SELECT n, r.error FROM generate_series(1, 4) n, LATERAL ducto_reserve(:ned, n, 'batch') r ORDER BY n;
SELECT n, r.billing_mode, r.error FROM generate_series(1, 2) n, LATERAL ducto_reserve(:ned, n, 'agent') r ORDER BY n;
SELECT billing_mode, error FROM ducto_reserve(:ned, 1, 'chat', max_concurrent => 3);
SELECT error FROM ducto_reserve(:ned, 1, 'batch', max_concurrent => 1);
SELECT affordable, reason FROM ducto_can_afford(:ned, 1, operation_type => 'agent');
SELECT affordable, reason FROM ducto_can_afford(:ned, 1, operation_type => 'draw');
SELECT count(r.released) FROM ducto.reservations t, LATERAL ducto_release(:ned, t.id) r WHERE t.account_id = :ned AND t.state = 'open';
-- An agent may overdraw to -30: 300 of allowance, 10 credits, 30 of debt. Everything else keeps 5.
SELECT amount, billing_mode, error FROM ducto_reserve(:ned, 305.0001, 'chat');
SELECT affordable, reason FROM ducto_can_afford(:ned, 305.0001, operation_type => 'chat');
SELECT affordable, reason FROM ducto_can_afford(:ned, 305, operation_type => 'chat');
SELECT amount, billing_mode, error FROM ducto_reserve(:ned, 340.0001, 'agent');
SELECT affordable, reason FROM ducto_can_afford(:ned, 340, operation_type => 'agent');
SELECT amount, billing_mode, error FROM ducto_reserve(:ned, 310.0001, 'agent', billing_mode => 'strict', min_balance => 0);
SELECT amount, billing_mode, error FROM ducto_reserve(:ned, 350.0001, 'agent', overdraft_floor => -40);
SELECT reservation_id AS r, billing_mode FROM ducto_reserve(:ned, 340, 'agent') \gset
SELECT floor, billing_mode FROM ducto.reservations WHERE id = :'r';
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:ned, :'r', 340);

-- A plan that overdraws by default, except where it is careful, and deeper where it says so; a charge goes by the same floors.
SELECT plan_id FROM ducto_set_user_plan(:ola, 'credit');
SELECT billing_mode, error FROM ducto_reserve(:ola, 50.0001);
SELECT billing_mode, error FROM ducto_reserve(:ola, 0.0001, 'careful');
SELECT billing_mode, error FROM ducto_reserve(:ola, 200.0001, 'deep');
SELECT billing_mode, error FROM ducto_reserve(:ola, 50, idempotency_key => 'r');
SELECT released FROM ducto.reservations t, LATERAL ducto_release(:ola, t.id) WHERE t.account_id = :ola;
SELECT amount, balance_after, error FROM ducto_charge(:ola, 0.0001, operation_type => 'careful');
SELECT amount, balance_after, error FROM ducto_charge(:ola, 0.0001, min_balance => 0);
SELECT amount, balance_after, error FROM ducto_charge(:ola, 50.0001);
SELECT amount, balance_after, error FROM ducto_charge(:ola, 50);
SELECT amount, balance_after, error FROM ducto_charge(:ola, 150.0001, operation_type => 'deep');
SELECT amount, balance_after, error FROM ducto_charge(:ola, 150, operation_type => 'deep');

-- A feature that an operation requires is asked for first, at the door of reserve and charge alike.
SELECT error FROM ducto_reserve(:ada, 1, required_feature => 'chat', idempotency_key => 'chat');
SELECT r.error FROM unnest(ARRAY['agentic', 'voice', 'absent', 'seats', 'note']) WITH ORDINALITY t (name, n), LATERAL ducto_reserve(:ada, 1, 'f' || n, required_feature => name) r ORDER BY n;
SELECT r.error FROM unnest(ARRAY['agentic', 'voice', 'absent', 'seats', 'note']) WITH ORDINALITY t (name, n), LATERAL ducto_charge(:ada, 1, required_feature => name) r ORDER BY n;
SELECT transaction_id, amount, balance_after, allowance_consumed, error FROM ducto_charge(:ada, 1000000, required_feature => 'absent');
SELECT reservation_id, amount, balance, reserved, error FROM ducto_reserve(:ada, 1000000, required_feature => 'absent', max_concurrent => 1);
SELECT error FROM ducto_reserve(:nobody, 1, required_feature => 'chat');
SELECT error FROM ducto_charge(:nobody, 1, required_feature => 'chat');
-- A retry is answered before anything is asked, also when the feature is gone.
SELECT plan_id FROM ducto_set_user_plan(:ada, NULL);
SELECT idempotent, error FROM ducto_reserve(:ada, 1, required_feature => 'chat', idempotency_key => 'chat');

-- A plan that newer pricing lacks is retired: its users keep it and its features, others cannot get it any more.
SELECT plan_id FROM ducto_set_user_plan(:bob, 'old');
SELECT version AS v FROM ducto_get_active_pricing() \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"free": {"name": "Free of charge", "free_allowance": 150}}}');
SELECT id, name, free_allowance, features, retired FROM ducto.plans WHERE id IN ('free', 'pro', 'credit', 'old', 'bare') ORDER BY id;
SELECT plan_id, plan_name, free_allowance, features FROM ducto_get_user_plan(:bob);
SELECT allowance_consumed, error FROM ducto_charge(:bob, 15);
SELECT allowance_used, allowance_remaining, error FROM ducto_increment_usage_window(:bob, 'old', 1);
SELECT has_feature FROM ducto_check_feature(:bob, 'legacy');
SELECT * FROM ducto_set_user_plan(:bob, 'old');
SELECT plan_id FROM ducto_get_user_plan(:bob);
SELECT * FROM ducto_set_user_plan(:pam, 'old');
-- A plan that changed is changed for all who have it.
SELECT plan_id, free_allowance, allowance_used, allowance_remaining FROM ducto_check_allowance(:lee);
SELECT has_feature FROM ducto_check_feature(:lee, 'chat');
-- Going back to the pricing of before brings the plans of before back.
SELECT error FROM ducto_activate_pricing(:v);
SELECT id, name, free_allowance, features ? 'chat' AS chat, retired FROM ducto.plans WHERE id IN ('free', 'pro', 'credit', 'old', 'bare') ORDER BY id;
SELECT * FROM ducto_set_user_plan(:pam, 'old');

-- Credit that expires and allowance together: a due grant stays only as far as the holds need it beyond the allowance.
-- Of 120 held, 100 are the allowance's: 20 of the 50 that are due stay, covered by what is reserved.
SELECT plan_id FROM ducto_set_user_plan(:quy, 'free');
SELECT new_balance FROM ducto_add_credits(:quy, 50, 'promo', expires_at => clock_timestamp() + interval '1 hour');
SELECT reservation_id AS r FROM ducto_reserve(:quy, 120, min_balance => 0) \gset
SELECT pg_temp.grants_expire_now(:quy);
SELECT balance, reserved, available, next_expiry FROM ducto_get_balance(:quy);
SELECT amount, error FROM ducto_charge(:quy, 0.0001);
SELECT balance, reserved, available FROM ducto_get_balance(:quy);
SELECT * FROM ducto_verify(:quy);
-- A bigger plan covers the hold alone, and the protected credit is gone.
SELECT plan_id FROM ducto_set_user_plan(:quy, 'pro');
SELECT balance, reserved, available FROM ducto_get_balance(:quy);
SELECT type, amount FROM ducto_list_transactions(:quy);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_deduct(:quy, :'r', 120);
-- A grant that a charge beyond the allowance burned is given back to by its refund.
SELECT new_balance FROM ducto_add_credits(:quy, 40, 'promo', expires_at => clock_timestamp() + interval '1 day');
SELECT transaction_id AS t FROM ducto_charge(:quy, 200) \gset
SELECT amount, allowance_consumed FROM ducto_list_transactions(:quy, max_rows => 1);
SELECT remaining FROM ducto_list_grants(:quy);
SELECT amount, new_balance, allowance_restored FROM ducto_refund(:'t', 15);
SELECT remaining FROM ducto_list_grants(:quy);
SELECT amount, new_balance, allowance_restored FROM ducto_refund(:'t');
SELECT remaining FROM ducto_list_grants(:quy);

-- What is no plan, feature or amount is an error that names it.
SELECT pg_temp.raised(format('SELECT ducto_set_user_plan(NULL, %L)', 'free'));
SELECT s, pg_temp.raised(format(s, :ada)) FROM unnest(ARRAY[
	'SELECT ducto_set_user_plan(%L, '''')',
	'SELECT ducto_get_user_plan(NULL)',
	'SELECT ducto_check_allowance(NULL)',
	'SELECT ducto_check_feature(NULL, ''chat'')',
	'SELECT ducto_check_feature(%L, NULL)',
	'SELECT ducto_check_feature(%L, '''')',
	'SELECT ducto_increment_usage_window(NULL, ''free'', 1)',
	'SELECT ducto_increment_usage_window(%L, NULL, 1)',
	'SELECT ducto_increment_usage_window(%L, ''free'', NULL)',
	'SELECT ducto_increment_usage_window(%L, ''free'', -1)',
	'SELECT ducto_increment_usage_window(%L, ''free'', 0.00001)',
	'SELECT ducto_increment_usage_window(%L, ''free'', ''NaN'')']) AS s;
-- A team has no plan.
SELECT team_id AS team FROM ducto_create_team('plan test') \gset
SELECT regexp_replace(pg_temp.raised(format('SELECT ducto_set_user_plan(%L, ''free'')', :'team')), '[0-9a-f-]{36}', '(team)');
SELECT regexp_replace(pg_temp.raised(format('SELECT ducto_increment_usage_window(%L, ''free'', 1)', :'team')), '[0-9a-f-]{36}', '(team)');
-- A read of a plan works where nothing can be written.
BEGIN READ ONLY;
SELECT plan_id FROM ducto_get_user_plan(:fay);
SELECT allowance_used FROM ducto_check_allowance(:fay);
SELECT has_feature FROM ducto_check_feature(:fay, 'chat');
COMMIT;
-- A rejection raises where that is wanted.
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SELECT pg_temp.raised(format('SELECT ducto_set_user_plan(%L, ''platinum'')', :ada));
SELECT pg_temp.raised(format('SELECT ducto_charge(%L, 1, required_feature => ''chat'')', :nobody));
COMMIT;

-- A plan that says what it said is not written; one that says something else, or was retired, is.
BEGIN;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "plans": {
	"same": {"name": "S", "free_allowance": 5, "features": {"chat": 1.0}}, "scale": {"name": "Sc", "free_allowance": 1, "features": {"chat": 1.0}},
	"other": {"name": "O", "free_allowance": 5}, "back": {"name": "B", "free_allowance": 1}}}');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "plans": {
	"same": {"name": "S", "free_allowance": 5, "features": {"chat": 1.0}}, "scale": {"name": "Sc", "free_allowance": 1, "features": {"chat": 1.0}},
	"other": {"name": "O", "free_allowance": 5}}}');
CREATE TEMP TABLE written AS SELECT id, ctid AS place FROM ducto.plans;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {
	"same": {"name": "S", "free_allowance": 5, "features": {"chat": 1.0}}, "scale": {"name": "Sc", "free_allowance": 1, "features": {"chat": 1}},
	"other": {"name": "O", "free_allowance": 6}, "back": {"name": "B", "free_allowance": 1}}}');
SELECT p.id, p.ctid <> w.place AS written, p.free_allowance, p.features, p.retired,
	(SELECT count(*) FROM ducto.plan_allowances a WHERE a.plan_id = p.id) AS allowances
FROM ducto.plans p JOIN written w USING (id) WHERE p.id IN ('same', 'scale', 'other', 'back') ORDER BY p.id;
ROLLBACK;

-- Neutral pricing for who comes next: no plans, a floor of 5.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
