-- The auditor sees what the tables can show: each column of each table is edited as a superuser could, with the triggers off,
-- and ducto_verify names the edit, or the list of what cannot be seen has the column. In a database of its own, which has a
-- life of everything in it.
\pset null -
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP DATABASE IF EXISTS regress_ducto_mutation;
CREATE DATABASE regress_ducto_mutation TEMPLATE template0;
\set regression :DBNAME
\c regress_ducto_mutation
\set ada '\'ada70000-0000-4000-8000-000000000001\''
\set bob '\'ada70000-0000-4000-8000-000000000002\''
\set cat '\'ada70000-0000-4000-8000-000000000003\''
\set dan '\'ada70000-0000-4000-8000-000000000004\''
\set eve '\'ada70000-0000-4000-8000-000000000005\''
\set gil '\'ada70000-0000-4000-8000-000000000007\''
\set fay '\'ada70000-0000-4000-8000-000000000006\''
CREATE EXTENSION ducto;
SET datestyle = 'ISO, YMD';

-- Two versions of the pricing; the plan "old" is in the first alone, "free" has had two allowances.
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0,
	"plans": {"pro": {"name": "Pro", "free_allowance": 30}, "free": {"name": "Free", "free_allowance": 1}, "old": {"name": "Old"}}}', 'first');
SELECT version FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0,
	"plans": {"pro": {"name": "Pro", "free_allowance": 30, "max_concurrent": 90, "caps": [{"cap_type": "weekly", "cap_limit": 900}]}, "free": {"name": "Free", "free_allowance": 2}}}', 'second');

-- Ada: a plan, caps, grants of which one has expired, debits of each kind, refunds, holds in each state.
SELECT plan_id FROM ducto_set_user_plan(:ada, 'pro');
SELECT new_balance FROM ducto_add_credits(:ada, 5, 'promo', expires_at => clock_timestamp() + interval '0.3 s');
SELECT pg_sleep(0.4);
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT new_balance FROM ducto_add_credits(:ada, 50, 'promo', expires_at => '2222-02-02', priority => 7);
SELECT new_balance FROM ducto_add_credits(:ada, 3, 'promo');
SELECT new_balance FROM ducto_add_credits(:ada, -1, 'adjustment', idempotency_key => 'less');
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'daily', 1000);
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'monthly', 1000, model => 'large');
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'session', 1000, window_length => '5 hours');
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'sliding', 1000, window_length => '5 hours');
SELECT amount, allowance_consumed FROM ducto_charge_usage(:ada, '{"model": "large", "input_tokens": 40}');
SELECT transaction_id AS id FROM ducto_charge(:ada, 8, idempotency_key => 'eight', model => 'large') \gset eight_
SELECT amount FROM ducto_refund(:'eight_id', 2);
SELECT id FROM ducto.ledger WHERE pricing IS NOT NULL \gset priced_
SELECT amount, allowance_restored FROM ducto_refund(:'priced_id', 15);
SELECT transaction_id AS id FROM ducto_add_credits(:ada, 20, 'purchase') \gset charged_back_
SELECT amount, lifetime_purchased FROM ducto_reverse_credits(:'charged_back_id', 5);
SELECT reservation_id AS id FROM ducto_reserve(:ada, 6) \gset settled_
SELECT amount, allowance_consumed FROM ducto_deduct(:ada, :'settled_id', 4);
SELECT reservation_id AS id FROM ducto_reserve(:ada, 6) \gset zero_
SELECT amount FROM ducto_deduct(:ada, :'zero_id', 0, 'zero');
SELECT reservation_id AS id FROM ducto_reserve(:ada, 2) \gset released_
SELECT reason FROM ducto_release(:ada, :'released_id');
SELECT reservation_id AS id FROM ducto_reserve(:ada, 9, model => 'large', ttl_seconds => 86400) \gset open_
SELECT amount FROM ducto_deduct(:ada, :'open_id', 3, final => false, skip_allowance => true);
SELECT reservation_id AS id FROM ducto_reserve(:ada, 1, skip_allowance => true, ttl_seconds => 86400) \gset skips_
-- Bob: no more than credits. A team with a member, one who left, and keys. Eve comes later.
SELECT new_balance FROM ducto_add_credits(:bob, 10);
SELECT amount FROM ducto_charge(:bob, 1, model => 'small');
SELECT reservation_id AS id FROM ducto_reserve(:bob, 1, ttl_seconds => 1) \gset expired_
SELECT team_id AS id FROM ducto_create_team('Team', 100, 'made') \gset team_
SELECT team_id AS id FROM ducto_create_team('Other', 0, 'made too') \gset other_
SELECT error FROM ducto_add_team_member(:'team_id', :cat, 'owner', 50);
SELECT error FROM ducto_add_team_member(:'team_id', :dan);
SELECT balance FROM ducto_set_alerts(:'team_id', '{99}');
SELECT amount FROM ducto_deduct_team(:'team_id', :cat, 2);
SELECT amount FROM ducto_deduct_team(:'team_id', :dan, 1);
SELECT ducto_remove_team_member(:'team_id', :dan);
SELECT reservation_id AS id FROM ducto_reserve(:cat, 4, team_id => :'team_id', ttl_seconds => 86400) \gset teams_
SELECT pg_sleep(1.1);
SELECT amount FROM ducto_charge(:bob, 1);
-- Fay: a price that four decimals cannot say.
SELECT new_balance FROM ducto_add_credits(:fay, 10);
SELECT transaction_id AS id FROM ducto_charge_usage(:fay, '{"model": "small", "input_tokens": 0.25003}', idempotency_key => 'cheap') \gset cheap_
-- Lines of two models.
SELECT reservation_id AS id FROM ducto_reserve(:fay, 5, model => 'small', ttl_seconds => 86400) \gset block_
SELECT transaction_id AS id FROM ducto_settle(:fay, :'block_id', '[{"key": "one", "amount": 1}, {"key": "two", "amount": 2, "model": "large"},
	{"key": "three", "usage": {"model": "large", "input_tokens": 0.25}, "metadata": {"to": "us"}}]') \gset lines_
SELECT balance FROM ducto_set_alerts(:fay, '{1}');
-- Gil: alerts, and a top-up that is due.
SELECT expiring_days FROM ducto_set_alerts(:gil, '{50, 10}', '{80}', '{90}', 7);
SELECT new_balance FROM ducto_add_credits(:gil, 60);
SELECT topup_below FROM ducto_set_auto_topup(:gil, 20, 100, 3);
SELECT amount FROM ducto_charge(:gil, 45);
SELECT count(*), ducto_ack_events(array_agg(id)) FROM ducto_take_events(kinds => '{balance_low}');
-- What runs elsewhere, autovacuum say, makes the rollup wait.
CREATE PROCEDURE roll_up() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..3000 LOOP
		PERFORM ducto_rollup();
		COMMIT;
		IF NOT EXISTS (SELECT FROM ducto.ledger l, ducto.usage_rollup r WHERE r.hours = 0 AND l.xact >= r.next_xact) THEN
			RETURN;
		END IF;
		PERFORM pg_sleep(0.01);
	END LOOP;
	RAISE 'the rollup waits for a transaction of this cluster, which has been running for 30 seconds';
END $$;
CALL roll_up();
SELECT new_balance FROM ducto_add_credits(:bob, 2, 'promo');
SELECT amount FROM ducto_charge(:bob, 0.5, 'last', model => 'small');
SELECT * FROM ducto_verify();

INSERT INTO ducto.test_clock (ahead) VALUES ('0');

-- The triggers are off from here on. An edit is a statement with the words of the life above, and is taken back.
DO $$
DECLARE
	its name;
BEGIN
	FOR its IN SELECT tablename FROM pg_tables WHERE schemaname = 'ducto' LOOP
		EXECUTE format('ALTER TABLE ducto.%I DISABLE TRIGGER USER', its);
	END LOOP;
END $$;
CREATE TABLE word (word text, means text);
INSERT INTO word VALUES ('ADA', :ada), ('BOB', :bob), ('CAT', :cat), ('DAN', :dan), ('EVE', :eve), ('FAY', :fay), ('GIL', :gil), ('CHEAP', :'cheap_id'), ('LINES', :'lines_id'), ('TEAM', :'team_id'), ('OTHER', :'other_id'),
	('PRICED', :'priced_id'), ('EIGHT', :'eight_id'), ('SETTLED', :'settled_id'), ('ZERO', :'zero_id'), ('RELEASED', :'released_id'),
	('OPEN', :'open_id'), ('SKIPS', :'skips_id'), ('EXPIRED', :'expired_id'), ('TEAMS', :'teams_id'), ('NOBODY', 'ada70000-0000-4000-8000-0000000000ff');

CREATE FUNCTION edit(tab text, col text, value text, which text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	statement text := format('UPDATE ducto.%I SET %I = %s WHERE %s', tab, col, value, which);
	its record;
	rows bigint;
	found text;
BEGIN
	FOR its IN SELECT * FROM word LOOP
		statement := regexp_replace(statement, '\m' || its.word || '\M', quote_literal(its.means), 'g');
	END LOOP;
	BEGIN
		EXECUTE statement;
		GET DIAGNOSTICS rows = ROW_COUNT;
		-- The rollup's names have times in them, those of entries and holds ids, and an entry's place.
		SELECT string_agg(DISTINCT regexp_replace(regexp_replace(regexp_replace(check_name, '[0-9a-f]{8}-[-0-9a-f]{27}', 'ID', 'g'),
			'^(rollup|books) of .*', '\1'), ' \d+$', ' N'), ', ') INTO found FROM ducto_verify();
		RAISE SQLSTATE 'ZZZZZ';
	EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	WHEN check_violation THEN
		RETURN 'refused';
	END;
	RETURN CASE rows WHEN 0 THEN 'NO ROW' ELSE found END;
END $$;

CREATE TABLE seen (tab text, col text, value text, which text);
CREATE TABLE unseen (tab text, col text, value text, which text, why text);
INSERT INTO seen VALUES
('accounts', 'id', 'NOBODY', 'id = BOB'),
('accounts', 'kind', '''team''', 'id = BOB'),
('accounts', 'kind', '''user''', 'id = TEAM'),
('accounts', 'balance', 'balance + 1', 'id = BOB'),
('accounts', 'held', 'held + 1', 'id = ADA'),
('accounts', 'expiring', '0', 'id = ADA'),
('accounts', 'lifetime_purchased', '0', 'id = ADA'),
('accounts', 'next_boundary', '''infinity''', 'id = ADA'),
('accounts', 'last_seq', 'last_seq + 1', 'id = BOB'),
('accounts', 'closing_keys', 'NOT closing_keys', 'id IN (ADA, BOB)'),
('accounts', 'plan_id', '''nope''', 'id = ADA'),
('accounts', 'plan_id', '''free''', 'id = BOB'),
('accounts', 'anchor', '''infinity''', 'id = BOB'),
('accounts', 'anchor', '''2026-01-31''', 'id = TEAM'),
('accounts', 'zone', '''Mars/Olympus''', 'id = BOB'),
('accounts', 'zone', '''Europe/Berlin''', 'id = TEAM'),
('accounts', 'cycle_start', 'NULL', 'id = ADA'),
('accounts', 'cycle_start', 'cycle_start - interval ''40 days''', 'id = ADA'),
('accounts', 'cycle_end', 'NULL', 'id = ADA'),
('accounts', 'cycle_end', 'cycle_end + interval ''40 days''', 'id = ADA'),
('accounts', 'allowance_used', '0', 'id = ADA'),
('accounts', 'allowance_used', '-1', 'id = BOB'),
('accounts', 'held_from_credits', '0', 'id = ADA'),
('accounts', 'promised', '-1', 'id = ADA'),
('accounts', 'promised', '100', 'id = ADA'),
('accounts', 'carry', '0', 'id = FAY'),
('accounts', 'carry', '0.00001', 'id = BOB'),
('accounts', 'caps', '0', 'id = ADA'),
('accounts', 'plain', 'NOT plain', 'id IN (ADA, BOB)'),
('accounts', 'ended_until', 'now() + interval ''30 days''', 'id = ADA'),
('accounts', 'chain_head', '''\x00''', 'id = BOB'),
('accounts', 'ahead_until', '''infinity''', 'id = BOB'),
('accounts', 'updated_at', 'updated_at + interval ''1 day''', 'id = BOB'),
('accounts', 'last_event', '1', 'id = GIL'),
('accounts', 'alert_below', '5', 'id = GIL'),
('accounts', 'alert_below', '1', 'id = BOB'),
('alerts', 'account_id', 'NOBODY', 'account_id = GIL'),
('alerts', 'balance', '''{10, 50}''', 'account_id = GIL'),
('alerts', 'balance', '''{14}''', 'account_id = GIL'),
('alerts', 'allowance_percent', '''{0}''', 'account_id = GIL'),
('alerts', 'cap_percent', '''{101}''', 'account_id = GIL'),
('alerts', 'expiring_days', '-1', 'account_id = GIL'),
('alerts', 'topup_below', 'NULL', 'account_id = GIL'),
('alerts', 'topup_amount', '0', 'account_id = GIL'),
('alerts', 'topup_max_per_month', '0', 'account_id = GIL'),
('alerts', 'topup_due_key', 'NULL', 'account_id = GIL'),
('alerts', 'topup_month', 'topup_month + 1', 'account_id = GIL'),
('alerts', 'topup_count', '0', 'account_id = GIL'),
('alerts', 'told', 'true', 'account_id = FAY'),
('events', 'account_id', 'BOB', 'account_id = GIL AND number = 2'),
('events', 'number', '9', 'account_id = GIL AND number = 2'),
('events', 'user_id', 'BOB', 'account_id = GIL AND number = 2'),
('events', 'user_id', 'BOB', 'account_id = TEAM'),
('events', 'team_id', 'TEAM', 'account_id = GIL AND number = 2'),
('events', 'team_id', 'NULL', 'account_id = TEAM'),
('events', 'kind', '''other''', 'account_id = GIL AND number = 2'),
('events', 'payload', '''{"seq": 1, "balance": 1}''', 'account_id = GIL AND number = 2'),
('events', 'attempt', '-1', 'account_id = GIL AND number = 2'),
('events', 'visible_at', '''infinity''', 'account_id = GIL AND number = 2'),
('events', 'acked_at', '''infinity''', 'account_id = GIL AND number = 2'),
('events', 'created_at', '''infinity''', 'account_id = GIL AND number = 2'),
('grants', 'account_id', 'BOB', 'account_id = ADA AND live'),
('grants', 'id', 'NOBODY', 'account_id = ADA AND live'),
('grants', 'seq', '0', 'account_id = ADA AND live'),
('grants', 'type', '''purchase''', 'account_id = ADA AND live'),
('grants', 'amount', 'amount + 1', 'account_id = ADA AND live'),
('grants', 'remaining', 'remaining + 1', 'account_id = ADA AND live'),
('grants', 'priority', '99', 'account_id = ADA AND live'),
('grants', 'expires_at', 'expires_at + interval ''1 year''', 'account_id = ADA AND live'),
('grants', 'expires_at', '''infinity''', 'account_id = ADA AND live'),
('grants', 'rolls_to', '''2126-01-01''', 'account_id = ADA AND live'),
('grants', 'rollover', '1', 'account_id = ADA AND live'),
('ledger', 'cycle_end', '''2026-01-01''', 'id = EIGHT'),
('grants', 'created_at', 'created_at + interval ''1 us''', 'account_id = ADA AND live'),
('grants', 'live', 'NOT live', 'account_id = ADA'),
('ledger', 'account_id', 'NOBODY', 'account_id = BOB AND seq = 1'),
('ledger', 'seq', '99', 'account_id = BOB AND seq = 2'),
('ledger', 'id', 'EIGHT', 'account_id = BOB AND seq = 2'),
('ledger', 'amount', 'amount - 1', 'account_id = BOB AND seq = 2'),
('ledger', 'balance_after', 'balance_after - 1', 'account_id = BOB AND seq = 2'),
('ledger', 'type', '''gift''', 'account_id = BOB AND seq = 1'),
('ledger', 'type', '''adjustment''', 'account_id = BOB AND seq = 2'),
('ledger', 'type', '''promo''', 'account_id = ADA AND type = ''purchase'' AND amount = 100'),
('ledger', 'type', '''promo''', 'account_id = ADA AND type = ''refund'''),
('ledger', 'operation_type', '''other''', 'reference = SETTLED'),
('ledger', 'operation_type', '''other''', 'account_id = BOB AND seq = 1'),
('ledger', 'actor', 'NOBODY', 'account_id = TEAM AND actor = CAT'),
('ledger', 'actor', 'NULL', 'account_id = TEAM AND actor = CAT'),
('ledger', 'actor', 'CAT', 'account_id = BOB AND seq = 2'),
('ledger', 'model', 'NULL', 'id = EIGHT'),
('ledger', 'model', '''other''', 'account_id = BOB AND seq = 2'),
('ledger', 'reference', 'NOBODY', 'account_id = ADA AND type = ''refund'''),
('ledger', 'reference', 'NULL', 'account_id = ADA AND type = ''expiry'''),
('ledger', 'reference', 'NOBODY', 'account_id = ADA AND type = ''reversal'''),
('ledger', 'amount', '-amount', 'account_id = ADA AND type = ''reversal'''),
('ledger', 'reference', 'NOBODY', 'account_id = ADA AND type = ''promo'''),
('ledger', 'reference', 'NOBODY', 'reference = SETTLED'),
('ledger', 'reference', 'SETTLED', 'reference = OPEN'),
('ledger', 'allowance_consumed', 'allowance_consumed + 1', 'id = PRICED'),
('ledger', 'allowance_consumed', 'allowance_consumed - 100', 'account_id = ADA AND type = ''refund'' AND allowance_consumed <> 0'),
('ledger', 'allowance_consumed', '1', 'account_id = ADA AND type = ''purchase'' AND amount = 100'),
('ledger', 'shortfall', '5', 'id = PRICED'),
('ledger', 'shortfall', '-5', 'id = EIGHT'),
('ledger', 'shortfall', '5', 'account_id = BOB AND seq = 1'),
('ledger', 'cap_warning', '''ask''', 'id = EIGHT'),
('ledger', 'cap_warning', '''warn''', 'account_id = BOB AND seq = 1'),
('ledger', 'burned_grants', 'NULL', 'id = EIGHT'),
('ledger', 'burned_grants', 'ARRAY[NOBODY]::uuid[]', 'id = EIGHT'),
('ledger', 'burned_amounts', 'ARRAY[1]', 'id = EIGHT'),
('ledger', 'burned_amounts', 'ARRAY[100]', 'id = EIGHT'),
('ledger', 'lifetime_purchased', '7', 'account_id = ADA AND type = ''purchase'' AND amount = 100'),
('ledger', 'lifetime_purchased', '100', 'id = EIGHT'),
('ledger', 'expires_at', 'expires_at + interval ''1 day''', 'account_id = ADA AND expires_at > ''2200-01-01'''),
('ledger', 'expires_at', 'NULL', 'account_id = ADA AND expires_at > ''2200-01-01'''),
('ledger', 'expires_at', '''2222-02-02''', 'account_id = ADA AND type = ''purchase'' AND amount = 100'),
('ledger', 'priority', '8', 'account_id = ADA AND priority = 7'),
('ledger', 'priority', '8', 'account_id = ADA AND type = ''purchase'' AND amount = 100'),
('ledger', 'exact_price', '0.25', 'id = CHEAP'),
('ledger', 'exact_price', 'exact_price + 0.00001', 'id = CHEAP'),
('ledger', 'exact_price', 'NULL', 'id = CHEAP'),
('ledger', 'exact_price', '40.00001', 'id = PRICED'),
('ledger', 'exact_price', '1.00001', 'id = EIGHT'),
('ledger', 'pricing', 'jsonb_set(pricing, ''{total}'', ''0.25001'')', 'id = CHEAP'),
('ledger', 'pricing', 'jsonb_set(pricing, ''{total}'', ''1'')', 'id = PRICED'),
('ledger', 'pricing', 'jsonb_set(pricing, ''{version}'', ''9'')', 'id = PRICED'),
('ledger', 'pricing', '''[]''', 'id = PRICED'),
('ledger', 'models', 'array_replace(models, ''large'', ''huge'')', 'id = LINES'),
('ledger', 'models', 'NULL', 'id = LINES'),
('ledger', 'models', '''{large}''', 'account_id = BOB AND seq = 2'),
('ledger', 'model_spend', 'ARRAY[2, 1.25]', 'id = LINES'),
('ledger', 'model_spend', 'model_spend || 1.0', 'id = LINES'),
('ledger', 'model_lines', 'ARRAY[2, 1]', 'id = LINES'),
('ledger', 'model_lines', 'ARRAY[1, 3]', 'id = LINES'),
('ledger', 'metadata', '''[]''', 'account_id = BOB AND seq = 2'),
('ledger', 'created_at', 'created_at - interval ''1 day''', 'account_id = BOB AND seq = 2'),
('ledger', 'created_at', 'created_at + interval ''1 day''', 'account_id = BOB AND seq = 2'),
('ledger', 'created_at', 'created_at - interval ''1 us''', 'account_id = BOB AND seq = 2'),
('ledger', 'effective_at', 'created_at + interval ''1 us''', 'account_id = ADA AND type = ''expiry'''),
('ledger', 'effective_at', 'effective_at - interval ''1 day''', 'account_id = ADA AND type = ''expiry'''),
('ledger', 'effective_at', 'effective_at - interval ''1 us''', 'account_id = BOB AND seq = 2'),
('ledger', 'xact', '(SELECT max(xact) + 1 FROM ducto.ledger)', 'account_id = BOB AND seq = 2'),
('ledger', 'digest', '''\x00''', 'account_id = BOB AND seq = 2'),
('plan_allowances', 'plan_id', '''nope''', 'plan_id = ''old'''),
('plan_allowances', 'number', 'number + 1', 'plan_id = ''free'' AND number = 2'),
('plan_allowances', 'since', '''infinity''', 'plan_id = ''free'' AND number = 1'),
('plan_allowances', 'free_allowance', '1000', 'plan_id = ''free'' AND number = 2'),
('plan_allowances', 'cycle', '''day''', 'plan_id = ''free'' AND number = 2'),
('plan_allowances', 'grants', '''[{"type": "promo", "amount": 1}]''', 'plan_id = ''free'' AND number = 2'),
('plans', 'id', '''nope''', 'id = ''free'''),
('plans', 'name', '''nope''', 'id = ''free'''),
('plans', 'name', '''nope''', 'id = ''old'''),
('plans', 'free_allowance', '1000', 'id = ''pro'''),
('plans', 'free_allowance', '1000', 'id = ''old'''),
('plans', 'features', '''{"chat": true}''', 'id = ''pro'''),
('plans', 'default_billing_mode', '''overdraft''', 'id = ''pro'''),
('plans', 'per_operation', '''{"chat": {"max_concurrent": 1}}''', 'id = ''pro'''),
('plans', 'max_concurrent', 'NULL', 'id = ''pro'''),
('plans', 'overdraft_floor', '-1000', 'id = ''pro'''),
('plans', 'cycle', '''day''', 'id = ''pro'''),
('plans', 'grants', '''[{"type": "promo", "amount": 1}]''', 'id = ''pro'''),
('plans', 'caps', '''[{"cap_type": "daily", "cap_limit": 1}]''', 'id = ''pro'''),
('plans', 'alerts', '''{"balance": [5]}''', 'id = ''pro'''),
('plans', 'retired', 'NOT retired', 'id = ''pro'''),
('plans', 'retired', 'NOT retired', 'id = ''old'''),
('plans', 'imported', 'true', 'id = ''pro'''),
('pricing', 'version', '9', 'version = 2'),
('pricing', 'id', '(SELECT id FROM ducto.pricing WHERE version = 1)', 'version = 2'),
('pricing', 'config', 'jsonb_set(config, ''{plans,pro,free_allowance}'', ''1000'')', 'version = 2'),
('pricing', 'config', 'jsonb_set(config, ''{min_balance}'', ''1000'')', 'version = 2'),
('pricing', 'config', '''[]''', 'version = 1'),
('pricing', 'min_balance', '-1000', 'version = 2'),
('pricing', 'active', 'false', 'version = 2'),
('reservations', 'account_id', 'BOB', 'id = OPEN'),
('reservations', 'account_id', 'BOB', 'id = SETTLED'),
('reservations', 'id', 'NOBODY', 'id = OPEN'),
('reservations', 'id', 'NOBODY', 'id = SETTLED'),
('reservations', 'actor', 'NOBODY', 'id = TEAMS'),
('reservations', 'actor', 'NULL', 'id = TEAMS'),
('reservations', 'actor', 'CAT', 'id = OPEN'),
('reservations', 'amount', 'amount + 1', 'id = OPEN'),
('reservations', 'amount', '-1', 'id = RELEASED'),
('reservations', 'remaining', 'remaining + 1', 'id = OPEN'),
('reservations', 'remaining', 'remaining + 1', 'id = RELEASED'),
('reservations', 'operation_type', '''other''', 'id = SETTLED'),
('reservations', 'model', 'NULL', 'id = OPEN'),
('reservations', 'billing_mode', '''free''', 'id = OPEN'),
('reservations', 'floor', '''NaN''', 'id = OPEN'),
('reservations', 'state', '''released''', 'id = OPEN'),
('reservations', 'state', '''open''', 'id = RELEASED'),
('reservations', 'state', '''settled''', 'id = RELEASED'),
('reservations', 'state', '''expired''', 'id = ZERO'),
('reservations', 'state', '''lost''', 'id = SETTLED'),
('reservations', 'first_expires_at', '''infinity''', 'id = OPEN'),
('reservations', 'closing_key', '''key''', 'id = SETTLED'),
('reservations', 'closing_key', 'NULL', 'id = ZERO'),
('reservations', 'closing_balance', 'NULL', 'id = ZERO'),
('reservations', 'closing_balance', '5', 'id = RELEASED'),
('reservations', 'skip_allowance', 'NOT skip_allowance', 'id = SKIPS'),
('reservations', 'cap_held', 'cap_held + 1', 'id = OPEN'),
('reservations', 'pricing_version', '9', 'id = OPEN'),
('reservations', 'plan_id', '''nope''', 'id = OPEN'),
('reservations', 'ceiling', '1', 'id = OPEN'),
('reservations', 'ceiling', '1000', 'id = SETTLED'),
('reservations', 'metadata', '''[]''', 'id = OPEN'),
('reservations', 'expires_at', '''infinity''', 'id = OPEN'),
('reservations', 'expires_at', 'expires_at + interval ''1 year''', 'id = OPEN'),
('reservations', 'expires_at', 'created_at', 'id = SKIPS'),
('reservations', 'closed_at', 'NULL', 'id = RELEASED'),
('reservations', 'closed_at', 'now()', 'id = OPEN'),
('reservations', 'closed_at', 'closed_at + interval ''1 us''', 'id = EXPIRED'),
('spend_caps', 'account_id', 'BOB', 'cap_type = ''daily'''),
('spend_caps', 'cap_type', '''yearly''', 'cap_type = ''daily'''),
('spend_caps', 'model', '''other''', 'model = ''large'''),
('spend_caps', 'cap_limit', '''NaN''', 'cap_type = ''daily'''),
('spend_caps', 'cap_limit', '-1', 'cap_type = ''daily'''),
('spend_caps', 'action', '''ask''', 'cap_type = ''daily'''),
('spend_caps', 'window_from', 'window_from - interval ''1 hour''', 'cap_type = ''daily'''),
('spend_caps', 'window_from', 'window_from - interval ''1 hour''', 'cap_type = ''sliding'''),
('spend_caps', 'window_until', 'window_until + interval ''1 hour''', 'cap_type = ''daily'''),
('spend_caps', 'window_until', 'window_until + interval ''1 hour''', 'cap_type = ''session'''),
('spend_caps', 'window_until', '''infinity''', 'cap_type = ''sliding'''),
('spend_caps', 'window_length', 'NULL', 'cap_type = ''session'''),
('spend_caps', 'window_length', '''30 s''', 'cap_type = ''session'''),
('spend_caps', 'window_length', '''7 hours''', 'cap_type = ''sliding'''),
('spend_caps', 'window_length', '''7 hours''', 'cap_type = ''daily'''),
('spend_caps', 'buckets', '''{1}''', 'cap_type = ''sliding'''),
('spend_caps', 'buckets', 'NULL', 'cap_type = ''sliding'''),
('spend_caps', 'buckets', '''{1}''', 'cap_type = ''daily'''),
('plans', 'caps', '''[]''', 'id = ''pro'''),
('spend_caps', 'cap_limit', '5', 'cap_type = ''weekly'''),
('spend_caps', 'of_plan', 'NOT of_plan', 'cap_type = ''daily'''),
('spend_caps', 'spent', '0', 'cap_type = ''session'''),
('spend_caps', 'spent', '0', 'cap_type = ''sliding'''),
('spend_caps', 'spent', '0', 'cap_type = ''daily'''),
('spend_caps', 'held', '0', 'cap_type = ''daily'''),
('team_keys', 'team_id', 'NOBODY', 'team_id = TEAM'),
('team_members', 'team_id', 'OTHER', 'user_id = CAT'),
('team_members', 'user_id', 'NOBODY', 'user_id = CAT'),
('team_members', 'user_id', 'NOBODY', 'user_id = DAN'),
('team_members', 'role', '''''', 'user_id = CAT'),
('team_members', 'spend_cap', '-1', 'user_id = CAT'),
('team_members', 'month', 'month - 40', 'user_id = CAT'),
('team_members', 'spent', '0', 'user_id = CAT'),
('team_members', 'held', '0', 'user_id = CAT'),
('teams', 'id', 'NOBODY', 'id = TEAM'),
('teams', 'name', '''''', 'id = TEAM'),
('usage_lines', 'account_id', 'NOBODY', 'key = ''one'''),
('usage_lines', 'entry', 'NOBODY', 'key = ''one'''),
('usage_lines', 'line', 'line + 1', 'key = ''three'''),
('usage_lines', 'line', '2', 'key = ''three'''),
('usage_lines', 'key', '''cheap''', 'key = ''one'''),
('usage_lines', 'amount', 'amount + 0.00001', 'key = ''one'''),
('usage_lines', 'model', '''small''', 'key = ''two'''),
('usage_lines', 'model', 'NULL', 'key = ''one'''),
('usage_lines', 'usage', '''[]''', 'key = ''three'''),
('usage_lines', 'metadata', '''[]''', 'key = ''three'''),
('usage_rollup', 'hours', '24', 'hours = 1'),
('usage_rollup', 'start', 'start - interval ''1 hour''', 'hours = 1'),
('usage_rollup', 'next_xact', '(SELECT max(xact) + 1 FROM ducto.ledger)', 'hours = 0'),
('usage_rollup', 'models', 'array_replace(models, ''large'', ''huge'')', 'hours = 1'),
('usage_rollup', 'model_spend', 'array_append(model_spend, 1)', 'hours = 1'),
('usage_rollup', 'model_entries', 'array_append(model_entries, 1)', 'hours = 1'),
('usage_rollup', 'users', 'array_replace(users, ADA, NOBODY)', 'hours = 1'),
('usage_rollup', 'user_spend', 'array_append(user_spend, 1)', 'hours = 1'),
('usage_rollup', 'user_entries', 'array_append(user_entries, 1)', 'hours = 1'),
('usage_rollup', 'types', 'array_replace(types, ''promo'', ''gift'')', 'hours = 0'),
('usage_rollup', 'type_entries', 'array_append(type_entries, 1)', 'hours = 1'),
('usage_rollup', 'type_amount', 'array_append(type_amount, 1)', 'hours = 1'),
('usage_rollup', 'type_from_grants', 'array_append(type_from_grants, 1)', 'hours = 0'),
('usage_rollup', 'type_allowance', 'array_append(type_allowance, 1)', 'hours = 1');

-- What cannot be seen, because nothing else in the database rests on it.
INSERT INTO unseen VALUES
('accounts', 'next_boundary', 'next_boundary - interval ''1 hour''', 'id = ADA', 'too early costs a look and nothing else'),
('accounts', 'plan_id', '''free''', 'id = ADA', 'which of the plans a user has, and where that user is capped, whether any'),
('accounts', 'anchor', '''2026-01-31''', 'id = BOB', 'of whom nothing is counted by it'),
('accounts', 'zone', '''Europe/Berlin''', 'id = BOB', 'of whom nothing is counted by it'),
('accounts', 'promised', '(held - held_from_credits) / 2', 'id = ADA', 'any promise within what is held'),
('accounts', 'ended_until', '''2000-01-01''', 'id = BOB', 'nothing ended'),
('accounts', 'ahead_from', '''2000-01-01''', 'id = BOB', 'a clock that was set back once'),
('accounts', 'ahead_until', '''2000-01-01''', 'id = BOB', 'a clock that was set back once'),
('accounts', 'caps_version', '1', 'id = ADA', 'the next operation looks at the plan''s caps'),
('accounts', 'created_at', 'created_at - interval ''1 day''', 'id = BOB', 'is told and decides nothing'),
('accounts', 'updated_at', 'updated_at - interval ''1 day''', 'id = BOB', 'a time of the past'),
('accounts', 'alert_mark', '1', 'id = BOB', 'lines of before, until the next operation'),
('accounts', 'last_event', 'last_event + 1', 'id = GIL', 'events may have been removed'),
('alerts', 'balance', '''{60, 10}''', 'account_id = GIL', 'lines that are no nearer'),
('alerts', 'allowance_percent', '''{81}''', 'account_id = GIL', 'the percentages'),
('alerts', 'cap_percent', '''{81}''', 'account_id = GIL', 'the percentages'),
('alerts', 'expiring_days', '8', 'account_id = GIL', 'the days'),
('alerts', 'topup_below', '21', 'account_id = GIL', 'while a top-up is due'),
('alerts', 'topup_amount', '21', 'account_id = GIL', 'the amount'),
('alerts', 'topup_max_per_month', '4', 'account_id = GIL', 'the number'),
('alerts', 'topup_due_key', '''topup:other''', 'account_id = GIL', 'the key'),
('alerts', 'topup_month', 'topup_month - interval ''1 month''', 'account_id = GIL', 'another month'),
('alerts', 'topup_count', '2', 'account_id = GIL', 'how many have been due'),
('alerts', 'told', 'false', 'account_id = GIL', 'whether it was told'),
('alerts', 'caps_told', '''{"daily ": {"window": "2000-01-01", "percent": 80}}''', 'account_id = GIL', 'what was told'),
('alerts', 'expiring_at', 'now()', 'account_id = GIL', 'when it was told'),
('alerts', 'expiring_until', 'now()', 'account_id = GIL', 'what was told'),
('events', 'id', 'NOBODY', 'account_id = GIL AND number = 2', 'an id'),
('events', 'payload', 'payload || ''{"amount": 1}''', 'account_id = GIL AND number = 2', 'all of it but seq and balance'),
('events', 'origin', '0', 'account_id = GIL AND number = 2', 'where it came from'),
('events', 'attempt', '7', 'account_id = GIL AND number = 2', 'how often it was taken'),
('events', 'visible_at', 'now()', 'account_id = GIL AND number = 2', 'when it is taken next'),
('events', 'acked_at', 'now()', 'account_id = GIL AND number = 2', 'whether it is done'),
('events', 'created_at', 'now()', 'account_id = GIL AND number = 2', 'is told and decides nothing'),
('ledger', 'id', 'NOBODY', 'account_id = BOB AND seq = 2', 'the id of an entry that nothing refers to'),
('ledger', 'type', '''subscription''', 'account_id = BOB AND type = ''promo''', 'one kind of credit that never expires for another, before it is rolled up'),
('ledger', 'operation_type', '''other''', 'account_id = BOB AND seq = 2', 'text'),
('ledger', 'operation_type', 'NULL', 'account_id = BOB AND seq = 2', 'text'),
('ledger', 'model', '''other''', 'idempotency_key = ''last''', 'text, before it is rolled up'),
('ledger', 'idempotency_key', '''other''', 'idempotency_key = ''last''', 'text'),
('ledger', 'reference', 'NOBODY', 'account_id = BOB AND seq = 2', 'the reservation may have been pruned'),
('ledger', 'shortfall', '5', 'id = EIGHT', 'what was not taken, where there is no price'),
('ledger', 'cap_warning', '''warn''', 'id = EIGHT', 'is told and decides nothing'),
('ledger', 'lifetime_purchased', 'NULL', 'account_id = BOB AND seq = 1', 'history that was moved in lacks it'),
('ledger', 'pricing', 'jsonb_set(pricing, ''{usage}'', ''{}'')', 'id = PRICED', 'all of it but version and total'),
('ledger', 'metadata', '''{"note": "other"}''', 'account_id = BOB AND seq = 2', 'an object of the application'),
('ledger', 'xact', 'xact - 1', 'idempotency_key = ''last''', 'another transaction that is rolled up no earlier'),
('plan_allowances', 'since', 'since - interval ''1 day''', 'plan_id = ''old''', 'times in the right order'),
('plan_allowances', 'free_allowance', '1000', 'plan_id = ''free'' AND number = 1', 'an allowance of the past'),
('plan_allowances', 'cycle', '''day''', 'plan_id = ''free'' AND number = 1', 'cycles of the past'),
('plan_allowances', 'grants', '''[{"type": "promo", "amount": 1}]''', 'plan_id = ''free'' AND number = 1', 'cycles of the past'),
('pricing', 'id', 'NOBODY', 'version = 1', 'an id that no other version has'),
('pricing', 'label', '''other''', 'version = 1', 'text'),
('pricing', 'config', 'jsonb_set(config, ''{models}'', ''{"_default": "0"}'')', 'version = 2', 'prices: entries keep what they cost'),
('pricing', 'created_at', 'created_at - interval ''1 day''', 'version = 1', 'is told and decides nothing'),
('reservations', 'amount', 'amount + 1', 'id = SETTLED', 'what one that is closed held at first'),
('reservations', 'operation_type', '''other''', 'id = SKIPS', 'text, until it is charged'),
('reservations', 'model', '''other''', 'id = SKIPS', 'text, where there is no cap of the model'),
('reservations', 'billing_mode', '''overdraft''', 'id = OPEN', 'another mode that fits its floor'),
('reservations', 'floor', '-1000', 'id = OPEN', 'another floor that fits its mode'),
('reservations', 'state', '''released''', 'id = EXPIRED', 'how one ended that was not charged'),
('reservations', 'idempotency_key', '''other''', 'id = OPEN', 'text'),
('reservations', 'balance_after', '5', 'id = OPEN', 'what a retry is told'),
('reservations', 'reserved_after', '5', 'id = OPEN', 'what a retry is told'),
('reservations', 'first_expires_at', 'first_expires_at - interval ''1 hour''', 'id = OPEN', 'what a retry is told'),
('reservations', 'closing_key', '''other''', 'id = ZERO', 'text'),
('reservations', 'closing_balance', '5', 'id = ZERO', 'what a retry is told'),
('reservations', 'skip_allowance', 'NOT skip_allowance', 'id = RELEASED', 'decides nothing once it is closed'),
('reservations', 'pricing_version', '1', 'id = OPEN', 'another version that there is'),
('reservations', 'plan_id', '''free''', 'id = OPEN', 'another plan that there is'),
('reservations', 'ceiling', 'amount', 'id = SKIPS', 'whether there is one'),
('reservations', 'metadata', '''{"note": "other"}''', 'id = OPEN', 'an object of the application'),
('reservations', 'created_at', 'created_at - interval ''1 day''', 'id = OPEN', 'is told and decides nothing'),
('reservations', 'expires_at', 'expires_at + interval ''1 day''', 'id = OPEN', 'it may have been renewed'),
('reservations', 'closed_at', 'closed_at - interval ''1 hour''', 'id = SETTLED', 'when to prune it'),
('spend_caps', 'cap_limit', '5', 'cap_type = ''daily''', 'the limit'),
('spend_caps', 'action', '''warn''', 'cap_type = ''daily''', 'the action'),
('team_keys', 'idempotency_key', '''other''', 'team_id = TEAM', 'text'),
('team_keys', 'team_id', 'OTHER', 'team_id = TEAM', 'another team that there is'),
('team_members', 'role', '''other''', 'user_id = CAT', 'text'),
('team_members', 'spend_cap', '5', 'user_id = CAT', 'the limit'),
('team_members', 'joined_at', 'joined_at - interval ''1 day''', 'user_id = CAT', 'is told and decides nothing'),
('team_members', 'left_at', 'NULL', 'user_id = DAN', 'who is a member still'),
('teams', 'name', '''other''', 'id = TEAM', 'text'),
('teams', 'created_at', 'created_at - interval ''1 day''', 'id = TEAM', 'is told and decides nothing'),
('test_clock', 'id', 'true', 'ahead = ''0''', 'there is one row'),
('test_clock', 'ahead', '''1 day''', 'id', 'counts where the test clock is on, and that is told'),
('usage_lines', 'key', '''other''', 'key = ''one''', 'text'),
('usage_lines', 'usage', '''{"model": "small"}''', 'key = ''three''', 'what was priced'),
('usage_lines', 'metadata', '''{"note": "other"}''', 'key = ''three''', 'an object of the application'),
('usage_rollup', 'part', 'part + 1', 'hours = 1', 'how the rollup is written'),
('usage_rollup', 'cells', 'cells + 1', 'hours = 1', 'how the rollup is written'),
('usage_rollup', 'first_xact', 'first_xact - 1', 'hours >= 0', 'how the rollup is written');

-- Each edit, and what ducto_verify says; some are refused by a constraint of the table.
SELECT tab, col, left(value, 40) AS value, edit(tab, col, value, which) AS found FROM seen ORDER BY tab COLLATE "C", col COLLATE "C", value COLLATE "C", which COLLATE "C";
-- Each that it cannot see.
CREATE TABLE result AS SELECT *, edit(tab, col, value, which) AS found FROM unseen;
SELECT tab, col, why, found FROM result WHERE found IS NOT NULL;
SELECT tab, col, why FROM result ORDER BY tab COLLATE "C", col COLLATE "C", why COLLATE "C";
-- Every column of every table is in one of the lists, but for what is generated from others.
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'ducto' AND is_generated = 'NEVER' AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'ducto')
AND NOT EXISTS (SELECT FROM seen WHERE tab = table_name AND col = column_name)
AND NOT EXISTS (SELECT FROM unseen WHERE tab = table_name AND col = column_name);

-- Two entries of one key, which only the absence of an index lets in.
BEGIN;
DROP INDEX ducto.ledger_idempotency_key;
SELECT edit('ledger', 'idempotency_key', '''last''', 'account_id = BOB AND seq = 2');
ROLLBACK;

-- However wild an edit is, the auditor and ducto_repair go on.
CREATE FUNCTION wild(tab text, col text, value text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE format('UPDATE ducto.%I SET %I = %s', tab, col, value);
	EXCEPTION WHEN check_violation THEN
		RETURN NULL;
	END;
	PERFORM FROM ducto_verify();
	PERFORM FROM word, ducto_repair(means::uuid, dry_run => false) WHERE word.word IN ('ADA', 'TEAM');
	RAISE SQLSTATE 'ZZZZZ';
EXCEPTION
	WHEN SQLSTATE 'ZZZZZ' OR not_null_violation OR unique_violation THEN RETURN NULL;
	WHEN OTHERS THEN RETURN tab || '.' || col || ' = ' || value || ': ' || SQLERRM;
END $$;
SELECT count(*) > 100 AS edits, string_agg(wild(table_name, column_name, value), E'\n') AS errors
FROM information_schema.columns c, unnest(CASE is_generated || data_type
	WHEN 'NEVERnumeric' THEN '{''NaN'',''Infinity''}' WHEN 'NEVERtimestamp with time zone' THEN '{''infinity'',''-infinity''}' WHEN 'NEVERdate' THEN '{''infinity''}'
	WHEN 'NEVERjsonb' THEN ARRAY['''5''', '''{"total": {}, "version": [], "min_balance": "x", "plans": {"free": 5, "pro": {"free_allowance": "lots", "max_concurrent": "x"}}}''']
	END::text[]) value
WHERE table_schema = 'ducto' AND table_name IN (SELECT tablename FROM pg_tables WHERE schemaname = 'ducto');

-- With digests, the ledger shows every edit of an entry, but for xact, which is another one in another cluster.
SET ducto.ledger_chain = on;
SELECT new_balance FROM ducto_add_credits(:eve, 10, 'promo', expires_at => '2222-02-02');
SELECT amount FROM ducto_charge(:eve, 1, 'eve', model => 'large', metadata => '{"note": "so"}');
SELECT amount FROM ducto_charge_usage(:eve, '{"model": "large", "input_tokens": 1}');
SELECT reservation_id AS id FROM ducto_reserve(:eve, 3) \gset chained_
SELECT booked FROM ducto_settle(:eve, :'chained_id', '[{"amount": 1, "model": "large"}, {"amount": 1}]');
SELECT * FROM ducto_verify();
WITH edits AS (
	SELECT column_name AS col, CASE
		WHEN column_name = 'digest' THEN '''\x00''' WHEN data_type = 'text' THEN '''other'''
		WHEN data_type = 'jsonb' THEN format('coalesce(%I, ''{}'') || ''{"x": 1}''', column_name)
		WHEN data_type = 'uuid' THEN 'NOBODY' WHEN udt_name = '_uuid' THEN 'ARRAY[NOBODY]::uuid[]' WHEN udt_name = '_numeric' THEN 'ARRAY[9.5]'
		WHEN udt_name = '_text' THEN '''{other}''' WHEN udt_name = '_int4' THEN 'ARRAY[9]'
		WHEN column_name = 'seq' THEN 'seq + 10'
		WHEN data_type = 'timestamp with time zone' THEN format('coalesce(%I, ''2030-01-01'') + interval ''1 us''', column_name)
		ELSE format('coalesce(%I, 0) + 1', column_name) END AS value
	FROM information_schema.columns WHERE table_schema = 'ducto' AND table_name = 'ledger'
)
SELECT n AS seq, string_agg(col, ', ') AS unseen FROM generate_series(1, 4) n, edits
WHERE edit('ledger', col, value, 'account_id = EVE AND seq = ' || n) IS NULL GROUP BY n ORDER BY n;
SELECT edit('ledger', 'metadata', '''{}''', 'account_id = EVE AND seq = 2');
SELECT * FROM ducto_verify();

\c :regression
DROP DATABASE regress_ducto_mutation;
