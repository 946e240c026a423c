-- Who may call the functions: as on Supabase, where default privileges grant by name.

-- It makes roles of Supabase's names and drops them. Where the cluster has one of these already it leaves them alone, and all is well.
SELECT count(*) > 0 AS taken FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role') \gset
\if :taken
\quit
\endif

SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE ROLE anon NOLOGIN;
CREATE ROLE authenticated NOLOGIN;
CREATE ROLE service_role NOLOGIN;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO anon, authenticated, service_role;
CREATE EXTENSION ducto_sdk CASCADE;
RESET client_min_messages;

CREATE VIEW callable AS
SELECT r.rolname, count(*) FILTER (WHERE has_function_privilege(r.oid, p.oid, 'EXECUTE')) AS can,
	string_agg(p.proname, ', ' ORDER BY p.proname) FILTER (WHERE NOT has_function_privilege(r.oid, p.oid, 'EXECUTE')
		AND p.pronamespace = 'public'::regnamespace AND r.rolname = 'service_role') AS cannot
FROM pg_roles r, pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ducto_sdk'
WHERE r.rolname IN ('anon', 'authenticated', 'service_role') GROUP BY 1 ORDER BY 1;

-- The planner lets no statement call a function that writes more often than it stands there. There are no rows: all have that.
SELECT p.oid::regproc FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ducto_sdk'
WHERE p.pronamespace <> 'ducto'::regnamespace AND p.provolatile = 'v' AND p.prorettype <> 'void'::regtype AND p.prosupport <> 'ducto.call_once'::regproc;
SELECT (credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance')::numeric BETWEEN 1 AND 9;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001') ->> 'balance';

-- nobody after CREATE EXTENSION (until PostgreSQL 14 everybody may create in schema public, of which ducto_sdk_setup would warn)
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT rolname, can FROM callable;
SELECT * FROM ducto_sdk_setup();
SELECT * FROM callable;
SELECT * FROM ducto_sdk_setup();
SET ROLE service_role;
SELECT credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance';
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 2) ->> 'balance_after';
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-000000000001');
SELECT set_user_plan('00000000-0000-4000-8000-000000000001', 'none');
SELECT cap_type, cap_limit FROM ducto_set_spend_cap('00000000-0000-4000-8000-000000000001', 'daily', 1000);
SELECT ducto_charge('00000000-0000-4000-8000-000000000001', 1);
SELECT * FROM ducto.accounts;
SELECT * FROM ducto_sdk_setup();
SELECT * FROM ducto_sdk_import();
SELECT ducto.sdk_plan_uuid('pro');
RESET ROLE;
SET ROLE authenticated;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001');
RESET ROLE;
SET ROLE anon;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 2);
RESET ROLE;

-- what somebody granted is taken away again
GRANT EXECUTE ON FUNCTION get_credits_balance(uuid) TO PUBLIC, anon;
SELECT * FROM ducto_sdk_setup() WHERE action <> 'had nothing';
SELECT rolname, can FROM callable;

-- objects of a hostile search_path are not looked at
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.ducto_get_balance(user_id uuid) RETURNS public.ducto_balance_result LANGUAGE plpgsql AS $$ BEGIN RAISE 'hostile'; END $$;
CREATE FUNCTION hostile.abs(numeric) RETURNS numeric LANGUAGE sql AS $$ SELECT 1/0 $$;
SET search_path = hostile, pg_catalog, public;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001') ->> 'balance';
SELECT refund_credits('00000000-0000-4000-8000-000000000001', 'NaN');
RESET search_path;
SELECT * FROM ducto_verify();

-- elsewhere than in public, beside ducto in yet another schema
DROP SCHEMA hostile CASCADE;
DROP VIEW callable;
DROP EXTENSION ducto_sdk;
SELECT count(*) AS left_behind FROM pg_proc WHERE pronamespace = 'ducto'::regnamespace AND proname LIKE 'sdk%';

-- in the schema of the helpers, which nobody is granted
CREATE EXTENSION ducto_sdk SCHEMA ducto;
SELECT action FROM ducto.ducto_sdk_setup() WHERE object = 'role service_role';
SELECT proname FROM pg_proc WHERE pronamespace = 'ducto'::regnamespace AND proname ~ '^(ducto_)?sdk_'
AND has_function_privilege('service_role', oid, 'EXECUTE');
DROP EXTENSION ducto_sdk;
DROP EXTENSION ducto;
CREATE SCHEMA engine;
CREATE SCHEMA billing;
CREATE EXTENSION ducto_sdk SCHEMA billing;
CREATE EXTENSION ducto SCHEMA engine;
CREATE EXTENSION ducto_sdk SCHEMA billing;
SELECT billing.credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance';
SELECT billing.activate_pricing(1);
SELECT object, action FROM billing.ducto_sdk_setup();
SET ROLE service_role;
SELECT billing.get_available_credits('00000000-0000-4000-8000-000000000001');
RESET ROLE;
SELECT * FROM engine.ducto_verify();
DROP EXTENSION ducto CASCADE;
DROP SCHEMA billing, engine CASCADE;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE EXECUTE ON FUNCTIONS FROM anon, authenticated, service_role;
DROP OWNED BY anon, authenticated, service_role;
DROP ROLE anon, authenticated, service_role;
