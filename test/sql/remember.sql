-- remember: a session finds a row where it has found it before, as long as that is the row
-- In a database of its own: rows are vacuumed away, and others take their places.
\set own regress_ducto_remember
\i test/sql/include/own_database.sql
\set ada '\'b8000000-0000-4000-8000-000000000001\''
\set bob '\'b8000000-0000-4000-8000-000000000002\''
\set cyd '\'b8000000-0000-4000-8000-000000000003\''
-- How often the index of accounts was looked into since this was called last, in this transaction.
CREATE TEMP TABLE looks AS SELECT 0::bigint AS seen;
CREATE FUNCTION pg_temp.looked() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	before bigint := (SELECT seen FROM looks);
BEGIN
	UPDATE looks SET seen = pg_stat_get_xact_numscans('ducto.accounts_pkey'::regclass);
	RETURN (SELECT seen FROM looks) - before;
END
$$;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"pro": {"name": "Pro", "free_allowance": 10}}}');
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:bob, 200, 'purchase');
SELECT balance_after FROM ducto_charge(:ada, 1);

-- Where a call has found it, the next ones do, of any kind, whatever version of it is there.
BEGIN;
SELECT pg_temp.looked() >= 0 AS counted;
SELECT balance_after FROM ducto_charge(:bob, 1);
SELECT pg_temp.looked();
SELECT balance_after FROM ducto_charge(:bob, 1);
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT balance_after FROM ducto_charge(:bob, 1);
SELECT balance FROM ducto_get_balance(:ada);
SELECT balance FROM ducto_get_balance(:ada);
SELECT pg_temp.looked();
SAVEPOINT before;
SELECT balance_after FROM ducto_charge(:ada, 10);
ROLLBACK TO before;
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT pg_temp.looked();
COMMIT;

-- The row is in another place: all were written anew, or its versions leave the page.
VACUUM FULL ducto.accounts;
BEGIN;
SELECT pg_temp.looked() >= 0 AS counted;
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT balance_after FROM ducto_charge(:bob, 1);
SELECT pg_temp.looked() > 0 AS looked;
COMMIT;
CREATE INDEX moving ON ducto.accounts (balance);
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT balance_after FROM ducto_charge(:ada, 1);
BEGIN;
SELECT pg_temp.looked() >= 0 AS counted;
SELECT balance_after FROM ducto_charge(:ada, 1);
SELECT pg_temp.looked() > 0 AS looked;
COMMIT;
DROP INDEX ducto.moving;

-- It was taken back, and others have its place: the calls are about nobody else's.
BEGIN;
SELECT new_balance FROM ducto_add_credits(:cyd, 50, 'purchase');
SELECT balance FROM ducto_get_balance(:cyd);
SELECT ctid AS place FROM ducto.accounts WHERE id = :cyd \gset
ROLLBACK;
VACUUM ducto.accounts;
INSERT INTO ducto.accounts (id, kind, created_at, updated_at)
SELECT gen_random_uuid(), 'user', now(), now() FROM generate_series(1, 20);
SELECT count(*) FROM ducto.accounts WHERE ctid = :'place';
SELECT balance FROM ducto_get_balance(:cyd);
SELECT error FROM ducto_charge(:cyd, 1);
SELECT new_balance FROM ducto_add_credits(:cyd, 7, 'purchase');
SELECT count(*) FROM ducto.accounts WHERE balance = 7;

-- The page has gone with it.
BEGIN;
INSERT INTO ducto.accounts (id, kind, created_at, updated_at)
SELECT gen_random_uuid(), 'user', now(), now() FROM generate_series(1, 400);
SELECT new_balance FROM ducto_add_credits('b8000000-0000-4000-8000-000000000400', 50, 'purchase');
SELECT balance FROM ducto_get_balance('b8000000-0000-4000-8000-000000000400');
SELECT pg_relation_size('ducto.accounts') AS size \gset
ROLLBACK;
VACUUM ducto.accounts;
SELECT pg_relation_size('ducto.accounts') < :size AS shorter;
SELECT balance FROM ducto_get_balance('b8000000-0000-4000-8000-000000000400');

-- An index of somebody's own that has some rows only: a row that has the key is not one of them for that.
CREATE UNIQUE INDEX apart ON ducto.team_members (team_id, user_id) WHERE left_at IS NULL;
SELECT team_id AS team FROM ducto_create_team('Apart', 100) \gset
SELECT role FROM ducto_add_team_member(:'team', :cyd, spend_cap => 5);
SELECT error FROM ducto_deduct_team(:'team', :cyd, 6);
SELECT ctid AS place FROM ducto.team_members \gset
SELECT ducto_remove_team_member(:'team', :cyd);
VACUUM ducto.team_members;
UPDATE ducto.team_members SET left_at = left_at - interval '1 second';
SELECT ctid = :'place' AS there_again FROM ducto.team_members;
SELECT error FROM ducto_deduct_team(:'team', :cyd, 6);
SELECT * FROM found();
\c :main
DROP DATABASE :own;
