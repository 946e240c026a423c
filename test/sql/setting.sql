-- setting: the settings of a role that a session became later, as PostgREST's sessions do, and what the request says

\set ada '\'5e770000-0000-4000-8000-000000000001\''
\set poor '\'5e770000-0000-4000-8000-000000000002\''

CREATE ROLE regress_ducto_backend;
CREATE ROLE regress_ducto_other;
SELECT ducto_grant_access('regress_ducto_backend'), ducto_grant_access('regress_ducto_other');
SELECT new_balance FROM ducto_add_credits(:ada, 1000, 'purchase');
SELECT quote_ident(current_database()) AS here \gset

-- told() makes a call and says how its rejection was told.
CREATE FUNCTION public.setting_told(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	error text;
	state text;
BEGIN
	PERFORM set_config('response.status', '', true);
	EXECUTE 'SELECT error FROM ' || call INTO error;
	RETURN concat_ws(' ', error, nullif(current_setting('response.status'), ''));
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, error = MESSAGE_TEXT;
	RETURN concat_ws(' ', state, error);
END $$;
SELECT format('ducto_charge(%L, 1)', :poor) AS charge \gset

-- What is set for a role is obeyed from the first call of a session that becomes this role. Nobody has loaded the library when it is set.
\c -
ALTER ROLE regress_ducto_backend SET ducto.rejections = 'http';
ALTER ROLE regress_ducto_backend SET ducto.reservation_ttl = '2h';
\c -
SET ROLE regress_ducto_backend;
SELECT public.setting_told(:'charge');
SHOW ducto.rejections;
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes FROM ducto_reserve(:ada, 1);
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes FROM ducto_reserve(:ada, 1, ttl_seconds => 60);
SELECT reservation_id AS hold FROM ducto_reserve(:ada, 1, ttl_seconds => 60) \gset
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes FROM ducto_renew(:ada, :'hold');
-- another role of the same session has nothing of it, the first one has it again, and SESSION AUTHORIZATION is a role too
SET ROLE regress_ducto_other;
SELECT public.setting_told(:'charge');
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes FROM ducto_reserve(:ada, 1);
RESET ROLE;
SELECT public.setting_told(:'charge');
SET SESSION AUTHORIZATION regress_ducto_backend;
SELECT public.setting_told(:'charge');
RESET SESSION AUTHORIZATION;
-- and so has a function of the application that runs as its owner
CREATE FUNCTION public.setting_wrapper(owner uuid) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$BEGIN RETURN (SELECT public.setting_told(format('public.ducto_charge(%L, 1)', owner))); END$$;
SET ROLE regress_ducto_backend;
SELECT public.setting_wrapper(:poor);

-- The session's own word stands over it; what goes back to nothing does not.
SET ducto.rejections = 'return';
SELECT public.setting_told(:'charge');
SET ducto.rejections = 'raise';
SELECT public.setting_told(:'charge');
RESET ducto.rejections;
SELECT public.setting_told(:'charge');
BEGIN;
SET LOCAL ducto.rejections = 'return';
SELECT public.setting_told(:'charge');
COMMIT;
SELECT public.setting_told(:'charge');
CREATE FUNCTION pg_temp.strict() RETURNS text LANGUAGE sql SET ducto.rejections = 'raise' AS $$SELECT public.setting_told('ducto_charge(''5e770000-0000-4000-8000-000000000002'', 1)')$$;
SELECT pg_temp.strict();
SELECT public.setting_told(:'charge');
RESET ROLE;

-- It is PostgreSQL's order: the role in this database, the role, the database, all.
CREATE FUNCTION pg_temp.now_told() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text;
BEGIN
	SET LOCAL ROLE regress_ducto_backend;
	told := public.setting_told('ducto_charge(''5e770000-0000-4000-8000-000000000002'', 1)');
	RESET ROLE;
	RETURN told;
END $$;
SELECT pg_temp.now_told() AS role;
ALTER ROLE regress_ducto_backend IN DATABASE :here SET ducto.rejections = 'raise';
SELECT pg_temp.now_told() AS role_in_database;
ALTER ROLE regress_ducto_backend IN DATABASE :here SET ducto.rejections = 'return';
SELECT pg_temp.now_told() AS role_in_database;
ALTER ROLE regress_ducto_backend IN DATABASE :here RESET ducto.rejections;
ALTER ROLE regress_ducto_backend RESET ducto.rejections;
ALTER DATABASE :here SET ducto.rejections = 'raise';
SELECT pg_temp.now_told() AS database;
ALTER ROLE regress_ducto_backend SET ducto.rejections = 'http';
SELECT pg_temp.now_told() AS role_over_database;
ALTER ROLE regress_ducto_backend RESET ducto.rejections;
ALTER DATABASE :here RESET ducto.rejections;
SELECT pg_temp.now_told() AS nothing;

-- A word that is none is told once a session, and is not obeyed.
\c -
ALTER ROLE regress_ducto_backend SET ducto.rejections = 'htpp';
ALTER ROLE regress_ducto_backend SET ducto.reservation_ttl = '2 hours or so';
\c -
SET ROLE regress_ducto_backend;
SELECT public.setting_told(:'charge');
SELECT public.setting_told(:'charge');
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes FROM ducto_reserve(:ada, 1);
RESET ROLE;
ALTER ROLE regress_ducto_backend RESET ALL;
-- once the library is loaded, it cannot be set
\set VERBOSITY sqlstate
ALTER ROLE regress_ducto_backend SET ducto.rejections = 'htpp';
ALTER ROLE regress_ducto_backend SET ducto.reservation_ttl = '40d';
\set VERBOSITY default

-- As an exception that PostgREST makes a response of: the body is in MESSAGE, the status in DETAIL.
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10) \gset
CREATE FUNCTION pg_temp.response(call text, OUT state text, OUT code text, OUT message text, OUT error text, OUT detail text) LANGUAGE plpgsql AS $$
DECLARE
	body text;
BEGIN
	EXECUTE 'SELECT error FROM ' || call INTO error;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, body = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	code := body::json->>'code';
	message := body::json->>'message';
	error := (body::json->>'details')::json->>'error';
END $$;
SET ducto.rejections = 'postgrest';
SELECT r.* FROM unnest(ARRAY[:'charge', format('ducto_refund(%L, 11)', :'tx'), format('ducto_refund(%L)', :ada), format('ducto_renew(%L, %L)', :ada, :'tx'), format('ducto_check_allowance(%L)', :ada)]) call, pg_temp.response(call) r;
SELECT string_agg(key, ' ' ORDER BY o) AS keys FROM regexp_replace(public.setting_told(:'charge'), '^PGRST ', '') body, json_object_keys(body::json) WITH ORDINALITY k (key, o);
RESET ducto.rejections;

-- raise is that in a call that PostgREST makes of the function itself; behind another function, which may handle it, it is the exception that it always is.
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SELECT left(public.setting_told(:'charge'), 27) AS nowhere;
SELECT set_config('request.method', 'POST', true) \g /dev/null
SELECT left(public.setting_told(:'charge'), 27) AS in_a_request;
SELECT set_config('request.path', '/rpc/ducto_charge', true) \g /dev/null
SELECT left(public.setting_told(:'charge'), 27) AS for_the_function;
SELECT set_config('request.path', '/rpc/buy', true) \g /dev/null
SELECT left(public.setting_told(:'charge'), 27) AS for_another;
SELECT set_config('request.path', 'ducto_charge', true) \g /dev/null
SELECT left(public.setting_told(:'charge'), 27) AS nonsense;
COMMIT;
SELECT left(public.setting_told(:'charge'), 27) AS after_it;

-- A caller chooses by a header: for the function that the request is for, and that the role may call.
CREATE FUNCTION pg_temp.with_headers(headers text, caller text = 'regress_ducto_backend', path text = '/rpc/ducto_charge') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text;
BEGIN
	PERFORM set_config('request.method', 'POST', true), set_config('request.path', path, true), set_config('request.headers', headers, true), set_config('role', caller, true);
	told := left(public.setting_wrapper('5e770000-0000-4000-8000-000000000002'), 27);
	RESET ROLE;
	RETURN told;
END $$;
GRANT EXECUTE ON FUNCTION public.setting_wrapper(uuid) TO PUBLIC;
CREATE ROLE regress_ducto_nobody;
SELECT headers, pg_temp.with_headers(headers) FROM unnest(ARRAY['{"x-ducto-rejections": "http"}', '{"accept": "*/*", "x-ducto-rejections": "RAISE"}', '{"x-ducto-rejections": "return"}', '{"x-ducto-rejections": "nonsense"}',
	'{"x-ducto-rejections": ["http"]}', '{"x": {"x-ducto-rejections": "http"}}', '["x-ducto-rejections", "http"]', '{"x-ducto-rejections": ', '{}', '']) headers;
SELECT pg_temp.with_headers('{"x-ducto-rejections": "http"}', path => '') AS no_path, pg_temp.with_headers('{"x-ducto-rejections": "http"}', path => '/rpc/buy') AS another_path,
	pg_temp.with_headers('{"x-ducto-rejections": "http"}', 'regress_ducto_nobody') AS who_may_not;
BEGIN;
SELECT set_config('request.method', 'POST', true), set_config('request.path', '/rpc/ducto_charge', true),
	set_config('request.headers', format('{"x-ducto-rejections": "%s"}', repeat('long', 100)), true) \g /dev/null
SELECT public.setting_told(:'charge') AS shortened;
COMMIT;
-- it stands over what is set for the role, also when PostgREST has passed that on, and not over what the session or a function says
ALTER ROLE regress_ducto_backend SET ducto.rejections = 'http';
SELECT pg_temp.with_headers('{}') AS the_role, pg_temp.with_headers('{"x-ducto-rejections": "return"}') AS the_header;
BEGIN;
SET LOCAL ducto.rejections = 'http';
SELECT pg_temp.with_headers('{}') AS passed_on, pg_temp.with_headers('{"x-ducto-rejections": "return"}') AS the_header;
SET LOCAL ducto.rejections = 'raise';
SELECT pg_temp.with_headers('{"x-ducto-rejections": "return"}') AS the_session;
COMMIT;
SELECT pg_temp.with_headers('{}', 'regress_ducto_other') AS another_role;
RESET ALL;

-- Where a role must give keys, what books credits is an error without one. A hold books nothing.
ALTER ROLE regress_ducto_backend RESET ALL;
ALTER ROLE regress_ducto_backend SET ducto.require_idempotency_key = on;
ALTER ROLE regress_ducto_backend SET ducto.reservation_ttl = '180min';
SELECT team_id AS team FROM ducto_create_team('keys') \gset
SELECT error FROM ducto_add_team_member(:'team', :ada);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
SELECT transaction_id AS tx2 FROM ducto_charge(:ada, 10) \gset
SELECT reservation_id AS hold1 FROM ducto_reserve(:ada, 10) \gset
SELECT reservation_id AS hold2 FROM ducto_reserve(:ada, 10) \gset
CREATE TEMP TABLE keyed (n serial, call text);
GRANT SELECT ON keyed TO regress_ducto_backend;
INSERT INTO keyed (call) VALUES (format('ducto_add_credits(%L, 1KEY)', :ada)), (format('ducto_charge(%L, 1KEY)', :ada)), (format('ducto_charge_usage(%L, ''{}''KEY)', :ada)), (format('ducto_refund(%LKEY)', :'tx2')),
	(format('ducto_deduct(%L, %L, 1KEY)', :ada, :'hold1')), (format('ducto_charge_usage(%L, ''{}'', %LKEY)', :ada, :'hold2')), (format('ducto_add_team_credits(%L, 1KEY)', :'team')), (format('ducto_deduct_team(%L, %L, 1KEY)', :'team', :ada));
SET ROLE regress_ducto_backend;
SELECT n, split_part(call, '(', 1) AS function, public.setting_told(replace(call, 'KEY', '')) AS without_a_key FROM keyed ORDER BY n;
SELECT n, split_part(call, '(', 1) AS function, public.setting_told(replace(call, 'KEY', format(', idempotency_key => ''key-%s''', n))) AS with_one FROM keyed ORDER BY n;
SELECT * FROM ducto_charge(:ada, 1);
-- A team with credits is one of them, one without is not.
SELECT name FROM ducto_create_team('new', 1);
SELECT name FROM ducto_create_team('new', 1, 'new');
SELECT name FROM ducto_create_team('empty');
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes, error FROM ducto_reserve(:ada, 1);
SELECT round(extract(epoch FROM expires_at - clock_timestamp()) / 60) AS minutes, error FROM ducto_reserve_usage(:ada, '{}');
SET ducto.require_idempotency_key = off;
SELECT error FROM ducto_charge(:ada, 1);
RESET ducto.require_idempotency_key;
RESET ROLE;
SELECT error FROM ducto_charge(:ada, 1);
SET ducto.require_idempotency_key = on;
SELECT error FROM ducto_charge(:ada, 1);
SELECT error FROM ducto_charge(:ada, 1, 'a key');
RESET ducto.require_idempotency_key;

SELECT * FROM ducto_verify();
DROP FUNCTION public.setting_wrapper(uuid);
DROP FUNCTION public.setting_told(text);
DROP OWNED BY regress_ducto_backend, regress_ducto_other, regress_ducto_nobody;
DROP ROLE regress_ducto_backend, regress_ducto_other, regress_ducto_nobody;
