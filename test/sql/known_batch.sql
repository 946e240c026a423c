-- Which of many keys the ledger knows, where its index has pages below pages: of several accounts, in upper and lower case, taken back, of
-- rows that are not in the index and in an index of another order. The least of all is new, as that of a batch that is not repeated.
\pset null -
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.account(n integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('b02d0000-0000-4000-8000-00000000000' || n)::uuid $$;
CREATE FUNCTION pg_temp.owner(key text) RETURNS uuid LANGUAGE sql
	AS $$ SELECT pg_temp.account(CASE WHEN key LIKE 'new%' THEN 0 ELSE 1 + (hashtext(upper(key)) & 3) END) $$;
CREATE FUNCTION pg_temp.keys(first integer, last integer) RETURNS text[] LANGUAGE sql AS $$
	SELECT array_agg(CASE WHEN i % 3 = 0 THEN upper(m) WHEN i % 3 = 1 THEN initcap(m) ELSE m END || repeat('.', i % 200) ORDER BY m)
	FROM generate_series(first, last) i, LATERAL (SELECT translate(md5('batch ' || i), '0123456789', 'ghijklmnop') AS m) m $$;
CREATE FUNCTION pg_temp.charge(keys text[]) RETURNS text LANGUAGE sql AS $$
	SELECT count(*) FILTER (WHERE error IS NULL AND NOT idempotent) || ' new, ' || count(*) FILTER (WHERE error IS NULL AND idempotent) || ' known' ||
		coalesce(', ' || string_agg(DISTINCT error, ' '), '')
	FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.owner(k), 'amount', 0.0001, 'idempotency_key', k) ORDER BY n)
		FROM unnest(keys) WITH ORDINALITY u(k, n))) $$;
CREATE FUNCTION pg_temp.written() RETURNS TABLE (entries bigint, keys bigint, balances numeric) LANGUAGE sql
	AS $$ SELECT count(*), count(DISTINCT (account_id, idempotency_key)), sum(amount) FROM ducto.ledger WHERE account_id BETWEEN pg_temp.account(0) AND pg_temp.account(5) $$;

SELECT new_balance FROM generate_series(0, 4) n, ducto_add_credits(pg_temp.account(n), 1000, 'purchase');
SELECT pg_temp.charge(pg_temp.keys(1, 2000));
SELECT pg_temp.charge(pg_temp.keys(1, 2000));
SELECT pg_temp.charge('{new 1}' || pg_temp.keys(1, 2000));
SELECT pg_temp.charge('{new 2}' || pg_temp.keys(1501, 2500));
SELECT pg_temp.charge('{new 3}' || pg_temp.keys(7, 7) || pg_temp.keys(2498, 2503));
SELECT pg_temp.charge('{new 4}' || pg_temp.keys(2601, 2603));
SELECT * FROM pg_temp.written();

-- In a batch the second of two is known by the first.
SELECT pg_temp.charge('{new 5}' || pg_temp.keys(2604, 2700) || pg_temp.keys(2690, 2710));

-- What was taken back is in the index, and new, in a transaction of each kind.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.charge('{new 6}' || pg_temp.keys(3001, 3500));
ROLLBACK TO one;
SELECT pg_temp.charge('{new 6}' || pg_temp.keys(3251, 3750));
SELECT pg_temp.charge('{new 7}' || pg_temp.keys(3201, 3300));
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.charge('{new 6}' || pg_temp.keys(2401, 2720));
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.charge('{new 6}' || pg_temp.keys(2401, 2720));
ROLLBACK;
SELECT * FROM pg_temp.written();

-- A row that a statement finds and the index has not.
CREATE TABLE known_heir () INHERITS (ducto.ledger);
INSERT INTO known_heir SELECT (jsonb_populate_record(l, jsonb_build_object('seq', 1000000, 'account_id', pg_temp.owner(k), 'idempotency_key', k))).*
	FROM ducto.ledger l, unnest(pg_temp.keys(4001, 4001)) k WHERE l.account_id = pg_temp.account(0) AND l.idempotency_key = 'new 1';
SELECT pg_temp.charge('{new 6}' || pg_temp.keys(4001, 4001) || pg_temp.keys(2701, 2710));
DROP TABLE known_heir;
ANALYZE ducto.ledger;

-- An index that has some of the keys does not tell of the others. One of another order does, such as ICU's where the server has it.
SELECT coalesce(max(collname), 'C') AS other FROM pg_collation WHERE collname = 'en-x-icu' \gset
BEGIN;
DROP INDEX ducto.ledger_idempotency_key;
CREATE INDEX ON ducto.ledger (account_id, idempotency_key) WHERE balance_after > 999.99;
SELECT pg_temp.charge('{new 7}' || pg_temp.keys(2001, 2720));
ROLLBACK;
BEGIN;
DROP INDEX ducto.ledger_idempotency_key;
CREATE UNIQUE INDEX ON ducto.ledger (account_id, idempotency_key COLLATE "C") WHERE idempotency_key IS NOT NULL;
SELECT pg_temp.charge('{new 7}' || pg_temp.keys(1, 2720));
ROLLBACK;
BEGIN;
DROP INDEX ducto.ledger_idempotency_key;
CREATE UNIQUE INDEX ON ducto.ledger (account_id, idempotency_key COLLATE :"other") WHERE idempotency_key IS NOT NULL;
SELECT pg_temp.charge('{new 7}' || pg_temp.keys(1, 2720));
ROLLBACK;
SELECT * FROM pg_temp.written();
SELECT * FROM generate_series(0, 4) n, ducto_verify(pg_temp.account(n));
