-- An index that summarizes blocks is told each value once in each block that lines go to, however many blocks are filled at a time;
-- and who owns the table and may not insert is refused, as by an INSERT.
\pset null -
\set VERBOSITY terse
\set mia '\'b01c0000-0000-4000-8000-000000000002\''
SET client_min_messages = warning;
SELECT new_balance FROM ducto_add_credits(:mia, 1000, 'purchase');
SELECT reservation_id AS block FROM ducto_reserve(:mia, 900) \gset
CREATE FUNCTION pg_temp.settle(prefix text, n integer, models integer) RETURNS text LANGUAGE sql
	AS $$ SELECT booked || ' booked' FROM ducto.reservations r, ducto_settle(r.account_id, r.id,
		(SELECT jsonb_agg(jsonb_build_object('key', prefix || i, 'amount', 0.01, 'model', 'bulk' || i % models, 'metadata', jsonb_build_object('text', repeat(md5(i::text), 8)))) FROM generate_series(1, n) i))
		WHERE account_id = 'b01c0000-0000-4000-8000-000000000002' $$;

-- Lines that are taken back leave blocks that others go to: the index has a summary of each, so that none is looked into for its own sake.
BEGIN;
SELECT pg_temp.settle('undone', 2000, 1);
ROLLBACK;
SELECT pg_temp.settle('first', 1, 1);
VACUUM ducto.usage_lines;
CREATE INDEX bulk_model ON ducto.usage_lines USING brin (model) WITH (pages_per_range = 1);
SELECT pg_relation_size('ducto.usage_lines') AS size \gset
SELECT pg_temp.settle('same', 600, 1);
SELECT pg_temp.settle('mixed', 600, 3);
SELECT pg_relation_size('ducto.usage_lines') = :size AS no_block_is_new, count(DISTINCT (ctid::text::point)[0]) > 20 AS many_blocks
	FROM ducto.usage_lines WHERE account_id = :mia;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT FROM ducto.usage_lines WHERE model = 'bulk0';
SELECT count(*) FROM ducto.usage_lines WHERE model = 'bulk0';
SELECT count(*) FROM ducto.usage_lines WHERE model = 'bulk1';
SELECT count(*) FROM ducto.usage_lines WHERE model = 'bulk2';
RESET enable_seqscan;
DROP INDEX ducto.bulk_model;

-- An index that is being built gets rows from when it is ready for them, also of a session that has known it before: a change of the
-- index alone tells that.
CREATE INDEX bulk_ready ON ducto.ledger (amount, operation_type) WHERE operation_type = 'bulk_ready';
UPDATE pg_index SET indisready = false, indisvalid = false WHERE indexrelid = 'ducto.bulk_ready'::regclass;
ALTER TABLE ducto.ledger ALTER COLUMN amount SET STATISTICS -1;
SELECT count(error), count(amount) FROM generate_series(1, 3) n, ducto_charge(:mia, 0.01 * n, operation_type => 'bulk_ready');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'ducto.bulk_ready'::regclass;
SELECT count(error), count(amount) FROM generate_series(1, 4) n, ducto_charge(:mia, 0.01 * n, operation_type => 'bulk_ready');
UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'ducto.bulk_ready'::regclass;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT FROM ducto.ledger WHERE amount < 0 AND operation_type = 'bulk_ready';
SELECT count(*) FROM ducto.ledger WHERE amount < 0 AND operation_type = 'bulk_ready';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(*) FROM ducto.ledger WHERE account_id = :mia AND operation_type || '' = 'bulk_ready';
DROP INDEX ducto.bulk_ready;

-- An owner who is no superuser, and took the right from itself, is refused where the rows are written together and where an INSERT
-- writes them. Nothing of the call is left.
CREATE ROLE regress_ducto_owner;
BEGIN;
DO $$
DECLARE
	one text;
BEGIN
	FOR one IN SELECT format('TABLE %s', oid::regclass) FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r'
		UNION ALL SELECT format('FUNCTION %s', p.oid::regprocedure) FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
			JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'ducto' WHERE p.prosecdef LOOP
		EXECUTE format('ALTER %s OWNER TO regress_ducto_owner', one);
	END LOOP;
END $$;
ALTER SCHEMA ducto OWNER TO regress_ducto_owner;
SELECT pg_temp.settle('owned', 3, 1);
REVOKE INSERT ON ducto.usage_lines FROM regress_ducto_owner;
SAVEPOINT refused;
SELECT pg_temp.settle('refused', 3, 1);
ROLLBACK TO refused;
CREATE INDEX bulk_partial ON ducto.usage_lines (line) WHERE line > 100;
SAVEPOINT refused;
SELECT pg_temp.settle('refused', 3, 1);
ROLLBACK TO refused;
GRANT INSERT ON ducto.usage_lines TO regress_ducto_owner;
SELECT pg_temp.settle('refused', 3, 1);
ROLLBACK;
DROP ROLE regress_ducto_owner;
SELECT count(*) FROM ducto.usage_lines WHERE account_id = :mia;
SELECT * FROM ducto_verify(:mia);
SELECT * FROM ducto_verify();
