-- Whatever somebody does to the tables is minded by statements that do without the executor, from the next call on, as it is by those that
-- it executes. Each part is a session's: what it has kept is of the tables as they were before.
-- In a database of its own, as it leaves the tables in other shapes.
\set own regress_ducto_direct
\i test/sql/include/own_database.sql
\pset null -
\set VERBOSITY terse
\set ann '\'d12ec7ad-0000-4000-8000-000000000001\''
\set bob '\'d12ec7ad-0000-4000-8000-000000000002\''
SET client_min_messages = warning;
CREATE TABLE direct_elsewhere (told text);
CREATE FUNCTION pg_temp.charges(who uuid, key text = NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	left_ numeric;
BEGIN
	SELECT balance_after INTO STRICT left_ FROM ducto_charge(who, 1, key, operation_type => 'checked', model => 'm');
	RETURN left_;
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || split_part(': ' || sqlerrm, ': INSERT', 1);
END $$;
SELECT new_balance FROM ducto_add_credits(:ann, 1000);
SELECT new_balance FROM ducto_add_credits(:bob, 1000);
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'first');

-- A rule that does nothing, or something else, instead of a statement: the call fails, with or without the executor, until the rule is gone.
CREATE RULE direct_rule AS ON INSERT TO ducto.ledger DO INSTEAD NOTHING;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'nothing');
DROP RULE direct_rule ON ducto.ledger;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'nothing');
CREATE RULE direct_rule AS ON UPDATE TO ducto.reservations DO INSTEAD INSERT INTO public.direct_elsewhere VALUES ('rule');
SELECT reservation_id AS hold FROM ducto_reserve(:ann, 2) \gset
\set VERBOSITY sqlstate
SELECT amount FROM ducto_deduct(:ann, :'hold', 2);
SELECT amount FROM ducto_deduct(:ann, :'hold', 2);
\set VERBOSITY terse
DROP RULE direct_rule ON ducto.reservations;
SELECT amount FROM ducto_deduct(:ann, :'hold', 2);
SELECT * FROM direct_elsewhere;

-- What is told to be so, but not enforced, and what must not be NULL from now on, though a row from before is.
SELECT :SERVER_VERSION_NUM >= 180000 AS newer \gset
\if :newer
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_told CHECK (amount > 0) NOT ENFORCED;
\endif
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'told');
ALTER TABLE ducto.ledger DROP CONSTRAINT IF EXISTS direct_told;
ALTER TABLE ducto.accounts ADD COLUMN direct_owner text;
\if :newer
ALTER TABLE ducto.accounts ADD CONSTRAINT direct_owned NOT NULL direct_owner NOT VALID;
\else
ALTER TABLE ducto.accounts ADD CONSTRAINT direct_owned CHECK (direct_owner IS NOT NULL) NOT VALID;
\endif
SELECT left(pg_temp.charges(:ann), 2), left(pg_temp.charges(:ann, 'owned'), 2);
ALTER TABLE ducto.accounts DROP COLUMN direct_owner;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'owned');

-- Checks that ask for the table, that call a function which becomes another, and that are of a domain.
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_check CHECK (tableoid = 'ducto.ledger'::regclass) NOT VALID;
ALTER TABLE ducto.accounts ADD CONSTRAINT direct_check CHECK (tableoid = 'ducto.accounts'::regclass) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'table');
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_check;
ALTER TABLE ducto.accounts DROP CONSTRAINT direct_check;
CREATE FUNCTION direct_compares(numeric, numeric) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'numeric_lt';
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_check CHECK (direct_compares(amount, 0)) NOT VALID;
CREATE INDEX direct_index ON ducto.ledger (direct_compares(amount, 0)) WHERE direct_compares(seq, 0);
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'function');
CREATE OR REPLACE FUNCTION direct_compares(numeric, numeric) RETURNS boolean LANGUAGE internal IMMUTABLE STRICT AS 'numeric_gt';
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'another function');
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_check;
SELECT pg_temp.charges(:ann, 'another function');
SET enable_seqscan = off;
SELECT count(*) FROM ducto.ledger WHERE account_id = :ann AND idempotency_key = 'another function' AND direct_compares(seq, 0) AND NOT direct_compares(amount, 0);
RESET enable_seqscan;
DROP INDEX ducto.direct_index;
CREATE DOMAIN direct_word AS text CHECK (VALUE <> 'refused');
BEGIN;
ALTER TABLE ducto.ledger ALTER operation_type TYPE direct_word;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'domain');
ALTER DOMAIN direct_word ADD CONSTRAINT later CHECK (VALUE <> 'checked') NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'later');
ALTER DOMAIN direct_word DROP CONSTRAINT later;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'later');
ROLLBACK;

-- The same where the server computes a check with the result of a call, or with what a function is made of, in its place, and where a domain
-- has no check yet.
CREATE FUNCTION direct_bound() RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 0; END';
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_check CHECK (amount < direct_bound()) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'bound');
CREATE OR REPLACE FUNCTION direct_bound() RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN -2; END';
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'other bound');
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_check;
CREATE FUNCTION direct_inlined(numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 0';
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_check CHECK (direct_inlined(amount)) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'inlined');
CREATE OR REPLACE FUNCTION direct_inlined(numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'inlined otherwise');
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_check;
CREATE INDEX direct_index ON ducto.ledger (md5(idempotency_key)) WHERE direct_inlined(amount);
SELECT pg_temp.charges(:ann, 'not in the index');
CREATE OR REPLACE FUNCTION direct_inlined(numeric) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 0';
ALTER INDEX ducto.direct_index SET (fillfactor = 80);
SELECT pg_temp.charges(:ann, 'in the index');
SET enable_seqscan = off;
SELECT count(*) FROM ducto.ledger WHERE md5(idempotency_key) = md5('in the index') AND direct_inlined(amount);
RESET enable_seqscan;
DROP INDEX ducto.direct_index;
CREATE DOMAIN direct_open AS text;
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_check CHECK (operation_type::direct_open IS NOT NULL) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'open');
ALTER DOMAIN direct_open ADD CONSTRAINT later CHECK (VALUE <> 'checked') NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'closed');
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_check;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'closed');
DROP DOMAIN direct_open;
DROP FUNCTION direct_bound, direct_inlined;

-- What a column held that is gone goes with the row that is updated.
ALTER TABLE ducto.accounts ADD direct_gone text, ADD direct_stays text;
UPDATE ducto.accounts SET direct_gone = repeat('gone', 300), direct_stays = 'stays';
ALTER TABLE ducto.accounts DROP direct_gone;
SELECT pg_column_size(a) > 1000 AS there, direct_stays FROM ducto.accounts a WHERE id = :ann;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'gone');
SELECT pg_column_size(a) > 1000 AS there, direct_stays FROM ducto.accounts a WHERE id = :ann;
ALTER TABLE ducto.accounts DROP direct_stays;

-- Keys of other tables, rows of heirs, and a table of another method.
CREATE TABLE direct_of (account uuid REFERENCES ducto.accounts, entry uuid);
INSERT INTO direct_of VALUES (:ann);
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'referenced');
CREATE TABLE direct_accounts AS SELECT id FROM ducto.accounts WHERE id <> :bob;
ALTER TABLE direct_accounts ADD PRIMARY KEY (id);
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_paid FOREIGN KEY (account_id) REFERENCES direct_accounts (id) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:bob), pg_temp.charges(:bob, 'unknown');
DROP TABLE direct_of, direct_accounts CASCADE;
SELECT pg_temp.charges(:bob), pg_temp.charges(:bob, 'unknown');
CREATE TABLE direct_heir () INHERITS (ducto.accounts);
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'inherited');
DROP TABLE direct_heir;
CREATE ACCESS METHOD direct_heap TYPE TABLE HANDLER heap_tableam_handler;
SELECT :SERVER_VERSION_NUM >= 150000 AS from_15 \gset
BEGIN;
\if :from_15
ALTER TABLE ducto.ledger SET ACCESS METHOD direct_heap;
ALTER TABLE ducto.accounts SET ACCESS METHOD direct_heap;
\endif
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'method');
ROLLBACK;
DROP ACCESS METHOD direct_heap;

-- Indexes that are looked at once more at the end, or that are not of a single order.
ALTER TABLE ducto.reservations ADD CONSTRAINT direct_late UNIQUE (account_id, amount) DEFERRABLE INITIALLY DEFERRED;
BEGIN;
SELECT error FROM ducto_reserve(:bob, 3);
SELECT error FROM ducto_reserve(:bob, 3);
COMMIT;
ALTER TABLE ducto.reservations DROP CONSTRAINT direct_late;
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_excluded EXCLUDE (account_id WITH =, seq WITH =);
CREATE INDEX direct_hash ON ducto.ledger USING hash (model);
CREATE INDEX direct_gin ON ducto.ledger USING gin (metadata);
CREATE INDEX direct_brin ON ducto.accounts USING brin (balance);
SELECT pg_temp.charges(:bob), pg_temp.charges(:bob, 'indexed');
SET enable_seqscan = off;
SELECT count(*) FROM ducto.ledger WHERE model = 'm' AND account_id = :bob;
RESET enable_seqscan;
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_excluded;
DROP INDEX ducto.direct_hash, ducto.direct_gin, ducto.direct_brin;

-- What a table publishes needs an identity, as the server says in its words.
SET client_min_messages = error; -- a server that decodes nothing warns of it
CREATE PUBLICATION direct_published FOR TABLE ducto.accounts, ducto.ledger;
SET client_min_messages = warning;
SELECT pg_temp.charges(:bob);
ALTER TABLE ducto.accounts REPLICA IDENTITY NOTHING;
SELECT pg_temp.charges(:bob), pg_temp.charges(:bob, 'identity');
ALTER TABLE ducto.accounts REPLICA IDENTITY FULL;
SELECT pg_temp.charges(:bob), pg_temp.charges(:bob, 'identity');
\if :from_15
ALTER PUBLICATION direct_published SET TABLE ducto.accounts WHERE (balance > 0);
\endif
ALTER TABLE ducto.accounts REPLICA IDENTITY DEFAULT;
SELECT CASE WHEN :'from_15' THEN pg_temp.charges(:bob) ELSE '42P10: cannot update table "accounts"' END AS charges;
DROP PUBLICATION direct_published;
SELECT pg_temp.charges(:bob);

-- Tables that are made anew, also by the transaction that writes them.
BEGIN;
SELECT pg_temp.charges(:ann);
CLUSTER ducto.ledger USING ledger_pkey;
SELECT pg_temp.charges(:ann);
REINDEX TABLE ducto.accounts;
SELECT pg_temp.charges(:ann);
ALTER TABLE ducto.ledger ALTER cap_warning TYPE text USING upper(cap_warning);
SELECT pg_temp.charges(:ann);
COMMIT;
VACUUM FULL ducto.accounts;
ALTER TABLE ducto.ledger SET UNLOGGED;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'unlogged');
ALTER TABLE ducto.ledger SET LOGGED;
SELECT pg_temp.charges(:ann);

-- A check that calls ducto itself, in a session that forgets its plans meanwhile: what it calls, the executor does.
CREATE FUNCTION direct_inner(n bigint) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
	left_ numeric;
BEGIN
	EXECUTE 'DISCARD PLANS';
	SELECT balance_after INTO STRICT left_ FROM public.ducto_charge('d12ec7ad-0000-4000-8000-000000000002', 0.5, 'inner' || n);
	EXECUTE 'DISCARD PLANS';
	RETURN left_;
END $$;
ALTER TABLE ducto.ledger ADD CONSTRAINT direct_calls CHECK (account_id <> 'd12ec7ad-0000-4000-8000-000000000001'
	OR ts_rewrite('a', format('SELECT ''a''::tsquery, public.direct_inner(%s)::text::tsquery', seq)) IS NOT NULL) NOT VALID;
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'calls');
SELECT pg_temp.charges(:ann), pg_temp.charges(:ann, 'calls'), pg_temp.charges(:bob);
ALTER TABLE ducto.ledger DROP CONSTRAINT direct_calls;
SELECT pg_temp.charges(:ann), pg_temp.charges(:bob);
DROP FUNCTION direct_inner;

-- What is big is kept beside the row, and found there by the same call's key.
SELECT balance_after FROM ducto_charge(:ann, 1, 'big', metadata => (SELECT jsonb_build_object('big', string_agg(md5(n::text), '')) FROM generate_series(1, 4000) n));
SELECT length(metadata ->> 'big') FROM ducto.ledger WHERE account_id = :ann AND idempotency_key = 'big';
SELECT idempotent FROM ducto_charge(:ann, 1, 'big');
SELECT * FROM found();

-- Columns of somebody's own, and that many of them had come and gone before: a table of PostgreSQL has a place for each.
DO $$
DECLARE
	t regclass;
BEGIN
	FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' LOOP
		FOR i IN 1 .. 70 LOOP
			EXECUTE format('ALTER TABLE %s ADD direct_gone text DEFAULT %L', t, i);
			EXECUTE format('ALTER TABLE %s DROP direct_gone', t);
		END LOOP;
		EXECUTE format('ALTER TABLE %s %s', t, (SELECT string_agg('ADD direct_own_' || i || ' text DEFAULT ' || i, ', ') FROM generate_series(1, 70) i));
	END LOOP;
END $$;
\c :own
SET client_min_messages = warning;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"direct": {"name": "Direct", "free_allowance": 3, "caps": [{"cap_type": "daily", "cap_limit": 50, "action": "deny"}]}}}');
SELECT new_balance FROM ducto_add_credits(:bob, 10, expires_at => '2999-01-01');
SELECT plan_id, error FROM ducto_set_user_plan(:bob, 'direct');
SELECT amount, allowance_consumed, error FROM ducto_charge(:bob, 5);
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:bob, '{"model": "x", "input_tokens": 1}');
SELECT amount, error FROM ducto_charge_many(jsonb_build_array(jsonb_build_object('user_id', :bob, 'amount', 1), jsonb_build_object('user_id', :ann, 'amount', 1)));
SELECT reservation_id AS hold FROM ducto_reserve(:bob, 2) \gset
SELECT amount, error FROM ducto_settle(:bob, :'hold', '[{"key": "own", "amount": 1}]', final => true);
SELECT plan_id, free_allowance FROM ducto_get_user_plan(:bob);
SELECT count(*), count(amount) FROM ducto_list_transactions(:bob);
SELECT count(*) FROM ducto_list_grants(:bob);
SELECT expired_count FROM ducto_sweep_expired();
SELECT count(DISTINCT direct_own_70) FROM ducto.ledger;
SELECT * FROM ducto_verify() WHERE check_name <> 'test clock';

-- Columns of types of somebody's own: all those that no view reads.
CREATE FUNCTION domains() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	c record;
	n bigint := 0;
BEGIN
	FOR c IN SELECT attrelid::regclass AS of, attname AS name, format_type(atttypid, -1) AS type, 'direct_' || typname AS domain
		FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
		WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r')
			AND attnum > 0 AND attname NOT LIKE 'direct_own_%' LOOP
		IF to_regtype(c.domain) IS NULL THEN
			EXECUTE format('CREATE DOMAIN public.%I AS %s', c.domain, c.type);
		END IF;
		BEGIN
			EXECUTE format('ALTER TABLE %s ALTER %I TYPE public.%I', c.of, c.name, c.domain);
			n := n + 1;
		EXCEPTION WHEN feature_not_supported THEN -- what a view reads
		END;
	END LOOP;
	RETURN n;
END $$;
-- Lists are of other integers, too.
ALTER TABLE ducto.alerts ALTER allowance_percent TYPE smallint[], ALTER cap_percent TYPE bigint[];
SELECT domains() > 150 AS many;
SELECT * FROM ducto_verify() WHERE check_name <> 'test clock';
\c :own
SET client_min_messages = warning;
SELECT balance, allowance_percent, cap_percent FROM ducto_set_alerts(:bob, balance => '{0.5}', allowance_percent => '{60, 100}', cap_percent => '{1, 90}');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "plans": {"direct": {"name": "Direct", "free_allowance": 4, "caps": [{"cap_type": "daily", "cap_limit": 60, "action": "deny"}]}}}');
SELECT amount, allowance_consumed, error FROM ducto_charge(:bob, 2);
SELECT amount, error FROM ducto_charge_many(jsonb_build_array(jsonb_build_object('user_id', :bob, 'amount', 1), jsonb_build_object('user_id', :ann, 'amount', 1)));
SELECT reservation_id AS hold FROM ducto_reserve(:bob, 2) \gset
SELECT amount, error FROM ducto_deduct(:bob, :'hold', 1);
SELECT plan_id, free_allowance FROM ducto_get_user_plan(:bob);
SELECT count(*) FROM ducto_list_grants(:bob);
SELECT kind, payload ->> 'percent' AS percent, payload ->> 'line' AS line FROM ducto.events WHERE account_id = :bob ORDER BY number;
SELECT balance, allowance_percent, cap_percent FROM ducto.alerts WHERE account_id = :bob;
SELECT expired_count FROM ducto_sweep_expired();
SELECT * FROM ducto_verify() WHERE check_name <> 'test clock';

\c :main
DROP DATABASE :own;
