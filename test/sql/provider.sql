-- provider: the usage of the answers that providers give
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

-- Answers in the form of the providers' descriptions of their interfaces.
CREATE TEMP TABLE answer (name text PRIMARY KEY, provider text, response jsonb);
INSERT INTO answer VALUES
-- OpenAI, Chat Completions: 1,000 of 1,200 prompt tokens came from the cache, 64 of 100 are reasoning.
('chat', 'openai', '{
	"id": "chatcmpl-1", "object": "chat.completion", "created": 1767225600, "model": "gpt-large-2026-01-01", "service_tier": "default",
	"choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
		"message": {"role": "assistant", "content": "Hello.", "refusal": null, "annotations": []}}],
	"usage": {"prompt_tokens": 1200, "completion_tokens": 100, "total_tokens": 1300,
		"prompt_tokens_details": {"cached_tokens": 1000, "audio_tokens": 0},
		"completion_tokens_details": {"reasoning_tokens": 64, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}}}'),
-- Audio is a part of both sides, and so are predicted tokens that were rejected.
('chat, audio', 'openai', '{
	"id": "chatcmpl-2", "object": "chat.completion", "model": "gpt-audio", "choices": [],
	"usage": {"prompt_tokens": 300, "completion_tokens": 500, "total_tokens": 800,
		"prompt_tokens_details": {"cached_tokens": 100, "text_tokens": 50, "audio_tokens": 250, "image_tokens": 0, "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 80}},
		"completion_tokens_details": {"text_tokens": 80, "audio_tokens": 400, "reasoning_tokens": 0, "accepted_prediction_tokens": 10, "rejected_prediction_tokens": 20}}}'),
-- Calls of functions and of a custom tool; one answer of two choices.
('chat, tools', 'openai', '{
	"id": "chatcmpl-3", "object": "chat.completion", "model": "gpt-large",
	"choices": [
		{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [
			{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Oslo\"}"}},
			{"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Rome\"}"}},
			{"id": "call_3", "type": "custom", "custom": {"name": "run_sql", "input": "SELECT 1"}}]}},
		{"index": 1, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [
			{"id": "call_4", "type": "function", "function": {"name": "news", "arguments": "{}"}}]}}],
	"usage": {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100}}'),
-- The last chunk of a stream; tokens were written to the cache too.
('chat, last chunk', 'openai', '{
	"id": "chatcmpl-4", "object": "chat.completion.chunk", "model": "gpt-large", "choices": [],
	"usage": {"prompt_tokens": 5000, "completion_tokens": 40, "total_tokens": 5040, "prompt_tokens_details": {"cached_tokens": 3000, "cache_write_tokens": 1500}}}'),
-- Of gateways that answer so for another provider: what was written to the cache by that one's name; what was read from it besides,
-- where the detail says 0.
('chat, gateway', 'openai', '{
	"id": "chatcmpl-6", "object": "chat.completion", "model": "claude-large", "choices": [],
	"usage": {"prompt_tokens": 98805, "completion_tokens": 5120, "prompt_tokens_details": {"cached_tokens": 66360, "cache_creation_tokens": 32435},
		"cache_read_input_tokens": 66360, "cache_creation_input_tokens": 32435}}'),
('chat, gateway, stream', 'openai', '{
	"id": "chatcmpl-7", "object": "chat.completion.chunk", "model": "claude-large", "choices": [],
	"usage": {"prompt_tokens": 2459, "completion_tokens": 23, "prompt_tokens_details": {"audio_tokens": null, "cached_tokens": 0},
		"cache_read_input_tokens": 2455, "cache_creation_input_tokens": 0}}'),
('chat, gateway, cached', 'openai', '{
	"id": "chatcmpl-8", "object": "chat.completion", "model": "gpt-large", "choices": [],
	"usage": {"prompt_tokens": 2000, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 1500}, "cache_read_input_tokens": 0}}'),
-- The whole stream: the name of a call comes once, its arguments in pieces.
('chat, stream', 'openai', '[
	{"id": "chatcmpl-5", "object": "chat.completion.chunk", "model": "gpt-large", "choices": [{"index": 0, "delta": {"role": "assistant", "tool_calls": [
		{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]}, "finish_reason": null}], "usage": null},
	{"id": "chatcmpl-5", "object": "chat.completion.chunk", "model": "gpt-large", "choices": [{"index": 0, "delta": {"tool_calls": [
		{"index": 0, "function": {"arguments": "{\"city\":"}}]}, "finish_reason": null}], "usage": null},
	{"id": "chatcmpl-5", "object": "chat.completion.chunk", "model": "gpt-large", "choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}], "usage": null},
	{"id": "chatcmpl-5", "object": "chat.completion.chunk", "model": "gpt-large", "choices": [], "usage": {"prompt_tokens": 60, "completion_tokens": 15, "total_tokens": 75}}]'),
('embedding', 'openai', '{
	"object": "list", "model": "embed-small", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}}'),
-- OpenAI, Responses: opening a page that a search found is no search.
('responses', 'openai', '{
	"id": "resp_1", "object": "response", "status": "completed", "model": "gpt-large-2026-01-01", "error": null,
	"output": [
		{"id": "rs_1", "type": "reasoning", "summary": []},
		{"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "ducks"}},
		{"id": "ws_2", "type": "web_search_call", "status": "completed", "action": {"type": "open_page", "url": "https://example.com/ducks"}},
		{"id": "ws_3", "type": "web_search_call", "status": "completed"},
		{"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["ducks", "geese"], "results": null},
		{"id": "ci_1", "type": "code_interpreter_call", "code": "1 + 1", "container_id": "cntr_1", "status": "completed"},
		{"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}", "status": "completed"},
		{"id": "ct_1", "type": "custom_tool_call", "call_id": "call_2", "name": "run_sql", "input": "SELECT 1"},
		{"id": "mcp_1", "type": "mcp_call", "server_label": "docs", "name": "lookup", "arguments": "{}", "output": "none"},
		{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Hello.", "annotations": []}]}],
	"usage": {"input_tokens": 328, "input_tokens_details": {"cached_tokens": 128}, "output_tokens": 52, "output_tokens_details": {"reasoning_tokens": 32}, "total_tokens": 380}}'),
('responses, completed', 'openai', '{
	"type": "response.completed", "sequence_number": 42,
	"response": {"id": "resp_2", "object": "response", "model": "gpt-large", "output": [{"id": "fc_1", "type": "function_call", "name": "weather", "arguments": "{}"}],
		"usage": {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 11, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 48}}}'),
('responses, stream', 'openai', '[
	{"type": "response.created", "response": {"id": "resp_3", "object": "response", "model": "gpt-large", "output": [], "usage": null}},
	{"type": "response.output_item.done", "output_index": 0, "item": {"id": "fc_1", "type": "function_call", "name": "weather", "arguments": "{}"}},
	{"type": "response.completed", "response": {"id": "resp_3", "object": "response", "model": "gpt-large", "output": [{"id": "fc_1", "type": "function_call", "name": "weather", "arguments": "{}"}],
		"usage": {"input_tokens": 37, "input_tokens_details": {"cached_tokens": 7, "cache_write_tokens": 20}, "output_tokens": 11, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 48}}}]'),
('realtime', 'openai', '{
	"type": "response.done", "event_id": "event_1", "response": {"id": "resp_4", "object": "realtime.response", "output": [],
		"usage": {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121, "input_token_details": {"cached_tokens": 64, "text_tokens": 119, "audio_tokens": 13},
			"output_token_details": {"text_tokens": 30, "audio_tokens": 91}}}}'),
-- Anthropic: input_tokens are without those of the cache already.
('message', 'anthropic', '{
	"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-large-1", "stop_reason": "end_turn", "stop_sequence": null,
	"content": [{"type": "text", "text": "Hello."}],
	"usage": {"input_tokens": 21, "cache_creation_input_tokens": 188, "cache_read_input_tokens": 1800, "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 88},
		"output_tokens": 393, "output_tokens_details": {"thinking_tokens": 200}, "service_tier": "standard"}}'),
('message, parts of writes alone', 'anthropic', '{
	"id": "msg_2", "type": "message", "model": "claude-large-1", "content": [],
	"usage": {"input_tokens": 5, "cache_creation_input_tokens": null, "cache_read_input_tokens": null, "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40}, "output_tokens": 1}}'),
-- Searches are in the usage, runs of code in the blocks; what the application is asked for is a tool call.
('message, tools', 'anthropic', '{
	"id": "msg_3", "type": "message", "model": "claude-large-1",
	"content": [
		{"type": "thinking", "thinking": "Well.", "signature": "abc"},
		{"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "ducks"}},
		{"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
		{"type": "server_tool_use", "id": "srvtoolu_2", "name": "bash_code_execution", "input": {"command": "ls"}},
		{"type": "server_tool_use", "id": "srvtoolu_3", "name": "code_execution", "input": {"code": "1"}},
		{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
		{"type": "mcp_tool_use", "id": "mcptoolu_1", "name": "lookup", "server_name": "docs", "input": {}}],
	"usage": {"input_tokens": 105, "output_tokens": 60, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 0, "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1}}}'),
('message, delta', 'anthropic', '{
	"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
	"usage": {"input_tokens": 10682, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 12, "output_tokens": 510, "server_tool_use": {"web_search_requests": 1}}}'),
-- A delta may tell the output alone. It is the total: the 1 of the start is in the 15.
('message, stream', 'anthropic', '[
	{"type": "message_start", "message": {"id": "msg_4", "type": "message", "role": "assistant", "model": "claude-large-1", "content": [], "stop_reason": null,
		"usage": {"input_tokens": 25, "cache_creation_input_tokens": 8, "cache_read_input_tokens": 3, "output_tokens": 1}}},
	{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
	{"type": "ping"},
	{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
	{"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}},
	{"type": "content_block_start", "index": 2, "content_block": {"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {}}},
	{"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}},
	{"type": "message_stop"}]'),
-- Making the conversation shorter costs tokens that the counts of the usage do not have.
('message, compaction', 'anthropic', '{
	"id": "msg_5", "type": "message", "model": "claude-large-1", "content": [],
	"usage": {"input_tokens": 23000, "output_tokens": 1000, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0,
		"iterations": [{"type": "compaction", "input_tokens": 180000, "output_tokens": 3500, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 200}, {"type": "message", "input_tokens": 23000, "output_tokens": 1000}]}}'),
-- Google: the prompt has the cached tokens in it; thoughts and what tools gave are beside it.
('generate', 'google', '{
	"candidates": [{"content": {"role": "model", "parts": [{"text": "Hello."}]}, "finishReason": "STOP", "index": 0}],
	"usageMetadata": {"promptTokenCount": 1500, "cachedContentTokenCount": 1200, "candidatesTokenCount": 30, "thoughtsTokenCount": 70, "toolUsePromptTokenCount": 45, "totalTokenCount": 1645,
		"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1400}, {"modality": "AUDIO", "tokenCount": 100}], "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}],
		"candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 30}], "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 45}]},
	"modelVersion": "gemini-large", "responseId": "r1"}'),
('generate, tools', 'google', '{
	"candidates": [{"content": {"role": "model", "parts": [
			{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}, {"executableCode": {"language": "PYTHON", "code": "1 + 1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}]},
		"groundingMetadata": {"webSearchQueries": ["ducks", "geese"], "groundingChunks": []}}],
	"usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 10, "totalTokenCount": 30}, "modelVersion": "gemini-large"}'),
-- Each chunk of a stream tells what there was until then.
('generate, stream', 'google', '[
	{"candidates": [{"content": {"parts": [{"text": "He"}]}}], "usageMetadata": {"promptTokenCount": 20, "totalTokenCount": 20}, "modelVersion": "gemini-large", "responseId": "r2"},
	{"candidates": [{"content": {"parts": [{"functionCall": {"name": "weather", "args": {}}}]}, "groundingMetadata": {"webSearchQueries": ["ducks"]}}],
		"usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 3, "totalTokenCount": 23}, "modelVersion": "gemini-large", "responseId": "r2"},
	{"candidates": [{"content": {"parts": [{"functionCall": {"name": "news", "args": {}}}]}, "groundingMetadata": {"webSearchQueries": ["ducks"]}}],
		"usageMetadata": {"promptTokenCount": 20, "candidatesTokenCount": 9, "thoughtsTokenCount": 4, "totalTokenCount": 33}, "modelVersion": "gemini-large", "responseId": "r2"}]'),
('generate, blocked', 'google', '{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}, "modelVersion": "gemini-large"}'),
('generate, kinds', 'google', '{
	"candidates": [], "usageMetadata": {"promptTokenCount": 1000, "cachedContentTokenCount": 300, "candidatesTokenCount": 500, "thoughtsTokenCount": 20, "totalTokenCount": 1520,
		"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 500}, {"modality": "IMAGE", "tokenCount": 250}, {"modality": "VIDEO", "tokenCount": 50}],
		"cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 300}], "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 480}, {"modality": "TEXT"}]}, "modelVersion": "gemini-large"}'),
('generate, snake case', 'google', '{
	"candidates": [{"content": {"parts": [{"function_call": {"name": "weather", "args": {}}}]}}],
	"usage_metadata": {"prompt_token_count": 100, "cached_content_token_count": 40, "candidates_token_count": 5, "thoughts_token_count": 6, "tool_use_prompt_token_count": 7, "total_token_count": 118}, "model_version": "gemini-large"}');

SELECT name, ducto_usage_from(provider, response) AS usage FROM answer ORDER BY provider DESC, name;

-- The usage alone is the same usage, but for what only the answer tells.
SELECT name, usage, usage = ducto_usage_from(provider, response) - 'tool_calls' - 'code_exec_calls' - 'model' AS same
FROM answer, LATERAL ducto_usage_from(provider, coalesce(response -> 'usage', response -> 'usageMetadata')) AS usage
WHERE name IN ('chat', 'chat, tools', 'message', 'message, tools', 'generate') ORDER BY name;
-- The model that it is priced as may be another than the one that the answer names.
SELECT ducto_usage_from(provider => 'openai', response => response, model => 'ours') ->> 'model' AS given, ducto_usage_from('openai', response, NULL) ->> 'model' AS its_own FROM answer WHERE name = 'chat';

-- Kinds of tokens that a pricing has units for are counted apart; those that it has none for stay where they were.
\set units '\'{reasoning_tokens,audio_input_tokens,audio_output_tokens,image_input_tokens,image_output_tokens,cache_write_1h_tokens,gpu_seconds}\''
SELECT name, ducto_usage_from(provider, response, units => :units) AS usage FROM answer WHERE ducto_usage_from(provider, response, units => :units) <> ducto_usage_from(provider, response) ORDER BY provider DESC, name;
SELECT units, ducto_usage_from(provider, response, NULL, units::text[]) FROM answer, unnest(ARRAY['{}', '{NULL}', '{audio_tokens}', '{audio_output_tokens}', '{{audio_input_tokens},{audio_output_tokens}}']) AS units WHERE name = 'chat, audio';
-- A provider that tells more of a kind than of the whole is not believed.
SELECT ducto_usage_from('openai', '{"usage": {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 60, "audio_tokens": 70, "image_tokens": 70}, "completion_tokens_details": {"reasoning_tokens": 51}}}', units => :units);

-- No token is lost or counted twice: what the provider calls the total is the sum of the four.
SELECT name, total AS providers, (SELECT sum(value::numeric) FROM jsonb_each_text(ducto_usage_from(provider, response)) WHERE key ~ '_tokens$') AS ours,
	(SELECT sum(value::numeric) FROM jsonb_each_text(ducto_usage_from(provider, response, units => :units)) WHERE key ~ '_tokens$') AS apart
FROM answer, LATERAL (SELECT coalesce(response #>> '{usage,total_tokens}', response #>> '{response,usage,total_tokens}', response #>> '{usageMetadata,totalTokenCount}', response #>> '{usage_metadata,total_token_count}')::numeric AS total) t
WHERE total IS NOT NULL ORDER BY provider DESC, name;

-- Each of them is a usage that any pricing takes.
SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "input_tokens * 0.003 + output_tokens * 0.015 + cache_read_tokens * 0.0003 + cache_write_tokens * 0.00375"},
	"tools": {"_default": "tool_calls * 0.01"}, "search": {"costs": "search_queries * 0.0025 + web_search_calls * 0.01 + code_exec_calls * 0.03"}, "min_balance": 0}');
SELECT name, p.total, p.model_credits AS model, p.tool_credits AS tools, p.search_credits AS search, p.error FROM answer, LATERAL ducto_price(ducto_usage_from(provider, response)) p ORDER BY provider DESC, name;
SELECT new_balance FROM ducto_add_credits('94077de4-0000-4000-8000-000000000001', 1000);
SELECT amount, balance_after, error FROM ducto_charge_usage('94077de4-0000-4000-8000-000000000001', (SELECT ducto_usage_from(provider, response) FROM answer WHERE name = 'message, tools'), idempotency_key => 'msg_3');

-- An answer of another form is an error that says what was found, and where.
SELECT provider, response, pg_temp.raised(format('SELECT ducto_usage_from(%L, %L)', provider, response)) FROM (VALUES
	(1, 'openai', '{}'),
	(2, 'openai', '{"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "He"}}], "usage": null}'),
	(3, 'openai', '{"error": {"message": "Rate limit reached", "type": "requests"}}'),
	(4, 'openai', '{"usage": {"type": "duration", "seconds": 9}}'),
	(5, 'openai', '{"usage": [1]}'),
	(6, 'openai', '{"usage": {"prompt_tokens": "5", "completion_tokens": 1}}'),
	(7, 'openai', '{"usage": {"prompt_tokens": 5, "completion_tokens": -1}}'),
	(8, 'openai', '{"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 6}}}'),
	(9, 'openai', '{"usage": {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": 3}}'),
	(10, 'openai', '{"usage": {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 6}}'),
	(11, 'openai', '{"usageMetadata": {"promptTokenCount": 5}}'),
	(12, 'openai', '{"choices": {"message": 1}, "usage": {"prompt_tokens": 5}}'),
	(13, 'openai', '{"choices": ["x"], "usage": {"prompt_tokens": 5}}'),
	(14, 'openai', '{"choices": [{"message": {"tool_calls": [{"function": {"name": "a"}}, {"function": {"name": 7}}]}}], "usage": {"prompt_tokens": 5}}'),
	(15, 'openai', '[]'),
	(16, 'openai', '[{"choices": []}, {"choices": [], "usage": null}]'),
	(17, 'openai', '[{"id": "a", "usage": {"prompt_tokens": 5}}, {"id": "b", "usage": {"prompt_tokens": 7}}]'),
	(18, 'openai', '[5]'),
	(19, 'openai', '"usage"'),
	(20, 'openai', 'null'),
	(21, 'openai', NULL),
	(22, 'anthropic', '{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}'),
	(23, 'anthropic', '{"usage": {"prompt_tokens": 5, "completion_tokens": 1}}'),
	(24, 'anthropic', '{"usage": {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 3}}}'),
	(25, 'anthropic', '{"usage": {"input_tokens": 5, "output_tokens": 1, "server_tool_use": {"web_search_requests": "2"}}}'),
	(26, 'anthropic', '{"usage": {"input_tokens": 5, "output_tokens": 1, "iterations": [{"type": "message", "input_tokens": 5, "output_tokens": 1}, {"type": "advisor_message", "model": "claude-small-1", "input_tokens": 50, "output_tokens": 10}]}}'),
	(27, 'anthropic', '{"model": 5, "usage": {"input_tokens": 5, "output_tokens": 1}}'),
	(28, 'anthropic', '[{"type": "message_start", "message": "x"}]'),
	(29, 'google', '{"candidates": []}'),
	(30, 'google', '{"usageMetadata": {"promptTokenCount": 5, "cachedContentTokenCount": 5.5}}'),
	(31, 'google', '{"usageMetadata": {"trafficType": "ON_DEMAND"}}'),
	(32, 'google', '{"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "i": 9, "j": 10, "k": 11, "l": 12, "m": 13, "n": 14}'),
	(33, 'Google', '{"usageMetadata": {"promptTokenCount": 5}}'),
	(34, '', '{"usageMetadata": {"promptTokenCount": 5}}'),
	(35, NULL, '{"usageMetadata": {"promptTokenCount": 5}}')) t (n, provider, response) ORDER BY n;
SELECT pg_temp.raised($$SELECT ducto_usage_from('openai', '{"usage": {"prompt_tokens": 5}}', '')$$);
SELECT pg_temp.raised(format('SELECT ducto_usage_from(%L, %L)', 'openai', jsonb_build_object('model', repeat('m', 256), 'usage', '{"prompt_tokens": 5}'::jsonb)));
SELECT length(ducto_usage_from('openai', jsonb_build_object('model', repeat('m', 255), 'usage', '{"prompt_tokens": 5}'::jsonb)) ->> 'model');

-- An answer may have very many parts, and counts of any size.
SELECT jsonb_array_length(ducto_usage_from('anthropic', jsonb_build_object('usage', '{"input_tokens": 1, "output_tokens": 1}'::jsonb,
	'content', (SELECT jsonb_agg(jsonb_build_object('type', 'tool_use', 'name', 't' || n)) FROM generate_series(1, 10000) n))) -> 'tool_calls');
SELECT ducto_usage_from('openai', '{"usage": {"prompt_tokens": 1e30, "completion_tokens": 0.5, "prompt_tokens_details": {"cached_tokens": 1}}}');

-- It reads nothing, so it can stand in an index or a generated column.
SELECT provolatile, proparallel, prosecdef, proconfig FROM pg_proc WHERE proname = 'ducto_usage_from';

SELECT error FROM ducto_set_active_pricing('{"models": {"_default": "0"}, "min_balance": 5}');
SELECT * FROM ducto_verify();
