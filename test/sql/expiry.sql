-- expiry: an account with very many grants costs what it uses of them
\pset null -

\set ada '\'e9000000-0000-4000-8000-000000000001\''
\set bob '\'e9000000-0000-4000-8000-000000000002\''
\set cyd '\'e9000000-0000-4000-8000-000000000003\''
\set dan '\'e9000000-0000-4000-8000-000000000004\''
\set eve '\'e9000000-0000-4000-8000-000000000005\''

-- Gives a user grants of 1 credit, as if each had been added two hours ago. The first expires at a time, the next a while later each.
CREATE FUNCTION pg_temp.give(who uuid, n integer, first timestamptz, gap interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ducto.accounts (id, kind, created_at, updated_at) VALUES (who, 'user', now() - interval '2 hours', now() - interval '2 hours');
	WITH entries AS (
		INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, created_at, effective_at)
		SELECT who, i + 1, gen_random_uuid(), 1.0000, (i + 1)::numeric(20, 4), 'promo', 0.0000, first + i * gap, now() - interval '2 hours',
			now() - interval '2 hours' FROM generate_series(0, n - 1) AS i RETURNING *
	)
	INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
	SELECT account_id, id, seq, type, amount, amount, 50, expires_at, created_at, true FROM entries;
	UPDATE ducto.accounts SET balance = n::numeric(20, 4), expiring = n::numeric(20, 4), last_seq = n, next_boundary = first WHERE id = who;
$$;

-- What a statement does to the grants: rows updated, and rows read.
CREATE FUNCTION pg_temp.work(statement text) RETURNS TABLE (updated bigint, read bigint) LANGUAGE plpgsql AS $$
DECLARE
	updated_before bigint;
	read_before bigint;
BEGIN
	SELECT n_tup_upd, idx_tup_fetch + seq_tup_read INTO updated_before, read_before FROM pg_stat_xact_user_tables WHERE relid = 'ducto.grants'::regclass;
	EXECUTE statement;
	RETURN QUERY SELECT n_tup_upd - updated_before, idx_tup_fetch + seq_tup_read - read_before
		FROM pg_stat_xact_user_tables WHERE relid = 'ducto.grants'::regclass;
END $$;
CREATE FUNCTION pg_temp.live(who uuid) RETURNS TABLE (live boolean, grants bigint, remaining numeric) LANGUAGE sql
	AS $$ SELECT live, count(*), sum(remaining) FROM ducto.grants WHERE account_id = who GROUP BY live ORDER BY live $$;

-- Ada has 3,000 grants, most users have one. Statements that find her grants must not be planned as if she had one, too: each of these
-- reads what it needs, whatever the statistics say.
SELECT pg_temp.give(:ada, 3000, now() + interval '1 day', '1 s');
SELECT count(pg_temp.give(('e9000000-0000-4000-9000-' || lpad(i::text, 12, '0'))::uuid, 1, now() + interval '1 day', '0'))
FROM generate_series(1, 5000) AS i;
ANALYZE ducto.grants;
SELECT updated, read <= 4 AS few FROM pg_temp.work($$SELECT FROM ducto_get_balance('e9000000-0000-4000-8000-000000000001')$$);
SELECT updated, read <= 4 AS few FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000001', 0.5)$$);
SELECT updated, read <= 20 AS few FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000001', 2)$$);
SELECT updated, read <= 20 AS few FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000001', 2.5, idempotency_key => 'a')$$);
SELECT updated, read <= 20 AS few FROM pg_temp.work($$SELECT FROM ducto_refund((SELECT id FROM ducto.ledger WHERE idempotency_key = 'a'
	AND account_id = 'e9000000-0000-4000-8000-000000000001'))$$);
SELECT updated, read <= 6 * 1000 AS linear FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000001', 1000, idempotency_key => 'b')$$);
SELECT cardinality(burned_grants) AS burned FROM ducto.ledger WHERE account_id = :ada AND idempotency_key = 'b';
SELECT updated, read <= 6 * 1000 AS linear FROM pg_temp.work($$SELECT FROM ducto_refund((SELECT id FROM ducto.ledger WHERE idempotency_key = 'b'
	AND account_id = 'e9000000-0000-4000-8000-000000000001'))$$);
SELECT balance, next_expiry = (SELECT min(expires_at) FROM ducto.grants WHERE account_id = :ada AND live) AS next FROM ducto_get_balance(:ada);
SELECT * FROM pg_temp.live(:ada);
SELECT * FROM ducto_verify(:ada);

-- One of Bob's 3,000 is past its time: that one is looked at, and the next.
SELECT pg_temp.give(:bob, 3000, now() - interval '1 minute', '1 day');
SELECT updated, read <= 4 AS few FROM pg_temp.work($$SELECT FROM ducto_get_balance('e9000000-0000-4000-8000-000000000002')$$);
SELECT updated, read <= 6 AS few FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000002', 0.5)$$);
SELECT balance, next_expiry = (SELECT min(expires_at) FROM ducto.grants WHERE account_id = :bob AND live) AS next FROM ducto_get_balance(:bob);
SELECT * FROM pg_temp.live(:bob);
SELECT * FROM ducto_verify(:bob);

-- Cyd's 3,000 have all expired: each gets its entry, and is looked at twice.
SELECT pg_temp.give(:cyd, 3000, now() - interval '1 hour', '1 s');
SELECT updated, read <= 3000 AS linear FROM pg_temp.work($$SELECT FROM ducto_get_balance('e9000000-0000-4000-8000-000000000003')$$);
SELECT updated, read <= 2 * 3000 AS linear FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000003', 1)$$);
SELECT balance, next_expiry FROM ducto_get_balance(:cyd);
SELECT type, count(*), sum(amount), count(DISTINCT effective_at) AS moments FROM ducto.ledger WHERE account_id = :cyd GROUP BY type ORDER BY type;
SELECT count(*) AS at_their_time FROM ducto.ledger e JOIN ducto.grants g ON g.account_id = e.account_id AND g.id = e.reference
WHERE e.account_id = :cyd AND e.type = 'expiry' AND e.effective_at = g.expires_at AND e.amount = -g.amount;
SELECT * FROM ducto_verify(:cyd);

-- 1,000 of Dan's 3,000, and half of one, are kept by a hold past their time. What is spent of them comes first, and so it is when the hold ends.
SELECT pg_temp.give(:dan, 3000, now() - interval '1 minute', '1 ms');
INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
	reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
VALUES (:dan, 'e9000000-0000-4000-8000-00000000d000', 1000.5000, 1000.5000, 'usage', 'strict', 0.0000, 'open', 3000.0000, 1000.5000,
	now() + interval '1 day', false, 1000.5000, now() - interval '1 hour', now() + interval '1 day');
UPDATE ducto.accounts SET held = 1000.5000 WHERE id = :dan;
SELECT balance, reserved, available, next_expiry FROM ducto_get_balance(:dan);
SELECT balance_after, error FROM ducto_charge(:dan, 0.0001);
SELECT updated, read <= 2 * 1001 AS linear FROM pg_temp.work($$SELECT FROM ducto_charge('e9000000-0000-4000-8000-000000000004', 0.0001)$$);
SELECT * FROM pg_temp.live(:dan);
SELECT new_balance FROM ducto_add_credits(:dan, 10, 'promo', expires_at => now() + interval '1 day');
SELECT amount, balance_after, error FROM ducto_deduct(:dan, 'e9000000-0000-4000-8000-00000000d000', 2.25, idempotency_key => 'd', final => false);
SELECT cardinality(burned_grants) AS burned, burned_amounts, (SELECT bool_and(expires_at < now()) FROM ducto.grants g
	WHERE account_id = :dan AND g.id = ANY (burned_grants)) AS late_ones FROM ducto.ledger WHERE account_id = :dan AND idempotency_key = 'd';
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT * FROM ducto_verify(:dan);
SELECT amount, balance_after, error FROM ducto_deduct(:dan, 'e9000000-0000-4000-8000-00000000d000', 1000, idempotency_key => 'd2', overrun => 'clamp');
SELECT balance, reserved, available FROM ducto_get_balance(:dan);
SELECT * FROM pg_temp.live(:dan);
SELECT * FROM ducto_verify(:dan);

-- A deduct of 0 ends the hold that kept Fay's credit past its time. It tells what is left without that, and so does its retry.
\set fay '\'e9000000-0000-4000-8000-0000000000fa\''
SELECT pg_temp.give(:fay, 10, now() - interval '1 minute', '1 ms');
INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
	reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
VALUES (:fay, 'e9000000-0000-4000-8000-00000000f000', 10, 10, 'usage', 'strict', 0.0000, 'open', 10.0000, 10.0000,
	now() + interval '1 day', false, 10, now() - interval '1 hour', now() + interval '1 day');
UPDATE ducto.accounts SET held = 10.0000 WHERE id = :fay;
SELECT new_balance FROM ducto_add_credits(:fay, 3, 'purchase');
SELECT balance, reserved, available FROM ducto_get_balance(:fay);
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:fay, 'e9000000-0000-4000-8000-00000000f000', 0, 'nothing');
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:fay, 'e9000000-0000-4000-8000-00000000f000', 0, 'nothing');
SELECT balance, reserved, available FROM ducto_get_balance(:fay);
SELECT * FROM ducto_verify(:fay);

-- Grants that do not sum to what the account says are an error that names it, and no wrong entry.
SELECT pg_temp.give(:eve, 20, now() + interval '1 day', '1 s');
UPDATE ducto.grants SET remaining = 0.5000 WHERE account_id = :eve;
SELECT error FROM ducto_charge(:eve, 15);
UPDATE ducto.grants SET remaining = 1.0000 WHERE account_id = :eve;
SELECT balance_after, error FROM ducto_charge(:eve, 15);
SELECT * FROM ducto_verify();
