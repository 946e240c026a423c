-- access: who may call the functions.

CREATE FUNCTION @extschema@.ducto_sdk_setup() RETURNS TABLE (object text, action text)
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ducto.setup_begin();
	SELECT s.object, s.action FROM (
		SELECT r.n, CASE WHEN r.name = 'PUBLIC' THEN r.name ELSE 'role ' || r.name END AS object,
			ducto.setup_role(r.name, 'ducto_sdk', r.what) AS action
		FROM (VALUES (1, 'PUBLIC', ''), (2, 'anon', ''), (3, 'authenticated', ''), (4, 'service_role', 'all')) r (n, name, what)
		UNION ALL
		SELECT 5, 'caps set by service_role', CASE WHEN to_regrole('service_role') IS NULL THEN 'as long as it is missing: none'
			ELSE ducto.setup_role('service_role', 'ducto', 'ducto_set_spend_cap,ducto_remove_spend_cap', besides => true) END
		UNION ALL
		SELECT 6, 'PostgREST', CASE WHEN pg_notify('pgrst', 'reload schema') IS NOT NULL THEN 'asked to reload its schema cache' END
		UNION ALL
		SELECT 7, 'function ' || f.signature, CASE WHEN f.replaced
			THEN 'is of the SDKs'' own engine, in place of ours: drop and create the extension ducto_sdk, which keeps no data'
			ELSE 'is of the SDKs'' own engine, beside ours: drop it' END
		FROM ducto.sdk_strangers() f
		UNION ALL
		SELECT 8, w.object, w.action FROM ducto.setup_warnings('ducto_sdk') w
	) s ORDER BY s.n, s.object
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_sdk_setup() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_sdk_setup() IS
'Sets up a Supabase database for the SDKs, and may be called on every deploy: service_role may then call the functions of the SDKs and set spend caps, PUBLIC, anon and authenticated none of them but those that read prices, where they were opened. ducto_sdk_setup and ducto_sdk_import are for the owner and never granted. A role that somebody else may have made is reported and left alone, and functions of the SDKs'' own engine are reported. PostgREST is asked to reload its schema cache.
Returns what was done, step by step. Takes the locks of GRANT. Errors: 42501.';

-- Last, when all functions are there.
SELECT ducto.revoke_default_privileges('ducto_sdk');
