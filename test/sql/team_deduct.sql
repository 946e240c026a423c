-- team_deduct: members spend from their team's pool, up to their caps, once for each key

\set ann '\'7ea10000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea10000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea10000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea10000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea10000-0000-4000-8000-0000000000ff\''

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
SELECT new_balance FROM ducto_add_credits(:ann, 50);

-- ducto_deduct_team charges the pool and names the member, with what the caller wants to be kept; metadata changes nothing in that.
SELECT team_id AS dev FROM ducto_create_team('Dev', 100) \gset
SELECT role FROM ducto_add_team_member(:'dev', :ann);
SELECT role FROM ducto_add_team_member(:'dev', :ben, spend_cap => 30);
SELECT transaction_id IS NOT NULL AS booked, team_id = :'dev' AS dev, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :ann, 1.00005, '{"job": 7}', 'job 7', 'gpt');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ann, 1, NULL);
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ben, 1, '{}');
SELECT amount, team_balance_after FROM ducto_deduct_team(:'dev', :ben, 1, '{"user_id": "x", "model": "y", "idempotency_key": "z", "team_id": 1}', NULL, NULL);
SELECT pg_temp.who(user_id), team_id = :'dev' AS dev, amount, type, operation_type, model, reference_id, balance_after, allowance_consumed, idempotency_key, metadata FROM ducto_list_transactions(:'dev', '{usage}');
SELECT * FROM pg_temp.members(:'dev');

-- Its amount is positive, and its arguments are those that it says.
SELECT ducto_deduct_team(:'dev', :ann, 0);
SELECT ducto_deduct_team(:'dev', :ann, -1);
SELECT ducto_deduct_team(:'dev', :ann, 0.00004);
SELECT ducto_deduct_team(:'dev', :ann, 'NaN');
SELECT ducto_deduct_team(:'dev', :ann, NULL);
SELECT ducto_deduct_team(NULL, :ann, 1);
SELECT ducto_deduct_team(:'dev', NULL, 1);
SELECT ducto_deduct_team(:'dev', :ann, 1, '[]');
SELECT ducto_deduct_team(:'dev', :ann, 1, '"x"');
SELECT ducto_deduct_team(:'dev', :ann, 1, '{}', '');
SELECT ducto_deduct_team(:'dev', :ann, 1, '{}', NULL, '');
SELECT balance FROM ducto_get_team_balance(:'dev');

-- It takes what is available, to the last of it and no further.
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 96);
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :ann, 95.99995);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 95.9999);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 0.0001);

-- What members hold is not available to others, nor to themselves.
SELECT new_balance FROM ducto_add_team_credits(:'dev', 50);
SELECT reservation_id AS r FROM ducto_reserve(:ann, 20, min_balance => 0, team_id => :'dev') \gset
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 30.0001);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 30);
SELECT new_balance, error FROM ducto_add_team_credits(:'dev', -1, 'adjustment');
SELECT balance, reserved, available FROM ducto_get_team_balance(:'dev');
SELECT released FROM ducto_release(:ann, :'r');

-- There must be a team, and the user must be in it; else nothing happens. The team is asked for first.
SELECT * FROM ducto_deduct_team(:nobody, :ann, 5);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:ann, :ann, 5);
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'dev', :cleo, 5);
SELECT transaction_id, team_balance_after, error FROM ducto_deduct_team(:'dev', :cleo, 5000);
SELECT balance FROM ducto_get_team_balance(:'dev');

-- A cap lets through what reaches it exactly. Where the cap and the funds are both exceeded, the cap is named.
SELECT * FROM pg_temp.members(:'dev') WHERE member = 'ben';
SELECT new_balance FROM ducto_add_team_credits(:'dev', 30);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 28.0001);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 5000);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ann, 5000);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 28);
SELECT transaction_id, amount, team_balance_after, error FROM ducto_deduct_team(:'dev', :ben, 0.0001);
SELECT * FROM pg_temp.members(:'dev');

-- A cap can be moved under what was spent: then nothing goes until it is raised again. A cap of 0 lets nothing through.
SELECT spend_cap FROM ducto_add_team_member(:'dev', :ben, spend_cap => 10);
SELECT error FROM ducto_deduct_team(:'dev', :ben, 0.0001);
SELECT spend_cap FROM ducto_add_team_member(:'dev', :ben, spend_cap => 31);
SELECT amount, error FROM ducto_deduct_team(:'dev', :ben, 1);
SELECT spend_cap FROM ducto_add_team_member(:'dev', :cleo, spend_cap => 0);
SELECT error FROM ducto_deduct_team(:'dev', :cleo, 0.0001);

-- A retry gets the original figures, whatever happened since: credits, more charges, a cap that is used up, the member's leaving.
SELECT team_id AS echo FROM ducto_create_team('Echo', 100) \gset
SELECT role FROM ducto_add_team_member(:'echo', :ann, spend_cap => 10);
SELECT role FROM ducto_add_team_member(:'echo', :ben);
SELECT transaction_id AS tx, amount, team_balance_after FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k') \gset
SELECT new_balance FROM ducto_add_team_credits(:'echo', 60);
SELECT team_balance_after FROM ducto_deduct_team(:'echo', :ben, 149, '{}', 'most');
SELECT transaction_id = :'tx' AS same, team_id = :'echo' AS echo, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 5555, '{"other": true}', 'k', 'other');
SELECT ducto_remove_team_member(:'echo', :ann);
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');
SELECT transaction_id, amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 0.5, '{}', 'k2');
SELECT role FROM ducto_add_team_member(:'echo', :ann);
SELECT amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ann, 0.5, '{}', 'k2');

-- One key is one thing: not another member's charge, not a credit, not a refund, and a credit's or a refund's is no charge's.
SELECT transaction_id, pg_temp.who(user_id), amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'echo', :ben, 0.1, '{}', 'k');
SELECT transaction_id, amount, new_balance, idempotent, error FROM ducto_add_team_credits(:'echo', 1, idempotency_key => 'k');
SELECT refund_transaction_id, new_balance, error FROM ducto_refund(:'tx', 1, idempotency_key => 'k');
SELECT new_balance FROM ducto_add_team_credits(:'echo', 1, idempotency_key => 'credit');
SELECT error FROM ducto_deduct_team(:'echo', :ben, 0.1, '{}', 'credit');
SELECT amount, error FROM ducto_refund(:'tx', 1, idempotency_key => 'refund');
SELECT error FROM ducto_deduct_team(:'echo', :ann, 0.1, '{}', 'refund');
SELECT balance FROM ducto_get_team_balance(:'echo');

-- The same key on two teams, and of the member's own account, are three keys.
SELECT team_id AS foxy FROM ducto_create_team('Foxy', 100) \gset
SELECT role FROM ducto_add_team_member(:'foxy', :ann);
SELECT amount, team_balance_after, idempotent FROM ducto_deduct_team(:'foxy', :ann, 10, '{}', 'k');
SELECT amount, balance_after, idempotent FROM ducto_charge(:ann, 10, 'k');
SELECT transaction_id = :'tx' AS same, amount, team_balance_after, idempotent FROM ducto_deduct_team(:'echo', :ann, 10, '{}', 'k');

-- Only a success is remembered: a key that was rejected with may be used again.
SELECT error FROM ducto_deduct_team(:'foxy', :ben, 10, '{}', 'again');
SELECT role FROM ducto_add_team_member(:'foxy', :ben, spend_cap => 20);
SELECT error FROM ducto_deduct_team(:'foxy', :ben, 21, '{}', 'again');
SELECT error FROM ducto_deduct_team(:'foxy', :ann, 91, '{}', 'again');
SELECT amount, team_balance_after, idempotent, error FROM ducto_deduct_team(:'foxy', :ben, 20, '{}', 'again');

-- A cap of the pool that warns is told where the answer has room for it, the same in a retry.
SELECT role FROM ducto_add_team_member(:'foxy', :cleo);
SELECT new_balance FROM ducto_add_team_credits(:'foxy', 100);
SELECT cap_limit, action FROM ducto_set_spend_cap(:'foxy', 'total', 1, 'warn');
SELECT amount, error FROM ducto_deduct_team(:'foxy', :cleo, 1);
SELECT amount, allowance_consumed, shortfall, idempotent, cap_warning, error
	FROM ducto_charge_many(format('[{"team_id": %1$s, "user_id": %2$s, "amount": 2, "idempotency_key": "warned"}]', to_json(:'foxy'::text), to_json(:cleo::text))::jsonb);
SELECT amount, allowance_consumed, shortfall, idempotent, cap_warning, error
	FROM ducto_charge_many(format('[{"team_id": %1$s, "user_id": %2$s, "amount": 2, "idempotency_key": "warned"}]', to_json(:'foxy'::text), to_json(:cleo::text))::jsonb);

-- A rejection can be an exception, with its own SQLSTATE.
SET ducto.rejections = 'raise';
SELECT pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :nobody, :ann)) AS team,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :'foxy', :dina)) AS member,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1)', :'foxy', :ben)) AS cap,
	pg_temp.attempt(format('SELECT ducto_deduct_team(%L, %L, 1000)', :'foxy', :ann)) AS funds,
	pg_temp.attempt(format('SELECT ducto_get_team_balance(%L)', :nobody)) AS read;
RESET ducto.rejections;

SELECT * FROM ducto_verify();
