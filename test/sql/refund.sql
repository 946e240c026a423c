-- refund: credits go back to where they came from

\set ada '\'4ef00000-0000-4000-8000-000000000001\''
\set bob '\'4ef00000-0000-4000-8000-000000000002\''
\set cyd '\'4ef00000-0000-4000-8000-000000000003\''
\set dan '\'4ef00000-0000-4000-8000-000000000004\''
\set eve '\'4ef00000-0000-4000-8000-000000000005\''
\set fay '\'4ef00000-0000-4000-8000-000000000006\''
\set gus '\'4ef00000-0000-4000-8000-000000000007\''
\set hal '\'4ef00000-0000-4000-8000-000000000008\''
\set ida '\'4ef00000-0000-4000-8000-000000000009\''
\set none '\'4ef00000-0000-7000-8000-0000000000ee\''

-- A refund without an amount gives back the whole debit, as an entry of its own that names it.
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT transaction_id AS tx FROM ducto_charge(:ada, 30, model => 'model-a', operation_type => 'chat', metadata => '{"n": 1}') \gset
SELECT refund_transaction_id IS NOT NULL AS booked, original_transaction_id = :'tx' AS of_the_debit, user_id, team_id, amount, new_balance, allowance_restored, idempotent, error
FROM ducto_refund(:'tx');
SELECT amount, type, operation_type, model, reference_id = :'tx' AS of_the_debit, balance_after, metadata FROM ducto_list_transactions(:ada, max_rows => 1);
SELECT balance, lifetime_purchased FROM ducto_get_balance(:ada);

-- Use stays use: a refund is not subtracted from the events, it stands beside them.
SELECT amount, model, total_count FROM ducto_list_usage_events(:ada);

-- A debit is refunded in parts until nothing is left; the last takes what is left, and more than that is refused.
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10) \gset
SELECT amount, new_balance, error FROM ducto_refund(:'tx', 4);
SELECT refund_transaction_id, amount, new_balance, error FROM ducto_refund(:'tx', 6.0001);
SELECT amount, new_balance, error FROM ducto_refund(:'tx', 2.5);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT refund_transaction_id, amount, new_balance, error FROM ducto_refund(:'tx');
SELECT refund_transaction_id, amount, new_balance, error FROM ducto_refund(:'tx', 0.0001);
SELECT balance FROM ducto_get_balance(:ada);

-- Over the whole debit at once is refused as well, and the exact amount is not.
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10) \gset
SELECT refund_transaction_id, user_id, amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 10.0001);
SELECT amount, new_balance, error FROM ducto_refund(:'tx', 10);

-- A deduct and a capture are debits like a charge.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 20) \gset
SELECT transaction_id AS capture FROM ducto_deduct(:ada, :'r', 5, final => false) \gset
SELECT transaction_id AS deduct FROM ducto_deduct(:ada, :'r', 7) \gset
SELECT amount, new_balance, error FROM ducto_refund(:'capture');
SELECT amount, new_balance, error FROM ducto_refund(:'deduct', 1);
SELECT state FROM ducto.reservations WHERE id = :'r';

-- The reason is kept in the entry's metadata beside the caller's own.
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10) \gset
SELECT n, r.error FROM (VALUES (1, 'bad answer', '{"ticket": 7}'), (2, NULL, '{"ticket": 8}'), (3, 'bad answer', NULL), (4, NULL, NULL), (5, 'the argument', '{"reason": "the caller''s"}'), (6, '', NULL), (7, repeat('long ', 200), NULL)) t (n, reason, metadata),
	LATERAL ducto_refund(:'tx', 1, t.reason, t.metadata::jsonb) r ORDER BY n;
SELECT left(metadata::text, 60) AS metadata, length(metadata->>'reason') AS length FROM ducto_list_transactions(:ada, max_rows => 7);

-- Only use can be refunded: there is nothing to give back in what was given.
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'subscription');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'signup_bonus');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'promo');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'adjustment');
SELECT new_balance FROM ducto_add_credits(:bob, -10, 'adjustment');
SELECT new_balance FROM ducto_add_credits(:bob, 10, 'promo', expires_at => clock_timestamp() + interval '0.1 s');
SELECT pg_sleep(0.2) \g /dev/null
SELECT transaction_id AS tx FROM ducto_charge(:bob, 10) \gset
SELECT error FROM ducto_refund(:'tx', 1);
SELECT l.type, l.amount, r.refund_transaction_id, r.original_transaction_id = l.id AS original, r.user_id = l.account_id AS owner, r.amount AS asked, r.new_balance, r.error
FROM ducto.ledger l, LATERAL ducto_refund(l.id, 1) r WHERE account_id = :bob AND type <> 'usage' ORDER BY seq;
SELECT DISTINCT r.error FROM ducto.ledger l, LATERAL ducto_refund(l.id) r WHERE account_id = :bob AND type <> 'usage';

-- There is no such transaction: a made up id, and a reservation's.
SELECT * FROM ducto_refund(:none);
SELECT * FROM ducto_refund(:none, 5);
SELECT reservation_id AS r FROM ducto_reserve(:bob, 1) \gset
SELECT refund_transaction_id, user_id, amount, new_balance, error FROM ducto_refund(:'r');
SELECT balance FROM ducto_get_balance(:bob);

-- A debit that took nothing has nothing to refund.
SELECT reservation_id AS r FROM ducto_reserve(:cyd, 5, billing_mode => 'overdraft', overdraft_floor => -5) \gset
SELECT balance_after FROM ducto_deduct(:cyd, :'r', 5, final => false);
SELECT transaction_id AS tx FROM ducto_deduct(:cyd, :'r', 5, overrun => 'clamp') \gset
SELECT amount FROM ducto.ledger WHERE account_id = :cyd AND id = :'tx';
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT amount, new_balance, error FROM ducto_refund(:'tx', 1);

-- A clamped debit is refunded for what it took, not for its shortfall.
SELECT new_balance FROM ducto_add_credits(:cyd, 8);
SELECT reservation_id AS r FROM ducto_reserve(:cyd, 1, min_balance => 0) \gset
SELECT transaction_id AS tx FROM ducto_deduct(:cyd, :'r', 9, overrun => 'clamp') \gset
SELECT amount, new_balance, error FROM ducto_refund(:'tx', 3.0001);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');

-- Credits go back in reverse: first what never expires, then the grants from the last burned to the first, each up to what was taken.
CREATE FUNCTION pg_temp.grants(owner uuid) RETURNS text LANGUAGE sql AS $$
	SELECT 'balance ' || (SELECT trim_scale(balance) FROM ducto_get_balance(owner)) || ', grants ' || string_agg(trim_scale(remaining) || ' of ' || trim_scale(amount), ', ' ORDER BY seq)
	FROM ducto.grants WHERE account_id = owner
$$;
SELECT new_balance FROM ducto_add_credits(:dan, 10, expires_at => '2222-01-01');
SELECT new_balance FROM ducto_add_credits(:dan, 10, expires_at => '2222-01-02');
SELECT new_balance FROM ducto_add_credits(:dan, 10, expires_at => '2222-01-03');
SELECT new_balance FROM ducto_add_credits(:dan, 10);
SELECT balance_after FROM ducto_charge(:dan, 4);
SELECT transaction_id AS tx FROM ducto_charge(:dan, 31) \gset
SELECT pg_temp.grants(:dan);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx', 2);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx', 4);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx', 9);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx', 0.0001);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx', 9);
SELECT amount, new_balance, pg_temp.grants(:dan) FROM ducto_refund(:'tx');
SELECT amount, burned_amounts FROM ducto.ledger WHERE account_id = :dan AND type = 'refund' ORDER BY seq;

-- They have their old expiry and place again, also a grant that had been used up.
SELECT remaining, expires_at = '2222-01-01' AS the_first FROM ducto_list_grants(:dan);
SELECT next_expiry = '2222-01-01' AS the_first FROM ducto_get_balance(:dan);

-- A grant that has expired meanwhile gets nothing: its part comes back without expiry, because it was spent in time and to give it back expired would be no refund.
SELECT new_balance FROM ducto_add_credits(:eve, 10, expires_at => clock_timestamp() + interval '0.8 s');
SELECT new_balance FROM ducto_add_credits(:eve, 10, expires_at => '2222-01-02');
SELECT transaction_id AS tx FROM ducto_charge(:eve, 14) \gset
SELECT transaction_id AS tx2 FROM ducto_charge(:eve, 2) \gset
-- Fay's expires in part, with a part spent.
SELECT new_balance FROM ducto_add_credits(:fay, 10, expires_at => clock_timestamp() + interval '0.8 s');
SELECT transaction_id AS ftx FROM ducto_charge(:fay, 6) \gset
SELECT pg_sleep(0.9) \g /dev/null
SELECT pg_temp.grants(:eve);
SELECT amount, new_balance, pg_temp.grants(:eve) FROM ducto_refund(:'tx', 3);
SELECT amount, new_balance, pg_temp.grants(:eve) FROM ducto_refund(:'tx', 3);
SELECT amount, new_balance, pg_temp.grants(:eve) FROM ducto_refund(:'tx');
SELECT amount, new_balance, pg_temp.grants(:eve) FROM ducto_refund(:'tx2');
SELECT balance, next_expiry = '2222-01-02' AS the_other FROM ducto_get_balance(:eve);
SELECT amount, new_balance, error FROM ducto_refund(:'ftx');
SELECT balance, next_expiry FROM ducto_get_balance(:fay);
SELECT type, amount FROM ducto.ledger WHERE account_id = :fay ORDER BY seq;

-- In debt the debt eats the refund first: only what is above zero goes back to a grant.
SELECT new_balance FROM ducto_add_credits(:gus, 10, expires_at => '2222-01-01');
SELECT transaction_id AS tx FROM ducto_charge(:gus, 10) \gset
SELECT reservation_id AS r FROM ducto_reserve(:gus, 6, billing_mode => 'overdraft', overdraft_floor => -20) \gset
SELECT balance_after FROM ducto_deduct(:gus, :'r', 6);
SELECT amount, new_balance, pg_temp.grants(:gus) FROM ducto_refund(:'tx', 4);
SELECT amount, new_balance, pg_temp.grants(:gus) FROM ducto_refund(:'tx', 3);
SELECT amount, new_balance, pg_temp.grants(:gus) FROM ducto_refund(:'tx');
SELECT balance, expiring FROM ducto.accounts WHERE id = :gus;

-- A negative adjustment burned what cannot be refunded, and a refund does not touch it.
SELECT new_balance FROM ducto_add_credits(:hal, 10, expires_at => '2222-01-01');
SELECT transaction_id AS tx FROM ducto_charge(:hal, 3) \gset
SELECT new_balance FROM ducto_add_credits(:hal, -3);
SELECT amount, new_balance, pg_temp.grants(:hal) FROM ducto_refund(:'tx');

-- What came back is spent again in the same order, and can be refunded again by that debit.
SELECT transaction_id AS tx2 FROM ducto_charge(:hal, 5) \gset
SELECT pg_temp.grants(:hal);
SELECT amount, new_balance, pg_temp.grants(:hal) FROM ducto_refund(:'tx2');
SELECT error FROM ducto_refund(:'tx');

-- A retry under a key is no second refund, and without one it is: the key is what makes a retry safe.
SELECT new_balance FROM ducto_add_credits(:ida, 100);
SELECT transaction_id AS tx FROM ducto_charge(:ida, 50) \gset
SELECT amount, new_balance, idempotent FROM ducto_refund(:'tx', 10, idempotency_key => 'once');
SELECT amount, new_balance, idempotent FROM ducto_refund(:'tx', 10, idempotency_key => 'once');
SELECT amount, new_balance, idempotent FROM ducto_refund(:'tx', 10);
SELECT amount, new_balance, idempotent FROM ducto_refund(:'tx', NULL, NULL, NULL, NULL);

-- Held credit is not touched, and a refund is available at once.
SELECT transaction_id AS tx FROM ducto_charge(:ida, 20) \gset
SELECT reserved, available FROM ducto_reserve(:ida, 80, min_balance => 0);
SELECT error FROM ducto_charge(:ida, 1);
SELECT new_balance FROM ducto_refund(:'tx', 5);
SELECT balance, reserved, available FROM ducto_get_balance(:ida);
SELECT amount, error FROM ducto_charge(:ida, 5);

SELECT * FROM ducto_verify();
