-- Tables and indexes that are made anew beside a session: the plans that it keeps and what it knows of tables hold on, and each
-- call answers as before.
\pset null -
\set ann '\'7e317e00-0000-4000-8000-000000000001\''
\set bob '\'7e317e00-0000-4000-8000-000000000002\''
SET client_min_messages = warning;
SELECT error FROM ducto_set_active_pricing('{"models": {"m": "input_tokens", "_default": "1"}, "plans": {"rewritten": {"name": "Rewritten", "free_allowance": 3,
	"caps": [{"cap_type": "daily", "cap_limit": 1000000}, {"cap_type": "monthly", "cap_limit": 1000000, "model": "m"}]}}}');
SELECT count(r.error), count(*) FROM unnest(ARRAY[:ann, :bob]::uuid[]) id, ducto_add_credits(id, 100000, 'purchase') r;
SELECT new_balance FROM ducto_add_credits(:ann, 100000, 'promo', expires_at => '2222-01-01');
SELECT error, plan_id FROM ducto_set_user_plan(:ann, 'rewritten');
SELECT cap_limit FROM ducto_set_spend_cap(:bob, 'daily', 1000000);
SELECT team_id AS team FROM ducto_create_team('Rewritten', 100000) \gset
SELECT role FROM ducto_add_team_member(:'team', :bob, spend_cap => 100000);
CREATE TEMP TABLE told (n serial, after text, answers text);

-- Calls that read and write every table, and a word for what each answers; the balance and the allowance alone go on.
CREATE FUNCTION pg_temp.story(after text, ann uuid, bob uuid, team uuid) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answers text[];
	hold uuid;
	one record;
	before numeric := (SELECT balance FROM ducto_get_balance(ann));
BEGIN
	SELECT * INTO one FROM ducto_charge_usage(ann, '{"model": "m", "input_tokens": 2}');
	answers := answers || concat_ws(' ', 'charge', one.amount + one.allowance_consumed, one.error);
	SELECT * INTO one FROM ducto_reserve(ann, 8);
	hold := one.reservation_id;
	answers := answers || concat_ws(' ', 'reserve', one.amount, one.error);
	SELECT * INTO one FROM ducto_settle(ann, hold, (SELECT jsonb_agg(jsonb_build_object('key', gen_random_uuid(), 'amount', 0.01)) FROM generate_series(1, 200)));
	answers := answers || concat_ws(' ', 'settle', one.booked, one.amount + one.allowance_consumed, one.error);
	SELECT * INTO one FROM ducto_deduct(ann, hold, 1);
	answers := answers || concat_ws(' ', 'deduct', one.amount + one.allowance_consumed, one.error);
	SELECT * INTO one FROM ducto_refund((SELECT transaction_id FROM ducto_charge(bob, 3)), 1);
	answers := answers || concat_ws(' ', 'refund', one.amount, one.error);
	SELECT count(error) AS errors, sum(amount + allowance_consumed) AS amount INTO one FROM ducto_charge_many(jsonb_build_array(
		jsonb_build_object('user_id', ann, 'amount', 1), jsonb_build_object('user_id', bob, 'amount', 1, 'model', 'm'), jsonb_build_object('user_id', ann, 'amount', 1)));
	answers := answers || concat_ws(' ', 'charge_many', one.amount, one.errors);
	SELECT * INTO one FROM ducto_deduct_team(team, bob, 1);
	answers := answers || concat_ws(' ', 'deduct_team', one.amount, one.error);
	SELECT * INTO one FROM ducto_add_credits(ann, 5, 'promo', expires_at => '2111-01-01');
	answers := answers || concat_ws(' ', 'add', one.new_balance - before + (SELECT allowance_used FROM ducto_check_allowance(ann)) > -10, one.error);
	SELECT count(*) AS entries INTO one FROM ducto_list_transactions(ann, max_rows => 5);
	answers := answers || concat_ws(' ', 'list', one.entries);
	SELECT count(*) AS n INTO one FROM ducto_get_team_members(team);
	answers := answers || concat_ws(' ', 'members', one.n);
	PERFORM ducto_rollup();
	SELECT count(*) AS n INTO one FROM ducto_spend_by_model() WHERE model = 'm';
	answers := answers || concat_ws(' ', 'model', one.n);
	INSERT INTO told (after, answers) VALUES (after, array_to_string(answers, ', '));
	RETURN array_to_string(answers, ', ');
END $$;
SELECT pg_temp.story('nothing', :ann, :bob, :'team');

-- Each way to make each table anew, and the calls after each.
SELECT format(c.command, t.name, i.name), format('SELECT pg_temp.story(%L, %L, %L, %L)', format(c.command, t.name, i.name), :ann, :bob, :'team')
FROM pg_class k JOIN pg_index x ON x.indrelid = k.oid AND x.indisprimary,
	LATERAL (VALUES ('ducto.' || k.relname)) t (name), LATERAL (SELECT relname FROM pg_class WHERE oid = x.indexrelid) i (name),
	(VALUES (1, 'REINDEX TABLE %s'), (2, 'REINDEX TABLE CONCURRENTLY %s'), (3, 'VACUUM FULL %s'), (4, 'CLUSTER %s USING %s'),
		(5, 'ALTER TABLE %s SET WITHOUT CLUSTER'), (6, 'VACUUM (ANALYZE) %s'), (7, 'CREATE INDEX rewritten ON %s ((true))'), (8, 'DROP INDEX ducto.rewritten')) c (n, command)
WHERE k.relnamespace = 'ducto'::regnamespace AND k.relkind = 'r' AND k.relname <> 'test_clock'
ORDER BY k.relname, c.n
\set ECHO none
\o /dev/null
\gexec
\o
\set ECHO all
SELECT count(*) = 1 + 8 * (SELECT count(*) - 1 FROM pg_class WHERE relnamespace = 'ducto'::regnamespace AND relkind = 'r') AS all_told FROM told;
SELECT after, answers FROM told WHERE answers <> (SELECT answers FROM told ORDER BY n LIMIT 1) ORDER BY n;

-- It is the same where that happens in the transaction of the calls, and where it is taken back.
BEGIN;
ALTER TABLE ducto.usage_lines ALTER COLUMN line TYPE integer USING line + 0;
SELECT pg_temp.story('a table is written anew', :ann, :bob, :'team') = answers AS as_before FROM told WHERE after = 'nothing';
ROLLBACK;
BEGIN;
SAVEPOINT anew;
REINDEX TABLE ducto.accounts;
REINDEX TABLE ducto.usage_lines;
SELECT pg_temp.story('indexes are made anew', :ann, :bob, :'team') = answers AS as_before FROM told WHERE after = 'nothing';
ROLLBACK TO anew;
SELECT pg_temp.story('that was taken back', :ann, :bob, :'team') = answers AS as_before FROM told WHERE after = 'nothing';
COMMIT;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0}');
SELECT * FROM ducto_verify();
