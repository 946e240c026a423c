-- Sign-up bonuses: a trigger of theirs books them on their tables, so it goes, and ours comes in its place.

-- Others have functions of these names, too: theirs are known by the tables that they work on.
CREATE FUNCTION ducto.sdk_import_leftovers() RETURNS TABLE (function oid, tables oid[])
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT p.oid, ARRAY(SELECT DISTINCT t.tgrelid FROM pg_trigger t WHERE t.tgfoid = p.oid ORDER BY 1)
FROM pg_proc p
WHERE p.pronamespace = to_regnamespace('public')
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
AND CASE
	WHEN p.proname = 'handle_updated_at' THEN NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgfoid = p.oid
		AND t.tgrelid NOT IN (SELECT ducto.sdk_table(n.name) FROM ducto.sdk_tables() n WHERE ducto.sdk_table(n.name) IS NOT NULL))
	ELSE ducto.sdk_is_bonus(p.proname, p.prosrc) END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_leftovers() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_leftovers() IS
'For ducto_sdk_import: functions of the SDKs'' own engine that nobody calls, and the tables whose triggers call them.';

-- With a function go the triggers that call it: that takes no right on their tables, of which one is another's.
CREATE FUNCTION ducto.sdk_import_signup() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	theirs record;
	users oid[] := '{}';
	arrivals oid;
BEGIN
	FOR theirs IN SELECT l.function, l.tables, p.proname FROM ducto.sdk_import_leftovers() l JOIN pg_proc p ON p.oid = l.function
	LOOP
		IF theirs.proname = 'grant_signup_bonus' THEN
			users := users || theirs.tables;
		END IF;
		RAISE NOTICE 'the function % of the SDKs is dropped', theirs.function::regprocedure;
		EXECUTE format('DROP FUNCTION %s CASCADE', theirs.function::regprocedure);
	END LOOP;
	FOREACH arrivals IN ARRAY users LOOP
		IF arrivals = to_regclass('auth.users') THEN
			RAISE NOTICE 'trigger ducto_signup_bonus on auth.users: %', ducto.setup_trigger();
		ELSIF NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = arrivals AND t.tgname = 'ducto_signup_bonus') THEN
			EXECUTE format('CREATE TRIGGER ducto_signup_bonus AFTER INSERT ON %s FOR EACH ROW
				EXECUTE FUNCTION ducto.signup_bonus()', arrivals::regclass);
			RAISE NOTICE 'trigger ducto_signup_bonus on %: created', arrivals::regclass;
		END IF;
	END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_signup() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_signup() IS
'For ducto_sdk_import: drops what books sign-up bonuses on the SDKs'' tables, and what kept these, and creates our trigger where theirs was.';

-- Whoever has taken their trigger away from the table of users wants no bonus.
CREATE FUNCTION ducto.sdk_import_unset_bonus() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT to_regclass('auth.users') IS NULL OR EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
	WHERE NOT t.tgisinternal AND (ducto.sdk_is_bonus(p.proname, p.prosrc)
		OR t.tgname = 'ducto_signup_bonus' AND p.pronamespace = 'ducto'::regnamespace))
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_unset_bonus() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_unset_bonus() IS
'For ducto_sdk_import: whether new users get the 50 credits that a configuration without signup_bonus means to the SDKs'' own engine.';

CREATE FUNCTION ducto.sdk_import_has_bonus(config jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(config ->> 'signup_bonus', config ->> 'signupBonus') IS NOT NULL $$;
REVOKE ALL ON FUNCTION ducto.sdk_import_has_bonus(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_has_bonus(jsonb) IS 'For ducto_sdk_import: whether a configuration says what new users get.';
