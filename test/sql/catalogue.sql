-- catalogue: a pricing made of a public price list
\pset null -

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

-- Lists of our own, in the form of LiteLLM, with prices per token, and of models.dev, with prices per million.
CREATE TEMP TABLE list (format text PRIMARY KEY, catalogue jsonb);
INSERT INTO list VALUES ('litellm', '{
	"sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "max_tokens": "LEGACY parameter.", "mode": "one of: chat, embedding", "litellm_provider": "one of many"},
	"duck-large": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06, "litellm_provider": "duck", "mode": "chat", "max_input_tokens": 128000, "supports_vision": true},
	"goose-large": {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07, "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
		"input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05, "cache_read_input_token_cost_above_200k_tokens": 6e-07, "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
		"input_cost_per_token_batches": 1.5e-06, "output_cost_per_token_batches": 7.5e-06, "input_cost_per_token_priority": 6e-06, "input_cost_per_token_above_200k_tokens_priority": 1.2e-05, "search_context_cost_per_query": {"search_context_size_low": 0.01}, "mode": "chat"},
	"swan/steps": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "input_cost_per_token_above_128k_tokens": 2e-06, "input_cost_per_token_above_256k_tokens": 4e-06, "output_cost_per_token_above_256k_tokens": 8e-06, "mode": "chat"},
	"swan/table": {"mode": "chat", "tiered_pricing": [{"range": [0, 32000], "input_cost_per_token": 5e-08, "output_cost_per_token": 4e-07}, {"range": [32000, 128000], "input_cost_per_token": 1e-07, "output_cost_per_token": 8e-07}]},
	"embed-small": {"input_cost_per_token": 2e-08, "mode": "embedding"},
	"free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0, "mode": "chat"},
	"half": {"input_cost_per_token": 1e-06, "output_cost_per_token": null, "mode": "chat"},
	"duck-audio": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "input_cost_per_audio_token": 4e-05, "output_cost_per_audio_token": 8e-05, "mode": "chat"},
	"duck-thinker": {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06, "output_cost_per_reasoning_token": 3e-06, "input_cost_per_token_above_200k_tokens": 2e-06, "mode": "chat"},
	"duck-picture": {"input_cost_per_token": 5e-06, "input_cost_per_image_token": 1e-05, "output_cost_per_token": 0, "output_cost_per_image_token": 4e-05, "output_cost_per_image": 0.04, "mode": "image_generation"},
	"paint": {"output_cost_per_image": 0.04, "mode": "image_generation"},
	"listen": {"input_cost_per_second": 0.0001, "output_cost_per_second": 0.0001, "mode": "audio_transcription"},
	"speak": {"input_cost_per_character": 1.5e-05, "mode": "audio_speech"},
	"rented": {"input_cost_per_second": 0.0004, "mode": "chat"}}'),
('models.dev', '{
	"duck": {"id": "duck", "name": "Duck", "env": ["DUCK_API_KEY"], "npm": "@ai-sdk/duck", "doc": "https://example.com", "models": {
		"duck-large": {"id": "duck-large", "name": "Duck Large", "reasoning": true, "limit": {"context": 128000, "output": 16384}, "cost": {"input": 2.5, "output": 10, "cache_read": 1.25}},
		"duck-small": {"id": "duck-small", "cost": {"input": 0.15, "output": 0.6, "cache_read": 0.075}},
		"duck-odd": {"id": "duck-odd", "cost": {"input": 0.1234567, "output": 1}},
		"duck-thinker": {"id": "duck-thinker", "cost": {"input": 1, "output": 2, "reasoning": 3, "input_audio": 5, "output_audio": 2}},
		"duck-draft": {"id": "duck-draft"}}},
	"goose": {"id": "goose", "models": {
		"goose-large": {"id": "goose-large", "cost": {"input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75, "context_over_200k": {"input": 6, "output": 22.5, "cache_read": 0.6, "cache_write": 7.5}}},
		"goose-long": {"id": "goose-long", "cost": {"input": 2.5, "output": 15, "cache_read": 0.25, "tiers": [{"input": 5, "output": 22.5, "cache_read": 0.5, "tier": {"size": 272000}}], "context_over_200k": {"input": 5, "output": 22.5, "cache_read": 0.5}}}}},
	"pond": {"id": "pond", "models": {
		"duck-large": {"id": "duck-large", "cost": {"input": 2.5, "output": 10, "cache_read": 1.25}},
		"duck-small": {"id": "duck-small", "cost": {"input": 0.2, "output": 0.8}},
		"goose-long": {"id": "goose-long"},
		"duck/duck-large": {"id": "duck/duck-large", "cost": {"input": 3, "output": 12}},
		"duck/duck-odd": {"id": "duck/duck-odd", "cost": {"input": 0.1234567, "output": 1}}}},
	"empty": {"id": "empty", "models": {}},
	"none": {"id": "none"}}');

-- One model after the other, at what the list says: one credit is one unit of its currency. Where a model that is taken has a price of its
-- own for a kind of tokens, or is billed by something else, there is a unit, and all expressions have the kind, lest it be free for others.
SELECT format, ducto_import_prices(catalogue, format) -> 'units' AS units FROM list ORDER BY format;
SELECT format, m AS models, config -> 'units' AS units, config #>> ARRAY['models', 'duck-large'] AS duck_large FROM list, unnest(ARRAY['{duck-large}', '{duck-large,duck-thinker}']) m, LATERAL ducto_import_prices(catalogue, format, models => m::text[]) AS config ORDER BY format, m;
SELECT format, m.key AS model, m.value AS price FROM list, jsonb_each_text(ducto_import_prices(catalogue, format) -> 'models') m ORDER BY format, m.key COLLATE "C";
-- A markup of 20 percent, and 1,000 credits for a unit; the numbers are exact however odd.
SELECT ducto_import_prices(catalogue, 'models.dev', markup => 0.2, credits_per_unit => 1000, models => ARRAY['duck-large', 'duck/duck-odd']) AS config,
	ducto_import_prices(catalogue, 'models.dev', 0.17, 33.33, ARRAY['duck-odd']) #>> '{models,duck-odd}' AS odd, 0.1234567 * 1.17 * 33.33 / 1000000 AS input, 1.17 * 33.33 / 1000000 AS output FROM list WHERE format = 'models.dev';
-- Below what it costs, too.
SELECT ducto_import_prices(catalogue, 'litellm', -0.5, NULL, '{duck-large}') AS half, ducto_import_prices(catalogue, 'litellm', NULL, NULL, '{duck-large}') = ducto_import_prices(catalogue, 'litellm', models => '{duck-large}') AS defaults FROM list WHERE format = 'litellm';

-- What comes out can be published as it is, or with what is ours.
SELECT format, count(v.path) AS problems FROM list LEFT JOIN LATERAL ducto_validate_pricing(ducto_import_prices(catalogue, format, 0.3, 100)) v ON true GROUP BY 1 ORDER BY 1;
SELECT error FROM list, LATERAL ducto_set_active_pricing(ducto_import_prices(catalogue, format) || '{"min_balance": 0, "tools": {"_default": "tool_calls * 0.01"}}', 'list') WHERE format = 'litellm';
-- Prices are those of the list to the last digit, on both sides of each line; tokens from and to the cache without a price cost as much as input.
SELECT u AS usage, p.model_credits, p.error FROM (VALUES
	(1, '{"model": "duck-large", "input_tokens": 1000000, "output_tokens": 1000000, "cache_read_tokens": 1000000}'),
	(2, '{"model": "duck-large", "cache_write_tokens": 1000000}'),
	(3, '{"model": "goose-large", "input_tokens": 100000, "cache_read_tokens": 60000, "cache_write_tokens": 40000, "output_tokens": 10000}'),
	(4, '{"model": "goose-large", "input_tokens": 100001, "cache_read_tokens": 60000, "cache_write_tokens": 40000, "output_tokens": 10000}'),
	(5, '{"model": "goose-large", "output_tokens": 900000}'),
	(6, '{"model": "swan/steps", "input_tokens": 128000, "output_tokens": 1000000}'),
	(7, '{"model": "swan/steps", "input_tokens": 128001, "output_tokens": 1000000}'),
	(8, '{"model": "swan/steps", "input_tokens": 256001, "output_tokens": 1000000}'),
	(9, '{"model": "swan/table", "input_tokens": 32000, "output_tokens": 100000}'),
	(10, '{"model": "swan/table", "input_tokens": 32001, "output_tokens": 100000}'),
	(11, '{"model": "embed-small", "input_tokens": 5000000}'),
	(12, '{"model": "free", "input_tokens": 5000000}'),
	(13, '{"model": "half", "input_tokens": 1}'),
	(14, '{"model": "sample_spec", "input_tokens": 1}'),
	(15, '{"model": "new", "input_tokens": 1}'),
	(16, '{"model": "goose-large", "cache_write_tokens": 100000, "cache_write_1h_tokens": 100000}'),
	(17, '{"model": "goose-large", "cache_write_tokens": 100000, "cache_write_1h_tokens": 100001}'),
	(18, '{"model": "duck-large", "cache_write_1h_tokens": 1000000}'),
	(19, '{"model": "duck-audio", "input_tokens": 1000, "audio_input_tokens": 1000, "output_tokens": 100, "audio_output_tokens": 500}'),
	(20, '{"model": "duck-large", "input_tokens": 1000, "audio_input_tokens": 1000, "output_tokens": 100, "audio_output_tokens": 500}'),
	(21, '{"model": "duck-thinker", "output_tokens": 1000, "reasoning_tokens": 1000000}'),
	(22, '{"model": "duck-thinker", "input_tokens": 200001, "output_tokens": 1000, "reasoning_tokens": 1000000}'),
	(23, '{"model": "goose-large", "reasoning_tokens": 1000000}'),
	(24, '{"model": "duck-picture", "input_tokens": 100, "image_input_tokens": 1000, "image_output_tokens": 1056, "images": 1}'),
	(25, '{"model": "paint", "images": 3}'), (26, '{"model": "listen", "audio_seconds": 61.5}'), (27, '{"model": "speak", "characters": 2000}'), (28, '{"model": "rented", "audio_seconds": 1}')) t (n, u), LATERAL ducto_price(u::jsonb) p ORDER BY n;
-- Any rates and any usage, by the arithmetic of SQL.
WITH rates AS (SELECT n, round((random() * 1e-5)::numeric, 9) AS i, round((random() * 1e-4)::numeric, 10) AS o, round((random() * 1e-6)::numeric, 12) AS r, round((random() * 1e-5)::numeric, 8) AS w, round(random()::numeric, 3) AS markup, round((random() * 1000)::numeric + 1, 2) AS credits FROM generate_series(1, 200) n),
configs AS (SELECT *, ducto_import_prices(jsonb_build_object('m', jsonb_build_object('input_cost_per_token', i, 'output_cost_per_token', o, 'cache_read_input_token_cost', r, 'cache_creation_input_token_cost', w)), 'litellm', markup, credits) AS config,
	floor(random() * 1000000)::int AS a, floor(random() * 100000)::int AS b, floor(random() * 1000000)::int AS c, floor(random() * 1000000)::int AS d FROM rates)
SELECT count(*) FILTER (WHERE ducto.expr_value(config #>> '{models,m}', jsonb_build_object('input_tokens', a, 'output_tokens', b, 'cache_read_tokens', c, 'cache_write_tokens', d)) = (a * i + b * o + c * r + d * w) * (1 + markup) * credits) AS exact FROM configs;

-- A name is short where it is clear what it costs; where it is not, it has to be said whose it is.
SELECT n AS models, pg_temp.raised(format('SELECT ducto_import_prices(%L, %L, models => %L)', catalogue, 'models.dev', n)) FROM list, unnest(ARRAY[
	'{duck-large,duck/duck-large,pond/duck-large,duck/duck-small,pond/duck-small,pond/duck/duck-large}', '{duck-small}', '{goose-long}', '{duck-draft}', '{duck}', '{""}', '{NULL}', '{}', '{{duck-large},{duck-odd}}']) WITH ORDINALITY n (n, o) WHERE format = 'models.dev' ORDER BY o;
SELECT n AS models, pg_temp.raised(format('SELECT ducto_import_prices(%L, %L, models => %L)', catalogue, 'litellm', n)) FROM list, unnest(ARRAY['{duck-large,swan/table,paint}', '{half}', '{rented}', '{sample_spec}', '{Duck-Large}']) WITH ORDINALITY n (n, o) WHERE format = 'litellm' ORDER BY o;

-- What is no list of the form, or no number where one belongs, is an error that names the place.
SELECT format, catalogue, pg_temp.raised(format('SELECT ducto_import_prices(%L, %L)', catalogue, format)) FROM (VALUES
	(1, 'litellm', '{}'), (2, 'litellm', '[]'), (3, 'litellm', '{"a": 1, "b": "x"}'), (4, 'models.dev', '{}'),
	(5, 'models.dev', '{"duck-large": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05}}'), (6, 'litellm', '{"duck": {"id": "duck", "models": {"duck-large": {"cost": {"input": 1, "output": 1}}}}}'),
	(7, 'litellm', '{"m": {"input_cost_per_token": "2.5e-06", "output_cost_per_token": 1e-05}}'), (8, 'litellm', '{"m": {"input_cost_per_token": -1, "output_cost_per_token": 1e-05}}'),
	(9, 'litellm', '{"m/n": {"input_cost_per_token": 1, "output_cost_per_token": 1, "input_cost_per_token_above_200k_tokens": true}}'),
	(10, 'litellm', '{"m": {"input_cost_per_token": 1, "output_cost_per_token": 1, "tiered_pricing": [{"input_cost_per_token": 1}]}}'), (11, 'litellm', '{"m": {"tiered_pricing": [{"range": ["a", "b"]}]}}'), (12, 'litellm', '{"m": {"tiered_pricing": {"range": [0, 1]}}}'),
	(13, 'litellm', '{"m": {"input_cost_per_token": 1e41, "output_cost_per_token": 1}}'), (14, 'litellm', '{"": {"input_cost_per_token": 1, "output_cost_per_token": 1}}'), (15, 'litellm', '{"m": {"mode": 5}}'),
	(16, 'models.dev', '{"p": {"models": []}}'), (17, 'models.dev', '{"p": {"models": {"m": {"cost": 5}}}}'), (18, 'models.dev', '{"p": {"models": {"m": {"cost": {"input": "1", "output": 1}}}}}'),
	(19, 'models.dev', '{"p": {"models": {"m": {"cost": {"input": 1, "output": 1, "tiers": [{"input": 2}]}}}}}'), (20, 'models.dev', '{"p": {"models": {"m": {"cost": {"input": 1, "output": 1, "context_over_200k": [1]}}}}}'),
	(21, 'openrouter', '{}'), (22, NULL, '{}'), (23, 'litellm', NULL)) t (n, format, catalogue) ORDER BY n;
SELECT pg_temp.raised(format('SELECT ducto_import_prices(%L, %L)', jsonb_build_object(repeat('m', 256), '{"input_cost_per_token": 1, "output_cost_per_token": 1}'::jsonb), 'litellm'));
SELECT a AS arguments, pg_temp.raised(format('SELECT ducto_import_prices(%L, %L, %s)', '{"m": {"input_cost_per_token": 1, "output_cost_per_token": 1}}', 'litellm', a)) FROM unnest(ARRAY[
	'markup => -1', 'markup => -2', 'markup => ''NaN''', 'markup => ''Infinity''', 'credits_per_unit => 0', 'credits_per_unit => -1', 'credits_per_unit => ''NaN''', 'credits_per_unit => ''-Infinity''', 'credits_per_unit => 1e60']) a;

-- A list of thousands of models of hundreds of providers, of which many have the same models.
SELECT count(*) AS models, count(*) FILTER (WHERE m.key LIKE '%/%') AS with_provider FROM jsonb_each_text(ducto_import_prices(
	(SELECT jsonb_object_agg('p' || p, jsonb_build_object('models', (SELECT jsonb_object_agg('m' || m, jsonb_build_object('cost', jsonb_build_object('input', 1 + m, 'output', 2 + CASE WHEN m <= 10 THEN p ELSE 0 END))) FROM generate_series(1, 100) m))) FROM generate_series(1, 100) p),
	'models.dev') -> 'models') m;

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
