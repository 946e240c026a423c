/*
 * provider.c
 *		Reads what was used from the answers that the providers of models give.
 *		Nothing here knows of tables.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/json.h"
#include "expr/expr.h"
#include "pricing/provider.h"

PG_FUNCTION_INFO_V1(ducto_usage_from);

#define MAX_RULES		14

/* Where a usage has a count: among its members, or in an object that is one. */
typedef struct CountRule
{
	Count		count;
	Names		object;			/* none for the usage itself */
	Names		names;
	Names		inner;			/* an object in the object; none for that itself */
} CountRule;

/* A form of usages. */
typedef struct Shape
{
	Names		own;			/* one of these is there */
	Names		foreign;		/* none of these is */
	CountRule	rules[MAX_RULES];
} Shape;

/* A provider. */
typedef struct Provider
{
	const char *name;
	Names		usage;			/* of the answer */
	Names		inner;			/* what a streaming event has the answer in */
	Names		model;
	Names		id;
	bool		whole;			/* the input has the tokens from and to the cache in it */
	const char *last;			/* which part of a stream has the usage */
	void		(*read_calls) (Answer *answer, const Place *holder);
	const Shape *shapes[2];
} Provider;

/* Where a count is not in an object of the usage, or not in one of that. */
#define IN_USAGE	{NULL}
#define ITSELF		{NULL}

/* Gateways that answer so for other providers say of the cache what those said, besides or by their names for it. */
static const Shape openai_chat = {
	.own = {"prompt_tokens", "completion_tokens"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"prompt_tokens"}, ITSELF},
		{COUNT_CACHE_READ, {"prompt_tokens_details"}, {"cached_tokens"}, ITSELF},
		{COUNT_CACHE_READ, IN_USAGE, {"cache_read_input_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE, {"prompt_tokens_details"}, {"cache_write_tokens", "cache_creation_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE, IN_USAGE, {"cache_creation_input_tokens"}, ITSELF},
		{COUNT_AUDIO_INPUT, {"prompt_tokens_details"}, {"audio_tokens"}, ITSELF},
		{COUNT_IMAGE_INPUT, {"prompt_tokens_details"}, {"image_tokens"}, ITSELF},
		{COUNT_AUDIO_CACHED, {"prompt_tokens_details"}, {"audio_tokens"}, {"cached_tokens_details"}},
		{COUNT_IMAGE_CACHED, {"prompt_tokens_details"}, {"image_tokens"}, {"cached_tokens_details"}},
		{COUNT_OUTPUT, IN_USAGE, {"completion_tokens"}, ITSELF},
		{COUNT_REASONING, {"completion_tokens_details"}, {"reasoning_tokens"}, ITSELF},
		{COUNT_AUDIO_OUTPUT, {"completion_tokens_details"}, {"audio_tokens"}, ITSELF},
		{COUNT_IMAGE_OUTPUT, {"completion_tokens_details"}, {"image_tokens"}, ITSELF},
	}
};

#define IN_DETAILS	{"input_tokens_details", "input_token_details"}
#define OUT_DETAILS	{"output_tokens_details", "output_token_details"}

static const Shape openai_responses = {
	.own = {"input_tokens", "output_tokens"},
	.foreign = {"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"input_tokens"}, ITSELF},
		{COUNT_CACHE_READ, IN_DETAILS, {"cached_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE, IN_DETAILS, {"cache_write_tokens"}, ITSELF},
		{COUNT_AUDIO_INPUT, IN_DETAILS, {"audio_tokens"}, ITSELF},
		{COUNT_IMAGE_INPUT, IN_DETAILS, {"image_tokens"}, ITSELF},
		{COUNT_AUDIO_CACHED, IN_DETAILS, {"audio_tokens"}, {"cached_tokens_details"}},
		{COUNT_IMAGE_CACHED, IN_DETAILS, {"image_tokens"}, {"cached_tokens_details"}},
		{COUNT_OUTPUT, IN_USAGE, {"output_tokens"}, ITSELF},
		{COUNT_REASONING, OUT_DETAILS, {"reasoning_tokens"}, ITSELF},
		{COUNT_AUDIO_OUTPUT, OUT_DETAILS, {"audio_tokens"}, ITSELF},
		{COUNT_IMAGE_OUTPUT, OUT_DETAILS, {"image_tokens"}, ITSELF},
	}
};

static const Shape anthropic_messages = {
	.own = {"input_tokens", "output_tokens"},
	.foreign = {"prompt_tokens", "input_tokens_details", "input_token_details"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"input_tokens"}, ITSELF},
		{COUNT_CACHE_READ, IN_USAGE, {"cache_read_input_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE, IN_USAGE, {"cache_creation_input_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE_5M, {"cache_creation"}, {"ephemeral_5m_input_tokens"}, ITSELF},
		{COUNT_CACHE_WRITE_1H, {"cache_creation"}, {"ephemeral_1h_input_tokens"}, ITSELF},
		{COUNT_OUTPUT, IN_USAGE, {"output_tokens"}, ITSELF},
		{COUNT_REASONING, {"output_tokens_details"}, {"thinking_tokens"}, ITSELF},
		{COUNT_WEB_SEARCHES, {"server_tool_use"}, {"web_search_requests"}, ITSELF},
	}
};

static const Shape google_metadata = {
	.own = {"promptTokenCount", "prompt_token_count", "totalTokenCount", "total_token_count"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"promptTokenCount", "prompt_token_count"}, ITSELF},
		{COUNT_TOOL_INPUT, IN_USAGE, {"toolUsePromptTokenCount", "tool_use_prompt_token_count"}, ITSELF},
		{COUNT_CACHE_READ, IN_USAGE, {"cachedContentTokenCount", "cached_content_token_count"}, ITSELF},
		{COUNT_OUTPUT, IN_USAGE, {"candidatesTokenCount", "candidates_token_count", "responseTokenCount",
		"response_token_count"}, ITSELF},
		{COUNT_THOUGHTS, IN_USAGE, {"thoughtsTokenCount", "thoughts_token_count"}, ITSELF},
	}
};

static const Provider providers[] = {
	{
		"openai", {"usage"}, {"response"}, {"model"}, {"id"}, true,
		"Of a stream the last chunk has it (stream_options.include_usage asks for it), or the event response.completed.",
		openai_calls, {&openai_chat, &openai_responses}
	},
	{
		"anthropic", {"usage"}, {"message"}, {"model"}, {"id"}, false,
		"Of a stream the event message_delta has it; one without input_tokens needs message_start too, both in an array.",
		anthropic_calls, {&anthropic_messages, NULL}
	},
	{
		"google", {"usageMetadata", "usage_metadata"}, {"response"}, {"modelVersion", "model_version"},
		{"responseId", "response_id"}, true,
		"Of a stream the last chunk has it; all chunks in an array will do.",
		google_calls, {&google_metadata, NULL}
	}
};

/* In this order. */
static const char *const provider_words[] = {"openai", "anthropic", "google", NULL};

/*
 * Add numbers, NULL standing for 0.
 */
static Numeric
number_add(Numeric a, Numeric b)
{
	if (a == NULL)
		return b != NULL ? b : int64_to_numeric(0);
	return b == NULL ? a : DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Read the counts of a usage that are there, of one that is there twice the
 * greater.
 */
static void
counts_read(const Answer *answer, const Place *usage, const Shape *shape, Numeric *counts)
{
	Numeric		found[COUNTS] = {NULL};

	for (const CountRule *rule = shape->rules; rule->names[0] != NULL; rule++)
	{
		Place		outer = *usage;
		Place		object;
		Numeric		count;

		if (rule->object[0] != NULL && !place_object(usage, rule->object, &outer))
			continue;
		object = outer;
		if (rule->inner[0] != NULL && !place_object(&outer, rule->inner, &object))
			continue;
		count = place_number(&object, rule->names);
		if (count != NULL && (found[rule->count] == NULL ||
							  DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(count), NumericGetDatum(found[rule->count])))))
			found[rule->count] = count;
	}
	for (int count = 0; count < COUNTS; count++)
		if (found[count] != NULL)
			counts[count] = found[count];
}

/*
 * Read the parts of a count of Google that are audio and images.
 */
static void
modalities_read(const Place *usage, Names names, Numeric *audio, Numeric *image)
{
	Place		details;
	int			n = place_array(usage, names, &details);

	for (int i = 0; i < n; i++)
	{
		Place		detail;
		char	   *modality;
		Numeric	   *part;

		place_element(&details, i, &detail);
		modality = place_text(&detail, (Names) {"modality"});
		part = modality == NULL ? NULL : strcmp(modality, "AUDIO") == 0 ? audio : strcmp(modality, "IMAGE") == 0 ? image : NULL;
		if (part != NULL)
			*part = place_number(&detail, (Names) {"tokenCount", "token_count"});
	}
}

/*
 * Read the parts of the counts of Google that are audio and images.
 */
static void
google_parts_read(const Place *usage, Numeric *counts)
{
	modalities_read(usage, (Names) {"promptTokensDetails", "prompt_tokens_details"},
					&counts[COUNT_AUDIO_INPUT], &counts[COUNT_IMAGE_INPUT]);
	modalities_read(usage, (Names) {"cacheTokensDetails", "cache_tokens_details"},
					&counts[COUNT_AUDIO_CACHED], &counts[COUNT_IMAGE_CACHED]);
	modalities_read(usage, (Names) {"candidatesTokensDetails", "candidates_tokens_details", "responseTokensDetails",
									"response_tokens_details"},
					&counts[COUNT_AUDIO_OUTPUT], &counts[COUNT_IMAGE_OUTPUT]);
}

/*
 * Add what a conversation that was made shorter on the way took for that: it is
 * not in the usage's own counts. An attempt of any other kind may be one of
 * another model.
 */
static void
iterations_read(Answer *answer, const Place *usage, const Shape *shape)
{
	Place		iterations = {0};
	int			n = place_array(usage, (Names) {"iterations"}, &iterations);

	memset(answer->more, 0, sizeof(answer->more));
	for (int i = 0; i < n; i++)
	{
		Place		iteration;
		Numeric		counts[COUNTS] = {NULL};
		char	   *type;

		place_element(&iterations, i, &iteration);
		type = place_text(&iteration, (Names) {"type"});
		if (type != NULL && strcmp(type, "message") == 0)
			continue;
		if (type == NULL || strcmp(type, "compaction") != 0)
			place_reject(&iteration,
						 psprintf("is of type \"%s\", and may be of another model: take the usage of each iteration by itself",
								  type != NULL ? type : ""));
		counts_read(answer, &iteration, shape, counts);
		for (int count = 0; count < COUNTS; count++)
			answer->more[count] = number_add(answer->more[count], counts[count]);
	}
}

/*
 * Return the total of a count.
 */
static Numeric
count_total(const Answer *answer, Count count)
{
	return number_add(answer->counts[count], answer->more[count]);
}

/*
 * Return what was written to the cache: the sum, or else its parts.
 */
static Numeric
cache_write_total(const Answer *answer)
{
	if (answer->counts[COUNT_CACHE_WRITE] != NULL)
		return count_total(answer, COUNT_CACHE_WRITE);
	return number_add(count_total(answer, COUNT_CACHE_WRITE_5M), count_total(answer, COUNT_CACHE_WRITE_1H));
}

/*
 * Return the input without the tokens from and to the cache. It is negative
 * where these are more.
 */
static Numeric
input_total(const Answer *answer)
{
	Numeric		input = number_add(count_total(answer, COUNT_INPUT), count_total(answer, COUNT_TOOL_INPUT));
	Numeric		cached = number_add(count_total(answer, COUNT_CACHE_READ), cache_write_total(answer));

	if (!answer->provider->whole)
		return input;
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(input), NumericGetDatum(cached)));
}

/*
 * Return the form of a usage, NULL for none.
 */
static const Shape *
shape_find(const Answer *answer, const Place *usage)
{
	for (int i = 0; i < lengthof(answer->provider->shapes) && answer->provider->shapes[i] != NULL; i++)
		if (place_has(usage, answer->provider->shapes[i]->own))
			return answer->provider->shapes[i];
	return NULL;
}

/*
 * Read a usage. Counts that were there before, in the same stream, are
 * superseded: they are totals of what there was until then.
 */
static void
usage_read(Answer *answer, const Place *usage)
{
	const Shape *shape = shape_find(answer, usage);
	JsonbValue	value;
	Place		foreign;

	if (shape == NULL)
		place_reject(usage, psprintf("has no counts of \"%s\", found %s", answer->provider->name, place_keys(usage)));
	if (place_member(usage, shape->foreign, &value, &foreign))
		place_reject(&foreign, psprintf("is not of \"%s\"", answer->provider->name));
	counts_read(answer, usage, shape, answer->counts);
	if (shape == &anthropic_messages)
		iterations_read(answer, usage, shape);
	if (shape == &google_metadata)
		google_parts_read(usage, answer->counts);
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(input_total(answer)),
										 NumericGetDatum(int64_to_numeric(0)))))
		place_reject(usage, "has more tokens from and to the cache than input, which they are part of");
	answer->found = true;
}

/*
 * Read an answer, or an event of a stream. False: it has no usage.
 */
static bool
answer_read(Answer *answer, const Place *event)
{
	const Provider *provider = answer->provider;
	Place		holder = *event;
	Place		usage;
	char	   *id;
	char	   *model;

	if (place_has(event, provider->inner))
		place_object(event, provider->inner, &holder);
	id = place_text(&holder, provider->id);
	if (id != NULL && answer->id != NULL && strcmp(id, answer->id) != 0)
		place_reject(&holder, psprintf("is of another answer, \"%s\", than what is before it", id));
	if (id != NULL)
		answer->id = id;
	model = place_text(&holder, provider->model);
	if (model != NULL)
		answer->model = model;
	provider->read_calls(answer, &holder);
	if (place_object(&holder, provider->usage, &usage))
		usage_read(answer, &usage);
	else if (shape_find(answer, &holder) != NULL)
		usage_read(answer, &holder);
	else
		return false;
	return true;
}

/*
 * Read an answer, or the events of a stream.
 */
static void
response_read(Answer *answer, Jsonb *response)
{
	Place		root = {.container = &response->root, .argument = "response"};
	Place		event;

	root.hint = psprintf("\"response\" must be an answer of \"%s\" with its usage, the usage alone, or an array of the events"
						 " of one stream. %s", answer->provider->name, answer->provider->last);
	if (JB_ROOT_IS_SCALAR(response))
		place_reject(&root, "is neither an object nor an array");
	if (JB_ROOT_IS_OBJECT(response))
		answer_read(answer, &root);
	else
		for (int i = 0; i < JB_ROOT_COUNT(response); i++)
		{
			place_element(&root, i, &event);
			answer_read(answer, &event);
		}
	if (!answer->found)
		place_reject(&root,
					 psprintf("has no \"%s\", found %s", answer->provider->usage[0],
							  JB_ROOT_IS_OBJECT(response) ? place_keys(&root) :
							  psprintf("an array of %d", JB_ROOT_COUNT(response))));
}

/*
 * Push a count that is not 0.
 */
static void
push_some(JsonOut *out, const char *name, Numeric value)
{
	if (DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value), NumericGetDatum(int64_to_numeric(0)))))
		return;
	jsonout_key(out, name);
	jsonout_numeric(out, value);
}

/*
 * Subtract a number.
 */
static Numeric
number_subtract(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_sub, NumericGetDatum(a), NumericGetDatum(b)));
}

/*
 * Return the lesser of two numbers, and 0 for one below.
 */
static Numeric
number_within(Numeric number, Numeric most)
{
	Datum		least = DirectFunctionCall2(numeric_smaller, NumericGetDatum(number), NumericGetDatum(most));

	return DatumGetNumeric(DirectFunctionCall2(numeric_larger, least, NumericGetDatum(int64_to_numeric(0))));
}

/* A kind of tokens that can be counted apart: a part of one of a usage's counts. */
typedef struct Kind
{
	const char *unit;
	ExprVariable whole;
	Count		part;
	Count		beside;			/* another count of it, or the same */
	Count		cached;			/* how many of them are in another of the usage's counts; the same for none */
} Kind;

static const Kind kinds[] = {
	{"reasoning_tokens", EXPR_OUTPUT_TOKENS, COUNT_REASONING, COUNT_THOUGHTS, COUNT_REASONING},
	{"audio_input_tokens", EXPR_INPUT_TOKENS, COUNT_AUDIO_INPUT, COUNT_AUDIO_INPUT, COUNT_AUDIO_CACHED},
	{"audio_output_tokens", EXPR_OUTPUT_TOKENS, COUNT_AUDIO_OUTPUT, COUNT_AUDIO_OUTPUT, COUNT_AUDIO_OUTPUT},
	{"image_input_tokens", EXPR_INPUT_TOKENS, COUNT_IMAGE_INPUT, COUNT_IMAGE_INPUT, COUNT_IMAGE_CACHED},
	{"image_output_tokens", EXPR_OUTPUT_TOKENS, COUNT_IMAGE_OUTPUT, COUNT_IMAGE_OUTPUT, COUNT_IMAGE_OUTPUT},
	{"cache_write_1h_tokens", EXPR_CACHE_WRITE_TOKENS, COUNT_CACHE_WRITE_1H, COUNT_CACHE_WRITE_1H, COUNT_CACHE_WRITE_1H}
};

/*
 * Return how many tokens of a kind there are, at most the whole.
 */
static Numeric
kind_total(const Answer *answer, const Kind *kind, Numeric whole)
{
	Numeric		part = count_total(answer, kind->part);

	if (kind->beside != kind->part)
		part = number_add(part, count_total(answer, kind->beside));
	if (kind->cached != kind->part)
		part = number_subtract(part, count_total(answer, kind->cached));
	return number_within(part, whole);
}

/*
 * Tell whether an array has a name.
 */
static bool
names_have(const Datum *names, const bool *nulls, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (!nulls[i] && strcmp(TextDatumGetCString(names[i]), name) == 0)
			return true;
	return false;
}

/*
 * Push the tokens that are to be counted apart, which are then in none of the
 * other counts.
 */
static void
push_kinds(JsonOut *out, const Answer *answer, ArrayType *units, Numeric *counts)
{
	Datum	   *names;
	bool	   *nulls;
	int			n;

	deconstruct_array(units, TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &n);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		Numeric	   *whole = &counts[kinds[i].whole];
		Numeric		part;

		if (!names_have(names, nulls, n, kinds[i].unit))
			continue;
		part = kind_total(answer, &kinds[i], *whole);
		*whole = number_subtract(*whole, part);
		push_some(out, kinds[i].unit, part);
	}
}

/*
 * Push the calls of tools.
 */
static void
push_tools(JsonOut *out, const Answer *answer)
{
	if (answer->ntools == 0)
		return;
	jsonout_key(out, "tool_calls");
	jsonout_push(out, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < answer->ntools; i++)
		jsonout_element(out, answer->tools[i]);
	jsonout_push(out, WJB_END_ARRAY, NULL);
}

/*
 * Make the usage of what was read; units are to be counted apart, NULL for
 * none.
 */
static Jsonb *
usage_make(const Answer *answer, ArrayType *units)
{
	static const ExprVariable tokens[] = {
		EXPR_INPUT_TOKENS, EXPR_OUTPUT_TOKENS, EXPR_CACHE_READ_TOKENS, EXPR_CACHE_WRITE_TOKENS
	};
	JsonOut		out = {0};
	Numeric		counts[EXPR_VARIABLE_COUNT];

	counts[EXPR_INPUT_TOKENS] = input_total(answer);
	counts[EXPR_OUTPUT_TOKENS] = number_add(count_total(answer, COUNT_OUTPUT), count_total(answer, COUNT_THOUGHTS));
	counts[EXPR_CACHE_READ_TOKENS] = count_total(answer, COUNT_CACHE_READ);
	counts[EXPR_CACHE_WRITE_TOKENS] = cache_write_total(answer);
	counts[EXPR_SEARCH_QUERIES] = int64_to_numeric(answer->queries);
	counts[EXPR_WEB_SEARCH_CALLS] = number_add(count_total(answer, COUNT_WEB_SEARCHES), int64_to_numeric(answer->web_searches));
	counts[EXPR_CODE_EXEC_CALLS] = int64_to_numeric(answer->code_runs);

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	if (answer->model != NULL)
	{
		jsonout_key(&out, "model");
		jsonout_text(&out, answer->model);
	}
	if (units != NULL)
		push_kinds(&out, answer, units, counts);
	for (int i = 0; i < lengthof(tokens); i++)
	{
		jsonout_key(&out, expr_variable_names[tokens[i]]);
		jsonout_numeric(&out, counts[tokens[i]]);
	}
	push_some(&out, "search_queries", counts[EXPR_SEARCH_QUERIES]);
	push_some(&out, "web_search_calls", counts[EXPR_WEB_SEARCH_CALLS]);
	push_some(&out, "code_exec_calls", counts[EXPR_CODE_EXEC_CALLS]);
	push_tools(&out, answer);
	return jsonout_end(&out);
}

/*
 * ducto_usage_from returns the usage of a provider's answer. Arguments and
 * errors: see its COMMENT.
 */
Datum
ducto_usage_from(PG_FUNCTION_ARGS)
{
	Answer		answer = {0};
	char	   *model = arg_text(fcinfo, 2, "model");

	arg_require(fcinfo, 0, "provider");
	answer.provider = &providers[arg_choice(fcinfo, 0, "provider", provider_words)];
	arg_require(fcinfo, 1, "response");
	response_read(&answer, PG_GETARG_JSONB_P(1));
	if (model != NULL)
		answer.model = model;
	PG_RETURN_JSONB_P(usage_make(&answer, PG_ARGISNULL(3) ? NULL : PG_GETARG_ARRAYTYPE_P(3)));
}
