-- access: who may call the API.

CREATE FUNCTION @extschema@.ducto_grant_access(role regrole, what text DEFAULT 'all') RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_grant_access';
REVOKE ALL ON FUNCTION @extschema@.ducto_grant_access(regrole, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_grant_access(regrole, text) IS
'Lets a role call the API, that of ducto_sdk included where it is there. What it said before about the role no longer
holds. The functions that manage access are never granted. To be called by the extension''s owner. On the coordinator of
a cluster it is for all nodes, on a worker for that one.
role: the role, neither anon nor authenticated, as which everybody can act.
what: ''all''; ''read'' for what only reads, ducto_my_* included, which show nothing more; or names of functions,
  separated by commas, for these alone.
Takes the locks of GRANT.
Errors: 22004, 22023 (no such function; anon or authenticated with a function that is not ducto_my_* and does not read
  prices), 42501.';

CREATE FUNCTION @extschema@.ducto_revoke_access(role regrole) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_revoke_access';
REVOKE ALL ON FUNCTION @extschema@.ducto_revoke_access(regrole) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_revoke_access(regrole) IS
'Takes from a role all that it was granted on what belongs to ducto and ducto_sdk, tables included, with what it
granted on. Usage of the API''s schema goes too, unless the role has or owns something else there. Afterwards nothing
of ducto stands in the way of DROP ROLE. To be called by the extension''s owner. On the coordinator of a cluster it is for
all nodes, on a worker for that one.
role: the role.
Takes the locks of REVOKE.
Errors: 22004, 22023, 42501.';

CREATE TYPE @extschema@.ducto_access AS (
	role text,
	object text,
	privilege text,
	granted_to text,
	granted_by text
);
COMMENT ON TYPE @extschema@.ducto_access IS 'A privilege that a role has, and the grant that it is from.';
COMMENT ON COLUMN @extschema@.ducto_access.role IS 'Who has it, or can act as one who has it; PUBLIC is everybody.';
COMMENT ON COLUMN @extschema@.ducto_access.object IS 'On what: its kind, and its name with its schema.';
COMMENT ON COLUMN @extschema@.ducto_access.privilege IS 'EXECUTE, SELECT or USAGE, and whatever else is granted.';
COMMENT ON COLUMN @extschema@.ducto_access.granted_to IS 'To whom it was granted: the role itself, or one that it is a member of.';
COMMENT ON COLUMN @extschema@.ducto_access.granted_by IS 'In whose name: the owner''s of the object.';

CREATE FUNCTION @extschema@.ducto_list_access() RETURNS SETOF @extschema@.ducto_access
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_access';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_access() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_access() IS
'Returns who may call which function, read which table and use which schema of ducto and ducto_sdk, and by which grant.
The owner and superusers, who may do everything, are not listed.
Takes no lock, works on a standby.';

CREATE FUNCTION ducto.set_access(role_name text, extension text, what text, besides boolean DEFAULT false) RETURNS text
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_access';
REVOKE ALL ON FUNCTION ducto.set_access(text, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION ducto.set_access(text, text, text, boolean) IS
'For the set-ups: lets a role, or PUBLIC, call the functions of an extension that are named as for ducto_grant_access, or my for ducto_my_*, and takes everything else of the extension away, or nothing when besides. Returns what was done.';

-- Stable, so that Citus calls it on each node. It writes no table.
CREATE FUNCTION ducto.tell_access(rows bigint, role_name text, extension text, what text, scope text) RETURNS boolean
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_tell_access';
REVOKE ALL ON FUNCTION ducto.tell_access(bigint, text, text, text, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.tell_access(bigint, text, text, text, text) IS
'For ducto_grant_access, ducto_revoke_access and ducto_distribute on a cluster: changes on a worker what a role, NULL for PUBLIC, may call. Returns false.';

CREATE FUNCTION ducto.revoke_default_privileges(extension text) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_revoke_default_privileges';
REVOKE ALL ON FUNCTION ducto.revoke_default_privileges(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.revoke_default_privileges(text) IS
'For the install scripts: takes from all but the owners what default privileges gave them on the objects of an extension.';

-- The guard. A blanket GRANT is meant for other functions of the schema.
CREATE FUNCTION ducto.guard() RETURNS event_trigger
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_guard';
REVOKE ALL ON FUNCTION ducto.guard() FROM PUBLIC;
COMMENT ON FUNCTION ducto.guard() IS
'For the event trigger ducto_guard: takes back what a statement opened on what belongs to ducto and ducto_sdk, and says so by NOTICE. What stays is what ducto_grant_access and the set-ups grant; ducto_my_*; what reads prices, and ducto_setup, where it was granted by its name; SELECT on tables and USAGE of schema ducto for a role that was named. Neither to PUBLIC, anon and authenticated, but for the first two; and never with grant option.';

CREATE EVENT TRIGGER ducto_guard ON ddl_command_end
WHEN TAG IN ('GRANT', 'CREATE SCHEMA', 'ALTER EXTENSION') EXECUTE FUNCTION ducto.guard();
COMMENT ON EVENT TRIGGER ducto_guard IS 'Keeps the API closed to all whom ducto_grant_access did not name.';
ALTER EVENT TRIGGER ducto_guard ENABLE ALWAYS;

-- Setting up Supabase.
CREATE TYPE @extschema@.ducto_setup_step AS (
	object text,
	action text
);
COMMENT ON TYPE @extschema@.ducto_setup_step IS 'A step of ducto_setup.';
COMMENT ON COLUMN @extschema@.ducto_setup_step.object IS 'What it is about.';
COMMENT ON COLUMN @extschema@.ducto_setup_step.action IS 'What was done, or was there already.';

CREATE FUNCTION ducto.setup_begin() RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_setup_begin';
REVOKE ALL ON FUNCTION ducto.setup_begin() FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_begin() IS 'For the set-ups: lets no two of them run at once.';

-- Since PostgreSQL 16, who makes a role can let others act as it, and the
-- catalog says so. Before that, whoever may make roles can do so with any role,
-- and only BYPASSRLS, which Supabase's service_role has, is a superuser's to give.
CREATE FUNCTION ducto.stranger_behind(role_name name) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT min(s.rolname) FROM pg_roles r, pg_roles s
	WHERE r.rolname = role_name AND NOT (r.rolsuper OR s.rolsuper OR s.rolbypassrls) AND s.oid <> r.oid AND CASE
		WHEN EXISTS (SELECT FROM pg_auth_members m WHERE m.roleid = r.oid AND m.member = s.oid AND m.admin_option) THEN true
		WHEN current_setting('server_version_num')::integer >= 160000 THEN false
		ELSE s.rolcreaterole AND NOT EXISTS (
			SELECT FROM pg_roles b WHERE b.rolname IN (role_name, 'service_role') AND b.rolbypassrls) END
$$;
REVOKE ALL ON FUNCTION ducto.stranger_behind(name) FROM PUBLIC;
COMMENT ON FUNCTION ducto.stranger_behind(name) IS
'For the set-ups: a role that is no superuser''s, nor trusted with BYPASSRLS, and that has made another role or can let anybody act as it, as far as the catalog tells. NULL when there is none.';

CREATE FUNCTION ducto.setup_role(role_name text, extension text, what text, besides boolean DEFAULT false) RETURNS text
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE
		WHEN role_name <> 'PUBLIC' AND to_regrole(quote_ident(role_name)) IS NULL
			THEN format('is missing; when there is one, call %s_setup again', extension)
		WHEN what <> '' AND s.name IS NOT NULL THEN format('was left as it is: %s can let anybody act as it', s.name)
		ELSE ducto.set_access(role_name, extension, what, besides) END
	FROM ducto.stranger_behind(role_name::name) s (name)
$$;
REVOKE ALL ON FUNCTION ducto.setup_role(text, text, text, boolean) FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_role(text, text, text, boolean) IS
'For the set-ups: ducto.set_access for a role of Supabase''s, if it is there and nobody''s else. Returns what was done.';

CREATE FUNCTION ducto.setup_warnings(extension text) RETURNS SETOF @extschema@.ducto_setup_step
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('schema %I', n.nspname), format(
		'lets others make functions that are called in place of these: REVOKE CREATE ON SCHEMA %I FROM %s', n.nspname,
		string_agg(DISTINCT coalesce(quote_ident(r.rolname), 'PUBLIC'), ', '))
	FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace,
		aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
	WHERE e.extname = extension AND a.privilege_type = 'CREATE' AND a.grantee NOT IN (n.nspowner, e.extowner)
		AND r.rolsuper IS DISTINCT FROM true
	GROUP BY n.nspname
	UNION ALL
	SELECT 'event trigger ' || t.evtname, format('is disabled: ALTER EVENT TRIGGER %I ENABLE ALWAYS', t.evtname)
	FROM pg_event_trigger t WHERE t.evtname IN ('ducto_guard', extension || '_guard') AND t.evtenabled IN ('D', 'R')
$$;
REVOKE ALL ON FUNCTION ducto.setup_warnings(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_warnings(text) IS 'For the set-ups: what else makes an extension less safe than it could be.';

CREATE FUNCTION ducto.setting_problem(name text, value text) RETURNS text
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_setting_problem';
REVOKE ALL ON FUNCTION ducto.setting_problem(text, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.setting_problem(text, text) IS
'For ducto_setup: why a setting is not obeyed that somebody has set for a role or a database. NULL when it is.';

CREATE FUNCTION ducto.setup_settings() RETURNS SETOF @extschema@.ducto_setup_step
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT format('setting %s of %s', v.name, concat_ws(' in ', 'role ' || r.rolname,
			CASE WHEN s.setdatabase <> 0 THEN 'this database' ELSE 'every database' END)),
		concat_ws(': ', format('is %s', v.value), ducto.setting_problem(v.name, v.value))
	FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole, unnest(s.setconfig) c,
		LATERAL (VALUES (split_part(c, '=', 1), substr(c, strpos(c, '=') + 1))) v (name, value)
	WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
		AND lower(v.name) LIKE 'ducto.%'
$$;
REVOKE ALL ON FUNCTION ducto.setup_settings() FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_settings() IS
'For ducto_setup: what is set for roles and databases, and what of it is not obeyed.';

-- PostgREST has its list of schemas in a file, in its environment, or in settings
-- of the role that it logs in as; only these can be seen from here.
CREATE FUNCTION ducto.setup_schema() RETURNS SETOF @extschema@.ducto_setup_step
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	WITH exposed (schemas) AS (
		SELECT regexp_split_to_array(btrim(substr(c, length('pgrst.db_schemas=') + 1)), '[\s"]*,[\s"]*')
		FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole AND r.rolname = 'authenticator', unnest(s.setconfig) c
		WHERE (s.setdatabase = 0 OR s.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
			AND c LIKE 'pgrst.db\_schemas=%'
		ORDER BY s.setdatabase DESC LIMIT 1
	)
	SELECT 'schema ' || n.nspname, CASE
		WHEN n.nspname = ANY (e.schemas) THEN 'has the API, and PostgREST exposes it'
		WHEN e.schemas IS NOT NULL THEN format('has the API, but PostgREST does not expose it: add it to pgrst.db_schemas of'
			' authenticator, or move the API: SELECT ducto.set_schema(%L)', e.schemas[1])
		WHEN n.nspname = 'extensions' THEN 'has the API, but Supabase does not expose it: SELECT ducto.set_schema(''public'')'
		WHEN n.nspname = 'public' THEN 'has the API; PostgREST exposes it, unless its db-schemas say otherwise'
		ELSE 'has the API; the db-schemas of PostgREST must name it, which cannot be seen from here' END
	FROM pg_extension x JOIN pg_namespace n ON n.oid = x.extnamespace LEFT JOIN exposed e ON true
	WHERE x.extname = 'ducto'
	UNION ALL
	SELECT 'schema ducto', 'is exposed by PostgREST: take it out of pgrst.db_schemas of authenticator'
	FROM exposed e WHERE 'ducto' = ANY (e.schemas)
$$;
REVOKE ALL ON FUNCTION ducto.setup_schema() FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_schema() IS
'For ducto_setup: where the API is, and whether PostgREST exposes it, as far as the database can know.';

CREATE FUNCTION ducto.setup_trigger() RETURNS text
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_setup_trigger';
REVOKE ALL ON FUNCTION ducto.setup_trigger() FROM PUBLIC;
COMMENT ON FUNCTION ducto.setup_trigger() IS
'For ducto_setup: creates the trigger ducto_signup_bonus on auth.users, where that is a superuser''s or Supabase''s. Returns what was done.';

CREATE FUNCTION @extschema@.ducto_setup() RETURNS SETOF @extschema@.ducto_setup_step
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
	SELECT ducto.setup_begin();
	WITH here (supabase) AS (
		SELECT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role'))
			OR EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
				WHERE n.nspname = 'auth' AND c.relname = 'users' AND c.relkind IN ('r', 'p'))
	)
	SELECT s.object, s.action FROM (
		SELECT r.n, CASE WHEN r.name = 'PUBLIC' THEN r.name ELSE 'role ' || r.name END AS object,
			ducto.setup_role(r.name, 'ducto', r.what) AS action
		FROM here, (VALUES (1, 'PUBLIC', ''), (2, 'anon', ''), (3, 'authenticated', 'my'), (4, 'service_role', 'all')) r (n, name, what)
		WHERE here.supabase
		UNION ALL
		SELECT 5, 'trigger ducto_signup_bonus on auth.users', ducto.setup_trigger() FROM here WHERE here.supabase
		UNION ALL
		SELECT 6, 'PostgREST', CASE WHEN pg_notify('pgrst', 'reload schema') IS NOT NULL THEN 'asked to reload its schema cache' END
		FROM here WHERE here.supabase
		UNION ALL
		SELECT 7, 'database', 'has neither the roles service_role, authenticated, anon nor a table auth.users: nothing to do'
		FROM here WHERE NOT here.supabase
		UNION ALL
		SELECT 8, c.object, c.action FROM here, ducto.setup_schema() c WHERE here.supabase
		UNION ALL
		SELECT 9, t.object, t.action FROM ducto.setup_settings() t
		UNION ALL
		SELECT 10, w.object, w.action FROM ducto.setup_warnings('ducto') w
	) s ORDER BY s.n, s.object
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_setup() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_setup() IS
'Sets up a Supabase database, and may be called on every deploy. service_role may then call the API, authenticated the
functions ducto_my_*, anon and PUBLIC nothing but what reads prices and was opened to them: everything else of the
extension is revoked from them, the tables included. A trigger on auth.users books the signup bonus of the active
pricing for each new user. PostgREST is asked to reload its schema cache. A role or table that is missing, or that
somebody else may have made, is reported and left alone; call it again when that has changed. Elsewhere than on
Supabase it does nothing and says so. It also says what makes ducto less safe than it could be. To be called by the
extension''s owner.
Takes the locks of GRANT and, to create the trigger, of CREATE TRIGGER.
Returns what was done, step by step.
Errors: 42501.';

CREATE FUNCTION ducto.signup_bonus() RETURNS trigger
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_signup_bonus';
REVOKE ALL ON FUNCTION ducto.signup_bonus() FROM PUBLIC;
COMMENT ON FUNCTION ducto.signup_bonus() IS
'Trigger function for auth.users, after insert or update: books the signup_bonus of the active pricing for the user, under the idempotency key signup_bonus. Who is anonymous (is_anonymous), where that matters, gets it on becoming permanent; who is not confirmed (neither email_confirmed_at, phone_confirmed_at nor confirmed_at), on being confirmed. It never stops the statement: an error, or a lock that it has waited 1 second for, is a WARNING and costs only the bonus.';

CREATE FUNCTION ducto.set_schema(schema regnamespace) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_schema';
REVOKE ALL ON FUNCTION ducto.set_schema(regnamespace) FROM PUBLIC;
COMMENT ON FUNCTION ducto.set_schema(regnamespace) IS
'Moves the functions and types of the API, with their grants and what depends on them, to another schema; the tables, which stay in the schema ducto, keep all data. For the extension''s owner, who needs CREATE on that schema. Roles that are to call the API need usage of the schema: call ducto_setup, or ducto_grant_access for each, there.
Takes the locks of ALTER FUNCTION ... SET SCHEMA. Errors: 22004, 22023 (no such schema, or ducto, or PostgreSQL''s own), 42723, 42710 (the schema has such a function or type), 42501.';

-- What end users may call: whose data it is follows from the JWT alone.
-- ducto_setup grants it to authenticated. ducto_grant_access counts it among the
-- reads: whoever may read every account learns nothing more from it.
CREATE FUNCTION @extschema@.ducto_my_balance() RETURNS @extschema@.ducto_balance_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_balance';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_balance() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_balance() IS
'Returns the credits of the user who calls, as ducto_get_balance does. The user is the claim sub of the JWT: of
request.jwt.claims, or when that is unset or empty request.jwt.claim.sub.
Takes no lock, works on a standby.
Errors: 28000 (no claims, malformed ones, a sub that is missing, no uuid or a team''s id).';

CREATE FUNCTION @extschema@.ducto_my_grants() RETURNS SETOF @extschema@.ducto_grant
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_grants';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_grants() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_grants() IS
'Returns the live grants of the user who calls, as ducto_list_grants does, at most the 1,000 that are spent first. The
user is the claim sub of the JWT, as for ducto_my_balance.
Takes no lock, works on a standby.
Errors: 28000.';

CREATE FUNCTION @extschema@.ducto_my_transactions(max_rows integer DEFAULT 50, before uuid DEFAULT NULL)
RETURNS SETOF @extschema@.ducto_transaction
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_transactions';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_transactions(integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_transactions(integer, uuid) IS
'Returns the ledger of the user who calls, newest first, as ducto_list_transactions does, metadata included. The user
is the claim sub of the JWT, as for ducto_my_balance.
max_rows: the page, in rows, 1 to 1000.
before: only entries before this one of the same user.
Takes no lock, works on a standby.
Errors: 22023 (max_rows is out of bounds, before is no entry of this user), 28000.';

CREATE FUNCTION @extschema@.ducto_my_plan() RETURNS @extschema@.ducto_user_plan_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_plan';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_plan() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_plan() IS
'Returns the plan of the user who calls, as ducto_get_user_plan does. The user is the claim sub of the JWT, as for
ducto_my_balance.
Takes no lock, works on a standby.
Errors: 28000.';

CREATE FUNCTION @extschema@.ducto_my_events() RETURNS SETOF @extschema@.ducto_event
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_events';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_events() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_events() IS
'Returns the last 50 events of the account of the user who calls, the last first, as ducto_list_events does: balance_low,
balance_exhausted, balance_recovered, allowance_used, cap_used and grant_expiring, and none of a team. The user is the
claim sub of the JWT, as for ducto_my_balance.
Takes no lock, works on a standby.
Errors: 28000.';

-- Last, when all objects are there.
SELECT ducto.revoke_default_privileges('ducto');
