-- A retried ducto_create_team makes one team, teams can be found again, and a member keeps what a call does not change.
\pset null -
\set ann '\'7ea00000-0000-4000-8000-000000000001\''
\set bob '\'7ea00000-0000-4000-8000-000000000002\''
\set cat '\'7ea00000-0000-4000-8000-000000000003\''

-- What a statement raises: SQLSTATE, message and hint.
CREATE FUNCTION pg_temp.raised(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END $$;

-- The key is one for all teams. A retry tells the team as it was made, whatever it asks for.
SELECT team_id AS a, name, idempotent FROM ducto_create_team('Keyed A', 100, 'signup-7ea') \gset
SELECT :'name' AS name, :'idempotent' AS idempotent;
SELECT team_id = :'a' AS same, name, idempotent FROM ducto_create_team('Keyed A', 100, 'signup-7ea');
SELECT team_id = :'a' AS same, name, idempotent FROM ducto_create_team('Another', 999, idempotency_key => 'signup-7ea');
SELECT balance, (SELECT count(*) FROM ducto.ledger WHERE account_id = :'a') AS entries FROM ducto_get_team_balance(:'a');
SELECT substr(:'a', 15, 1) AS uuid_version;
-- Without a key each call makes one.
SELECT team_id AS b, idempotent FROM ducto_create_team('Keyed B') \gset
SELECT team_id AS c, team_id <> :'b' AS another, idempotent FROM ducto_create_team('Keyed B') \gset
SELECT :'another' AS another, :'idempotent' AS idempotent;
-- What was rolled back made none.
BEGIN;
SELECT idempotent FROM ducto_create_team('Undone', 5, 'undone-7ea');
ROLLBACK;
SELECT name, idempotent FROM ducto_create_team('Done', 0, 'undone-7ea');
SELECT pg_temp.raised($$SELECT ducto_create_team('x', 0, '')$$);
SELECT pg_temp.raised($$SELECT ducto_create_team('x', -1, 'k')$$);
SELECT pg_temp.raised($$SELECT ducto_create_team('x', 'Infinity', 'k')$$);
SELECT pg_temp.raised($$SELECT ducto_create_team(NULL, 0, 'signup-7ea')$$);

-- A member: what is given changes, the rest stays.
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, 'owner', 50);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, spend_cap => 40);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, 'admin');
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, NULL, NULL);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :bob);
SELECT amount, error FROM ducto_deduct_team(:'a', :ann, 40);
SELECT amount, error FROM ducto_deduct_team(:'a', :ann, 0.0001);
-- The cap is taken away by infinity, and by nothing else that is no amount.
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, spend_cap => 'Infinity');
SELECT amount, error FROM ducto_deduct_team(:'a', :ann, 5);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :cat, spend_cap => 'Infinity');
SELECT pg_temp.raised(format('SELECT ducto_add_team_member(%L, %L, spend_cap => %L)', :'a', :ann, v))
FROM unnest(ARRAY['-Infinity', 'NaN', '-1', '0.00001']) v;
SELECT role, spend_cap, total_spent FROM ducto_get_team_members(:'a') WHERE user_id = :ann;
-- Who joins again is new, but for what was spent this month.
SELECT ducto_remove_team_member(:'a', :ann);
SELECT role, spend_cap, error FROM ducto_add_team_member(:'a', :ann, spend_cap => 46);
SELECT total_spent FROM ducto_get_team_members(:'a') WHERE user_id = :ann;
SELECT error FROM ducto_deduct_team(:'a', :ann, 1.0001);

-- All teams, a page after the other; those of a user, with the role.
SELECT name, balance, reserved, available, member_count, role FROM ducto_list_teams(max_rows => 1000) WHERE team_id >= :'a' ORDER BY team_id;
SELECT team_id = :'b' AS b FROM ducto_list_teams(NULL, 1, :'a');
SELECT error FROM ducto_add_team_member(:'b', :ann, 'guest');
SELECT error FROM ducto_add_team_member(:'c', :ann);
SELECT error FROM ducto_add_team_member(:'c', :bob);
SELECT team_id = :'a' AS a, name, balance, member_count, role, created_at <= clock_timestamp() AS made FROM ducto_list_teams(:ann);
SELECT role FROM ducto_list_teams(:ann, max_rows => 2, after => :'a');
SELECT role FROM ducto_list_teams(:ann, after => :'c');
SELECT ducto_remove_team_member(:'b', :ann);
SELECT role FROM ducto_list_teams(:ann);
SELECT count(*) FROM ducto_list_teams('7ea00000-0000-4000-8000-0000000000ff');
SELECT pg_temp.raised(format('SELECT ducto_list_teams(%L)', :'a')) = '22023 | invalid value for argument "user_id": ' || :'a' || ' | "user_id" must be the id of a user.' AS a_team_is_no_user;
SELECT pg_temp.raised('SELECT ducto_list_teams(max_rows => 0)');
-- What has expired does not count, booked or not.
SELECT new_balance FROM ducto_add_team_credits(:'c', 30, 'promo', expires_at => clock_timestamp() + interval '0.2 seconds');
SELECT error FROM ducto_reserve(:bob, 10, team_id => :'c', ttl_seconds => 1, min_balance => 0);
SELECT balance, reserved, available FROM ducto_list_teams(:bob) WHERE team_id = :'c';
SELECT pg_sleep(1.1);
SELECT balance, reserved, available FROM ducto_list_teams(:bob) WHERE team_id = :'c';
SELECT balance, reserved, available FROM ducto_get_team_balance(:'c');

SELECT * FROM ducto_verify();
