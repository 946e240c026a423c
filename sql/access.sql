-- access: who may call the API.

CREATE FUNCTION @extschema@.ducto_grant_access(role regrole, what text DEFAULT 'all') RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_grant_access';
REVOKE ALL ON FUNCTION @extschema@.ducto_grant_access(regrole, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_grant_access(regrole, text) IS
'Lets a role call the API: all of it, or only its reads (what = ''read''), which takes the rest away again. The reads include ducto_my_*, which show nothing more. The functions that manage access are never granted. To be called by the extension''s owner.
Takes the locks of GRANT. Errors: 22004, 22023, 42501.';

-- On Supabase default privileges grant by name, so ducto_setup revokes by name.
CREATE TYPE @extschema@.ducto_setup_step AS (
	object text,
	action text
);
COMMENT ON TYPE @extschema@.ducto_setup_step IS 'A step of ducto_setup.';
COMMENT ON COLUMN @extschema@.ducto_setup_step.object IS 'What it is about.';
COMMENT ON COLUMN @extschema@.ducto_setup_step.action IS 'What was done, or was there already.';

CREATE FUNCTION @extschema@.ducto_setup() RETURNS SETOF @extschema@.ducto_setup_step
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_setup';
REVOKE ALL ON FUNCTION @extschema@.ducto_setup() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_setup() IS
'Sets up a Supabase database, and may be called on every deploy. service_role may then call the API, authenticated the functions ducto_my_*, anon and PUBLIC nothing: everything else of the extension is revoked from them, the tables included. A trigger on auth.users books the signup bonus of the active pricing for each new user. PostgREST is asked to reload its schema cache. A role or table that is missing is reported; call it again when it is there. Elsewhere than on Supabase it does nothing and says so. To be called by the extension''s owner.
Returns what was done, step by step. Takes the locks of GRANT and, to create the trigger, of CREATE TRIGGER. Errors: 42501.';

CREATE FUNCTION ducto.signup_bonus() RETURNS trigger
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_signup_bonus';
REVOKE ALL ON FUNCTION ducto.signup_bonus() FROM PUBLIC;
COMMENT ON FUNCTION ducto.signup_bonus() IS
'Trigger function for auth.users: books the signup_bonus of the active pricing for the new user, under the idempotency key signup_bonus. It never stops the insert: an error, or a lock that it has waited 1 second for, is a WARNING and costs only the bonus.';

CREATE FUNCTION ducto.revoke_default_privileges() RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_revoke_default_privileges';
REVOKE ALL ON FUNCTION ducto.revoke_default_privileges() FROM PUBLIC;
COMMENT ON FUNCTION ducto.revoke_default_privileges() IS
'For the install script: takes away what default privileges gave PUBLIC and the roles service_role, authenticated and anon.';

-- What end users may call: whose data it is follows from the JWT alone.
-- ducto_setup grants it to authenticated. ducto_grant_access counts it among the
-- reads: whoever may read every account learns nothing more from it.
CREATE FUNCTION @extschema@.ducto_my_balance() RETURNS @extschema@.ducto_balance_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_balance';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_balance() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_balance() IS
'Returns the credits of the user who calls, as ducto_get_balance does. The user is the claim sub of the JWT: of request.jwt.claims, or when that is unset or empty request.jwt.claim.sub.
Takes no lock, works on a standby. Errors: 28000 (no claims, malformed ones, a sub that is missing, no uuid or a team''s id).';

CREATE FUNCTION @extschema@.ducto_my_grants() RETURNS SETOF @extschema@.ducto_grant
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_grants';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_grants() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_grants() IS
'Returns the live grants of the user who calls, as ducto_list_grants does, at most the 1,000 that are spent first. The user is the claim sub of the JWT, as for ducto_my_balance.
Takes no lock, works on a standby. Errors: 28000.';

CREATE FUNCTION @extschema@.ducto_my_transactions(max_rows integer DEFAULT 50, before uuid DEFAULT NULL)
RETURNS SETOF @extschema@.ducto_transaction
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_transactions';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_transactions(integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_transactions(integer, uuid) IS
'Returns the ledger of the user who calls, newest first, as ducto_list_transactions does, metadata included. The user is the claim sub of the JWT, as for ducto_my_balance.
max_rows: the page, in rows, 1 to 1000. before: only entries before this one of the same user.
Takes no lock, works on a standby. Errors: 22023 (max_rows is out of bounds, before is no entry of this user), 28000.';

CREATE FUNCTION @extschema@.ducto_my_plan() RETURNS @extschema@.ducto_user_plan_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_my_plan';
REVOKE ALL ON FUNCTION @extschema@.ducto_my_plan() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_my_plan() IS
'Returns the plan of the user who calls, as ducto_get_user_plan does. The user is the claim sub of the JWT, as for ducto_my_balance.
Takes no lock, works on a standby. Errors: 28000.';

-- Last, when all objects are there.
SELECT ducto.revoke_default_privileges();
