-- overrun: what a charge does with what is not there, and reservations with a ceiling

\set ada '\'0e44e000-0000-4000-8000-000000000001\''
\set bob '\'0e44e000-0000-4000-8000-000000000002\''
\set cyd '\'0e44e000-0000-4000-8000-000000000003\''
\set dan '\'0e44e000-0000-4000-8000-000000000004\''
\set eve '\'0e44e000-0000-4000-8000-000000000005\''
\set fay '\'0e44e000-0000-4000-8000-000000000006\''
\set gus '\'0e44e000-0000-4000-8000-000000000007\''

-- Who asks for nothing gets what was always done: all or nothing.
SELECT new_balance FROM ducto_add_credits(:ada, 10, 'purchase');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 10.0001);
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 10.0001, overrun => NULL);
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 10.0001, overrun => 'reject');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 4, overrun => 'clamp');
SELECT amount FROM ducto_charge(:ada, 4, overrun => 'some');

-- clamp takes what is there down to the floor, and tells and records the rest.
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 9, min_balance => 2, overrun => 'clamp');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:ada, 9, 'clamped', overrun => 'clamp');
SELECT transaction_id IS NOT NULL AS booked, amount, balance_after, shortfall, error FROM ducto_charge(:ada, 9, 'nothing there', overrun => 'clamp');
SELECT amount, balance_after, shortfall FROM ducto.ledger WHERE account_id = :ada ORDER BY seq;

-- A retry is told the same, whatever has come since.
SELECT new_balance FROM ducto_add_credits(:ada, 100);
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:ada, 9, 'clamped', overrun => 'clamp');
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:ada, 9, 'nothing there', overrun => 'clamp');
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:ada, 9, 'clamped');

-- What was clamped is refunded for what it took.
SELECT transaction_id AS tx FROM ducto_charge(:ada, 109, overrun => 'clamp') \gset
SELECT amount, new_balance, error FROM ducto_refund(:'tx');

-- What open reservations need is not there for a clamp, and full leaves it to them, too.
SELECT new_balance FROM ducto_add_credits(:bob, 50);
SELECT reservation_id AS r FROM ducto_reserve(:bob, 30, min_balance => 0) \gset
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:bob, 25, overrun => 'clamp');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:bob, 15, overrun => 'full');
SELECT amount, balance_after, shortfall, error FROM ducto_deduct(:bob, :'r', 30);

-- full goes into debt, and burns grants before.
SELECT new_balance FROM ducto_add_credits(:cyd, 5, 'promo', expires_at => '2222-01-01');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:cyd, 12.5, overrun => 'full');
SELECT remaining, balance, expiring FROM ducto.grants g JOIN ducto.accounts a ON a.id = account_id WHERE account_id = :cyd;
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:cyd, 1, overrun => 'clamp');

-- A new user has nothing: clamp remembers that, full lends. Neither leaves an account behind when it is rejected.
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:dan, 3, required_feature => 'speech', overrun => 'full');
SELECT amount, balance_after, shortfall, error FROM ducto_charge(:dan, 0, overrun => 'full');
SELECT count(*) FROM ducto.accounts WHERE id = :dan;
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:dan, 3, 'd', overrun => 'clamp');
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:dan, 3, 'd', overrun => 'clamp');
SELECT amount, balance_after, shortfall, idempotent, error FROM ducto_charge(:gus, 3, overrun => 'full');

-- The allowance pays first, also of what is clamped; down to the plan's overdraft floor.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"free": {"name": "Free", "free_allowance": 10, "default_billing_mode": "overdraft", "overdraft_floor": -4}}}');
SELECT new_balance FROM ducto_add_credits(:eve, 5);
SELECT plan_id, error FROM ducto_set_user_plan(:eve, 'free');
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_charge(:eve, 21, overrun => 'clamp');
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_charge(:eve, 1, overrun => 'full');
SELECT amount, balance_after, allowance_consumed, shortfall, error FROM ducto_charge(:eve, 1, overrun => 'clamp');

-- A cap is no matter of what is there: it denies what would be taken, clamped or not.
SELECT new_balance FROM ducto_add_credits(:fay, 5);
SELECT cap_limit FROM ducto_set_spend_cap(:fay, 'daily', 6);
SELECT amount, shortfall, error FROM ducto_charge(:fay, 7, overrun => 'full');
SELECT amount, shortfall, error FROM ducto_charge(:fay, 7, overrun => 'clamp');
SELECT amount, shortfall, error FROM ducto_charge(:fay, 1, overrun => 'full');
SELECT amount, shortfall, error FROM ducto_charge(:fay, 1, overrun => 'full');

SELECT new_balance FROM ducto_add_credits(:fay, 5);
SELECT amount, shortfall, error FROM ducto_charge(:fay, 7, overrun => 'clamp');

-- A priced usage without a reservation is charged in the same way.
SELECT new_balance FROM ducto_add_credits(:dan, 5);
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:dan, '{"input_tokens": 8}');
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:dan, '{"input_tokens": 8}', overrun => 'clamp');
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:dan, '{"input_tokens": 8}', overrun => 'full');

-- A reservation with a ceiling is a budget: nothing is deducted beyond it, whatever overrun says and however much there is.
SELECT new_balance FROM ducto_add_credits(:ada, 891);
SELECT reservation_id AS r, reserved FROM ducto_reserve(:ada, 10, ceiling => true) \gset
SELECT overrun, d.transaction_id, d.amount, d.balance_after, d.shortfall, d.error FROM (VALUES ('reject'), ('clamp'), ('full')) o (overrun), LATERAL ducto_deduct(:ada, :'r', 10.0001, overrun => o.overrun) d;
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 4, final => false);
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 6.0001, final => false, overrun => 'full');
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 5, final => false);
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 1.5);
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 1);
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 1);
SELECT balance, reserved FROM ducto_get_balance(:ada);

-- All other reservations go on as they did.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, ceiling => NULL) \gset
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 30);

-- In raise mode it has a state of its own.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, ceiling => true) \gset
BEGIN;
SET LOCAL ducto.rejections = 'raise';
\set VERBOSITY sqlstate
SELECT amount FROM ducto_deduct(:ada, :'r', 11);
\set VERBOSITY default
ROLLBACK;

-- It stays a budget when it has expired: what was left then can still be charged, and no more.
SELECT released FROM ducto_release(:ada, :'r');
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, ttl_seconds => 1, ceiling => true) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ada, 10, ttl_seconds => 1, ceiling => true) \gset
SELECT amount, balance_after, error FROM ducto_deduct(:ada, :'r', 4, final => false);
SELECT pg_sleep(1.1) \g /dev/null
SELECT amount, error FROM ducto_deduct(:ada, :'r', 6.0001, overrun => 'full');
SELECT amount, error FROM ducto_deduct(:ada, :'r', 6.0001, allow_late => false);
SELECT amount, error FROM ducto_deduct(:ada, :'r', 2, final => false);
SELECT amount, error FROM ducto_deduct(:ada, :'r', 4.0001, overrun => 'clamp');
SELECT amount, error FROM ducto_deduct(:ada, :'r', 4, overrun => 'clamp');
SELECT ducto_expire_reservations() IS NOT NULL AS expired;
SELECT amount, error FROM ducto_deduct(:ada, :'r2', 10.0001, overrun => 'full');
SELECT amount, error FROM ducto_deduct(:ada, :'r2', 10);

-- A usage that costs more than the budget is not charged either, and a team's pool has budgets, too.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, ceiling => true) \gset
SELECT amount, error FROM ducto_charge_usage(:ada, '{"input_tokens": 11}', :'r', overrun => 'full');
SELECT amount, error FROM ducto_charge_usage(:ada, '{"input_tokens": 10}', :'r');
SELECT team_id AS t FROM ducto_create_team('crew', 100) \gset
SELECT error FROM ducto_add_team_member(:'t', :ada);
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10, team_id => :'t', ceiling => true) \gset
SELECT amount, error FROM ducto_deduct(:ada, :'r', 11, overrun => 'full');
SELECT amount, error FROM ducto_deduct(:ada, :'r', 10);

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
