-- plan: plans, allowances and spend caps.

CREATE FUNCTION @extschema@.get_user_plan(p_user_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('user_id', p.user_id, 'plan_id', ducto.sdk_plan_uuid(p.plan_id), 'plan_name', p.plan_name,
		'free_allowance', p.free_allowance::text, 'features', p.features, 'default_billing_mode', p.default_billing_mode,
		'per_operation', p.per_operation, 'max_concurrent', p.max_concurrent, 'overdraft_floor', p.overdraft_floor::text)
	FROM ducto_get_user_plan(user_id => p_user_id) p;
END;
REVOKE ALL ON FUNCTION @extschema@.get_user_plan(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_user_plan(uuid) IS
'ducto_get_user_plan for the SDKs: user_id, plan_id (a uuid made from the key; null without a plan), plan_name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.set_user_plan(p_user_id uuid, p_plan_key text) RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT CASE WHEN r.error IS NULL
		THEN jsonb_build_object('user_id', r.user_id, 'plan_id', ducto.sdk_plan_uuid(r.plan_id))
		ELSE jsonb_build_object('error', r.error) END
	FROM ducto_set_user_plan(user_id => p_user_id, plan_id => coalesce(ducto.sdk_plan_key(p_plan_key), p_plan_key)) r;
END;
REVOKE ALL ON FUNCTION @extschema@.set_user_plan(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.set_user_plan(uuid, text) IS
'ducto_set_user_plan for the SDKs. p_plan_key: the key of a plan, or its uuid as text; NULL takes the plan away. Returns user_id, plan_id (a uuid). Errors in the answer: plan_not_found. Locks the account. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.check_plan_allowance(p_user_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN a.plan_id IS NULL THEN jsonb_build_object('allowance_remaining', '0')
		ELSE jsonb_build_object('plan_id', ducto.sdk_plan_uuid(a.plan_id), 'allowance_remaining', a.allowance_remaining::text,
			'period_start', a.period_start, 'period_end', a.period_end) END
	FROM ducto_check_allowance(user_id => p_user_id) a;
END;
REVOKE ALL ON FUNCTION @extschema@.check_plan_allowance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.check_plan_allowance(uuid) IS
'ducto_check_allowance for the SDKs: plan_id (a uuid), allowance_remaining, period_start, period_end (days of the UTC month); without a plan only allowance_remaining, 0. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.increment_usage_window(p_user_id uuid, p_plan_id uuid, p_amount numeric)
RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT coalesce(ducto.sdk_amount_problem(p_amount, true), (
		SELECT CASE WHEN a.error IS NULL
			THEN jsonb_build_object('usage', a.allowance_used::text, 'period_start', a.period_start)
			ELSE jsonb_build_object('error', a.error) END
		FROM ducto_increment_usage_window(user_id => p_user_id,
			plan_id => coalesce(ducto.sdk_plan_key(p_plan_id::text), p_plan_id::text), amount => p_amount) a));
END;
REVOKE ALL ON FUNCTION @extschema@.increment_usage_window(uuid, uuid, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.increment_usage_window(uuid, uuid, numeric) IS
'ducto_increment_usage_window for the SDKs. p_plan_id: the uuid of a plan. p_amount: 0 or more. Returns usage, period_start. Errors in the answer: plan_not_found, invalid_amount. Locks the account. SQL errors: 22004.';

CREATE FUNCTION @extschema@.check_spend_cap(p_user_id uuid, p_model text DEFAULT NULL, p_amount numeric DEFAULT 0)
RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(ducto.sdk_amount_problem(coalesce(p_amount, 0), true), (
		SELECT jsonb_build_object('capped', c.capped, 'current_spend', c.current_spend::text, 'cap_limit', c.cap_limit::text,
			'action', c.action, 'model', c.model)
		FROM ducto_check_spend_cap(user_id => p_user_id, model => p_model, amount => p_amount) c));
END;
REVOKE ALL ON FUNCTION @extschema@.check_spend_cap(uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.check_spend_cap(uuid, text, numeric) IS
'ducto_check_spend_cap for the SDKs: capped, current_spend (what is held included), cap_limit, action, model. Errors in the answer: invalid_amount. Takes no lock. SQL errors: 22004, 22023.';
