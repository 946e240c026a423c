-- supabase: what Supabase's roles may call, what PostgREST makes of it, and what end users see

-- It makes roles of Supabase's names and drops them. Where the cluster has one of these already it leaves them alone, and all is well.
SELECT count(*) > 0 AS taken FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role') \gset
\if :taken
\quit
\endif

\set ada '\'5ba5e000-0000-4000-8000-00000000000a\''
\set bob '\'5ba5e000-0000-4000-8000-00000000000b\''
\set eve '\'5ba5e000-0000-4000-8000-00000000000e\''
SET client_min_messages = warning;
\set SHOW_CONTEXT never
CREATE TEMP TABLE earlier AS SELECT version, clock_timestamp() AS started FROM (VALUES (0)) one LEFT JOIN ducto.pricing ON active;

-- On plain PostgreSQL there is nothing to do. (Until PostgreSQL 14 everybody may create in schema public, of which it would warn.)
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT * FROM ducto_setup();

-- Where only some of Supabase is there, it does what it can and says what is missing.
CREATE ROLE service_role;
SELECT * FROM ducto_setup();
CREATE ROLE authenticated;
CREATE ROLE anon;
CREATE SCHEMA auth;
CREATE TABLE auth.users (email text, id uuid PRIMARY KEY);
SELECT * FROM ducto_setup();
-- Called again, on every deploy, it finds everything done.
SELECT * FROM ducto_setup();

-- It is for the owner alone, and PostgREST hears of it when the transaction commits.
CREATE ROLE regress_ducto_stranger;
SET ROLE service_role;
SELECT ducto_setup();
RESET ROLE;
SELECT ducto_grant_access('regress_ducto_stranger');
SET ROLE regress_ducto_stranger;
SELECT ducto_setup();
SELECT ducto.revoke_default_privileges('ducto');
RESET ROLE;
DROP OWNED BY regress_ducto_stranger;

-- Every function of the extension: who can call it beyond the list, and what it lacks.
CREATE TEMP VIEW functions AS SELECT p.*, p.oid::regprocedure AS signature, p.pronamespace <> 'ducto'::regnamespace AS is_api
	FROM pg_depend d JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
	WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'ducto');
CREATE TEMP VIEW wrong AS SELECT proname AS function, problem FROM functions, LATERAL (VALUES
	(EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0), 'PUBLIC can call it'),
	(has_function_privilege('regress_ducto_stranger', oid, 'EXECUTE'), 'a stranger can call it'),
	(has_function_privilege('anon', oid, 'EXECUTE'), 'anon can call it'),
	(has_function_privilege('authenticated', oid, 'EXECUTE') <> (is_api AND proname IN ('ducto_my_balance', 'ducto_my_grants', 'ducto_my_transactions', 'ducto_my_plan', 'ducto_my_events')), 'authenticated'),
	(has_function_privilege('service_role', oid, 'EXECUTE') <> (is_api AND proname NOT IN ('ducto_setup', 'ducto_grant_access', 'ducto_revoke_access', 'ducto_repair', 'ducto_distribute', 'ducto_undistribute')), 'service_role'),
	(obj_description(oid, 'pg_proc') IS NULL, 'has no comment'),
	(prokind NOT IN ('p', 'a') AND prorettype <> 'internal'::regtype AND (NOT prosecdef OR proconfig[1] IS DISTINCT FROM 'search_path=pg_catalog, pg_temp'), 'has no pinned search_path'),
	(prorettype = 'record'::regtype OR proallargtypes IS NOT NULL, 'has a result without a name')
	) p (broken, problem) WHERE broken;
SELECT * FROM wrong;

-- One that an update of the extension adds is nobody's until the next call of ducto_setup.
CREATE FUNCTION ducto_later() RETURNS integer LANGUAGE sql AS 'SELECT 1';
GRANT EXECUTE ON FUNCTION ducto_later() TO anon, authenticated WITH GRANT OPTION;
SET ROLE anon;
GRANT EXECUTE ON FUNCTION ducto_later() TO service_role;
RESET ROLE;
ALTER EXTENSION ducto ADD FUNCTION ducto_later();
SELECT * FROM wrong ORDER BY problem COLLATE "C";
SELECT * FROM ducto_setup() LIMIT 4;
SELECT * FROM wrong ORDER BY problem COLLATE "C";
ALTER EXTENSION ducto DROP FUNCTION ducto_later();
DROP FUNCTION ducto_later();

-- What was granted by mistake while the guard was off goes, on tables and their schema too, and with what was granted on.
CREATE ROLE regress_ducto_admin;
ALTER EVENT TRIGGER ducto_guard DISABLE;
GRANT EXECUTE ON FUNCTION ducto_charge(uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text), ducto_setup() TO PUBLIC;
GRANT EXECUTE ON FUNCTION ducto.due_accounts() TO service_role;
GRANT USAGE ON SCHEMA ducto TO anon, PUBLIC;
GRANT SELECT ON ducto.ledger TO authenticated, anon;
GRANT ALL ON ducto.accounts TO authenticated;
REVOKE EXECUTE ON FUNCTION ducto_my_plan() FROM authenticated;
GRANT EXECUTE ON FUNCTION ducto_get_balance(uuid) TO service_role WITH GRANT OPTION;
GRANT EXECUTE ON FUNCTION ducto_get_balance(uuid), ducto_my_grants() TO authenticated WITH GRANT OPTION;
SET ROLE authenticated;
GRANT EXECUTE ON FUNCTION ducto_get_balance(uuid), ducto_my_grants() TO regress_ducto_admin, anon;
RESET ROLE;
SELECT * FROM wrong ORDER BY function, problem;
SELECT * FROM ducto_setup();
SELECT * FROM wrong;
ALTER EVENT TRIGGER ducto_guard ENABLE ALWAYS;
SELECT count(*) FROM ducto_list_access() WHERE role = 'regress_ducto_admin';
DROP ROLE regress_ducto_admin;

-- Other grantees keep what they have: on Supabase it is role postgres that calls ducto_setup.
GRANT EXECUTE ON FUNCTION ducto_setup() TO regress_ducto_stranger;
SELECT count(*) FROM ducto_setup();
SELECT has_function_privilege('regress_ducto_stranger', 'ducto_setup()', 'EXECUTE');
SET ROLE regress_ducto_stranger;
SELECT object, action FROM ducto_setup();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION ducto_setup() FROM regress_ducto_stranger;

-- PostgREST calls a function by the names of the arguments in the request's body: this is the statement that it sends.
CREATE FUNCTION pg_temp.rpc_statement(function text, args json) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	f functions;
	parameters text;
	fields text;
	call text;
	source text;
	is_scalar boolean;
BEGIN
	SELECT * INTO STRICT f FROM functions p WHERE p.proname = function AND p.is_api;
	SELECT string_agg(format('%I %s', a.name, format_type(a.type, NULL)), ', ' ORDER BY a.i), string_agg(format('%I := pgrst_body.%1$I', a.name), ', ' ORDER BY a.i)
		INTO fields, parameters
		FROM unnest(f.proargnames, f.proargtypes::oid[]) WITH ORDINALITY a (name, type, i) WHERE a.name IN (SELECT json_object_keys(args));
	SELECT t.typtype <> 'c' INTO is_scalar FROM pg_type t WHERE t.oid = f.prorettype;
	call := format('%I.%I(%s)', 'public', function, parameters);
	IF is_scalar THEN
		call := format('(SELECT %s pgrst_scalar)', call);
	END IF;
	source := 'SELECT pgrst_call.' || CASE WHEN is_scalar THEN 'pgrst_scalar' ELSE '*' END || ' FROM ';
	IF parameters IS NOT NULL THEN
		source := source || format('(SELECT $1 AS json_data) pgrst_payload, LATERAL (SELECT * FROM json_to_record(pgrst_payload.json_data) AS _(%s)) pgrst_body, LATERAL ', fields);
	END IF;
	RETURN format('WITH pgrst_source AS (%s%s pgrst_call) SELECT null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, %s AS body,'
		' nullif(current_setting(''response.headers'', true), '''') AS response_headers, nullif(current_setting(''response.status'', true), '''') AS response_status'
		' FROM (SELECT * FROM pgrst_source) _postgrest_t', source, call,
		CASE WHEN f.proretset THEN 'coalesce(json_agg(_postgrest_t), ''[]'')' WHEN is_scalar THEN 'coalesce(json_agg(_postgrest_t.pgrst_scalar)->0, ''null'')'
			ELSE 'coalesce(json_agg(_postgrest_t)->0, ''null'')' END);
END$$;
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.rpc_statement('ducto_reserve', '{"amount": 40, "user_id": "x"}');
SELECT pg_temp.rpc_statement('ducto_list_grants', '{"user_id": "x"}');
SELECT pg_temp.rpc_statement('ducto_expire_reservations', '{"max_rows": 1}');
SELECT pg_temp.rpc_statement('ducto_my_balance', '{}');
\pset tuples_only off
\pset format aligned

-- A transaction of PostgREST's, as it is: settings, one statement, nothing else. Afterwards the session is what it was.
SELECT pg_temp.rpc_statement('ducto_add_credits', '{"user_id": "x", "amount": 1, "type": "x", "idempotency_key": "x"}') AS statement \gset
SELECT pg_temp.rpc_statement('ducto_my_balance', '{}') AS my_balance \gset
PREPARE request (json) AS :statement;
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT set_config('search_path', '"public", "extensions"', true), set_config('role', 'service_role', true), set_config('request.jwt.claims', '{"role": "service_role"}', true),
	set_config('request.method', 'POST', true), set_config('request.path', '/rpc/ducto_add_credits', true), set_config('request.headers', '{}', true), set_config('request.cookies', '{}', true) \g /dev/null
EXECUTE request ('{"user_id": "5ba5e000-0000-4000-8000-00000000000a", "amount": 100, "type": "purchase", "idempotency_key": "order 1"}') \gset
COMMIT;
SELECT :'body'::json->>'new_balance' AS new_balance, :page_total AS page_total;
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SELECT set_config('search_path', '"public", "extensions"', true), set_config('role', 'authenticated', true), set_config('request.jwt.claims', '{"role": "authenticated", "aud": "authenticated", "exp": 7952342400, "sub": "5ba5e000-0000-4000-8000-00000000000a", "app_metadata": {"sub": "5ba5e000-0000-4000-8000-00000000000b"}}', true),
	set_config('request.method', 'GET', true), set_config('request.path', '/rpc/ducto_my_balance', true) \g /dev/null
:my_balance;
COMMIT;
SELECT current_user = session_user AS is_back, current_setting('request.jwt.claims') AS claims;
SELECT ducto_my_balance();

-- The same from here on by a function: it answers with the SQLSTATE or ok, PostgREST's status, and the body. The settings of the role are applied, as PostgREST does.
CREATE FUNCTION pg_temp.rpc(as_role text, function text, args json DEFAULT '{}', claims json DEFAULT NULL, OUT outcome text, OUT status text, OUT body json) LANGUAGE plpgsql AS $$
DECLARE
	statement text := pg_temp.rpc_statement(function, args);
	answer record;
BEGIN
	PERFORM set_config(split_part(s, '=', 1), substr(s, strpos(s, '=') + 1), true) FROM pg_db_role_setting, unnest(setconfig) s WHERE setrole = as_role::regrole;
	PERFORM set_config('search_path', '"public"', true), set_config('role', as_role, true), set_config('request.jwt.claims', coalesce(claims, json_build_object('role', as_role))::text, true),
		set_config('response.status', '', true);
	EXECUTE statement INTO answer USING args;
	PERFORM set_config('role', 'none', true);
	outcome := 'ok';
	status := answer.response_status;
	body := answer.body;
EXCEPTION WHEN OTHERS THEN
	outcome := sqlstate;
END$$;

-- Ids that are made here, times and versions change from run to run.
CREATE FUNCTION pg_temp.masked(body json) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(regexp_replace(regexp_replace(regexp_replace(replace(body::text, E'\n', ''),
		'[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}', '<id>', 'g'),
		'\d{4}-\d\d-\d\dT[0-9:.+-]+', '<time>', 'g'), '\d{4}-\d\d-\d\d', '<day>', 'g'), '"version":\d+', '"version":<n>', 'g')$$;

-- A call of every function; @name stands for what an earlier one answered.
CREATE TEMP TABLE calls (n serial, function text, args text, field text, keep text, anon text, authenticated text, stranger text, service_role text, status text, body json);
INSERT INTO calls (function, args, field, keep) VALUES
	('ducto_set_active_pricing', '{"config": {"models": {"m": "input_tokens / 100"}, "fixed": {"job": 3}, "plans": {"pro": {"name": "Pro", "free_allowance": 20, "features": {"export": true}, "default_billing_mode": "strict", "max_concurrent": 3}}, "min_balance": 0, "signup_bonus": 25}, "label": "first"}', 'version', 'version'),
	('ducto_activate_pricing', '{"version": @version}', NULL, NULL),
	('ducto_get_active_pricing', '{}', NULL, NULL),
	('ducto_get_pricing_config', '{"version": @version}', NULL, NULL),
	('ducto_get_pricing_history', '{}', NULL, NULL),
	('ducto_validate_pricing', '{"config": {"models": {"m": "1 +"}}}', NULL, NULL),
	('ducto_price', '{"usage": {"model": "m", "input_tokens": 250}}', NULL, NULL),
	('ducto_add_credits', '{"user_id": "@ada", "amount": 100, "type": "purchase", "metadata": {"order": 7}, "idempotency_key": "order 1"}', NULL, NULL),
	('ducto_add_credits', '{"user_id": "@ada", "amount": 10, "type": "promo", "expires_at": "2222-02-02T00:00:00Z", "priority": 10}', NULL, NULL),
	('ducto_add_credits', '{"user_id": "@ada", "amount": 5, "type": "promo"}', 'transaction_id', 'mistake'),
	('ducto_reverse_credits', '{"transaction_id": "@mistake", "overrun": "unspent", "reason": "twice"}', NULL, NULL),
	('ducto_transfer', '{"from_id": "@ada", "to_id": "5ba5e000-0000-4000-8000-0000000000f7", "amount": 1.5, "reason": "a gift"}', NULL, NULL),
	('ducto_transfer', '{"from_id": "5ba5e000-0000-4000-8000-0000000000f7", "to_id": "@ada"}', NULL, NULL),
	('ducto_get_balance', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_list_grants', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_can_afford', '{"user_id": "@ada", "amount": 40}', NULL, NULL),
	('ducto_reserve', '{"user_id": "@ada", "amount": 40, "operation_type": "chat", "ttl_seconds": 60, "idempotency_key": "request 1"}', 'reservation_id', 'hold'),
	('ducto_reserve', '{"user_id": "@ada", "amount": 1000}', NULL, NULL),
	('ducto_renew', '{"user_id": "@ada", "reservation_id": "@hold", "ttl_seconds": 120}', NULL, NULL),
	('ducto_deduct', '{"user_id": "@ada", "reservation_id": "@hold", "amount": 12.5, "idempotency_key": "request 1", "model": "m"}', 'transaction_id', 'debit'),
	('ducto_deduct', '{"user_id": "@ada", "reservation_id": "@hold", "amount": 12.5, "idempotency_key": "request 1", "model": "m"}', NULL, NULL),
	('ducto_refund', '{"transaction_id": "@debit", "amount": 2.5, "reason": "too slow"}', NULL, NULL),
	('ducto_charge', '{"user_id": "@ada", "amount": 3}', NULL, NULL),
	('ducto_reserve_usage', '{"user_id": "@ada", "usage": {"model": "m", "input_tokens": 400}}', 'reservation_id', 'other'),
	('ducto_charge_usage', '{"user_id": "@ada", "usage": {"model": "m", "input_tokens": 300}, "reservation_id": "@other"}', NULL, NULL),
	('ducto_release', '{"user_id": "@ada", "reservation_id": "@other"}', NULL, NULL),
	('ducto_reserve', '{"user_id": "@ada", "amount": 5, "operation_type": "gateway"}', 'reservation_id', 'block'),
	('ducto_settle', '{"user_id": "@ada", "reservation_id": "@block", "lines": [{"key": "call 1", "amount": 0.5, "model": "m"}, {"key": "call 2", "usage": {"model": "m", "input_tokens": 100}}], "final": true}', 'transaction_id', 'lines'),
	('ducto_list_usage_lines', '{"user_id": "@ada", "transaction_id": "@lines"}', NULL, NULL),
	('ducto_set_user_plan', '{"user_id": "@ada", "plan_id": "pro"}', NULL, NULL),
	('ducto_get_user_plan', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_check_allowance', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_increment_usage_window', '{"user_id": "@ada", "plan_id": "pro", "amount": 5}', NULL, NULL),
	('ducto_check_feature', '{"user_id": "@ada", "feature": "export"}', NULL, NULL),
	('ducto_set_spend_cap', '{"user_id": "@ada", "cap_type": "daily", "cap_limit": 500, "action": "warn"}', NULL, NULL),
	('ducto_list_spend_caps', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_check_spend_cap', '{"user_id": "@ada", "amount": 400}', NULL, NULL),
	('ducto_remove_spend_cap', '{"user_id": "@ada", "cap_type": "daily"}', NULL, NULL),
	('ducto_create_team', '{"name": "Acme", "initial_balance": 50}', 'team_id', 'team'),
	('ducto_add_team_credits', '{"team_id": "@team", "amount": 10}', NULL, NULL),
	('ducto_get_team_balance', '{"team_id": "@team"}', NULL, NULL),
	('ducto_add_team_member', '{"team_id": "@team", "user_id": "@ada", "spend_cap": 20}', NULL, NULL),
	('ducto_deduct_team', '{"team_id": "@team", "user_id": "@ada", "amount": 4, "model": "m"}', NULL, NULL),
	('ducto_get_team_members', '{"team_id": "@team"}', NULL, NULL),
	('ducto_list_teams', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_remove_team_member', '{"team_id": "@team", "user_id": "@ada"}', NULL, NULL),
	('ducto_list_transactions', '{"user_id": "@ada", "types": ["purchase", "refund"], "max_rows": 2}', NULL, NULL),
	('ducto_list_usage_events', '{"user_id": "@ada", "max_rows": 2}', NULL, NULL),
	('ducto_balance_at', '{"user_id": "@ada", "at": "2020-01-01T00:00:00Z"}', NULL, NULL),
	('ducto_verify', '{"user_id": "@ada"}', NULL, NULL),
	('ducto_chain_head', '{"account_id": "@ada", "seq": 1000}', NULL, NULL),
	('ducto_rollup', '{}', NULL, NULL),
	('ducto_rollup_rebuild', '{}', NULL, NULL),
	('ducto_spend_by_user', '{"from_time": "@started"}', NULL, NULL),
	('ducto_spend_by_model', '{"from_time": "@started"}', NULL, NULL),
	('ducto_top_users', '{"max_rows": 5, "from_time": "@started"}', NULL, NULL),
	('ducto_daily_spend', '{"from_time": "@started"}', NULL, NULL),
	('ducto_aggregate_stats', '{"from_time": "@started"}', NULL, NULL),
	('ducto_books', '{"from_time": "@started"}', NULL, NULL),
	('ducto_liability', '{"at": "2001-01-01"}', NULL, NULL),
	('ducto_expiring', '{"until": "2001-01-01"}', NULL, NULL),
	('ducto_list_accounts', '{"kind": "team", "order_by": "created_at", "max_rows": 1}', NULL, NULL),
	('ducto_sweep_expired', '{"dry_run": true}', NULL, NULL),
	('ducto_expire_reservations', '{"max_rows": 10}', NULL, NULL),
	('ducto_prune_reservations', '{"before": "2001-01-01"}', NULL, NULL),
	('ducto_uuid', '{"namespace": "clerk.com", "id": "user_1"}', NULL, NULL),
	('ducto_my_balance', '{}', NULL, NULL),
	('ducto_my_grants', '{}', NULL, NULL),
	('ducto_my_transactions', '{"max_rows": 2}', NULL, NULL),
	('ducto_my_plan', '{}', NULL, NULL),
	('ducto_my_events', '{}', NULL, NULL),
	('ducto_set_alerts', '{"account_id": "@ada", "balance": [1], "cap_percent": [80]}', NULL, NULL),
	('ducto_set_auto_topup', '{"account_id": "@ada", "below": -1000, "amount": 5}', NULL, NULL),
	('ducto_take_events', '{"max_rows": 1, "kinds": ["cap_used"]}', NULL, NULL),
	('ducto_ack_events', '{"ids": []}', NULL, NULL),
	('ducto_list_events', '{"account_id": "@ada", "max_rows": 1, "kinds": ["cap_used"]}', NULL, NULL),
	('ducto_setup', '{}', NULL, NULL),
	('ducto_list_access', '{}', NULL, NULL),
	('ducto_grant_access', '{"role": "anon"}', NULL, NULL),
	('ducto_revoke_access', '{"role": "anon"}', NULL, NULL);
-- None is forgotten. A procedure cannot be called by PostgREST.
SELECT proname AS not_called, prokind FROM functions WHERE is_api AND proname NOT IN (SELECT function FROM calls);
SELECT anon, authenticated FROM (VALUES ('ducto_sweep(integer)'::regprocedure)) p (f), LATERAL (SELECT has_function_privilege('anon', f, 'EXECUTE') AS anon, has_function_privilege('authenticated', f, 'EXECUTE') AS authenticated) a;

CREATE FUNCTION pg_temp.call_all() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c calls;
	kept record;
	args text;
	known jsonb := jsonb_build_object('ada', '5ba5e000-0000-4000-8000-00000000000a', 'started', (SELECT started FROM earlier));
	ada json := '{"sub": "5ba5e000-0000-4000-8000-00000000000a", "role": "authenticated"}';
	answer record;
	mine record;
BEGIN
	FOR c IN SELECT * FROM calls ORDER BY n LOOP
		args := c.args;
		FOR kept IN SELECT * FROM jsonb_each_text(known) LOOP
			args := replace(args, '@' || kept.key, kept.value);
		END LOOP;
		c.anon := (pg_temp.rpc('anon', c.function, args::json, ada)).outcome;
		c.stranger := (pg_temp.rpc('regress_ducto_stranger', c.function, args::json, ada)).outcome;
		mine := pg_temp.rpc('authenticated', c.function, args::json, ada);
		answer := pg_temp.rpc('service_role', c.function, args::json);
		UPDATE calls SET anon = c.anon, stranger = c.stranger, authenticated = mine.outcome, service_role = answer.outcome, status = answer.status, body = coalesce(answer.body, mine.body) WHERE n = c.n;
		IF c.keep IS NOT NULL THEN
			known := known || jsonb_build_object(c.keep, answer.body->>c.field);
		END IF;
	END LOOP;
END$$;
SELECT pg_temp.call_all();

-- anon and strangers call nothing, authenticated calls what is its user's, and service_role everything but what manages access and what needs a user.
SELECT anon, stranger, authenticated, service_role, string_agg(DISTINCT function, ' ' ORDER BY function) FILTER (WHERE service_role <> 'ok') AS functions, count(*) FROM calls GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4;

-- The shape of each answer; what is about other accounts than this test's is not shown.
\pset format unaligned
\pset tuples_only on
SELECT function || E'\n    ' || CASE WHEN function IN ('ducto_sweep_expired', 'ducto_expire_reservations', 'ducto_rollup', 'ducto_rollup_rebuild') THEN regexp_replace(body::text, '\d+(\.\d+)?', '<n>', 'g')
	WHEN function = 'ducto_list_access' THEN (SELECT string_agg(k, ', ') FROM json_object_keys(body->0) k)
	WHEN function = 'ducto_get_pricing_history' THEN pg_temp.masked(json_build_array(body->0)) ELSE pg_temp.masked(body) END FROM calls WHERE body IS NOT NULL ORDER BY n;
\pset tuples_only off
\pset format aligned

-- A rejection is a row; with ducto.rejections = 'http' for the role, it is the response's status too. Success has none.
SELECT outcome, status, body->>'error' AS error, body->>'amount' AS amount FROM pg_temp.rpc('service_role', 'ducto_charge', '{"user_id": "5ba5e000-0000-4000-8000-00000000000a", "amount": 1000}');
ALTER ROLE service_role SET ducto.rejections = 'http';
SELECT r.outcome, r.status, r.body->>'error' AS error FROM (VALUES (1, 'ducto_charge', '{"user_id": "@ada", "amount": 1000}'), (2, 'ducto_charge', '{"user_id": "@ada", "amount": 1}'),
	(3, 'ducto_renew', '{"user_id": "@ada", "reservation_id": "@eve"}'), (4, 'ducto_set_user_plan', '{"user_id": "@ada", "plan_id": "gold"}'), (5, 'ducto_get_team_balance', '{"team_id": "@eve"}'),
	(6, 'ducto_reserve', '{"user_id": "@ada", "amount": 1, "required_feature": "audio"}'), (7, 'ducto_price', '{"usage": {"model": "x"}}'), (8, 'ducto_refund', '{"transaction_id": "@eve"}')) c (n, function, args),
	LATERAL pg_temp.rpc('service_role', c.function, replace(replace(c.args, '@ada', :ada), '@eve', :eve)::json) r ORDER BY n;
ALTER ROLE service_role SET ducto.rejections = 'raise';
SELECT outcome, status FROM pg_temp.rpc('service_role', 'ducto_charge', '{"user_id": "5ba5e000-0000-4000-8000-00000000000a", "amount": 1000}');
ALTER ROLE service_role RESET ducto.rejections;

-- Each user sees his own: bob, who has no account, zeros; and no transaction of ada's leads there.
\set as_bob '\'{"sub": "5ba5e000-0000-4000-8000-00000000000b"}\''
\set as_ada '\'{"sub": "5ba5e000-0000-4000-8000-00000000000a"}\''
SELECT f, r.outcome, pg_temp.masked(r.body) AS body FROM unnest(ARRAY['ducto_my_balance', 'ducto_my_grants', 'ducto_my_transactions', 'ducto_my_plan', 'ducto_my_events']) WITH ORDINALITY f (f, n), pg_temp.rpc('authenticated', f, '{}', :as_bob) r ORDER BY n;
SELECT count(*) FROM ducto.accounts WHERE id = :bob;
SELECT id AS debit FROM ducto_list_usage_events(:ada, max_rows => 1) \gset
SELECT r.outcome, json_array_length(r.body) AS rows FROM unnest(ARRAY[:as_ada, :as_bob]::json[]) WITH ORDINALITY c (claims, n), pg_temp.rpc('authenticated', 'ducto_my_transactions', json_build_object('before', :'debit'), claims) r ORDER BY n;
SELECT outcome FROM pg_temp.rpc('authenticated', 'ducto_my_transactions', '{"max_rows": 0}', :as_ada);

-- A page has 1,000 rows at most: no end user reads a long ledger at once, nor more grants than that.
SELECT r.outcome, json_array_length(r.body) AS rows FROM unnest(ARRAY[1000, 1001, 2147483647]) m, pg_temp.rpc('authenticated', 'ducto_my_transactions', json_build_object('max_rows', m), :as_ada) r;
BEGIN;
SELECT count(*) FROM generate_series(1, 1001) i, LATERAL ducto_add_credits(:ada, 1, 'promo', expires_at => '2222-01-01', priority => i % 100) c WHERE c.error IS NULL;
SELECT r.outcome, json_array_length(r.body) AS rows FROM unnest(ARRAY['ducto_my_grants', 'ducto_my_transactions']) f, pg_temp.rpc('authenticated', f, CASE f WHEN 'ducto_my_grants' THEN '{}' ELSE '{"max_rows": 1000}' END::json, :as_ada) r;
ROLLBACK;
-- What they see is what the ordinary functions show.
BEGIN READ ONLY;
SELECT set_config('request.jwt.claims', :as_ada, true) \g /dev/null
SELECT m = b AS same FROM ducto_my_balance() m, ducto_get_balance(:ada) b;
SELECT array(SELECT m FROM ducto_my_grants() m) = array(SELECT g FROM ducto_list_grants(:ada) g) AS same;
SELECT array(SELECT m FROM ducto_my_transactions(3, :'debit') m) = array(SELECT t FROM ducto_list_transactions(:ada, max_rows => 3, before => :'debit') t) AS same;
SELECT array(SELECT m FROM ducto_my_transactions(NULL, NULL) m) = array(SELECT t FROM ducto_list_transactions(:ada) t) AS same;
SELECT m = p AS same FROM ducto_my_plan() m, ducto_get_user_plan(:ada) p;
COMMIT;

-- Who calls is in the claims, and only there: what is not exactly a user's id is an error, never another user and never nobody.
CREATE FUNCTION pg_temp.caller(claims text, sub text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	PERFORM set_config('request.jwt.claims', claims, true), set_config('request.jwt.claim.sub', sub, true);
	RETURN (ducto_my_balance()).user_id;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = message_text, hint = pg_exception_hint;
	RETURN format('%s %s%s', sqlstate, message, CASE WHEN hint = '' THEN ' (no hint)' END);
END$$;
SELECT claims, pg_temp.caller(claims) FROM unnest(ARRAY[
	'{"sub": "5BA5E000-0000-4000-8000-00000000000A"}',
	' { "role" : "authenticated", "s\u0075b":"5ba5e000-0000-4000-8000-00000000000a", "n": [1, {"sub": "x"}, 2.5e3, true, null] } ',
	'{"sub": "5ba5e000-0000-4000-8000-00000000000b", "sub": "5ba5e000-0000-4000-8000-00000000000a"}',
	'{"sub": "5ba5e000-0000-4000-8000-00000000000b", "sub": null}',
	'{"sub": "5ba5e000-0000-4000-8000-00000000000b", "sub": {"sub": "5ba5e000-0000-4000-8000-00000000000a"}}',
	'', NULL, ' ', '{}', 'null', '1', '"5ba5e000-0000-4000-8000-00000000000a"', '5ba5e000-0000-4000-8000-00000000000a',
	'[{"sub": "5ba5e000-0000-4000-8000-00000000000a"}]', '["sub", "5ba5e000-0000-4000-8000-00000000000a"]',
	'{"sub": "5ba5e000-0000-4000-8000-00000000000a"', '{"sub": "5ba5e000-0000-4000-8000-00000000000a"} x', '{"sub": "5ba5e000-0000-4000-8000-00000000000a", "x": "\u0000"}', '{''sub'': 1}',
	'{"Sub": "5ba5e000-0000-4000-8000-00000000000a"}', '{"sub ": "5ba5e000-0000-4000-8000-00000000000a"}', '{"user": {"sub": "5ba5e000-0000-4000-8000-00000000000a"}}',
	'{"sub": null}', '{"sub": 5}', '{"sub": true}', '{"sub": ["5ba5e000-0000-4000-8000-00000000000a"]}', '{"sub": {"sub": "5ba5e000-0000-4000-8000-00000000000a"}}', '{"sub": ""}', '{"sub": "ada"}',
	'{"sub": "5ba5e000000040008000000000000000a"}', '{"sub": "{5ba5e000-0000-4000-8000-00000000000a}"}', '{"sub": "5ba5e000000040008000-00000000000a"}', '{"sub": "5ba5-e000-0000-4000-8000-0000-0000-000a"}',
	'{"sub": " 5ba5e000-0000-4000-8000-00000000000a"}', '{"sub": "5ba5e000-0000-4000-8000-00000000000a "}', '{"sub": "5ba5e000-0000-4000-8000-00000000000g"}'
	]) WITH ORDINALITY c (claims, n) ORDER BY n;
-- The older setting counts only when the other is unset or empty.
SELECT claims, sub, pg_temp.caller(claims, sub) FROM (VALUES (1, NULL, '5ba5e000-0000-4000-8000-00000000000a'), (2, '', '5ba5e000-0000-4000-8000-00000000000A'), (3, '', ''), (4, '', 'ada'), (5, '', '{"sub": "5ba5e000-0000-4000-8000-00000000000a"}'),
	(6, '{"sub": "5ba5e000-0000-4000-8000-00000000000b"}', '5ba5e000-0000-4000-8000-00000000000a'), (7, '{}', '5ba5e000-0000-4000-8000-00000000000a'), (8, 'x', '5ba5e000-0000-4000-8000-00000000000a')) c (n, claims, sub) ORDER BY n;
SELECT ducto_my_balance();
-- A team's pool is not one user's to see.
SELECT team_id AS team FROM ducto_create_team('pool', 5) \gset
SELECT pg_temp.caller(json_build_object('sub', :'team')::text), pg_temp.caller(NULL, :'team');
SELECT r.outcome FROM unnest(ARRAY['ducto_my_balance', 'ducto_my_grants', 'ducto_my_transactions', 'ducto_my_plan', 'ducto_my_events']) f, pg_temp.rpc('authenticated', f, '{}', json_build_object('sub', :'team')) r;

-- The bonus of the active pricing is booked when a user signs up.
RESET client_min_messages;
INSERT INTO auth.users VALUES ('bob@example.com', :bob);
SELECT type, amount, balance_after, idempotency_key, metadata FROM ducto_list_transactions(:bob);
SELECT lifetime_purchased FROM ducto_get_balance(:bob);
-- Never twice; a user who is removed leaves the ledger behind.
DELETE FROM auth.users WHERE id = :bob;
SELECT amount, error FROM ducto_charge(:bob, 25);
INSERT INTO auth.users VALUES ('bob@example.com', :bob);
SELECT type, amount, balance_after FROM ducto_list_transactions(:bob);
-- An account that was there before, with other bonuses, gets it too; a signup that is rolled back gives nothing.
SELECT new_balance FROM ducto_add_credits(:eve, 1, 'signup_bonus');
BEGIN;
INSERT INTO auth.users VALUES ('eve@example.com', :eve);
SELECT balance FROM ducto_get_balance(:eve);
ROLLBACK;
SELECT balance FROM ducto_get_balance(:eve);
INSERT INTO auth.users VALUES ('eve@example.com', :eve);
SELECT balance FROM ducto_get_balance(:eve);
-- Many at once, and ones that are there already.
INSERT INTO auth.users SELECT n || '@example.com', ('5ba5e000-0000-4000-8000-0000000001' || lpad(n::text, 2, '0'))::uuid FROM generate_series(1, 20) n;
INSERT INTO auth.users SELECT n || '@example.com', ('5ba5e000-0000-4000-8000-0000000001' || lpad(n::text, 2, '0'))::uuid FROM generate_series(11, 30) n ON CONFLICT (id) DO UPDATE SET email = excluded.email;
SELECT count(*), sum(balance), max(last_seq) FROM ducto.accounts WHERE id::text LIKE '5ba5e000-0000-4000-8000-0000000001%';
-- Whatever the isolation level.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO auth.users VALUES ('rr', '5ba5e000-0000-4000-8000-000000000201');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO auth.users VALUES ('ser', '5ba5e000-0000-4000-8000-000000000202');
COMMIT;
SELECT id, balance FROM ducto.accounts WHERE id::text LIKE '5ba5e000-0000-4000-8000-0000000002%' ORDER BY id;
-- ducto.rejections has no say in it, and the session's own settings are as they were afterwards.
SET ducto.rejections = 'raise';
SET lock_timeout = '5s';
BEGIN;
SELECT set_config('response.status', '', true) \g /dev/null
INSERT INTO auth.users VALUES ('raise', '5ba5e000-0000-4000-8000-000000000203');
SET LOCAL ducto.rejections = 'http';
SELECT error FROM ducto_add_credits('5ba5e000-0000-4000-8000-000000000204', 1);
SELECT error FROM ducto_charge('5ba5e000-0000-4000-8000-000000000204', 1, 'signup_bonus');

-- An error costs the bonus and not the signup: the key of something else, the id of a team.
INSERT INTO auth.users VALUES ('conflict', '5ba5e000-0000-4000-8000-000000000204');
SELECT current_setting('response.status') AS response_status, current_setting('lock_timeout') AS lock_timeout;
COMMIT;
RESET ducto.rejections;
RESET lock_timeout;
\set VERBOSITY sqlstate
INSERT INTO auth.users VALUES ('team', :'team');
\set VERBOSITY default
SELECT email FROM auth.users WHERE email IN ('raise', 'conflict', 'team') ORDER BY 1;
SELECT id, balance, last_seq FROM ducto.accounts WHERE id::text LIKE '5ba5e000-0000-4000-8000-00000000020%' ORDER BY id;
SELECT balance FROM ducto_get_team_balance(:'team');
-- So does a table that is not what it should be.
CREATE TABLE auth.members (id text);
CREATE TRIGGER bonus AFTER INSERT ON auth.members FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();
INSERT INTO auth.members VALUES (:ada) RETURNING id;
ALTER TABLE auth.members RENAME id TO user_id;
INSERT INTO auth.members VALUES (:ada) RETURNING user_id;
DROP TABLE auth.members;
CREATE DOMAIN auth.user_id AS uuid;
CREATE TABLE auth.members (gone uuid, name text, id auth.user_id);
ALTER TABLE auth.members DROP gone;
CREATE TRIGGER bonus AFTER INSERT ON auth.members FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();
INSERT INTO auth.members VALUES ('null', NULL) RETURNING name;
INSERT INTO auth.members VALUES ('domain', '5ba5e000-0000-4000-8000-000000000301') RETURNING name;
SELECT balance FROM ducto_get_balance('5ba5e000-0000-4000-8000-000000000301');
-- A trigger of another kind is a mistake of whoever makes it.
CREATE TRIGGER wrong BEFORE INSERT ON auth.members FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus();
INSERT INTO auth.members VALUES ('before', '5ba5e000-0000-4000-8000-000000000302');
DROP TABLE auth.members;
DROP DOMAIN auth.user_id;
SELECT ducto.signup_bonus();

-- A pricing without a bonus, with one of 0, with the least, with one that makes the account of a user who is there already too large; and no pricing at all.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
INSERT INTO auth.users VALUES ('none', '5ba5e000-0000-4000-8000-000000000401');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "signup_bonus": 0}');
INSERT INTO auth.users VALUES ('zero', '5ba5e000-0000-4000-8000-000000000402');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "signup_bonus": "0.00005"}');
INSERT INTO auth.users VALUES ('small', '5ba5e000-0000-4000-8000-000000000404');
BEGIN;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "signup_bonus": 99999999999999.9999}');
INSERT INTO auth.users VALUES ('rich', '5ba5e000-0000-4000-8000-000000000405'), ('overflow', '5ba5e000-0000-4000-8000-00000000000a');
ROLLBACK;
BEGIN;
UPDATE ducto.pricing SET active = false WHERE active;
INSERT INTO auth.users VALUES ('no pricing', '5ba5e000-0000-4000-8000-000000000406');
COMMIT;
SELECT id, balance FROM ducto.accounts WHERE id::text LIKE '5ba5e000-0000-4000-8000-0000000004%' ORDER BY id;

-- A trigger that somebody disabled, and one that is not ours.
ALTER TABLE auth.users DISABLE TRIGGER ducto_signup_bonus;
SELECT action FROM ducto_setup() WHERE object LIKE 'trigger %';
DROP TRIGGER ducto_signup_bonus ON auth.users;
CREATE FUNCTION auth.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER ducto_signup_bonus AFTER INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.nothing();
SELECT action FROM ducto_setup() WHERE object LIKE 'trigger %';
DROP TRIGGER ducto_signup_bonus ON auth.users;
SELECT action FROM ducto_setup() WHERE object LIKE 'trigger %';

SELECT * FROM wrong;
SELECT * FROM ducto_verify();

SELECT FROM earlier, ducto_activate_pricing(earlier.version) WHERE earlier.version IS NOT NULL \g /dev/null
SET client_min_messages = warning;
DROP SCHEMA auth CASCADE;
DROP OWNED BY anon, authenticated, service_role, regress_ducto_stranger;
DROP ROLE anon, authenticated, service_role, regress_ducto_stranger;
SELECT * FROM ducto_setup();
