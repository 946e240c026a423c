-- sweep: it gets through whatever it meets, and does not do too much at once
-- In a database of its own: on a slow machine holds of other tests end meanwhile.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_ducto_sweep;
CREATE DATABASE regress_ducto_sweep TEMPLATE template0;
\set regression :DBNAME
\c regress_ducto_sweep
CREATE EXTENSION ducto;
\pset null -

-- The lowest ids of all users, so that a limited sweep starts with these, in their order.
\set ada '\'00000000-0000-4000-8000-0000005eeb01\''
\set bob '\'00000000-0000-4000-8000-0000005eeb02\''
\set cyd '\'00000000-0000-4000-8000-0000005eeb03\''
\set dan '\'00000000-0000-4000-8000-0000005eeb04\''
\set eve '\'00000000-0000-4000-8000-0000005eeb05\''
\set fay '\'00000000-0000-4000-8000-0000005eeb06\''
\set gus '\'00000000-0000-4000-8000-0000005eeb07\''

-- Makes a user who was given 10 credits two hours ago, and holds one of them; both were over an hour ago.
CREATE FUNCTION pg_temp.make(who uuid) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ducto.accounts (id, kind, balance, held, expiring, next_boundary, last_seq, created_at, updated_at)
	VALUES (who, 'user', 10.0000, 1.0000, 10.0000, now() - interval '1 hour', 1, now() - interval '2 hours', now() - interval '2 hours');
	WITH entry AS (
		INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, created_at, effective_at)
		VALUES (who, 1, gen_random_uuid(), 10.0000, 10.0000, 'promo', 0.0000, now() - interval '1 hour', now() - interval '2 hours',
			now() - interval '2 hours') RETURNING *
	)
	INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
	SELECT account_id, id, seq, type, amount, amount, 50, expires_at, created_at, true FROM entry;
	INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
		reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
	VALUES (who, gen_random_uuid(), 1.0000, 1.0000, 'usage', 'strict', 0.0000, 'open', 10.0000, 1.0000, now() - interval '1 hour', false,
		1.0000, now() - interval '2 hours', now() - interval '1 hour');
$$;
CREATE FUNCTION pg_temp.accounts() RETURNS TABLE (who text, balance numeric, held numeric, reservation text) LANGUAGE sql AS $$
	SELECT right(a.id::text, 2), a.balance, a.held, (SELECT string_agg(DISTINCT state, ', ') FROM ducto.reservations r WHERE r.account_id = a.id)
	FROM ducto.accounts a WHERE a.id::text LIKE '00000000-0000-4000-8000-0000005eeb%' ORDER BY a.id $$;
SELECT ducto_expire_reservations() >= 0 AND expired_count >= 0 AS others_are_swept FROM ducto_sweep_expired();

-- Bob's row is damaged. The others are swept; he is named.
SELECT pg_temp.make(('00000000-0000-4000-8000-0000005eeb0' || i)::uuid) FROM generate_series(1, 5) AS i;
UPDATE ducto.accounts SET held = 'NaN' WHERE id = :bob;
SELECT expired_count, expired_amount FROM ducto_sweep_expired(dry_run => true);
SELECT expired_count, expired_amount FROM ducto_sweep_expired(max_accounts => 2);
SELECT * FROM pg_temp.accounts();
SELECT ducto_expire_reservations(1);
SELECT * FROM pg_temp.accounts();
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM pg_temp.accounts();
UPDATE ducto.accounts SET held = 1.0000 WHERE id = :bob;
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM pg_temp.accounts();
SELECT * FROM ducto_verify();

-- A trigger of the application's refuses entries of some users: the reason is told. What was done before them in the same batch is done over.
SELECT pg_temp.make(('00000000-0000-4000-8000-0000005eec0' || i)::uuid) FROM generate_series(1, 5) AS i;
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not on my watch' USING DETAIL = 'It is night.', HINT = 'Wait for the day.', ERRCODE = '23514';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON ducto.ledger FOR EACH ROW
	WHEN (NEW.account_id IN ('00000000-0000-4000-8000-0000005eec02', '00000000-0000-4000-8000-0000005eec04')) EXECUTE FUNCTION pg_temp.refuse();
SELECT expired_count, expired_amount FROM ducto_sweep_expired(max_accounts => 1);
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT ducto_expire_reservations();
SELECT right(id::text, 2) AS left_out FROM ducto.accounts WHERE id::text LIKE '%5eec%' AND balance > 0 ORDER BY id;

-- The procedure goes on too, and rolls up the ledger in any case.
SELECT new_balance FROM ducto_add_credits(:fay, 5);
SELECT balance_after FROM ducto_charge(:fay, 2);
SET client_min_messages = warning;
CALL ducto_sweep();
CALL ducto_sweep(1);
RESET client_min_messages;
SELECT ducto_rollup() AS left_to_roll_up;
SELECT right(id::text, 2) AS left_out FROM ducto.accounts WHERE id::text LIKE '%5eec%' AND balance > 0 ORDER BY id;
DROP TRIGGER refuse ON ducto.ledger;
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM ducto_verify();

-- Who ends the statement ends the sweep: nothing of it is booked.
SELECT pg_temp.make(('00000000-0000-4000-8000-0000005eed0' || i)::uuid) FROM generate_series(1, 3) AS i;
CREATE FUNCTION pg_temp.interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('sweep.interrupt') = 'cancel' THEN
		PERFORM pg_cancel_backend(pg_backend_pid());
	END IF;
	PERFORM pg_sleep(60);
	RETURN NEW;
END $$;
CREATE TRIGGER interrupt BEFORE INSERT ON ducto.ledger FOR EACH ROW
	WHEN (NEW.account_id = '00000000-0000-4000-8000-0000005eed02') EXECUTE FUNCTION pg_temp.interrupt();
\set VERBOSITY terse
SET sweep.interrupt = 'cancel';
SELECT expired_count FROM ducto_sweep_expired();
SELECT count(*) FROM ducto.accounts WHERE id::text LIKE '%5eed%' AND balance > 0;
SET sweep.interrupt = 'timeout';
SET statement_timeout = '500ms';
SELECT ducto_expire_reservations();
RESET statement_timeout;
SELECT count(*) FROM ducto.accounts WHERE id::text LIKE '%5eed%' AND balance > 0;
DROP TRIGGER interrupt ON ducto.ledger;

-- Where nothing can be written it says so at once, and not for each account.
BEGIN READ ONLY;
SELECT expired_count FROM ducto_sweep_expired(dry_run => true);
SELECT expired_count FROM ducto_sweep_expired();
ROLLBACK;
SELECT expired_count FROM ducto_sweep_expired();
SELECT ducto_expire_reservations();
\set VERBOSITY default

-- An account with very much to do is done in parts, a transaction each: its money is right after each of them.
CREATE FUNCTION pg_temp.give(who uuid, n integer, moments integer, first timestamptz, gap interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ducto.accounts (id, kind, created_at, updated_at) VALUES (who, 'user', now() - interval '2 hours', now() - interval '2 hours');
	WITH entries AS (
		INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, created_at, effective_at)
		SELECT who, i, gen_random_uuid(), 1.0000, i::numeric(20, 4), 'promo', 0.0000, first + i % moments * gap, now() - interval '2 hours',
			now() - interval '2 hours' FROM generate_series(1, n) AS i RETURNING *
	)
	INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
	SELECT account_id, id, seq, type, amount, amount, 50, expires_at, created_at, true FROM entries;
	UPDATE ducto.accounts SET balance = n::numeric(20, 4), expiring = n::numeric(20, 4), last_seq = n, next_boundary = first WHERE id = who;
$$;
CREATE FUNCTION pg_temp.dead(who uuid, n integer, first timestamptz, gap interval) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
		reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
	SELECT who, gen_random_uuid(), 1.0000, 1.0000, 'usage', 'strict', 0.0000, 'open', n, i, first + i * gap, false, 1.0000,
		now() - interval '2 hours', first + i * gap FROM generate_series(1, n) AS i;
	UPDATE ducto.accounts SET held = held + n, next_boundary = least(next_boundary, first) WHERE id = who;
$$;
-- 12,000 grants, 4,000 at each of three moments, of which 6,000 are kept by holds that end one after the other.
SELECT pg_temp.give(:gus, 12000, 3, now() - interval '1 hour', '10 minutes');
SELECT pg_temp.dead(:gus, 6000, now() - interval '25 minutes', '1 ms');
SELECT balance, reserved FROM ducto_get_balance(:gus);
SELECT m, ducto_balance_at(:gus, now() - m * interval '1 minute') FROM unnest(ARRAY[65, 60, 55, 50, 45, 40, 35, 30, 20]) AS m;
SELECT ducto.sweep_accounts(ARRAY[:gus]::uuid[]) AS done;
SELECT balance, held, expiring, last_seq, next_boundary FROM ducto.accounts WHERE id = :gus;
SELECT balance, reserved FROM ducto_get_balance(:gus);
SELECT m, ducto_balance_at(:gus, now() - m * interval '1 minute') FROM unnest(ARRAY[65, 60, 55, 50, 45, 40, 35, 30, 20]) AS m;
SELECT * FROM ducto_verify(:gus);
SELECT ducto.sweep_accounts(ARRAY[:gus]::uuid[]) AS done;
SELECT balance, held, expiring, last_seq, next_boundary FROM ducto.accounts WHERE id = :gus;
SELECT m, ducto_balance_at(:gus, now() - m * interval '1 minute') FROM unnest(ARRAY[65, 60, 55, 50, 45, 40, 35, 30, 20]) AS m;
SELECT state, count(*) FROM ducto.reservations WHERE account_id = :gus GROUP BY state;
SELECT * FROM ducto_verify(:gus);

SELECT new_balance FROM ducto_add_credits(:fay, 21000);
SELECT pg_temp.dead(:fay, 21000, now() - interval '25 minutes', '1 ms');
CALL ducto_sweep();
SELECT state, count(*) FROM ducto.reservations WHERE account_id = :fay GROUP BY state;
SELECT ducto.sweep_accounts(ARRAY[NULL]::uuid[]);
SELECT * FROM ducto_verify();

\c :regression
DROP DATABASE regress_ducto_sweep;
