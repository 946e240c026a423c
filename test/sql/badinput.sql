-- badinput: a mistake of the caller is one clear error that names the argument and the value, says what is allowed, and changes nothing

\set ada '\'bad00000-0000-4000-8000-000000000001\''
\set max '\'bad00000-0000-4000-8000-000000000002\''
\set low '\'bad00000-0000-4000-8000-000000000003\''
\set ned '\'bad00000-0000-4000-8000-000000000004\''

SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
CREATE ROLE regress_ducto_badinput;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}}');
SELECT transaction_id AS credit, new_balance FROM ducto_add_credits(:ada, 1000, 'purchase') \gset
SELECT transaction_id AS tx FROM ducto_charge(:ada, 100, 'remembered') \gset
SELECT reservation_id AS hold FROM ducto_reserve(:ada, 100) \gset

-- Every argument of every function, in order: its kind of value, and a value for it where it is required, so that it can be left alone while another is tried.
CREATE TEMP TABLE arguments (n serial, function text, argument text, kind text, valid text);
\set hold '\'' :hold '\''
\set tx '\'' :tx '\''
\set credit '\'' :credit '\''
INSERT INTO arguments (function, argument, kind, valid) VALUES
	('ducto_add_credits', 'user_id', 'required', quote_literal(:ada)), ('ducto_add_credits', 'amount', 'any amount', '10'), ('ducto_add_credits', 'type', 'credit type', NULL), ('ducto_add_credits', 'metadata', 'metadata', NULL),
	('ducto_add_credits', 'expires_at', 'future', NULL), ('ducto_add_credits', 'idempotency_key', 'text', NULL), ('ducto_add_credits', 'priority', 'priority', NULL),
	('ducto_get_balance', 'user_id', 'required', quote_literal(:ada)),
	('ducto_list_grants', 'user_id', 'required', quote_literal(:ada)),
	('ducto_reserve', 'user_id', 'required', quote_literal(:ada)), ('ducto_reserve', 'amount', 'positive', '10'), ('ducto_reserve', 'operation_type', 'text', NULL), ('ducto_reserve', 'metadata', 'metadata', NULL),
	('ducto_reserve', 'min_balance', 'floor', NULL), ('ducto_reserve', 'ttl_seconds', 'ttl', NULL), ('ducto_reserve', 'model', 'text', NULL), ('ducto_reserve', 'billing_mode', 'billing mode', NULL),
	('ducto_reserve', 'overdraft_floor', 'overdraft floor', NULL), ('ducto_reserve', 'max_concurrent', 'count', NULL), ('ducto_reserve', 'required_feature', 'feature', NULL), ('ducto_reserve', 'idempotency_key', 'text', NULL), ('ducto_reserve', 'team_id', 'team', NULL), ('ducto_reserve', 'skip_allowance', 'boolean', NULL), ('ducto_reserve', 'ceiling', 'boolean', NULL),
	('ducto_deduct', 'user_id', 'required', quote_literal(:ada)), ('ducto_deduct', 'reservation_id', 'required', quote_literal(:hold)), ('ducto_deduct', 'amount', 'not negative', '10'), ('ducto_deduct', 'idempotency_key', 'text', NULL),
	('ducto_deduct', 'metadata', 'metadata', NULL), ('ducto_deduct', 'model', 'text', NULL), ('ducto_deduct', 'overrun', 'overrun', NULL), ('ducto_deduct', 'final', 'boolean', NULL), ('ducto_deduct', 'allow_late', 'boolean', NULL), ('ducto_deduct', 'skip_allowance', 'boolean', NULL), ('ducto_deduct', 'team_id', 'team', NULL),
	('ducto_release', 'user_id', 'required', quote_literal(:ada)), ('ducto_release', 'reservation_id', 'required', quote_literal(:hold)), ('ducto_release', 'team_id', 'team', NULL),
	('ducto_renew', 'user_id', 'required', quote_literal(:ada)), ('ducto_renew', 'reservation_id', 'required', quote_literal(:hold)), ('ducto_renew', 'ttl_seconds', 'ttl', NULL), ('ducto_renew', 'team_id', 'team', NULL),
	('ducto_charge', 'user_id', 'required', quote_literal(:ada)), ('ducto_charge', 'amount', 'not negative', '10'), ('ducto_charge', 'idempotency_key', 'text', NULL), ('ducto_charge', 'metadata', 'metadata', NULL),
	('ducto_charge', 'model', 'text', NULL), ('ducto_charge', 'min_balance', 'floor', NULL), ('ducto_charge', 'operation_type', 'text', NULL), ('ducto_charge', 'skip_allowance', 'boolean', NULL), ('ducto_charge', 'required_feature', 'feature', NULL), ('ducto_charge', 'overrun', 'overrun', NULL),
	('ducto_can_afford', 'user_id', 'required', quote_literal(:ada)), ('ducto_can_afford', 'amount', 'positive', '10'), ('ducto_can_afford', 'model', 'text', NULL), ('ducto_can_afford', 'operation_type', 'text', NULL),
	('ducto_refund', 'transaction_id', 'required', quote_literal(:tx)), ('ducto_refund', 'amount', 'positive or all', NULL), ('ducto_refund', 'reason', 'reason', NULL), ('ducto_refund', 'metadata', 'metadata', NULL), ('ducto_refund', 'idempotency_key', 'text', NULL), ('ducto_refund', 'restore_allowance', 'boolean', NULL), ('ducto_refund', 'account_id', 'team', NULL),
	('ducto_reverse_credits', 'transaction_id', 'required', quote_literal(:credit)), ('ducto_reverse_credits', 'amount', 'positive or all', '1'), ('ducto_reverse_credits', 'overrun', 'reversal overrun', NULL), ('ducto_reverse_credits', 'reason', 'reason', NULL), ('ducto_reverse_credits', 'metadata', 'metadata', NULL), ('ducto_reverse_credits', 'idempotency_key', 'text', NULL), ('ducto_reverse_credits', 'account_id', 'team', NULL),
	('ducto_transfer', 'from_id', 'required', quote_literal(:ada)), ('ducto_transfer', 'to_id', 'required', quote_literal(:ned)), ('ducto_transfer', 'amount', 'positive or all', '1'), ('ducto_transfer', 'reason', 'reason', NULL), ('ducto_transfer', 'metadata', 'metadata', NULL), ('ducto_transfer', 'idempotency_key', 'text', NULL),
	('ducto_sweep_expired', 'dry_run', 'boolean', NULL), ('ducto_sweep_expired', 'max_accounts', 'count', NULL),
	('ducto_expire_reservations', 'max_rows', 'count', NULL),
	('ducto_sweep', 'batch_size', 'count', NULL),
	('ducto_list_transactions', 'user_id', 'required', quote_literal(:ada)), ('ducto_list_transactions', 'types', 'types', NULL), ('ducto_list_transactions', 'from_time', 'time', NULL), ('ducto_list_transactions', 'to_time', 'time', NULL),
	('ducto_list_transactions', 'max_rows', 'count', NULL), ('ducto_list_transactions', 'skip_rows', 'skip', NULL), ('ducto_list_transactions', 'before', 'entry', NULL),
	('ducto_list_usage_events', 'user_id', 'required', quote_literal(:ada)), ('ducto_list_usage_events', 'from_time', 'time', NULL), ('ducto_list_usage_events', 'to_time', 'time', NULL),
	('ducto_list_usage_events', 'max_rows', 'count', NULL), ('ducto_list_usage_events', 'skip_rows', 'skip', NULL),
	('ducto_settle', 'user_id', 'required', quote_literal(:ada)), ('ducto_settle', 'reservation_id', 'required', quote_literal(:hold)), ('ducto_settle', 'lines', 'lines', '''[{"amount": 10}]'''), ('ducto_settle', 'final', 'boolean', NULL), ('ducto_settle', 'overrun', 'overrun', NULL),
	('ducto_list_usage_lines', 'user_id', 'required', quote_literal(:ada)), ('ducto_list_usage_lines', 'transaction_id', 'team', NULL), ('ducto_list_usage_lines', 'from_time', 'time', NULL), ('ducto_list_usage_lines', 'to_time', 'time', NULL),
	('ducto_list_usage_lines', 'max_rows', 'count', NULL), ('ducto_list_usage_lines', 'before', 'line', NULL),
	('ducto_balance_at', 'user_id', 'required', quote_literal(:ada)), ('ducto_balance_at', 'at', 'past', '''2020-01-01'''),
	('ducto_verify', 'user_id', 'anything', NULL),
	('ducto_distribute', 'shard_count', 'shards', NULL),
	('ducto_grant_access', 'role', 'required', '''regress_ducto_badinput'''), ('ducto_grant_access', 'what', 'access', NULL);

-- None is forgotten, and none is there that the extension does not have.
CREATE TEMP VIEW extension_arguments AS SELECT p.proname AS function, u.name AS argument
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e', unnest(p.proargnames) u (name) WHERE p.proname LIKE 'ducto\_%';
SELECT coalesce(a.function, e.function) AS function, coalesce(a.argument, e.argument) AS argument, CASE WHEN a.argument IS NULL THEN 'has no cases here' ELSE 'is no more' END AS problem
FROM arguments a FULL JOIN (SELECT * FROM extension_arguments WHERE function IN (SELECT function FROM arguments)) e USING (function, argument)
WHERE a.argument IS NULL OR e.argument IS NULL ORDER BY 1, 2;

-- These have none here: the bad input of plans, caps, pricing, teams, analytics and claims is in their own tests.
SELECT DISTINCT function FROM extension_arguments WHERE function NOT IN (SELECT function FROM arguments) ORDER BY 1;

-- What is tried for each kind: the bad values, and those at the edge that are still good.
CREATE TEMP TABLE tries (n serial, kind text, value text);
INSERT INTO tries (kind, value)
SELECT kind, value FROM (VALUES
	('required', ARRAY['NULL']),
	('anything', ARRAY['NULL']),
	('boolean', ARRAY['NULL', 'true', 'false']),
	('any amount', ARRAY['NULL', '''NaN''', '''Infinity''', '''-Infinity''', '1e14', '-1e14', '99999999999999.99995', '-99999999999999.99995', '1e100', '0.00004999', '-0.00004999', '0.00005', '-0.00005', '2.00005', '-2.00005', '99999999998999.99994999', '0']),
	('positive', ARRAY['NULL', '''NaN''', '''Infinity''', '''-Infinity''', '1e14', '-1e14', '99999999999999.99995', '0', '0.0000', '-0.0001', '-1', '0.00004999', '-0.00001', '0.00005', '99999999999999.99994999']),
	('positive or all', ARRAY['NULL', '''NaN''', '''Infinity''', '''-Infinity''', '1e14', '-1e14', '99999999999999.99995', '0', '-0.0001', '-1', '0.00004999', '-0.00001', '0.00005', '99999999999999.99994999']),
	('not negative', ARRAY['NULL', '''NaN''', '''Infinity''', '''-Infinity''', '1e14', '-1e14', '99999999999999.99995', '-0.0001', '-1', '0.00004999', '-0.00001', '0', '0.0000', '0.00005', '99999999999999.99994999']),
	('floor', ARRAY['NULL', '''NaN''', '''Infinity''', '''-Infinity''', '1e14', '-0.0001', '0.00004999', '0', '0.00005', '99999999999999.99994999']),
	('overdraft floor', ARRAY['''NaN''', '''Infinity''', '''-Infinity''', '-1e14', '0.0001', '1', '-0.00004999', '0', '-0.00005', '-99999999999999.99994999']),
	('text', ARRAY['NULL', '''''', 'repeat(''k'', 256)', 'repeat(chr(228), 128)', '''k''', 'repeat(''k'', 255)', 'repeat(chr(228), 127) || ''k''']),
	('feature', ARRAY['NULL', '''''', 'repeat(''k'', 256)', 'repeat(chr(228), 128)', '''k''', 'repeat(''k'', 255)']),
	('team', ARRAY['NULL', '''bad00000-0000-4000-8000-0000000000ee''']),
	('reason', ARRAY['NULL', '''''', 'repeat(''k'', 1000)']),
	('metadata', ARRAY['NULL', '''[]''', '''[{"a": 1}]''', '''"text"''', '''1''', '''true''', '''null''', '''{}''', '''{"a": [1, null]}''']),
	('credit type', ARRAY['NULL', '''''', '''usage''', '''refund''', '''expiry''', '''Purchase''', '''purchase ''', 'repeat(''k'', 256)', '''purchase''', '''subscription''', '''signup_bonus''', '''adjustment''', '''promo''']),
	('reversal overrun', ARRAY['NULL', '''''', '''Clamp''', '''all''', '''clamp''', '''unspent''', '''reject''', '''full''']),
	('billing mode', ARRAY['NULL', '''''', '''Strict''', '''credit''', '''overdraft''', '''strict''']),
	('overrun', ARRAY['NULL', '''''', '''Reject''', '''ignore''', '''reject''', '''clamp''', '''full''']),
	('access', ARRAY['NULL', '''''', '''write''', '''ALL''', '''all''', '''read''']),
	('priority', ARRAY['NULL', '-1', '101', '2147483647', '0', '100', '50']),
	('ttl', ARRAY['NULL', '0', '-1', '2592001', '2147483647', '1', '2592000']),
	('count', ARRAY['NULL', '0', '-1', '-2147483648', '1', '2147483647']),
	('shards', ARRAY['NULL', '0', '-1', '64001', '64000']),
	('skip', ARRAY['NULL', '-1', '-2147483648', '0', '2147483647']),
	('future', ARRAY['NULL', '''infinity''', '''-infinity''', '''2020-01-01 00:00+00''', '''294276-12-31 00:00+00''']),
	('past', ARRAY['NULL', '''infinity''', '''-infinity''', '''2222-01-01 00:00+00''', '''4713-01-01 00:00+00 BC''']),
	('time', ARRAY['NULL', '''infinity''', '''-infinity''', '''4713-01-01 00:00+00 BC''', '''294276-12-31 00:00+00''']),
	('types', ARRAY['NULL', '''{nope}''', '''{purchase,nope}''', '''{Usage}''', '''{""}''', '''{NULL}''', '''{purchase,NULL}''', '''{}''', '''{purchase,subscription,signup_bonus,adjustment,promo,usage,refund,expiry}''', '''{{purchase,usage},{refund,promo}}''']),
	('lines', ARRAY['NULL', '''null''', '''{}''', '''[1]''', '''[{"amount": 1}, null]''', '''[{}]''', '''[{"amount": 1}, {"amount": null}]''', '''[{"amount": -1}]''', '''[{"amount": 0.00004}]''', '''[{"amount": "NaN"}]''',
		'''[{"amount": 99999999999999.9999}, {"amount": 99999999999999.9999}]''', '''[{"amount": 1, "usage": {}}]''', '''[{"amount": 1, "cost": 2}]''', '''[{"amount": 1}, {"amount": 1, "key": ""}]''', '''[{"amount": 1, "key": 7}]''',
		'''[{"amount": 1, "model": ""}]''', '''[{"amount": 1, "metadata": []}]''', '''[{"usage": 5}]''', '''[{"usage": {"input_tokens": -1}}]''', '''[{"usage": {"tokens": 1}}]''',
		'(SELECT jsonb_agg(''{"amount": 0.0001}''::jsonb) FROM generate_series(1, 10001))', '(SELECT jsonb_agg(''{"amount": 0.0001}''::jsonb) FROM generate_series(1, 10000))', '''[]''', '''[{"amount": 0}]''', '''[{"amount": "1.5", "key": null, "metadata": null, "model": null}]''']),
	('line', ARRAY['NULL', '''''', '''nope''']),
	('entry', ARRAY['NULL', '''bad00000-0000-7000-8000-0000000000ee'''])
	) t (kind, tried), unnest(tried) value;

-- No kind is misspelt.
SELECT kind FROM arguments EXCEPT SELECT kind FROM tries;

-- try() makes a call, takes back what it did, and tells what came of it.
CREATE FUNCTION pg_temp.try(call text, OUT state text, OUT message text, OUT hint text) LANGUAGE plpgsql AS $$
DECLARE
	result jsonb;
BEGIN
	BEGIN
		EXECUTE call INTO result;
		RAISE SQLSTATE 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
		state := 'good';
		message := concat_ws(', ', result->>'error', 'amount ' || (result->>'amount'));
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	END;
END $$;
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT json_agg(t ORDER BY id) FROM ducto.accounts t), (SELECT json_agg(t ORDER BY account_id, seq) FROM ducto.ledger t),
		(SELECT json_agg(t ORDER BY account_id, id) FROM ducto.reservations t), (SELECT json_agg(t ORDER BY account_id, id) FROM ducto.grants t)))
$$;
SELECT pg_temp.state() AS before \gset

-- The cases. A function's other arguments have a valid value where they are required, and what a tried argument needs beside it.
\pset format unaligned
\pset fieldsep ' | '
\pset tuples_only on
SELECT format('%s(%s => %s)', a.function, a.argument, t.value), r.state, r.message, r.hint
FROM arguments a JOIN tries t USING (kind),
	LATERAL (SELECT string_agg(format('%I => %s', argument, CASE WHEN argument = a.argument THEN t.value ELSE valid END), ', ' ORDER BY o.n) AS list
		FROM arguments o WHERE o.function = a.function AND (o.argument = a.argument OR o.valid IS NOT NULL)) l,
	LATERAL pg_temp.try(CASE WHEN a.function = 'ducto_sweep' THEN 'CALL ' ELSE 'SELECT to_jsonb(r) FROM ' END || a.function || '(' || l.list
		|| CASE a.kind WHEN 'overdraft floor' THEN ', billing_mode => ''overdraft''' WHEN 'priority' THEN ', expires_at => ''2222-01-01''' ELSE '' END || ')' || CASE WHEN a.function = 'ducto_sweep' THEN '' ELSE ' r LIMIT 1' END) r
ORDER BY a.n, t.n;

-- Arguments that do not go together.
SELECT call, r.* FROM (VALUES
	(1, 'ducto_add_credits(ADA, -1, ''purchase'')'), (2, 'ducto_add_credits(ADA, 0, ''purchase'')'), (3, 'ducto_add_credits(ADA, 0, ''subscription'')'), (4, 'ducto_add_credits(ADA, 0, ''signup_bonus'')'), (5, 'ducto_add_credits(ADA, -0.0001, ''promo'')'),
	(6, 'ducto_add_credits(ADA, 0)'), (7, 'ducto_add_credits(ADA, -1)'),
	(8, 'ducto_add_credits(ADA, -1, expires_at => ''2222-01-01'')'), (9, 'ducto_add_credits(ADA, 0, expires_at => ''2222-01-01'')'), (10, 'ducto_add_credits(ADA, -1, priority => 1)'), (11, 'ducto_add_credits(ADA, 1, priority => 50)'),
	(12, 'ducto_reserve(ADA, 1, billing_mode => ''overdraft'')'), (13, 'ducto_reserve(ADA, 1, overdraft_floor => -1)'), (14, 'ducto_reserve(ADA, 1, overdraft_floor => 0)'), (15, 'ducto_reserve(ADA, 1, billing_mode => ''strict'', overdraft_floor => -1)'),
	(16, 'ducto_reserve(ADA, 1, billing_mode => ''overdraft'', overdraft_floor => 0)'),
	(17, 'ducto_deduct(ADA, HOLD, 0, final => false)'), (18, 'ducto_deduct(ADA, HOLD, 0, final => NULL)'),
	(19, 'ducto_list_transactions(ADA, from_time => ''2020-01-02'', to_time => ''2020-01-01'')'), (20, 'ducto_list_transactions(ADA, from_time => ''2020-01-01'', to_time => ''2020-01-01'')'),
	(21, 'ducto_list_usage_events(ADA, from_time => ''2020-01-02'', to_time => ''2020-01-01'')')
	) c (n, call), LATERAL pg_temp.try('SELECT to_jsonb(r) FROM ' || replace(replace(call, 'ADA', quote_literal(:ada)), 'HOLD', quote_literal(:hold)) || ' r LIMIT 1') r
ORDER BY n;

-- A mistake is told before anything is looked up: an unknown user, reservation or transaction does not hide it, and a remembered key does not excuse it.
SELECT call, r.* FROM (VALUES
	(1, 'ducto_charge(''bad00000-0000-4000-8000-0000000000ff'', -1)'), (2, 'ducto_deduct(''bad00000-0000-4000-8000-0000000000ff'', ''bad00000-0000-4000-8000-0000000000ff'', 1, overrun => ''x'')'),
	(3, 'ducto_refund(''bad00000-0000-4000-8000-0000000000ff'', -1)'), (4, 'ducto_renew(''bad00000-0000-4000-8000-0000000000ff'', ''bad00000-0000-4000-8000-0000000000ff'', 0)'), (5, 'ducto_can_afford(''bad00000-0000-4000-8000-0000000000ff'', 0)'),
	(6, 'ducto_charge(''bad00000-0000-4000-8000-000000000001'', -1, ''remembered'')'), (7, 'ducto_charge(''bad00000-0000-4000-8000-000000000001'', 1, ''remembered'', ''[]'')')
	) c (n, call), LATERAL pg_temp.try('SELECT to_jsonb(r) FROM ' || call || ' r LIMIT 1') r
ORDER BY n;

-- Nothing has changed.
SELECT pg_temp.state() = :'before';

-- A balance has the same bounds as an amount, upwards and downwards, and so has what is held. What was purchased may be more.
SELECT new_balance, lifetime_purchased FROM ducto_add_credits(:max, 99999999999999.9999, 'purchase');
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_add_credits(%L, 0.0001) r', :max));
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_add_credits(%L, 99999999999999.9999) r', :max));
SELECT error, balance_after FROM ducto_charge(:max, 99999999999999.9999);
SELECT new_balance, lifetime_purchased FROM ducto_add_credits(:max, 0.0001, 'purchase');
SELECT new_balance, lifetime_purchased FROM ducto_add_credits(:max, 99999999999999.9998, 'adjustment');
SELECT error, reserved FROM ducto_reserve(:max, 99999999999999.9999, min_balance => 0);
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_reserve(%L, 0.0001, billing_mode => ''overdraft'', overdraft_floor => -1) r', :max));
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_reserve(%L, 0.0001, billing_mode => ''overdraft'', overdraft_floor => -1, max_concurrent => 9) r', :max));
SELECT reservation_id AS r FROM ducto_reserve(:low, 99999999999999.9999, billing_mode => 'overdraft', overdraft_floor => -99999999999999.9999) \gset
SELECT error, balance_after FROM ducto_deduct(:low, :'r', 99999999999999.9999, final => false);
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_deduct(%L, %L, 0.0001, overrun => ''full'') r', :low, :'r'));
SELECT error, balance_after FROM ducto_deduct(:low, :'r', 0.0001, overrun => 'clamp');
SELECT new_balance FROM ducto_add_credits(:low, 99999999999999.9999, expires_at => '2222-01-01');
SELECT balance, reserved FROM ducto_get_balance(:low);

SELECT reservation_id AS small FROM ducto_reserve(:ned, 1, billing_mode => 'overdraft', overdraft_floor => -99999999999999.9999) \gset
SELECT reservation_id AS large FROM ducto_reserve(:ned, 99999999999998.9999, billing_mode => 'overdraft', overdraft_floor => -99999999999999.9999) \gset
SELECT error, balance_after FROM ducto_deduct(:ned, :'small', 2, overrun => 'full');
SELECT * FROM pg_temp.try(format('SELECT to_jsonb(r) FROM ducto_deduct(%L, %L, 99999999999998.9999) r', :ned, :'large'));
SELECT error, balance_after FROM ducto_deduct(:ned, :'large', 99999999999997.9999);

-- A team's pool is no user's account: a writer that is given a team's id as user_id says so.
INSERT INTO ducto.accounts (id, kind, balance, created_at, updated_at) VALUES ('bad00000-0000-4000-8000-0000000000aa', 'team', 0, now(), now());
SELECT call, r.state, r.message, r.hint FROM (VALUES (1, 'ducto_add_credits(TEAM, 1)'), (2, 'ducto_add_credits(TEAM, -1)'), (3, 'ducto_reserve(TEAM, 1)'), (4, 'ducto_reserve(TEAM, 1, billing_mode => ''overdraft'', overdraft_floor => -9)'), (5, 'ducto_charge(TEAM, 1)'), (6, 'ducto_charge(TEAM, 0)'),
	(7, 'ducto_deduct(TEAM, TEAM, 1)'), (8, 'ducto_release(TEAM, TEAM)'), (9, 'ducto_renew(TEAM, TEAM)')) c (n, call),
	LATERAL pg_temp.try('SELECT to_jsonb(r) FROM ' || replace(call, 'TEAM', '''bad00000-0000-4000-8000-0000000000aa''') || ' r LIMIT 1') r ORDER BY n;
SELECT balance, held FROM ducto.accounts WHERE id = 'bad00000-0000-4000-8000-0000000000aa';
ALTER TABLE ducto.accounts DISABLE TRIGGER accounts_kept;
DELETE FROM ducto.accounts WHERE id = 'bad00000-0000-4000-8000-0000000000aa';
ALTER TABLE ducto.accounts ENABLE ALWAYS TRIGGER accounts_kept;

-- Words that PostgreSQL itself reads have its own errors: they never reach a function.
SELECT state, message FROM pg_temp.try('SELECT ducto_get_balance(''not a uuid'')');
SELECT state, message FROM pg_temp.try(format('SELECT ducto_charge(%L, ''ten'')', :ada));
SELECT state, message FROM pg_temp.try('SELECT ducto_grant_access(''regress_ducto_nobody'')');
SELECT state FROM pg_temp.try(format('SELECT ducto_charge(%L, 1, metadata => ''{'')', :ada));

\pset format aligned
\pset tuples_only off
DROP ROLE regress_ducto_badinput;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
