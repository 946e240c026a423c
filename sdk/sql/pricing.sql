-- pricing: versions of the configuration.

CREATE FUNCTION @extschema@.get_active_pricing_config() RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_active_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.get_active_pricing_config() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_active_pricing_config() IS
'ducto_get_active_pricing for the SDKs: id, config, version, label; NULL when none is active. Takes no lock.';

CREATE FUNCTION @extschema@.get_pricing_config(p_version integer) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.get_pricing_config(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_config(integer) IS
'ducto_get_pricing_config for the SDKs: id, config, version, label; NULL when there is no such version. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.set_active_pricing_config(p_config jsonb, p_label text DEFAULT NULL)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_set_active_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.set_active_pricing_config(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.set_active_pricing_config(jsonb, text) IS
'ducto_set_active_pricing for the SDKs: publishes a configuration and activates it. Where the trigger ducto_signup_bonus is, one without a signup_bonus gets that of the SDKs, 50. Returns id, version, active. Locks the pricing against other publishers. SQL errors: 22004, 22023 (the configuration is not valid).';

CREATE FUNCTION @extschema@.get_pricing_configs() RETURNS SETOF jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_pricing_configs';
REVOKE ALL ON FUNCTION @extschema@.get_pricing_configs() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_configs() IS
'ducto_get_pricing_history for the SDKs, newest first: objects with id, version, label, active, created_at. Takes no lock.';

CREATE FUNCTION @extschema@.get_pricing_history()
RETURNS TABLE (id uuid, version integer, label text, active boolean, created_at timestamptz)
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_pricing_history';
REVOKE ALL ON FUNCTION @extschema@.get_pricing_history() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_history() IS
'ducto_get_pricing_history for the SDKs, newest first. Takes no lock.';

CREATE FUNCTION @extschema@.activate_pricing_config(p_version integer) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_activate_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.activate_pricing_config(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.activate_pricing_config(integer) IS
'ducto_activate_pricing for the SDKs: id, version, active. Errors in the answer: version_not_found. Locks the pricing against other publishers. SQL errors: 22004.';

CREATE FUNCTION @extschema@.activate_pricing(p_version integer) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_activate_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.activate_pricing(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.activate_pricing(integer) IS
'The same as activate_pricing_config.';
