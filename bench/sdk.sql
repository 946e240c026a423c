-- What the SDKs' functions replace: the same work in PL/pgSQL, with the same answers, on tables of the shape of the SDKs'.
-- They know less: what expires goes with a sweep, caps and leases are summed up by each call. Needs bench/setup.sql.
CREATE SCHEMA theirs;
CREATE TYPE theirs.credit_tx_type AS ENUM ('purchase', 'subscription', 'signup_bonus', 'usage', 'refund', 'adjustment', 'team_usage');

-- Each asks who calls, as the SDKs' do.
CREATE FUNCTION theirs.role() RETURNS text LANGUAGE sql STABLE AS $$
SELECT coalesce(nullif(current_setting('request.jwt.claim.role', true), ''), nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
$$;

CREATE TABLE theirs.credit_plans (id uuid PRIMARY KEY, plan_key text UNIQUE, name text NOT NULL, free_allowance numeric(18,4) NOT NULL DEFAULT 0,
	rate_overrides jsonb DEFAULT '{}', features jsonb DEFAULT '{}', default_billing_mode text NOT NULL DEFAULT 'strict', per_operation jsonb,
	max_concurrent integer, overdraft_floor numeric(18,4));
CREATE TABLE theirs.user_credits (user_id uuid PRIMARY KEY, balance numeric(18,4) NOT NULL DEFAULT 0, lifetime_purchased numeric(18,4) NOT NULL DEFAULT 0,
	plan_id uuid REFERENCES theirs.credit_plans, created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE theirs.credit_transactions (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES theirs.user_credits,
	amount numeric(18,4) NOT NULL, type theirs.credit_tx_type NOT NULL, reference_type text, reference_id uuid, metadata jsonb DEFAULT '{}',
	created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON theirs.credit_transactions (user_id, created_at DESC);
CREATE UNIQUE INDEX ON theirs.credit_transactions (user_id, (metadata ->> 'idempotency_key')) WHERE metadata ->> 'idempotency_key' IS NOT NULL;
CREATE TABLE theirs.credit_reservations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid NOT NULL REFERENCES theirs.user_credits,
	amount numeric(18,4) NOT NULL, operation_type text NOT NULL, metadata jsonb DEFAULT '{}', expires_at timestamptz NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(), status text NOT NULL DEFAULT 'active', billing_mode text, overdraft_floor numeric(18,4), settle_tx_id uuid);
CREATE INDEX ON theirs.credit_reservations (user_id, expires_at);
CREATE TABLE theirs.credit_pricing_config (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), config jsonb NOT NULL, active boolean NOT NULL, version integer UNIQUE,
	label text, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE theirs.credit_usage_window (user_id uuid, plan_id uuid, billing_period date, usage numeric(18,4) NOT NULL DEFAULT 0,
	PRIMARY KEY (user_id, plan_id, billing_period));
CREATE TABLE theirs.credit_teams (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL, balance numeric(18,4) NOT NULL DEFAULT 0,
	member_count integer NOT NULL DEFAULT 0);
CREATE TABLE theirs.credit_team_members (team_id uuid, user_id uuid, role text, spend_cap numeric(18,4), total_spent numeric(18,4) NOT NULL DEFAULT 0,
	joined_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (team_id, user_id));
CREATE TABLE theirs.credit_spend_caps (user_id uuid, cap_type text, model text, cap_limit numeric(18,4), action text);
CREATE UNIQUE INDEX ON theirs.credit_spend_caps (user_id, cap_type, coalesce(model, ''));

-- A trigger tells when a user's row was written; policies are for others than the owner.
CREATE FUNCTION theirs.handle_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	NEW.updated_at = now();
	RETURN NEW;
END $$;
CREATE TRIGGER set_user_credits_updated_at BEFORE UPDATE ON theirs.user_credits FOR EACH ROW EXECUTE FUNCTION theirs.handle_updated_at();
SELECT format('ALTER TABLE theirs.%I ENABLE ROW LEVEL SECURITY', tablename) FROM pg_tables WHERE schemaname = 'theirs' \gexec

CREATE FUNCTION theirs.get_credits_balance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_purchased numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT balance, lifetime_purchased INTO v_balance, v_purchased FROM theirs.user_credits WHERE user_id = p_user_id;
	RETURN jsonb_build_object('user_id', p_user_id, 'balance', coalesce(v_balance, 0)::text, 'lifetime_purchased', coalesce(v_purchased, 0)::text);
END $$;

CREATE FUNCTION theirs.get_available_credits(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_reserved numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT balance INTO v_balance FROM theirs.user_credits WHERE user_id = p_user_id;
	SELECT coalesce(sum(amount), 0) INTO v_reserved FROM theirs.credit_reservations
	WHERE user_id = p_user_id AND status = 'active' AND expires_at > now();
	v_balance := coalesce(v_balance, 0);
	RETURN jsonb_build_object('user_id', p_user_id, 'balance', v_balance::text, 'reserved', v_reserved::text, 'available', (v_balance - v_reserved)::text);
END $$;

CREATE FUNCTION theirs.credits_add(p_user_id uuid, p_amount numeric, p_type text DEFAULT 'adjustment', p_metadata jsonb DEFAULT NULL)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_purchased numeric;
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF p_amount IS NULL OR p_amount = 'NaN' OR (p_type <> 'adjustment' AND p_amount <= 0) THEN
		RETURN jsonb_build_object('error', 'invalid_amount', 'amount', p_amount);
	END IF;
	INSERT INTO theirs.user_credits AS u (user_id, balance, lifetime_purchased)
	VALUES (p_user_id, p_amount, CASE p_type WHEN 'purchase' THEN p_amount ELSE 0 END)
	ON CONFLICT (user_id) DO UPDATE SET balance = u.balance + p_amount,
		lifetime_purchased = u.lifetime_purchased + CASE p_type WHEN 'purchase' THEN p_amount ELSE 0 END
	RETURNING balance, lifetime_purchased INTO v_balance, v_purchased;
	INSERT INTO theirs.credit_transactions (user_id, amount, type, metadata) VALUES (p_user_id, p_amount, p_type::theirs.credit_tx_type, p_metadata)
	RETURNING id INTO v_id;
	RETURN jsonb_build_object('id', v_id, 'user_id', p_user_id, 'amount', p_amount::text, 'new_balance', v_balance::text,
		'lifetime_purchased', v_purchased::text);
END $$;

-- What the allowance has left, which plan it is of, and whether a cap denies.
CREATE FUNCTION theirs.allowance_left(p_user_id uuid, p_plan_id uuid) RETURNS numeric LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	v_free numeric;
	v_used numeric;
BEGIN
	IF p_plan_id IS NULL THEN
		RETURN 0;
	END IF;
	SELECT free_allowance INTO v_free FROM theirs.credit_plans WHERE id = p_plan_id;
	SELECT sum(usage) INTO v_used FROM theirs.credit_usage_window
	WHERE user_id = p_user_id AND plan_id = p_plan_id AND billing_period = date_trunc('month', now() AT TIME ZONE 'UTC')::date;
	RETURN greatest(coalesce(v_free, 0) - coalesce(v_used, 0), 0);
END $$;

CREATE FUNCTION theirs.deduct_with_allowance(p_user_id uuid, p_amount numeric, p_idempotency_key text DEFAULT NULL, p_min_balance numeric DEFAULT 0,
	p_model text DEFAULT NULL, p_metadata jsonb DEFAULT '{}', p_skip_allowance boolean DEFAULT false)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_plan uuid;
	v_free numeric := 0;
	v_used numeric;
	v_taken numeric := 0;
	v_cap record;
	v_spent numeric;
	v_warning text;
	v_id uuid;
	v_amount numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF p_amount IS NULL OR p_amount = 'NaN' OR p_amount <= 0 THEN
		RETURN jsonb_build_object('error', 'invalid_amount', 'amount', p_amount);
	END IF;
	SELECT balance, plan_id INTO v_balance, v_plan FROM theirs.user_credits WHERE user_id = p_user_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'insufficient_credits', 'balance_after', 0);
	END IF;
	IF p_idempotency_key IS NOT NULL THEN
		SELECT id, abs(amount) INTO v_id, v_amount FROM theirs.credit_transactions
		WHERE user_id = p_user_id AND metadata ->> 'idempotency_key' = p_idempotency_key;
		IF FOUND THEN
			RETURN jsonb_build_object('transaction_id', v_id, 'amount', v_amount::text, 'balance_after', v_balance::text, 'idempotent', true);
		END IF;
	END IF;
	IF v_plan IS NOT NULL AND NOT p_skip_allowance THEN
		SELECT free_allowance INTO v_free FROM theirs.credit_plans WHERE id = v_plan;
		SELECT coalesce(sum(usage), 0) INTO v_used FROM theirs.credit_usage_window
		WHERE user_id = p_user_id AND plan_id = v_plan AND billing_period = date_trunc('month', now() AT TIME ZONE 'UTC')::date;
		v_taken := least(greatest(v_free - v_used, 0), p_amount);
	END IF;
	v_amount := p_amount - v_taken;
	FOR v_cap IN SELECT action, cap_type, model, cap_limit FROM theirs.credit_spend_caps
		WHERE user_id = p_user_id AND (model IS NULL OR model = p_model) ORDER BY action = 'deny' DESC, cap_limit
	LOOP
		SELECT coalesce(sum(abs(amount)), 0) INTO v_spent FROM theirs.credit_transactions
		WHERE user_id = p_user_id AND type IN ('usage', 'team_usage') AND amount < 0
		AND created_at >= date_trunc(CASE v_cap.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END, now() AT TIME ZONE 'UTC')
		AND (v_cap.model IS NULL OR metadata ->> 'model' = v_cap.model);
		IF v_spent + v_amount > v_cap.cap_limit THEN
			IF v_cap.action = 'deny' THEN
				RETURN jsonb_build_object('error', 'cap_reached', 'balance_after', v_balance::text);
			END IF;
			v_warning := coalesce(v_warning, v_cap.action);
		END IF;
	END LOOP;
	IF v_balance - v_amount < p_min_balance THEN
		RETURN jsonb_build_object('error', 'insufficient_credits', 'balance_after', v_balance::text);
	END IF;
	IF v_taken > 0 THEN
		INSERT INTO theirs.credit_usage_window AS w VALUES (p_user_id, v_plan, date_trunc('month', now() AT TIME ZONE 'UTC')::date, v_taken)
		ON CONFLICT (user_id, plan_id, billing_period) DO UPDATE SET usage = w.usage + v_taken;
	END IF;
	UPDATE theirs.user_credits SET balance = balance - v_amount WHERE user_id = p_user_id RETURNING balance INTO v_balance;
	INSERT INTO theirs.credit_transactions (user_id, amount, type, reference_type, metadata)
	VALUES (p_user_id, -v_amount, 'usage', p_metadata ->> 'reference_type', coalesce(p_metadata, '{}')
		|| jsonb_strip_nulls(jsonb_build_object('idempotency_key', p_idempotency_key, 'model', p_model)) || jsonb_build_object('allowance_consumed', v_taken))
	RETURNING id INTO v_id;
	RETURN jsonb_build_object('transaction_id', v_id, 'amount', v_amount::text, 'allowance_consumed', v_taken::text, 'balance_after', v_balance::text,
		'idempotent', false, 'cap_warning', v_warning);
END $$;

CREATE FUNCTION theirs.create_lease(p_user_id uuid, p_amount numeric, p_operation_type text, p_billing_mode text DEFAULT 'strict',
	p_floor numeric DEFAULT 0, p_max_concurrent integer DEFAULT NULL, p_ttl_seconds integer DEFAULT 600, p_model text DEFAULT NULL,
	p_overdraft_floor numeric DEFAULT NULL, p_metadata jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_active integer;
	v_cap record;
	v_spent numeric;
	v_reserved numeric;
	v_id uuid;
	v_expires timestamptz;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF p_amount IS NULL OR p_amount = 'NaN' OR p_amount <= 0 THEN
		RETURN jsonb_build_object('error', 'invalid_amount', 'amount', p_amount);
	END IF;
	SELECT balance INTO v_balance FROM theirs.user_credits WHERE user_id = p_user_id FOR UPDATE;
	IF p_max_concurrent IS NOT NULL THEN
		SELECT count(*) INTO v_active FROM theirs.credit_reservations
		WHERE user_id = p_user_id AND operation_type = p_operation_type AND status = 'active' AND expires_at > now();
		IF v_active >= p_max_concurrent THEN
			RETURN jsonb_build_object('error', 'concurrency_limit');
		END IF;
	END IF;
	FOR v_cap IN SELECT cap_type, model, cap_limit FROM theirs.credit_spend_caps
		WHERE user_id = p_user_id AND action = 'deny' AND (model IS NULL OR model = p_model)
	LOOP
		SELECT coalesce(sum(abs(amount)), 0) INTO v_spent FROM theirs.credit_transactions
		WHERE user_id = p_user_id AND type IN ('usage', 'team_usage') AND amount < 0
		AND created_at >= date_trunc(CASE v_cap.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END, now() AT TIME ZONE 'UTC');
		IF v_spent + p_amount > v_cap.cap_limit THEN
			RETURN jsonb_build_object('error', 'cap_reached');
		END IF;
	END LOOP;
	SELECT coalesce(sum(amount), 0) INTO v_reserved FROM theirs.credit_reservations
	WHERE user_id = p_user_id AND status = 'active' AND expires_at > now();
	IF v_balance - v_reserved - p_amount < p_floor THEN
		RETURN jsonb_build_object('error', 'insufficient_credits', 'available', (v_balance - v_reserved)::text, 'reserved', v_reserved::text);
	END IF;
	v_expires := now() + make_interval(secs => p_ttl_seconds);
	INSERT INTO theirs.credit_reservations (user_id, amount, operation_type, metadata, expires_at, status, billing_mode, overdraft_floor)
	VALUES (p_user_id, p_amount, p_operation_type, coalesce(p_metadata, '{}'), v_expires, 'active', p_billing_mode, p_overdraft_floor)
	RETURNING id INTO v_id;
	RETURN jsonb_build_object('lease_id', v_id, 'user_id', p_user_id, 'amount', p_amount::text, 'available', (v_balance - v_reserved - p_amount)::text,
		'reserved', (v_reserved + p_amount)::text, 'billing_mode', p_billing_mode, 'expires_at', v_expires);
END $$;

CREATE FUNCTION theirs.settle_lease(p_user_id uuid, p_lease_id uuid, p_amount numeric, p_idempotency_key text DEFAULT NULL, p_min_balance numeric DEFAULT 0,
	p_model text DEFAULT NULL, p_metadata jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_plan uuid;
	v_status text;
	v_expires timestamptz;
	v_cap record;
	v_spent numeric;
	v_warning text;
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF p_amount IS NULL OR p_amount = 'NaN' OR p_amount < 0 THEN
		RETURN jsonb_build_object('error', 'invalid_amount', 'amount', p_amount);
	END IF;
	SELECT balance, plan_id INTO v_balance, v_plan FROM theirs.user_credits WHERE user_id = p_user_id FOR UPDATE;
	IF p_idempotency_key IS NOT NULL THEN
		SELECT id INTO v_id FROM theirs.credit_transactions WHERE user_id = p_user_id AND metadata ->> 'idempotency_key' = p_idempotency_key;
		IF FOUND THEN
			RETURN jsonb_build_object('transaction_id', v_id, 'balance_after', v_balance::text, 'idempotent', true);
		END IF;
	END IF;
	SELECT status, expires_at INTO v_status, v_expires FROM theirs.credit_reservations WHERE id = p_lease_id AND user_id = p_user_id FOR UPDATE;
	IF NOT FOUND OR v_status <> 'active' OR v_expires <= now() THEN
		RETURN jsonb_build_object('error', 'lease_not_found', 'balance_after', v_balance::text);
	END IF;
	FOR v_cap IN SELECT action, cap_type, model, cap_limit FROM theirs.credit_spend_caps
		WHERE user_id = p_user_id AND (model IS NULL OR model = p_model)
	LOOP
		SELECT coalesce(sum(abs(amount)), 0) INTO v_spent FROM theirs.credit_transactions
		WHERE user_id = p_user_id AND type IN ('usage', 'team_usage') AND amount < 0
		AND created_at >= date_trunc(CASE v_cap.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END, now() AT TIME ZONE 'UTC');
		IF v_spent + p_amount > v_cap.cap_limit THEN
			v_warning := v_cap.action;
		END IF;
	END LOOP;
	UPDATE theirs.user_credits SET balance = balance - p_amount WHERE user_id = p_user_id RETURNING balance INTO v_balance;
	INSERT INTO theirs.credit_transactions (user_id, amount, type, reference_type, metadata)
	VALUES (p_user_id, -p_amount, 'usage', p_metadata ->> 'reference_type', coalesce(p_metadata, '{}')
		|| jsonb_strip_nulls(jsonb_build_object('idempotency_key', p_idempotency_key, 'model', p_model)) || jsonb_build_object('allowance_consumed', 0))
	RETURNING id INTO v_id;
	UPDATE theirs.credit_reservations SET status = 'settled', settle_tx_id = v_id WHERE id = p_lease_id;
	RETURN jsonb_build_object('transaction_id', v_id, 'amount', p_amount::text, 'allowance_consumed', '0', 'balance_after', v_balance::text,
		'idempotent', false, 'cap_warning', v_warning);
END $$;

CREATE FUNCTION theirs.release_lease(p_user_id uuid, p_lease_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_status text;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT status INTO v_status FROM theirs.credit_reservations WHERE id = p_lease_id AND user_id = p_user_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('released', false, 'reason', 'not_found');
	ELSIF v_status <> 'active' THEN
		RETURN jsonb_build_object('released', false, 'reason', 'already_' || v_status);
	END IF;
	UPDATE theirs.credit_reservations SET status = 'released' WHERE id = p_lease_id;
	RETURN jsonb_build_object('released', true, 'reason', 'released');
END $$;

CREATE FUNCTION theirs.renew_lease(p_user_id uuid, p_lease_id uuid, p_ttl_seconds integer)
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_lease record;
	v_expires timestamptz := now() + make_interval(secs => p_ttl_seconds);
	v_balance numeric;
	v_reserved numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT status, amount, billing_mode, expires_at INTO v_lease FROM theirs.credit_reservations WHERE id = p_lease_id AND user_id = p_user_id FOR UPDATE;
	IF NOT FOUND OR v_lease.status <> 'active' OR v_lease.expires_at <= now() THEN
		RETURN jsonb_build_object('error', 'lease_not_found');
	END IF;
	UPDATE theirs.credit_reservations SET expires_at = v_expires WHERE id = p_lease_id;
	SELECT balance INTO v_balance FROM theirs.user_credits WHERE user_id = p_user_id;
	SELECT coalesce(sum(amount), 0) INTO v_reserved FROM theirs.credit_reservations
	WHERE user_id = p_user_id AND status = 'active' AND expires_at > now();
	RETURN jsonb_build_object('lease_id', p_lease_id, 'user_id', p_user_id, 'amount', v_lease.amount::text, 'available', (v_balance - v_reserved)::text,
		'reserved', v_reserved::text, 'billing_mode', v_lease.billing_mode, 'expires_at', v_expires);
END $$;

CREATE FUNCTION theirs.expire_due_leases() RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_count integer;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	UPDATE theirs.credit_reservations SET status = 'expired' WHERE status = 'active' AND expires_at <= now();
	GET DIAGNOSTICS v_count = ROW_COUNT;
	RETURN jsonb_build_object('expired_count', v_count);
END $$;

CREATE FUNCTION theirs.get_active_pricing_config() RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_row record;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT id, config, version, label INTO v_row FROM theirs.credit_pricing_config WHERE active LIMIT 1;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('id', v_row.id, 'config', v_row.config, 'version', v_row.version, 'label', v_row.label);
END $$;

CREATE FUNCTION theirs.get_pricing_config(p_version integer) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_row record;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT id, config, version, label INTO v_row FROM theirs.credit_pricing_config WHERE version = p_version;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('id', v_row.id, 'config', v_row.config, 'version', v_row.version, 'label', v_row.label);
END $$;

CREATE FUNCTION theirs.sync_plans(p_config jsonb) RETURNS void LANGUAGE plpgsql SET search_path = '' AS $$
DECLARE
	v_key text;
	v_plan jsonb;
BEGIN
	FOR v_key, v_plan IN SELECT * FROM jsonb_each(coalesce(p_config -> 'plans', '{}')) LOOP
		INSERT INTO theirs.credit_plans (id, plan_key, name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor)
		VALUES (gen_random_uuid(), v_key, coalesce(v_plan ->> 'name', v_key), coalesce((v_plan ->> 'free_allowance')::numeric, 0),
			coalesce(v_plan -> 'features', '{}'), coalesce(v_plan ->> 'default_billing_mode', 'strict'), v_plan -> 'per_operation',
			(v_plan ->> 'max_concurrent')::integer, (v_plan ->> 'overdraft_floor')::numeric)
		ON CONFLICT (plan_key) DO UPDATE SET name = excluded.name, free_allowance = excluded.free_allowance, features = excluded.features,
			default_billing_mode = excluded.default_billing_mode, per_operation = excluded.per_operation,
			max_concurrent = excluded.max_concurrent, overdraft_floor = excluded.overdraft_floor;
	END LOOP;
END $$;

CREATE FUNCTION theirs.set_active_pricing_config(p_config jsonb, p_label text DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_id uuid;
	v_version integer;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	PERFORM pg_advisory_xact_lock(4711);
	SELECT coalesce(max(version), 0) + 1 INTO v_version FROM theirs.credit_pricing_config;
	UPDATE theirs.credit_pricing_config SET active = false WHERE active;
	INSERT INTO theirs.credit_pricing_config (config, active, version, label) VALUES (p_config, true, v_version, p_label) RETURNING id INTO v_id;
	PERFORM theirs.sync_plans(p_config);
	RETURN jsonb_build_object('id', v_id, 'version', v_version, 'active', true);
END $$;

CREATE FUNCTION theirs.get_pricing_configs() RETURNS SETOF jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT jsonb_build_object('id', id, 'version', version, 'label', label, 'active', active, 'created_at', created_at)
	FROM theirs.credit_pricing_config ORDER BY version DESC;
END $$;

CREATE FUNCTION theirs.get_pricing_history() RETURNS TABLE (id uuid, version integer, label text, active boolean, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	RETURN QUERY SELECT c.id, c.version, c.label, c.active, c.created_at FROM theirs.credit_pricing_config c ORDER BY c.version DESC;
END $$;

CREATE FUNCTION theirs.activate_pricing_config(p_version integer) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_row record;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	PERFORM pg_advisory_xact_lock(4711);
	SELECT id, config INTO v_row FROM theirs.credit_pricing_config WHERE version = p_version;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'version_not_found');
	END IF;
	UPDATE theirs.credit_pricing_config SET active = false WHERE active;
	UPDATE theirs.credit_pricing_config SET active = true WHERE version = p_version;
	PERFORM theirs.sync_plans(v_row.config);
	RETURN jsonb_build_object('id', v_row.id, 'version', p_version, 'active', true);
END $$;

CREATE FUNCTION theirs.activate_pricing(p_version integer) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	RETURN theirs.activate_pricing_config(p_version);
END $$;

CREATE FUNCTION theirs.get_user_plan(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_plan record;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT p.* INTO v_plan FROM theirs.user_credits u LEFT JOIN theirs.credit_plans p ON p.id = u.plan_id WHERE u.user_id = p_user_id;
	RETURN jsonb_build_object('user_id', p_user_id, 'plan_id', v_plan.id, 'plan_name', v_plan.name,
		'free_allowance', coalesce(v_plan.free_allowance, 0)::text, 'features', coalesce(v_plan.features, '{}'),
		'default_billing_mode', coalesce(v_plan.default_billing_mode, 'strict'), 'per_operation', coalesce(v_plan.per_operation, '{}'),
		'max_concurrent', v_plan.max_concurrent, 'overdraft_floor', v_plan.overdraft_floor::text);
END $$;

CREATE FUNCTION theirs.set_user_plan(p_user_id uuid, p_plan_key text) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT id INTO v_id FROM theirs.credit_plans WHERE plan_key = p_plan_key;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'plan_not_found');
	END IF;
	INSERT INTO theirs.user_credits (user_id, plan_id) VALUES (p_user_id, v_id)
	ON CONFLICT (user_id) DO UPDATE SET plan_id = v_id;
	RETURN jsonb_build_object('user_id', p_user_id, 'plan_id', v_id);
END $$;

CREATE FUNCTION theirs.check_plan_allowance(p_user_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_plan uuid;
	v_start date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT plan_id INTO v_plan FROM theirs.user_credits WHERE user_id = p_user_id;
	IF v_plan IS NULL THEN
		RETURN jsonb_build_object('allowance_remaining', '0');
	END IF;
	RETURN jsonb_build_object('plan_id', v_plan, 'allowance_remaining', theirs.allowance_left(p_user_id, v_plan)::text,
		'period_start', v_start, 'period_end', (v_start + interval '1 month' - interval '1 day')::date);
END $$;

CREATE FUNCTION theirs.increment_usage_window(p_user_id uuid, p_plan_id uuid, p_amount numeric) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_start date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
	v_usage numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	INSERT INTO theirs.credit_usage_window AS w VALUES (p_user_id, p_plan_id, v_start, p_amount)
	ON CONFLICT (user_id, plan_id, billing_period) DO UPDATE SET usage = w.usage + p_amount RETURNING usage INTO v_usage;
	RETURN jsonb_build_object('usage', v_usage::text, 'period_start', v_start);
END $$;

CREATE FUNCTION theirs.check_spend_cap(p_user_id uuid, p_model text DEFAULT NULL, p_amount numeric DEFAULT 0) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_cap record;
	v_spent numeric;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	FOR v_cap IN SELECT cap_type, model, cap_limit, action FROM theirs.credit_spend_caps
		WHERE user_id = p_user_id AND (model IS NULL OR model = p_model) ORDER BY action = 'deny' DESC, cap_limit
	LOOP
		SELECT coalesce(sum(abs(amount)), 0) INTO v_spent FROM theirs.credit_transactions
		WHERE user_id = p_user_id AND type IN ('usage', 'team_usage') AND amount < 0
		AND created_at >= date_trunc(CASE v_cap.cap_type WHEN 'daily' THEN 'day' ELSE 'month' END, now() AT TIME ZONE 'UTC')
		AND (v_cap.model IS NULL OR metadata ->> 'model' = v_cap.model);
		IF v_spent + p_amount > v_cap.cap_limit THEN
			RETURN jsonb_build_object('capped', true, 'current_spend', v_spent::text, 'cap_limit', v_cap.cap_limit::text, 'action', v_cap.action,
				'model', v_cap.model);
		END IF;
	END LOOP;
	RETURN jsonb_build_object('capped', false, 'current_spend', '0', 'cap_limit', NULL, 'action', NULL, 'model', NULL);
END $$;

CREATE FUNCTION theirs.refund_credits(p_transaction_id uuid, p_amount numeric DEFAULT NULL, p_reason text DEFAULT NULL, p_metadata jsonb DEFAULT '{}')
RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_debit record;
	v_refunded numeric;
	v_amount numeric;
	v_balance numeric;
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT user_id, amount, type INTO v_debit FROM theirs.credit_transactions WHERE id = p_transaction_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'not_found');
	ELSIF v_debit.amount >= 0 THEN
		RETURN jsonb_build_object('error', 'over_refund', 'user_id', v_debit.user_id);
	END IF;
	SELECT balance INTO v_balance FROM theirs.user_credits WHERE user_id = v_debit.user_id FOR UPDATE;
	SELECT coalesce(sum(amount), 0) INTO v_refunded FROM theirs.credit_transactions
	WHERE user_id = v_debit.user_id AND type = 'refund' AND reference_id = p_transaction_id;
	v_amount := coalesce(p_amount, -v_debit.amount - v_refunded);
	IF v_amount <= 0 OR v_refunded + v_amount > -v_debit.amount THEN
		RETURN jsonb_build_object('error', 'over_refund', 'user_id', v_debit.user_id, 'new_balance', v_balance::text);
	END IF;
	UPDATE theirs.user_credits SET balance = balance + v_amount WHERE user_id = v_debit.user_id RETURNING balance INTO v_balance;
	INSERT INTO theirs.credit_transactions (user_id, amount, type, reference_type, reference_id, metadata)
	VALUES (v_debit.user_id, v_amount, 'refund', 'refund', p_transaction_id, coalesce(p_metadata, '{}') || jsonb_strip_nulls(jsonb_build_object('reason', p_reason)))
	RETURNING id INTO v_id;
	RETURN jsonb_build_object('refund_transaction_id', v_id, 'user_id', v_debit.user_id, 'amount', v_amount::text, 'new_balance', v_balance::text);
END $$;

CREATE FUNCTION theirs.spend_by_user(p_start timestamptz, p_end timestamptz) RETURNS TABLE (user_id text, total_spend numeric, transaction_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	RETURN QUERY SELECT t.user_id::text, sum(abs(t.amount)), count(*) FROM theirs.credit_transactions t
	WHERE t.type IN ('usage', 'team_usage') AND t.created_at BETWEEN p_start AND p_end GROUP BY t.user_id ORDER BY 2 DESC;
END $$;

CREATE FUNCTION theirs.spend_by_model(p_start timestamptz, p_end timestamptz) RETURNS TABLE (model text, total_spend numeric, transaction_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	RETURN QUERY SELECT coalesce(t.metadata ->> 'model', 'unknown'), sum(abs(t.amount)), count(*) FROM theirs.credit_transactions t
	WHERE t.type IN ('usage', 'team_usage') AND t.created_at BETWEEN p_start AND p_end GROUP BY 1 ORDER BY 2 DESC;
END $$;

CREATE FUNCTION theirs.top_users(p_limit integer, p_start timestamptz, p_end timestamptz) RETURNS TABLE (user_id text, total_spend numeric)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	RETURN QUERY SELECT t.user_id::text, sum(abs(t.amount)) FROM theirs.credit_transactions t
	WHERE t.type IN ('usage', 'team_usage') AND t.created_at BETWEEN p_start AND p_end GROUP BY t.user_id ORDER BY 2 DESC LIMIT p_limit;
END $$;

CREATE FUNCTION theirs.daily_spend(p_start timestamptz, p_end timestamptz) RETURNS TABLE (date text, total_spend numeric, transaction_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	RETURN QUERY SELECT to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), sum(abs(t.amount)), count(*) FROM theirs.credit_transactions t
	WHERE t.type IN ('usage', 'team_usage') AND t.created_at BETWEEN p_start AND p_end GROUP BY 1 ORDER BY 1;
END $$;

CREATE FUNCTION theirs.aggregate_stats(p_start timestamptz, p_end timestamptz) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_total numeric;
	v_users bigint;
	v_days bigint;
	v_model text;
	v_user text;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT coalesce(sum(abs(amount)), 0), count(DISTINCT user_id), count(DISTINCT (created_at AT TIME ZONE 'UTC')::date) INTO v_total, v_users, v_days
	FROM theirs.credit_transactions WHERE type IN ('usage', 'team_usage') AND created_at BETWEEN p_start AND p_end;
	SELECT m.model INTO v_model FROM theirs.spend_by_model(p_start, p_end) m LIMIT 1;
	SELECT u.user_id INTO v_user FROM theirs.spend_by_user(p_start, p_end) u LIMIT 1;
	RETURN jsonb_build_object('total_credits_consumed', v_total::text, 'active_users', v_users, 'avg_daily_spend', (v_total / greatest(v_days, 1))::text,
		'top_model', coalesce(v_model, ''), 'top_user', coalesce(v_user, ''));
END $$;

CREATE FUNCTION theirs.list_user_transactions(p_user_id uuid, p_types text[] DEFAULT NULL, p_from_date timestamptz DEFAULT NULL,
	p_to_date timestamptz DEFAULT NULL, p_limit integer DEFAULT 50, p_offset integer DEFAULT 0)
RETURNS TABLE (id uuid, user_id uuid, amount numeric, type text, reference_type text, reference_id uuid, metadata jsonb, created_at timestamptz, total_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_total bigint;
BEGIN
	SELECT count(*) INTO v_total FROM theirs.credit_transactions t
	WHERE t.user_id = p_user_id AND (p_types IS NULL OR t.type::text = ANY (p_types)) AND (p_from_date IS NULL OR t.created_at >= p_from_date)
	AND (p_to_date IS NULL OR t.created_at <= p_to_date);
	RETURN QUERY SELECT t.id, t.user_id, t.amount, t.type::text, t.reference_type, t.reference_id, t.metadata, t.created_at, v_total
	FROM theirs.credit_transactions t
	WHERE t.user_id = p_user_id AND (p_types IS NULL OR t.type::text = ANY (p_types)) AND (p_from_date IS NULL OR t.created_at >= p_from_date)
	AND (p_to_date IS NULL OR t.created_at <= p_to_date)
	ORDER BY t.created_at DESC LIMIT p_limit OFFSET p_offset;
END $$;

CREATE FUNCTION theirs.list_usage_events(p_user_id uuid, p_from_date timestamptz DEFAULT NULL, p_to_date timestamptz DEFAULT NULL,
	p_limit integer DEFAULT 50, p_offset integer DEFAULT 0)
RETURNS TABLE (id uuid, user_id uuid, amount numeric, type text, reference_type text, reference_id uuid, metadata jsonb, created_at timestamptz, total_count bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_total bigint;
BEGIN
	SELECT count(*) INTO v_total FROM theirs.credit_transactions t
	WHERE t.user_id = p_user_id AND t.type = 'usage' AND (p_from_date IS NULL OR t.created_at >= p_from_date)
	AND (p_to_date IS NULL OR t.created_at <= p_to_date);
	RETURN QUERY SELECT t.id, t.user_id, t.amount, t.type::text, t.reference_type, t.reference_id, t.metadata, t.created_at, v_total
	FROM theirs.credit_transactions t
	WHERE t.user_id = p_user_id AND t.type = 'usage' AND (p_from_date IS NULL OR t.created_at >= p_from_date)
	AND (p_to_date IS NULL OR t.created_at <= p_to_date)
	ORDER BY t.created_at DESC LIMIT p_limit OFFSET p_offset;
END $$;

CREATE FUNCTION theirs.create_team(p_name text, p_initial_balance numeric DEFAULT 0) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	INSERT INTO theirs.credit_teams (name, balance) VALUES (p_name, p_initial_balance) RETURNING id INTO v_id;
	RETURN jsonb_build_object('team_id', v_id, 'name', p_name);
END $$;

CREATE FUNCTION theirs.get_team_balance(p_team_id uuid) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_team record;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	SELECT id, name, balance, member_count INTO v_team FROM theirs.credit_teams WHERE id = p_team_id;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'team_not_found');
	END IF;
	RETURN jsonb_build_object('team_id', v_team.id, 'name', v_team.name, 'balance', v_team.balance::text, 'member_count', v_team.member_count);
END $$;

CREATE FUNCTION theirs.add_team_member(p_team_id uuid, p_user_id uuid, p_role text DEFAULT 'member', p_spend_cap numeric DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF NOT EXISTS (SELECT FROM theirs.credit_teams WHERE id = p_team_id) THEN
		RETURN jsonb_build_object('error', 'team_not_found');
	END IF;
	INSERT INTO theirs.user_credits (user_id) VALUES (p_user_id) ON CONFLICT (user_id) DO NOTHING;
	INSERT INTO theirs.credit_team_members (team_id, user_id, role, spend_cap) VALUES (p_team_id, p_user_id, p_role, p_spend_cap)
	ON CONFLICT (team_id, user_id) DO UPDATE SET role = p_role, spend_cap = p_spend_cap;
	UPDATE theirs.credit_teams SET member_count = (SELECT count(*) FROM theirs.credit_team_members WHERE team_id = p_team_id) WHERE id = p_team_id;
	RETURN jsonb_build_object('team_id', p_team_id, 'user_id', p_user_id, 'role', p_role);
END $$;

-- What a member spent is the month's entries of the team, as the SDKs' sum it up.
CREATE FUNCTION theirs.get_team_members(p_team_id uuid) RETURNS SETOF jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT jsonb_build_object('user_id', m.user_id, 'role', m.role, 'spend_cap', m.spend_cap::text, 'total_spent',
		coalesce(sum(abs(t.amount)) FILTER (WHERE t.type = 'team_usage' AND t.created_at >= date_trunc('month', now() AT TIME ZONE 'UTC')), 0)::text,
		'joined_at', m.joined_at)
	FROM theirs.credit_team_members m
	LEFT JOIN theirs.credit_transactions t ON t.user_id = m.user_id AND t.metadata ->> 'team_id' = p_team_id::text
	WHERE m.team_id = p_team_id GROUP BY m.user_id, m.role, m.spend_cap, m.joined_at ORDER BY m.joined_at;
END $$;

CREATE FUNCTION theirs.deduct_team(p_team_id uuid, p_user_id uuid, p_amount numeric, p_metadata jsonb DEFAULT '{}') RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_balance numeric;
	v_member record;
	v_key text := p_metadata ->> 'idempotency_key';
	v_id uuid;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	IF p_amount IS NULL OR p_amount = 'NaN' OR p_amount <= 0 THEN
		RETURN jsonb_build_object('error', 'invalid_amount', 'amount', p_amount);
	END IF;
	SELECT balance INTO v_balance FROM theirs.credit_teams WHERE id = p_team_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'team_not_found');
	END IF;
	IF v_key IS NOT NULL THEN
		SELECT id INTO v_id FROM theirs.credit_transactions WHERE user_id = p_user_id AND metadata ->> 'idempotency_key' = v_key;
		IF FOUND THEN
			RETURN jsonb_build_object('transaction_id', v_id, 'team_balance_after', v_balance::text, 'idempotent', true);
		END IF;
	END IF;
	SELECT spend_cap, total_spent INTO v_member FROM theirs.credit_team_members WHERE team_id = p_team_id AND user_id = p_user_id FOR UPDATE;
	IF NOT FOUND THEN
		RETURN jsonb_build_object('error', 'user_not_in_team', 'team_balance_after', v_balance::text);
	ELSIF v_member.spend_cap IS NOT NULL AND v_member.total_spent + p_amount > v_member.spend_cap THEN
		RETURN jsonb_build_object('error', 'cap_reached', 'team_balance_after', v_balance::text);
	ELSIF v_balance < p_amount THEN
		RETURN jsonb_build_object('error', 'insufficient_credits', 'team_balance_after', v_balance::text);
	END IF;
	UPDATE theirs.credit_teams SET balance = balance - p_amount WHERE id = p_team_id RETURNING balance INTO v_balance;
	UPDATE theirs.credit_team_members SET total_spent = total_spent + p_amount WHERE team_id = p_team_id AND user_id = p_user_id;
	INSERT INTO theirs.credit_transactions (user_id, amount, type, metadata)
	VALUES (p_user_id, -p_amount, 'team_usage', coalesce(p_metadata, '{}') || jsonb_build_object('team_id', p_team_id)) RETURNING id INTO v_id;
	RETURN jsonb_build_object('transaction_id', v_id, 'team_id', p_team_id, 'user_id', p_user_id, 'amount', (-p_amount)::text,
		'team_balance_after', v_balance::text, 'idempotent', false);
END $$;

CREATE FUNCTION theirs.expire_credits(p_dry_run boolean DEFAULT false) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
DECLARE
	v_grant record;
	v_count integer := 0;
	v_amount numeric := 0;
BEGIN
	IF theirs.role() IS DISTINCT FROM 'service_role' THEN
		RETURN '{"error": "unauthorized"}';
	END IF;
	FOR v_grant IN SELECT id, user_id, amount FROM theirs.credit_transactions WHERE metadata ->> 'expires_at' IS NOT NULL
		AND metadata ->> 'swept_at' IS NULL AND (metadata ->> 'expires_at')::timestamptz <= now()
	LOOP
		v_count := v_count + 1;
		v_amount := v_amount + v_grant.amount;
		IF NOT p_dry_run THEN
			UPDATE theirs.user_credits SET balance = greatest(balance - v_grant.amount, 0) WHERE user_id = v_grant.user_id;
			INSERT INTO theirs.credit_transactions (user_id, amount, type, metadata)
			VALUES (v_grant.user_id, -v_grant.amount, 'adjustment', '{"reason": "credit_expired"}');
			UPDATE theirs.credit_transactions SET metadata = metadata || '{"swept_at": "now"}' WHERE id = v_grant.id;
		END IF;
	END LOOP;
	RETURN jsonb_build_object('expired_count', v_count, 'expired_amount', v_amount::text, 'dry_run', p_dry_run);
END $$;
