-- checks: the small tables refuse what ducto never writes, whoever writes it, with its triggers off too
\set ada '\'c8ec0000-0000-4000-8000-000000000001\''
\set VERBOSITY terse
SELECT team_id AS team FROM ducto_create_team('Checked', 10, idempotency_key => 'checked') \gset
SELECT error FROM ducto_add_team_member(:'team', :ada, spend_cap => 5);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"checked": {"name": "Checked", "free_allowance": 1}}}');
SET session_replication_role = replica;

-- A name and a key have 1 to 255 characters. What ducto wrote has at most as many bytes, and more of them where it is restored.
UPDATE ducto.teams SET name = '' WHERE id = :'team';
UPDATE ducto.teams SET name = repeat('x', 256) WHERE id = :'team';
UPDATE ducto.team_keys SET idempotency_key = '' WHERE team_id = :'team';
UPDATE ducto.team_keys SET idempotency_key = repeat('x', 256) WHERE team_id = :'team';
UPDATE ducto.plans SET id = '' WHERE id = 'checked';
UPDATE ducto.plans SET id = repeat('x', 256) WHERE id = 'checked';
UPDATE ducto.plans SET name = '' WHERE id = 'checked';
UPDATE ducto.plans SET name = repeat('x', 256) WHERE id = 'checked';

-- Amounts are amounts.
UPDATE ducto.plan_allowances SET free_allowance = -0.0001 WHERE plan_id = 'checked';
UPDATE ducto.plan_allowances SET free_allowance = 'NaN' WHERE plan_id = 'checked';
UPDATE ducto.plan_allowances SET number = 0 WHERE plan_id = 'checked';
UPDATE ducto.plans SET free_allowance = -0.0001 WHERE id = 'checked';
UPDATE ducto.plans SET free_allowance = 100000000000000 WHERE id = 'checked';
UPDATE ducto.plans SET free_allowance = 'NaN' WHERE id = 'checked';
UPDATE ducto.plans SET overdraft_floor = 0.0001 WHERE id = 'checked';
UPDATE ducto.plans SET overdraft_floor = -100000000000000 WHERE id = 'checked';
UPDATE ducto.plans SET overdraft_floor = 'NaN' WHERE id = 'checked';
UPDATE ducto.plans SET max_concurrent = 0 WHERE id = 'checked';
UPDATE ducto.pricing SET min_balance = 'Infinity' WHERE active;
UPDATE ducto.pricing SET min_balance = 'NaN' WHERE active;

-- A pricing is an object, and has a number.
UPDATE ducto.pricing SET config = '[]' WHERE active;
UPDATE ducto.pricing SET version = 0 WHERE active;

-- A plan has the words and the shapes that the pricing may give it.
UPDATE ducto.plans SET default_billing_mode = 'strict_prepaid' WHERE id = 'checked';
UPDATE ducto.plans SET cycle = 'quarter' WHERE id = 'checked';
UPDATE ducto.plan_allowances SET cycle = 'quarter' WHERE plan_id = 'checked';
UPDATE ducto.plans SET features = '[]' WHERE id = 'checked';
UPDATE ducto.plans SET per_operation = 'null' WHERE id = 'checked';
UPDATE ducto.plans SET grants = '{}' WHERE id = 'checked';
UPDATE ducto.plan_allowances SET grants = '{}' WHERE plan_id = 'checked';
UPDATE ducto.plans SET caps = '{}' WHERE id = 'checked';
UPDATE ducto.plans SET alerts = 'null' WHERE id = 'checked';

-- At the edge it is let through, and nothing of it stays.
BEGIN;
UPDATE ducto.teams SET name = repeat(U&'\00e9', 255) WHERE id = :'team';
UPDATE ducto.plan_allowances SET free_allowance = 0 WHERE plan_id = 'checked';
UPDATE ducto.plans SET id = repeat(U&'\00e9', 255), name = repeat(U&'\00e9', 255), free_allowance = 99999999999999.9999, overdraft_floor = -99999999999999.9999,
	max_concurrent = 1, default_billing_mode = 'overdraft', cycle = 'year', alerts = '{}' WHERE id = 'checked';
ROLLBACK;

-- What a charge writes has none, as each would cost it: the audit finds what is wrong there.
BEGIN;
UPDATE ducto.team_members SET role = '', spend_cap = 'NaN' WHERE team_id = :'team';
SELECT regexp_replace(check_name, '[0-9a-f-]{36}', 'ADA') AS check_name, expected, actual FROM ducto_verify();
ROLLBACK;
RESET session_replication_role;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
