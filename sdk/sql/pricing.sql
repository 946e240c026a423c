-- pricing: versions of the configuration.

CREATE FUNCTION @extschema@.get_active_pricing_config() RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT jsonb_build_object('id', r.id, 'config', r.config, 'version', r.version, 'label', r.label)
	FROM ducto_get_active_pricing() r WHERE r.error IS NULL;
END;
REVOKE ALL ON FUNCTION @extschema@.get_active_pricing_config() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_active_pricing_config() IS
'ducto_get_active_pricing for the SDKs: id, config, version, label; NULL when none is active. Takes no lock.';

CREATE FUNCTION @extschema@.get_pricing_config(p_version integer) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT jsonb_build_object('id', r.id, 'config', r.config, 'version', r.version, 'label', r.label)
	FROM ducto_get_pricing_config(version => p_version) r WHERE r.error IS NULL;
END;
REVOKE ALL ON FUNCTION @extschema@.get_pricing_config(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_config(integer) IS
'ducto_get_pricing_config for the SDKs: id, config, version, label; NULL when there is no such version. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.set_active_pricing_config(p_config jsonb, p_label text DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('id', r.id, 'version', r.version, 'active', r.active)
	FROM ducto_set_active_pricing(config => p_config, label => p_label) r;
END;
REVOKE ALL ON FUNCTION @extschema@.set_active_pricing_config(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.set_active_pricing_config(jsonb, text) IS
'ducto_set_active_pricing for the SDKs: publishes a configuration and activates it. Returns id, version, active. Locks the pricing against other publishers. SQL errors: 22004, 22023 (the configuration is not valid).';

CREATE FUNCTION @extschema@.get_pricing_configs() RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('id', h.id, 'version', h.version, 'label', h.label, 'active', h.active, 'created_at', h.created_at)
	FROM ducto_get_pricing_history() h ORDER BY h.version DESC;
END;
REVOKE ALL ON FUNCTION @extschema@.get_pricing_configs() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_configs() IS
'ducto_get_pricing_history for the SDKs, newest first: objects with id, version, label, active, created_at. Takes no lock.';

CREATE FUNCTION @extschema@.get_pricing_history()
RETURNS TABLE (id uuid, version integer, label text, active boolean, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT h.id, h.version, h.label, h.active, h.created_at FROM ducto_get_pricing_history() h ORDER BY h.version DESC;
END;
REVOKE ALL ON FUNCTION @extschema@.get_pricing_history() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_pricing_history() IS
'ducto_get_pricing_history for the SDKs, newest first. Takes no lock.';

CREATE FUNCTION @extschema@.activate_pricing_config(p_version integer) RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT CASE WHEN r.error IS NULL THEN jsonb_build_object('id', r.id, 'version', r.version, 'active', r.active) ELSE jsonb_build_object('error', 'version_not_found') END
	FROM ducto_activate_pricing(version => p_version) r;
END;
REVOKE ALL ON FUNCTION @extschema@.activate_pricing_config(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.activate_pricing_config(integer) IS
'ducto_activate_pricing for the SDKs: id, version, active. Errors in the answer: version_not_found. Locks the pricing against other publishers. SQL errors: 22004.';

CREATE FUNCTION @extschema@.activate_pricing(p_version integer) RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT activate_pricing_config(p_version);
END;
REVOKE ALL ON FUNCTION @extschema@.activate_pricing(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.activate_pricing(integer) IS
'The same as activate_pricing_config.';
