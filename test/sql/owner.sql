-- owner: row level security without policies hides every row from an owner who is subject to it. That is an error, never a balance of 0

\set ada '\'0ada0000-0000-4000-8000-000000000001\''
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'promo', expires_at => '2222-01-01');
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'daily', 1000);
CREATE ROLE regress_ducto_owner;
CREATE ROLE regress_ducto_other;

-- all_tables() and all_functions() change what the extension has of them.
CREATE FUNCTION pg_temp.all_tables(change text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' LOOP
		EXECUTE format('ALTER TABLE %s %s', t, change);
	END LOOP;
END $$;
CREATE FUNCTION pg_temp.all_functions(change text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	f regprocedure;
BEGIN
	FOR f IN SELECT p.oid FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'ducto' WHERE p.prosecdef LOOP
		EXECUTE format('ALTER FUNCTION %s %s', f, change);
	END LOOP;
END $$;

-- try() makes a call and tells what came of it; tried has all that were not refused.
CREATE TEMP TABLE calls (n serial, call text);
INSERT INTO calls (call) SELECT replace(call, 'ADA', quote_literal(:ada)) FROM unnest(ARRAY['ducto_get_balance(ADA)', 'ducto_charge(ADA, 1)', 'ducto_reserve(ADA, 1)', 'ducto_add_credits(ADA, 1)', 'ducto_add_credits(gen_random_uuid(), 1)', 'ducto_list_grants(ADA)',
	'ducto_list_transactions(ADA)', 'ducto_list_usage_events(ADA)', 'ducto_balance_at(ADA, now())', 'ducto_can_afford(ADA, 1)', 'ducto_refund(ADA)', 'ducto_release(ADA, ADA)', 'ducto_list_spend_caps(ADA)', 'ducto_check_spend_cap(ADA)', 'ducto_check_allowance(ADA)',
	'ducto_get_user_plan(ADA)', 'ducto_set_user_plan(ADA, ''x'')', 'ducto_check_feature(ADA, ''x'')', 'ducto_get_active_pricing()', 'ducto_get_pricing_history()', 'ducto_price(''{}'')', 'ducto_set_active_pricing(''{"models": {"_default": "0"}}'')', 'ducto_create_team(''x'')',
	'ducto_get_team_balance(ADA)', 'ducto_get_team_members(ADA)', 'ducto_deduct_team(ADA, ADA, 1)', 'ducto_spend_by_user(''2020-01-01'', now())', 'ducto_rollup()', 'ducto_sweep_expired()', 'ducto_expire_reservations()', 'ducto_verify()']) call;
CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE 'SELECT FROM ' || call;
	RETURN 'answered';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TEMP VIEW tried AS SELECT call, result FROM calls, pg_temp.try(call) AS result WHERE result <> '42501' ORDER BY n;

-- An owner without rights of a superuser can do all: row level security does not apply to the owner of a table.
BEGIN;
SELECT pg_temp.all_tables('OWNER TO regress_ducto_owner'), pg_temp.all_functions('OWNER TO regress_ducto_owner');
ALTER SCHEMA ducto OWNER TO regress_ducto_owner;
SELECT amount, balance_after, error FROM ducto_charge(:ada, 1);
SELECT balance FROM ducto_get_balance(:ada);

-- But where it is forced. The sessions that have their plans already see it too.
SELECT pg_temp.all_tables('FORCE ROW LEVEL SECURITY');
SAVEPOINT s;
SELECT balance FROM ducto_get_balance(:ada);
ROLLBACK TO SAVEPOINT s;
SELECT * FROM tried;

-- The remedies of the hint.
ALTER ROLE regress_ducto_owner BYPASSRLS;
SELECT balance, error FROM ducto_get_balance(:ada), LATERAL (SELECT error FROM ducto_charge(:ada, 1)) c;
ALTER ROLE regress_ducto_owner NOBYPASSRLS;
SELECT pg_temp.all_tables('NO FORCE ROW LEVEL SECURITY');
SELECT balance, error FROM ducto_get_balance(:ada), LATERAL (SELECT error FROM ducto_charge(:ada, 1)) c;

-- Functions that another owns, who may read the tables, see no rows either.
GRANT USAGE ON SCHEMA ducto TO regress_ducto_other;
GRANT SELECT ON ALL TABLES IN SCHEMA ducto TO regress_ducto_other;
SELECT pg_temp.all_functions('OWNER TO regress_ducto_other');
SELECT * FROM tried;
SELECT pg_temp.all_functions('OWNER TO regress_ducto_owner');
SELECT balance FROM ducto_get_balance(:ada);

-- A session may have switched row level security off: it is served where none applies, and refused where some does.
SET LOCAL row_security = off;
SELECT balance FROM ducto_get_balance(:ada);
SELECT pg_temp.all_functions('OWNER TO regress_ducto_other');
SELECT * FROM tried;
ROLLBACK;

SELECT balance FROM ducto_get_balance(:ada);
DROP ROLE regress_ducto_owner, regress_ducto_other;
SELECT * FROM ducto_verify();
