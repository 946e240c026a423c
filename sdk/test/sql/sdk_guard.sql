-- The second lock: default privileges of whomever, and a blanket GRANT, open neither extension.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE ROLE regress_ducto_app NOLOGIN;
CREATE ROLE regress_ducto_backend NOLOGIN;
CREATE SCHEMA regress_ducto_api;
-- those of the role that makes the extensions, everywhere and in a schema
ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO regress_ducto_app WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_ducto_app, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_ducto_app;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_ducto_app, PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_ducto_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA regress_ducto_api GRANT EXECUTE ON FUNCTIONS TO regress_ducto_app, PUBLIC;
CREATE TABLE witness ();
SELECT has_table_privilege('regress_ducto_app', 'witness', 'TRUNCATE') AS opens_others;
DROP TABLE witness;
CREATE EXTENSION ducto SCHEMA regress_ducto_api;
CREATE EXTENSION ducto_sdk SCHEMA regress_ducto_api;
RESET client_min_messages;

-- nobody has anything but the owner, nor do dumps think that somebody had
SELECT * FROM regress_ducto_api.ducto_list_access();
SELECT count(*) FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname ~ '^ducto'
JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid, aclexplode(t.typacl) a WHERE a.grantee = 'regress_ducto_app'::regrole;
SELECT count(*) FROM pg_init_privs i, aclexplode(i.initprivs) a WHERE i.privtype = 'e' AND a.grantee = 'regress_ducto_app'::regrole;
GRANT USAGE ON SCHEMA regress_ducto_api TO regress_ducto_app;
SET ROLE regress_ducto_app;
SELECT regress_ducto_api.credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase');
SELECT regress_ducto_api.ducto_grant_access('regress_ducto_app');
TRUNCATE ducto.accounts;
RESET ROLE;

-- a blanket GRANT; what is no member is theirs
CREATE FUNCTION regress_ducto_api.other() RETURNS integer LANGUAGE sql AS 'SELECT 7';
SET client_min_messages = warning;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA regress_ducto_api TO regress_ducto_app, PUBLIC;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA ducto TO regress_ducto_app;
RESET client_min_messages;
GRANT EXECUTE ON FUNCTION regress_ducto_api.credits_add TO regress_ducto_app;
GRANT EXECUTE ON FUNCTION regress_ducto_api.ducto_sdk_import, ducto.sdk_plan_uuid TO regress_ducto_app;
SELECT DISTINCT role, regexp_replace(object, 'ducto_my_.*', 'ducto_my_*') AS object FROM regress_ducto_api.ducto_list_access() ORDER BY 1, 2;
SET ROLE regress_ducto_app;
SELECT regress_ducto_api.other();
SELECT regress_ducto_api.credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase');
SELECT regress_ducto_api.deduct_with_allowance('00000000-0000-4000-8000-000000000001', 2);
RESET ROLE;
-- prices may be opened one by one
GRANT EXECUTE ON FUNCTION regress_ducto_api.get_active_pricing_config TO PUBLIC;
SELECT role, object FROM regress_ducto_api.ducto_list_access() WHERE object !~ '_my_';

-- ducto_grant_access is for both, and so is ducto_revoke_access
SELECT regress_ducto_api.ducto_grant_access('regress_ducto_backend');
SET ROLE regress_ducto_backend;
SELECT regress_ducto_api.credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance';
SELECT balance FROM regress_ducto_api.ducto_get_balance('00000000-0000-4000-8000-000000000001');
SELECT regress_ducto_api.ducto_sdk_setup();
SELECT regress_ducto_api.ducto_sdk_import();
RESET ROLE;
SELECT regress_ducto_api.ducto_grant_access('regress_ducto_backend', 'read');
SET ROLE regress_ducto_backend;
SELECT regress_ducto_api.get_credits_balance('00000000-0000-4000-8000-000000000001') ->> 'balance';
SELECT regress_ducto_api.credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase');
RESET ROLE;
SELECT regress_ducto_api.ducto_grant_access('regress_ducto_backend', 'credits_add, ducto_get_balance');
SELECT role, regexp_replace(object, '\(.*', '') AS object FROM regress_ducto_api.ducto_list_access() WHERE role = 'regress_ducto_backend';
SELECT regress_ducto_api.ducto_revoke_access('regress_ducto_backend'), regress_ducto_api.ducto_revoke_access('regress_ducto_app');
DROP ROLE regress_ducto_backend;

-- an extension that comes later is closed too
DROP EXTENSION ducto_sdk;
SET client_min_messages = warning;
CREATE EXTENSION ducto_sdk SCHEMA regress_ducto_api;
RESET client_min_messages;
SELECT DISTINCT role, regexp_replace(object, 'ducto_my_.*', 'ducto_my_*') AS object FROM regress_ducto_api.ducto_list_access() ORDER BY 1, 2;
SELECT * FROM regress_ducto_api.ducto_verify();

-- the event triggers go with the extension, and GRANT is as before
DROP EXTENSION ducto CASCADE;
SELECT evtname FROM pg_event_trigger;
GRANT ALL ON ALL FUNCTIONS IN SCHEMA regress_ducto_api TO regress_ducto_app;
ALTER DEFAULT PRIVILEGES IN SCHEMA regress_ducto_api REVOKE EXECUTE ON FUNCTIONS FROM regress_ducto_app, PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM regress_ducto_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_ducto_app, PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_ducto_app;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_ducto_app, PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM regress_ducto_app;
DROP SCHEMA regress_ducto_api CASCADE;
DROP ROLE regress_ducto_app;
