-- Many at once: a gateway keeps the charges of a second and sends them as one array. Each is a call of its own, with its own
-- key and its own rejection; together they cost a fraction.
\pset null -
\set ada '\'ba7c0000-0000-4000-8000-000000000001\''
\set bob '\'ba7c0000-0000-4000-8000-000000000002\''
\set cat '\'ba7c0000-0000-4000-8000-000000000003\''
\set dan '\'ba7c0000-0000-4000-8000-000000000004\''
\set eve '\'ba7c0000-0000-4000-8000-000000000005\''
\set row 'position, transaction_id IS NOT NULL AS booked, right(user_id::text, 1) AS who, amount, balance_after, allowance_consumed AS allowance, shortfall, idempotent, cap_warning, error'
\set credit_row 'position, transaction_id IS NOT NULL AS booked, right(user_id::text, 1) AS who, amount, new_balance, lifetime_purchased, expires_at IS NOT NULL AS expires, idempotent, error, team_id IS NOT NULL AS team'

-- Credits for many: new users get their accounts, each key counts once, in an array too. Amounts may be texts; they are rounded once.
SELECT :credit_row FROM ducto_add_credits_many(jsonb_build_array(
	jsonb_build_object('user_id', :bob, 'amount', 10, 'type', 'purchase', 'idempotency_key', 'invoice 1'),
	jsonb_build_object('user_id', :ada, 'amount', '2.00005', 'type', 'promo', 'expires_at', '2099-01-01', 'priority', 10),
	jsonb_build_object('user_id', :ada, 'amount', 20),
	jsonb_build_object('user_id', :bob, 'amount', 10, 'type', 'purchase', 'idempotency_key', 'invoice 1'),
	jsonb_build_object('user_id', :bob, 'amount', -11),
	jsonb_build_object('user_id', :cat, 'amount', -1)));

-- The accounts in the order of their ids, each account's charges in the order of the array: the third takes what bob has left.
SELECT :row FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :bob, 'amount', 7, 'idempotency_key', 'call 1', 'metadata', jsonb_build_object('call', 1)),
	jsonb_build_object('user_id', :ada, 'amount', 3, 'model', 'small'),
	jsonb_build_object('user_id', :bob, 'amount', 3, 'min_balance', NULL),
	jsonb_build_object('user_id', :bob, 'amount', 3),
	jsonb_build_object('user_id', :cat, 'amount', 3),
	jsonb_build_object('user_id', :dan, 'amount', 3, 'overrun', 'clamp'),
	jsonb_build_object('user_id', :ada, 'amount', 0)));

-- A retry, whole or cut otherwise, charges nothing again; a key of a charge is not one of an addition.
SELECT :row FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :ada, 'amount', 1, 'idempotency_key', 'call 2'),
	jsonb_build_object('user_id', :bob, 'amount', 7, 'idempotency_key', 'call 1'),
	jsonb_build_object('user_id', :ada, 'amount', 1, 'idempotency_key', 'call 2'),
	jsonb_build_object('user_id', :bob, 'amount', 1, 'idempotency_key', 'invoice 1')));
SELECT balance_after, idempotent FROM ducto_charge(:bob, 7, 'call 1');
SET ducto.key_mismatch = conflict;
SELECT :row FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :ada, 'amount', 2, 'idempotency_key', 'call 3'),
	jsonb_build_object('user_id', :ada, 'amount', 5, 'idempotency_key', 'call 3')));
RESET ducto.key_mismatch;

-- Who was rejected has nothing: no account, no entry.
SELECT id FROM ducto.accounts WHERE id IN (:cat, :dan);

-- Usages are priced by the active pricing and the user's plan, and what rounding leaves is carried over: 0.00003 twice, 0.0001.
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"m": "input_tokens * 0.00001"}, "plans": {"pro": {"name": "Pro",
	"free_allowance": 4, "features": {"export": true}, "rate_overrides": {"m": "input_tokens * 0.5"}}}}');
SELECT plan_id FROM ducto_set_user_plan(:bob, 'pro');
SELECT :row FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :ada, 'usage', jsonb_build_object('model', 'm', 'input_tokens', 3)),
	jsonb_build_object('user_id', :ada, 'usage', jsonb_build_object('model', 'm', 'input_tokens', 3)),
	jsonb_build_object('user_id', :ada, 'usage', jsonb_build_object('model', 'unknown', 'input_tokens', 3)),
	jsonb_build_object('user_id', :bob, 'usage', jsonb_build_object('model', 'm', 'input_tokens', 6)),
	jsonb_build_object('user_id', :bob, 'usage', jsonb_build_object('model', 'm', 'input_tokens', 2), 'overrun', 'full'),
	jsonb_build_object('user_id', :bob, 'amount', 1, 'required_feature', 'import')));
SELECT seq, amount, model, exact_price, pricing->'plan_id' AS plan FROM ducto.ledger WHERE account_id IN (:ada, :bob) AND pricing IS NOT NULL ORDER BY account_id, seq;

-- Spend caps and a team's members count as ever; its pool pays for a member.
SELECT cap_limit FROM ducto_set_spend_cap(:ada, 'daily', 8);
SELECT team_id AS team FROM ducto_create_team('Batch', 5) \gset
SELECT spend_cap FROM ducto_add_team_member(:'team', :ada, spend_cap => 4);
SELECT :row, team_id = :'team' AS pool FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('team_id', :'team', 'user_id', :ada, 'amount', 3),
	jsonb_build_object('team_id', :'team', 'user_id', :ada, 'amount', 2),
	jsonb_build_object('team_id', :'team', 'user_id', :bob, 'amount', 1),
	jsonb_build_object('team_id', :cat, 'user_id', :ada, 'amount', 1),
	jsonb_build_object('user_id', :ada, 'amount', 2),
	jsonb_build_object('user_id', :ada, 'amount', 9)));
SELECT :credit_row FROM ducto_add_credits_many(jsonb_build_array(
	jsonb_build_object('team_id', :'team', 'amount', 3), jsonb_build_object('team_id', :cat, 'amount', 3)));

-- Caps that a plan has got since are those of a batch, too.
SELECT new_balance FROM ducto_add_credits(:eve, 10);
SELECT plan_id FROM ducto_set_user_plan(:eve, 'pro');
SELECT version > 0 AS published FROM ducto_set_active_pricing('{"models": {"m": "input_tokens * 0.00001"}, "plans": {"pro": {"name": "Pro",
	"caps": [{"cap_type": "daily", "cap_limit": 3}]}}}');
SELECT :row FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', :eve, 'amount', 2), jsonb_build_object('user_id', :eve, 'amount', 2), jsonb_build_object('user_id', :eve, 'amount', 1)));
SELECT cap_type, cap_limit, current_spend, of_plan FROM ducto_list_spend_caps(:eve);

-- Ten thousand at once, no more; none is no error.
SELECT count(*), count(transaction_id), count(error), min(position), max(position) FROM ducto_charge_many(
	(SELECT jsonb_agg(jsonb_build_object('user_id', :ada, 'amount', 0.0001)) FROM generate_series(1, 10000)));
SELECT count(*) FROM ducto_charge_many((SELECT jsonb_agg(jsonb_build_object('user_id', :ada, 'amount', 1)) FROM generate_series(1, 10001)));
SELECT count(*) FROM ducto_charge_many('[]');
SELECT count(*) FROM ducto_add_credits_many('[]');
SELECT error, pg_column_size(repeat('x', 1000000)) > 1000 AS large FROM ducto_charge_many(
	jsonb_build_array(jsonb_build_object('user_id', :ada, 'amount', 0.5, 'metadata', jsonb_build_object('prompt', repeat('x', 1000000)))));
SELECT length(metadata->>'prompt') FROM ducto_list_transactions(:ada, max_rows => 1);

-- A rejection is raised where rejections are, and nothing is booked; over HTTP the rows tell of them.
SELECT last_seq AS before FROM ducto.accounts WHERE id = :ada \gset
SET ducto.rejections = raise;
SELECT * FROM ducto_charge_many(jsonb_build_array(
	jsonb_build_object('user_id', 'ba7c0000-0000-4000-8000-00000000000f', 'amount', 3), jsonb_build_object('user_id', :ada, 'amount', 0.1)));
SELECT last_seq = :before AS nothing FROM ducto.accounts WHERE id = :ada;
SET ducto.rejections = http;
BEGIN;
SELECT error FROM ducto_charge(:cat, 3);
SELECT current_setting('response.status') AS status;
SELECT position, error FROM ducto_charge_many(jsonb_build_array(jsonb_build_object('user_id', :cat, 'amount', 3)));
SELECT current_setting('response.status') AS status;
COMMIT;
RESET ducto.rejections;

-- What is malformed is an error that names its place, and nothing is booked of the others either.
SELECT * FROM ducto_charge_many(NULL);
SELECT * FROM ducto_charge_many('{"user_id": 1}');
SELECT * FROM ducto_charge_many('"text"');
SELECT * FROM ducto_charge_many('[[]]');
\set valid '{"user_id": "ba7c0000-0000-4000-8000-000000000001", "amount": 1}'
\set good '(\'[' :valid ', ' :valid ']\'::jsonb)'
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, user_id}', 'null'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, user_id}', '"ba7c0000"'));
CREATE FUNCTION pg_temp.message(charges jsonb) RETURNS text LANGUAGE plpgsql AS
	'BEGIN PERFORM FROM ducto_charge_many(charges); RETURN NULL; EXCEPTION WHEN invalid_parameter_value THEN RETURN sqlerrm; END';
SELECT replace(pg_temp.message(jsonb_set(:good, '{1, user_id}', to_jsonb(:'team'::text))), :'team', 'a team') AS message;
SELECT * FROM ducto_charge_many(:good #- '{1, amount}');
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '"ten"'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '"NaN"'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '1e400'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '"1e99999999"'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '-1'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', '0.00001'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amount}', 'true'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, idempotency_key}', '""'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, metadata}', '[1]'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, model}', '4'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, skip_allowance}', '"yes"'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, overrun}', '"always"'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, amonut}', '4'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, a~/b}', '4'));
SELECT * FROM ducto_charge_many(jsonb_set(:good, '{1, usage}', '{}'));
SELECT * FROM ducto_charge_many(jsonb_set(:good #- '{1, amount}', '{1, usage}', '{"input_tokens": -2}'));
SELECT * FROM ducto_charge_many(jsonb_set(:good #- '{1, amount}', '{1, usage}', '{"seconds": 2}'));
SELECT * FROM ducto_charge_many(jsonb_set(jsonb_set(:good #- '{1, amount}', '{1, usage}', '{}'), '{1, model}', '"m"'));
SELECT * FROM ducto_charge_many(jsonb_set(jsonb_set(:good, '{1, team_id}', '"ba7c0000-0000-4000-8000-000000000009"'), '{1, overrun}', '"full"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, type}', '"gift"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, type}', '"usage"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, expires_at}', '"soon"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, expires_at}', '"2000-01-01"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, expires_at}', '"infinity"'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, expires_at}', '12'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, priority}', '101'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, priority}', '1.5'));
SELECT * FROM ducto_add_credits_many(jsonb_set(:good, '{1, team_id}', '"ba7c0000-0000-4000-8000-000000000009"'));
SET ducto.require_idempotency_key = on;
SELECT * FROM ducto_charge_many(:good);
RESET ducto.require_idempotency_key;
SELECT balance FROM ducto_get_balance('ba7c0000-0000-4000-8000-00000000000e');
SELECT * FROM ducto_add_credits_many('[{"user_id": "ba7c0000-0000-4000-8000-00000000000e", "amount": 99999999999999.9999}, {"user_id": "ba7c0000-0000-4000-8000-00000000000e", "amount": 1}]');
SELECT last_seq = :before AS nothing FROM ducto.accounts WHERE id = :ada;

-- Called for each of its columns it would do everything as often.
SELECT (ducto_charge_many('[]')).*;

SELECT * FROM ducto_verify(:ada);
SELECT * FROM ducto_verify(:bob);
SELECT * FROM ducto_verify(:dan);
SELECT * FROM ducto_verify(:eve);
SELECT * FROM ducto_verify(:'team');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
