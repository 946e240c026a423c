-- account: adding credits and reading balances

\set ada '\'ac000000-0000-4000-8000-000000000001\''
\set bob '\'ac000000-0000-4000-8000-000000000002\''
\set cyd '\'ac000000-0000-4000-8000-000000000003\''
\set dan '\'ac000000-0000-4000-8000-000000000004\''
\set eve '\'ac000000-0000-4000-8000-000000000005\''
\set nobody '\'ac000000-0000-4000-8000-0000000000ff\''

-- Reading the balance of an unknown user gives zeros and makes no account, because an application asks before its user ever paid.
SELECT * FROM ducto_get_balance(:nobody);
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;

-- The first credits make the account: there is no separate step of signing up.
SELECT transaction_id IS NOT NULL AS booked, user_id, amount, new_balance, lifetime_purchased, expires_at, idempotent, error
FROM ducto_add_credits(:ada, 100, 'purchase', '{"invoice": 7}');
SELECT * FROM ducto_get_balance(:ada);

-- One row of accounts and one entry of the ledger say the same, so that an operator can read either.
SELECT id, kind, balance, held, expiring, lifetime_purchased, next_boundary, last_seq FROM ducto.accounts WHERE id = :ada;
SELECT seq, amount, balance_after, type, operation_type, actor, model, idempotency_key, reference, allowance_consumed,
	shortfall, burned_grants, burned_amounts, metadata, created_at = effective_at AS effective_at_once
FROM ducto.ledger WHERE account_id = :ada;

-- Every type of credit raises the balance, but only a purchase is lifetime_purchased: a gift was never paid.
SELECT t.type, r.amount, r.new_balance, r.lifetime_purchased, r.error
FROM (VALUES (1, 'purchase'), (2, 'subscription'), (3, 'signup_bonus'), (4, 'adjustment'), (5, 'promo')) t (n, type),
	LATERAL ducto_add_credits(:bob, 10, t.type) r
ORDER BY n;
SELECT balance, lifetime_purchased FROM ducto_get_balance(:bob);

-- With NULL for everything that has a default, the defaults hold: an adjustment that never expires, with empty metadata.
SELECT amount, new_balance, expires_at, idempotent, error FROM ducto_add_credits(:bob, 1, NULL, NULL, NULL, NULL, NULL);
SELECT type, metadata, idempotency_key, reference_id FROM ducto_list_transactions(:bob, max_rows => 1);

-- An amount is rounded once, at the door, half away from zero; result, ledger and balance have the same value, or they would drift apart.
SELECT n, r.amount, r.new_balance
FROM (VALUES (1, 0.00005), (2, 0.00015), (3, 1.00004999999), (4, 2.99995), (5, -0.00005), (6, -0.00015), (7, 1)) t (n, amount),
	LATERAL ducto_add_credits(:cyd, t.amount) r
ORDER BY n;
SELECT sum(l.amount) AS ledger, a.balance FROM ducto.ledger l JOIN ducto.accounts a ON a.id = l.account_id
WHERE a.id = :cyd GROUP BY a.balance;

-- A negative adjustment takes credits back; it is no spend.
SELECT transaction_id IS NOT NULL AS booked, amount, new_balance, lifetime_purchased, error FROM ducto_add_credits(:ada, -30.5, metadata => '{"why": "chargeback"}');
SELECT type, amount, balance_after, metadata FROM ducto_list_transactions(:ada, max_rows => 1);
SELECT count(*) FROM ducto_list_usage_events(:ada);

-- It must fit into what is not held, because an operation under way was promised its credits.
SELECT reservation_id AS hold FROM ducto_reserve(:ada, 40, min_balance => 0) \gset
SELECT balance, reserved, available FROM ducto_get_balance(:ada);
SELECT transaction_id, user_id, amount, new_balance, lifetime_purchased, expires_at, idempotent, error FROM ducto_add_credits(:ada, -29.5001);
SELECT amount, new_balance, error FROM ducto_add_credits(:ada, -29.5);
SELECT * FROM ducto_get_balance(:ada);
SELECT transaction_id, amount, new_balance, error FROM ducto_add_credits(:ada, -0.0001);
SELECT released FROM ducto_release(:ada, :'hold');

-- An account cannot be adjusted below zero, and one without an account has nothing to take: it is rejected and leaves nothing behind.
SELECT transaction_id, amount, new_balance, error FROM ducto_add_credits(:ada, -40.0001);
SELECT transaction_id, user_id, amount, new_balance, lifetime_purchased, error FROM ducto_add_credits(:nobody, -1);
SELECT count(*) FROM ducto.accounts WHERE id = :nobody;

-- An adjustment of 0 makes the account and books nothing, so that a program can open accounts; again it changes nothing.
SELECT transaction_id, user_id, amount, new_balance, lifetime_purchased, idempotent, error FROM ducto_add_credits(:dan, 0);
SELECT transaction_id, new_balance, idempotent, error FROM ducto_add_credits(:dan, 0, idempotency_key => 'zero');
SELECT transaction_id, new_balance, idempotent, error FROM ducto_add_credits(:dan, 0, idempotency_key => 'zero');
SELECT balance, last_seq FROM ducto.accounts WHERE id = :dan;
SELECT count(*) FROM ducto.ledger WHERE account_id = :dan;

-- A call that books nothing does not remember its key: it is free for another.
SELECT transaction_id IS NOT NULL AS booked, amount, idempotent, error FROM ducto_add_credits(:dan, 5, idempotency_key => 'zero');

-- In debt every adjustment down is refused, and credits pay the debt first.
SELECT reservation_id AS loan FROM ducto_reserve(:dan, 20, billing_mode => 'overdraft', overdraft_floor => -20) \gset
SELECT amount, balance_after FROM ducto_deduct(:dan, :'loan', 20);
SELECT amount, new_balance, error FROM ducto_add_credits(:dan, -1);
SELECT amount, new_balance FROM ducto_add_credits(:dan, 10, 'purchase');
SELECT balance, lifetime_purchased, reserved, available FROM ducto_get_balance(:dan);
SELECT amount, new_balance FROM ducto_add_credits(:dan, 10, 'purchase');

-- available is balance - reserved and nothing else, never below any floor: what a floor keeps back is the caller's choice at each call.
SELECT reserved, available FROM ducto_reserve(:dan, 5, min_balance => 0);
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT reserved, available FROM ducto_reserve(:dan, 3, billing_mode => 'overdraft', overdraft_floor => -10);
SELECT balance, reserved, available FROM ducto_get_balance(:dan);

-- Credit that expires comes back with its time, and next_expiry is the soonest of all.
SELECT amount, new_balance, expires_at = timestamptz '2222-02-02 00:00+00' AS as_given FROM ducto_add_credits(:eve, 3, 'promo', expires_at => '2222-02-02 00:00+00');
SELECT new_balance, expires_at = timestamptz '2111-01-01 00:00+00' AS as_given FROM ducto_add_credits(:eve, 2, 'promo', expires_at => '2111-01-01 00:00+00', priority => 0);
SELECT new_balance, expires_at FROM ducto_add_credits(:eve, 1, 'promo');
SELECT balance, available, next_expiry = timestamptz '2111-01-01 00:00+00' AS the_soonest FROM ducto_get_balance(:eve);

-- A result is a named row, so PostgREST makes one JSON object of it.
SELECT json_object_keys(row_to_json(ducto_get_balance(:eve))) AS key;
SELECT json_object_keys(row_to_json(ducto_add_credits(:eve, 1))) AS key;

-- Credits have four decimals everywhere.
SELECT ducto_get_balance(:bob);

-- Ids made here are UUIDv7 with the time of their entry, so that they sort as they were booked.
SELECT count(*), bool_and(substr(id::text, 15, 1) = '7') AS version_7, bool_and(substr(id::text, 20, 1) ~ '[89ab]') AS variant,
	bool_and(('x' || translate(substr(id::text, 1, 13), '-', ''))::bit(48)::bigint = floor(extract(epoch FROM created_at) * 1000)) AS has_time,
	array_agg(id ORDER BY seq) = array_agg(id ORDER BY id) AS sorted
FROM ducto.ledger WHERE account_id = :bob;

-- Time never runs back in an account: each entry is at or after the one before.
SELECT bool_and(created_at >= before) FROM (
	SELECT created_at, lag(created_at) OVER (PARTITION BY account_id ORDER BY seq) AS before FROM ducto.ledger) l;

-- Time is the clock at the call, not the transaction's start, or a long transaction would book into the past.
BEGIN;
SELECT now() AS started \gset
SELECT transaction_id AS tx FROM ducto_add_credits(:eve, 1) \gset
SELECT created_at > :'started' AS after_the_start FROM ducto.ledger WHERE account_id = :eve AND id = :'tx';
COMMIT;

SELECT * FROM ducto_verify();
