-- Row level security that hides the rows from the functions' owner is an error, never an empty answer.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS ducto CASCADE;
CREATE EXTENSION ducto_sdk CASCADE;
CREATE ROLE regress_ducto_owner;
RESET client_min_messages;
SELECT credits_add('00000000-0000-4000-8000-000000000001', 5, 'purchase') ->> 'new_balance';

BEGIN;
DO $$
DECLARE
	what text;
BEGIN
	FOR what IN SELECT format('TABLE %s', oid::regclass) FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r'
		UNION ALL SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p
			JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname IN ('ducto', 'ducto_sdk') WHERE p.prokind = 'f'
	LOOP
		EXECUTE format('ALTER %s OWNER TO regress_ducto_owner', what);
	END LOOP;
END $$;
ALTER SCHEMA ducto OWNER TO regress_ducto_owner;
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-000000000001');
SELECT count(*) FROM list_usage_events('00000000-0000-4000-8000-000000000001');
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001') ->> 'balance';
ALTER TABLE ducto.accounts FORCE ROW LEVEL SECURITY;
ALTER TABLE ducto.ledger FORCE ROW LEVEL SECURITY;
\set VERBOSITY sqlstate
SAVEPOINT s;
SELECT count(*) FROM list_user_transactions('00000000-0000-4000-8000-000000000001');
ROLLBACK TO s;
SELECT count(*) FROM list_usage_events('00000000-0000-4000-8000-000000000001');
ROLLBACK TO s;
SELECT get_credits_balance('00000000-0000-4000-8000-000000000001');
ROLLBACK TO s;
SELECT deduct_with_allowance('00000000-0000-4000-8000-000000000001', 1);
ROLLBACK;
\set VERBOSITY default
DROP ROLE regress_ducto_owner;
SELECT * FROM ducto_verify();
