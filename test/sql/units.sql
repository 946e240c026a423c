-- Units: what a pricing counts besides tokens, searches and tools.
\pset null -
\set ada '\'0a170000-0000-4000-8000-000000000001\''
\set bob '\'0a170000-0000-4000-8000-000000000002\''

-- A pricing declares them: names of letters, digits and _ that nothing else has.
SELECT * FROM ducto_validate_pricing('{"models": {"a": "images * 0.04 + audio_seconds * 0.0001 + reasoning_tokens_v2 * 1e-6"},
	"units": ["images", "audio_seconds", "reasoning_tokens_v2"]}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "1"}, "units": []}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "1"}, "units": null}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "images"}, "units": {"images": 1}}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "1"}, "units": ["", "Images", "1x", "_x", "a-b", "a b", "bildgröße", 7, null, ["a"]]}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "1"}, "units": ["input_tokens", "tool_calls", "model", "fixed_job", "min", "if", "else", "and", "in", "lambda"]}');
SELECT * FROM ducto_validate_pricing('{"models": {"a": "1"}, "units": ["images", "pages", "images"]}');
SELECT count(*) FROM ducto_validate_pricing(jsonb_build_object('models', jsonb_build_object('a', 'unit_64'), 'units',
	(SELECT jsonb_agg('unit_' || n) FROM generate_series(1, 64) AS n)));
SELECT * FROM ducto_validate_pricing(jsonb_build_object('models', jsonb_build_object('a', 'unit_64 + unit_65'), 'units',
	(SELECT jsonb_agg('unit_' || n) FROM generate_series(1, 65) AS n)));
SELECT path, problem LIKE 'must be a name%' AS too_long FROM ducto_validate_pricing(jsonb_build_object('models', jsonb_build_object('a', '1'), 'units', jsonb_build_array(repeat('u', 256))));

-- An expression anywhere may name them, and no others.
SELECT * FROM ducto_validate_pricing('{"units": ["images"], "models": {"a": "images * pages"}, "tools": {"t": "image"}, "search": {"costs": "images()"},
	"cache": {"discount": "-images"}, "plans": {"p": {"name": "P", "rate_overrides": {"a": "images / 2", "b": "page"}}}}');

SELECT version > 0 AS published FROM ducto_set_active_pricing('{"units": ["images", "audio_seconds", "gpu_seconds"],
	"models": {"painter": "images * 0.04", "speaker": "input_tokens * 0.001 + audio_seconds * 0.0001", "_default": "gpu_seconds * 0.5 + input_tokens * 0.002"},
	"search": {"costs": "search_queries + images * 0.001"}, "min_balance": 0,
	"plans": {"units": {"name": "Units", "rate_overrides": {"painter": "images * 0.01"}}}}');
SELECT version AS units_version FROM ducto_get_active_pricing() \gset

-- Units are keys of usage, numbers of 0 or more, 0 when not given. Models that are not named have the default's price.
SELECT total, model_credits, search_credits, exact_price FROM ducto_price('{"model": "painter", "images": 3}');
SELECT total FROM ducto_price('{"model": "painter", "images": 3}', 'units');
SELECT total FROM ducto_price('{"model": "painter"}');
SELECT total FROM ducto_price('{"model": "painter", "images": null, "input_tokens": 9}');
SELECT total FROM ducto_price('{"model": "speaker", "input_tokens": 10, "audio_seconds": 12.5}');
SELECT total FROM ducto_price('{"gpu_seconds": 3}');
SELECT total FROM ducto_price('{"gpu_seconds": 0}');
SELECT total FROM ducto_price('{"images": 2, "tool_calls": ["a", "b"]}');

-- Undeclared keys and what is no such number are errors with their place.
SELECT total FROM ducto_price('{"model": "painter", "image": 3}');
SELECT total FROM ducto_price('{"model": "painter", "Images": null}');
SELECT total FROM ducto_price('{"model": "painter", "images": -1}');
SELECT total FROM ducto_price('{"model": "painter", "images": "3"}');
SELECT total FROM ducto_price('{"model": "painter", "images": [3]}');
SELECT total FROM ducto_price('{"a/b~c": 1}');
SELECT new_balance FROM ducto_add_credits(:ada, 10);
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "painter", "image": 3}');
SELECT amount FROM ducto_reserve_usage(:ada, '{"model": "painter", "image": 3}');
SELECT balance, last_seq FROM ducto.accounts WHERE id = :ada;

-- They are charged, and kept with the entry.
SELECT amount, balance_after FROM ducto_charge_usage(:ada, '{"model": "painter", "images": 2}', idempotency_key => 'two');
SELECT amount, pricing->'usage' AS usage FROM ducto.ledger WHERE account_id = :ada AND idempotency_key = 'two';
SELECT amount, balance_after FROM ducto_charge_usage(:ada, '{"model": "speaker", "audio_seconds": 0.3}');
SELECT carry FROM ducto.accounts WHERE id = :ada;
SELECT new_balance FROM ducto_add_credits(:bob, 1);
SELECT plan_id FROM ducto_set_user_plan(:bob, 'units');
SELECT amount, balance_after FROM ducto_charge_usage(:bob, '{"model": "painter", "images": 2}');

-- A hold keeps its version, and the units of it; elsewhere the version of the moment counts, also where this session knew
-- another one. A retry is told what was charged, whatever is declared now.
SELECT reservation_id AS r, amount FROM ducto_reserve_usage(:ada, '{"model": "painter", "images": 4}') \gset
SELECT :amount AS held;
SELECT version > :units_version AS published FROM ducto_set_active_pricing('{"units": ["pages"], "models": {"_default": "pages"}, "min_balance": 0}');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "painter", "images": 3}', :'r');
SELECT amount FROM ducto_charge_usage(:ada, '{"model": "painter", "images": 3}');
SELECT amount, idempotent FROM ducto_charge_usage(:ada, '{"model": "painter", "images": 2}', idempotency_key => 'two');
SELECT amount FROM ducto_charge_usage(:ada, '{"pages": 1}');
SELECT total FROM ducto_price('{"images": 1}', version => :units_version);
SELECT total FROM ducto_price('{"pages": 1}', version => :units_version);
SELECT total, error FROM ducto_price('{"pages": 1}', version => 2000000000);

-- Another pricing has no price for what it does not count.
SELECT model, entries, charged, repriced FROM ducto_reprice('2000-01-01', clock_timestamp(), config => '{"units": ["images"], "models": {"painter": "images", "_default": "0"}}')
WHERE model IN ('painter', 'speaker') ORDER BY model;

-- A formula with units can be tried out.
SELECT ducto.expr_value('images * 0.04 if images > 2 else 1', '{"images": 3}', '{images}');
SELECT ducto.expr_value('images * 0.04', '{}', ARRAY['pages', 'images']);
SELECT ducto.expr_value('images * 0.04', '{"images": 3}');
SELECT ducto.expr_value('images * 0.04', '{"pages": 3}', '{images}');
SELECT ducto.expr_value('image', '{}', (SELECT array_agg('unit_' || n) FROM generate_series(1, 64) AS n));
SELECT ducto.expr_value('images(1)', '{}', '{images}');
SELECT ducto.expr_value('1', '{}', '{images,images}');
SELECT ducto.expr_value('1', '{}', '{min}');
SELECT ducto.expr_value('1', '{}', '{NULL}');
SELECT ducto.expr_value('1', '{}', (SELECT array_agg('unit_' || n) FROM generate_series(1, 65) AS n));

SELECT * FROM ducto_verify();
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "1"}}');
