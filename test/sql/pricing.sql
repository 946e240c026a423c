-- pricing: versions of the price list – publishing, validating, rolling back
\pset null -

\set ada '\'91ce0000-0000-4000-8000-000000000001\''
\set bob '\'91ce0000-0000-4000-8000-000000000002\''

-- What a statement raises: SQLSTATE, message, detail and hint.
CREATE FUNCTION pg_temp.raised(statement text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;

-- The problems of a configuration, a line for each; of each, what it is about.
CREATE FUNCTION pg_temp.problems(config jsonb) RETURNS text
LANGUAGE sql AS $$ SELECT coalesce(string_agg(coalesce(nullif(path, ''), '(all)') || ' ' || problem, E'\n' ORDER BY n), '(valid)')
	FROM ducto_validate_pricing(config) WITH ORDINALITY p (path, problem, n) $$;

-- The problems of a plan beside a good model.
CREATE FUNCTION pg_temp.plan_problems(plan text) RETURNS text
LANGUAGE sql AS $$ SELECT pg_temp.problems(jsonb_build_object('models', '{"_default": "1"}'::jsonb, 'plans', jsonb_build_object('p', plan::jsonb))) $$;

-- Versions are told from here on: what was published before is not this story's.
SELECT coalesce(max(version), 0) AS base FROM ducto.pricing \gset
CREATE TEMPORARY TABLE base AS SELECT :base AS base;
CREATE FUNCTION pg_temp.history() RETURNS TABLE (version integer, label text, active boolean)
LANGUAGE sql AS $$ SELECT h.version - b.base, h.label, h.active FROM ducto_get_pricing_history() h, pg_temp.base b WHERE h.version > b.base $$;

-- Before anything is published there is no price, and a floor of 5.
BEGIN;
UPDATE ducto.pricing SET active = false WHERE active;
SELECT * FROM ducto_get_active_pricing();
SELECT * FROM ducto_price('{"input_tokens": 1}');
SELECT new_balance FROM ducto_add_credits(:ada, 100);
SELECT error FROM ducto_reserve_usage(:ada, '{"input_tokens": 1}');
SELECT transaction_id, amount, balance_after, error FROM ducto_charge_usage(:ada, '{"input_tokens": 1}');
SELECT amount, error FROM ducto_reserve(:ada, 95.0001);
SELECT amount, error FROM ducto_reserve(:ada, 95);
ROLLBACK;

-- The first version: what was published is active at once, with the next number.
SELECT id IS NOT NULL AS id, version - :base AS version, label, active, created_at <= clock_timestamp() AS made, error FROM ducto_set_active_pricing('{
	"version": 1,
	"models": {"gpt-4": "input_tokens * 0.01 + output_tokens * 0.03", "_default": "input_tokens * 0.001"},
	"tools": {"_default": "tool_calls * 0.005", "code_exec": "tool_calls * 0.01"},
	"search": {"costs": "search_queries * 0.5 + search_results * 0.05"},
	"cache": {"discount": "-cache_read_tokens * 0.0045"},
	"fixed": {"batch_train": 100, "daily_report": 2.5},
	"min_balance": 5,
	"signup_bonus": 50,
	"plans": {
		"pro": {
			"id": "pro", "name": "Pro Plan", "free_allowance": 500000,
			"rate_overrides": {"gpt-4": "input_tokens * 0.005"},
			"features": {"chat": true, "agentic": true, "seats": 5},
			"default_billing_mode": "strict", "max_concurrent": 4, "overdraft_floor": null,
			"per_operation": {"agent": {"billing_mode": "overdraft", "overdraft_floor": -30, "max_concurrent": 1}}
		}
	}
}', 'the example');
SELECT jsonb_pretty(config) FROM ducto_get_active_pricing();
-- It prices at once, in this backend and for this plan.
SELECT total FROM ducto_price('{"model": "gpt-4", "input_tokens": 100, "output_tokens": 10}');
SELECT total FROM ducto_price('{"model": "gpt-4", "input_tokens": 100, "output_tokens": 10}', 'pro');

-- camelCase is accepted everywhere and stored in snake_case; numbers may be strings; money is rounded once.
SELECT version - :base AS version, jsonb_pretty(config) FROM ducto_set_active_pricing('{
	"models": {"_default": "1"}, "tools": null, "fixed": {"job": "1e2", "half": 0.00005, "long": "12.3456499999999999999999"},
	"minBalance": "30.00005", "signupBonus": "+7.", "version": "1.0",
	"plans": {
		"a": {"name": "A", "freeAllowance": "1e3", "rateOverrides": {"m": "2"}, "defaultBillingMode": "overdraft", "maxConcurrent": "3", "overdraftFloor": "-1.00005",
			"perOperation": {"x": {"billingMode": "overdraft", "overdraftFloor": -0.5e1, "maxConcurrent": 2}}, "features": {"camelCase": {"maxConcurrent": 1}}},
		"b": {"name": "B", "billing_mode": "strict"},
		"c": {"name": "C", "billingMode": "strict", "id": "c"}
	}}', 'camels');
SELECT id, name, free_allowance, features, default_billing_mode, per_operation, max_concurrent, overdraft_floor, retired FROM ducto.plans WHERE id IN ('a', 'b', 'c', 'pro') ORDER BY id;
-- A whole number is whole however it is written.
SELECT version - :base AS version FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"a": {"name": "A", "max_concurrent": 2.0, "per_operation": {"x": {"max_concurrent": "30e-1"}}}}}', 'whole');
SELECT max_concurrent, per_operation FROM ducto.plans WHERE id = 'a';
SELECT plan_id FROM ducto_set_user_plan(:bob, 'a');
SELECT n, r.error FROM generate_series(1, 4) n, LATERAL ducto_reserve(:bob, n, 'x', billing_mode => 'overdraft', overdraft_floor => -100) r ORDER BY n;
SELECT count(released) FROM ducto.reservations r, LATERAL ducto_release(:bob, r.id) WHERE r.account_id = :bob;

-- Rolling back activates an old version; the history tells which one prices come from, newest first.
SELECT * FROM pg_temp.history();
SELECT version - :base AS version, label, active, error FROM ducto_activate_pricing(:base + 1);
SELECT count(*) FILTER (WHERE active) AS active FROM ducto.pricing;
SELECT version - :base AS version FROM ducto_get_active_pricing();
SELECT version - :base AS version, label, active, config ->> 'min_balance' AS min_balance, error FROM ducto_get_pricing_config(:base + 2);
SELECT total FROM ducto_price('{"model": "gpt-4", "input_tokens": 100, "output_tokens": 10}');
SELECT id, retired FROM ducto.plans WHERE id IN ('a', 'b', 'c', 'pro') ORDER BY id;
-- Activating what is active changes nothing; what comes next has the next number.
SELECT version - :base AS version, active FROM ducto_activate_pricing(:base + 1);
SELECT version - :base AS version FROM ducto_set_active_pricing('{"models": {"_default": "2"}}', 'next');
SELECT * FROM pg_temp.history() LIMIT 1;
-- A version that is not there.
SELECT * FROM ducto_activate_pricing(:base + 1000);
SELECT * FROM ducto_get_pricing_config(:base + 1000);
SELECT * FROM ducto_get_pricing_config(0);
SELECT * FROM ducto_activate_pricing(-1);
SELECT version - :base AS version FROM ducto_get_active_pricing();
-- Two versions may have one label, or none.
SELECT version - :base AS version, label FROM ducto_set_active_pricing('{"models": {"_default": "2"}}', 'next');
SELECT version - :base AS version, label FROM ducto_set_active_pricing('{"models": {"_default": "2"}}', NULL);
-- A transaction that is rolled back has published nothing, and its number is used again.
BEGIN;
SELECT version - :base AS version FROM ducto_set_active_pricing('{"models": {"_default": "3"}}', 'not kept');
SELECT total FROM ducto_price('{"input_tokens": 1}');
ROLLBACK;
SELECT total FROM ducto_price('{"input_tokens": 1}');
SELECT version - :base AS version FROM ducto_set_active_pricing('{"models": {"_default": "4"}}', 'kept');
SELECT total FROM ducto_price('{"input_tokens": 1}');
SELECT * FROM pg_temp.history() ORDER BY version;

-- The floor of a reservation is that of the active pricing, unless the call says one.
SELECT new_balance FROM ducto_add_credits(:ada, 100);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 30}');
SELECT amount, error FROM ducto_reserve(:ada, 70.0001);
SELECT affordable, reason FROM ducto_can_afford(:ada, 70.0001);
SELECT released FROM ducto_reserve(:ada, 70) r, LATERAL ducto_release(:ada, r.reservation_id);
SELECT released FROM ducto_reserve(:ada, 100, min_balance => 0) r, LATERAL ducto_release(:ada, r.reservation_id);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "min_balance": 0}');
SELECT released FROM ducto_reserve(:ada, 100) r, LATERAL ducto_release(:ada, r.reservation_id);
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
SELECT amount, error FROM ducto_reserve(:ada, 95.0001);
SELECT released FROM ducto_reserve(:ada, 95) r, LATERAL ducto_release(:ada, r.reservation_id);

-- A published plan syncs the plans: new ones come, known ones change, others retire, and come back.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"x": {"name": "X", "free_allowance": 1}, "y": {"name": "Y", "max_concurrent": 2}}}');
SELECT version AS v FROM ducto_get_active_pricing() \gset
SELECT plan_id, error FROM ducto_set_user_plan(:bob, 'y');
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}, "plans": {"x": {"name": "Y", "free_allowance": 2, "features": {"f": 1}}, "z": {"name": "Z"}}}');
SELECT id, name, free_allowance, features, max_concurrent, retired FROM ducto.plans WHERE id IN ('x', 'y', 'z') ORDER BY id;
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'y');
SELECT plan_id, max_concurrent FROM ducto_get_user_plan(:bob);
SELECT error FROM ducto_activate_pricing(:v);
SELECT id, name, free_allowance, features, max_concurrent, retired FROM ducto.plans WHERE id IN ('x', 'y', 'z') ORDER BY id;
SELECT plan_id, error FROM ducto_set_user_plan(:ada, 'y');
SELECT plan_id, error FROM ducto_set_user_plan(:ada, NULL);

-- A configuration that has problems is not published: the error names the first, and nothing has changed.
CREATE TEMPORARY TABLE before AS SELECT p.version, p.active, p.config FROM ducto.pricing p;
CREATE TEMPORARY TABLE plans_before AS SELECT * FROM ducto.plans;
SELECT pg_temp.raised(format('SELECT ducto_set_active_pricing(%L)', config)) FROM (VALUES
	(1, '{"models": {"gpt-4.1": "input_tokens * bogus"}}'),
	(2, '{"models": {"gpt-4.1": "input_tokens *"}, "toolz": {}, "plans": {"p": {}}}'),
	(3, '{}'),
	(4, '[]'),
	(5, '"models"'),
	(6, '{"models": {"_default": "1"}, "plans": {"x": {"name": "X", "free_allowance": 99}, "y": {"name": "X"}}}')) t (n, config)
ORDER BY n;
SELECT count(*) FROM (TABLE before EXCEPT SELECT p.version, p.active, p.config FROM ducto.pricing p) d;
SELECT count(*) = (SELECT count(*) FROM before) AS same FROM ducto.pricing;
SELECT count(*) FROM (TABLE plans_before EXCEPT TABLE ducto.plans) d;

-- Validation lists all problems, each with its place.
SELECT * FROM ducto_validate_pricing('{"models": {"_default": "1"}}');
SELECT * FROM ducto_validate_pricing('{
	"version": 2, "models": {"a": "1 +", "b/c": "1 1", "d~e": 5, "": "1", "ok": "1"}, "tools": {"t": null}, "search": [], "cache": {"discount": "1", "x": "**"},
	"fixed": {"a": -1, "b": "x"}, "min_balance": "NaN", "signup_bonus": -0.5, "typo": 1,
	"plans": {"p": {"name": "Same", "free_allowance": -1, "colour": "red", "rate_overrides": {"~/": "1 2"}}, "qq": {"name": "Same", "id": "q"}}
}');

-- The top level.
SELECT config, pg_temp.problems(config::jsonb) FROM unnest(ARRAY[
	'{}', '[]', '5', 'null', '"{}"', '[{"models": {"_default": "1"}}]',
	'{"models": null}', '{"models": {}}', '{"models": []}', '{"models": "1"}', '{"models": {"m": null}}', '{"models": {"m": ["1"]}}', '{"models": {"m": true}}', '{"models": {"m": ""}}',
	'{"models": {"": "1"}}', '{"models": {" ": "1"}}', '{"models": {"m": "1"}, "version": 1}', '{"models": {"m": "1"}, "version": null}', '{"models": {"m": "1"}, "version": 1.5}',
	'{"models": {"m": "1"}, "version": true}', '{"models": {"m": "1"}, "Models": {"m": "1"}}', '{"models": {"m": "1"}, "model": {}}', '{"models": {"m": "1"}, "": 1}',
	'{"models": {"m": "1"}, "a/b~c": null}', '{"models": {"m": "1"}, "min_balance": 1, "minBalance": 1}', '{"models": {"m": "1"}, "signupBonus": 1, "signup_bonus": null}',
	'{"models": {"m": "1"}, "tools": {}, "search": {}, "cache": {}, "fixed": {}, "plans": {}}', '{"models": {"m": "1"}, "tools": null, "search": null, "cache": null, "fixed": null, "plans": null, "min_balance": null, "signup_bonus": null}',
	'{"models": {"m": "1"}, "tools": "x"}', '{"models": {"m": "1"}, "search": 5}', '{"models": {"m": "1"}, "cache": true}', '{"models": {"m": "1"}, "fixed": [1]}', '{"models": {"m": "1"}, "plans": ["p"]}',
	'{"models": {"m": "1"}, "search": {"costs": 5, "other": "1 +"}}', '{"models": {"m": "1"}, "cache": {"discount": "1 +"}}', '{"models": {"m": "1"}, "tools": {"a/b": "1 +", "~": "1 1"}}']) AS config;

-- Expressions: the place in the configuration, and in the text.
SELECT expression, pg_temp.problems(jsonb_build_object('models', jsonb_build_object('m', expression))) FROM unnest(ARRAY[
	'input_tokens * 0.01', 'input_token * 0.01', '1 +', '2 ** 3', 'f(1)', '"x"', '(1', '1)', 'tier(1, 2)', E'1\n+ 1 1', 'ünits * 2']) AS expression;
SELECT pg_temp.problems(jsonb_build_object('models', jsonb_build_object('long', repeat('1', 4097), 'deep', repeat('(', 65) || '1' || repeat(')', 65))));

-- Numbers: JSON numbers or decimal strings, money within its bounds and not rounded away.
SELECT value, pg_temp.problems(('{"models": {"m": "1"}, "min_balance": ' || value || '}')::jsonb) FROM unnest(ARRAY[
	'0', '-0', '"-0"', '0.0', '"0e5"', '5', '"5"', '"+5"', '"5."', '".5"', '1e3', '"1e3"', '"1E+3"', '"1e-3"', '99999999999999.9999', '"99999999999999.9999"', '99999999999999.99995', '1e14', '1e400', '"1e400"',
	'-1', '"-1"', '-0.0001', '0.00005', '0.00004', '"0.00004"', '-0.00004', '1e-400', '"1e-400"',
	'""', '" 5"', '"5 "', '"5 0"', '"NaN"', '"nan"', '"Infinity"', '"-inf"', '"0x1F"', '"1_000"', '"1,5"', '"."', '"e5"', '"1e"', '"1e+"', '"1e5.0"', '"--5"', '"five"', '"５"', 'true', 'false', '[5]', '{"value": 5}']) AS value;
SELECT value, pg_temp.problems(('{"models": {"m": "1"}, "fixed": {"j": ' || value || '}, "signup_bonus": ' || value || '}')::jsonb) FROM unnest(ARRAY['0', '"2.5"', '-1', 'null', '"NaN"', '1e15']) AS value;
SELECT pg_temp.problems(jsonb_build_object('models', '{"m": "1"}'::jsonb, 'min_balance', n)) FROM unnest(ARRAY['NaN', 'Infinity', 1]::text[]::numeric[]) n;

-- Plans.
SELECT plan, pg_temp.plan_problems(plan) FROM unnest(ARRAY[
	'{"name": "P"}', 'null', '"P"', '[]', '{}', '{"name": null}', '{"name": ""}', '{"name": 5}', '{"name": {"en": "P"}}',
	'{"name": "P", "id": "p"}', '{"name": "P", "id": null}', '{"name": "P", "id": "P"}', '{"name": "P", "id": 5}', '{"name": "P", "id": ["p"]}',
	'{"name": "P", "price": 5}', '{"name": "P", "Name": "P"}', '{"name": "P", "free_alowance": 5, "a/b": 1}', '{"name": "P", "min_balance": 5}',
	'{"name": "P", "free_allowance": 0}', '{"name": "P", "free_allowance": "12.5"}', '{"name": "P", "free_allowance": -1}', '{"name": "P", "free_allowance": "lots"}', '{"name": "P", "free_allowance": 0.00001}',
	'{"name": "P", "free_allowance": 1, "freeAllowance": 1}', '{"name": "P", "rate_overrides": {}, "rateOverrides": null}', '{"name": "P", "billing_mode": "strict", "default_billing_mode": "strict"}',
	'{"name": "P", "billingMode": "strict", "defaultBillingMode": "strict", "billing_mode": "strict"}', '{"name": "P", "per_operation": {}, "perOperation": {}}', '{"name": "P", "max_concurrent": 1, "maxConcurrent": 1}',
	'{"name": "P", "rate_overrides": {"m": "2", "_default": "3", "unknown": "4"}}', '{"name": "P", "rate_overrides": {"a/b": "1 +"}}', '{"name": "P", "rate_overrides": ["m"]}', '{"name": "P", "rate_overrides": {"m": null}}', '{"name": "P", "rate_overrides": {"": "1"}}',
	'{"name": "P", "features": {}}', '{"name": "P", "features": []}', '{"name": "P", "features": "all"}', '{"name": "P", "features": true}', '{"name": "P", "features": null}', '{"name": "P", "features": {"a": {"b": [1, null, {"c": "d"}]}, "x/y": 0}}',
	'{"name": "P", "max_concurrent": 1}', '{"name": "P", "max_concurrent": 2147483647}', '{"name": "P", "max_concurrent": 2147483648}', '{"name": "P", "max_concurrent": 0}', '{"name": "P", "max_concurrent": -1}', '{"name": "P", "max_concurrent": 1.5}',
	'{"name": "P", "max_concurrent": "4"}', '{"name": "P", "max_concurrent": "NaN"}', '{"name": "P", "max_concurrent": true}', '{"name": "P", "max_concurrent": null}', '{"name": "P", "max_concurrent": 1e400}']) AS plan;

-- Billing: overdraft needs a floor of its own or inherited, and a floor needs overdraft.
SELECT plan, pg_temp.plan_problems(plan) FROM unnest(ARRAY[
	'{"name": "P", "default_billing_mode": "strict"}', '{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": -5}', '{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": 0}',
	'{"name": "P", "default_billing_mode": "overdraft"}', '{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": null}', '{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": 5}', '{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": "low"}',
	'{"name": "P", "default_billing_mode": "prepaid"}', '{"name": "P", "default_billing_mode": ""}', '{"name": "P", "default_billing_mode": 5}', '{"name": "P", "default_billing_mode": ["strict"]}', '{"name": "P", "default_billing_mode": null}', '{"name": "P", "billing_mode": "Strict"}',
	'{"name": "P", "overdraft_floor": -5}', '{"name": "P", "default_billing_mode": "strict", "overdraft_floor": -5}', '{"name": "P", "overdraft_floor": -5, "per_operation": {"x": {"billing_mode": "overdraft"}}}',
	'{"name": "P", "overdraft_floor": -5, "per_operation": {"x": {"max_concurrent": 2}}}', '{"name": "P", "per_operation": {"x": {"billing_mode": "overdraft"}}}', '{"name": "P", "per_operation": {"x": {"billing_mode": "overdraft", "overdraft_floor": -1}}}',
	'{"name": "P", "per_operation": {"x": {"overdraft_floor": -1}}}', '{"name": "P", "per_operation": {"x": {"billing_mode": "strict", "overdraft_floor": -1}}}',
	'{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": -5, "per_operation": {"x": {"overdraft_floor": -1}, "y": {"billing_mode": "strict"}, "z": {}}}',
	'{"name": "P", "default_billing_mode": "overdraft", "overdraft_floor": -5, "per_operation": {"y": {"billing_mode": "strict", "overdraft_floor": -1}}}',
	'{"name": "P", "default_billing_mode": "overdraft", "per_operation": {"x": {"overdraft_floor": -1}}}',
	'{"name": "P", "per_operation": []}', '{"name": "P", "per_operation": {"x": null}}', '{"name": "P", "per_operation": {"x": "strict"}}', '{"name": "P", "per_operation": {"": {}}}', '{"name": "P", "per_operation": {"a/b": {"mode": "strict", "max_concurrent": 0}}}',
	'{"name": "P", "per_operation": {"x": {"billing_mode": "strict", "billingMode": "strict"}}}', '{"name": "P", "per_operation": {"x": {"default_billing_mode": "strict"}}}', '{"name": "P", "per_operation": {"x": {"billing_mode": "free", "max_concurrent": "1e1"}}}',
	'{"name": "P", "per_operation": {"x": {"billing_mode": null, "overdraft_floor": null, "max_concurrent": null}}}']) AS plan;

-- Names: unique within a configuration, exactly; 255 bytes is the most.
SELECT pg_temp.problems('{"models": {"m": "1"}, "plans": {"a": {"name": "Same"}, "b": {"name": "same"}, "c": {"name": "Same "}, "d": {"name": "Same"}, "e": {"name": "Same"}}}');
SELECT n, regexp_replace(pg_temp.problems(jsonb_build_object('models', jsonb_build_object(repeat('m', n), '1'), 'tools', jsonb_build_object(repeat('t', n), '1'), 'fixed', jsonb_build_object(repeat('f', n), 1),
	'plans', jsonb_build_object(repeat('p', n), jsonb_build_object('name', repeat('n', n), 'rate_overrides', jsonb_build_object(repeat('r', n), '1'), 'per_operation', jsonb_build_object(repeat('o', n), '{}'::jsonb))))),
	'(.)\1{100,}', '\1…', 'g') FROM unnest(ARRAY[255, 256]) n;
SELECT octet_length(name), pg_temp.problems(jsonb_build_object('models', jsonb_build_object(name, '1'))) = '(valid)' AS valid FROM unnest(ARRAY[repeat('é', 127), repeat('é', 128)]) name;

-- Big and deep ones are checked like others: 10,000 models, of which every tenth is wrong, and features 1,000 levels deep.
SELECT count(*), min(path), max(path) FROM (SELECT jsonb_build_object('models', jsonb_object_agg('model-' || lpad(n::text, 5, '0'), CASE WHEN n % 10 = 0 THEN 'input_tokens *' ELSE 'input_tokens * ' || n END)) AS config
	FROM generate_series(1, 10000) n) c, LATERAL ducto_validate_pricing(c.config);
SELECT version > :base AS published, error FROM (SELECT jsonb_build_object('models', jsonb_object_agg('model-' || n, 'input_tokens * ' || n)) AS config FROM generate_series(1, 10000) n) c, LATERAL ducto_set_active_pricing(c.config, '10,000 models');
SELECT total FROM ducto_price('{"model": "model-9999", "input_tokens": 3}');
SELECT total, error FROM ducto_price('{"model": "model-10001", "input_tokens": 3}');
SELECT pg_temp.plan_problems('{"name": "P", "features": {"deep": ' || repeat('[', 1000) || repeat(']', 1000) || '}}');
SELECT error FROM ducto_set_active_pricing(('{"models": {"m": "1"}, "plans": {"p": {"name": "P", "features": {"deep": ' || repeat('{"a": ', 1000) || '1' || repeat('}', 1000) || '}}}}')::jsonb);
SELECT length(features::text) FROM ducto.plans WHERE id = 'p';

-- What is no configuration, label or version is an error that names it; raised, when rejections are to be.
SELECT s, pg_temp.raised(s) FROM unnest(ARRAY[
	'SELECT ducto_set_active_pricing(NULL)',
	'SELECT ducto_set_active_pricing(''{"models": {"m": "1"}}'', '''')',
	'SELECT ducto_set_active_pricing(''{"models": {"m": "1"}}'', repeat(''l'', 256))',
	'SELECT ducto_activate_pricing(NULL)',
	'SELECT ducto_get_pricing_config(NULL)',
	'SELECT ducto_validate_pricing(NULL)']) AS s;
BEGIN;
SET LOCAL ducto.rejections = 'raise';
SELECT split_part(pg_temp.raised('SELECT ducto_activate_pricing(0)'), ' | {', 1);
SELECT split_part(pg_temp.raised('SELECT ducto_get_pricing_config(0)'), ' | {', 1);
UPDATE ducto.pricing SET active = false WHERE active;
SELECT split_part(pg_temp.raised('SELECT ducto_get_active_pricing()'), ' | {', 1);
SELECT split_part(pg_temp.raised('SELECT ducto_price(''{}'')'), ' | {', 1);
ROLLBACK;
-- Reading works where nothing can be written.
BEGIN READ ONLY;
SELECT version > 0 AS version FROM ducto_get_active_pricing();
SELECT error FROM ducto_get_pricing_config(:base + 1);
SELECT count(*) > 3 AS many FROM ducto_get_pricing_history();
SELECT count(*) FROM ducto_validate_pricing('{}');
SELECT total FROM ducto_price('{"model": "m", "input_tokens": 1}');
COMMIT;

-- Neutral pricing for who comes next: no plans, a floor of 5.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
-- A configuration is checked in one pass, however large: 40,000 plans take a fraction of a second, and compared pair by pair more than this.
SET statement_timeout = '20s';
SELECT * FROM ducto_validate_pricing((SELECT jsonb_build_object('models', '{"_default": "1"}'::jsonb, 'plans',
	jsonb_object_agg('plan' || n, jsonb_build_object('name', 'Plan ' || least(n, 39999)))) FROM generate_series(1, 40000) AS n));
RESET statement_timeout;

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
