-- Cheap calls: a price is exact. What rounding to four decimals leaves of it is carried over on the account.
\pset null -
\set ada '\'ca440000-0000-4000-8000-000000000001\''
\set bob '\'ca440000-0000-4000-8000-000000000002\''
\set cyd '\'ca440000-0000-4000-8000-000000000003\''
\set dan '\'ca440000-0000-4000-8000-000000000004\''
\set eve '\'ca440000-0000-4000-8000-000000000005\''
\set fay '\'ca440000-0000-4000-8000-000000000006\''

SELECT version > 0 AS published FROM ducto_set_active_pricing('{
	"min_balance": 0,
	"models": {"cheap": "input_tokens * 0.000048", "third": "input_tokens / 3", "half": "input_tokens * 0.00005",
		"round": "input_tokens * 0.25", "least": "input_tokens * 1e-21", "_default": "input_tokens * 0.00002"},
	"fixed": {"job": 0.5},
	"plans": {"carry": {"name": "Carry", "free_allowance": 0.0006}}}');
SELECT new_balance FROM ducto_add_credits(:ada, 1, 'purchase');

-- A price has two figures: the amount that a charge alone would take, and the exact one. Without a price there are none.
SELECT total, exact_price, error FROM ducto_price('{"model": "cheap", "input_tokens": 1}');
SELECT total, exact_price, error FROM ducto_price('{"model": "third", "input_tokens": 2}');
SELECT total, exact_price, error FROM ducto_price('{"model": "round", "input_tokens": 1}');
SELECT total, exact_price, error FROM ducto_price('{"fixed_job": "none"}');

-- 10,000 calls of 0.000048 cost 0.4800, each has an entry, and nothing is left.
SELECT sum(amount), count(transaction_id), max(amount), min(amount)
FROM generate_series(1, 10000) AS n, ducto_charge_usage(:ada, jsonb_build_object('model', 'cheap', 'input_tokens', sign(n))) AS c;
SELECT balance, carry, last_seq FROM ducto.accounts WHERE id = :ada;
SELECT amount, exact_price, pricing->'total' AS total, count(*) FROM ducto.ledger
WHERE account_id = :ada AND type = 'usage' GROUP BY 1, 2, 3 ORDER BY 1;

-- A price that four decimals can say takes nothing along, and its entry has no other price.
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "third", "input_tokens": 1}', idempotency_key => 'third');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "round", "input_tokens": 0.4}', idempotency_key => 'round');
SELECT amount FROM ducto_charge(:ada, 0.01, idempotency_key => 'plain');
SELECT idempotency_key, amount, exact_price FROM ducto.ledger WHERE account_id = :ada AND idempotency_key IS NOT NULL ORDER BY seq;
SELECT balance, carry FROM ducto.accounts WHERE id = :ada;

-- A retry tells what the first call took, and moves no carry.
SELECT amount, balance_after, idempotent FROM ducto_charge_usage(:ada, '{"model": "third", "input_tokens": 1}', idempotency_key => 'third');
SELECT amount, balance_after, idempotent FROM ducto_charge_usage(:ada, '{"model": "cheap", "input_tokens": 7}', idempotency_key => 'third');
SELECT balance, carry FROM ducto.accounts WHERE id = :ada;

-- What was rounded up is credit of the next calls.
SELECT new_balance FROM ducto_add_credits(:bob, 0.0002);
SELECT amount, balance_after FROM ducto_charge_usage(:bob, '{"model": "half", "input_tokens": 1}');
SELECT carry FROM ducto.accounts WHERE id = :bob;
SELECT amount, balance_after FROM ducto_charge_usage(:bob, '{"model": "half", "input_tokens": 1}');
SELECT carry FROM ducto.accounts WHERE id = :bob;

-- A rejected call moves no carry. With nothing left, what charges nothing yet still goes, so 0.0001 is never owed.
SELECT amount, balance_after FROM ducto_charge_usage(:bob, '{"model": "half", "input_tokens": 1}');
SELECT amount, balance_after FROM ducto_charge_usage(:bob, '{"model": "half", "input_tokens": 1}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:bob, '{"input_tokens": 2}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:bob, '{"input_tokens": 1}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:bob, '{"input_tokens": 1}');
SELECT balance, carry, last_seq FROM ducto.accounts WHERE id = :bob;

-- The first call of a new user may be one that charges nothing yet; below 1e-20 credits a price is 0.
SELECT amount, balance_after, transaction_id IS NOT NULL AS booked, error FROM ducto_charge_usage(:cyd, '{"input_tokens": 1}', idempotency_key => 'first');
SELECT amount, balance_after, transaction_id IS NOT NULL AS booked, idempotent FROM ducto_charge_usage(:cyd, '{"input_tokens": 1}', idempotency_key => 'first');
SELECT amount, transaction_id IS NOT NULL AS booked, error FROM ducto_charge_usage(:cyd, '{"model": "least", "input_tokens": 1}');
SELECT amount, transaction_id IS NOT NULL AS booked, error FROM ducto_charge_usage(:cyd, '{"model": "least", "input_tokens": 10}');
SELECT amount, exact_price, balance_after FROM ducto.ledger WHERE account_id = :cyd ORDER BY seq;
SELECT carry FROM ducto.accounts WHERE id = :cyd;

-- A hold rounds up, so it covers whatever is carried over; the deduct takes the carry along.
SELECT new_balance FROM ducto_add_credits(:dan, 1);
SELECT reservation_id AS r, amount FROM ducto_reserve_usage(:dan, '{"model": "third", "input_tokens": 1}') \gset
SELECT :amount AS held;
SELECT amount, balance_after FROM ducto_charge_usage(:dan, '{"model": "third", "input_tokens": 1}', :'r', idempotency_key => 'd');
SELECT amount, balance_after, idempotent FROM ducto_charge_usage(:dan, '{"model": "third", "input_tokens": 1}', :'r', idempotency_key => 'd');
SELECT amount FROM ducto_charge_usage(:dan, '{"input_tokens": 1}');
SELECT reservation_id AS r, amount FROM ducto_reserve_usage(:dan, '{"input_tokens": 1}') \gset
SELECT :amount AS held;
SELECT amount, transaction_id IS NOT NULL AS booked FROM ducto_charge_usage(:dan, '{"input_tokens": 1}', :'r');
SELECT reservation_id AS r FROM ducto_reserve_usage(:dan, '{"input_tokens": 1}') \gset
SELECT amount, transaction_id IS NOT NULL AS booked FROM ducto_charge_usage(:dan, '{"input_tokens": 1}', :'r');
SELECT balance, held, carry FROM ducto.accounts WHERE id = :dan;

-- Beyond the hold: what is clamped off is shortfall, not carry; in full it is debt.
SELECT reservation_id AS r FROM ducto_reserve(:dan, 0.0001) \gset
SELECT amount, shortfall, balance_after FROM ducto_charge_usage(:dan, '{"model": "third", "input_tokens": 4}', :'r', overrun => 'clamp');
SELECT carry FROM ducto.accounts WHERE id = :dan;
SELECT new_balance FROM ducto_add_credits(:dan, 0.0001);
SELECT reservation_id AS r FROM ducto_reserve(:dan, 0.0001) \gset
SELECT amount, shortfall, balance_after FROM ducto_charge_usage(:dan, '{"model": "third", "input_tokens": 1}', :'r', overrun => 'full');
SELECT balance, carry FROM ducto.accounts WHERE id = :dan;

-- The allowance pays first, and carries too; a fixed job does not touch it. Caps count what is booked.
SELECT new_balance FROM ducto_add_credits(:eve, 1);
SELECT plan_id, error FROM ducto_set_user_plan(:eve, 'carry');
SELECT cap_limit FROM ducto_set_spend_cap(:eve, 'daily', 0.5004);
SELECT amount, allowance_consumed FROM ducto_charge_usage(:eve, '{"input_tokens": 21}');
SELECT amount, allowance_consumed FROM ducto_charge_usage(:eve, '{"input_tokens": 22}');
SELECT amount, allowance_consumed FROM ducto_charge_usage(:eve, '{"model": "cheap", "input_tokens": 1, "fixed_job": "job"}');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"input_tokens": 5}');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"input_tokens": 4}');
SELECT current_spend FROM ducto_list_spend_caps(:eve);
SELECT balance, carry FROM ducto.accounts WHERE id = :eve;

-- Grants burn by what is booked.
SELECT new_balance FROM ducto_add_credits(:fay, 0.0003, 'promo', expires_at => '2100-01-01');
SELECT new_balance FROM ducto_add_credits(:fay, 0.0003);
SELECT amount, balance_after FROM generate_series(1, 7) AS n, ducto_charge_usage(:fay, jsonb_build_object('model', 'half', 'input_tokens', sign(n)));
SELECT remaining FROM ducto.grants WHERE account_id = :fay;
SELECT seq, amount, burned_amounts, exact_price FROM ducto.ledger WHERE account_id = :fay AND type = 'usage' ORDER BY seq;

-- A refund gives back what was booked, and leaves the carry: there is nothing to refund of an entry of 0.
SELECT balance, carry FROM ducto.accounts WHERE id = :fay;
SELECT amount, new_balance, error FROM ducto_refund((SELECT id FROM ducto.ledger WHERE account_id = :fay AND seq = 3));
SELECT amount, new_balance, error FROM ducto_refund((SELECT id FROM ducto.ledger WHERE account_id = :fay AND seq = 4));
SELECT balance, carry FROM ducto.accounts WHERE id = :fay;

-- A team's pool has a carry of its own.
SELECT team_id AS t FROM ducto_create_team('Carry', 1) \gset
SELECT error FROM ducto_add_team_member(:'t', :ada);
SELECT reservation_id AS r, amount FROM ducto_reserve_usage(:ada, '{"input_tokens": 3}', team_id => :'t') \gset
SELECT :amount AS held;
SELECT amount, balance_after FROM ducto_charge_usage(:ada, '{"input_tokens": 3}', :'r');
SELECT carry FROM ducto.accounts WHERE id = :'t';
SELECT total_spent FROM ducto_get_team_members(:'t');

-- What is undone leaves no carry.
BEGIN;
SELECT amount FROM ducto_charge_usage(:ada, '{"input_tokens": 1}');
SAVEPOINT s;
SELECT amount FROM ducto_charge_usage(:ada, '{"input_tokens": 1}');
ROLLBACK TO s;
COMMIT;
SELECT * FROM ducto_verify();

-- A wrong carry is found, alone and among all, and mended.
UPDATE ducto.accounts SET carry = carry + 0.00003 WHERE id = :ada;
SELECT check_name, expected, actual FROM ducto_verify(:ada);
SELECT account_id, check_name FROM ducto_verify();
SELECT check_name, was, becomes, mended FROM ducto_repair(:ada, dry_run => false);
SELECT * FROM ducto_verify();

-- One out of all bounds does not make a charge book what it does not take.
BEGIN;
UPDATE ducto.accounts SET carry = 0.0007 WHERE id = :ada;
SELECT amount FROM ducto_charge_usage(:ada, '{"input_tokens": 1}');
SELECT check_name, expected, actual FROM ducto_verify(:ada) WHERE check_name = 'carry';
SELECT check_name, mended FROM ducto_repair(:ada, dry_run => false) WHERE check_name = 'carry';
SELECT carry >= -0.00005 AND carry < 0.00005 AS is_sound FROM ducto.accounts WHERE id = :ada;
ROLLBACK;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
