-- The credit lifecycle as a good application developer writes it in PL/pgSQL:
-- lock the account, look for the key, leave expired holds out, check, book. On
-- tables of the same shape as ducto's. It knows less than ducto: no grants,
-- no partial or late captures, no overdraft, errors instead of rejections.
CREATE SCHEMA plain;
SELECT format('CREATE TABLE plain.%I (LIKE ducto.%1$I INCLUDING ALL) WITH (%s)',
			  relname, coalesce(array_to_string(reloptions, ', '), 'fillfactor = 100'))
  FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' \gexec

CREATE TYPE plain.debit AS (
	transaction_id uuid, user_id uuid, amount numeric, balance_after numeric, idempotent boolean
);
CREATE TYPE plain.hold AS (
	reservation_id uuid, user_id uuid, amount numeric, balance numeric, reserved numeric, available numeric,
	expires_at timestamptz, idempotent boolean
);

-- What the open, unexpired reservations of a user hold.
CREATE FUNCTION plain.held(user_id uuid) RETURNS numeric LANGUAGE sql STABLE AS $$
	SELECT coalesce(sum(r.remaining), 0) FROM plain.reservations r
	 WHERE r.account_id = held.user_id AND r.state = 'open' AND r.expires_at > clock_timestamp()
$$;

CREATE FUNCTION plain.charge(
	user_id uuid, amount numeric, idempotency_key text DEFAULT NULL, metadata jsonb DEFAULT '{}',
	model text DEFAULT NULL, operation_type text DEFAULT 'usage'
) RETURNS plain.debit
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	acc plain.accounts;
	result plain.debit;
BEGIN
	IF charge.user_id IS NULL OR charge.amount IS NULL OR charge.amount <= 0 THEN
		RAISE EXCEPTION 'user_id and a positive amount are required';
	END IF;

	SELECT * INTO acc FROM plain.accounts WHERE id = charge.user_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'insufficient credits';
	END IF;

	IF charge.idempotency_key IS NOT NULL THEN
		SELECT l.id, l.account_id, -l.amount, l.balance_after, true INTO result
		  FROM plain.ledger l
		 WHERE l.account_id = charge.user_id AND l.idempotency_key = charge.idempotency_key;
		IF FOUND THEN
			RETURN result;
		END IF;
	END IF;

	IF acc.balance - plain.held(charge.user_id) < charge.amount THEN
		RAISE EXCEPTION 'insufficient credits';
	END IF;

	UPDATE plain.accounts
	   SET balance = balance - charge.amount, last_seq = last_seq + 1, updated_at = clock_timestamp()
	 WHERE id = charge.user_id
	RETURNING * INTO acc;

	INSERT INTO plain.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model,
							  idempotency_key, metadata, created_at, effective_at)
	VALUES (acc.id, acc.last_seq, gen_random_uuid(), -charge.amount, acc.balance, 'usage', charge.operation_type,
			charge.model, charge.idempotency_key, charge.metadata, acc.updated_at, acc.updated_at)
	RETURNING id, account_id, -amount, balance_after, false INTO result;
	RETURN result;
END
$$;

CREATE FUNCTION plain.reserve(
	user_id uuid, amount numeric, operation_type text DEFAULT 'usage', metadata jsonb DEFAULT '{}',
	min_balance numeric DEFAULT 5, ttl_seconds integer DEFAULT 600, model text DEFAULT NULL,
	idempotency_key text DEFAULT NULL
) RETURNS plain.hold
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	acc plain.accounts;
	held numeric;
	result plain.hold;
BEGIN
	IF reserve.user_id IS NULL OR reserve.amount IS NULL OR reserve.amount <= 0 THEN
		RAISE EXCEPTION 'user_id and a positive amount are required';
	END IF;

	SELECT * INTO acc FROM plain.accounts WHERE id = reserve.user_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'insufficient credits';
	END IF;

	IF reserve.idempotency_key IS NOT NULL THEN
		SELECT r.id, r.account_id, r.amount, r.balance_after, r.reserved_after, r.balance_after - r.reserved_after,
			   r.expires_at, true INTO result
		  FROM plain.reservations r
		 WHERE r.account_id = reserve.user_id AND r.idempotency_key = reserve.idempotency_key;
		IF FOUND THEN
			RETURN result;
		END IF;
	END IF;

	held := plain.held(reserve.user_id);
	IF acc.balance - held - reserve.amount < reserve.min_balance THEN
		RAISE EXCEPTION 'insufficient credits';
	END IF;
	held := held + reserve.amount;

	INSERT INTO plain.reservations (account_id, id, amount, remaining, operation_type, model, billing_mode, floor,
									state, idempotency_key, balance_after, reserved_after, first_expires_at,
									metadata, created_at, expires_at, skip_allowance, cap_held)
	VALUES (reserve.user_id, gen_random_uuid(), reserve.amount, reserve.amount, reserve.operation_type, reserve.model,
			'strict', reserve.min_balance, 'open', reserve.idempotency_key, acc.balance, held,
			clock_timestamp() + make_interval(secs => reserve.ttl_seconds), reserve.metadata, clock_timestamp(),
			clock_timestamp() + make_interval(secs => reserve.ttl_seconds), false, reserve.amount)
	RETURNING id, account_id, amount, acc.balance, held, acc.balance - held, expires_at, false INTO result;
	RETURN result;
END
$$;

CREATE FUNCTION plain.deduct(
	user_id uuid, reservation_id uuid, amount numeric, idempotency_key text DEFAULT NULL,
	metadata jsonb DEFAULT '{}', model text DEFAULT NULL
) RETURNS plain.debit
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
	acc plain.accounts;
	res plain.reservations;
	result plain.debit;
BEGIN
	IF deduct.user_id IS NULL OR deduct.reservation_id IS NULL OR deduct.amount IS NULL OR deduct.amount < 0 THEN
		RAISE EXCEPTION 'user_id, reservation_id and an amount are required';
	END IF;

	SELECT * INTO acc FROM plain.accounts WHERE id = deduct.user_id FOR NO KEY UPDATE;

	IF deduct.idempotency_key IS NOT NULL THEN
		SELECT l.id, l.account_id, -l.amount, l.balance_after, true INTO result
		  FROM plain.ledger l
		 WHERE l.account_id = deduct.user_id AND l.idempotency_key = deduct.idempotency_key;
		IF FOUND THEN
			RETURN result;
		END IF;
	END IF;

	SELECT * INTO res FROM plain.reservations r
	 WHERE r.account_id = deduct.user_id AND r.id = deduct.reservation_id FOR NO KEY UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'reservation not found';
	ELSIF res.state <> 'open' OR res.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'reservation is closed';
	ELSIF deduct.amount > res.remaining AND
		deduct.amount > acc.balance - plain.held(deduct.user_id) + res.remaining - res.floor THEN
		RAISE EXCEPTION 'insufficient credits';
	END IF;

	UPDATE plain.reservations r SET state = 'settled', remaining = 0, closed_at = clock_timestamp()
	 WHERE r.account_id = deduct.user_id AND r.id = deduct.reservation_id;

	UPDATE plain.accounts
	   SET balance = balance - deduct.amount, last_seq = last_seq + 1, updated_at = clock_timestamp()
	 WHERE id = deduct.user_id
	RETURNING * INTO acc;

	INSERT INTO plain.ledger (account_id, seq, id, amount, balance_after, type, operation_type, model,
							  idempotency_key, reference, metadata, created_at, effective_at)
	VALUES (acc.id, acc.last_seq, gen_random_uuid(), -deduct.amount, acc.balance, 'usage', res.operation_type,
			coalesce(deduct.model, res.model), deduct.idempotency_key, res.id, deduct.metadata,
			acc.updated_at, acc.updated_at)
	RETURNING id, account_id, -amount, balance_after, false INTO result;
	RETURN result;
END
$$;
