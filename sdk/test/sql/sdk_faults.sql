-- What the SDKs' own engine accepts, or means by it, in the small.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
CREATE FUNCTION shown(answer jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_object_agg(key, CASE WHEN key IN ('id', 'lease_id', 'transaction_id', 'refund_transaction_id')
		AND jsonb_typeof(value) = 'string' THEN '"an id"' ELSE value END)
	FROM jsonb_each(answer) WHERE key NOT IN ('user_id', 'expires_at') $$;

-- an adjustment of 0 makes the account, and an entry; a retry finds it
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 0) a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 0, 'adjustment', '{"idempotency_key": "made"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 0, 'adjustment', '{"idempotency_key": "made"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 0, 'adjustment', '{"expires_at": "2099-01-01"}') a;
SELECT balance, last_seq FROM ducto.accounts;
SELECT amount, type, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000001');
-- 0 is no purchase, what is rounded to 0 no adjustment; and the engine books nothing of 0
SELECT credits_add('00000000-0000-4000-8000-000000000002', 0, 'purchase');
SELECT credits_add('00000000-0000-4000-8000-000000000002', 0.00001);
SELECT credits_add('00000000-0000-4000-8000-000000000002', -0.00001);
SELECT transaction_id IS NULL AS nothing, new_balance FROM ducto_add_credits('00000000-0000-4000-8000-000000000001', 0, 'adjustment');
-- a key may be a number
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 7, 'adjustment', '{"idempotency_key": 12}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 7, 'adjustment', '{"idempotency_key": "12"}') a;
SELECT credits_add('00000000-0000-4000-8000-000000000001', 7, 'adjustment', '{"idempotency_key": ""}');
SELECT credits_add('00000000-0000-4000-8000-000000000001', 7, 'adjustment', '{"expires_at": "soon"}');
SELECT credits_add('00000000-0000-4000-8000-000000000001', 7, 'adjustment', '{"expires_at": "-infinity"}');
SELECT credits_add('00000000-0000-4000-8000-000000000001', -7) ->> 'new_balance' AS new_balance;

-- credit that is past its time as it comes is there for the sweep, and for nothing else
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 100, 'purchase', '{"expires_at": "2001-01-01T00:00:00"}') a;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000003') ->> 'balance' AS balance,
	get_available_credits('00000000-0000-4000-8000-000000000003') ->> 'available' AS available;
SELECT ducto_balance_at('00000000-0000-4000-8000-000000000003', now()) AS balance;
SELECT expire_credits(true);
SELECT expire_credits();
SELECT expire_credits();
-- nor does it count for what is asked before a sweep
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 100, 'purchase', '{"expires_at": "2001-01-01"}') a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000003', 1) a;
SELECT expire_credits();
-- it pays no debt
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000004', 30, NULL, -30) a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000004', 100, 'promo', '{"expires_at": "2001-01-01"}') a;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000004') ->> 'balance' AS balance;
-- and backs no open lease
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000005', 20, 'chat', 'overdraft', -50) a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000005', 100, 'promo', '{"expires_at": "2001-01-01"}') a;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000005') ->> 'balance' AS balance,
	get_available_credits('00000000-0000-4000-8000-000000000005') ->> 'available' AS available;
SELECT account_id, type, amount, balance_after FROM ducto.ledger WHERE account_id IN ('00000000-0000-4000-8000-000000000004',
	'00000000-0000-4000-8000-000000000005') ORDER BY account_id, seq;
SELECT expire_credits();

-- a retried refund is one refund: in part, of all, and by the key of another transaction
SELECT credits_add('00000000-0000-4000-8000-000000000006', 100, 'purchase') ->> 'new_balance' AS new_balance;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000006', 40) ->> 'transaction_id' AS tx \gset
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000006', 5) ->> 'transaction_id' AS tx2 \gset
SELECT shown(a) FROM refund_credits(:'tx', 10, 'partly', '{"idempotency_key": "back-1"}') a;
SELECT shown(a) FROM refund_credits(:'tx', 10, 'partly', '{"idempotency_key": "back-1"}') a;
SELECT shown(a) FROM refund_credits(:'tx2', 5, NULL, '{"idempotency_key": "back-1"}') a;
SELECT shown(a) FROM refund_credits(:'tx', NULL, NULL, '{"idempotency_key": "back-2"}') a;
SELECT shown(a) FROM refund_credits(:'tx', NULL, NULL, '{"idempotency_key": "back-2"}') a;
SELECT shown(a) FROM refund_credits(:'tx', 10, NULL, '{"idempotency_key": "back-3"}') a;
SELECT shown(a) FROM refund_credits(:'tx2') a;
SELECT shown(a) FROM refund_credits(:'tx2') a;
SELECT shown(a) FROM refund_credits(:'tx2', 1) a;
SELECT amount, metadata FROM ducto.ledger WHERE account_id = '00000000-0000-4000-8000-000000000006' AND type = 'refund' ORDER BY seq;
SET ducto.require_idempotency_key = on;
SELECT refund_credits(:'tx2', 1);
-- there is no key for a team: none with credits then
SELECT create_team('rich', 5);
SELECT create_team('poor') ->> 'name' AS name;
SELECT shown(a) FROM refund_credits(:'tx2', 1, NULL, '{"idempotency_key": "back-4"}') a;
RESET ducto.require_idempotency_key;

-- a negative floor is one: of a charge, of a strict lease; also for a user who is new
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000007', 20, NULL, -19.9999) a;
SELECT count(*) AS accounts FROM ducto.accounts WHERE id = '00000000-0000-4000-8000-000000000007';
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000007', 20, 'debt', -20) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000007', 20, 'debt', -20) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000007', 1, NULL, -20) a;
SELECT shown(a), a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000007', 5, 'chat', 'strict', -25) a \gset
\echo :shown
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000007', 1, 'chat', 'strict', -25) a;
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000007', :'lease', 9) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000008', 5, 'chat', 'strict', -5) a;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000007', 1, NULL, 'NaN');
-- none is one, and so is that of the plan where nothing is said
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000009', 1, NULL, NULL) a;

-- windows without an end are all time
SELECT count(*), sum(total_spend) FROM spend_by_user('-infinity', 'infinity');
SELECT count(*), sum(total_spend) FROM spend_by_user('-infinity', now());
SELECT count(*), sum(total_spend) FROM spend_by_model(now() - interval '1 hour', 'infinity');
SELECT count(*), sum(total_spend) FROM top_users(100, '-infinity', 'infinity');
SELECT count(*), sum(total_spend) FROM daily_spend('-infinity', 'infinity');
SELECT a ->> 'total_credits_consumed' AS total FROM aggregate_stats('-infinity', 'infinity') a;
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-000000000006', NULL, '-infinity', 'infinity');
SELECT count(*) FROM list_usage_events('00000000-0000-4000-8000-000000000006', '-infinity', 'infinity');
-- a page far back is that of the whole list, in a window too, and is not walked to
SELECT count(credits_add('00000000-0000-4000-8000-000000000009', n)) FROM generate_series(1, 30) n;
SELECT amount, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000009', NULL, NULL, NULL, 2, 25);
SELECT amount, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000009', NULL, '-infinity', now(), 2, 28);
SELECT amount, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000009', NULL, NULL, NULL, 2, 29);
SELECT amount, total_count FROM list_user_transactions('00000000-0000-4000-8000-000000000009', NULL, NULL, NULL, 2, 30);
BEGIN;
SELECT pg_stat_get_xact_tuples_fetched('ducto.ledger_pkey'::regclass) AS before \gset
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-000000000009', NULL, NULL, NULL, 2, 25);
SELECT pg_stat_get_xact_tuples_fetched('ducto.ledger_pkey'::regclass) - :before AS read;
COMMIT;
SELECT * FROM spend_by_user('infinity', '-infinity');

-- the sweeps of both kinds roll up, a dry run does not
CREATE VIEW rolled_up AS SELECT next_xact AS until FROM ducto.usage_rollup WHERE hours = 0;
SELECT until FROM rolled_up \gset
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000006', 1) ->> 'balance_after' AS balance_after;
SELECT expire_credits(true) ->> 'dry_run' AS dry_run;
SELECT until > :until AS rolled_up FROM rolled_up;
SELECT expire_credits() ->> 'dry_run' AS dry_run;
SELECT until > :until AS rolled_up, until FROM rolled_up \gset
\echo :rolled_up
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000006', 1) ->> 'balance_after' AS balance_after;
SELECT expire_due_leases();
SELECT until > :until AS rolled_up FROM rolled_up;
SELECT sum(total_spend) FROM spend_by_user('-infinity', 'infinity');
-- with nothing new they leave the rollup as it is
CREATE VIEW rollup_rows AS SELECT string_agg(concat_ws('/', hours, part, start, ctid, xmin, xmax), ' ' ORDER BY hours, part, start) AS rows
FROM ducto.usage_rollup;
SELECT rows FROM rollup_rows \gset
SELECT expire_credits(), expire_due_leases();
SELECT rows = :'rows' AS as_it_was FROM rollup_rows;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000006', 1) ->> 'balance_after' AS balance_after;
SELECT expire_credits(), expire_due_leases();
SELECT rows = :'rows' AS as_it_was FROM rollup_rows;
SELECT * FROM ducto_verify();
DROP FUNCTION shown(jsonb);
DROP VIEW rolled_up, rollup_rows;
