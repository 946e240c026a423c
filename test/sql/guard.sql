-- guard: what a GRANT opens that is not ducto's own is taken back at once

\set ada '\'90a8d000-0000-4000-8000-000000000001\''
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
CREATE ROLE regress_ducto_app;
CREATE ROLE regress_ducto_backend;
CREATE ROLE regress_ducto_friend;
CREATE ROLE regress_ducto_schemer;
CREATE TEMP VIEW held AS SELECT role, object, privilege, granted_to, granted_by = current_user AS by_owner FROM ducto_list_access() WHERE role ~ '^regress_ducto_(app|backend|friend|schemer)$' OR role = 'PUBLIC';
CREATE TEMP VIEW held_shortly AS SELECT role, CASE WHEN object ~ 'ducto_my_' THEN 'ducto_my_*' ELSE regexp_replace(object, '\(.*', '') END AS object, privilege FROM held GROUP BY 1, 2, 3;
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.run(command text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
END$$;
SELECT count(*) FROM held;

-- The helper after a reset: everything in the schema to a role that the application logs in as, and to everybody. What the schema has besides is theirs.
CREATE FUNCTION public.regress_ducto_other() RETURNS integer LANGUAGE sql AS 'SELECT 7';
REVOKE ALL ON FUNCTION regress_ducto_other() FROM PUBLIC;
-- How many functions it is that are taken back changes with each that is added, so it is not shown.
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO regress_ducto_app, PUBLIC;
GRANT ALL ON ALL ROUTINES IN SCHEMA public TO regress_ducto_app WITH GRANT OPTION;
GRANT EXECUTE ON ALL PROCEDURES IN SCHEMA public TO PUBLIC;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA ducto TO regress_ducto_app, PUBLIC;
RESET client_min_messages;
SELECT * FROM held_shortly ORDER BY 1, 2;
SET ROLE regress_ducto_app;
SELECT regress_ducto_other();
SELECT new_balance FROM ducto_add_credits(:ada, 1000000, 'purchase');
SELECT ducto_grant_access('regress_ducto_app');
SELECT ducto_revoke_access('regress_ducto_app');
SELECT ducto.set_access('PUBLIC', 'ducto', 'all');
SELECT ducto_price('{}');
CALL ducto_sweep();
SELECT ducto_my_balance();
RESET ROLE;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC, regress_ducto_app;

-- It says what it takes back. A procedure is a function too, and a function that is named twice is taken back once.
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
GRANT EXECUTE ON ROUTINE ducto_rollup_rebuild, ducto_rollup_rebuild(), regress_ducto_other() TO regress_ducto_app, regress_ducto_friend;
GRANT EXECUTE ON PROCEDURE ducto_sweep TO PUBLIC;
GRANT EXECUTE ON FUNCTION ducto_grant_access, ducto_revoke_access TO regress_ducto_app;
GRANT EXECUTE ON FUNCTION ducto.due_accounts() TO regress_ducto_app;
SELECT * FROM held;

-- Whoever has tables from a blanket GRANT can read them, where row level security lets him, and do nothing else; PUBLIC not even that.
SET client_min_messages = warning;
GRANT ALL ON ALL TABLES IN SCHEMA ducto TO regress_ducto_app WITH GRANT OPTION;
RESET client_min_messages;
GRANT ALL ON SCHEMA ducto TO regress_ducto_app;
GRANT USAGE ON SCHEMA ducto TO PUBLIC;
GRANT SELECT, TRUNCATE ON ducto.accounts TO PUBLIC;
GRANT UPDATE (balance), SELECT (id, balance), REFERENCES (id) ON ducto.accounts TO regress_ducto_friend;
GRANT SELECT (id) ON ducto.accounts TO PUBLIC;
SELECT DISTINCT role, regexp_replace(object, 'ducto\..*', ''), privilege FROM held ORDER BY 1, 2;
SELECT count(*) = (SELECT count(*) FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind IN ('r', 'p', 'v')) AS reads_all FROM held WHERE role = 'regress_ducto_app' AND privilege = 'SELECT';
SET ROLE regress_ducto_app;
SELECT count(*) FROM ducto.accounts;
TRUNCATE ducto.accounts;
INSERT INTO ducto.plans DEFAULT VALUES;
UPDATE ducto.accounts SET balance = 1000000;
CREATE TRIGGER mine BEFORE INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TABLE ducto.mine ();
GRANT SELECT ON ducto.ledger TO regress_ducto_friend;
RESET ROLE;
SELECT ducto_revoke_access('regress_ducto_app'), ducto_revoke_access('regress_ducto_friend');
SELECT * FROM held;

-- Each way to say it.
CREATE SCHEMA regress_ducto_made GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app GRANT TRUNCATE ON ducto.ledger TO regress_ducto_app CREATE TABLE t () GRANT SELECT ON t TO regress_ducto_app;
SELECT has_table_privilege('regress_ducto_app', 'regress_ducto_made.t', 'SELECT');
SELECT pg_temp.run('GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app');
DO $$ BEGIN GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app; END $$;
SET session_replication_role = replica;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
RESET session_replication_role;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SAVEPOINT s;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
ROLLBACK TO s;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
COMMIT;
-- The settings of a dump let named functions through, for a role that can be named only.
SET check_function_bodies = off;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
SET row_security = off;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations, ducto_price TO PUBLIC;
GRANT EXECUTE ON FUNCTION ducto.due_accounts(), ducto_grant_access TO regress_ducto_app;
SET client_min_messages = warning;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO regress_ducto_app;
REVOKE EXECUTE ON FUNCTION ducto_my_balance, ducto_my_events, ducto_my_grants, ducto_my_plan, ducto_my_transactions FROM regress_ducto_app;
RESET client_min_messages;
SELECT * FROM held_shortly ORDER BY 1, 2;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_friend;
SELECT * FROM held_shortly ORDER BY 1, 2;
RESET check_function_bodies;
RESET row_security;
SELECT ducto_revoke_access('regress_ducto_friend');
REVOKE EXECUTE ON FUNCTION ducto_price FROM PUBLIC;

-- What ducto_grant_access gives stays, whatever else is granted, to the same role too.
SELECT ducto_grant_access('regress_ducto_backend');
SELECT count(*) AS functions FROM held WHERE role = 'regress_ducto_backend' \gset
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO regress_ducto_backend WITH GRANT OPTION;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA ducto TO regress_ducto_backend;
RESET client_min_messages;
SELECT count(*) - :functions AS more FROM held WHERE role = 'regress_ducto_backend';
SELECT count(*) FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee = 'regress_ducto_backend'::regrole AND a.is_grantable AND p.proname ~ '^ducto';
SET ROLE regress_ducto_backend;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_friend, PUBLIC;
SELECT amount, error FROM ducto_charge(:ada, 1);
RESET ROLE;
-- A reader stays one; a list is what it says; what was said before no longer holds.
SELECT ducto_grant_access('regress_ducto_friend', 'read');
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO regress_ducto_friend;
RESET client_min_messages;
SELECT count(*) > 10 AS some, bool_and(p.provolatile <> 'v') AS reads_only FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee = 'regress_ducto_friend'::regrole AND p.proname ~ '^ducto_';
SELECT ducto_grant_access('regress_ducto_friend', E' ducto_reserve,ducto_deduct\n, ducto_release');
SELECT role, regexp_replace(object, '\(.*', '') AS object FROM held WHERE role = 'regress_ducto_friend';
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO regress_ducto_friend;
RESET client_min_messages;
SELECT * FROM held_shortly WHERE role = 'regress_ducto_friend' ORDER BY 2;
SET ROLE regress_ducto_friend;
SELECT amount, error FROM ducto_reserve(:ada, 2, min_balance => 0);
SELECT ducto_add_credits(:ada, 1000);
RESET ROLE;
SELECT ducto_grant_access('regress_ducto_friend', 'ducto_reserve, ducto_nothing');
SELECT ducto_grant_access('regress_ducto_friend', 'ducto_reserve,');
SELECT ducto_grant_access('regress_ducto_friend', 'ducto_setup');
SELECT ducto_grant_access('regress_ducto_friend', 'due_accounts');
SELECT ducto_grant_access('regress_ducto_friend', 'all, read');
SELECT ducto_grant_access('regress_ducto_friend', ' ');
SELECT ducto_grant_access('regress_ducto_friend', repeat('x', 100));
SELECT ducto_grant_access(NULL);
SELECT ducto_grant_access('-');
SELECT ducto_revoke_access(NULL);
SELECT ducto_revoke_access('-');
SELECT ducto_revoke_access('regress_ducto_nobody');
SELECT role, regexp_replace(object, '\(.*', '') AS object FROM held WHERE role = 'regress_ducto_friend' AND object !~ '_my_';

-- The owner opens what reads prices, and that only, one by one, for all; it stays when something else is granted and goes when it is revoked.
GRANT EXECUTE ON FUNCTION ducto_price, ducto_expire_reservations TO PUBLIC;
GRANT EXECUTE ON FUNCTION ducto_get_active_pricing TO regress_ducto_app WITH GRANT OPTION;
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
REVOKE EXECUTE ON FUNCTION ducto_my_balance, ducto_my_events, ducto_my_grants, ducto_my_plan, ducto_my_transactions FROM PUBLIC;
RESET client_min_messages;
SELECT * FROM held_shortly WHERE role IN ('PUBLIC', 'regress_ducto_app') ORDER BY 1, 2;
DO $$
BEGIN
	REVOKE EXECUTE ON FUNCTION public.ducto_price FROM PUBLIC;
	SET client_min_messages = warning;
	GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
	RESET client_min_messages;
	COMMIT;
	GRANT EXECUTE ON FUNCTION public.ducto_validate_pricing TO PUBLIC;
	SET client_min_messages = warning;
	GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
	RESET client_min_messages;
END $$;
SELECT * FROM held_shortly WHERE role = 'PUBLIC' ORDER BY 1, 2;
REVOKE EXECUTE ON FUNCTION ducto_validate_pricing, ducto_my_balance, ducto_my_events, ducto_my_grants, ducto_my_plan, ducto_my_transactions FROM PUBLIC;
-- Likewise ducto_setup, which does no harm, but not for all.
GRANT EXECUTE ON FUNCTION ducto_setup TO regress_ducto_app, PUBLIC;
SELECT * FROM held_shortly WHERE role IN ('PUBLIC', 'regress_ducto_app') ORDER BY 1, 2;

-- A role that was opened while the guard was off, and who was given it by that role: the next GRANT to it takes the right to grant, and what came of it.
ALTER EVENT TRIGGER ducto_guard DISABLE;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_backend WITH GRANT OPTION;
SET ROLE regress_ducto_backend;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app WITH GRANT OPTION;
SET ROLE regress_ducto_app;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_schemer, PUBLIC;
RESET ROLE;
ALTER EVENT TRIGGER ducto_guard ENABLE ALWAYS;
SELECT role, granted_to, by_owner FROM held WHERE object ~ 'ducto_expire_reservations\(' ORDER BY 1;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_backend;
SELECT role, granted_to, by_owner FROM held WHERE object ~ 'ducto_expire_reservations\(' ORDER BY 1;

-- A wrapper of the application, SECURITY DEFINER by a role that may call the API, goes on to work for whoever may call the wrapper.
CREATE SCHEMA regress_ducto_shop AUTHORIZATION regress_ducto_backend;
SET ROLE regress_ducto_backend;
CREATE FUNCTION regress_ducto_shop.spend(amount numeric) RETURNS numeric LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$ SELECT balance_after FROM public.ducto_charge('90a8d000-0000-4000-8000-000000000001', amount) $$;
RESET ROLE;
GRANT USAGE ON SCHEMA regress_ducto_shop TO regress_ducto_schemer;
SET ROLE regress_ducto_schemer;
SELECT regress_ducto_shop.spend(3);
SELECT balance_after FROM ducto_charge(:ada, 1);
RESET ROLE;

-- What is added to the extension later is nobody's, whosever it was before.
CREATE FUNCTION public.ducto_later() RETURNS integer LANGUAGE sql AS 'SELECT 1';
GRANT EXECUTE ON FUNCTION ducto_later() TO regress_ducto_backend WITH GRANT OPTION;
CREATE TABLE public.ducto_later (id integer);
GRANT SELECT, TRUNCATE ON ducto_later TO regress_ducto_app;
ALTER EXTENSION ducto ADD FUNCTION ducto_later();
ALTER EXTENSION ducto ADD TABLE ducto_later;
SELECT * FROM held WHERE object ~ 'ducto_later';
ALTER EXTENSION ducto DROP FUNCTION ducto_later();
ALTER EXTENSION ducto DROP TABLE ducto_later;
GRANT ALL ON FUNCTION ducto_later() TO PUBLIC;
DROP FUNCTION ducto_later();
DROP TABLE ducto_later;

-- The owner of a function may do with it what it likes, and has what it had.
ALTER FUNCTION ducto_rollup_rebuild OWNER TO regress_ducto_schemer;
GRANT EXECUTE ON FUNCTION ducto_rollup_rebuild TO regress_ducto_schemer, regress_ducto_app;
SELECT has_function_privilege('regress_ducto_schemer', 'ducto_rollup_rebuild()', 'EXECUTE');
SELECT role, by_owner FROM held WHERE object ~ 'ducto_rollup_rebuild\(';
DO $$ BEGIN EXECUTE format('ALTER FUNCTION public.ducto_rollup_rebuild OWNER TO %I', session_user); END $$;

-- Where it cannot take back, the statement fails: here the guard is a role's that owns nothing else.
ALTER FUNCTION ducto.guard() OWNER TO regress_ducto_schemer;
GRANT USAGE, CREATE ON SCHEMA ducto TO regress_ducto_schemer;
GRANT EXECUTE ON FUNCTION ducto_expire_reservations TO regress_ducto_app;
GRANT EXECUTE ON FUNCTION regress_ducto_other() TO regress_ducto_app;
DO $$ BEGIN EXECUTE format('ALTER FUNCTION ducto.guard() OWNER TO %I', session_user); END $$;
SELECT * FROM held WHERE role IN ('regress_ducto_app', 'regress_ducto_schemer') ORDER BY role, object;

-- Nobody calls it but the server, and nothing of a hostile search_path or of pg_temp is looked at.
SELECT ducto.guard();
CREATE TEMP TABLE pg_extension (extname name);
CREATE TEMP TABLE pg_depend (objid oid);
CREATE FUNCTION pg_temp.aclexplode(aclitem[]) RETURNS SETOF record LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE FUNCTION regress_ducto_made.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR regress_ducto_made.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = regress_ducto_made.trap);
SET search_path = regress_ducto_made, pg_temp, pg_catalog, public;
GRANT EXECUTE ON FUNCTION public.ducto_expire_reservations TO regress_ducto_app;
RESET search_path;
DROP TABLE pg_temp.pg_extension, pg_temp.pg_depend;

-- Who is a member of a role may call what that may.
GRANT regress_ducto_backend TO regress_ducto_app;
SELECT role, granted_to, by_owner FROM held WHERE object ~ 'ducto_expire_reservations\(';
REVOKE regress_ducto_backend FROM regress_ducto_app;

-- Whose access is revoked can be dropped, whatever was granted on; usage of the schema stays with a role that has something else there.
REVOKE EXECUTE ON FUNCTION regress_ducto_other() FROM regress_ducto_backend;
GRANT EXECUTE ON FUNCTION regress_ducto_other() TO regress_ducto_friend;
GRANT USAGE ON TYPE ducto_access TO regress_ducto_backend;
GRANT USAGE ON SCHEMA ducto TO regress_ducto_backend;
GRANT SELECT (id) ON ducto.accounts TO regress_ducto_backend;
SELECT ducto_revoke_access('regress_ducto_backend'), ducto_revoke_access('regress_ducto_friend'), ducto_revoke_access('regress_ducto_app');
SELECT ducto_revoke_access('regress_ducto_app');
SELECT * FROM held;
SELECT r, has_schema_privilege(r, 'public', 'USAGE'), EXISTS (SELECT FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = 'public' AND a.grantee = r::regrole) AS granted FROM unnest(ARRAY['regress_ducto_backend', 'regress_ducto_friend', 'regress_ducto_app']) r;
DROP SCHEMA regress_ducto_shop CASCADE;
DROP ROLE regress_ducto_backend;
REVOKE EXECUTE ON FUNCTION regress_ducto_other() FROM regress_ducto_friend;
SELECT ducto_revoke_access('regress_ducto_friend');
DROP ROLE regress_ducto_friend;
SET client_min_messages = warning;
DROP SCHEMA regress_ducto_made CASCADE;
RESET client_min_messages;
DROP FUNCTION regress_ducto_other();
DROP OWNED BY regress_ducto_schemer;
DROP ROLE regress_ducto_app, regress_ducto_schemer;

SELECT * FROM held;
SELECT * FROM ducto_verify();
