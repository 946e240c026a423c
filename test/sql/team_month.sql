-- team_month: what is spent for a team knows no plan of the member, and a new month begins at nothing

\set ann '\'7ea40000-0000-4000-8000-0000000000a1\''
\set ben '\'7ea40000-0000-4000-8000-0000000000b2\''
\set cleo '\'7ea40000-0000-4000-8000-0000000000c3\''
\set dina '\'7ea40000-0000-4000-8000-0000000000d4\''
\set nobody '\'7ea40000-0000-4000-8000-0000000000ff\''

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

-- Dina has credits of her own.
SELECT new_balance FROM ducto_add_credits(:dina, 100);
SELECT amount FROM ducto_charge(:dina, 1);

-- The user's own plan, allowance and caps have no part in what is spent for a team, and the member's cap none in what is spent alone.
SELECT version IS NOT NULL AS published, error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens", "gpt": "input_tokens * 2"}, "fixed": {"report": 7}, "min_balance": 5,
	"plans": {"team-test": {"name": "Team test", "free_allowance": 1000, "default_billing_mode": "overdraft", "overdraft_floor": -500, "max_concurrent": 1, "features": {"chat": true},
	"rate_overrides": {"gpt": "input_tokens * 0.5"}}}}');
SELECT team_id AS pine FROM ducto_create_team('Pine', 100) \gset
SELECT role FROM ducto_add_team_member(:'pine', :dina, spend_cap => 80);
SELECT plan_id, error FROM ducto_set_user_plan(:dina, 'team-test');
SELECT cap_limit FROM ducto_set_spend_cap(:dina, 'daily', 11);
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'pine', :dina, 20);
SELECT reservation_id AS r, amount, balance, reserved, available, billing_mode, error FROM ducto_reserve(:dina, 30, team_id => :'pine') \gset
SELECT :'billing_mode' AS billing_mode, :available AS available;
SELECT amount, billing_mode, available, error FROM ducto_reserve(:dina, 20, team_id => :'pine');
SELECT billing_mode, available, error FROM ducto_reserve(:dina, 26, team_id => :'pine');
SELECT amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_deduct(:dina, :'r', 25);
SELECT allowance_used, allowance_remaining FROM ducto_check_allowance(:dina);
SELECT current_spend, cap_limit FROM ducto_list_spend_caps(:dina);
SELECT balance, reserved FROM ducto_get_balance(:dina);
SELECT amount, balance_after, allowance_consumed FROM ducto_charge(:dina, 200);
SELECT allowance_used FROM ducto_check_allowance(:dina);
SELECT * FROM pg_temp.members(:'pine');

-- A refund of what a team paid brings no allowance back.
SELECT id AS tx FROM ducto.ledger WHERE account_id = :'pine' AND amount = -25 \gset
SELECT amount, new_balance, allowance_restored FROM ducto_refund(:'tx');
SELECT allowance_used FROM ducto_check_allowance(:dina);

-- A usage is priced for a team without the member's plan, when it is reserved and when it is charged; a fixed job is only another price.
SELECT team_id AS quay FROM ducto_create_team('Quay', 100) \gset
SELECT role FROM ducto_add_team_member(:'quay', :dina, spend_cap => 60);
SELECT total AS with_plan FROM ducto_price('{"model": "gpt", "input_tokens": 10}', 'team-test');
SELECT reservation_id AS r, amount, balance, reserved, available, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 10}', team_id => :'quay') \gset
SELECT :amount AS amount, :balance AS balance, :reserved AS reserved;
SELECT pg_temp.who(user_id), amount, balance_after, allowance_consumed, cap_warning, error FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 8}', :'r', 'priced');
SELECT amount, balance_after, idempotent FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 1}', :'r', 'priced');
SELECT pg_temp.who(user_id), team_id = :'quay' AS quay, amount, model, reference_id = :'r' AS settles_it FROM ducto_list_transactions(:'quay', max_rows => 1);
SELECT reservation_id AS r, amount, reserved, error FROM ducto_reserve_usage(:dina, '{"fixed_job": "report"}', team_id => :'quay') \gset
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:dina, '{"fixed_job": "report"}', :'r');
SELECT amount, reserved, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 18.6}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:dina, '{"fixed_job": "unknown"}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:cleo, '{"model": "gpt", "input_tokens": 1}', team_id => :'quay');
SELECT reservation_id, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 1}', team_id => :nobody);

-- The price stays the one of the version that it was reserved under.
SELECT reservation_id AS r, amount, error FROM ducto_reserve_usage(:dina, '{"model": "gpt", "input_tokens": 5}', team_id => :'quay') \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 9"}}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:dina, '{"model": "gpt", "input_tokens": 5}', :'r');

-- A price of 0 is a success, of a pool without anything too: a hold of 0, and no entry.
SELECT team_id AS reef FROM ducto_create_team('Reef') \gset
SELECT role FROM ducto_add_team_member(:'reef', :dina, spend_cap => 0);
SELECT reservation_id IS NOT NULL AS held, amount, balance, reserved, error FROM ducto_reserve_usage(:dina, '{"input_tokens": 0}', idempotency_key => 'zero', team_id => :'reef');
SELECT reservation_id AS r FROM ducto_reserve_usage(:dina, '{"input_tokens": 0}', idempotency_key => 'zero', team_id => :'reef') \gset
SELECT transaction_id, amount, balance_after, error FROM ducto_charge_usage(:dina, '{"input_tokens": 0}', :'r');
SELECT count(*) FROM ducto_list_transactions(:'reef');

-- Now last month. age() puts the whole past of a team, which began just now, 31 days back: into a former month.
CREATE FUNCTION pg_temp.age(team uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	span interval = '31 days';
BEGIN
	ALTER TABLE ducto.ledger DISABLE TRIGGER ledger_append_only;
	UPDATE ducto.ledger SET created_at = created_at - span, effective_at = effective_at - span WHERE account_id = team;
	ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;
	UPDATE ducto.accounts SET created_at = created_at - span, updated_at = updated_at - span WHERE id = team;
	UPDATE ducto.reservations SET created_at = created_at - span WHERE account_id = team;
	UPDATE ducto.team_members SET joined_at = joined_at - span, left_at = left_at - span, month = date_trunc('month', (clock_timestamp() - span) AT TIME ZONE 'UTC') WHERE team_id = team;
END $$;
SELECT team_id AS sage FROM ducto_create_team('Sage', 100) \gset
SELECT role FROM ducto_add_team_member(:'sage', :ann, spend_cap => 30);
SELECT role FROM ducto_add_team_member(:'sage', :ben, spend_cap => 30);
SELECT transaction_id AS tx FROM ducto_deduct_team(:'sage', :ann, 18) \gset
SELECT transaction_id AS tx2 FROM ducto_deduct_team(:'sage', :ben, 25) \gset
SELECT reservation_id AS r FROM ducto_reserve(:ann, 10, min_balance => 0, ttl_seconds => 86400, team_id => :'sage') \gset
SELECT pg_temp.age(:'sage');
SELECT * FROM ducto_verify(:'sage');

-- In a new month a member has spent nothing yet, before anything was booked too; what is held is held in any month.
SELECT * FROM pg_temp.members(:'sage');
SELECT error FROM ducto_deduct_team(:'sage', :ann, 20.0001);
SELECT error FROM ducto_reserve(:ann, 20.0001, min_balance => 0, team_id => :'sage');

-- A refund of last month's debit goes into the pool, but gives no room in this month: neither before the first charge of it nor after.
SELECT pg_temp.who(user_id), amount, new_balance, error FROM ducto_refund(:'tx', 8);
SELECT * FROM pg_temp.members(:'sage');
SELECT * FROM ducto_verify(:'sage');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'sage', :ann, 20);
SELECT amount, new_balance, error FROM ducto_refund(:'tx');
SELECT * FROM pg_temp.members(:'sage');
SELECT error FROM ducto_deduct_team(:'sage', :ann, 0.0001);

-- What is reserved in one month and charged in the next is the next one's.
SELECT amount, balance_after, cap_warning, error FROM ducto_deduct(:ann, :'r', 10);
SELECT * FROM pg_temp.members(:'sage');

-- Who comes back in another month starts it anew, and a cap that was used up is open again.
SELECT ducto_remove_team_member(:'sage', :ben);
SELECT role FROM ducto_add_team_member(:'sage', :ben, spend_cap => 30);
SELECT * FROM pg_temp.members(:'sage');
SELECT amount, team_balance_after, error FROM ducto_deduct_team(:'sage', :ben, 30);
SELECT amount, new_balance FROM ducto_refund(:'tx2');
SELECT error FROM ducto_deduct_team(:'sage', :ben, 0.0001);
SELECT * FROM ducto_verify(:'sage');

-- Other tests find no plans and the usual floor.
SELECT plan_id FROM ducto_set_user_plan(:dina, NULL);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 5}');

SELECT * FROM ducto_verify();
