-- settle: many calls charged to a reservation at once, each of them once.
\pset null -
\set ada '\'5e771e00-0000-4000-8000-000000000001\''
\set bob '\'5e771e00-0000-4000-8000-000000000002\''
\set cat '\'5e771e00-0000-4000-8000-000000000003\''
\set dan '\'5e771e00-0000-4000-8000-000000000004\''
SET client_min_messages = warning;
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 5}');
SELECT clock_timestamp() AS start \gset

-- A gateway holds a block, and settles what it has counted: one entry, a row for each line.
SELECT new_balance FROM ducto_add_credits(:ada, 100, 'purchase');
SELECT reservation_id AS block, available FROM ducto_reserve(:ada, 50, 'gateway', model => 'small') \gset
SELECT transaction_id AS first, booked, skipped, amount, balance_after, remaining, error FROM ducto_settle(:ada, :'block',
	'[{"key": "1", "amount": 1.5}, {"key": "2", "amount": 2, "model": "large", "metadata": {"route": "/chat"}}, {"key": "3", "amount": "0.25"}]') \gset
\echo :booked :skipped :amount :balance_after :remaining
SELECT key, line, amount, model, usage, metadata FROM ducto.usage_lines WHERE entry = :'first' ORDER BY line;
SELECT amount, operation_type, model, reference = :'block' AS of_block, models, model_spend, model_lines FROM ducto.ledger WHERE id = :'first';
SELECT balance, reserved, available FROM ducto_get_balance(:ada);

-- The answer was lost: the batch comes again, cut otherwise, and each line is charged once; so is one that comes twice at once.
SELECT booked, skipped, amount, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "3", "amount": 0.25}, {"key": "4", "amount": 1}]');
SELECT booked, skipped, amount, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "5", "amount": 1}, {"key": "5", "amount": 1}, {"key": "1", "amount": 9}]');
SELECT booked, skipped, transaction_id, amount, balance_after, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "4", "amount": 1}, {"key": "2", "amount": 2}]');
-- Nothing to tell is a success that books nothing.
SELECT booked, skipped, transaction_id, amount, remaining, error FROM ducto_settle(:ada, :'block', '[]');
-- The last one closes the block, and is a success again when it is repeated; new lines come too late.
SELECT booked, skipped, amount, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "6", "amount": 1}]', final => true);
SELECT booked, skipped, transaction_id, amount, balance_after, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "6", "amount": 1}]', final => true);
SELECT booked, skipped, amount, error FROM ducto_settle(:ada, :'block', '[{"key": "6", "amount": 1}, {"key": "7", "amount": 2}]', final => true);
SELECT booked, skipped, amount, error FROM ducto_settle(:ada, :'block', '[]', final => true);
SELECT state, remaining FROM ducto.reservations WHERE id = :'block';
SELECT balance, reserved FROM ducto_get_balance(:ada);
-- A block of which nothing was used is closed by no lines, or by lines that are known.
SELECT reservation_id AS unused FROM ducto_reserve(:ada, 5) \gset
SELECT booked, skipped, transaction_id, remaining, error FROM ducto_settle(:ada, :'unused', '[{"key": "1", "amount": 1.5}]', final => true);
SELECT state, remaining, closing_balance FROM ducto.reservations WHERE id = :'unused';
SELECT reservation_id AS unused FROM ducto_reserve(:ada, 5) \gset
SELECT released FROM ducto_release(:ada, :'unused');
SELECT booked, skipped, error FROM ducto_settle(:ada, :'unused', '[{"key": "1", "amount": 1.5}]', final => true);
SELECT booked, skipped, amount, error FROM ducto_settle(:ada, :'unused', '[{"key": "new", "amount": 1.5}]');
SELECT booked, amount, error FROM ducto_settle(:ada, 'ffffffff-0000-4000-8000-000000000000', '[{"key": "new", "amount": 1.5}]');
SELECT booked, skipped, error FROM ducto_settle(:ada, 'ffffffff-0000-4000-8000-000000000000', '[{"key": "1", "amount": 1.5}]');
SELECT error FROM ducto_settle(:bob, :'block', '[{"key": "1", "amount": 1.5}]');

-- Keys are the account's: a debit's is skipped, another operation's is a conflict, and a line's is none for another operation.
SELECT amount FROM ducto_charge(:ada, 1, 'charged');
SELECT reservation_id AS block FROM ducto_reserve(:ada, 20) \gset
SELECT booked, skipped, amount FROM ducto_settle(:ada, :'block', '[{"key": "charged", "amount": 1}, {"key": "8", "amount": 1}]');
SELECT amount, error FROM ducto_charge(:ada, 1, '8');
SELECT error FROM ducto_add_credits(:ada, 1, 'promo', idempotency_key => '8');
SELECT error FROM ducto_charge_many(jsonb_build_array(jsonb_build_object('user_id', :ada, 'amount', 1, 'idempotency_key', '8')));
SELECT error FROM ducto_deduct(:ada, :'block', 1, '8', final => false);
SELECT error FROM ducto_refund(:'first', 1, idempotency_key => '8');
SELECT new_balance FROM ducto_add_credits(:ada, 1, 'promo', idempotency_key => 'given');
SELECT booked, skipped, amount, error FROM ducto_settle(:ada, :'block', '[{"key": "9", "amount": 1}, {"key": "given", "amount": 1}]');
SELECT reservation_id AS zero FROM ducto_reserve(:ada, 1) \gset
SELECT error FROM ducto_deduct(:ada, :'zero', 0, 'zero');
SELECT booked, error FROM ducto_settle(:ada, :'block', '[{"key": "zero", "amount": 1}]');
SET ducto.key_mismatch = 'conflict';
SELECT booked, skipped, error FROM ducto_settle(:ada, :'block', '[{"key": "8", "amount": 1.0}]');
SELECT booked, skipped, error FROM ducto_settle(:ada, :'block', '[{"key": "8", "amount": 2}]');
SELECT booked, skipped, error FROM ducto_settle(:ada, :'block', '[{"key": "8", "usage": {"input_tokens": 1}}]');
RESET ducto.key_mismatch;
SET ducto.require_idempotency_key = on;
SELECT booked FROM ducto_settle(:ada, :'block', '[{"key": "10", "amount": 1}, {"amount": 1}]');
RESET ducto.require_idempotency_key;
SELECT booked, remaining FROM ducto_settle(:ada, :'block', '[{"amount": 1}, {"amount": 1}]');
SELECT key = entry || '/' || line AS made FROM ducto.usage_lines WHERE account_id = :ada ORDER BY entry DESC, line LIMIT 2;
SELECT * FROM ducto_verify(:ada);

-- What is more than the block, by overrun; with reject no line is booked.
SELECT available FROM ducto_get_balance(:ada);
SELECT booked, amount, shortfall, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "11", "amount": 60}, {"key": "12", "amount": 50}]');
SELECT booked, amount, shortfall, balance_after, remaining, error FROM ducto_settle(:ada, :'block', '[{"key": "11", "amount": 60, "model": "a"}, {"key": "12", "amount": 50, "model": "b"}]', overrun => 'clamp');
SELECT models, model_spend, model_lines, shortfall FROM ducto.ledger WHERE account_id = :ada ORDER BY seq DESC LIMIT 1;
SELECT booked, amount, shortfall, balance_after, error FROM ducto_settle(:ada, :'block', '[{"key": "13", "amount": 7}]', true, 'full');
SELECT * FROM ducto_verify(:ada);
-- A budget is never passed.
SELECT new_balance FROM ducto_add_credits(:ada, 50, 'purchase');
SELECT reservation_id AS budget FROM ducto_reserve(:ada, 10, ceiling => true) \gset
SELECT booked, remaining, error FROM ducto_settle(:ada, :'budget', '[{"key": "14", "amount": 6}]');
SELECT booked, remaining, error FROM ducto_settle(:ada, :'budget', '[{"key": "15", "amount": 3}, {"key": "16", "amount": 2}]', overrun => 'full');
SET ducto.rejections = 'raise';
\set VERBOSITY terse
SELECT booked FROM ducto_settle(:ada, :'budget', '[{"key": "15", "amount": 3}, {"key": "16", "amount": 2}]', overrun => 'full');
RESET ducto.rejections;
\set VERBOSITY default

-- Allowance, caps by model, and what is used are those of as many deducts; a usage is priced as the block was reserved.
SELECT error FROM ducto_set_active_pricing('{"models": {"cheap": "input_tokens * 0.00002", "dear": "input_tokens * 0.01", "_default": "1"}, "fixed": {"job": 2}, "min_balance": 0,
	"plans": {"settle": {"name": "Settle", "free_allowance": 3, "rate_overrides": {"dear": "input_tokens * 0.005"}}}}');
SELECT plan_id FROM ducto_set_user_plan(:bob, 'settle');
SELECT new_balance FROM ducto_add_credits(:bob, 100, 'purchase');
SELECT cap_limit FROM ducto_set_spend_cap(:bob, 'daily', 4, 'warn', 'dear');
SELECT cap_limit FROM ducto_set_spend_cap(:bob, 'monthly', 1000);
SELECT reservation_id AS block FROM ducto_reserve(:bob, 20) \gset
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1000"}, "min_balance": 0, "plans": {"settle": {"name": "Settle", "free_allowance": 3}}}');
SELECT transaction_id AS priced, booked, amount, allowance_consumed, remaining, error FROM ducto_settle(:bob, :'block', '[{"key": "1", "usage": {"model": "dear", "input_tokens": 400}},
	{"key": "2", "usage": {"model": "cheap", "input_tokens": 1}}, {"key": "3", "usage": {"model": "cheap", "input_tokens": 2}}, {"key": "4", "usage": {"fixed_job": "job"}},
	{"key": "5", "amount": 2.5, "model": "dear"}, {"key": "6", "usage": {"model": "dear", "input_tokens": 1000}}]') \gset
\echo :booked :amount :allowance_consumed :remaining
SELECT amount, allowance_consumed, exact_price, pricing - 'version' AS pricing, cap_warning, models, model_spend, model_lines FROM ducto.ledger WHERE id = :'priced';
SELECT line, key, model, amount, usage FROM ducto_list_usage_lines(:bob, :'priced') ORDER BY line;
SELECT carry, allowance_used FROM ducto.accounts WHERE id = :bob;
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
-- A refund of a part gives it back to the models in their order.
SELECT amount FROM ducto_refund(:'priced', 1, restore_allowance => false);
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
SELECT * FROM ducto_verify(:bob);
SELECT amount FROM ducto_refund(:'priced', 6, restore_allowance => false);
SELECT cap_type, model, current_spend FROM ducto_list_spend_caps(:bob);
SELECT * FROM ducto_verify(:bob);
-- A cap that comes now has counted them, too.
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'monthly', 1000, 'warn', 'dear');
SELECT current_spend FROM ducto_set_spend_cap(:bob, 'monthly', 1000, 'warn', 'cheap');
SELECT * FROM ducto_verify(:bob);
-- What has no price is told with its place, and stops the whole batch; a line that is known is not priced again.
SELECT error FROM ducto_set_active_pricing('{"models": {"other": "1"}, "min_balance": 0, "plans": {"settle": {"name": "Settle", "free_allowance": 3}}}');
SELECT reservation_id AS unpriced FROM ducto_reserve(:bob, 1) \gset
SELECT booked, skipped, error FROM ducto_settle(:bob, :'unpriced', '[{"key": "1", "usage": {"model": "dear", "input_tokens": 400}}, {"key": "7", "usage": {"model": "dear"}}]');
SELECT booked, skipped, error FROM ducto_settle(:bob, :'unpriced', '[{"key": "1", "usage": {"model": "dear", "input_tokens": 400}}]');
SELECT booked FROM ducto_settle(:bob, :'unpriced', '[{"key": "7", "amount": 1}, {"key": "8", "usage": {"model": "other", "words": 5}}]');
-- What it would have cost at other prices.
SELECT model, entries, charged, repriced FROM ducto_reprice(:'start', clock_timestamp(), config => '{"models": {"dear": "input_tokens", "_default": "0"}}') WHERE model IN ('dear', 'cheap') ORDER BY model;

-- A team's block, by a member.
SELECT team_id AS team FROM ducto_create_team('settle', 30) \gset
SELECT error FROM ducto_add_team_member(:'team', :cat, spend_cap => 20);
SELECT reservation_id AS block FROM ducto_reserve(:cat, 10, team_id => :'team') \gset
SELECT transaction_id AS teams, booked, amount, balance_after, remaining FROM ducto_settle(:cat, :'block', '[{"key": "1", "amount": 4, "model": "a"}, {"key": "2", "amount": 3, "model": "b"}]') \gset
\echo :booked :amount :balance_after :remaining
SELECT user_id = :cat AS member, total_spent FROM ducto_get_team_members(:'team');
SELECT key, user_id = :cat AS member, team_id = :'team' AS team, model, amount FROM ducto_list_usage_lines(:'team');
SELECT count(*) FROM ducto_list_usage_lines(:cat);
SELECT count(*) FROM ducto_list_usage_lines(:cat, :'teams');
SELECT count(*) FROM ducto_list_usage_lines(:ada, :'teams');
SELECT * FROM ducto_verify(:'team');

-- Pages of lines, newest first.
SELECT transaction_id = :'first' AS first, line, key, amount, model, metadata, operation_type FROM ducto_list_usage_lines(:ada, max_rows => 100) WHERE key !~ '/' ORDER BY transaction_id DESC, line DESC LIMIT 20;
SELECT string_agg(key, ' ') AS keys FROM ducto_list_usage_lines(:ada, max_rows => 3);
SELECT string_agg(key, ' ') AS keys FROM ducto_list_usage_lines(:ada, max_rows => 4, before => '8');
SELECT string_agg(key, ' ') AS keys FROM ducto_list_usage_lines(:ada, before => '3');
SELECT string_agg(key, ' ') AS keys FROM ducto_list_usage_lines(:ada, :'first', before => '3');
SELECT string_agg(key, ' ') AS keys FROM ducto_list_usage_lines(:ada, :'first', to_time => '2020-01-01');
SELECT count(*) FROM ducto_list_usage_lines(:ada, to_time => '2020-01-01');
SELECT count(*) FROM ducto_list_usage_lines(:dan);
SELECT count(*) FROM ducto_list_usage_lines(:ada, 'ffffffff-0000-4000-8000-000000000000');
SELECT count(*) FROM ducto_list_usage_lines(:ada, before => 'nope');

-- Analytics see the lines, rolled up or not.
SELECT model, total_spend, transaction_count FROM ducto_spend_by_model(:'start') WHERE model IN ('a', 'b', 'cheap', 'dear', 'large') ORDER BY model;
SELECT total_spend, transaction_count FROM ducto_spend_by_user() WHERE user_id = :ada;
SELECT model, spend, count FROM ducto.daily_usage WHERE "user" = :ada ORDER BY model COLLATE "C";

-- 10,000 lines at once, of as many models; a name or a key with anything in it.
SELECT new_balance FROM ducto_add_credits(:dan, 100, 'purchase');
SELECT reservation_id AS block FROM ducto_reserve(:dan, 50) \gset
SELECT jsonb_agg(jsonb_build_object('key', 'k' || n, 'amount', 0.001, 'model', 'm' || n)) AS batch FROM generate_series(1, 10000) n \gset
SELECT booked, skipped, amount, remaining FROM ducto_settle(:dan, :'block', :'batch');
SELECT booked, skipped, amount, remaining FROM ducto_settle(:dan, :'block', :'batch');
SELECT booked, skipped FROM ducto_settle(:dan, :'block', '[{"key": "a\"b\\c{},NULL", "amount": 1, "model": "x\"y\\z{},NULL"}, {"key": "NULL", "amount": 1, "model": "NULL"}]');
SELECT key, model FROM ducto_list_usage_lines(:dan, max_rows => 2);
SELECT count(*), sum(amount) FROM ducto.usage_lines WHERE account_id = :dan;
SELECT booked FROM ducto_settle(:dan, :'block', jsonb_build_array(jsonb_build_object('key', 'big', 'amount', 1, 'metadata', jsonb_build_object('text', repeat('x', 1000000)))));
SELECT length(metadata ->> 'text') FROM ducto_list_usage_lines(:dan, max_rows => 1);

-- Lines are for ever.
DELETE FROM ducto.usage_lines WHERE account_id = :dan;
UPDATE ducto.usage_lines SET amount = 0 WHERE account_id = :dan;
TRUNCATE ducto.usage_lines;
SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
