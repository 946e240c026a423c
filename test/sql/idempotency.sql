-- idempotency: a retry under a key returns what was, and takes effect once

\set ada '\'1de00000-0000-4000-8000-000000000001\''
\set bob '\'1de00000-0000-4000-8000-000000000002\''
\set cyd '\'1de00000-0000-4000-8000-000000000003\''
\set dan '\'1de00000-0000-4000-8000-000000000004\''
\set eve '\'1de00000-0000-4000-8000-000000000005\''
\set fay '\'1de00000-0000-4000-8000-000000000006\''

-- again(call) makes a call twice and compares: the retry must be the same row in every column, but for idempotent.
CREATE FUNCTION pg_temp.same(before json, after json) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce(string_agg(format('%s: %s, then %s', b.key, b.value, a.value), '; '), 'the same')
	FROM json_each_text(before) b JOIN json_each_text(after) a USING (key)
	WHERE b.value IS DISTINCT FROM a.value
$$;

-- Every call with a key is made, then things move on, then it is made again with another amount and other metadata: it returns the row as it was, balance_after included.
CREATE TEMP TABLE first (n serial, call text, original json);
CREATE FUNCTION pg_temp.original(name text) RETURNS json LANGUAGE sql AS $$SELECT original FROM first WHERE call = name$$;
INSERT INTO first (call, original) SELECT 'add_credits', row_to_json(r) FROM ducto_add_credits(:ada, 100, 'purchase', '{"n": 1}', '2222-02-02', 'credit', 7) r;
INSERT INTO first (call, original) SELECT 'adjust', row_to_json(r) FROM ducto_add_credits(:ada, -10, idempotency_key => 'adjust') r;
INSERT INTO first (call, original) SELECT 'reserve', row_to_json(r) FROM ducto_reserve(:ada, 30, 'chat', idempotency_key => 'hold', ttl_seconds => 100) r;
SELECT original->>'reservation_id' AS r FROM first WHERE call = 'reserve' \gset
INSERT INTO first (call, original) SELECT 'capture', row_to_json(r) FROM ducto_deduct(:ada, :'r', 5, 'capture', final => false) r;
INSERT INTO first (call, original) SELECT 'deduct', row_to_json(r) FROM ducto_deduct(:ada, :'r', 1000, 'deduct', overrun => 'clamp') r;
SELECT original->>'transaction_id' AS tx FROM first WHERE call = 'deduct' \gset
INSERT INTO first (call, original) SELECT 'refund', row_to_json(r) FROM ducto_refund(:'tx', 20, 'sorry', '{}', 'refund') r;
INSERT INTO first (call, original) SELECT 'charge', row_to_json(r) FROM ducto_charge(:ada, 3, 'charge', model => 'model-a') r;
SELECT reservation_id AS z FROM ducto_reserve(:ada, 2) \gset
INSERT INTO first (call, original) SELECT 'deduct 0', row_to_json(r) FROM ducto_deduct(:ada, :'z', 0, 'zero') r;
SELECT call, original->'amount' AS amount, coalesce(original->'balance_after', original->'new_balance', original->'balance') AS balance,
	original->'lifetime_purchased' AS lifetime, original->'shortfall' AS shortfall, original->'idempotent' AS idempotent, original->'error' AS error
FROM first ORDER BY n;
SELECT new_balance FROM ducto_add_credits(:ada, 500, 'purchase');
SELECT amount, balance_after FROM ducto_charge(:ada, 7);

SELECT pg_temp.same(pg_temp.original('add_credits'), row_to_json(r)) FROM ducto_add_credits(:ada, 100, 'purchase', '{"n": 1}', '2222-02-02', 'credit', 7) r;
SELECT pg_temp.same(pg_temp.original('add_credits'), row_to_json(r)) FROM ducto_add_credits(:ada, 999, 'promo', '{"n": 2}', NULL, 'credit') r;
SELECT pg_temp.same(pg_temp.original('add_credits'), row_to_json(r)) FROM ducto_add_credits(:ada, -10000, idempotency_key => 'credit') r;
SELECT pg_temp.same(pg_temp.original('add_credits'), row_to_json(r)) FROM ducto_add_credits(:ada, 0, idempotency_key => 'credit') r;
SELECT pg_temp.same(pg_temp.original('adjust'), row_to_json(r)) FROM ducto_add_credits(:ada, -10, idempotency_key => 'adjust') r;
SELECT pg_temp.same(pg_temp.original('adjust'), row_to_json(r)) FROM ducto_add_credits(:ada, 5, 'purchase', idempotency_key => 'adjust') r;
SELECT pg_temp.same(pg_temp.original('reserve'), row_to_json(r)) FROM ducto_reserve(:ada, 30, 'chat', idempotency_key => 'hold', ttl_seconds => 100) r;
SELECT pg_temp.same(pg_temp.original('reserve'), row_to_json(r)) FROM ducto_reserve(:ada, 99999, 'image', '{"n": 2}', 0, 9, 'model-b', 'strict', max_concurrent => 1, idempotency_key => 'hold') r;
SELECT pg_temp.same(pg_temp.original('capture'), row_to_json(r)) FROM ducto_deduct(:ada, :'r', 5, 'capture', final => false) r;
SELECT pg_temp.same(pg_temp.original('capture'), row_to_json(r)) FROM ducto_deduct(:ada, :'r', 9999, 'capture', '{"n": 2}', 'model-b', 'full', true, false) r;
SELECT pg_temp.same(pg_temp.original('deduct'), row_to_json(r)) FROM ducto_deduct(:ada, :'r', 1000, 'deduct', overrun => 'clamp') r;
SELECT pg_temp.same(pg_temp.original('deduct'), row_to_json(r)) FROM ducto_deduct(:ada, :'r', 0, 'deduct') r;
SELECT pg_temp.same(pg_temp.original('refund'), row_to_json(r)) FROM ducto_refund(:'tx', 20, 'sorry', '{}', 'refund') r;
SELECT pg_temp.same(pg_temp.original('refund'), row_to_json(r)) FROM ducto_refund(:'tx', idempotency_key => 'refund') r;
SELECT pg_temp.same(pg_temp.original('charge'), row_to_json(r)) FROM ducto_charge(:ada, 3, 'charge', model => 'model-a') r;
SELECT pg_temp.same(pg_temp.original('charge'), row_to_json(r)) FROM ducto_charge(:ada, 99999, 'charge', '{"n": 2}', min_balance => 50000) r;
SELECT pg_temp.same(pg_temp.original('charge'), row_to_json(r)) FROM ducto_charge(:ada, 0, 'charge') r;
SELECT pg_temp.same(pg_temp.original('deduct 0'), row_to_json(r)) FROM ducto_deduct(:ada, :'z', 0, 'zero') r;
SELECT pg_temp.same(pg_temp.original('deduct 0'), row_to_json(r)) FROM ducto_deduct(:ada, :'z', 2, 'zero') r;

-- None of the retries moved anything.
SELECT balance, reserved, lifetime_purchased FROM ducto_get_balance(:ada);
SELECT type, amount, metadata, model FROM ducto_list_transactions(:ada);
SELECT amount, state, operation_type, metadata FROM ducto.reservations WHERE account_id = :ada ORDER BY id;

-- A retry of a reserve returns what was, even when the reservation was renewed, is closed or has expired.
SELECT new_balance FROM ducto_add_credits(:bob, 100);
INSERT INTO first (call, original) SELECT 'renewed', row_to_json(r) FROM ducto_reserve(:bob, 10, ttl_seconds => 60, idempotency_key => 'renewed') r;
SELECT error FROM ducto_renew(:bob, (pg_temp.original('renewed')->>'reservation_id')::uuid, 3600);
SELECT pg_temp.same(pg_temp.original('renewed'), row_to_json(r)) FROM ducto_reserve(:bob, 10, idempotency_key => 'renewed') r;
SELECT released FROM ducto_release(:bob, (pg_temp.original('renewed')->>'reservation_id')::uuid);
SELECT pg_temp.same(pg_temp.original('renewed'), row_to_json(r)) FROM ducto_reserve(:bob, 10, idempotency_key => 'renewed') r;
INSERT INTO first (call, original) SELECT 'expired', row_to_json(r) FROM ducto_reserve(:bob, 10, ttl_seconds => 1, idempotency_key => 'expired') r;
INSERT INTO first (call, original) SELECT 'grant', row_to_json(r) FROM ducto_add_credits(:bob, 10, 'promo', expires_at => clock_timestamp() + interval '0.5 s', idempotency_key => 'grant') r;
SELECT pg_sleep(1.1) \g /dev/null
SELECT pg_temp.same(pg_temp.original('expired'), row_to_json(r)) FROM ducto_reserve(:bob, 10, idempotency_key => 'expired') r;

-- A key is looked up before anything that depends on the time: a grant that was added in time may be retried when it has expired.
SELECT pg_temp.same(pg_temp.original('grant'), row_to_json(r)) FROM ducto_add_credits(:bob, 10, 'promo', expires_at => (pg_temp.original('grant')->>'expires_at')::timestamptz, idempotency_key => 'grant') r;
SELECT balance, reserved FROM ducto_get_balance(:bob);

-- Credits, debits and refunds share one set of keys: one that was used for another kind of operation, or another target, is a conflict that changes nothing.
SELECT new_balance FROM ducto_add_credits(:cyd, 100, idempotency_key => 'c');
SELECT transaction_id AS debit FROM ducto_charge(:cyd, 10, 'd') \gset
SELECT transaction_id AS other FROM ducto_charge(:cyd, 10) \gset
SELECT refund_transaction_id AS refund FROM ducto_refund(:'debit', 1, idempotency_key => 'r') \gset
SELECT reservation_id AS r1 FROM ducto_reserve(:cyd, 10) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:cyd, 10) \gset
SELECT reservation_id AS r3 FROM ducto_reserve(:cyd, 10) \gset
SELECT transaction_id AS settled FROM ducto_deduct(:cyd, :'r1', 10, 's') \gset
SELECT error FROM ducto_deduct(:cyd, :'r2', 0, 'z');
SELECT key, a.error AS credit, c.error AS charge, d.error AS deduct, z.error AS deduct_0, f.error AS refund
FROM unnest('{c,d,r,s,z}'::text[]) key, LATERAL ducto_add_credits(:cyd, 1, idempotency_key => key) a, LATERAL ducto_charge(:cyd, 1, key) c,
	LATERAL ducto_deduct(:cyd, :'r3', 1, key) d, LATERAL ducto_deduct(:cyd, :'r3', 0, key) z, LATERAL ducto_refund(:'other', 1, idempotency_key => key) f
ORDER BY key;
SELECT * FROM ducto_add_credits(:cyd, 1, 'purchase', idempotency_key => 'd');
SELECT * FROM ducto_charge(:cyd, 1, 'c');
SELECT * FROM ducto_deduct(:cyd, :'r3', 1, 'd');
SELECT refund_transaction_id, user_id, team_id, amount, new_balance, allowance_restored, idempotent, error FROM ducto_refund(:'other', 1, idempotency_key => 'd');
SELECT state, remaining FROM ducto.reservations WHERE id = :'r3';
SELECT balance, reserved FROM ducto_get_balance(:cyd);
SELECT count(*) FROM ducto.ledger WHERE account_id = :cyd;

-- Reserve has a set of its own, so that one request id serves its reserve and its deduct.
SELECT reservation_id AS r, idempotent, error FROM ducto_reserve(:cyd, 5, idempotency_key => 'request-1') \gset
SELECT amount, idempotent, error FROM ducto_deduct(:cyd, :'r', 4, 'request-1');
SELECT amount, reservation_id = :'r' AS the_same, idempotent, error FROM ducto_reserve(:cyd, 5, idempotency_key => 'request-1');
SELECT amount, idempotent, error FROM ducto_deduct(:cyd, :'r', 4, 'request-1');
SELECT amount, idempotent, error FROM ducto_reserve(:cyd, 5, idempotency_key => 'c');

-- A key belongs to one user: the same on another is another.
SELECT amount, new_balance, idempotent, error FROM ducto_add_credits(:dan, 50, idempotency_key => 'c');
SELECT amount, balance_after, idempotent, error FROM ducto_charge(:dan, 5, 'd');
SELECT amount, balance, idempotent, error FROM ducto_reserve(:dan, 5, idempotency_key => 'request-1');
SELECT amount, balance_after, idempotent, error FROM ducto_charge(:dan, 5, 'request-1');

-- Only successes are remembered: after a rejection the same key may be tried again, for whatever.
SELECT amount, error FROM ducto_charge(:eve, 5, 'k1');
SELECT amount, error FROM ducto_add_credits(:eve, -5, idempotency_key => 'k1');
SELECT amount, error FROM ducto_reserve(:eve, 5, idempotency_key => 'k1');
SELECT new_balance FROM ducto_add_credits(:eve, 100);
SELECT amount, idempotent, error FROM ducto_reserve(:eve, 5, idempotency_key => 'k1');
SELECT id AS r FROM ducto.reservations WHERE account_id = :eve \gset
SELECT amount, error FROM ducto_deduct(:eve, :'r', 500, 'k1');
SELECT amount, idempotent, error FROM ducto_deduct(:eve, :'r', 50, 'k1');
SELECT transaction_id AS tx FROM ducto_list_transactions(:eve, max_rows => 1) AS l(transaction_id) \gset
SELECT amount, error FROM ducto_refund(:'tx', 51, idempotency_key => 'k2');
SELECT amount, idempotent, error FROM ducto_refund(:'tx', 50, idempotency_key => 'k2');

-- A key is free again when its transaction was undone.
BEGIN;
SELECT amount, idempotent, error FROM ducto_charge(:eve, 1, 'k3');
ROLLBACK;
SELECT amount, idempotent, error FROM ducto_charge(:eve, 2, 'k3');
SELECT amount, idempotent, error FROM ducto_charge(:eve, 3, 'k3');

-- A retry in the same transaction is a retry.
BEGIN;
SELECT amount, idempotent, error FROM ducto_charge(:eve, 4, 'k4');
SELECT amount, idempotent, error FROM ducto_charge(:eve, 4, 'k4');
COMMIT;

-- A charge of 0 books nothing and is not remembered; a deduct of 0 is remembered by the reservation that it closed.
SELECT transaction_id, amount, idempotent, error FROM ducto_charge(:eve, 0, 'k5');
SELECT transaction_id IS NOT NULL AS booked, amount, idempotent, error FROM ducto_charge(:eve, 1, 'k5');
SELECT reservation_id AS r FROM ducto_reserve(:eve, 5) \gset
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:eve, :'r', 0, 'k6');
SELECT amount, balance_after FROM ducto_charge(:eve, 1);
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:eve, :'r', 0, 'k6');
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:eve, :'r', 5, 'k6');
SELECT amount, error FROM ducto_deduct(:eve, :'r', 0, 'k7');
SELECT amount, error FROM ducto_deduct(:eve, :'r', 0);

-- A key may have any 1 to 255 bytes, and differs by every one of them.
SELECT n, r.amount, r.idempotent, r.error
FROM (VALUES (1, 'a'), (2, 'A'), (3, ' a'), (4, chr(228)), (5, repeat('k', 255)), (6, repeat('k', 254)), (7, repeat(chr(228), 127)), (8, 'a'), (9, repeat('k', 255)), (10, repeat(chr(228), 127))) t (n, key),
	LATERAL ducto_add_credits(:fay, t.n, idempotency_key => t.key) r
ORDER BY n;

-- Metadata that names a key is the caller's own business, never the system's.
SELECT amount, idempotent, error FROM ducto_add_credits(:fay, 1, metadata => '{"idempotency_key": "meta", "model": "x", "type": "purchase"}');
SELECT amount, idempotent, error FROM ducto_add_credits(:fay, 2, idempotency_key => 'meta');
SELECT amount, type, model, idempotency_key, metadata FROM ducto_list_transactions(:fay, max_rows => 2);

SELECT * FROM ducto_verify();
