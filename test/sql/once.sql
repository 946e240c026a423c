-- once: PostgreSQL makes a call of (f()).* for each column. For a function that writes this is an error, and nothing is booked.

\set ada '\'0ce00000-0000-4000-8000-000000000001\''
SELECT new_balance FROM ducto_add_credits(:ada, 1000, 'purchase');

-- The error tells what to do.
SELECT (ducto_charge(:ada, 1)).*;
\set VERBOSITY sqlstate
SELECT (ducto_charge(:ada, 1)).*;

-- Each function that writes and returns a row, the arguments being NULL: none gets as far as looking at them. There are no rows: all are refused.
CREATE FUNCTION pg_temp.state_of(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE query;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE TEMP VIEW writers AS SELECT p.oid::regproc::text AS name, format('%s(%s)', p.oid::regproc, (SELECT string_agg('NULL::' || a::regtype, ', ' ORDER BY n) FROM unnest(p.proargtypes) WITH ORDINALITY t (a, n))) AS call
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'ducto'
JOIN pg_type t ON t.oid = p.prorettype WHERE p.provolatile = 'v' AND t.typtype = 'c';
SELECT count(*) > 10 AS there_are_some FROM writers;
SELECT name, state FROM writers, pg_temp.state_of('SELECT (' || call || ').*') AS state WHERE state <> '0A000' ORDER BY 1;
-- ducto_distribute and ducto_undistribute have nothing that must be given, and say so where Citus is missing.
SELECT name, state FROM writers, pg_temp.state_of('SELECT * FROM ' || call) AS state WHERE state = '0A000' ORDER BY 1;

-- It does not matter where the call stands.
CREATE TEMP TABLE kept AS SELECT * FROM ducto_charge(:ada, 0);
INSERT INTO kept SELECT (ducto_charge(:ada, 1)).*;
INSERT INTO kept VALUES ((ducto_charge(:ada, 1)).*);
INSERT INTO kept SELECT * FROM kept RETURNING (ducto_charge(:ada, 1)).*;
UPDATE kept SET (transaction_id, user_id, amount, balance_after, allowance_consumed, shortfall, idempotent, cap_warning, error) = (SELECT (ducto_charge(:ada, 1)).*);
WITH x AS (SELECT (ducto_charge(:ada, 1)).*) SELECT amount FROM x;
SELECT amount FROM (SELECT (ducto_charge(:ada, 1)).*) x;
SELECT amount FROM (SELECT (ducto_charge(:ada, 1)).* OFFSET 0) x;
SELECT x.amount FROM (VALUES (:ada::uuid)) v (u), LATERAL (SELECT (ducto_charge(v.u, 1)).*) x;
SELECT (ducto_charge(:ada, 1)).* FROM generate_series(1, 3) UNION ALL SELECT * FROM kept;
SELECT 1 WHERE EXISTS (SELECT (ducto_charge(:ada, 1)).* OFFSET 0);
SELECT ROW((ducto_charge(:ada, 1)).*);
COPY (SELECT (ducto_charge('0ce00000-0000-4000-8000-000000000001', 1)).*) TO stdout;
CREATE TABLE pg_temp.made AS SELECT (ducto_charge(:ada, 1)).*;
DECLARE c CURSOR WITH HOLD FOR SELECT (ducto_charge(:ada, 1)).*;
EXPLAIN SELECT (ducto_charge(:ada, 1)).*;
DO $$ DECLARE r record; BEGIN SELECT (ducto_charge('0ce00000-0000-4000-8000-000000000001', 1)).* INTO r; END $$;
DO $$ DECLARE r boolean := (ducto_charge('0ce00000-0000-4000-8000-000000000001', 1)).amount BETWEEN 0 AND 5; BEGIN END $$;

-- A prepared statement is refused whenever it is planned.
SET plan_cache_mode = force_generic_plan;
PREPARE p (uuid) AS SELECT (ducto_charge($1, 1)).*;
EXECUTE p (:ada);
EXECUTE p (:ada);
RESET plan_cache_mode;

-- What is stored has lost its places in the text: a view, the body of a function.
CREATE TEMP VIEW charging AS SELECT (ducto_charge('0ce00000-0000-4000-8000-000000000001', 1)).*;
SELECT * FROM charging;
SELECT amount FROM charging;
CREATE FUNCTION pg_temp.stored(u uuid) RETURNS ducto_deduction_result LANGUAGE sql BEGIN ATOMIC SELECT (ducto_charge(u, 1)).*; END;
SELECT * FROM pg_temp.stored(:ada);

-- The other copies that the parser makes: the left side of BETWEEN and of IN.
SELECT (ducto_charge(:ada, 1)).amount BETWEEN 0 AND 5;
SELECT (ducto_charge(:ada, 1)).amount IN (a, b) FROM (VALUES (3, 4)) x (a, b);
SELECT ((ducto_charge(:ada, 1)).amount, 1) IN ((3, 1), (4, 1));
SELECT 1 WHERE (ducto_charge(:ada, 1)).amount BETWEEN 0 AND 5;

-- The planner puts the body of a small SQL function in place of its call. What stands in it counts, and what stands around it.
CREATE FUNCTION pg_temp.small(u uuid) RETURNS ducto_deduction_result LANGUAGE sql AS 'SELECT ducto_charge(u, 1)';
CREATE FUNCTION pg_temp.between(u uuid) RETURNS boolean LANGUAGE sql AS 'SELECT (ducto_charge(u, 1)).amount BETWEEN 0 AND 5';
SELECT (pg_temp.small(:ada)).*;
SELECT pg_temp.between(:ada);

-- A function of the application is guarded like that when a superuser says so.
CREATE FUNCTION pg_temp.own(u uuid) RETURNS ducto_deduction_result LANGUAGE plpgsql AS 'BEGIN RETURN ducto_charge(u, 1); END';
ALTER FUNCTION pg_temp.own(uuid) SUPPORT ducto.call_once;
SELECT (pg_temp.own(:ada)).*;

-- Nothing of all this was booked.
\set VERBOSITY default
SELECT balance FROM ducto_get_balance(:ada);

-- Each call that stands in a statement is one: here are 26 of them.
SELECT amount FROM ducto_charge(:ada, 1);
SELECT (ducto_charge(:ada, 1)).error;
SELECT ducto_charge(:ada, 1) IS NULL AS is_null;
SELECT (ducto_charge(:ada, 1)).amount, (ducto_charge(:ada, 1)).error;
SELECT (ducto_charge(:ada, 1)).amount UNION ALL SELECT (ducto_charge(:ada, 1)).amount;
VALUES ((ducto_charge(:ada, 1)).amount), ((ducto_charge(:ada, 1)).amount);
SELECT a.amount, b.amount, c.amount FROM ducto_charge(:ada, 1) a, LATERAL ducto_charge(a.user_id, 1) b, LATERAL ducto_charge(b.user_id, 1) c;
SELECT (x.r).amount, (x.r).error FROM (SELECT ducto_charge(:ada, 1) AS r) x;
SELECT (x.r).amount, (x.r).error FROM (SELECT ducto_charge(:ada, 1) AS r OFFSET 0) x;
WITH x AS (SELECT ducto_charge(:ada, 1) AS r) SELECT (r).amount, (r).error FROM x;
SELECT (f).amount, (f).error FROM ducto_charge(:ada, 1) f;
SELECT ROW (f.*) = ROW (f.*) AS same FROM ducto_charge(:ada, 1) f;
SELECT (ducto_charge(:ada, 1)).amount, count(*) FROM generate_series(1, 1) GROUP BY 1 ORDER BY 1;
SELECT (pg_temp.small(:ada)).amount, (pg_temp.small(:ada)).amount;
SELECT amount FROM pg_temp.small(:ada);
CREATE TEMP VIEW one AS SELECT (ducto_charge('0ce00000-0000-4000-8000-000000000001', 1)).amount;
SELECT * FROM one a, one b;
CREATE TEMP VIEW whole AS SELECT * FROM ducto_charge('0ce00000-0000-4000-8000-000000000001', 1);
SELECT amount, error FROM whole;
SELECT amount FROM pg_temp.own(:ada);
-- as PostgREST calls it
WITH pgrst_source AS (SELECT pgrst_call.* FROM (SELECT '{"user_id": "0ce00000-0000-4000-8000-000000000001", "amount": 1}'::json AS json_data) pgrst_payload, LATERAL (SELECT user_id, amount FROM json_to_record(pgrst_payload.json_data) AS _(user_id uuid, amount numeric) LIMIT 1) pgrst_body,
	LATERAL public.ducto_charge(user_id := pgrst_body.user_id, amount := pgrst_body.amount) pgrst_call)
SELECT pg_catalog.count(_postgrest_t) AS page_total, coalesce(json_agg(_postgrest_t)->0, 'null')->>'amount' AS amount FROM (SELECT ducto_charge.* FROM pgrst_source AS ducto_charge) _postgrest_t;
SELECT balance FROM ducto_get_balance(:ada);

-- What only reads may stand anywhere.
SELECT (ducto_get_balance(:ada)).*;
SELECT * FROM ducto_verify();
