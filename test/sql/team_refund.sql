-- team_refund: refunds of what a team paid, what ends with time, and whose entries are whose

\set ann '\'7ea30000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea30000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea30000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea30000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea30000-0000-4000-8000-0000000000ff\''

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

-- Ann has credits of her own.
SELECT new_balance FROM ducto_add_credits(:ann, 40);

SELECT team_id AS iris FROM ducto_create_team('Iris', 100) \gset

-- A refund goes to where the credits came from: the pool. The answer names both the member and the team.
SELECT team_id AS kite FROM ducto_create_team('Kite', 100) \gset
SELECT role FROM ducto_add_team_member(:'kite', :ann, spend_cap => 30);
SELECT transaction_id AS tx FROM ducto_deduct_team(:'kite', :ann, 30, '{}', 'k', 'gpt') \gset
SELECT refund_transaction_id IS NOT NULL AS booked, original_transaction_id = :'tx' AS original, pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, allowance_restored, idempotent, error
FROM ducto_refund(:'tx', 10, 'a bad answer', idempotency_key => 'back');
SELECT pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, idempotent, error FROM ducto_refund(:'tx', 20, idempotency_key => 'back');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'kite');
SELECT pg_temp.who(user_id), amount, type, model, reference_id = :'tx' AS of_it, balance_after, metadata FROM ducto_list_transactions(:'kite', '{refund}');
SELECT balance FROM ducto_get_balance(:ann);

-- It gives the member room back under the cap, and no more than was taken.
SELECT * FROM pg_temp.members(:'kite');
SELECT error FROM ducto_deduct_team(:'kite', :ann, 10.0001);
SELECT amount, error FROM ducto_deduct_team(:'kite', :ann, 10);
SELECT refund_transaction_id, pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, error FROM ducto_refund(:'tx', 20.0001);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT refund_transaction_id, pg_temp.who(user_id), team_id = :'kite' AS kite, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'kite');

-- What was added to a pool is not a debit of anybody.
SELECT id AS added FROM ducto.ledger WHERE account_id = :'kite' AND seq = 1 \gset
SELECT refund_transaction_id, user_id, team_id = :'kite' AS kite, error FROM ducto_refund(:'added');

-- A deduct of a team's reservation is refunded the same way.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'kite') \gset
SELECT transaction_id AS tx, balance_after FROM ducto_deduct(:ann, :'r', 15) \gset
SELECT pg_temp.who(user_id), team_id = :'kite' AS kite, amount, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'kite');
SELECT * FROM ducto_verify(:'kite');

-- Now what ends with time. An expired hold gives its room back to the cap and to the pool, with nobody having swept; expired credit is gone.
SELECT team_id AS late FROM ducto_create_team('Late', 30) \gset
SELECT role FROM ducto_add_team_member(:'late', :ann, spend_cap => 20);
SELECT role FROM ducto_add_team_member(:'late', :ben, spend_cap => 20);
SELECT role FROM ducto_add_team_member(:'late', :cleo, spend_cap => 8);
SELECT team_id AS mist FROM ducto_create_team('Mist', 10) \gset
SELECT role FROM ducto_add_team_member(:'mist', :ann);
SELECT new_balance FROM ducto_add_team_credits(:'mist', 40, 'promo', expires_at => clock_timestamp() + interval '1 s');
SELECT reservation_id AS r, reserved FROM ducto_reserve(:ann, 20, min_balance => 0, ttl_seconds => 1, team_id => :'late') \gset
SELECT reservation_id AS r2, reserved FROM ducto_reserve(:cleo, 8, min_balance => 0, ttl_seconds => 1, team_id => :'late') \gset
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'mist');
SELECT clock_timestamp() AS before \gset
SELECT pg_sleep(1.1) \g /dev/null
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'mist');
SELECT count(*) FROM ducto_list_grants(:'mist');
SELECT ducto_balance_at(:'mist', :'before') AS before, ducto_balance_at(:'mist', clock_timestamp()) AS now, (SELECT count(*) FROM ducto_list_transactions(:'mist')) AS entries;
SELECT state, remaining FROM ducto.reservations WHERE id = :'r';
SELECT reservation_id IS NOT NULL AS admitted, balance, reserved, error FROM ducto_reserve(:ann, 20, min_balance => 0, team_id => :'late', idempotency_key => 'new');
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'late');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'late', :cleo, 8);
SELECT error FROM ducto_deduct_team(:'mist', :ann, 10.0001);

-- A late deduct charges as if nothing had been held, and no cap blocks it; renewing and releasing is over.
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 3);
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 2, allow_late => false);
SELECT error FROM ducto_renew(:ann, :'r');
SELECT released, reason FROM ducto_release(:ann, :'r');
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 3, 'late', overrun => 'clamp');
SELECT amount, balance_after, shortfall, cap_warning, idempotent FROM ducto_deduct(:ann, :'r', 3, 'late');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'late');
SELECT * FROM pg_temp.members(:'late');

-- Swept it is the same: both sweeps find pools as they find users.
SELECT (SELECT expired_count > 0 AND expired_amount >= 40 FROM ducto_sweep_expired()) AS swept, ducto_expire_reservations() >= 0 AS closed;
SELECT user_id, team_id = :'mist' AS mist, amount, type, balance_after FROM ducto_list_transactions(:'mist', max_rows => 1);
SELECT ducto_balance_at(:'mist', :'before') AS before, ducto_balance_at(:'mist', clock_timestamp()) AS now;
SELECT pg_temp.who(actor), state, remaining FROM ducto.reservations WHERE account_id = :'late' ORDER BY created_at;
SELECT * FROM ducto_verify(:'late');
SELECT * FROM ducto_verify(:'mist');

-- The ledger of a team is the team's: who acted is user_id, and it has pages like any other.
SELECT team_id AS nova FROM ducto_create_team('Nova', 100) \gset
SELECT role FROM ducto_add_team_member(:'nova', :dina);
SELECT role FROM ducto_add_team_member(:'nova', :cleo);
SELECT team_id AS opal FROM ducto_create_team('Opal', 100) \gset
SELECT role FROM ducto_add_team_member(:'opal', :dina);
SELECT new_balance FROM ducto_add_credits(:dina, 100);
SELECT clock_timestamp() AS t0 \gset
SELECT amount FROM ducto_charge(:dina, 1, model => 'own');
SELECT amount FROM ducto_deduct_team(:'nova', :dina, 2, model => 'nova');
SELECT transaction_id AS tx FROM ducto_deduct_team(:'nova', :cleo, 3) \gset
SELECT clock_timestamp() AS t1 \gset
SELECT amount FROM ducto_deduct_team(:'opal', :dina, 4);
SELECT reservation_id AS r FROM ducto_reserve(:dina, 5, min_balance => 0, team_id => :'nova') \gset
SELECT amount FROM ducto_deduct(:dina, :'r', 5);
SELECT amount FROM ducto_charge(:dina, 6);
SELECT clock_timestamp() AS t2 \gset
SELECT amount FROM ducto_refund(:'tx', 1);
SELECT pg_temp.who(user_id), team_id = :'nova' AS nova, amount, type, balance_after, total_count FROM ducto_list_transactions(:'nova');
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', max_rows => 2, skip_rows => 1);
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', before => :'tx');
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', '{usage}', max_rows => 1, skip_rows => 2);
SELECT pg_temp.who(user_id), amount, total_count FROM ducto_list_transactions(:'nova', from_time => :'t1', to_time => :'t2');
SELECT amount, type FROM ducto_list_transactions(:dina);
SELECT pg_temp.attempt(format('SELECT ducto_list_transactions(%L, before => %L)', :'opal', :'tx'));

-- What a user used is found in one list, personal and in teams, the newest first; what others did in the same teams is not in it.
SELECT pg_temp.who(user_id), CASE team_id WHEN :'nova' THEN 'nova' WHEN :'opal' THEN 'opal' END AS team, amount, type, model, balance_after, total_count FROM ducto_list_usage_events(:dina);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, max_rows => 2, skip_rows => 1);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, max_rows => 3, skip_rows => 4);
SELECT amount, total_count FROM ducto_list_usage_events(:dina, :'t1', :'t2');
SELECT amount, total_count FROM ducto_list_usage_events(:dina, to_time => :'t1');
SELECT amount, total_count FROM ducto_list_usage_events(:dina, from_time => :'t1', max_rows => 1);
SELECT count(*) FROM ducto_list_usage_events(:dina, :'t2');
SELECT amount, team_id = :'nova' AS nova FROM ducto_list_usage_events(:cleo, :'t0');

-- A pool has a past like any account.
SELECT ducto_balance_at(:'nova', :'t0') AS t0, ducto_balance_at(:'nova', :'t1') AS t1, ducto_balance_at(:'nova', :'t2') AS t2, ducto_balance_at(:'nova', clock_timestamp()) AS now;

-- A reader needs no lock and no right to write.
BEGIN READ ONLY;
SELECT balance, member_count FROM ducto_get_team_balance(:'nova');
SELECT member, total_spent FROM pg_temp.members(:'nova');
ROLLBACK;

-- A team is no user: where a user is meant, its id is an error that says so, in every function that writes.
SELECT reservation_id AS r FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'kite') \gset
SELECT f.call, pg_temp.attempt('SELECT ' || replace(replace(replace(replace(f.call, ':team', quote_literal(:'kite')), ':other', quote_literal(:'iris')), ':r', quote_literal(:'r')), ':nobody', quote_literal(:nobody))) AS error
FROM (VALUES (1, 'ducto_add_credits(:team, 5)'), (2, 'ducto_add_credits(:team, -5)'), (3, 'ducto_add_credits(:team, 0)'),
	(4, 'ducto_reserve(:team, 5)'), (5, 'ducto_reserve(:team, 5, max_concurrent => 1)'), (6, 'ducto_reserve(:team, 5, team_id => :other)'), (7, 'ducto_reserve(:team, 5, team_id => :team)'),
	(8, 'ducto_deduct(:team, :r, 1)'), (9, 'ducto_deduct(:team, :r, 0)'), (10, 'ducto_deduct(:team, :nobody, 1)'), (11, 'ducto_release(:team, :r)'), (12, 'ducto_renew(:team, :r)'),
	(13, 'ducto_charge(:team, 1)'), (14, 'ducto_charge(:team, 0)'), (15, 'ducto_charge(:team, 1000)'),
	(16, 'ducto_set_user_plan(:team, NULL)'), (17, 'ducto_set_user_plan(:team, ''team-test'')'), (18, 'ducto_increment_usage_window(:team, ''team-test'', 1)'),
	(19, 'ducto_set_spend_cap(:team, ''daily'', 1)'), (20, 'ducto_remove_spend_cap(:team, ''daily'')'),
	(21, 'ducto_reserve_usage(:team, ''{"input_tokens": 1}'')'), (22, 'ducto_reserve_usage(:team, ''{"input_tokens": 1}'', team_id => :other)'),
	(23, 'ducto_charge_usage(:team, ''{"input_tokens": 1}'')'), (24, 'ducto_charge_usage(:team, ''{"input_tokens": 1}'', :r)'),
	(25, 'ducto_add_team_member(:team, :team)'), (26, 'ducto_add_team_member(:other, :team)'), (27, 'ducto_remove_team_member(:other, :team)'), (28, 'ducto_deduct_team(:other, :team, 1)')) f (n, call)
ORDER BY f.n;
SELECT balance, reserved FROM ducto_get_team_balance(:'kite');
SELECT member_count FROM ducto_get_team_balance(:'iris');



SELECT * FROM ducto_verify();
