-- What the books rest on is not removed by hand, by the owner neither; the functions that may remove something do.
\pset null -
\set ann '\'ee900000-0000-4000-8000-000000000001\''
\set SHOW_CONTEXT never

-- Tries to remove rows, and tells how that fails.
CREATE FUNCTION pg_temp.removed(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'removed';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, hint);
END $$;

SELECT new_balance FROM ducto_add_credits(:ann, 100);
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'daily', 10);
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'monthly', 10);

-- Every table of the extension but the rollup, which is made anew from the ledger.
SELECT relname, pg_temp.removed(format('DELETE FROM ducto.%I', relname)) AS "DELETE"
FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' AND relname <> 'usage_rollup' ORDER BY relname COLLATE "C";
SELECT string_agg(DISTINCT left(pg_temp.removed(format('TRUNCATE ducto.%I', relname)), 5), ' ') AS "TRUNCATE",
	string_agg(DISTINCT left(pg_temp.removed(format('DELETE FROM ducto.%I WHERE false', relname)), 5), ' ') AS "nothing"
FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' AND relname <> 'usage_rollup';
-- Nor does it help to be a replica.
SET session_replication_role = replica;
SELECT left(pg_temp.removed('DELETE FROM ducto.accounts'), 5), left(pg_temp.removed('TRUNCATE ducto.grants'), 5);
RESET session_replication_role;

-- A cap and a member are removed by their functions, and nothing is open after that, or after one that failed.
SELECT ducto_remove_spend_cap(:ann, 'daily');
SELECT left(pg_temp.removed('DELETE FROM ducto.spend_caps'), 5);
CREATE FUNCTION keep_fails() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
CREATE TRIGGER fails AFTER DELETE ON ducto.spend_caps FOR EACH ROW EXECUTE FUNCTION keep_fails();
SELECT ducto_remove_spend_cap(:ann, 'monthly');
SELECT left(pg_temp.removed('DELETE FROM ducto.spend_caps'), 5);
DROP TRIGGER fails ON ducto.spend_caps;
DROP FUNCTION keep_fails;
SELECT ducto_remove_spend_cap(:ann, 'monthly');
-- What a trigger of somebody's own removes while ducto removes is not ducto's.
CREATE FUNCTION keep_takes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM ducto.grants; RETURN NULL; END';
CREATE TRIGGER takes AFTER DELETE ON ducto.spend_caps FOR EACH ROW EXECUTE FUNCTION keep_takes();
SELECT cap_limit FROM ducto_set_spend_cap(:ann, 'monthly', 5);
SELECT ducto_remove_spend_cap(:ann, 'monthly');
DROP TRIGGER takes ON ducto.spend_caps;
DROP FUNCTION keep_takes;
SELECT ducto_remove_spend_cap(:ann, 'monthly');
SELECT balance FROM ducto_get_balance(:ann);
SELECT * FROM ducto_verify();
