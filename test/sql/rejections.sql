-- rejections: how ducto.rejections tells an outcome that a correct program must expect

\set ada '\'4e1e0000-0000-4000-8000-000000000001\''
\set none '\'4e1e0000-0000-7000-8000-0000000000ee\''

-- The cases: each function that has an error column with each rejection that it can give. The calls name Ada and the things that are made for her here.
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase', idempotency_key => 'credit');
SELECT transaction_id AS tx FROM ducto_charge(:ada, 10, 'charge') \gset
SELECT transaction_id AS tx2 FROM ducto_charge(:ada, 10) \gset
SELECT error FROM ducto_refund(:'tx2');
SELECT reservation_id AS open FROM ducto_reserve(:ada, 10, 'image') \gset
SELECT reservation_id AS closed FROM ducto_reserve(:ada, 10) \gset
SELECT released FROM ducto_release(:ada, :'closed');
SELECT reservation_id AS expired FROM ducto_reserve(:ada, 10, ttl_seconds => 1) \gset
SELECT pg_sleep(1.1) \g /dev/null
SELECT reservation_id AS budget FROM ducto_reserve(:ada, 10, ceiling => true) \gset
SELECT id AS credit FROM ducto.ledger WHERE account_id = :ada AND seq = 1 \gset
CREATE TEMP TABLE cases (n serial, call text);
INSERT INTO cases (call) SELECT replace(replace(replace(replace(replace(replace(replace(replace(replace(call, 'ADA', quote_literal(:ada)), 'NONE', quote_literal(:none)), 'TX2', quote_literal(:'tx2')), 'TX', quote_literal(:'tx')),
	'CREDIT', quote_literal(:'credit')), 'OPEN', quote_literal(:'open')), 'CLOSED', quote_literal(:'closed')), 'EXPIRED', quote_literal(:'expired')), 'BUDGET', quote_literal(:'budget'))
FROM (VALUES
	(1, 'ducto_add_credits(ADA, -1000)'),
	(2, 'ducto_add_credits(ADA, 1, idempotency_key => ''charge'')'),
	(3, 'ducto_reserve(ADA, 1000)'),
	(4, 'ducto_reserve(ADA, 1, ''image'', max_concurrent => 1)'),
	(5, 'ducto_deduct(ADA, OPEN, 1000)'),
	(6, 'ducto_deduct(ADA, NONE, 1)'),
	(7, 'ducto_deduct(ADA, CLOSED, 1)'),
	(8, 'ducto_deduct(ADA, EXPIRED, 1, allow_late => false)'),
	(9, 'ducto_deduct(ADA, EXPIRED, 1000)'),
	(10, 'ducto_deduct(ADA, OPEN, 1, ''credit'')'),
	(11, 'ducto_renew(ADA, NONE)'),
	(12, 'ducto_renew(ADA, CLOSED)'),
	(13, 'ducto_renew(ADA, EXPIRED)'),
	(14, 'ducto_charge(ADA, 1000)'),
	(15, 'ducto_charge(ADA, 1, ''credit'')'),
	(16, 'ducto_refund(NONE)'),
	(17, 'ducto_refund(CREDIT)'),
	(18, 'ducto_refund(TX2)'),
	(19, 'ducto_refund(TX, 11)'),
	(20, 'ducto_refund(TX, 1, idempotency_key => ''credit'')'),
	(21, 'ducto_deduct(ADA, BUDGET, 11)'),
	(22, 'ducto_reverse_credits(NONE)'),
	(23, 'ducto_reverse_credits(TX)'),
	(24, 'ducto_reverse_credits(CREDIT, 101)'),
	(25, 'ducto_reverse_credits(CREDIT, 100, ''reject'')'),
	(26, 'ducto_reverse_credits(CREDIT, 1, idempotency_key => ''charge'')'),
	(27, 'ducto_transfer(ADA, NONE, 1000)'),
	(28, 'ducto_transfer(ADA, NONE, 1, idempotency_key => ''charge'')')
	) c (n, call) ORDER BY n;

-- These functions have a column error and no case here: the rejections of plans, caps, pricing, teams and of many at once are in their own tests.
SELECT p.proname FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' JOIN pg_type t ON t.oid = p.prorettype JOIN pg_attribute a ON a.attrelid = t.typrelid
WHERE a.attname = 'error' AND p.proname LIKE 'ducto\_%' AND NOT EXISTS (SELECT FROM cases WHERE call LIKE p.proname || '(%') ORDER BY 1;

-- title() is what of a case can be shown: the call without the ids that were made here.
CREATE FUNCTION pg_temp.title(call text) RETURNS text LANGUAGE sql AS $$
	SELECT regexp_replace(call, '''[0-9a-f]{8}-[0-9a-f-]{27}''', 'ID', 'g')
$$;

-- try() makes a call and tells what came of it.
CREATE FUNCTION pg_temp.try(call text, OUT state text, OUT message text, OUT detail json, OUT hint text, OUT result json) LANGUAGE plpgsql AS $$
DECLARE
	d text;
BEGIN
	EXECUTE 'SELECT row_to_json(r) FROM ' || call || ' r' INTO result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	detail := nullif(d, '')::json;
	hint := nullif(hint, '');
END $$;

-- state() is all that can change, but for the accounts' clocks.
SELECT ducto_expire_reservations() >= 0 AS rolled;
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
	SELECT md5(concat((SELECT jsonb_agg(to_jsonb(t) - 'updated_at' ORDER BY id) FROM ducto.accounts t), (SELECT json_agg(t ORDER BY account_id, seq) FROM ducto.ledger t),
		(SELECT json_agg(t ORDER BY account_id, id) FROM ducto.reservations t), (SELECT json_agg(t ORDER BY account_id, id) FROM ducto.grants t)))
$$;
SELECT pg_temp.state() AS before \gset

-- Said nothing, the row comes back with the code, and the transaction goes on.
SHOW ducto.rejections;
SELECT n, pg_temp.title(call) AS call, t.state AS sqlstate, t.result->>'error' AS error FROM cases, LATERAL pg_temp.try(call) t ORDER BY n;

-- In that row ids that were not made are NULL, amount is the request, figures are as they are now, idempotent is false; the rest is what was asked for.
SELECT n, key, value FROM cases, LATERAL pg_temp.try(call) t, json_each_text(t.result) WITH ORDINALITY e (key, value, o)
WHERE n IN (1, 3, 5, 12, 14, 19) AND key NOT IN ('reservation_id', 'original_transaction_id', 'expires_at') ORDER BY n, o;
SELECT n, t.result->>'transaction_id' AS transaction_id, t.result->>'refund_transaction_id' AS refund_transaction_id, t.result->'idempotent' AS idempotent
FROM cases, LATERAL pg_temp.try(call) t WHERE t.result->>'transaction_id' IS NOT NULL OR t.result->>'refund_transaction_id' IS NOT NULL OR t.result->>'idempotent' <> 'false';

-- With raise every one is an exception, with the SQLSTATE of the table, the code as message and the row as JSON in DETAIL.
SET ducto.rejections = 'raise';
SELECT n, pg_temp.title(call) AS call, t.state AS sqlstate, t.message, regexp_replace(regexp_replace(t.hint, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g'), ' at .*', ' at TIME.') AS hint, t.result FROM cases, LATERAL pg_temp.try(call) t ORDER BY n;
SET ducto.rejections = 'return';
CREATE TEMP TABLE returned AS SELECT n, t.result FROM cases, LATERAL pg_temp.try(call) t;
SET ducto.rejections = 'raise';
SELECT count(*), bool_and(t.detail::jsonb = r.result::jsonb) AS the_row_is_in_detail FROM cases JOIN returned r USING (n), LATERAL pg_temp.try(call) t;

-- So a charge inside a larger transaction aborts it.
BEGIN;
CREATE TABLE rejections_order (id integer);
\set VERBOSITY sqlstate
SELECT * FROM ducto_charge(:ada, 1000);
SELECT 1;
\set VERBOSITY default
COMMIT;
SELECT to_regclass('rejections_order') AS the_order;

-- A success is no exception, nor is a replay; release and reads without an error column are never rejected.
SELECT amount, error FROM ducto_charge(:ada, 0);
SELECT amount, idempotent, error FROM ducto_charge(:ada, 10, 'charge');
SELECT released, reason FROM ducto_release(:ada, :none);
SELECT affordable, reason FROM ducto_can_afford(:ada, 1000);
SELECT balance FROM ducto_get_balance(:none);

-- With http the row comes back as usual, and PostgREST is told which status to answer with.
SET ducto.rejections = 'http';
CREATE FUNCTION pg_temp.status(call text, OUT status text, OUT error text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('response.status', '', true);
	EXECUTE 'SELECT r.error FROM ' || call || ' r' INTO error;
	status := current_setting('response.status', true);
END $$;
SELECT n, pg_temp.title(call) AS call, t.status, t.error FROM cases, LATERAL pg_temp.status(call) t ORDER BY n;

-- A success sets none, and neither does a call that cannot be rejected.
SELECT * FROM pg_temp.status(format('ducto_charge(%L, 0)', :ada));
SELECT * FROM pg_temp.status(format('ducto_charge(%L, 10, ''charge'')', :ada));
BEGIN;
SELECT released FROM ducto_release(:ada, :none);
SELECT affordable FROM ducto_can_afford(:ada, 1000);
SELECT coalesce(current_setting('response.status', true), '') AS status;
COMMIT;

-- The status ends with the transaction, for the next request on the connection is another's; a savepoint takes it back.
BEGIN;
SELECT error FROM ducto_charge(:ada, 1000);
SELECT current_setting('response.status') AS status;
COMMIT;
SELECT coalesce(current_setting('response.status', true), '') AS status;
BEGIN;
SAVEPOINT s;
SELECT error FROM ducto_charge(:ada, 1000);
ROLLBACK TO SAVEPOINT s;
SELECT coalesce(current_setting('response.status', true), '') AS status;
COMMIT;

-- The last rejection of a request decides.
BEGIN;
SELECT error FROM ducto_charge(:ada, 1000);
SELECT error FROM ducto_renew(:ada, :none);
SELECT current_setting('response.status') AS status;
COMMIT;

-- A call that succeeds later takes it back: the first wallet is empty, the second pays. A call that cannot be rejected leaves it.
\set ben '\'4e1e0000-0000-4000-8000-000000000002\''
CREATE FUNCTION pg_temp.now_is() RETURNS text LANGUAGE sql AS $$SELECT coalesce(nullif(current_setting('response.status', true), ''), 'none')$$;
BEGIN;
SELECT new_balance FROM ducto_add_credits(:ben, 100, 'purchase');
SELECT error FROM ducto_charge(:ada, 1000);
SELECT error FROM ducto_renew(:ada, :none);
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
SELECT error FROM ducto_charge(:ada, 1000);
SELECT pg_temp.now_is();
SELECT balance, pg_temp.now_is() FROM ducto_get_balance(:ada);
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 0);

-- What the application set before comes back, what it sets after stays, the same number too.
SELECT set_config('response.status', '299', true);
SELECT error FROM ducto_charge(:ada, 1000);
SELECT error FROM ducto_refund(:none);
SELECT pg_temp.now_is();
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
SELECT error FROM ducto_charge(:ada, 1000);
SELECT set_config('response.status', '402', true);
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
SELECT set_config('response.status', '', true);

-- A savepoint takes back a rejection, a success, and what the application did in between.
SELECT error FROM ducto_charge(:ada, 1000);
SAVEPOINT s;
SELECT error FROM ducto_refund(:none);
SELECT pg_temp.now_is();
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.now_is();
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
ROLLBACK TO SAVEPOINT s;
SELECT pg_temp.now_is();
SELECT set_config('response.status', '418', true);
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
ROLLBACK TO SAVEPOINT s;
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
SAVEPOINT s;
SELECT error FROM ducto_charge(:ada, 1000);
RELEASE SAVEPOINT s;
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
SAVEPOINT s;
SELECT error FROM ducto_charge(:ada, 1000);
ROLLBACK TO SAVEPOINT s;
SELECT set_config('response.status', '402', true);
SELECT error, pg_temp.now_is() FROM ducto_charge(:ben, 1);
ROLLBACK;

-- A session's own status is there again after the transaction, and in it after a success; nobody writes down what is ours.
SET response.status = '203';
BEGIN;
SELECT error FROM ducto_charge(:ada, 1000);
SELECT pg_temp.now_is();
SELECT error, pg_temp.now_is() FROM ducto_charge(:ada, 0);
COMMIT;
SELECT pg_temp.now_is();
RESET response.status;
SET ducto.status_record = 'x';

-- Errors are errors in every mode.
SET ducto.rejections = 'return';
SELECT t.state AS sqlstate FROM pg_temp.try('ducto_charge(NULL, 1)') t;
SET ducto.rejections = 'http';
SELECT t.state AS sqlstate FROM pg_temp.try('ducto_charge(NULL, 1)') t;
SET ducto.rejections = 'raise';
SELECT t.state AS sqlstate FROM pg_temp.try('ducto_charge(NULL, 1)') t;
RESET ducto.rejections;

-- Whatever the mode, nothing has changed.
SELECT pg_temp.state() = :'before' AS unchanged;

-- There is no such mode.
SET ducto.rejections = 'ignore';
SHOW ducto.rejections;

-- The mode of one function does not reach another: SET LOCAL and a function's own setting hold where they are.
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SHOW ducto.rejections;
COMMIT;
SHOW ducto.rejections;
CREATE FUNCTION pg_temp.strict_charge(owner uuid) RETURNS text LANGUAGE sql SET ducto.rejections = 'raise' AS $$SELECT error FROM ducto_charge(owner, 1000)$$;
\set VERBOSITY sqlstate
SELECT pg_temp.strict_charge(:ada);
\set VERBOSITY default
SELECT error FROM ducto_charge(:ada, 1000);

-- Set for a role before the library was ever loaded, it is obeyed from the first call of a session.
DO $$BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I SET ducto.rejections = ''raise''', current_database()); END$$;
\c -
\set VERBOSITY sqlstate
SELECT error FROM ducto_charge(:ada, 1000);
\set VERBOSITY default
SHOW ducto.rejections;
DO $$BEGIN EXECUTE format('ALTER ROLE CURRENT_USER IN DATABASE %I RESET ducto.rejections', current_database()); END$$;
\c -
SET ducto.rejections = 'http';
BEGIN;
SELECT error FROM ducto_charge(:ada, 1000);
SELECT current_setting('response.status') AS status;
COMMIT;
\c -
SELECT error FROM ducto_charge(:ada, 1000);

SELECT * FROM ducto_verify();
