-- usage: what was used, what it costs, and charging that price
\pset null -

\set ada '\'05a6e000-0000-4000-8000-000000000001\''
\set bob '\'05a6e000-0000-4000-8000-000000000002\''
\set cyd '\'05a6e000-0000-4000-8000-000000000003\''
\set dan '\'05a6e000-0000-4000-8000-000000000004\''
\set eve '\'05a6e000-0000-4000-8000-000000000005\''
\set fay '\'05a6e000-0000-4000-8000-000000000006\''
\set gus '\'05a6e000-0000-4000-8000-000000000007\''
\set hal '\'05a6e000-0000-4000-8000-000000000008\''
\set ida '\'05a6e000-0000-4000-8000-000000000009\''
\set nobody '\'05a6e000-0000-4000-8000-0000000000ff\''
\set none '\'05a6e000-0000-7000-8000-0000000000ee\''

-- An allowance is a month's: the story must not run across the end of one.
DO $$
BEGIN
	IF (clock_timestamp() AT TIME ZONE 'UTC')::time > '23:59:15' THEN
		PERFORM pg_sleep(46);
	END IF;
END $$;

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

-- A price list with everything in it.
SELECT error FROM ducto_set_active_pricing('{
	"models": {"gpt": "input_tokens * 0.01 + output_tokens * 0.03", "claude": "input_tokens * 0.02", "flat": "2.5", "writes": "cache_write_tokens * 0.001",
		"inverse": "1 / output_tokens", "huge": "input_tokens * 1e30", "dust": "input_tokens * 0.00001", "back": "-input_tokens", "_default": "input_tokens * 0.001"},
	"tools": {"_default": "tool_calls * 0.005", "code_exec": "tool_calls * 0.01 + code_exec_calls * 0.1", "draw": "0.3"},
	"search": {"costs": "search_queries * 0.5 + search_results * 0.05 + web_search_calls * 2", "other": "1000"},
	"cache": {"discount": "-cache_read_tokens * 0.0045", "other": "-1000"},
	"fixed": {"batch": 100, "report": 2.5, "gift": 0},
	"min_balance": 0,
	"plans": {
		"pro": {"name": "Pro Plan", "free_allowance": 50, "rate_overrides": {"gpt": "input_tokens * 0.005"}, "per_operation": {"agent": {"max_concurrent": 1}}},
		"any": {"name": "Any Plan", "rate_overrides": {"_default": "7"}},
		"both": {"name": "Both Plan", "rate_overrides": {"gpt": "8", "_default": "9"}}
	}
}');
SELECT version AS v FROM ducto_get_active_pricing() \gset

-- The price of a usage, with its parts.
\x on
SELECT total, model_credits, tool_credits, search_credits, cache_savings, fixed_credits, version = :v AS active, error
FROM ducto_price('{"model": "gpt", "input_tokens": 1000, "output_tokens": 100, "cache_read_tokens": 200, "cache_write_tokens": 5, "search_queries": 2, "search_results": 10,
	"web_search_calls": 1, "code_exec_calls": 3, "tool_calls": ["code_exec", "lookup", {"name": "draw", "args": [1, {"name": "x"}]}], "fixed_job": "report"}');
\x off
SELECT u AS usage, p.total, p.model_credits AS model, p.tool_credits AS tools, p.search_credits AS search, p.cache_savings AS cache, p.fixed_credits AS fixed, p.error
FROM (VALUES
	(1, '{}'),
	(2, '{"model": "gpt"}'),
	(3, '{"input_tokens": 1000}'),
	(4, '{"model": null, "input_tokens": 1000}'),
	(5, '{"model": "none", "input_tokens": 1000}'),
	(6, '{"model": "none"}'),
	(7, '{"model": "_default", "input_tokens": 1000}'),
	(8, '{"model": "GPT", "input_tokens": 1000}'),
	(9, '{"model": "anything", "output_tokens": 1000}'),
	(10, '{"model": "gpt", "input_tokens": null, "output_tokens": 10}'),
	(11, '{"model": "gpt", "input_tokens": 1.5, "output_tokens": 1e2}'),
	(12, '{"model": "flat"}'),
	(13, '{"model": "flat", "input_tokens": 1000000}'),
	(14, '{"cache_write_tokens": 7}'),
	(15, '{"model": "writes", "cache_write_tokens": 7}'),
	(16, '{"cache_read_tokens": 100}'),
	(17, '{"model": "gpt", "input_tokens": 100, "cache_read_tokens": 100}'),
	(18, '{"model": "gpt", "input_tokens": 10, "cache_read_tokens": 100}'),
	(19, '{"search_queries": 3}'),
	(20, '{"search_results": 3, "web_search_calls": 1}'),
	(21, '{"fixed_job": "batch"}'),
	(22, '{"fixed_job": "gift"}'),
	(23, '{"fixed_job": null}'),
	(24, '{"fixed_job": "report", "model": "flat"}'),
	(25, '{"fixed_job": "secret"}'),
	(26, '{"fixed_job": "secret", "model": "flat"}'),
	(27, '{"model": "back", "input_tokens": 5}'),
	(28, '{"model": "back", "input_tokens": 5, "fixed_job": "report"}'),
	(29, '{"model": null, "input_tokens": null, "output_tokens": null, "cache_read_tokens": null, "cache_write_tokens": null, "search_queries": null, "search_results": null, "web_search_calls": null, "code_exec_calls": null, "tool_calls": null, "fixed_job": null}')
) t (n, u), LATERAL ducto_price(u::jsonb) p ORDER BY n;

-- Tools: one with an expression of its own is charged once and sees all calls; the calls of all others together are charged by _default.
SELECT u AS tool_calls, p.tool_credits, p.total
FROM (VALUES
	(1, '[]', 0),
	(2, '["lookup"]', 0),
	(3, '["lookup", "lookup", "fetch"]', 0),
	(4, '["code_exec"]', 2),
	(5, '["code_exec", "code_exec", "code_exec"]', 0),
	(6, '["code_exec", "lookup", "code_exec", "fetch"]', 1),
	(7, '["draw", "code_exec", "draw", "lookup"]', 0),
	(8, '["_default", "_default"]', 0),
	(9, '[{"name": "draw"}, {"name": "lookup", "name2": 5, "input": {"name": 1}}, "draw"]', 0),
	(10, '["Draw", " draw"]', 0)) t (n, u, execs), LATERAL ducto_price(jsonb_build_object('tool_calls', u::jsonb, 'code_exec_calls', execs)) p ORDER BY n;

-- A plan's rates: its override for the model, the model's own, its default override, the default – in this order.
SELECT plan, u AS usage, p.total, p.error
FROM (VALUES (1, NULL), (2, 'pro'), (3, 'any'), (4, 'both'), (5, 'platinum')) t (n, plan),
	(VALUES (1, '{"model": "gpt", "input_tokens": 100, "output_tokens": 100}'), (2, '{"model": "claude", "input_tokens": 100}'), (3, '{"model": "new", "input_tokens": 100}'), (4, '{"input_tokens": 100}'), (5, '{}')) w (m, u),
	LATERAL ducto_price(u::jsonb, plan) p
ORDER BY n, m;

-- Sums are exact and rounded half up once, at the end; each part that is told is rounded too.
SELECT error FROM ducto_set_active_pricing('{
	"models": {"x": "input_tokens * 0.00001"}, "tools": {"_default": "tool_calls * 0.00003"}, "search": {"costs": "search_queries * 0.00001"}, "cache": {"discount": "-cache_read_tokens * 0.00001"},
	"min_balance": 0, "plans": {"pro": {"name": "Pro Plan"}}}');
SELECT version AS fractions FROM ducto_get_active_pricing() \gset
SELECT u AS usage, p.total, p.model_credits AS model, p.tool_credits AS tools, p.search_credits AS search, p.cache_savings AS cache, p.error
FROM (VALUES
	(1, '{"model": "x", "input_tokens": 3, "tool_calls": ["a"]}'),
	(2, '{"model": "x", "input_tokens": 4}'),
	(3, '{"model": "x", "input_tokens": 5}'),
	(4, '{"model": "x", "input_tokens": 4.9999999999999999999999}'),
	(5, '{"model": "x", "input_tokens": 15}'),
	(6, '{"model": "x", "input_tokens": 8, "cache_read_tokens": 4}'),
	(7, '{"model": "x", "input_tokens": 8, "search_queries": 8, "tool_calls": ["a", "b"]}'),
	(8, '{"model": "x", "input_tokens": 12345678901234}'),
	(9, '{"model": "y", "input_tokens": 1}'),
	(10, '{"input_tokens": 1}'),
	(11, '{"model": "y"}'),
	(12, '{"tool_calls": ["a", "b", "c", "d"]}'),
	(13, '{"fixed_job": "batch"}')) t (n, u), LATERAL ducto_price(u::jsonb) p ORDER BY n;

-- Every version stays what it was; a plan's rates are those of the priced version.
SELECT version = :v AS that_one, total FROM ducto_price('{"model": "gpt", "input_tokens": 100}', version => :v);
SELECT version = :v AS that_one, total FROM ducto_price('{"model": "gpt", "input_tokens": 100}', 'pro', :v);
SELECT version = :fractions AS that_one, total, error FROM ducto_price('{"model": "x", "input_tokens": 100}', 'pro');
SELECT total, version, error FROM ducto_price('{"model": "x", "input_tokens": 100}', version => 2000000000);
SELECT total, error FROM ducto_price('{"model": "x", "input_tokens": 100}', 'platinum');
-- One that the active version lacks, but users still have, has no rates of its own there.
SELECT total, error FROM ducto_price('{"model": "x", "input_tokens": 100}', 'both');
SELECT total, error FROM ducto_price('{"model": "gpt", "input_tokens": 100}', 'both', :v);
-- More versions than a backend keeps at hand.
SELECT max(p.version) - :fractions AS versions FROM generate_series(1, 20) n, LATERAL ducto_set_active_pricing(jsonb_build_object('models', jsonb_build_object('x', n::text, '_default', 'input_tokens * ' || n)), 'v' || n) p;
SELECT sum(p.total) AS once, sum(q.total) AS again FROM generate_series(1, 20) n, LATERAL ducto_price('{"model": "x"}', version => :fractions + n) p, LATERAL ducto_price('{"input_tokens": 2}', version => :fractions + 21 - n) q;
SELECT total FROM ducto_price('{"model": "gpt", "input_tokens": 100}', version => :v);
SELECT error FROM ducto_activate_pricing(:v);

-- What is no usage is an error that names it: it must not become a free one.
SELECT u AS usage, pg_temp.raised(format('SELECT ducto_price(%L)', u)) FROM unnest(ARRAY[
	NULL, '[]', '5', 'null', '"gpt"', '{"input_token": 5}', '{"Model": "gpt"}', '{"": 1}', '{"metadata": {}}', '{"min_balance": 0}',
	'{"input_tokens": -1}', '{"input_tokens": -1e-30}', '{"input_tokens": "5"}', '{"input_tokens": true}', '{"input_tokens": [5]}', '{"input_tokens": {"n": 5}}', '{"web_search_calls": -1}', '{"code_exec_calls": "x"}',
	'{"model": 5}', '{"model": ""}', '{"model": ["gpt"]}', '{"model": true}', '{"fixed_job": 5}', '{"fixed_job": ""}', '{"fixed_job": {"name": "batch"}}',
	'{"tool_calls": 3}', '{"tool_calls": "draw"}', '{"tool_calls": {"name": "draw"}}', '{"tool_calls": [3]}', '{"tool_calls": [null]}', '{"tool_calls": [["draw"]]}', '{"tool_calls": [{}]}', '{"tool_calls": [{"name": null}]}',
	'{"tool_calls": [{"name": 3}]}', '{"tool_calls": [{"Name": "draw"}]}', '{"tool_calls": [""]}', '{"tool_calls": ["draw", false]}']) AS u;
SELECT pg_temp.raised(format('SELECT ducto_price(%L)', jsonb_build_object('model', repeat('m', 256))));
SELECT total FROM ducto_price(jsonb_build_object('model', repeat('m', 255), 'input_tokens', 1000));

-- An expression without a value is an error, and charges nothing.
SELECT new_balance FROM ducto_add_credits(:ada, 1000);
SELECT f, u AS usage, pg_temp.raised(format('SELECT %s%L)', f, u)) FROM
	(VALUES (1, 'ducto_price('), (2, format('ducto_reserve_usage(%L, ', :ada)), (3, format('ducto_charge_usage(%L, ', :ada))) t (n, f),
	(VALUES (1, '{"model": "inverse", "input_tokens": 5}'), (2, '{"model": "huge", "input_tokens": 1e9}'), (3, '{"model": "huge", "input_tokens": 1e11}'), (4, '{"model": "gpt", "input_tokens": 1e41}')) w (m, u)
ORDER BY n, m;
SELECT balance, reserved FROM ducto_get_balance(:ada);
SELECT count(*) FROM ducto.ledger WHERE account_id = :ada;
-- Nor does a usage that has no price.
SELECT transaction_id, amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:ada, '{"fixed_job": "secret"}');
SELECT reservation_id, amount, balance, reserved, error FROM ducto_reserve_usage(:ada, '{"fixed_job": "secret"}');

-- Charging a usage: the price is taken in the same moment, and the ledger keeps what it was for.
SELECT transaction_id IS NOT NULL AS booked, amount, balance_after, allowance_consumed, cap_warning, error
FROM ducto_charge_usage(:ada, '{"model": "gpt", "input_tokens": 1000, "output_tokens": 100, "tool_calls": ["draw"]}', metadata => '{"job": 7}');
SELECT amount, type, operation_type, model, metadata FROM ducto_list_transactions(:ada, max_rows => 1);
SELECT jsonb_pretty(pricing - 'version') AS pricing, (pricing -> 'version')::integer = :v AS this_version FROM ducto.ledger WHERE account_id = :ada AND type = 'usage';
-- One that costs more than there is, is rejected with its price.
SELECT transaction_id, amount, balance_after, error FROM ducto_charge_usage(:ada, '{"model": "gpt", "input_tokens": 100000}');

-- Reserving a usage holds its price, for its model, under its operation type.
SELECT reservation_id AS r, amount, reserved, available, billing_mode, error FROM ducto_reserve_usage(:ada, '{"model": "claude", "input_tokens": 5000}', 'agent', '{"job": 8}', 60) \gset
SELECT :amount AS amount, :reserved AS reserved, :available AS available;
SELECT amount, operation_type, model, metadata, pricing_version = :v AS this_version, skip_allowance, expires_at - created_at = interval '60 s' AS a_minute FROM ducto.reservations WHERE id = :'r';
-- A newly activated price is used by the next call, but not by a reservation of before: what was promised holds.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens"}, "min_balance": 0, "plans": {"pro": {"name": "Pro Plan", "free_allowance": 50, "rate_overrides": {"claude": "3"}}}}');
SELECT total FROM ducto_price('{"model": "claude", "input_tokens": 50}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:ada, '{"model": "claude", "input_tokens": 50}');
SELECT amount, balance_after, error FROM ducto_charge_usage(:ada, '{"model": "claude", "input_tokens": 4000}', :'r', metadata => '{"job": 8}');
SELECT amount, operation_type, model, (pricing -> 'version')::integer = :v AS that_version, reference = :'r' AS of_it FROM ducto.ledger WHERE account_id = :ada ORDER BY seq DESC LIMIT 1;
SELECT balance, reserved FROM ducto_get_balance(:ada);
-- A reservation of an amount has no price of its own: its usage costs what it costs now.
SELECT reservation_id AS r FROM ducto_reserve(:ada, 100) \gset
SELECT amount, balance_after, error FROM ducto_charge_usage(:ada, '{"model": "claude", "input_tokens": 60}', :'r');
-- A plan of now has the rates that it had in the version of the reservation.
SELECT error FROM ducto_activate_pricing(:v);
SELECT plan_id FROM ducto_set_user_plan(:bob, 'pro');
SELECT new_balance FROM ducto_add_credits(:bob, 1000);
SELECT reservation_id AS r1, amount AS a1 FROM ducto_reserve_usage(:bob, '{"model": "gpt", "input_tokens": 1000}') \gset
SELECT reservation_id AS r2, amount AS a2 FROM ducto_reserve_usage(:bob, '{"model": "claude", "input_tokens": 1000}') \gset
SELECT :a1 AS a1, :a2 AS a2;
SELECT error FROM ducto_activate_pricing(:v + 22);
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:bob, '{"model": "gpt", "input_tokens": 1000}', :'r1');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:bob, '{"model": "claude", "input_tokens": 1000}', :'r2');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:bob, '{"model": "claude", "input_tokens": 1000}');
SELECT error FROM ducto_activate_pricing(:v);

-- Beyond its hold a usage is treated as overrun says, like any deduct.
SELECT new_balance FROM ducto_add_credits(:cyd, 100);
SELECT reservation_id AS r FROM ducto_reserve_usage(:cyd, '{"model": "claude", "input_tokens": 1000}') \gset
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:cyd, '{"model": "claude", "input_tokens": 6000}', :'r');
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:cyd, '{"model": "claude", "input_tokens": 6000}', :'r', overrun => 'clamp');
SELECT error FROM ducto_charge_usage(:cyd, '{"model": "claude", "input_tokens": 6000}', :'r');
SELECT amount, balance_after, error FROM ducto_charge_usage(:cyd, '{"model": "claude", "input_tokens": 6000}', :none);
SELECT reservation_id AS r FROM ducto_reserve_usage(:cyd, '{}') \gset
SELECT amount, balance_after, shortfall, error FROM ducto_charge_usage(:cyd, '{"model": "claude", "input_tokens": 100}', :'r', overrun => 'full');

-- A price of 0 is a success: no entry, or a hold of 0, also for one who has nothing. One that only charges 0 has an entry.
SELECT transaction_id, amount, balance_after, idempotent, error FROM ducto_charge_usage(:dan, '{}', idempotency_key => 'zero');
SELECT transaction_id, amount, error FROM ducto_charge_usage(:dan, '{"model": "back", "input_tokens": 4}');
SELECT count(*) FROM ducto.ledger WHERE account_id = :dan;
SELECT transaction_id IS NOT NULL AS booked, amount, error FROM ducto_charge_usage(:dan, '{"model": "dust", "input_tokens": 4}');
SELECT amount, exact_price FROM ducto.ledger WHERE account_id = :dan;
SELECT reservation_id IS NOT NULL AS held, amount, reserved, error FROM ducto_reserve_usage(:dan, '{"fixed_job": "gift"}', idempotency_key => 'gift');
SELECT reservation_id AS r, idempotent FROM ducto_reserve_usage(:dan, '{"fixed_job": "gift"}', idempotency_key => 'gift') \gset
SELECT transaction_id, amount, error FROM ducto_charge_usage(:dan, '{"fixed_job": "gift"}', :'r', 'closing');
SELECT transaction_id, amount, idempotent, error FROM ducto_charge_usage(:dan, '{"fixed_job": "gift"}', :'r', 'closing');
SELECT state FROM ducto.reservations WHERE id = :'r';
-- What was held for a usage that came to nothing is free again.
SELECT new_balance FROM ducto_add_credits(:dan, 10);
SELECT reservation_id AS r FROM ducto_reserve_usage(:dan, '{"model": "flat"}') \gset
SELECT transaction_id, amount, error FROM ducto_charge_usage(:dan, '{}', :'r');
SELECT balance, reserved FROM ducto_get_balance(:dan);
SELECT state FROM ducto.reservations WHERE id = :'r';

-- The allowance pays for a usage, but not for a fixed job.
SELECT plan_id FROM ducto_set_user_plan(:eve, 'pro');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"model": "gpt", "input_tokens": 2000}');
SELECT amount, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"fixed_job": "report"}');
SELECT amount, error FROM ducto_reserve_usage(:eve, '{"fixed_job": "report"}');
SELECT new_balance FROM ducto_add_credits(:eve, 10);
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"fixed_job": "report"}');
SELECT reservation_id AS r FROM ducto_reserve_usage(:eve, '{"fixed_job": "report"}') \gset
SELECT amount, skip_allowance FROM ducto.reservations WHERE id = :'r';
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"fixed_job": "report", "model": "gpt", "input_tokens": 100}', :'r');
SELECT reservation_id AS r FROM ducto_reserve_usage(:eve, '{"model": "gpt", "input_tokens": 500}') \gset
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"fixed_job": "report"}', :'r');
SELECT allowance_used FROM ducto_check_allowance(:eve);
-- The plan's rules for the operation type apply.
SELECT n, r.error FROM generate_series(1, 2) n, LATERAL ducto_reserve_usage(:eve, jsonb_build_object('model', 'gpt', 'input_tokens', n), 'agent') r ORDER BY n;

-- A retry gets the original result, whatever prices have become: others, none, ones that fail.
SELECT new_balance FROM ducto_add_credits(:fay, 1000);
SELECT reservation_id AS r FROM ducto_reserve_usage(:fay, '{"model": "claude", "input_tokens": 1000}', idempotency_key => 'reserve') \gset
SELECT reservation_id AS s FROM ducto_reserve_usage(:fay, '{"model": "claude", "input_tokens": 1000}') \gset
SELECT amount, balance_after, idempotent, error FROM ducto_charge_usage(:fay, '{"model": "claude", "input_tokens": 1000}', idempotency_key => 'charge');
SELECT amount, balance_after, idempotent, error FROM ducto_charge_usage(:fay, '{"model": "claude", "input_tokens": 1000}', :'s', 'deduct');
CREATE FUNCTION pg_temp.retry(who uuid, reservation uuid, settled uuid) RETURNS TABLE (call text, amount numeric, same boolean, idempotent boolean, error text)
LANGUAGE sql AS $$
	SELECT 'reserve', r.amount, r.reservation_id = reservation, r.idempotent, r.error FROM ducto_reserve_usage(who, '{"model": "claude", "input_tokens": 1000}', idempotency_key => 'reserve') r
	UNION ALL SELECT 'charge', c.amount, c.balance_after = 980, c.idempotent, c.error FROM ducto_charge_usage(who, '{"model": "claude", "input_tokens": 1000}', idempotency_key => 'charge') c
	UNION ALL SELECT 'deduct', d.amount, d.balance_after = 960, d.idempotent, d.error FROM ducto_charge_usage(who, '{"model": "claude", "input_tokens": 1000}', settled, 'deduct') d
$$;
CREATE PROCEDURE pg_temp.reprice(expression text)
LANGUAGE sql AS $$ SELECT FROM ducto_set_active_pricing(jsonb_build_object('min_balance', 0, 'models', jsonb_build_object('claude', expression))) $$;
CALL pg_temp.reprice('0');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
CALL pg_temp.reprice('input_tokens * 1000');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
CALL pg_temp.reprice('1 / 0');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
CALL pg_temp.reprice('1e30');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
CALL pg_temp.reprice('1e30 * 1e30');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
SELECT error FROM ducto_set_active_pricing('{"models": {"other": "1"}}');
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
BEGIN;
UPDATE ducto.pricing SET active = false WHERE active;
SELECT * FROM pg_temp.retry(:fay, :'r', :'s');
-- A reservation is settled at its price even where there is no active one.
SELECT amount, balance_after, error FROM ducto_charge_usage(:fay, '{"model": "claude", "input_tokens": 1000}', :'r');
COMMIT;
SELECT count(*) FROM ducto.ledger WHERE account_id = :fay;
SELECT error FROM ducto_activate_pricing(:v);
-- A key that was used for something else is a conflict, not a second charge.
SELECT transaction_id, error FROM ducto_charge_usage(:fay, '{"model": "flat"}', :'r', 'charge');
SELECT transaction_id, error FROM ducto_charge_usage(:fay, '{"model": "flat"}', idempotency_key => 'deduct');
-- A rejected attempt may be retried under its key.
SELECT amount, error FROM ducto_charge_usage(:gus, '{"model": "flat"}', idempotency_key => 'k');
SELECT new_balance FROM ducto_add_credits(:gus, 10);
SELECT amount, idempotent, error FROM ducto_charge_usage(:gus, '{"model": "flat"}', idempotency_key => 'k');
SELECT amount, idempotent, error FROM ducto_charge_usage(:gus, '{"model": "flat"}', idempotency_key => 'k');

-- The plan that counts is the one at the moment of the charge.
SELECT plan_id FROM ducto_set_user_plan(:gus, 'both');
SELECT amount, error FROM ducto_charge_usage(:gus, '{"model": "new", "input_tokens": 1}');
SELECT error FROM ducto_charge_usage(:gus, '{"model": "gpt"}');
SELECT plan_id FROM ducto_set_user_plan(:gus, NULL);
SELECT amount, error FROM ducto_charge_usage(:gus, '{"model": "new", "input_tokens": 1000}');

-- A team's pool pays the prices without a plan, whatever plan its member has.
SELECT team_id AS team FROM ducto_create_team('usage test', 100) \gset
SELECT role FROM ducto_add_team_member(:'team', :eve);
SELECT reservation_id AS r, amount, balance, reserved, error FROM ducto_reserve_usage(:eve, '{"model": "gpt", "input_tokens": 1000}', team_id => :'team') \gset
SELECT :amount AS amount, :balance AS balance, :reserved AS reserved;
SELECT amount, balance_after, allowance_consumed, error FROM ducto_charge_usage(:eve, '{"model": "gpt", "input_tokens": 2000}', :'r');
SELECT balance, reserved FROM ducto_get_team_balance(:'team');

-- An invoice line can be explained and recomputed from what the ledger kept of it.
SELECT count(*) AS priced, count(*) FILTER (WHERE p.total = l.allowance_consumed - l.amount + coalesce(l.shortfall, 0) AND p.total = (l.pricing ->> 'total')::numeric
	AND p.model_credits = (l.pricing ->> 'model_credits')::numeric AND p.tool_credits = (l.pricing ->> 'tool_credits')::numeric AND p.fixed_credits = (l.pricing ->> 'fixed_credits')::numeric
	AND p.search_credits = (l.pricing ->> 'search_credits')::numeric AND p.cache_savings = (l.pricing ->> 'cache_savings')::numeric) AS explained
FROM ducto.ledger l, LATERAL ducto_price(l.pricing -> 'usage', l.pricing ->> 'plan_id', (l.pricing ->> 'version')::integer) p
WHERE l.pricing IS NOT NULL AND (l.account_id IN (:ada, :bob, :cyd, :dan, :eve, :fay, :gus) OR l.account_id = :'team');
-- Every usage entry of a priced call has one; the others have none.
SELECT amount, allowance_consumed, pricing ->> 'plan_id' AS plan_id, pricing -> 'usage' AS usage FROM ducto.ledger WHERE account_id IN (:bob, :eve) AND type = 'usage' ORDER BY account_id, seq;

-- What is no argument is an error that names it.
SELECT s, pg_temp.raised(format(s, :ada)) FROM unnest(ARRAY[
	'SELECT ducto_reserve_usage(NULL, ''{}'')',
	'SELECT ducto_reserve_usage(%L, NULL)',
	'SELECT ducto_reserve_usage(%L, ''{"x": 1}'')',
	'SELECT ducto_reserve_usage(%L, ''{}'', '''')',
	'SELECT ducto_reserve_usage(%L, ''{}'', metadata => ''[]'')',
	'SELECT ducto_reserve_usage(%L, ''{}'', ttl_seconds => 0)',
	'SELECT ducto_reserve_usage(%L, ''{}'', idempotency_key => '''')',
	'SELECT ducto_charge_usage(NULL, ''{}'')',
	'SELECT ducto_charge_usage(%L, NULL)',
	'SELECT ducto_charge_usage(%L, ''{"input_tokens": -1}'')',
	'SELECT ducto_charge_usage(%L, ''{}'', metadata => ''5'')',
	'SELECT ducto_charge_usage(%L, ''{}'', overrun => ''ignore'')',
	'SELECT ducto_charge_usage(%L, ''{}'', idempotency_key => repeat(''k'', 256))',
	'SELECT ducto_price(''{}'', '''')']) AS s;
-- Rejections raise where that is wanted.
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SELECT regexp_replace(split_part(pg_temp.raised(s), ' | {', 1), 'version \d+', 'version N') FROM unnest(ARRAY['SELECT ducto_price(''{"fixed_job": "secret"}'')', 'SELECT ducto_price(''{}'', ''platinum'')', 'SELECT ducto_price(''{}'', version => 0)',
	format('SELECT ducto_charge_usage(%L, ''{"fixed_job": "secret"}'')', :ada)]) AS s;
COMMIT;

-- Long numbers in the expressions of many tools do not pile up in memory (true also where the peak cannot be told, and
-- under a sanitizer, which takes memory itself).
CREATE FUNCTION pg_temp.peak_kb() RETURNS bigint
LANGUAGE sql AS $$ SELECT CASE WHEN current_setting('test.sanitizer', true) IS NOT NULL THEN 0
  ELSE coalesce(substring(pg_read_file('/proc/self/status', 0, 100000, true) FROM 'VmHWM:\s*(\d+)')::bigint, 0) END $$;
SELECT error FROM ducto_set_active_pricing(jsonb_build_object('models', '{"_default": "1"}'::jsonb,
	'tools', (SELECT jsonb_object_agg('t' || n, 'input_tokens' || repeat(' + input_tokens', 250)) FROM generate_series(1, 100) n)));
SELECT pg_temp.peak_kb() AS before \gset
SELECT total, error FROM ducto_price(jsonb_build_object('input_tokens', ('0.' || repeat('7', 4990))::numeric, 'tool_calls', (SELECT jsonb_agg('t' || n) FROM generate_series(1, 100) n)));
SELECT pg_temp.peak_kb() - :before < 50000 AS flat;

-- Neutral pricing for who comes next: no plans, a floor of 5.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
