-- Entries of a batch are written together, and all that an INSERT would see to holds: each index has what it is to have, a savepoint
-- takes them back, and indexes, triggers, checks, columns and an order of them that somebody has given the ledger are minded.
\pset null -
\set VERBOSITY terse
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.account(i integer) RETURNS uuid LANGUAGE sql AS $$ SELECT ('b01ce000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid $$;
CREATE FUNCTION pg_temp.charge(prefix text, n integer, cost numeric = 0.01) RETURNS text LANGUAGE sql
	AS $$ SELECT count(transaction_id) || ' booked, ' || count(*) FILTER (WHERE idempotent) || ' replayed' FROM ducto_charge_many(
		(SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account(i % 100), 'amount', cost, 'idempotency_key', prefix || i,
			'model', 'm' || i % 3, 'metadata', jsonb_build_object('n', i))) FROM generate_series(1, n) i)) $$;
CREATE FUNCTION pg_temp.written() RETURNS TABLE (entries bigint, keys bigint, moved numeric) LANGUAGE sql
	AS $$ SELECT count(*), count(idempotency_key), sum(amount) FROM ducto.ledger WHERE account_id BETWEEN pg_temp.account(0) AND pg_temp.account(99) $$;
SELECT count(new_balance) FROM ducto_add_credits_many((SELECT jsonb_agg(jsonb_build_object('user_id', pg_temp.account(i), 'amount', 100, 'type', 'purchase', 'idempotency_key', 'buy' || i))
	FROM generate_series(0, 99) i));

-- More than is written at a time: each entry is there by the table and by each of its indexes, those of some entries alone, too.
SELECT pg_temp.charge('a', 1000);
SELECT pg_temp.charge('a', 1001);
SELECT * FROM pg_temp.written();
SELECT count(*) AS wrong FROM ducto.ledger WHERE account_id BETWEEN pg_temp.account(0) AND pg_temp.account(99) AND type = 'usage'
	AND (amount <> -0.01 OR idempotency_key <> 'a' || (metadata ->> 'n') OR account_id <> pg_temp.account((metadata ->> 'n')::integer % 100) OR model <> 'm' || (metadata ->> 'n')::integer % 3);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS by_seq FROM generate_series(0, 99) i, LATERAL (SELECT FROM ducto.ledger WHERE account_id = pg_temp.account(i) AND seq BETWEEN 1 AND 100 OFFSET 0) l;
SELECT count(*) AS by_key FROM generate_series(1, 1001) i, LATERAL (SELECT FROM ducto.ledger WHERE account_id = pg_temp.account(i % 100) AND idempotency_key = 'a' || i OFFSET 0) l;
SELECT count(*) AS by_type FROM generate_series(0, 99) i, LATERAL (SELECT FROM ducto.ledger WHERE account_id = pg_temp.account(i) AND type = 'purchase' AND type <> 'usage' OFFSET 0) l;
RESET enable_seqscan;
SELECT count(*) AS by_id FROM ducto.ledger e, LATERAL (SELECT FROM ducto.ledger WHERE id = e.id OFFSET 0) l WHERE account_id BETWEEN pg_temp.account(0) AND pg_temp.account(99);
RESET enable_bitmapscan;

-- What somebody has indexed besides: an expression, for some rows. A unique one refuses a row, and nothing of the call is left.
CREATE INDEX bulk_places ON ducto.ledger (((metadata ->> 'n')::integer)) WHERE model = 'm1';
SELECT pg_temp.charge('b', 300);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT count(*) AS by_place FROM ducto.ledger WHERE (metadata ->> 'n')::integer BETWEEN 1 AND 300 AND model = 'm1' AND idempotency_key ^@ 'b' AND type = 'usage';
RESET enable_seqscan;
RESET enable_bitmapscan;
DROP INDEX ducto.bulk_places;
CREATE UNIQUE INDEX bulk_places ON ducto.ledger ((metadata ->> 'n')) WHERE idempotency_key ^@ 'once';
SELECT pg_temp.charge('once', 150);
SELECT pg_temp.charge('once/', 150);
DROP INDEX ducto.bulk_places;
SELECT * FROM pg_temp.written();

-- A savepoint takes them back, and the same keys are new again, in the same transaction and after it.
BEGIN;
SAVEPOINT one;
SELECT pg_temp.charge('c', 300);
ROLLBACK TO one;
SELECT * FROM pg_temp.written();
SELECT pg_temp.charge('c', 200);
SELECT pg_temp.charge('c', 300);
ROLLBACK;
SELECT pg_temp.charge('c', 300);

-- Triggers for rows and for the statement are called, checks and rules minded, and columns that are not ducto's filled. Those for a
-- replica are called on one only.
\i test/sql/include/bulk_tell.sql
CREATE TRIGGER bulk_statement AFTER INSERT ON ducto.ledger REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION bulk_tell();
SELECT pg_temp.charge('statement', 24);
SELECT * FROM bulk_seen;
DROP TRIGGER bulk_statement ON ducto.ledger;
CREATE TRIGGER bulk_row BEFORE INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION bulk_tell('row13');
SELECT pg_temp.charge('row', 12);
SELECT pg_temp.charge('row', 13);
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
ALTER TABLE ducto.ledger ENABLE REPLICA TRIGGER bulk_row;
SELECT pg_temp.charge('row', 13);
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
SET session_replication_role = replica;
SELECT pg_temp.charge('replica', 12);
RESET session_replication_role;
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
DROP TRIGGER bulk_row ON ducto.ledger;
DROP FUNCTION bulk_tell;
DROP TABLE bulk_seen;
BEGIN;
ALTER TABLE ducto.ledger ADD CONSTRAINT bulk_small CHECK (amount > -5) NOT VALID;
SELECT pg_temp.charge('small', 12, 4);
SAVEPOINT refused;
SELECT pg_temp.charge('large', 12, 6);
ROLLBACK TO refused;
ALTER TABLE ducto.ledger DROP CONSTRAINT bulk_small;
SELECT pg_temp.charge('large', 12, 6);
ROLLBACK;
BEGIN;
UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'ducto.ledger'::regclass AND attname = 'shortfall';
SELECT pg_temp.charge('none', 12);
ROLLBACK;
BEGIN;
ALTER TABLE ducto.ledger ADD COLUMN place text NOT NULL DEFAULT 'here', ADD COLUMN twice numeric GENERATED ALWAYS AS (amount * 2) STORED;
SELECT pg_temp.charge('more', 12, 4);
SELECT place, twice, count(*) FROM ducto.ledger WHERE idempotency_key ^@ 'more' GROUP BY place, twice;
ALTER TABLE ducto.ledger DROP COLUMN place, DROP COLUMN twice;
SELECT pg_temp.charge('fewer', 12, 4);
ROLLBACK;
BEGIN;
CREATE TABLE bulk_rule (key text);
CREATE RULE bulk_also AS ON INSERT TO ducto.ledger DO ALSO INSERT INTO public.bulk_rule VALUES (NEW.idempotency_key);
SELECT pg_temp.charge('ruled', 12);
SELECT count(*) FROM bulk_rule;
ROLLBACK;
BEGIN;
DO $$ BEGIN EXECUTE (SELECT format('CREATE TABLE ducto.bulk_turned (%s)', string_agg(format('%I %s %s', attname, format_type(atttypid, atttypmod),
	CASE WHEN attnotnull THEN 'NOT NULL' END), ', ' ORDER BY attnum DESC)) FROM pg_attribute WHERE attrelid = 'ducto.ledger'::regclass AND attnum > 0); END $$;
ALTER TABLE ducto.ledger RENAME TO bulk_before;
ALTER TABLE ducto.bulk_turned RENAME TO ledger;
SELECT pg_temp.charge('turned', 100);
SELECT pg_temp.charge('turned', 101);
SELECT count(*), sum(amount), min(type), min(seq) > 1 AS later, count(digest), count(xact) FROM ducto.ledger
	WHERE idempotency_key = 'turned' || (metadata ->> 'n') AND account_id = pg_temp.account((metadata ->> 'n')::integer % 100) AND model = 'm' || (metadata ->> 'n')::integer % 3;
ROLLBACK;
SELECT * FROM pg_temp.written();

-- Where the executor has to do it, as for a trigger of the accounts, it is the same.
SELECT count(*) FROM generate_series(0, 99) i, ducto_set_spend_cap(user_id => pg_temp.account(i), cap_type => 'daily', cap_limit => 1000);
SET ducto.direct = off;
SELECT pg_temp.charge('executor', 300);
SELECT pg_temp.charge('executor', 301);
RESET ducto.direct;
SELECT pg_temp.charge('executor', 302);
\i test/sql/include/bulk_tell.sql
CREATE TRIGGER bulk_row BEFORE UPDATE ON ducto.accounts FOR EACH ROW EXECUTE FUNCTION bulk_tell();
CREATE TRIGGER bulk_row BEFORE UPDATE ON ducto.spend_caps FOR EACH ROW EXECUTE FUNCTION bulk_tell();
SELECT pg_temp.charge('seen', 100);
SELECT told, count(*) FROM bulk_seen GROUP BY told ORDER BY told;
DROP TRIGGER bulk_row ON ducto.accounts;
DROP TRIGGER bulk_row ON ducto.spend_caps;
DROP FUNCTION bulk_tell;
DROP TABLE bulk_seen;

-- Rows of accounts that something has moved since they were locked are written all the same.
CREATE FUNCTION bulk_move() RETURNS trigger LANGUAGE plpgsql
	AS $$ BEGIN UPDATE ducto.accounts SET created_at = created_at WHERE id = NEW.account_id; RETURN NULL; END $$;
CREATE TRIGGER bulk_move AFTER INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION bulk_move();
SELECT pg_temp.charge('moved', 100);
DROP TRIGGER bulk_move ON ducto.ledger;
DROP FUNCTION bulk_move;
SELECT pg_temp.charge('moved', 101);
SELECT sum(spent) AS spent, count(*) FROM ducto.spend_caps WHERE account_id BETWEEN pg_temp.account(0) AND pg_temp.account(99);
SELECT * FROM pg_temp.written();
SELECT * FROM ducto_verify();
