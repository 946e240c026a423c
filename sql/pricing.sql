-- pricing: versions of the price list. Small, and the same everywhere.

CREATE TABLE ducto.pricing (
	version integer NOT NULL,
	id uuid NOT NULL,
	label text,
	config jsonb NOT NULL,
	min_balance numeric NOT NULL,
	active boolean NOT NULL,
	created_at timestamptz NOT NULL,
	CONSTRAINT pricing_pkey PRIMARY KEY (version),
	CONSTRAINT pricing_version CHECK (version > 0),
	CONSTRAINT pricing_config CHECK (jsonb_typeof(config) = 'object'),
	CONSTRAINT pricing_min_balance CHECK (abs(min_balance) < 100000000000000)
);

CREATE UNIQUE INDEX pricing_active ON ducto.pricing (active) WHERE active;
ALTER TABLE ducto.pricing ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.pricing', '');

CREATE FUNCTION ducto.pricing_changed() RETURNS trigger
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_pricing_changed';
REVOKE ALL ON FUNCTION ducto.pricing_changed() FROM PUBLIC;
COMMENT ON FUNCTION ducto.pricing_changed() IS 'Trigger function: lets the sessions of a node of a cluster know that the pricing is another one.';

CREATE TRIGGER pricing_changed AFTER INSERT OR UPDATE OR DELETE ON ducto.pricing
	FOR EACH ROW EXECUTE FUNCTION ducto.pricing_changed();
ALTER TABLE ducto.pricing ENABLE ALWAYS TRIGGER pricing_changed;

COMMENT ON TABLE ducto.pricing IS 'Every pricing configuration ever published; a published one never changes.';
COMMENT ON COLUMN ducto.pricing.version IS '1, 2, 3 and so on';
COMMENT ON COLUMN ducto.pricing.id IS 'UUIDv7.';
COMMENT ON COLUMN ducto.pricing.label IS 'What the publisher called it.';
COMMENT ON COLUMN ducto.pricing.config IS 'The configuration, in snake_case.';
COMMENT ON COLUMN ducto.pricing.min_balance IS 'The default floor of ducto_reserve, in credits.';
COMMENT ON COLUMN ducto.pricing.active IS 'Whether prices come from it: one at most.';
COMMENT ON COLUMN ducto.pricing.created_at IS 'When it was published.';

CREATE TYPE @extschema@.ducto_pricing_result AS (
	id uuid,
	version integer,
	config jsonb,
	label text,
	active boolean,
	created_at timestamptz,
	error text
);
COMMENT ON TYPE @extschema@.ducto_pricing_result IS 'A version of the pricing.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.id IS 'UUIDv7.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.version IS 'Version of the pricing: 1, 2, 3 and so on';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.config IS 'The configuration, in snake_case.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.label IS 'What the publisher called it.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.active IS 'Whether prices come from it: one at most.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.created_at IS 'When it was published.';
COMMENT ON COLUMN @extschema@.ducto_pricing_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_pricing_version AS (
	id uuid,
	version integer,
	label text,
	active boolean,
	created_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_pricing_version IS 'A version of the pricing, without its configuration.';
COMMENT ON COLUMN @extschema@.ducto_pricing_version.id IS 'UUIDv7.';
COMMENT ON COLUMN @extschema@.ducto_pricing_version.version IS 'Version of the pricing: 1, 2, 3 and so on';
COMMENT ON COLUMN @extschema@.ducto_pricing_version.label IS 'What the publisher called it.';
COMMENT ON COLUMN @extschema@.ducto_pricing_version.active IS 'Whether prices come from it: one at most.';
COMMENT ON COLUMN @extschema@.ducto_pricing_version.created_at IS 'When it was published.';

CREATE TYPE @extschema@.ducto_pricing_problem AS (
	path text,
	problem text
);
COMMENT ON TYPE @extschema@.ducto_pricing_problem IS 'What is wrong with a pricing configuration, and where (JSON Pointer).';
COMMENT ON COLUMN @extschema@.ducto_pricing_problem.path IS 'Where, as JSON Pointer.';
COMMENT ON COLUMN @extschema@.ducto_pricing_problem.problem IS 'What is wrong; for an expression with the 1-based position.';

CREATE TYPE @extschema@.ducto_price_result AS (
	total numeric,
	model_credits numeric,
	tool_credits numeric,
	search_credits numeric,
	cache_savings numeric,
	fixed_credits numeric,
	exact_price numeric,
	version integer,
	error text
);
COMMENT ON TYPE @extschema@.ducto_price_result IS 'What a usage costs, in credits, and its parts.';
COMMENT ON COLUMN @extschema@.ducto_price_result.total IS 'Credits: the sum of the parts, 0 or more, rounded to four decimals; NULL, as the other figures, where there is no price.';
COMMENT ON COLUMN @extschema@.ducto_price_result.model_credits IS 'Credits for the model.';
COMMENT ON COLUMN @extschema@.ducto_price_result.tool_credits IS 'Credits for tools.';
COMMENT ON COLUMN @extschema@.ducto_price_result.search_credits IS 'Credits for searches.';
COMMENT ON COLUMN @extschema@.ducto_price_result.cache_savings IS 'Credits for the cache, normally negative.';
COMMENT ON COLUMN @extschema@.ducto_price_result.fixed_credits IS 'Credits for the fixed job.';
COMMENT ON COLUMN @extschema@.ducto_price_result.exact_price IS 'Credits: the same sum to 20 decimals. What four decimals cannot say of it is carried over from charge to charge.';
COMMENT ON COLUMN @extschema@.ducto_price_result.version IS 'Version of the pricing: 1, 2, 3 and so on';
COMMENT ON COLUMN @extschema@.ducto_price_result.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_set_active_pricing(config jsonb, label text DEFAULT NULL)
RETURNS @extschema@.ducto_pricing_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_active_pricing';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_active_pricing(jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_active_pricing(jsonb, text) IS
'Publishes a pricing configuration as the next version and activates it; its plans become those that can be assigned.
config: a JSON object; the page on pricing describes it.
label: 1 to 255 bytes, for people.
Locks the pricing against other publishers; readers go on.
Returns the version.
Errors: 22004, 22023 (naming the first problem by its JSON Pointer; ducto_validate_pricing lists all).';

CREATE FUNCTION @extschema@.ducto_activate_pricing(version integer)
RETURNS @extschema@.ducto_pricing_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_activate_pricing';
REVOKE ALL ON FUNCTION @extschema@.ducto_activate_pricing(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_activate_pricing(integer) IS
'Activates a published version; its plans become those that can be assigned.
version: its number.
Locks the pricing against other publishers; readers go on.
Returns the version.
Rejections: pricing_version_not_found.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_get_active_pricing()
RETURNS @extschema@.ducto_pricing_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_active_pricing';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_active_pricing() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_active_pricing() IS
'Returns the version that prices come from.
Takes no lock, works on a standby.
Rejections: no_active_pricing.';

CREATE FUNCTION @extschema@.ducto_get_pricing_config(version integer)
RETURNS @extschema@.ducto_pricing_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_pricing_config';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_pricing_config(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_pricing_config(integer) IS
'Returns a version of the pricing.
version: its number.
Takes no lock, works on a standby.
Rejections: pricing_version_not_found.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_get_pricing_history()
RETURNS SETOF @extschema@.ducto_pricing_version
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_pricing_history';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_pricing_history() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_pricing_history() IS
'Returns all versions of the pricing, newest first.
Takes no lock, works on a standby.';

CREATE FUNCTION @extschema@.ducto_validate_pricing(config jsonb)
RETURNS SETOF @extschema@.ducto_pricing_problem
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_validate_pricing';
REVOKE ALL ON FUNCTION @extschema@.ducto_validate_pricing(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_validate_pricing(jsonb) IS
'Returns all problems of a pricing configuration; no rows when it can be published.
config: a JSON object, as for ducto_set_active_pricing.
Takes no lock, works on a standby.
Returns each problem with its place as JSON Pointer and, for an expression, the 1-based position.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_price(usage jsonb, plan_id text DEFAULT NULL, version integer DEFAULT NULL)
RETURNS @extschema@.ducto_price_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_price';
REVOKE ALL ON FUNCTION @extschema@.ducto_price(jsonb, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_price(jsonb, text, integer) IS
'Returns what a usage costs, in credits, and its parts; cache_savings is normally negative.
usage: a JSON object of model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, search_queries,
  search_results, web_search_calls, code_exec_calls, tool_calls, fixed_job, and the units of the pricing.
plan_id: with the rate overrides of this plan; NULL = without any.
version: of the pricing; NULL = the active one.
Takes no lock, works on a standby.
Returns the figures; they are NULL where there is an error.
Rejections: no_active_pricing, pricing_version_not_found, plan_not_found, model_not_priced.
Errors: 22004, 22023, 22012, 22003.';

CREATE FUNCTION @extschema@.ducto_reserve_usage(
	user_id uuid,
	usage jsonb,
	operation_type text DEFAULT 'usage',
	metadata jsonb DEFAULT '{}',
	ttl_seconds integer DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	team_id uuid DEFAULT NULL
) RETURNS @extschema@.ducto_reserve_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_reserve_usage';
REVOKE ALL ON FUNCTION @extschema@.ducto_reserve_usage(uuid, jsonb, text, jsonb, integer, text, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_reserve_usage(uuid, jsonb, text, jsonb, integer, text, uuid) IS
'Holds what a usage will cost: ducto_reserve with the price of the usage under the active pricing and the user''s plan,
which the reservation remembers. A usage with a fixed_job is paid from credits alone. A price of 0 is a hold of 0; any other is rounded up.
user_id: the user.
usage: a JSON object, as for ducto_price.
operation_type: stored; 1 to 255 bytes. The user''s plan may have rules for it.
metadata: a JSON object, kept with the reservation.
ttl_seconds: how long it holds, 1 to 2592000; NULL = ducto.reservation_ttl.
idempotency_key: 1 to 255 bytes, in a set of its own; a retry with it returns the original result.
team_id: hold it in this team''s pool, at the prices without a plan.
The floor is the min_balance of the active pricing, or what the user''s plan says for the operation type.
Locks the account.
Returns as ducto_reserve.
Rejections: as ducto_reserve, and no_active_pricing, model_not_priced.
Errors: 22004, 22003, 22012, 22023.';

CREATE FUNCTION @extschema@.ducto_charge_usage(
	user_id uuid,
	usage jsonb,
	reservation_id uuid DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	overrun text DEFAULT 'reject'
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge_usage';
REVOKE ALL ON FUNCTION @extschema@.ducto_charge_usage(uuid, jsonb, uuid, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_charge_usage(uuid, jsonb, uuid, text, jsonb, text) IS
'Charges what a usage costs under the user''s plan: without a reservation as ducto_charge, at the active pricing; with
one as ducto_deduct, at the pricing and with the plan''s rates that it was reserved under. The ledger entry keeps
version, usage and parts of the price. What four decimals cannot say of the price is carried over on the account. A price of 0 books nothing and closes the reservation; any other books an entry, also where it charges 0.0000 for now.
user_id: the user.
usage: a JSON object, as for ducto_price.
reservation_id: the reservation to settle; NULL = charge in one step.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
metadata: a JSON object, kept with the entry.
overrun: as in ducto_deduct; without a reservation as in ducto_charge.
Locks the account.
Returns as ducto_charge.
Rejections: as ducto_charge and ducto_deduct, and no_active_pricing, model_not_priced.
Errors: 22004, 22003, 22012, 22023.';

CREATE FUNCTION @extschema@.ducto_usage_from(
	provider text,
	response jsonb,
	model text DEFAULT NULL,
	units text[] DEFAULT NULL
) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_usage_from';
REVOKE ALL ON FUNCTION @extschema@.ducto_usage_from(text, jsonb, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_usage_from(text, jsonb, text, text[]) IS
'Returns the usage of a provider''s own answer, for ducto_price, ducto_charge_usage and ducto_reserve_usage.
provider: openai (Chat Completions and Responses), anthropic (Messages) or google (generateContent).
response: the answer as it came, the usage in it alone, or an array of the events of one stream. One event will do when it
  has the whole usage: the last chunk of Chat Completions, response.completed, message_delta with input_tokens.
model: what it is priced as; NULL = the model that the answer names, if it does.
units: kinds of tokens to count apart, which are then in none of the other counts: reasoning_tokens, audio_input_tokens,
  audio_output_tokens, image_input_tokens, image_output_tokens, cache_write_1h_tokens; others are not looked at, so it may be
  all units of a pricing. NULL = none.
Takes no lock, reads nothing.
Returns model, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens and, where there were any, search_queries,
  web_search_calls, code_exec_calls and tool_calls, names that every pricing knows, and the units. No token is counted twice:
  input_tokens has those of prompt and tools, of whatever kind, that were neither read from the cache nor written to it,
  output_tokens all that the model made, reasoning included. tool_calls are the calls that the model asked the application for.
Errors: 22004; 22023 for an answer of another form, with what was found and its JSON Pointer.';

CREATE FUNCTION @extschema@.ducto_import_prices(
	catalogue jsonb,
	format text,
	markup numeric DEFAULT 0,
	credits_per_unit numeric DEFAULT 1,
	models text[] DEFAULT NULL
) RETURNS jsonb
LANGUAGE c IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_import_prices';
REVOKE ALL ON FUNCTION @extschema@.ducto_import_prices(jsonb, text, numeric, numeric, text[]) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_import_prices(jsonb, text, numeric, numeric, text[]) IS
'Returns a pricing configuration made of a public price list, to publish it with ducto_set_active_pricing.
catalogue: the list as it was fetched: a JSON object of models (litellm) or of providers with models (models.dev).
format: litellm (model_prices_and_context_window.json) or models.dev (api.json).
markup: what is added to the prices, as a fraction: 0.2 is 20 percent.
credits_per_unit: credits for a unit of the currency of the list, a dollar in both.
models: the names of those to take; NULL = all that have prices.
Takes no lock, reads nothing.
Returns an object with models: for each its price as an expression of input_tokens, output_tokens, cache_read_tokens and
  cache_write_tokens, in exact decimals; and with units where a model that is taken has a price of its own for one of the kinds
  of tokens that ducto_usage_from can count apart, or where it is billed by images, audio_seconds or characters instead of
  tokens. Prices for long prompts decide by all tokens of the prompt. What the list has no price for costs as much as the tokens
  that it is part of, those from and to the cache as much as input. A model of models.dev is under its short name where all
  providers that have it ask the same for it, else under provider/model, which models may have too. There is no _default: what
  is not in the list is model_not_priced. Prices for batches, priority and searches are not taken.
Errors: 22004; 22023 for a list of another form, with its JSON Pointer, and a name that it does not have or not clearly.';

CREATE TYPE @extschema@.ducto_reprice_row AS (
	model text,
	entries bigint,
	charged numeric,
	repriced numeric,
	difference numeric
);
COMMENT ON TYPE @extschema@.ducto_reprice_row IS 'What the usage of a model has cost, and what it would have cost at other prices.';
COMMENT ON COLUMN @extschema@.ducto_reprice_row.model IS 'The model; unknown where none was named.';
COMMENT ON COLUMN @extschema@.ducto_reprice_row.entries IS 'How many entries of the ledger; of one with lines, its lines.';
COMMENT ON COLUMN @extschema@.ducto_reprice_row.charged IS 'Credits: their prices, whatever paid them.';
COMMENT ON COLUMN @extschema@.ducto_reprice_row.repriced IS 'Credits: the other prices; NULL where there are none.';
COMMENT ON COLUMN @extschema@.ducto_reprice_row.difference IS 'Credits: repriced less charged.';

CREATE FUNCTION @extschema@.ducto_reprice(
	from_time timestamptz,
	to_time timestamptz,
	version integer DEFAULT NULL,
	config jsonb DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_reprice_row
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_reprice';
REVOKE ALL ON FUNCTION @extschema@.ducto_reprice(timestamptz, timestamptz, integer, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_reprice(timestamptz, timestamptz, integer, jsonb) IS
'Returns what the usage of a window would have cost under another version of the pricing or a draft. Changes nothing.
from_time: the start, included.
to_time: the end, included.
version: a published version; NULL = the active one.
config: a draft, as for ducto_set_active_pricing, instead of a version.
Takes no lock, works on a standby. Reads the whole ledger once.
Returns a row for each model, the largest charge first, of the usage entries of users and teams that were priced. charged are
  their prices then, paid by credits or allowance or left as shortfall, repriced those of the other pricing, with its rates for
  the plan of then; refunds are not subtracted. Entries that have no other price have a row of their own, in which repriced and
  difference are NULL: they were charged by amount, so that they keep no usage, or the pricing has no price for it.
Errors: 22004; 22023, for a draft with the JSON Pointer of its first problem; 22012, 22003, naming the entry.';
