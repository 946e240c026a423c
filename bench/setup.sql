-- What every case starts from: accounts with credit, and bare copies of the
-- tables for the bare statement. :accounts is how many accounts.
\set ON_ERROR_STOP on
SET synchronous_commit = off;
CREATE EXTENSION ducto;
CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA bench;

-- The n-th account's id.
CREATE FUNCTION bench.account(n bigint) RETURNS uuid
LANGUAGE sql IMMUTABLE AS $$SELECT lpad(to_hex(n), 32, '0')::uuid$$;

SELECT count(*) FROM generate_series(1, :accounts) n,
	ducto_add_credits(user_id => bench.account(n), amount => 1000000, type => 'purchase');

-- bare.NAME has the shape, the indexes and the fillfactor of ducto.NAME.
CREATE SCHEMA bare;
SELECT format('CREATE TABLE bare.%I (LIKE ducto.%1$I INCLUDING ALL) WITH (%s)',
			  relname, coalesce(array_to_string(reloptions, ', '), 'fillfactor = 100'))
  FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r' \gexec
INSERT INTO bare.accounts SELECT * FROM ducto.accounts;
INSERT INTO bare.ledger SELECT * FROM ducto.ledger;

\ir plpgsql.sql
INSERT INTO plain.accounts SELECT * FROM ducto.accounts;
INSERT INTO plain.ledger SELECT * FROM ducto.ledger;
-- not the empty tables: a plan made for one without pages is a sequential scan
VACUUM ANALYZE ducto.accounts, ducto.ledger, bare.accounts, bare.ledger, plain.accounts, plain.ledger;
