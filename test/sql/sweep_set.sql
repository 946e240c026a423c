-- sweep_set: accounts are swept together, and one that is in the way is found and left out
\pset null -

-- Users who were given 10 credits two hours ago, and hold one of them; both were over an hour ago.
CREATE FUNCTION pg_temp.who(i integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('00000000-0000-4000-8000-0000005ee' || lpad(i::text, 3, '0'))::uuid $$;
CREATE FUNCTION pg_temp.make(first integer, last integer) RETURNS void LANGUAGE sql AS $$
	INSERT INTO ducto.accounts (id, kind, balance, held, expiring, next_boundary, last_seq, created_at, updated_at)
	SELECT pg_temp.who(i), 'user', 10.0000, 1.0000, 10.0000, now() - interval '1 hour', 1, now() - interval '2 hours', now() - interval '2 hours'
	FROM generate_series(first, last) i;
	WITH entry AS (
		INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, lifetime_purchased, expires_at, created_at, effective_at)
		SELECT pg_temp.who(i), 1, gen_random_uuid(), 10.0000, 10.0000, 'promo', 0.0000, now() - interval '1 hour', now() - interval '2 hours',
			now() - interval '2 hours' FROM generate_series(first, last) i RETURNING *
	)
	INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
	SELECT account_id, id, seq, type, amount, amount, 50, expires_at, created_at, true FROM entry;
	INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
		reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
	SELECT pg_temp.who(i), gen_random_uuid(), 1.0000, 1.0000, 'usage', 'strict', 0.0000, 'open', 10.0000, 1.0000, now() - interval '1 hour', false,
		1.0000, now() - interval '2 hours', now() - interval '1 hour' FROM generate_series(first, last) i;
$$;
-- Which of them have something left.
CREATE FUNCTION pg_temp.left_out() RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(right(id::text, 3), ' ' ORDER BY id) FROM ducto.accounts WHERE id::text ~ '^00000000-0000-4000-8000-0000005ee[0-9]{3}$' AND (balance > 0 OR held > 0) $$;
-- Rows of each statement that writes the ledger.
CREATE TEMP TABLE written (rows bigint);
CREATE FUNCTION pg_temp.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO pg_temp.written SELECT count(*) FROM entries;
	RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT ON ducto.ledger REFERENCING NEW TABLE AS entries FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.note();
CREATE FUNCTION pg_temp.statements() RETURNS text LANGUAGE sql AS $$ WITH w AS (DELETE FROM written RETURNING rows) SELECT string_agg(rows::text, ' ') FROM w $$;
SELECT ducto_expire_reservations() >= 0 AND expired_count >= 0 AS others_are_swept FROM ducto_sweep_expired();

-- All entries are one statement's.
SELECT pg_temp.make(1, 20);
SELECT pg_temp.statements() IS NOT NULL AS forgotten;
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT pg_temp.statements(), pg_temp.left_out();
SELECT state, count(*), sum(remaining) FROM ducto.reservations WHERE account_id BETWEEN pg_temp.who(1) AND pg_temp.who(20) GROUP BY state;

-- As many as are asked for, and no more.
SELECT pg_temp.make(21, 50);
SELECT pg_temp.statements() IS NOT NULL AS forgotten;
SELECT expired_count, expired_amount FROM ducto_sweep_expired(max_accounts => 9);
SELECT pg_temp.statements(), pg_temp.left_out();
SELECT ducto_expire_reservations(12);
SELECT pg_temp.statements(), pg_temp.left_out();
SELECT ducto_expire_reservations(1);
SELECT pg_temp.left_out();
-- An account that has more than a set does is done alone, in its turn.
INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
	reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
SELECT pg_temp.who(45), gen_random_uuid(), 0.0100, 0.0100, 'usage', 'strict', 0.0000, 'open', 10.0000, 1.0000, now() - interval '1 hour', false,
	0.0100, now() - interval '2 hours', now() - interval '1 hour' FROM generate_series(1, 40);
UPDATE ducto.accounts SET held = held + 0.4 WHERE id = pg_temp.who(45);
SELECT ducto_expire_reservations();
SELECT rows, count(*) FROM written GROUP BY rows ORDER BY rows;
SELECT pg_temp.left_out(), count(*) FROM ducto.reservations WHERE account_id = pg_temp.who(45) AND state = 'expired';
SELECT * FROM ducto_verify();

-- One row is damaged: the others are swept one by one, and it is named.
SELECT pg_temp.make(51, 70);
UPDATE ducto.accounts SET held = 'NaN' WHERE id = pg_temp.who(60);
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT pg_temp.left_out();
SET client_min_messages = warning;
CALL ducto_sweep();
RESET client_min_messages;
UPDATE ducto.accounts SET held = 1.0000 WHERE id = pg_temp.who(60);
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM ducto_verify();

-- A trigger refuses the entries of some, another works on an account of the same set: that is possible where it is not worked on too.
SELECT pg_temp.make(71, 90);
CREATE FUNCTION pg_temp.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF NEW.account_id = pg_temp.who(77) THEN
		RAISE EXCEPTION 'not on my watch' USING HINT = 'Wait for the day.';
	END IF;
	PERFORM public.ducto_add_credits(pg_temp.who(90), 5);
	RETURN NEW;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON ducto.ledger FOR EACH ROW
	WHEN (NEW.account_id IN ('00000000-0000-4000-8000-0000005ee077', '00000000-0000-4000-8000-0000005ee079')) EXECUTE FUNCTION pg_temp.refuse();
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT pg_temp.left_out(), balance FROM ducto.accounts WHERE id = pg_temp.who(90);
DROP TRIGGER refuse ON ducto.ledger;
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT * FROM ducto_verify();

-- Who ends the statement ends the sweep: nothing of it is booked.
SELECT pg_temp.make(91, 110);
CREATE FUNCTION pg_temp.interrupt() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_cancel_backend(pg_backend_pid());
	PERFORM pg_sleep(60);
	RETURN NEW;
END $$;
CREATE TRIGGER interrupt BEFORE INSERT ON ducto.ledger FOR EACH ROW
	WHEN (NEW.account_id = '00000000-0000-4000-8000-0000005ee100') EXECUTE FUNCTION pg_temp.interrupt();
\set VERBOSITY terse
SELECT expired_count FROM ducto_sweep_expired();
\set VERBOSITY default
SELECT pg_temp.left_out();
DROP TRIGGER interrupt ON ducto.ledger;
DROP TRIGGER note ON ducto.ledger;
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT pg_temp.left_out();
SELECT * FROM ducto_verify();

-- What there is to tell of the holds that end is one statement's for all accounts, numbered after what was told before.
SELECT pg_temp.make(111, 130);
INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, billing_mode, floor, state, balance_after,
	reserved_after, first_expires_at, skip_allowance, cap_held, created_at, expires_at)
SELECT pg_temp.who(i), gen_random_uuid(), 1.0000, 1.0000, 'usage', 'strict', 0.0000, 'open', 10.0000, 1.0000, now() - interval '1 hour', false,
	1.0000, now() - interval '2 hours', now() - interval '1 hour' FROM generate_series(112, 113) i;
UPDATE ducto.accounts SET held = held + 1 WHERE id IN (pg_temp.who(112), pg_temp.who(113));
UPDATE ducto.accounts SET last_event = 7 WHERE id = pg_temp.who(113);
CREATE TEMP TABLE told (by text);
CREATE FUNCTION pg_temp.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO pg_temp.told VALUES (TG_TABLE_NAME); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON ducto.events FOR EACH STATEMENT EXECUTE FUNCTION pg_temp.tell();
SELECT expired_count, expired_amount FROM ducto_sweep_expired();
SELECT by, count(*) FROM told GROUP BY by ORDER BY by;
DROP TRIGGER tell ON ducto.events;
SELECT right(e.account_id::text, 3) AS who, number, e.user_id = e.account_id AS own, kind, payload ->> 'seq' AS seq, payload ->> 'balance' AS balance,
	payload ->> 'amount' AS amount, payload ->> 'operation_type' AS operation_type, payload ->> 'reservation_id' = r.id::text AS of_it
	FROM ducto.events e JOIN ducto.reservations r ON r.account_id = e.account_id AND r.id::text = payload ->> 'reservation_id'
	WHERE e.account_id BETWEEN pg_temp.who(111) AND pg_temp.who(114) ORDER BY e.account_id, number;
SELECT count(*), count(DISTINCT e.id), max(last_event) FROM ducto.events e JOIN ducto.accounts a ON a.id = account_id
	WHERE account_id BETWEEN pg_temp.who(111) AND pg_temp.who(130);
SELECT * FROM ducto_verify();
