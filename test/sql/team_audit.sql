-- team_audit: the auditor finds what is wrong with pools and members

\set ann '\'7ea50000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea50000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea50000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea50000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea50000-0000-4000-8000-0000000000ff\''

CREATE TEMP TABLE people (id uuid, name text);
INSERT INTO people VALUES (:ann, 'ann'), (:ben, 'ben'), (:cleo, 'cleo'), (:dina, 'dina');

-- who() is a person's name; members() are those of a team, in the order of the list; attempt() runs a statement and tells how it failed, ids of
-- teams being left out.
CREATE FUNCTION pg_temp.who(id uuid) RETURNS text LANGUAGE sql AS 'SELECT name FROM people p WHERE p.id = $1';
CREATE FUNCTION pg_temp.members(team uuid) RETURNS TABLE (member text, role text, spend_cap numeric, total_spent numeric) LANGUAGE sql
	AS 'SELECT pg_temp.who(user_id), role, spend_cap, total_spent FROM ducto_get_team_members($1)';
CREATE FUNCTION pg_temp.attempt(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID');
END $$;

SELECT team_id AS jazz FROM ducto_create_team('Jazz', 100) \gset
SELECT role FROM ducto_add_team_member(:'jazz', :ann, spend_cap => 40);
SELECT amount, error FROM ducto_deduct_team(:'jazz', :ann, 6);
SELECT amount, error FROM ducto_deduct_team(:'jazz', :ann, 20);
SELECT team_id AS reef FROM ducto_create_team('Reef') \gset
SELECT role FROM ducto_add_team_member(:'reef', :dina, spend_cap => 0);

-- The auditor finds a member's counter that is not what the ledger says, and one that is not what is held.
SELECT reservation_id AS r FROM ducto_reserve(:ben, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT role FROM ducto_add_team_member(:'jazz', :ben);
SELECT reservation_id AS r FROM ducto_reserve(:ben, 10, min_balance => 0, team_id => :'jazz') \gset
BEGIN;
UPDATE ducto.team_members SET spent = spent + 1 WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify();
SELECT * FROM ducto_verify(:'reef');
ROLLBACK;
BEGIN;
UPDATE ducto.team_members SET held = 0 WHERE team_id = :'jazz' AND user_id = :ben;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
ROLLBACK;
BEGIN;
UPDATE ducto.team_members SET held = held + 0.0001 WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz');
ROLLBACK;

-- A counter of a month that is not its own is found, too: last month's spending is not this one's.
BEGIN;
UPDATE ducto.team_members SET month = month - interval '1 month' WHERE team_id = :'jazz' AND user_id = :ann;
SELECT account_id = :'jazz' AS jazz, check_name FROM ducto_verify(:'jazz');
ROLLBACK;

-- A debit moved from one member to another shows at both; an entry of the pool changed shows in its chain.
BEGIN;
ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
UPDATE ducto.ledger SET actor = :ben WHERE account_id = :'jazz' AND actor = :ann AND amount = -20;
ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
SELECT account_id = :'jazz' AS jazz, check_name, expected, actual FROM ducto_verify(:'jazz') ORDER BY check_name;
ROLLBACK;

-- A pool whose team is gone, and a team whose pool is gone.
BEGIN;
ALTER TABLE ducto.teams DISABLE TRIGGER teams_kept;
DELETE FROM ducto.teams WHERE id = :'reef';
SELECT account_id = :'reef' AS reef, check_name, expected, actual FROM ducto_verify(:'reef');
SELECT account_id = :'reef' AS reef, check_name, expected, actual FROM ducto_verify();
ROLLBACK;
BEGIN;
INSERT INTO ducto.teams VALUES (:nobody, 'Phantom', clock_timestamp());
SELECT account_id = :nobody AS phantom, check_name, expected, actual FROM ducto_verify(:nobody);
ROLLBACK;

SELECT * FROM ducto_verify();
