-- access: who may call the API, and what nobody can do to those who call it

\set ada '\'acce5500-0000-4000-8000-000000000001\''
\set bob '\'acce5500-0000-4000-8000-000000000002\''

CREATE ROLE regress_ducto_all;
CREATE ROLE regress_ducto_read;
CREATE ROLE regress_ducto_none;
CREATE ROLE "regress ducto ""Quoted""";
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10) \gset
SELECT reservation_id AS r FROM ducto_reserve(:ada, 10) \gset

-- What belongs to the extension: functions, the types of their results, tables, and its schema.
CREATE TEMP VIEW members AS SELECT classid, objid, CASE classid WHEN 'pg_proc'::regclass THEN 'function' WHEN 'pg_type'::regclass THEN 'type' WHEN 'pg_class'::regclass THEN CASE (SELECT relkind FROM pg_class WHERE oid = objid) WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' ELSE 'other relation' END
	WHEN 'pg_namespace'::regclass THEN 'schema' WHEN 'pg_event_trigger'::regclass THEN 'event trigger' ELSE 'something else' END AS kind
	FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ducto')
	-- Since PostgreSQL 17, what comes with a type or table belongs to the extension too: array types, and the row types of tables and views.
	AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.oid = objid AND (c.relkind IN ('r', 'v') OR EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid))));
SELECT DISTINCT kind FROM members ORDER BY 1;
SELECT objid::regclass AS "table" FROM members WHERE kind = 'table' ORDER BY objid::regclass::text COLLATE "C";

-- The contract: each function with its arguments, their defaults and its result. No name has two signatures, because PostgREST finds an RPC by its arguments' names.
CREATE TEMP VIEW functions AS SELECT p.*, n.nspname FROM members JOIN pg_proc p ON p.oid = objid JOIN pg_namespace n ON n.oid = pronamespace WHERE kind = 'function';
\pset format unaligned
\pset tuples_only on
SELECT format(E'%s %s(%s)\n    %s%s', CASE prokind WHEN 'p' THEN 'procedure' ELSE 'function' END, oid::regproc, pg_get_function_arguments(oid), coalesce(pg_get_function_result(oid), 'nothing'),
	CASE provolatile WHEN 's' THEN ', stable' WHEN 'i' THEN ', immutable' ELSE ', volatile' END)
FROM functions ORDER BY oid::regproc::text COLLATE "C";

-- And the columns of each result.
SELECT format(E'%s\n    %s', objid::regtype, (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = typrelid AND attnum > 0))
FROM members JOIN pg_type t ON t.oid = objid WHERE kind = 'type' ORDER BY objid::regtype::text COLLATE "C";
\pset format aligned
\pset tuples_only off
SELECT proname, count(*) FROM functions GROUP BY proname HAVING count(*) > 1;
SELECT oid::regproc AS strict_function FROM functions WHERE proisstrict;

-- What breaks a rule of the house. There are no rows: nothing does.
SELECT oid::regproc AS function, problem FROM functions, LATERAL (VALUES
	(prokind NOT IN ('p', 'a') AND NOT prosecdef AND prorettype <> 'internal'::regtype, 'is not SECURITY DEFINER'),
	(prokind NOT IN ('p', 'a') AND proconfig[1] IS DISTINCT FROM 'search_path=pg_catalog, pg_temp' AND prorettype <> 'internal'::regtype, 'has no pinned search_path'),
	(prokind = 'p' AND (prosecdef OR proconfig IS NOT NULL), 'could not commit'),
	(nspname = 'ducto' AND proname LIKE 'ducto%', 'is hidden in the schema of the tables'),
	(nspname <> 'ducto' AND proname NOT LIKE 'ducto\_%', 'does not start with ducto_'),
	(has_function_privilege('regress_ducto_none', oid, 'EXECUTE'), 'can be called by everybody'),
	(proargnames::text ~ '[{,](p|_|in|arg|v)_', 'has an argument with a prefix'),
	(cardinality(proargnames) IS DISTINCT FROM nullif(pronargs::integer, 0), 'has an argument without a name'),
	(obj_description(oid, 'pg_proc') IS NULL, 'has no comment'),
	(proparallel <> 'u' AND provolatile <> 'i', 'claims to be safe in parallel'),
	(nspname <> 'ducto' AND prokind <> 'p' AND provolatile = 'v' AND prorettype <> 'void'::regtype AND prosupport <> 'ducto.call_once'::regproc, 'could be called once per column'),
	(proretset AND provolatile = 'v' AND proname NOT IN ('ducto_setup', 'ducto_repair', 'ducto_distribute', 'ducto_undistribute', 'ducto_take_events', 'ducto_charge_many', 'ducto_add_credits_many',
		'charge_many_shards', 'add_credits_many_shards'), 'is a list that writes')
	) p (broken, problem) WHERE broken;
SELECT objid::regtype AS type, problem FROM members JOIN pg_type t ON t.oid = objid, LATERAL (VALUES
	(typtype <> 'c', 'is not composite'),
	(typname NOT LIKE 'ducto\_%', 'does not start with ducto_'),
	(obj_description(objid, 'pg_type') IS NULL AND obj_description(typrelid, 'pg_class') IS NULL, 'has no comment')
	) p (broken, problem) WHERE kind = 'type' AND broken;
SELECT objid::regclass AS "table", problem FROM members JOIN pg_class c ON c.oid = objid, LATERAL (VALUES
	(relnamespace <> 'ducto'::regnamespace, 'is not in the schema ducto'),
	(NOT relrowsecurity, 'has no row level security'),
	(relname <> 'usage_rollup' AND NOT objid = ANY ((SELECT extconfig FROM pg_extension WHERE extname = 'ducto')::oid[]), 'is forgotten by pg_dump'),
	(EXISTS (SELECT FROM pg_policy WHERE polrelid = objid), 'has a policy'),
	(obj_description(objid, 'pg_class') IS NULL, 'has no comment'),
	(NOT EXISTS (SELECT FROM pg_index WHERE indrelid = objid AND indisprimary), 'has no primary key'),
	(relacl IS NOT NULL AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner), 'is open to another than its owner')
	) p (broken, problem) WHERE kind = 'table' AND broken;
-- A view reads with its owner's rights, past row level security.
SELECT objid::regclass AS view, problem FROM members JOIN pg_class c ON c.oid = objid, LATERAL (VALUES
	(relnamespace <> 'ducto'::regnamespace, 'is not in the schema ducto'),
	(obj_description(objid, 'pg_class') IS NULL, 'has no comment'),
	(relacl IS NOT NULL AND EXISTS (SELECT FROM aclexplode(relacl) WHERE grantee <> relowner), 'is open to another than its owner')
	) p (broken, problem) WHERE kind = 'view' AND broken;
SELECT attrelid::regclass AS "table", attname AS column_without_comment FROM members JOIN pg_attribute ON attrelid = objid WHERE kind IN ('table', 'view') AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL;
SELECT attrelid::regclass AS type, attname AS column_without_comment FROM members JOIN pg_type t ON t.oid = objid JOIN pg_attribute ON attrelid = typrelid WHERE kind = 'type' AND attnum > 0 AND NOT attisdropped AND col_description(attrelid, attnum) IS NULL;
SELECT objid::regnamespace AS schema FROM members JOIN pg_namespace n ON n.oid = objid WHERE kind = 'schema' AND (obj_description(objid, 'pg_namespace') IS NULL OR has_schema_privilege('regress_ducto_none', objid, 'USAGE') OR has_schema_privilege('regress_ducto_none', objid, 'CREATE'));

-- All tables can be distributed: the account's id, a team's being one, comes first in every unique key. Plans and pricing are small and the same everywhere; a cluster has no test clock.
SELECT indexrelid::regclass AS index, attname FROM members JOIN pg_index ON indrelid = objid JOIN pg_attribute a ON a.attrelid = objid AND a.attnum = indkey[0] JOIN pg_class c ON c.oid = objid
WHERE kind = 'table' AND indisunique AND relname NOT IN ('plans', 'plan_allowances', 'pricing', 'team_keys', 'usage_rollup', 'test_clock') AND attname <> CASE relname WHEN 'accounts' THEN 'id' WHEN 'teams' THEN 'id' WHEN 'team_members' THEN 'team_id' ELSE 'account_id' END;

-- Without a grant nobody can call anything; a table is not even there.
SET ROLE regress_ducto_none;
SELECT ducto_get_balance(:ada);
SELECT ducto_charge(:ada, 1);
CALL ducto_sweep();
SELECT ducto_grant_access('regress_ducto_none');
SELECT count(*) FROM ducto.accounts;
RESET ROLE;

-- A backend that was granted the API can do its whole job with it.
SELECT ducto_grant_access('regress_ducto_all');
SET ROLE regress_ducto_all;
SELECT new_balance, error FROM ducto_add_credits(:bob, 50, 'promo', expires_at => '2222-01-01', idempotency_key => 'k');
SELECT reservation_id AS br FROM ducto_reserve(:bob, 10, 'chat', '{}', 0, 60, 'model-a', 'strict', max_concurrent => 5, idempotency_key => 'k') \gset
SELECT amount, error FROM ducto_deduct(:bob, :'br', 4, 'd', '{}', 'model-b', 'reject', false, true);
SELECT error FROM ducto_renew(:bob, :'br', 60);
SELECT released FROM ducto_release(:bob, :'br');
SELECT amount, error FROM ducto_charge(:bob, 5);
SELECT amount, error FROM ducto_refund((SELECT id FROM ducto_list_usage_events(:bob, max_rows => 1)), 1, 'reason', '{}', 'r');
SELECT affordable FROM ducto_can_afford(:bob, 5);
SELECT balance, reserved FROM ducto_get_balance(:bob);
SELECT remaining FROM ducto_list_grants(:bob);
SELECT type, amount FROM ducto_list_transactions(:bob);
SELECT ducto_balance_at(:bob, clock_timestamp());
SELECT count(*) FROM ducto_verify();
SELECT expired_count >= 0 AS swept FROM ducto_sweep_expired();
SELECT ducto_expire_reservations() >= 0 AS closed;
SET client_min_messages = warning;
CALL ducto_sweep();
RESET client_min_messages;
SET ducto.rejections = 'raise';
\set VERBOSITY sqlstate
SELECT ducto_charge(:bob, 1000);
\set VERBOSITY default
RESET ducto.rejections;

-- But not more: not the tables, not the helpers, not the management of access.
SELECT count(*) FROM ducto.accounts;
UPDATE ducto.accounts SET balance = 1000000;
INSERT INTO ducto.ledger SELECT * FROM ducto.ledger;
SELECT ducto.due_accounts();
SELECT ducto_grant_access('regress_ducto_none');
SELECT ducto_grant_access('regress_ducto_all', 'all');
GRANT EXECUTE ON FUNCTION ducto_get_balance(uuid) TO regress_ducto_none;
SELECT has_function_privilege('regress_ducto_none', 'ducto_get_balance(uuid)', 'EXECUTE') AS passed_on;
RESET ROLE;
SELECT oid::regproc AS not_granted FROM functions WHERE NOT has_function_privilege('regress_ducto_all', oid, 'EXECUTE') ORDER BY oid::regproc::text COLLATE "C";
SELECT oid::regproc AS may_pass_on FROM functions WHERE has_function_privilege('regress_ducto_all', oid, 'EXECUTE WITH GRANT OPTION');

-- A reader reads and nothing else.
SELECT ducto_grant_access('regress_ducto_read', 'read');
SET ROLE regress_ducto_read;
SELECT balance, reserved FROM ducto_get_balance(:ada);
SELECT type, amount FROM ducto_list_transactions(:ada);
SELECT count(*) FROM ducto_verify();
SELECT ducto_charge(:ada, 1);
SELECT ducto_sweep_expired(true);
SELECT count(*) FROM ducto.ledger;
RESET ROLE;
SELECT oid::regproc AS granted, provolatile FROM functions WHERE has_function_privilege('regress_ducto_read', oid, 'EXECUTE') ORDER BY oid::regproc::text COLLATE "C";

-- To grant twice changes nothing, and any name of a role will do.
SELECT ducto_grant_access('regress_ducto_read', 'read');
SELECT ducto_grant_access('"regress ducto ""Quoted"""', what => 'read');
SET ROLE "regress ducto ""Quoted""";
SELECT balance FROM ducto_get_balance(:ada);
RESET ROLE;

-- A reader may become a caller of all.
SELECT ducto_grant_access('regress_ducto_read', 'all');
SELECT count(*) FROM functions WHERE has_function_privilege('regress_ducto_read', oid, 'EXECUTE') <> has_function_privilege('regress_ducto_all', oid, 'EXECUTE');

-- A table that somebody opens, with the guard off, still shows nothing: row level security has no policy for clients.
ALTER EVENT TRIGGER ducto_guard DISABLE;
GRANT USAGE ON SCHEMA ducto TO regress_ducto_none;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA ducto TO regress_ducto_none;
ALTER EVENT TRIGGER ducto_guard ENABLE ALWAYS;
SET ROLE regress_ducto_none;
SELECT (SELECT count(*) FROM ducto.accounts) AS accounts, (SELECT count(*) FROM ducto.ledger) AS ledger, (SELECT count(*) FROM ducto.grants) AS grants, (SELECT count(*) FROM ducto.reservations) AS reservations;
UPDATE ducto.accounts SET balance = 1000000;
INSERT INTO ducto.accounts (id, kind, created_at, updated_at) VALUES (:bob, 'user', now(), now());
SELECT ducto.due_accounts();
RESET ROLE;
REVOKE ALL ON ALL TABLES IN SCHEMA ducto FROM regress_ducto_none;
REVOKE ALL ON SCHEMA ducto FROM regress_ducto_none;

-- The grant opens the schema of the API too, to use and not to make anything in.
SELECT acl.privilege_type FROM pg_namespace n, LATERAL aclexplode(nspacl) acl WHERE n.oid = (SELECT pronamespace FROM functions WHERE proname = 'ducto_charge') AND grantee = 'regress_ducto_all'::regrole;

-- Now an attacker who may call the API puts traps in its way: functions, operators, tables and types of the names that it uses, in a schema that comes first and in pg_temp. Each trap that is sprung raises an error.
CREATE SCHEMA regress_ducto_evil;
GRANT ALL ON SCHEMA regress_ducto_evil TO regress_ducto_all;
SET ROLE regress_ducto_all;
SET search_path = regress_ducto_evil, pg_temp, pg_catalog, public;
SET client_min_messages = warning;
CREATE FUNCTION regress_ducto_evil.trap() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.trap(numeric, numeric) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.sum_trap(numeric, numeric) RETURNS numeric LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.trap(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.trap(timestamptz, timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.trap(bigint, integer) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE OPERATOR regress_ducto_evil.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.= (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.>= (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.> (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.- (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_ducto_evil.sum_trap);
CREATE OPERATOR regress_ducto_evil.+ (LEFTARG = numeric, RIGHTARG = numeric, FUNCTION = regress_ducto_evil.sum_trap);
CREATE OPERATOR regress_ducto_evil.+ (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = regress_ducto_evil.trap);
CREATE OPERATOR regress_ducto_evil.<= (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = regress_ducto_evil.trap);
CREATE FUNCTION regress_ducto_evil.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.now() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.unnest(uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.due_accounts() RETURNS uuid[] LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE FUNCTION regress_ducto_evil.sweep_accounts(uuid[]) RETURNS void LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE AGGREGATE regress_ducto_evil.sum(numeric) (SFUNC = regress_ducto_evil.sum_trap, STYPE = numeric, INITCOND = '0');
CREATE DOMAIN regress_ducto_evil.uuid AS text CHECK (regress_ducto_evil.trap());
CREATE DOMAIN regress_ducto_evil.numeric AS text CHECK (regress_ducto_evil.trap());
CREATE TABLE regress_ducto_evil.accounts (id integer);
CREATE TABLE regress_ducto_evil.ledger (id integer);
CREATE TABLE regress_ducto_evil.pg_proc (oid integer);
CREATE TEMP TABLE accounts (id integer);
CREATE TEMP TABLE ledger (id integer);
CREATE TEMP TABLE grants (id integer);
CREATE TEMP TABLE reservations (id integer);
CREATE TEMP TABLE pg_proc (oid integer);
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE DOMAIN pg_temp.uuid AS pg_catalog.text CHECK (regress_ducto_evil.trap());
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (regress_ducto_evil.trap());

\set SHOW_CONTEXT never
-- The traps work on the attacker's own statements.
SELECT clock_timestamp();
SELECT 1.5::pg_catalog.numeric - 1.5::pg_catalog.numeric;

-- Not on the API's: everything is done as before, by new plans, because the session has just begun, and by the procedure, which runs with the caller's rights.
\c -
SET ROLE regress_ducto_all;
CREATE TEMP TABLE accounts (id integer);
CREATE TEMP TABLE ledger (id integer);
CREATE TEMP TABLE grants (id integer);
CREATE TEMP TABLE reservations (id integer);
CREATE TEMP TABLE pg_proc (oid integer);
CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
CREATE DOMAIN pg_temp.uuid AS pg_catalog.text CHECK (regress_ducto_evil.trap());
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (regress_ducto_evil.trap());
SET search_path = regress_ducto_evil, pg_temp, pg_catalog, public;
SET client_min_messages = warning;
SELECT new_balance, error FROM public.ducto_add_credits(:bob, 5, 'promo', expires_at => '2222-01-01', idempotency_key => 'evil');
SELECT new_balance, error FROM public.ducto_add_credits(:bob, -1);
SELECT amount, error FROM public.ducto_reserve(:bob, 10, min_balance => 0, max_concurrent => 5, idempotency_key => 'evil');
SELECT reservation_id AS br FROM public.ducto_reserve(:bob, 10) \gset
SELECT amount, error FROM public.ducto_deduct(:bob, :'br', 4, final => false);
SELECT amount, error FROM public.ducto_deduct(:bob, :'br', 12, 'evil deduct', overrun => 'clamp');
SELECT error FROM public.ducto_renew(:bob, :'br');
SELECT released, reason FROM public.ducto_release(:bob, :'br');
SELECT amount, error FROM public.ducto_charge(:bob, 2, 'evil charge');
SELECT amount, error FROM public.ducto_refund((SELECT id FROM public.ducto_list_usage_events(:bob, max_rows => 1)), 1);
SELECT affordable FROM public.ducto_can_afford(:bob, 5);
SELECT balance, reserved FROM public.ducto_get_balance(:bob);
SELECT remaining FROM public.ducto_list_grants(:bob);
SELECT type, amount FROM public.ducto_list_transactions(:bob, '{refund}', from_time => '2020-01-01', max_rows => 1);
SELECT public.ducto_balance_at(:bob, pg_catalog.clock_timestamp()) IS NOT NULL AS has_balance;
SELECT count(*) FROM public.ducto_verify();
SELECT expired_count IS NOT NULL AS swept FROM public.ducto_sweep_expired();
SELECT public.ducto_expire_reservations() IS NOT NULL AS closed;
SELECT new_balance FROM public.ducto_add_credits(:bob, 5, 'promo', expires_at => pg_catalog.clock_timestamp() + pg_catalog.interval '0.05 s');
SELECT pg_catalog.pg_sleep(0.1) \g /dev/null
CALL public.ducto_sweep();
SELECT type, amount FROM public.ducto_list_transactions(:bob, max_rows => 1);
RESET ROLE;
SELECT public.ducto_grant_access('regress_ducto_none', 'read');
\c -

SET client_min_messages = warning;
DROP SCHEMA regress_ducto_evil CASCADE;
RESET client_min_messages;

-- A role that was granted access can be dropped when its grants are.
DROP OWNED BY regress_ducto_all, regress_ducto_read, regress_ducto_none, "regress ducto ""Quoted""";
DROP ROLE regress_ducto_all, regress_ducto_read, regress_ducto_none, "regress ducto ""Quoted""";

SELECT * FROM ducto_verify();
