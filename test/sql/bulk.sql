-- Lines of a call are written together, and all that an INSERT would see to holds: what a savepoint takes back is gone, a unique index
-- refuses what it knows, and triggers, checks, rules and columns that somebody has added to the table are minded.
\pset null -
\set VERBOSITY terse
\set eve '\'b01c0000-0000-4000-8000-000000000001\''
SET client_min_messages = warning;
SELECT new_balance FROM ducto_add_credits(:eve, 1000, 'purchase');
SELECT reservation_id AS block FROM ducto_reserve(:eve, 900) \gset
CREATE FUNCTION pg_temp.settle(prefix text, n integer, cost numeric = 0.01) RETURNS text LANGUAGE sql
	AS $$ SELECT booked || ' booked, ' || skipped || ' skipped' FROM ducto.reservations r, ducto_settle(r.account_id, r.id,
		(SELECT jsonb_agg(jsonb_build_object('key', prefix || i, 'amount', cost, 'model', 'm' || i % 3, 'metadata', jsonb_build_object('n', i))) FROM generate_series(1, n) i))
		WHERE account_id = 'b01c0000-0000-4000-8000-000000000001' $$;
CREATE FUNCTION pg_temp.written() RETURNS TABLE (entries bigint, lines bigint, spent numeric) LANGUAGE sql
	AS $$ SELECT count(DISTINCT entry), count(*), sum(amount) FROM ducto.usage_lines WHERE account_id = 'b01c0000-0000-4000-8000-000000000001' $$;

-- More than is written at a time: each is there once, by the table and by each of its indexes, numbered as it came.
SELECT pg_temp.settle('a', 1000);
SELECT pg_temp.settle('a', 1001);
SELECT * FROM pg_temp.written();
SELECT count(*) AS wrong FROM ducto.usage_lines WHERE account_id = :eve AND key <> 'a1001'
	AND (key <> 'a' || line OR model <> 'm' || line % 3 OR metadata <> jsonb_build_object('n', line));
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) FROM ducto.usage_lines WHERE account_id = :eve AND key BETWEEN 'a1' AND 'a999';
RESET enable_bitmapscan;
SET enable_indexscan = off;
SELECT count(l.*) FROM ducto.ledger e, LATERAL (SELECT FROM ducto.usage_lines WHERE entry = e.id AND account_id = e.account_id OFFSET 0) l WHERE account_id = :eve;
RESET ALL;
SET client_min_messages = warning;

-- A savepoint takes them back, and the same keys are new again, in the same transaction and after it.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.settle('b', 300);
SELECT * FROM pg_temp.written();
ROLLBACK TO one;
SELECT * FROM pg_temp.written();
SELECT pg_temp.settle('b', 200);
SELECT pg_temp.settle('b', 300);
ROLLBACK;
SELECT pg_temp.settle('b', 300);
SELECT * FROM pg_temp.written();

-- What is known lies between other keys, before or after them, or is all of them; keys whose order is another in another collation.
SELECT pg_temp.settle('b1', 9);
SELECT pg_temp.settle('c', 30);
SELECT pg_temp.settle('C', 30);
SELECT pg_temp.settle('c', 60);
SELECT booked, skipped FROM ducto_settle(:eve, :'block', '[{"key": "zz", "amount": 1}, {"key": "A", "amount": 1}, {"key": "c30", "amount": 1}, {"key": "C7", "amount": 1}, {"key": "A", "amount": 2}]');
SELECT amount FROM ducto_charge(:eve, 1, 'charged-B');
SELECT count(amount) FROM generate_series(1, 20) n, ducto_charge(:eve, 0.01, 'charged-' || n);
SELECT pg_temp.settle('charged-', 30);
SELECT booked, skipped FROM ducto_settle(:eve, :'block', '[{"key": "a", "amount": 1}, {"key": "charged-B", "amount": 1}, {"key": "Z", "amount": 1}]');
SELECT error FROM ducto_add_credits(:eve, 1, 'promo', idempotency_key => 'gift-50');
SELECT booked, skipped, error FROM ducto.reservations r, ducto_settle(r.account_id, r.id,
	(SELECT jsonb_agg(jsonb_build_object('key', 'gift-' || i, 'amount', 1)) FROM generate_series(1, 90) i)) WHERE account_id = :eve;

-- A unique index, also one that somebody has added, refuses a row, and nothing of the call is left.
SELECT * FROM pg_temp.written();
CREATE UNIQUE INDEX bulk_number ON ducto.usage_lines ((metadata ->> 'n')) WHERE account_id = 'b01c0000-0000-4000-8000-000000000001' AND key ^@ 'once';
SELECT pg_temp.settle('once', 150);
SELECT pg_temp.settle('once/', 150);
DROP INDEX ducto.bulk_number;
CREATE UNIQUE INDEX bulk_number ON ducto.usage_lines (account_id, entry, line);
SELECT pg_temp.settle('plain', 150);
DROP INDEX ducto.bulk_number;
SELECT * FROM pg_temp.written();

-- Triggers for rows and for the statement are called.
\i test/sql/include/bulk_tell.sql
CREATE TRIGGER bulk_statement AFTER INSERT ON ducto.usage_lines REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION bulk_tell();
SELECT pg_temp.settle('statement', 4);
SELECT * FROM bulk_seen;
DROP TRIGGER bulk_statement ON ducto.usage_lines;
CREATE TRIGGER bulk_row BEFORE INSERT ON ducto.usage_lines FOR EACH ROW EXECUTE FUNCTION bulk_tell('row3');
SELECT pg_temp.settle('row', 2);
SELECT pg_temp.settle('row', 3);
SELECT * FROM bulk_seen ORDER BY told;
DROP TRIGGER bulk_row ON ducto.usage_lines;
SELECT pg_temp.settle('row', 3);
SELECT count(*) FROM bulk_seen;
DROP FUNCTION bulk_tell;
DROP TABLE bulk_seen;

-- So are checks, rules, and columns that are not ducto's.
BEGIN;
ALTER TABLE ducto.usage_lines ADD CONSTRAINT bulk_small CHECK (amount < 5) NOT VALID;
SELECT pg_temp.settle('small', 3, 4);
SAVEPOINT refused;
SELECT pg_temp.settle('large', 3, 6);
ROLLBACK TO refused;
ALTER TABLE ducto.usage_lines DROP CONSTRAINT bulk_small;
SELECT pg_temp.settle('large', 3, 6);
ROLLBACK;
BEGIN;
ALTER TABLE ducto.usage_lines ADD COLUMN place text NOT NULL DEFAULT 'here', ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED;
SELECT pg_temp.settle('more', 3, 4);
SELECT key, place, twice FROM ducto.usage_lines WHERE account_id = :eve AND key ^@ 'more';
ALTER TABLE ducto.usage_lines DROP COLUMN place, DROP COLUMN twice;
SELECT pg_temp.settle('fewer', 3, 4);
ROLLBACK;
BEGIN;
CREATE TABLE bulk_rule (key text);
CREATE RULE bulk_also AS ON INSERT TO ducto.usage_lines DO ALSO INSERT INTO public.bulk_rule VALUES (NEW.key);
SELECT pg_temp.settle('ruled', 3);
SELECT count(*) FROM bulk_rule;
ROLLBACK;

-- A wide row goes out of line, however many there are.
SELECT booked FROM ducto_settle(:eve, :'block', (SELECT jsonb_agg(jsonb_build_object('key', 'wide' || n, 'amount', 0.01,
	'metadata', jsonb_build_object('text', (SELECT string_agg(md5(n || '/' || i), '') FROM generate_series(1, 32000 / n) i)))) FROM generate_series(1, 150) n));
SELECT count(*), sum(length(metadata ->> 'text')), max(length(metadata ->> 'text')) FROM ducto.usage_lines WHERE account_id = :eve AND key ^@ 'wide';
SELECT count(*) FROM ducto.usage_lines WHERE account_id = :eve AND key ^@ 'wide'
	AND metadata ->> 'text' <> (SELECT string_agg(md5(substr(key, 5) || '/' || i), '') FROM generate_series(1, 32000 / substr(key, 5)::integer) i);
SELECT * FROM pg_temp.written();
SELECT * FROM ducto_verify(:eve);
SELECT * FROM ducto_verify();
