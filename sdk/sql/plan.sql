-- plan: plans, allowances and spend caps.

CREATE FUNCTION @extschema@.get_user_plan(p_user_id uuid) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_user_plan';
REVOKE ALL ON FUNCTION @extschema@.get_user_plan(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_user_plan(uuid) IS
'ducto_get_user_plan for the SDKs: user_id, plan_id (a uuid made from the key; null without a plan), plan_name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.set_user_plan(p_user_id uuid, p_plan_key text) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_set_user_plan';
REVOKE ALL ON FUNCTION @extschema@.set_user_plan(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.set_user_plan(uuid, text) IS
'ducto_set_user_plan for the SDKs. p_plan_key: the key of a plan, or its uuid as text; NULL takes the plan away. Returns user_id, plan_id (a uuid). Errors in the answer: plan_not_found. Locks the account. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.check_plan_allowance(p_user_id uuid) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_check_plan_allowance';
REVOKE ALL ON FUNCTION @extschema@.check_plan_allowance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.check_plan_allowance(uuid) IS
'ducto_check_allowance for the SDKs: plan_id (a uuid), allowance_remaining, period_start, period_end (days of the UTC month); without a plan only allowance_remaining, 0. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.increment_usage_window(p_user_id uuid, p_plan_id uuid, p_amount numeric)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_increment_usage_window';
REVOKE ALL ON FUNCTION @extschema@.increment_usage_window(uuid, uuid, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.increment_usage_window(uuid, uuid, numeric) IS
'ducto_increment_usage_window for the SDKs. p_plan_id: the uuid of a plan. p_amount: 0 or more. Returns usage, period_start. Errors in the answer: plan_not_found, invalid_amount. Locks the account. SQL errors: 22004.';

CREATE FUNCTION @extschema@.check_spend_cap(p_user_id uuid, p_model text DEFAULT NULL, p_amount numeric DEFAULT 0)
RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_check_spend_cap';
REVOKE ALL ON FUNCTION @extschema@.check_spend_cap(uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.check_spend_cap(uuid, text, numeric) IS
'ducto_check_spend_cap for the SDKs: capped, current_spend (what is held included), cap_limit, action, model. Errors in the answer: invalid_amount. Takes no lock. SQL errors: 22004, 22023.';
