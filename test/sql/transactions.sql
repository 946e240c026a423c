-- transactions: every call is a part of its caller's transaction

\set ada '\'74a00000-0000-4000-8000-000000000001\''
\set bob '\'74a00000-0000-4000-8000-000000000002\''
\set cyd '\'74a00000-0000-4000-8000-000000000003\''
\set dan '\'74a00000-0000-4000-8000-000000000004\''
\set eve '\'74a00000-0000-4000-8000-000000000005\''
\set new '\'74a00000-0000-4000-8000-0000000000ff\''

SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ada, 20, 'promo', expires_at => '2222-01-01');
SELECT reservation_id AS r1 FROM ducto_reserve(:ada, 10) \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ada, 10) \gset
SELECT transaction_id AS tx FROM ducto_charge(:ada, 30) \gset
SELECT new_balance FROM ducto_add_credits(:bob, 9, 'promo', expires_at => clock_timestamp() + interval '0.9 s');
SELECT error FROM ducto_reserve(:bob, 1, ttl_seconds => 1);
SELECT pg_sleep(1.1) \g /dev/null

-- state() is everything there is.
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT json_agg(t ORDER BY id) FROM ducto.accounts t), (SELECT json_agg(t ORDER BY account_id, seq) FROM ducto.ledger t),
		(SELECT json_agg(t ORDER BY account_id, id) FROM ducto.reservations t), (SELECT json_agg(t ORDER BY account_id, id) FROM ducto.grants t)))
$$;

-- ROLLBACK TO SAVEPOINT after any call undoes all of it, and nothing else.
BEGIN;
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT pg_temp.state() AS before \gset
SAVEPOINT s;
SELECT new_balance FROM ducto_add_credits(:ada, 5, 'purchase', idempotency_key => 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT new_balance FROM ducto_add_credits(:ada, 5, expires_at => '2222-01-02');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT new_balance FROM ducto_add_credits(:ada, -25);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT new_balance, idempotent FROM ducto_add_credits(:new, 0);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance, error FROM ducto_reserve(:new, 5, billing_mode => 'overdraft', overdraft_floor => -9);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT reserved, idempotent FROM ducto_reserve(:ada, 5, idempotency_key => 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT reserved, idempotent FROM ducto_reserve(:ada, 5, idempotency_key => 'k', max_concurrent => 99);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 4, 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 4, 'k', final => false);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 14, 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 0, 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT released FROM ducto_release(:ada, :'r1');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT error FROM ducto_renew(:ada, :'r1', 9999);
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after, idempotent FROM ducto_charge(:ada, 5, 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT new_balance, idempotent FROM ducto_refund(:'tx', idempotency_key => 'k');
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT expired_count >= 1 AS swept FROM ducto_sweep_expired();
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;
SELECT ducto_expire_reservations() >= 1 AS closed;
SELECT pg_temp.state() <> :'before' AS done;
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.state() = :'before' AS undone;

-- After all that the key is free, and what was undone can be done.
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 4, 'k');
RELEASE SAVEPOINT s;
COMMIT;
SELECT balance, reserved FROM ducto_get_balance(:ada);
SELECT balance_after, idempotent FROM ducto_deduct(:ada, :'r1', 4, 'k');

-- What a savepoint kept goes with the transaction.
SELECT pg_temp.state() AS before \gset
BEGIN;
SAVEPOINT s;
SELECT balance_after FROM ducto_charge(:ada, 5);
RELEASE SAVEPOINT s;
SELECT balance_after FROM ducto_charge(:ada, 6);
ROLLBACK;
SELECT pg_temp.state() = :'before' AS undone;

-- Undone or not, seq has no gap: it counts what is there.
BEGIN;
SELECT balance_after FROM ducto_charge(:ada, 1);
SAVEPOINT s;
SELECT balance_after FROM ducto_charge(:ada, 2);
SELECT balance_after FROM ducto_charge(:ada, 3);
ROLLBACK TO SAVEPOINT s;
SELECT balance_after FROM ducto_charge(:ada, 4);
COMMIT;
SELECT count(*) = max(seq) AS gapless, max(seq) FROM ducto.ledger WHERE account_id = :ada;

-- A caller's own error takes the charge back with it; in a block that catches it as well.
DO $$
BEGIN
	BEGIN
		PERFORM ducto_charge('74a00000-0000-4000-8000-000000000001', 7);
		RAISE EXCEPTION 'the job failed';
	EXCEPTION WHEN raise_exception THEN
	END;
	PERFORM ducto_charge('74a00000-0000-4000-8000-000000000001', 0.5);
END $$;
SELECT amount, balance_after FROM ducto_list_transactions(:ada, max_rows => 2);

-- Several calls in one statement see each other, and what was done before in the transaction is seen by its reads.
SELECT new_balance FROM ducto_add_credits(:cyd, 10);
BEGIN;
SELECT n, r.balance_after, r.error FROM generate_series(1, 4) n, LATERAL ducto_charge(:cyd, 3 + 0 * n) r;
SELECT balance, available FROM ducto_get_balance(:cyd);
SELECT affordable FROM ducto_can_afford(:cyd, 1);
SELECT count(*), max(total_count) FROM ducto_list_transactions(:cyd);
SELECT * FROM ducto_verify(:cyd);
ROLLBACK;
SELECT balance FROM ducto_get_balance(:cyd);

-- A read sees the snapshot of the statement that calls it, so a report is of one moment.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT balance FROM ducto_get_balance(:cyd);
SELECT balance_after, error FROM ducto_charge(:cyd, 1);
SELECT balance FROM ducto_get_balance(:cyd);
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT new_balance FROM ducto_add_credits(:cyd, 11);
SELECT reservation_id AS r FROM ducto_reserve(:cyd, 5, idempotency_key => 'serializable') \gset
SELECT balance_after, error FROM ducto_deduct(:cyd, :'r', 4, 'serializable');
SELECT idempotent, balance_after FROM ducto_deduct(:cyd, :'r', 4, 'serializable');
COMMIT;
SELECT balance, reserved FROM ducto_get_balance(:cyd);

-- In a READ ONLY transaction reads work, with what is due not booked and yet right.
BEGIN READ ONLY;
SELECT balance, reserved, available, next_expiry FROM ducto_get_balance(:bob);
SELECT count(*) FROM ducto_list_grants(:bob);
SELECT affordable, reason FROM ducto_can_afford(:bob, 1);
SELECT amount, type, total_count FROM ducto_list_transactions(:bob);
SELECT count(*) FROM ducto_list_usage_events(:ada);
SELECT ducto_balance_at(:bob, clock_timestamp());
SELECT * FROM ducto_verify();
SELECT expired_count >= 1 AS due FROM ducto_sweep_expired(dry_run => true);
COMMIT;

-- Writes give PostgreSQL's own error, whether or not there would be something to write.
CREATE FUNCTION pg_temp.try(call text, OUT state text, OUT result text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT r FROM ' || call || ' r' INTO result;
EXCEPTION WHEN OTHERS THEN
	state := SQLSTATE;
END $$;
BEGIN READ ONLY;
SELECT call, t.state FROM (VALUES (1, 'ducto_add_credits(USER, 1)'), (2, 'ducto_add_credits(USER, 0)'), (3, 'ducto_add_credits(USER, -1)'), (4, 'ducto_add_credits(USER, -1000)'), (5, 'ducto_add_credits(NEW, 1)'),
	(6, 'ducto_reserve(USER, 1)'), (7, 'ducto_reserve(USER, 1000)'), (8, 'ducto_reserve(NEW, 1)'), (9, 'ducto_deduct(USER, ID, 1)'), (10, 'ducto_deduct(USER, ID, 0)'), (11, 'ducto_release(USER, ID)'), (12, 'ducto_renew(USER, ID)'),
	(13, 'ducto_charge(USER, 1)'), (14, 'ducto_charge(USER, 0)'), (15, 'ducto_charge(USER, 1000)'), (16, 'ducto_refund(TX)'), (17, 'ducto_sweep_expired()'), (18, 'ducto_expire_reservations()'), (19, 'ducto_grant_access(CURRENT_ROLE::regrole)')) c (n, call),
	LATERAL pg_temp.try(replace(replace(replace(replace(call, 'USER', quote_literal(:ada)), 'NEW', quote_literal(:new)), 'ID', quote_literal(:'r2')), 'TX', quote_literal(:'tx'))) t ORDER BY n;
COMMIT;
SET default_transaction_read_only = on;
\set VERBOSITY sqlstate
SELECT ducto_charge(:ada, 1);
\set VERBOSITY default
SELECT balance FROM ducto_get_balance(:ada);
RESET default_transaction_read_only;

-- A cursor reads as of its own time.
BEGIN;
DECLARE c CURSOR FOR SELECT amount, balance_after FROM ducto_list_transactions(:cyd, max_rows => 2);
SELECT balance_after FROM ducto_charge(:cyd, 1);
FETCH ALL FROM c;
COMMIT;

-- Prepared statements go on when plans are thrown away.
PREPARE charge (uuid, numeric) AS SELECT amount, balance_after, error FROM ducto_charge($1, $2);
EXECUTE charge (:cyd, 0.25);
DISCARD PLANS;
EXECUTE charge (:cyd, 0.25);
SELECT balance FROM ducto_get_balance(:cyd);
DEALLOCATE charge;

-- The extension may be removed and made again in one session, and a rollback brings everything back.
SELECT pg_temp.state() AS before \gset
SET client_min_messages = warning;
BEGIN;
DROP EXTENSION ducto CASCADE;
CREATE EXTENSION ducto;
SELECT new_balance FROM ducto_add_credits(:cyd, 42, 'promo', expires_at => '2222-01-01');
SELECT error FROM ducto_reserve(:cyd, 5, idempotency_key => 'anew');
SELECT balance, reserved FROM ducto_get_balance(:cyd);
SELECT * FROM ducto_verify();
ROLLBACK;
RESET client_min_messages;
SELECT pg_temp.state() = :'before' AS undone;
SELECT balance_after FROM ducto_charge(:cyd, 0.5);

SELECT * FROM ducto_verify();
