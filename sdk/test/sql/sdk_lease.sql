-- The life of a lease and of a charge, with statements as the clients send them:
-- literals in the text, as Python does.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;
SET timezone = 'UTC';
SET ducto.rejections = 'raise';	-- nothing of it shows here

-- without ids and times, which differ from run to run
CREATE FUNCTION shown(answer jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
	SELECT jsonb_object_agg(key, CASE WHEN key IN ('id', 'lease_id', 'transaction_id', 'refund_transaction_id', 'team_id')
		AND jsonb_typeof(value) = 'string' THEN '"an id"' ELSE value END)
	FROM jsonb_each(answer) WHERE key NOT IN ('user_id', 'expires_at', 'created_at') $$;

-- a new user
SELECT * FROM get_credits_balance('00000000-0000-4000-8000-000000000001');
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', 0, NULL, 600) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 2.5, NULL, 0, NULL, '{}') a;
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 1) a;
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a');
SELECT shown(a) FROM renew_lease('00000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-00000000000a', 60) a;

-- credit, once
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 100, 'purchase', '{"idempotency_key": "buy-1"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000001', 100, 'purchase', '{"idempotency_key": "buy-1"}') a;
SELECT * FROM get_credits_balance('00000000-0000-4000-8000-000000000001');

-- a lease: made, renewed, settled for less; the settle returns the same again, with its key, another, or none
SELECT shown(a) AS created, a ->> 'lease_id' AS lease, (a ->> 'expires_at')::timestamptz - now() > '9 minutes' AS ten_minutes
FROM create_lease('00000000-0000-4000-8000-000000000001', 40, 'chat', 'strict', 0, NULL, 600, 'gpt-4', NULL, '{"run": 1}') a \gset
\echo :created :ten_minutes
SELECT * FROM get_available_credits('00000000-0000-4000-8000-000000000001');
SELECT shown(a) FROM renew_lease('00000000-0000-4000-8000-000000000001', :'lease', 3600) a;
SELECT shown(a), a ->> 'transaction_id' AS tx FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 25.5, 'settle-1') a \gset
\echo :shown
SELECT shown(a), a ->> 'transaction_id' = :'tx' AS same
FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 25.5, 'settle-1') a;
SELECT shown(a), a ->> 'transaction_id' = :'tx' AS same
FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 30, 'settle-2') a;
SELECT shown(a), a ->> 'transaction_id' = :'tx' AS same FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 30) a;
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000001', :'lease');
SELECT shown(a) FROM renew_lease('00000000-0000-4000-8000-000000000001', :'lease', 60) a;
SELECT model, operation_type, metadata FROM ducto.ledger WHERE id = :'tx';

-- beyond the hold: strict takes what fits, overdraft all
SELECT a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat') a \gset
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 90) a;
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 90) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'overdraft', -5) a;
SELECT shown(a), a ->> 'lease_id' AS lease
FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'overdraft', 0, NULL, 600, NULL, -20) a \gset
\echo :shown
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 35, 'over') a;

-- nothing used, released, past its time
SELECT credits_add('00000000-0000-4000-8000-000000000001', 135, 'purchase') ->> 'new_balance';
SELECT a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat') a \gset
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 0) a;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 1) ->> 'balance_after';
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 0) a;
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 5, 'late-key') a;
SELECT a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat') a \gset
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000001', :'lease');
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000001', :'lease');
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 5) a;
SELECT a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', 0, NULL, 1) a \gset
SELECT pg_sleep(1.1);
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 5) a;
SELECT shown(a) FROM renew_lease('00000000-0000-4000-8000-000000000001', :'lease', 60) a;
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000001', :'lease');
SELECT * FROM expire_due_leases();

-- another's lease
SELECT a ->> 'lease_id' AS lease FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat') a \gset
SELECT shown(a) FROM settle_lease('00000000-0000-4000-8000-000000000002', :'lease', 5) a;
SELECT * FROM release_lease('00000000-0000-4000-8000-000000000002', :'lease');
SELECT shown(a) FROM renew_lease('00000000-0000-4000-8000-000000000002', :'lease', 60) a;

-- concurrency, caps, floors
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', 0, 1) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', 0, 0) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'other', 'strict_prepaid', 0, 1) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', 90) a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 10, 'chat', 'strict', -90) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 60, NULL, 20) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 60, 'use-1', -50) a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 60, 'use-1', 0, 'gpt-4') a;
SELECT error FROM ducto_get_active_pricing();
RESET ducto.rejections;
SELECT ducto_set_spend_cap('00000000-0000-4000-8000-000000000001', 'daily', 150, 'deny') IS NULL;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000001', 60, NULL, 0, 'gpt-4') a;
SELECT shown(a) FROM create_lease('00000000-0000-4000-8000-000000000001', 60, 'chat') a;

-- amounts that are none
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', a) FROM unnest(ARRAY['NaN', 'Infinity', '-1', '0', '0.00001', '1e20', NULL]::numeric[]) a;
SELECT create_lease('00000000-0000-4000-8000-000000000001', 'NaN'::numeric, 'chat');
SELECT create_lease('00000000-0000-4000-8000-000000000001', 0, 'chat');
SELECT settle_lease('00000000-0000-4000-8000-000000000001', :'lease', -1);
SELECT settle_lease('00000000-0000-4000-8000-000000000001', :'lease', -0.00001);
SELECT settle_lease('00000000-0000-4000-8000-000000000001', :'lease', 'NaN'::numeric);
SELECT credits_add('00000000-0000-4000-8000-000000000001', 0, 'purchase');
SELECT credits_add('00000000-0000-4000-8000-000000000001', -5, 'purchase');
SELECT credits_add('00000000-0000-4000-8000-000000000001', 'NaN'::numeric);

-- what stays an SQL error
SELECT deduct_with_allowance(NULL, 1);
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 1, '');
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 1, NULL, 'NaN');
SELECT create_lease('00000000-0000-4000-8000-000000000001', 1, 'chat', 'later');
SELECT create_lease('00000000-0000-4000-8000-000000000001', 1, 'chat', 'strict', 0, NULL, 0);
SELECT create_lease('00000000-0000-4000-8000-000000000001', 1, 'chat', 'overdraft', 0, NULL, 600, NULL, 5);
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 1, NULL, 0, NULL, '[]');

-- negative adjustments, credit that expires, that is past its time, that never does
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 10) a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', -4, 'adjustment', '{"reason": "mistake"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', -7) a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 20, 'purchase', '{"expires_at": "2999-01-01T00:00:00"}') a;
SET timezone = 'Asia/Tokyo';
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 30, 'purchase', '{"expires_at": "2999-01-01T12:00:00+02:00"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 40, 'purchase', '{"expires_at": "2999-02-01 00:00"}') a;
SET timezone = 'UTC';
SELECT amount, expires_at FROM ducto_list_grants('00000000-0000-4000-8000-000000000003');
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 50, 'purchase',
	'{"expires_at": "2001-01-01T00:00:00Z", "idempotency_key": "past"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 50, 'purchase',
	'{"expires_at": "2001-01-01T00:00:00Z", "idempotency_key": "past"}') a;
SELECT * FROM credits_add('00000000-0000-4000-8000-000000000003', 50, 'purchase', '{"expires_at": "soon"}');
SELECT * FROM credits_add('00000000-0000-4000-8000-000000000003', 50, 'purchase', '{"expires_at": 12}');
SELECT * FROM credits_add('00000000-0000-4000-8000-000000000003', 50, 'purchase', '{"expires_at": "-infinity"}');
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 1, 'purchase', '{"expires_at": "infinity"}') a;
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000003', 1, 'purchase', '{"expires_at": null}') a;
SELECT * FROM get_credits_balance('00000000-0000-4000-8000-000000000003');
SELECT type, amount, balance_after FROM ducto.ledger WHERE account_id = '00000000-0000-4000-8000-000000000003' ORDER BY seq;

-- numbers beyond 2^53
SELECT shown(a) FROM credits_add('00000000-0000-4000-8000-000000000004', 90071992547409.9301, 'purchase') a;
SELECT shown(a) FROM deduct_with_allowance('00000000-0000-4000-8000-000000000004', 0.0001) a;
SELECT jsonb_typeof(a -> 'balance'), a ->> 'balance' FROM get_credits_balance('00000000-0000-4000-8000-000000000004') a;

-- parameters without a type, as JavaScript sends them: the types are the functions'
PREPARE deduct AS SELECT * FROM deduct_with_allowance($1, $2, $3, $4, $5, $6, $7);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'deduct';
PREPARE lease AS SELECT * FROM create_lease($1, $2, $3, $4, $5, $6, $7);
SELECT parameter_types FROM pg_prepared_statements WHERE name = 'lease';

-- by name, as PostgREST does
SELECT shown(a) FROM create_lease(p_user_id => '00000000-0000-4000-8000-000000000004', p_amount => 5, p_operation_type => 'chat') a;

-- undone with the caller's savepoint
BEGIN;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000003', 5, 'undone') ->> 'balance_after';
SAVEPOINT s;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000003', 7) ->> 'balance_after';
ROLLBACK TO s;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000003', 1) ->> 'balance_after';
ROLLBACK;
SELECT balance FROM ducto_get_balance('00000000-0000-4000-8000-000000000003');
SELECT * FROM ducto_verify();
DROP FUNCTION shown(jsonb);
