-- Which of many keys are known, where the index of the lines has pages below pages: at random, of all lengths, one the beginning of
-- another, between those of other accounts, taken back, of dead rows and of rows that are not in the index.
\pset null -
\set VERBOSITY terse
\set low '\'b02c0000-0000-4000-8000-000000000001\''
\set mid '\'b02c0000-0000-4000-8000-000000000002\''
\set high '\'b02c0000-0000-4000-8000-000000000003\''
SET client_min_messages = warning;
SELECT new_balance FROM unnest(ARRAY[:low, :mid, :high]::uuid[]) u, ducto_add_credits(u, 1000, 'purchase');
SELECT count(reservation_id) FROM unnest(ARRAY[:low, :mid, :high]::uuid[]) u, ducto_reserve(u, 900);
CREATE FUNCTION pg_temp.settle(account uuid, keys text[]) RETURNS text LANGUAGE sql
	AS $$ SELECT coalesce(error, booked || ' booked, ' || skipped || ' skipped') FROM ducto.reservations r, ducto_settle(r.account_id, r.id,
		(SELECT jsonb_agg(jsonb_build_object('key', k, 'amount', 0.001) ORDER BY n) FROM unnest(keys) WITH ORDINALITY u(k, n))) WHERE account_id = account AND state = 'open' $$;
CREATE FUNCTION pg_temp.keys(first integer, last integer) RETURNS text[] LANGUAGE sql
	AS $$ SELECT array_agg(md5('known ' || i)::uuid::text ORDER BY i) FROM generate_series(first, last) i $$;
CREATE FUNCTION pg_temp.prefixes(step integer) RETURNS text[] LANGUAGE sql
	AS $$ SELECT array_agg(repeat('p', i) ORDER BY md5(i::text)) FROM generate_series(1, 255, step) i $$;
CREATE FUNCTION pg_temp.written() RETURNS TABLE (lines bigint, keys bigint) LANGUAGE sql
	AS $$ SELECT count(*), count(DISTINCT key) FROM ducto.usage_lines WHERE account_id = 'b02c0000-0000-4000-8000-000000000002' $$;

SELECT pg_temp.settle(:low, pg_temp.keys(1, 2000));
SELECT pg_temp.settle(:high, pg_temp.keys(1, 2000));
SELECT pg_temp.settle(:mid, pg_temp.keys(n * 5000 + 1, n * 5000 + 5000)) FROM generate_series(0, 3) n;
SELECT pg_temp.settle(:mid, pg_temp.keys(19501, 20500));
SELECT pg_temp.settle(:mid, pg_temp.keys(1, 5000));
SELECT pg_temp.settle(:mid, pg_temp.keys(20499, 20501));
SELECT pg_temp.settle(:mid, pg_temp.keys(7, 7) || pg_temp.keys(20600, 20601));

-- One is the beginning of the next, and some are longer than a short text.
SELECT pg_temp.settle(:mid, pg_temp.prefixes(2));
SELECT pg_temp.settle(:mid, pg_temp.prefixes(1) || pg_temp.keys(20601, 20610));
SELECT * FROM pg_temp.written();

-- What a savepoint has taken back is in the index, and new; so it is for a transaction of each kind.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.settle(:mid, pg_temp.keys(30001, 31000));
ROLLBACK TO one;
SELECT pg_temp.settle(:mid, pg_temp.keys(30501, 31500));
SELECT pg_temp.settle(:mid, pg_temp.keys(30401, 30600));
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.settle(:mid, pg_temp.keys(20401, 20700));
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT pg_temp.settle(:mid, pg_temp.keys(20401, 20700));
ROLLBACK;
SELECT * FROM pg_temp.written();

-- Rows that a statement finds and the index has not, and an index of another kind in its place, which does not tell.
CREATE TABLE known_heir () INHERITS (ducto.usage_lines);
INSERT INTO known_heir (account_id, entry, line, key, amount) SELECT :mid, gen_random_uuid(), 1, k, 0.001 FROM unnest(pg_temp.keys(20700, 20709)) k;
SELECT pg_temp.settle(:mid, pg_temp.keys(20698, 20711));
DROP TABLE known_heir;
ANALYZE ducto.usage_lines;
BEGIN;
ALTER TABLE ducto.usage_lines DROP CONSTRAINT usage_lines_pkey;
CREATE UNIQUE INDEX ON ducto.usage_lines (account_id, key COLLATE "POSIX" DESC);
SELECT pg_temp.settle(:mid, pg_temp.keys(20601, 20715));
ROLLBACK;
BEGIN;
ALTER TABLE ducto.usage_lines DROP CONSTRAINT usage_lines_pkey;
CREATE INDEX ON ducto.usage_lines (account_id, key) WHERE line > 1;
SELECT pg_temp.settle(:mid, pg_temp.keys(20601, 20715));
ROLLBACK;
SELECT * FROM pg_temp.written();

-- Columns that somebody has given another order, such as ICU's where the server has it: of lines, of entries and of reservations that
-- closed with nothing.
SELECT coalesce(max(collname), 'C') AS other FROM pg_collation WHERE collname = 'en-x-icu' \gset
SELECT amount FROM ducto_charge(:mid, 1, 'entry of mine');
SELECT amount FROM ducto_deduct(:mid, (SELECT reservation_id FROM ducto_reserve(:mid, 1)), 0, 'nothing of mine');
SELECT pg_temp.settle(:mid, ARRAY['line of mine']);
BEGIN;
ALTER TABLE ducto.usage_lines ALTER key TYPE text COLLATE :"other";
ALTER TABLE ducto.ledger ALTER idempotency_key TYPE text COLLATE :"other";
ALTER TABLE ducto.reservations ALTER closing_key TYPE text COLLATE :"other";
SELECT pg_temp.settle(:mid, ARRAY['Z of another', 'line of mine', 'z']);
SELECT pg_temp.settle(:mid, ARRAY['Z of others', 'entry of mine', 'zz']);
SELECT pg_temp.settle(:mid, ARRAY['Z of nobody', 'nothing of mine', 'zzz']);
ROLLBACK;

-- Pages of the index are filled also where keys that grow have their place between those of others.
SELECT pg_relation_size('ducto.usage_lines_pkey') AS before \gset
SELECT pg_temp.settle(:mid, (SELECT array_agg('00000000-0000-4000-8000-' || lpad(to_hex(c * 100 + n), 12, '0') ORDER BY n) FROM generate_series(0, 99) n)) AS done,
	count(*) FROM generate_series(1, 30) c GROUP BY 1;
SELECT pg_temp.settle(:mid, (SELECT array_agg('10000000-0000-4000-8000-' || lpad(to_hex(n), 12, '0') ORDER BY n) FROM generate_series(1, 3000) n));
SELECT (pg_relation_size('ducto.usage_lines_pkey') - :before) / 6000 < 100 AS filled;
SELECT * FROM ducto_verify(:mid);
