-- guard: the names of the SDKs' functions are those of this extension.

CREATE FUNCTION ducto.sdk_members() RETURNS TABLE (function oid, name name, schema oid)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.oid, p.proname, p.pronamespace
FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
WHERE e.extname = 'ducto_sdk'
$$;
REVOKE ALL ON FUNCTION ducto.sdk_members() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_members() IS 'For ducto_sdk: the functions of the extension.';

-- Others may have functions of these names.
CREATE FUNCTION ducto.sdk_is_bonus(name name, body text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT name IN ('grant_signup_bonus', 'sync_plans_from_config') AND body ~ '\mcredit_|\mcredits_add' $$;
REVOKE ALL ON FUNCTION ducto.sdk_is_bonus(name, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_is_bonus(name, text) IS
'For ducto_sdk: whether a function is one that the SDKs'' own engine books by without being called.';

-- Ours are in C, or in SQL that was parsed as they were made; but the import, whose names are not the SDKs''.
CREATE FUNCTION ducto.sdk_strangers() RETURNS TABLE (function oid, signature text, replaced boolean)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
WITH members AS MATERIALIZED (SELECT * FROM ducto.sdk_members())
SELECT p.oid, p.oid::regprocedure::text, m.function IS NOT NULL
FROM pg_proc p LEFT JOIN members m ON m.function = p.oid
WHERE p.pronamespace IN (to_regnamespace('public'), '@extschema@'::regnamespace) AND CASE
	WHEN m.function IS NULL
		THEN p.proname IN (SELECT n.name FROM members n WHERE n.schema = '@extschema@'::regnamespace)
	ELSE p.proname !~ '^(ducto_)?sdk_' AND p.probin IS NULL AND p.prosqlbody IS NULL END
ORDER BY 2
$$;
REVOKE ALL ON FUNCTION ducto.sdk_strangers() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_strangers() IS
'For ducto_sdk: functions of the SDKs'' own engine that took the place of ours, or would be called beside them.';

CREATE FUNCTION ducto.sdk_guard() RETURNS event_trigger
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_guard';
REVOKE ALL ON FUNCTION ducto.sdk_guard() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_guard() IS
'For the event trigger ducto_sdk_guard: refuses to make a function that has a name of the SDKs'', in their schema or public, and to replace, rename or move one of ours. What an extension''s script does stays, and what a dump restores. Errors: 42939.';

CREATE EVENT TRIGGER ducto_sdk_guard ON ddl_command_end
WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE', 'CREATE AGGREGATE', 'ALTER FUNCTION', 'ALTER PROCEDURE', 'ALTER ROUTINE',
	'ALTER AGGREGATE')
EXECUTE FUNCTION ducto.sdk_guard();
COMMENT ON EVENT TRIGGER ducto_sdk_guard IS 'Keeps the names of the SDKs'' functions to those of ducto_sdk.';
ALTER EVENT TRIGGER ducto_sdk_guard ENABLE ALWAYS;
