-- arguments: what every function of the API has in common: NULL for what is required, NULL for what has a default, a team where a user is meant

\set ada '\'a26a0000-0000-4000-8000-000000000001\''
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"p": {"name": "P", "free_allowance": 0}}}');
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT team_id AS team FROM ducto_create_team('arguments', 100) \gset
SELECT error FROM ducto_add_team_member(:'team', :ada);
SELECT transaction_id AS tx FROM ducto_charge(:ada, 1) \gset
SELECT reservation_id AS hold FROM ducto_reserve(:ada, 1) \gset
SELECT set_config('request.jwt.claims', json_build_object('sub', :ada)::text, false) IS NOT NULL AS known;
SELECT reservation_id AS pool_hold FROM ducto_reserve(:ada, 1, team_id => :'team') \gset

-- A value that each argument takes: by its name, else by its type.
CREATE TEMP TABLE good (what text, value text);
INSERT INTO good VALUES ('user_id', quote_literal(:ada)), ('team_id', quote_literal(:'team')), ('account_id', quote_literal(:ada)), ('transaction_id', quote_literal(:'tx')), ('reservation_id', quote_literal(:'hold')),
	('plan_id', '''p'''), ('type', '''purchase'''), ('cap_type', '''daily'''), ('action', '''deny'''), ('usage', '''{"model": "m", "input_tokens": 1}'''), ('provider', '''openai'''), ('response', '''{"usage": {"prompt_tokens": 1}}'''), ('catalogue', '''{"m": {"input_cost_per_token": 1, "output_cost_per_token": 1}}'''), ('format', '''litellm'''), ('config', '''{"models": {"_default": "1"}}'''),
	('from_time', 'now() - interval ''1 day'''), ('at', 'now()'), ('role', 'current_user::regrole'),
	('charges', '''[{"user_id": "a26a0000-0000-4000-8000-000000000001", "amount": 1}]'''), ('credits', '''[{"user_id": "a26a0000-0000-4000-8000-000000000001", "amount": 1}]'''),
	('uuid[]', '''{}'''), ('uuid', quote_literal(:ada)), ('numeric', '1'), ('integer', '1'), ('text', '''x'''), ('jsonb', '''{}'''), ('boolean', 'true'), ('timestamp with time zone', 'now()'),
	('to_id', '''a26a0000-0000-4000-8000-000000000002'''), ('interval', '''1 day'''), ('lines', '''[{"amount": 1}]''');
CREATE TEMP TABLE arguments AS SELECT p.oid, p.proname AS function, n, p.proargnames[n] AS name, format_type(t, NULL) AS type, n > p.pronargs - p.pronargdefaults AS has_default, p.provolatile <> 'v' AS reads
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'ducto', unnest(p.proargtypes) WITH ORDINALITY a (t, n)
WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f';

-- call() makes the text of a call with what is required, but for one argument; try() makes the call, takes it back, and tells what came of it, without ids and times.
CREATE FUNCTION pg_temp.call(called oid, other text DEFAULT '', value text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT format('%s(%s)', min(function), coalesce(string_agg(format('%I => %s', a.name, CASE WHEN a.name = other THEN value ELSE coalesce((SELECT g.value FROM good g WHERE g.what = a.name),
		(SELECT g.value FROM good g WHERE g.what = a.type), 'NULL') END), ', ' ORDER BY n) FILTER (WHERE NOT has_default OR a.name = other), ''))
	FROM arguments a WHERE a.oid = called
$$;
CREATE FUNCTION pg_temp.try(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT jsonb_agg(r)::text FROM ' || call || ' r' INTO result;
	RAISE EXCEPTION USING ERRCODE = 'UC000', MESSAGE = regexp_replace(regexp_replace(coalesce(result, 'nothing'), '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g'), '\d{4}-\d\d-\d\dT[^"]*', 'time', 'g');
EXCEPTION WHEN OTHERS THEN
	RETURN CASE WHEN SQLSTATE = 'UC000' THEN SQLERRM ELSE SQLSTATE || ' ' || SQLERRM END;
END $$;

-- With a value for all that is required a call is answered; the test clock is off.
SELECT function, call, result FROM (SELECT DISTINCT oid, function FROM arguments) f, pg_temp.call(oid) AS call, pg_temp.try(call) AS result WHERE result ~ '^[0-9A-Z]{5} ' ORDER BY 1;

-- NULL for a required argument is 22004 and names it, for reads too. The one exception takes a plan away.
SELECT function, name, result FROM arguments, pg_temp.call(oid, name, 'NULL') AS call, pg_temp.try(call) AS result WHERE NOT has_default AND result NOT LIKE format('22004 %%"%s"%%', name) ORDER BY 1, 2;

-- NULL for an argument that has a default means the default: the same call without it has the same result. There are no rows.
SELECT function, name, without, result FROM arguments, pg_temp.call(oid) AS short, pg_temp.try(short) AS without, pg_temp.call(oid, name, 'NULL') AS call, pg_temp.try(call) AS result WHERE has_default AND result <> without ORDER BY 1, 2;

-- A team's id as user_id is 22023 but for what takes both, for a rejection's sake too: no plan is called x, and nobody's reservation is this.
SELECT DISTINCT function, reads FROM arguments, pg_temp.call(oid, 'user_id', quote_literal(:'team')) AS call, pg_temp.try(call) AS result WHERE name = 'user_id' AND result NOT LIKE '22023 %"user\_id"%' ORDER BY 1;
SELECT call, r.result FROM unnest(ARRAY['ducto_set_user_plan(%L, ''x'')', 'ducto_increment_usage_window(%L, ''x'', 1)', 'ducto_release(%L, gen_random_uuid())', 'ducto_renew(%L, gen_random_uuid())', 'ducto_deduct(%L, gen_random_uuid(), 1)',
	'ducto_charge_usage(%L, ''{"model": "m", "input_tokens": 1}'', gen_random_uuid())', 'ducto_reserve(%1$L, 1, team_id => %1$L)', 'ducto_reserve_usage(%1$L, ''{"model": "m", "input_tokens": 1}'', team_id => %1$L)']) AS call, pg_temp.try(format(call, :'team')) AS r (result)
WHERE r.result NOT LIKE '22023 %"user\_id"%';
SELECT function, result LIKE '22023 %"user\_id"%' AS refused FROM arguments, pg_temp.call(oid, 'reservation_id', quote_literal(:'pool_hold')) AS call, pg_temp.try(replace(call, quote_literal(:ada), quote_literal(:'team'))) AS result WHERE name = 'reservation_id' AND NOT has_default ORDER BY 1;

-- A number of a few letters may have a hundred thousand digits, a text or a key as many letters: no message has all of them.
CREATE TEMP TABLE long (type text, value text);
INSERT INTO long VALUES ('numeric', '1e131071'), ('numeric', '-1e131071'), ('numeric', '1e-16000'), ('numeric[]', 'ARRAY[1e131071]');
INSERT INTO long SELECT 'jsonb', quote_literal(v) FROM unnest(ARRAY['1e131071', '{"model": "m", "input_tokens": 1e131071}', '{"model": "m", "input_tokens": -1e131071}', '{"usage": {"prompt_tokens": -1e131071, "completion_tokens": 1e131071}}',
	'[{"user_id": "a26a0000-0000-4000-8000-000000000001", "amount": 1e131071}]', '[{"user_id": "a26a0000-0000-4000-8000-000000000001", "amount": -1e131071}]', '[{"amount": -1e131071}]', '[{"usage": {"input_tokens": -1e131071}}]',
	'{"models": {"_default": "1"}, "min_balance": 1e131071}', '{"models": {"_default": "1"}, "signup_bonus": 1e131071}', '{"models": {"_default": "1"}, "plans": {"p": {"name": "P", "free_allowance": -1e131071}}}']) v;
INSERT INTO long VALUES ('text', 'repeat(''x'', 10000)'), ('text[]', 'ARRAY[repeat(''x'', 10000)]');
INSERT INTO long SELECT 'jsonb', format('replace(%L, ''K'', repeat(''k'', 10000))::jsonb', v) FROM unnest(ARRAY['"K"', '["K"]', '{"K": "K"}', '{"K": 1}', '{"K": {"K": "K"}}', '[{"K": 1}]', '[{"key": "K", "amount": "K"}]',
	'[{"user_id": "K", "amount": 1}]', '[{"user_id": "a26a0000-0000-4000-8000-000000000001", "amount": "K", "idempotency_key": "K"}]', '[{"user_id": "a26a0000-0000-4000-8000-000000000001", "usage": {"model": "K", "K": 1}}]',
	'{"model": "K"}', '{"model": "m", "K": 1}', '{"model": "m", "K": "K"}', '{"model": "m", "input_tokens": "K"}', '{"model": "m", "usage": {"K": "K"}}', '{"model": "m", "usage": {"K": {"K": 1}}}',
	'{"models": {"K": "K"}}', '{"models": {"_default": "K"}}', '{"models": {"_default": "kkk("}}', '{"models": {"_default": "1"}, "K": 1}', '{"models": {"_default": "1"}, "plans": {"K": {"K": "K"}}}',
	'{"models": {"_default": "1"}, "plans": {"p": {"name": "P", "K": 1}}}', '{"models": {"_default": "1"}, "plans": {"p": {"name": "P", "mode": "K"}}}', '{"models": {"_default": "1"}, "alerts": {"K": ["K"]}}', '{"models": {"_default": "1"}, "tools": {"K": "K"}}']) v;
SELECT function, name, value, length(result) FROM arguments JOIN long USING (type), pg_temp.call(oid, name, value) AS call, pg_temp.try(call) AS result WHERE result ~ '^[0-9A-Z]{5} ' AND length(result) > 1000 ORDER BY 1, 2, 3;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
