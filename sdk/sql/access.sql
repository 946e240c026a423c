-- access: who may call the functions.

CREATE FUNCTION ducto.sdk_adjust(role_name text, may_call boolean) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	role oid := CASE WHEN role_name = 'PUBLIC' THEN 0 ELSE to_regrole(quote_ident(role_name))::oid END;
	f record;
	granted integer := 0;
	revoked integer := 0;
BEGIN
	FOR f IN
		SELECT * FROM (
			SELECT p.oid::regprocedure AS name,
				may_call AND p.pronamespace = '@extschema@'::regnamespace AND p.proname !~ '^(ducto_|sdk_)' AS wanted,
				EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = role) AS has
			FROM pg_proc p
			JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid AND e.extname = 'ducto_sdk'
			WHERE p.proowner <> role
		) p WHERE p.wanted <> p.has ORDER BY p.name::text
	LOOP
		IF f.wanted THEN
			EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', f.name, role_name);
			granted := granted + 1;
		ELSE
			EXECUTE format('REVOKE ALL ON ROUTINE %s FROM %s CASCADE', f.name, role_name);
			revoked := revoked + 1;
		END IF;
	END LOOP;
	RETURN CASE WHEN granted > 0 THEN format('granted execute on %s function%s', granted, CASE WHEN granted > 1 THEN 's' END)
		WHEN revoked > 0 THEN format('revoked execute on %s function%s', revoked, CASE WHEN revoked > 1 THEN 's' END)
		WHEN may_call THEN 'had all that it is to have, and nothing else' ELSE 'had nothing' END;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_adjust(text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_adjust(text, boolean) IS
'For ducto_sdk_setup: grants a role the functions that the SDKs call, or takes all of them away; PUBLIC is one too. Returns what was done.';

CREATE FUNCTION @extschema@.ducto_sdk_setup() RETURNS TABLE (object text, action text)
LANGUAGE plpgsql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	roles CONSTANT text[] := ARRAY['anon', 'authenticated', 'service_role'];
	role_name text;
BEGIN
	object := 'PUBLIC';
	action := ducto.sdk_adjust('PUBLIC', false);
	RETURN NEXT;
	FOREACH role_name IN ARRAY roles LOOP
		object := 'role ' || role_name;
		IF to_regrole(role_name) IS NULL THEN
			action := 'is missing; when there is one, call ducto_sdk_setup again';
		ELSE
			action := ducto.sdk_adjust(role_name, role_name = 'service_role');
			IF role_name = 'service_role' AND NOT has_schema_privilege(role_name, '@extschema@', 'USAGE') THEN
				EXECUTE 'GRANT USAGE ON SCHEMA @extschema@ TO service_role';
				action := action || ', granted usage of the schema';
			END IF;
		END IF;
		RETURN NEXT;
	END LOOP;
	NOTIFY pgrst, 'reload schema';
	object := 'PostgREST';
	action := 'asked to reload its schema cache';
	RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_sdk_setup() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_sdk_setup() IS
'Sets up a Supabase database for the SDKs, and may be called on every deploy: service_role may then call the functions of the SDKs, PUBLIC, anon and authenticated none of them. ducto_sdk_setup and ducto_sdk_import are for the owner and never granted. PostgREST is asked to reload its schema cache.
Returns what was done, step by step. Takes the locks of GRANT. Errors: 42501.';

-- Last, when all functions are there: default privileges may have granted them by name.
DO $$
DECLARE
	role_name text;
BEGIN
	FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
		IF pg_catalog.to_regrole(role_name) IS NOT NULL THEN
			PERFORM ducto.sdk_adjust(role_name, false);
		END IF;
	END LOOP;
END
$$;
