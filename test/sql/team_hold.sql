-- team_hold: members reserve from their team's pool, and the caps count what is held

\set ann '\'7ea20000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea20000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea20000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea20000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea20000-0000-4000-8000-0000000000ff\''

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

-- A reservation on the pool is made by the member for the team. What the answer tells is the pool's, and so is the floor.
SELECT team_id AS gate FROM ducto_create_team('Gate', 100) \gset
SELECT role, spend_cap FROM ducto_add_team_member(:'gate', :ann, spend_cap => 60);
SELECT role FROM ducto_add_team_member(:'gate', :ben);
CREATE TEMP TABLE gate AS SELECT * FROM ducto_reserve(:ann, 40, 'chat', '{"a": 1}', 0, model => 'gpt', idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id IS NOT NULL AS held, pg_temp.who(user_id), amount, balance, reserved, available, billing_mode, expires_at > clock_timestamp() AS expires, idempotent, error FROM gate;
SELECT reservation_id AS r FROM gate \gset
SELECT balance, reserved, available FROM ducto_get_team_balance(:'gate');
SELECT balance, reserved FROM ducto_get_balance(:ann);
SELECT account_id = :'gate' AS in_the_pool, pg_temp.who(actor), amount, remaining, operation_type, model, state, metadata FROM ducto.reservations WHERE id = :'r';

-- Its key is the pool's; of another member it is a conflict; the keys of debits are another set.
SELECT reservation_id = :'r' AS same, amount, balance, reserved, available, idempotent, error FROM ducto_reserve(:ann, 1, idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id, amount, balance, reserved, available, idempotent, error FROM ducto_reserve(:ben, 40, idempotency_key => 'gate', team_id => :'gate');
SELECT reservation_id IS NOT NULL AS own, amount, balance, reserved, idempotent, error FROM ducto_reserve(:ann, 4, min_balance => 0, idempotency_key => 'gate');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ben, 10, '{}', 'gate');

-- The cap counts what is spent and what is held: together they reach it, and not more.
SELECT reservation_id, amount, balance, reserved, available, error FROM ducto_reserve(:ann, 20.0001, min_balance => 0, team_id => :'gate');
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 20.0001);
SELECT reservation_id AS r2, amount, reserved FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 5);
SELECT error FROM ducto_deduct_team(:'gate', :ann, 0.0001);
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');
SELECT * FROM pg_temp.members(:'gate');

-- Another's cap is not concerned, only the pool is; where both the cap and the funds are exceeded, the cap is named.
SELECT error FROM ducto_reserve(:ben, 30.0001, min_balance => 0, team_id => :'gate');
SELECT error FROM ducto_reserve(:ann, 31, min_balance => 0, team_id => :'gate');
SELECT reservation_id AS r3, amount, balance, reserved, available, error FROM ducto_reserve(:ben, 30, min_balance => 0, team_id => :'gate') \gset
SELECT released, reason FROM ducto_release(:ben, :'r3');

-- The floor is the active pricing's, or 5 without one, or what the caller says; an overdraft of the pool is the caller's to ask for.
SELECT error FROM ducto_reserve(:ben, 25.0001, team_id => :'gate');
SELECT amount, available, billing_mode, error FROM ducto_reserve(:ben, 25, team_id => :'gate');
SELECT reservation_id AS r4, amount, balance, reserved, available, billing_mode, error FROM ducto_reserve(:ben, 10, billing_mode => 'overdraft', overdraft_floor => -5, team_id => :'gate') \gset
SELECT :available AS available, :'billing_mode' AS billing_mode;
SELECT error FROM ducto_reserve(:ben, 0.0001, billing_mode => 'overdraft', overdraft_floor => -5, team_id => :'gate');
SELECT ducto_reserve(:ben, 1, billing_mode => 'overdraft', team_id => :'gate');
SELECT released FROM ducto_release(:ben, :'r4');
SELECT count(*) FROM ducto.reservations r, LATERAL ducto_release(:ben, r.id) WHERE r.account_id = :'gate' AND actor = :ben AND state = 'open' AND released;

-- Only the member who made it can end it: to the others there is no such reservation.
SELECT transaction_id, amount, error FROM ducto_deduct(:ben, :'r', 1);
SELECT released, reason FROM ducto_release(:ben, :'r');
SELECT error FROM ducto_renew(:ben, :'r');
SELECT transaction_id, amount, error FROM ducto_deduct(:nobody, :'r', 1);
SELECT balance, reserved FROM ducto_get_team_balance(:'gate');

-- A deduct takes what it cost and frees the rest, for the pool and for the cap. The answer's figures are the pool's, and the entry is the member's.
SELECT pg_temp.who(user_id), amount, balance_after, allowance_consumed, shortfall, idempotent, cap_warning, error FROM ducto_deduct(:ann, :'r', 10, 'settle', '{"b": 2}');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'gate');
SELECT * FROM pg_temp.members(:'gate');
SELECT pg_temp.who(user_id), team_id = :'gate' AS gate, amount, type, operation_type, model, reference_id = :'r' AS settles_it, balance_after, idempotency_key, metadata FROM ducto_list_transactions(:'gate', max_rows => 1);
SELECT amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r', 7, 'settle');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 7, 'settle 2');
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r2', 7, 'settle');
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'gate', :ann, 7, '{}', 'settle');
SELECT amount, balance, reserved, available, error FROM ducto_reserve(:ann, 30, min_balance => 0, team_id => :'gate', idempotency_key => 'room');
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');

-- Released, a hold gives its room back; renewed, it keeps it.
SELECT reservation_id = :'r2' AS same, amount, balance, reserved, available, error FROM ducto_renew(:ann, :'r2', 3600);
SELECT released, reason FROM ducto_release(:ann, :'r2');
SELECT released, reason FROM ducto_release(:ann, :'r2');
SELECT released, reason FROM ducto_release(:ann, :'r');
SELECT amount, balance, reserved, available, error FROM ducto_renew(:ann, :'r2');
SELECT reservation_id AS r2, reserved, error FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');

-- A deduct of 0 closes without a charge; its key is remembered.
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r2', 0, 'nothing');
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_deduct(:ann, :'r2', 5, 'nothing');
SELECT transaction_id, amount, error FROM ducto_deduct_team(:'gate', :ann, 5, '{}', 'nothing');
SELECT reserved FROM ducto_get_team_balance(:'gate');

-- Streaming: parts are taken from the hold, and spent and held together stay what was admitted.
SELECT reservation_id AS r2, reserved, error FROM ducto_reserve(:ann, 15, min_balance => 0, team_id => :'gate') \gset
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r2', 4, final => false);
SELECT balance, reserved FROM ducto_get_team_balance(:'gate');
SELECT total_spent, (SELECT held FROM ducto.team_members WHERE team_id = :'gate' AND user_id = :ann) AS held FROM ducto_get_team_members(:'gate') WHERE user_id = :ann;
SELECT error FROM ducto_reserve(:ann, 0.0001, min_balance => 0, team_id => :'gate');
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r2', 11, final => false);
SELECT state, remaining FROM ducto.reservations WHERE id = :'r2';
SELECT released FROM ducto_release(:ann, :'r2');
SELECT total_spent, (SELECT held FROM ducto.team_members WHERE team_id = :'gate' AND user_id = :ann) AS held FROM ducto_get_team_members(:'gate') WHERE user_id = :ann;
SELECT * FROM ducto_verify(:'gate');

-- The work is done: no cap blocks what it cost, also beyond the hold, and the answer warns. What the pool lacks is for overrun to decide.
SELECT team_id AS hall FROM ducto_create_team('Hall', 100) \gset
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 10);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 8, min_balance => 0, team_id => :'hall') \gset
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 15, 'over');
SELECT amount, balance_after, cap_warning, idempotent FROM ducto_deduct(:ann, :'r', 15, 'over');
SELECT * FROM pg_temp.members(:'hall');
SELECT error FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'hall');
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 25);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 20, team_id => :'hall') \gset
SELECT transaction_id, amount, balance_after, error FROM ducto_deduct(:ann, :'r', 65.0001);
SELECT reserved FROM ducto_get_team_balance(:'hall');
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 70, overrun => 'clamp');
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 90);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT amount, balance_after, shortfall, cap_warning, error FROM ducto_deduct(:ann, :'r', 30, overrun => 'full');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'hall');
SELECT * FROM pg_temp.members(:'hall');
SELECT error FROM ducto_deduct_team(:'hall', :ann, 0.0001);
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 1000);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'hall', :ann, 0.0001);

-- Within the cap there is no warning; lowered under what a hold was admitted with, it warns and does not block.
SELECT new_balance FROM ducto_add_team_credits(:'hall', 110);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'hall') \gset
SELECT amount, cap_warning, error FROM ducto_deduct(:ann, :'r', 10);
SELECT spend_cap FROM ducto_add_team_member(:'hall', :ann, spend_cap => 0);
SELECT amount, cap_warning, error FROM ducto_deduct(:ann, :'r2', 10);

-- max_concurrent counts the pool's open reservations of that operation type, whoever made them; it comes before the cap.
SELECT team_id AS iris FROM ducto_create_team('Iris', 100) \gset
SELECT role FROM ducto_add_team_member(:'iris', :ann, spend_cap => 10);
SELECT role FROM ducto_add_team_member(:'iris', :ben);
SELECT reservation_id AS r, error FROM ducto_reserve(:ben, 1, 'agent', max_concurrent => 1, team_id => :'iris') \gset
SELECT reservation_id, reserved, error FROM ducto_reserve(:ann, 11, 'agent', max_concurrent => 1, team_id => :'iris');
SELECT reserved, error FROM ducto_reserve(:ann, 1, 'chat', max_concurrent => 1, team_id => :'iris');
SELECT reserved, error FROM ducto_reserve(:ann, 1, 'agent', max_concurrent => 2, team_id => :'iris');
SELECT released FROM ducto_release(:ben, :'r');
SELECT reserved, error FROM ducto_reserve(:ben, 1, 'agent', max_concurrent => 2, team_id => :'iris');

-- There must be a team and a member to reserve, too.
SELECT reservation_id, pg_temp.who(user_id), amount, balance, reserved, available, expires_at, idempotent, error FROM ducto_reserve(:ann, 1, team_id => :nobody);
SELECT reservation_id, error FROM ducto_reserve(:ann, 1, team_id => :ann);
SELECT reservation_id, pg_temp.who(user_id), amount, balance, reserved, available, expires_at, idempotent, error FROM ducto_reserve(:cleo, 1, team_id => :'iris');
SELECT reservation_id, error FROM ducto_reserve(:cleo, 1000, 'agent', max_concurrent => 1, team_id => :'iris');

-- A feature is a plan's, and a team has none.
SELECT ducto_reserve(:ann, 1, required_feature => 'chat', team_id => :'iris');

-- Who leaves with an open hold may still settle it: the work goes on. Nothing new is admitted, and the entries stay.
SELECT team_id AS jazz FROM ducto_create_team('Jazz', 100) \gset
SELECT role FROM ducto_add_team_member(:'jazz', :ann, spend_cap => 40);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT reservation_id AS r2 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz', idempotency_key => 'r2') \gset
SELECT reservation_id AS r3 FROM ducto_reserve(:ann, 10, min_balance => 0, team_id => :'jazz') \gset
SELECT transaction_id AS tx FROM ducto_deduct_team(:'jazz', :ann, 6) \gset
SELECT ducto_remove_team_member(:'jazz', :ann);
SELECT balance, reserved, available, member_count FROM ducto_get_team_balance(:'jazz');
SELECT error FROM ducto_deduct_team(:'jazz', :ann, 1);
SELECT error FROM ducto_reserve(:ann, 1, min_balance => 0, team_id => :'jazz');
SELECT reservation_id = :'r2' AS same, idempotent, error FROM ducto_reserve(:ann, 10, team_id => :'jazz', idempotency_key => 'r2');
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r', 8);
SELECT amount, reserved, error FROM ducto_renew(:ann, :'r2');
SELECT amount, balance_after, error FROM ducto_deduct(:ann, :'r2', 12, final => false);
SELECT released, reason FROM ducto_release(:ann, :'r3');
SELECT amount, new_balance FROM ducto_refund(:'tx');
SELECT pg_temp.who(user_id), amount, type, balance_after FROM ducto_list_transactions(:'jazz');
SELECT * FROM pg_temp.members(:'jazz');
SELECT * FROM ducto_verify(:'jazz');

-- Back again, what was spent and is held meanwhile counts.
SELECT role FROM ducto_add_team_member(:'jazz', :ann, spend_cap => 40);
SELECT * FROM pg_temp.members(:'jazz');
SELECT error FROM ducto_deduct_team(:'jazz', :ann, 20.0001);
SELECT amount, error FROM ducto_deduct_team(:'jazz', :ann, 20);

SELECT * FROM ducto_verify();
