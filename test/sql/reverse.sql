-- reverse: credit that was added is taken back

\set ada '\'4eee0000-0000-4000-8000-000000000001\''
\set bob '\'4eee0000-0000-4000-8000-000000000002\''
\set cyd '\'4eee0000-0000-4000-8000-000000000003\''
\set dan '\'4eee0000-0000-4000-8000-000000000004\''
\set eve '\'4eee0000-0000-4000-8000-000000000005\''
\set fay '\'4eee0000-0000-4000-8000-000000000006\''
\set gus '\'4eee0000-0000-4000-8000-000000000007\''
\set hal '\'4eee0000-0000-4000-8000-000000000008\''
\set ida '\'4eee0000-0000-4000-8000-000000000009\''
\set kim '\'4eee0000-0000-4000-8000-00000000000a\''
\set none '\'4eee0000-0000-7000-8000-0000000000ee\''

CREATE FUNCTION pg_temp.grants(owner uuid) RETURNS text LANGUAGE sql AS $$
	SELECT 'balance ' || (SELECT trim_scale(balance) FROM ducto_get_balance(owner)) || ', grants ' || coalesce(string_agg(trim_scale(remaining) || ' of ' || trim_scale(amount), ', ' ORDER BY seq), 'none')
	FROM ducto.grants WHERE account_id = owner
$$;

-- A purchase that is charged back is taken back, as an entry of its own that names it. lifetime_purchased follows.
SELECT transaction_id AS tx, lifetime_purchased FROM ducto_add_credits(:ada, 100, 'purchase') \gset
SELECT new_balance, lifetime_purchased FROM ducto_add_credits(:ada, 20, 'purchase');
SELECT reversal_transaction_id IS NOT NULL AS booked, original_transaction_id = :'tx' AS of_the_purchase, user_id, team_id, amount, shortfall, new_balance, lifetime_purchased, idempotent, error
FROM ducto_reverse_credits(:'tx', reason => 'chargeback', metadata => '{"dispute": "dp_1"}');
SELECT amount, type, operation_type, model, reference_id = :'tx' AS of_the_purchase, balance_after, metadata FROM ducto_list_transactions(:ada, max_rows => 1);
SELECT balance, lifetime_purchased FROM ducto_get_balance(:ada);
SELECT amount, total_count FROM ducto_list_transactions(:ada, '{reversal}');

-- It is no use, and no figure of use sees it.
SELECT count(*) FROM ducto_list_usage_events(:ada);
SELECT count(*) FROM ducto_spend_by_user() WHERE user_id = :ada;

-- In parts, until nothing is left; more than that is refused.
SELECT transaction_id AS tx FROM ducto_add_credits(:bob, 10, 'purchase') \gset
SELECT amount, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 4);
SELECT reversal_transaction_id, amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 6.0001);
SELECT amount, new_balance, error FROM ducto_reverse_credits(:'tx', 2.5);
SELECT amount, new_balance, error FROM ducto_reverse_credits(:'tx');
SELECT reversal_transaction_id, user_id, amount, new_balance, error FROM ducto_reverse_credits(:'tx');
SELECT amount, error FROM ducto_reverse_credits(:'tx', 0.0001, 'full');

-- Every kind of addition can be taken back; nothing else can. Only a purchase counts as one.
SELECT r.new_balance FROM (VALUES ('purchase'), ('subscription'), ('signup_bonus'), ('promo'), ('adjustment')) t (type), LATERAL ducto_add_credits(:cyd, 10, t.type) r;
SELECT new_balance FROM ducto_add_credits(:cyd, -5);
SELECT transaction_id AS tx FROM ducto_charge(:cyd, 5) \gset
SELECT error FROM ducto_refund(:'tx', 2);
SELECT new_balance FROM ducto_add_credits(:cyd, 3, 'promo', expires_at => clock_timestamp() + interval '0.1 s');
SELECT pg_sleep(0.2) \g /dev/null
SELECT error FROM ducto_charge(:cyd, 1);
SELECT l.type, l.amount, r.amount AS reversed, r.new_balance, r.lifetime_purchased, r.error
FROM (SELECT * FROM ducto.ledger WHERE account_id = :cyd ORDER BY seq) l, LATERAL ducto_reverse_credits(l.id, 1) r;
SELECT r.error FROM (SELECT id FROM ducto.ledger WHERE account_id = :cyd AND type = 'reversal' LIMIT 1) l, LATERAL ducto_reverse_credits(l.id) r;
SELECT * FROM ducto_reverse_credits(:none);
SELECT * FROM ducto_reverse_credits(:none, 5, 'full');

-- First what is left of the grant that it made, whatever its place in the burn order; then other credit, in that order.
SELECT new_balance FROM ducto_add_credits(:dan, 10, 'promo', expires_at => '2222-01-01', priority => 1);
SELECT transaction_id AS tx FROM ducto_add_credits(:dan, 10, 'purchase', expires_at => '2222-01-02') \gset
SELECT new_balance FROM ducto_add_credits(:dan, 10, 'promo', expires_at => '2222-01-03');
SELECT new_balance FROM ducto_add_credits(:dan, 10);
SELECT balance_after FROM ducto_charge(:dan, 14);
SELECT pg_temp.grants(:dan);
SELECT amount, shortfall, pg_temp.grants(:dan) FROM ducto_reverse_credits(:'tx', 3);
SELECT amount, shortfall, pg_temp.grants(:dan) FROM ducto_reverse_credits(:'tx', 5);
SELECT burned_amounts FROM ducto.ledger WHERE account_id = :dan AND type = 'reversal' ORDER BY seq;
-- unspent stops at the grant itself, and what it could not take can be taken otherwise later.
SELECT amount, shortfall, pg_temp.grants(:dan) FROM ducto_reverse_credits(:'tx', overrun => 'unspent');
SELECT amount, shortfall, error, pg_temp.grants(:dan) FROM ducto_reverse_credits(:'tx', overrun => 'reject');

-- A promo given by mistake: unspent takes what is left of it and nothing else.
SELECT new_balance FROM ducto_add_credits(:eve, 50, 'purchase');
SELECT transaction_id AS tx FROM ducto_add_credits(:eve, 30, 'promo', expires_at => '2222-01-01') \gset
SELECT balance_after FROM ducto_charge(:eve, 12);
SELECT amount, shortfall, new_balance, pg_temp.grants(:eve) FROM ducto_reverse_credits(:'tx', overrun => 'unspent');
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx', overrun => 'unspent');

-- Credit that made no grant is taken from what is in none, so a promo stays.
SELECT transaction_id AS tx FROM ducto_add_credits(:eve, 20, 'purchase') \gset
SELECT new_balance FROM ducto_add_credits(:eve, 5, 'promo', expires_at => '2222-01-01');
SELECT amount, shortfall, new_balance, pg_temp.grants(:eve) FROM ducto_reverse_credits(:'tx');

-- clamp takes what there is; reject all or nothing; full makes a debt.
SELECT transaction_id AS tx FROM ducto_add_credits(:fay, 100, 'purchase') \gset
SELECT balance_after FROM ducto_charge(:fay, 70);
SELECT amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 30.0001, 'reject');
SELECT amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 20, 'reject');
SELECT amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 20, 'clamp');
SELECT reversal_transaction_id IS NOT NULL AS booked, amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx');
SELECT amount, shortfall, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', overrun => 'full');
SELECT amount, shortfall, balance_after, lifetime_purchased FROM ducto.ledger WHERE account_id = :fay AND type = 'reversal' ORDER BY seq;

-- What open reservations need is left to them, but by full. The allowance backs a part of them.
SELECT transaction_id AS tx FROM ducto_add_credits(:gus, 100, 'purchase', expires_at => '2222-01-01') \gset
SELECT reservation_id AS r FROM ducto_reserve(:gus, 80) \gset
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx', 21, 'reject');
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx', 30, 'unspent');
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx', 30, 'clamp');
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx', 30, 'full');
SELECT amount, balance_after, error FROM ducto_deduct(:gus, :'r', 80);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"free": {"name": "Free", "free_allowance": 60}}}');
SELECT error FROM ducto_set_user_plan(:hal, 'free');
SELECT transaction_id AS tx FROM ducto_add_credits(:hal, 100, 'purchase') \gset
SELECT available FROM ducto_reserve(:hal, 80);
SELECT amount, shortfall, new_balance, error FROM ducto_reverse_credits(:'tx');

-- A grant that has expired is gone; what is asked for comes from other credit, unless unspent is asked for.
SELECT transaction_id AS tx FROM ducto_add_credits(:ida, 10, 'purchase', expires_at => clock_timestamp() + interval '0.3 s') \gset
SELECT new_balance FROM ducto_add_credits(:ida, 4);
SELECT pg_sleep(0.4) \g /dev/null
SELECT amount, shortfall, new_balance FROM ducto_reverse_credits(:'tx', overrun => 'unspent');
SELECT amount, shortfall, new_balance FROM ducto_reverse_credits(:'tx');

-- A refund of what was charged from it goes back to the grant, and can be taken back then.
SELECT transaction_id AS tx FROM ducto_add_credits(:kim, 10, 'purchase', expires_at => '2222-01-01') \gset
SELECT transaction_id AS debit FROM ducto_charge(:kim, 6) \gset
SELECT amount, shortfall, pg_temp.grants(:kim) FROM ducto_reverse_credits(:'tx');
SELECT amount, pg_temp.grants(:kim) FROM ducto_refund(:'debit');
SELECT amount, shortfall, pg_temp.grants(:kim) FROM ducto_reverse_credits(:'tx', overrun => 'unspent');

-- A retry under its key is told what the first was told; the key is good for nothing else, nor for another transaction.
SELECT transaction_id AS tx FROM ducto_add_credits(:bob, 10, 'purchase', idempotency_key => 'pay') \gset
SELECT amount, shortfall, new_balance, lifetime_purchased, idempotent FROM ducto_reverse_credits(:'tx', 4, idempotency_key => 'back');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'purchase');
SELECT amount, shortfall, new_balance, lifetime_purchased, idempotent, error FROM ducto_reverse_credits(:'tx', 4, idempotency_key => 'back');
SELECT amount, idempotent, error FROM ducto_reverse_credits(:'tx', 5, 'full', idempotency_key => 'back');
SELECT amount, idempotent, error FROM ducto_reverse_credits(:'tx', 4, idempotency_key => 'pay');
SELECT error FROM ducto_charge(:bob, 1, 'back');
SELECT error FROM ducto_add_credits(:bob, 1, idempotency_key => 'back');
SELECT transaction_id AS other FROM ducto_add_credits(:bob, 10, 'purchase') \gset
SELECT error FROM ducto_reverse_credits(:'other', 4, idempotency_key => 'back');
SELECT transaction_id AS debit FROM ducto_charge(:bob, 1) \gset
SELECT error FROM ducto_refund(:'debit', idempotency_key => 'back');

-- A team's pool gives back what it was given.
SELECT team_id AS t FROM ducto_create_team('crew', 10) \gset
SELECT transaction_id AS tx FROM ducto_add_team_credits(:'t', 30) \gset
SELECT user_id, team_id = :'t' AS the_team, amount, new_balance, lifetime_purchased, error FROM ducto_reverse_credits(:'tx', 12);
SELECT user_id, team_id = :'t' AS the_team, amount, type, balance_after FROM ducto_list_transactions(:'t', max_rows => 1);

-- Bad arguments.
SELECT amount FROM ducto_reverse_credits(NULL);
SELECT amount FROM ducto_reverse_credits(:'tx', 0);
SELECT amount FROM ducto_reverse_credits(:'tx', -1);
SELECT amount FROM ducto_reverse_credits(:'tx', 1, 'all');
SELECT amount FROM ducto_reverse_credits(:'tx', 1, metadata => '[]');
SET ducto.require_idempotency_key = on;
SELECT amount FROM ducto_reverse_credits(:'tx', 1);
RESET ducto.require_idempotency_key;
SELECT amount, shortfall FROM ducto_reverse_credits(:'tx', 1, NULL, NULL, NULL, NULL);

-- The auditor sees when more was taken back than was added, and when lifetime_purchased does not follow.
SELECT * FROM ducto_verify();
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET amount = 11, reference = (SELECT id FROM ducto.ledger WHERE account_id = :fay AND type = 'usage') WHERE account_id = :kim AND type = 'reversal' AND amount < -4;
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM ducto_verify(:kim) WHERE check_name ~ 'reversals|lifetime';
ROLLBACK;
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET amount = -110 WHERE account_id = :fay AND type = 'reversal' AND amount = -70;
SELECT regexp_replace(check_name, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID') AS check_name, expected, actual FROM ducto_verify(:fay);
ROLLBACK;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
