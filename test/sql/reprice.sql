-- reprice: what the usage of a window would have cost at other prices
\pset null -
SET TimeZone = 'UTC';

\set ada '\'4e941ce0-0000-4000-8000-000000000001\''
\set bob '\'4e941ce0-0000-4000-8000-000000000002\''
\set cyd '\'4e941ce0-0000-4000-8000-000000000003\''

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
	RETURN concat_ws(' | ', SQLSTATE, regexp_replace(SQLERRM, '[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', 'g'), nullif(hint, ''));
END $$;
-- From when this story began: others in this database used something too.
CREATE FUNCTION pg_temp.reprice(version integer DEFAULT NULL, config jsonb DEFAULT NULL, since timestamptz DEFAULT current_setting('story.since')::timestamptz, until timestamptz DEFAULT 'tomorrow') RETURNS SETOF ducto_reprice_row
LANGUAGE sql AS $$ SELECT * FROM ducto_reprice(since, until, version, config) $$;

-- Three users on two versions: one on a plan with a rate of its own and an allowance, one who pays from a team's pool.
SELECT pg_sleep(0.01);
SELECT set_config('story.since', clock_timestamp()::text, false) IS NOT NULL AS begun;
SELECT error FROM ducto_set_active_pricing('{"models": {"duck": "input_tokens * 0.01 + output_tokens * 0.03", "goose": "input_tokens * 0.02", "_default": "1"}, "tools": {"_default": "tool_calls * 0.5"}, "fixed": {"report": 2.5}, "min_balance": 0,
	"plans": {"pro": {"name": "Pro", "free_allowance": 3, "rate_overrides": {"duck": "input_tokens * 0.005"}}}}');
SELECT version AS v1 FROM ducto_get_active_pricing() \gset
SELECT new_balance FROM ducto_add_credits(:ada, 1000);
SELECT new_balance FROM ducto_add_credits(:bob, 1000);
SELECT plan_id FROM ducto_set_user_plan(:bob, 'pro');
SELECT team_id AS pond FROM ducto_create_team('Pond') \gset
SELECT new_balance FROM ducto_add_team_credits(:'pond', 100);
SELECT user_id = :cyd AS member FROM ducto_add_team_member(:'pond', :cyd);
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "duck", "input_tokens": 1000, "output_tokens": 100}');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "duck", "input_tokens": 500, "tool_calls": ["draw", "draw"]}');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "goose", "input_tokens": 100}');
SELECT amount FROM ducto_charge_usage(:ada, '{"fixed_job": "report"}');
SELECT amount, allowance_consumed FROM ducto_charge_usage(:bob, '{"model": "duck", "input_tokens": 1000}');
SELECT reservation_id AS hold FROM ducto_reserve_usage(:cyd, '{"model": "duck", "input_tokens": 200}', team_id => :'pond') \gset
SELECT amount FROM ducto_charge_usage(:cyd, '{"model": "duck", "input_tokens": 300}', :'hold');
-- By amount, no usage is kept.
SELECT amount FROM ducto_charge(:ada, 7, model => 'duck');
SELECT amount FROM ducto_charge(:ada, 8);
SELECT pg_sleep(0.01);
SELECT clock_timestamp() AS later \gset
SELECT pg_sleep(0.01);
SELECT error FROM ducto_set_active_pricing('{"models": {"duck": "input_tokens * 0.02"}, "min_balance": 0, "plans": {"pro": {"name": "Pro"}}}');
SELECT version AS v2 FROM ducto_get_active_pricing() \gset
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "duck", "input_tokens": 10}');
SELECT amount, shortfall FROM ducto_charge_usage(:cyd, '{"model": "duck", "input_tokens": 10000}', (SELECT reservation_id FROM ducto_reserve_usage(:cyd, '{"model": "duck", "input_tokens": 10}', team_id => :'pond')), overrun => 'clamp');

-- Under the version of then each costs what it cost: the plan's rate for who had it, paid by the allowance or not, collected or not.
SELECT * FROM pg_temp.reprice(:v1, until => :'later');
-- The second version has no rate of the plan, no price for geese, and tools are free; a job that it lacks has no price.
SELECT * FROM pg_temp.reprice(until => :'later');
SELECT * FROM pg_temp.reprice(:v2);
SELECT * FROM pg_temp.reprice(since => :'later');
-- A draft: the plan's rate goes by the plan that the entry was priced for.
SELECT * FROM pg_temp.reprice(config => '{"models": {"_default": "input_tokens * 0.04"}, "fixed": {"report": 3}, "plans": {"pro": {"name": "Pro", "rateOverrides": {"duck": "1"}}}}');
-- Each price is exact, and not below 0; the sums are rounded once.
SELECT * FROM pg_temp.reprice(config => '{"models": {"duck": "0.00003", "_default": "0 - input_tokens"}, "fixed": {"report": 0}}');
-- Nothing was used before.
SELECT * FROM pg_temp.reprice(since => '1999-01-01', until => '2000-01-01');
-- What was counted in units has a price where the pricing has these units, and none where it has not.
SELECT clock_timestamp() AS units_since \gset
SELECT error FROM ducto_set_active_pricing('{"units": ["ponds", "seconds"], "models": {"paint": "ponds * 2 + seconds"}, "min_balance": 0}');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "paint", "ponds": 3, "seconds": 0.5}');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "paint", "ponds": 1}');
SELECT * FROM pg_temp.reprice(since => :'units_since');
SELECT * FROM pg_temp.reprice(:v2, since => :'units_since');
SELECT * FROM pg_temp.reprice(config => '{"units": ["ponds"], "models": {"_default": "ponds * 5"}}', since => :'units_since');
SELECT error FROM ducto_activate_pricing(:v2);

-- Refunds are not subtracted, and it changes nothing: not a draft, not an entry, in a transaction that cannot write.
SELECT amount FROM ducto_refund((SELECT id FROM ducto.ledger WHERE account_id = :ada AND model = 'goose'));
CREATE TEMP TABLE before AS SELECT (SELECT count(*) FROM ducto.ledger) AS entries, (SELECT count(*) FROM ducto.pricing) AS versions, (SELECT sum(balance) FROM ducto.accounts) AS balances;
BEGIN READ ONLY;
SELECT sum(entries) AS entries, sum(charged) AS charged, sum(repriced) AS repriced, sum(difference) AS difference FROM pg_temp.reprice(config => '{"models": {"_default": "2"}}');
COMMIT;
SELECT b.* = a.* AS unchanged FROM before b, (SELECT (SELECT count(*) FROM ducto.ledger) AS entries, (SELECT count(*) FROM ducto.pricing) AS versions, (SELECT sum(balance) FROM ducto.accounts) AS balances) a;

-- A draft that fails for what was used is an error that names the entry; one that is no configuration names the place.
SELECT c AS config, pg_temp.raised(format('SELECT * FROM pg_temp.reprice(config => %L)', c)) FROM unnest(ARRAY['{"models": {"_default": "1 / (input_tokens - 500)"}}', '{"models": {"_default": "input_tokens * 1e20"}}', '{}', '[]', '{"models": {"duck": "input_tokens *"}}', '{"models": {"duck": "1"}, "plan": {}}']) WITH ORDINALITY c (c, n) ORDER BY n;
SELECT a AS arguments, pg_temp.raised(format('SELECT ducto_reprice(%s)', a)) FROM unnest(ARRAY['NULL, now()', 'now(), NULL', '''-infinity'', now()', 'now(), ''infinity''', '''2026-01-02 UTC'', ''2026-01-01 UTC''', 'now(), now(), 0', 'now(), now(), 2000000000', 'now(), now(), 1, ''{"models": {"m": "1"}}''']) WITH ORDINALITY a (a, n) ORDER BY n;
BEGIN;
UPDATE ducto.pricing SET active = false WHERE active;
SELECT pg_temp.raised('SELECT ducto_reprice(now(), now())');
ROLLBACK;

-- Each expression is parsed once, and an entry's memory is free after it, however many there are (true also where the peak
-- cannot be told, and under a sanitizer, which takes memory itself).
CREATE FUNCTION pg_temp.peak_kb() RETURNS bigint
LANGUAGE sql AS $$ SELECT CASE WHEN current_setting('test.sanitizer', true) IS NOT NULL THEN 0
  ELSE coalesce(substring(pg_read_file('/proc/self/status', 0, 100000, true) FROM 'VmHWM:\s*(\d+)')::bigint, 0) END $$;
SELECT count(amount) FROM generate_series(1, 5000) n, LATERAL ducto_charge_usage(:ada, jsonb_build_object('model', 'duck', 'input_tokens', 1 + n % 2));
SELECT pg_temp.peak_kb() AS before \gset
SELECT model, entries, repriced FROM pg_temp.reprice(config => jsonb_build_object('models', jsonb_build_object('duck', '1' || repeat(' + input_tokens', 270))), since => :'later') WHERE repriced IS NOT NULL;
SELECT pg_temp.peak_kb() - :before < 20000 AS flat;

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
