/*
 * provider.c
 *		Reads what was used from the answers that the providers of models give.
 *		Nothing here knows of tables.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "expr/expr.h"
#include "base/json.h"
#include "base/place.h"

PG_FUNCTION_INFO_V1(ducto_usage_from);

#define MAX_RULES		10

/* What answers count. */
typedef enum Count
{
	COUNT_INPUT,				/* the prompt */
	COUNT_TOOL_INPUT,			/* what tools gave to the model, beside the prompt */
	COUNT_CACHE_READ,
	COUNT_CACHE_WRITE,
	COUNT_CACHE_WRITE_5M,		/* the parts of what was written, by how long it stays */
	COUNT_CACHE_WRITE_1H,
	COUNT_OUTPUT,
	COUNT_THOUGHTS,				/* beside the output */
	COUNT_WEB_SEARCHES,
	COUNTS
} Count;

/* Where a usage has a count: among its members, or in an object that is one. */
typedef struct CountRule
{
	Count		count;
	Names		object;			/* none for the usage itself */
	Names		names;
} CountRule;

/* A form of usages. */
typedef struct Shape
{
	Names		own;			/* one of these is there */
	Names		foreign;		/* none of these is */
	CountRule	rules[MAX_RULES];
} Shape;

typedef struct Answer Answer;

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

/* What was read of an answer so far. */
struct Answer
{
	const Provider *provider;
	bool		found;			/* a usage */
	char	   *id;
	char	   *model;
	Numeric		counts[COUNTS]; /* NULL: it was not told */
	Numeric		more[COUNTS];	/* what is to be added to them */
	int			queries;		/* of the provider's search in files */
	int			web_searches;
	int			code_runs;
	int			ntools;
	int			tool_places;
	char	  **tools;			/* a name for each call */
};

#define IN_USAGE	{NULL}

static const Shape openai_chat = {
	.own = {"prompt_tokens", "completion_tokens"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"prompt_tokens"}},
		{COUNT_CACHE_READ, {"prompt_tokens_details"}, {"cached_tokens"}},
		{COUNT_CACHE_WRITE, {"prompt_tokens_details"}, {"cache_write_tokens"}},
		{COUNT_OUTPUT, IN_USAGE, {"completion_tokens"}},
	}
};

static const Shape openai_responses = {
	.own = {"input_tokens", "output_tokens"},
	.foreign = {"cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"input_tokens"}},
		{COUNT_CACHE_READ, {"input_tokens_details", "input_token_details"}, {"cached_tokens"}},
		{COUNT_CACHE_WRITE, {"input_tokens_details", "input_token_details"}, {"cache_write_tokens"}},
		{COUNT_OUTPUT, IN_USAGE, {"output_tokens"}},
	}
};

static const Shape anthropic_messages = {
	.own = {"input_tokens", "output_tokens"},
	.foreign = {"prompt_tokens", "input_tokens_details", "input_token_details"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"input_tokens"}},
		{COUNT_CACHE_READ, IN_USAGE, {"cache_read_input_tokens"}},
		{COUNT_CACHE_WRITE, IN_USAGE, {"cache_creation_input_tokens"}},
		{COUNT_CACHE_WRITE_5M, {"cache_creation"}, {"ephemeral_5m_input_tokens"}},
		{COUNT_CACHE_WRITE_1H, {"cache_creation"}, {"ephemeral_1h_input_tokens"}},
		{COUNT_OUTPUT, IN_USAGE, {"output_tokens"}},
		{COUNT_WEB_SEARCHES, {"server_tool_use"}, {"web_search_requests"}},
	}
};

static const Shape google_metadata = {
	.own = {"promptTokenCount", "prompt_token_count", "totalTokenCount", "total_token_count"},
	.rules = {
		{COUNT_INPUT, IN_USAGE, {"promptTokenCount", "prompt_token_count"}},
		{COUNT_TOOL_INPUT, IN_USAGE, {"toolUsePromptTokenCount", "tool_use_prompt_token_count"}},
		{COUNT_CACHE_READ, IN_USAGE, {"cachedContentTokenCount", "cached_content_token_count"}},
		{COUNT_OUTPUT, IN_USAGE, {"candidatesTokenCount", "candidates_token_count", "responseTokenCount",
		"response_token_count"}},
		{COUNT_THOUGHTS, IN_USAGE, {"thoughtsTokenCount", "thoughts_token_count"}},
	}
};

static void openai_calls(Answer *answer, const Place *holder);
static void anthropic_calls(Answer *answer, const Place *holder);
static void google_calls(Answer *answer, const Place *holder);

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
 * Read the counts of a usage that are there.
 */
static void
counts_read(const Answer *answer, const Place *usage, const Shape *shape, Numeric *counts)
{
	for (const CountRule *rule = shape->rules; rule->names[0] != NULL; rule++)
	{
		Place		object = *usage;
		Numeric		count;

		if (rule->object[0] != NULL && !place_object(usage, rule->object, &object))
			continue;
		count = place_number(&object, rule->names);
		if (count != NULL)
			counts[rule->count] = count;
	}
}

/*
 * Add what a conversation that was made shorter on the way took for that: it is
 * not in the usage's own counts. An attempt of any other kind may be one of
 * another model.
 */
static void
iterations_read(Answer *answer, const Place *usage, const Shape *shape)
{
	Place		iterations;
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
 * Add a call of a tool, by the name that an object has; a piece of a call
 * after the first has none.
 */
static void
tool_add(Answer *answer, const Place *call)
{
	char	   *name = place_text(call, (Names) {"name"});

	if (name == NULL)
		return;
	if (answer->ntools == answer->tool_places)
	{
		answer->tool_places = Max(answer->tool_places * 2, 8);
		answer->tools = answer->tools == NULL ? palloc(sizeof(char *) * answer->tool_places) :
			repalloc(answer->tools, sizeof(char *) * answer->tool_places);
	}
	answer->tools[answer->ntools++] = name;
}

/*
 * Read the calls of a choice of Chat Completions.
 */
static void
choice_calls(Answer *answer, const Place *choice)
{
	Place		message;
	Place		calls;
	int			n;

	if (!place_object(choice, (Names) {"message", "delta"}, &message))
		return;
	n = place_array(&message, (Names) {"tool_calls"}, &calls);
	for (int i = 0; i < n; i++)
	{
		Place		call;
		Place		function;

		place_element(&calls, i, &call);
		if (place_object(&call, (Names) {"function", "custom"}, &function))
			tool_add(answer, &function);
	}
}

/*
 * Read an item of the output of Responses. Of a web search only the action
 * that searches is paid for, not opening a page that it found.
 */
static void
output_item_calls(Answer *answer, const Place *item)
{
	char	   *type = place_text(item, (Names) {"type"});
	Place		action;
	char	   *done;

	if (type == NULL)
		return;
	if (strcmp(type, "function_call") == 0 || strcmp(type, "custom_tool_call") == 0 || strcmp(type, "mcp_call") == 0)
		tool_add(answer, item);
	else if (strcmp(type, "code_interpreter_call") == 0)
		answer->code_runs++;
	else if (strcmp(type, "file_search_call") == 0)
		answer->queries++;
	else if (strcmp(type, "web_search_call") == 0)
	{
		done = place_object(item, (Names) {"action"}, &action) ? place_text(&action, (Names) {"type"}) : NULL;
		if (done == NULL || strcmp(done, "search") == 0)
			answer->web_searches++;
	}
}

/*
 * Read the calls of an answer of OpenAI.
 */
static void
openai_calls(Answer *answer, const Place *holder)
{
	Place		array;
	Place		element;
	int			n = place_array(holder, (Names) {"choices"}, &array);

	for (int i = 0; i < n; i++)
	{
		place_element(&array, i, &element);
		choice_calls(answer, &element);
	}
	n = place_array(holder, (Names) {"output"}, &array);
	for (int i = 0; i < n; i++)
	{
		place_element(&array, i, &element);
		output_item_calls(answer, &element);
	}
}

/*
 * Read a block of a message of Anthropic. The usage counts web searches.
 */
static void
block_calls(Answer *answer, const Place *block)
{
	char	   *type = place_text(block, (Names) {"type"});
	char	   *name;

	if (type == NULL)
		return;
	if (strcmp(type, "tool_use") == 0 || strcmp(type, "mcp_tool_use") == 0)
		tool_add(answer, block);
	else if (strcmp(type, "server_tool_use") == 0)
	{
		name = place_text(block, (Names) {"name"});
		if (name != NULL && strstr(name, "code_execution") != NULL)
			answer->code_runs++;
	}
}

/*
 * Read the calls of a message of Anthropic, or of an event with one block.
 */
static void
anthropic_calls(Answer *answer, const Place *holder)
{
	Place		array;
	Place		block;
	int			n = place_array(holder, (Names) {"content"}, &array);

	for (int i = 0; i < n; i++)
	{
		place_element(&array, i, &block);
		block_calls(answer, &block);
	}
	if (place_object(holder, (Names) {"content_block"}, &block))
		block_calls(answer, &block);
}

/*
 * Read the parts of a candidate of Google.
 */
static void
candidate_calls(Answer *answer, const Place *candidate)
{
	Place		content;
	Place		parts;
	Place		grounding;
	Place		searches;
	int			n = 0;

	if (place_object(candidate, (Names) {"content"}, &content))
		n = place_array(&content, (Names) {"parts"}, &parts);
	for (int i = 0; i < n; i++)
	{
		Place		part;
		Place		call;

		place_element(&parts, i, &part);
		if (place_object(&part, (Names) {"functionCall", "function_call"}, &call))
			tool_add(answer, &call);
		if (place_has(&part, (Names) {"executableCode", "executable_code"}))
			answer->code_runs++;
	}
	if (!place_object(candidate, (Names) {"groundingMetadata", "grounding_metadata"}, &grounding))
		return;
	n = place_array(&grounding, (Names) {"webSearchQueries", "web_search_queries"}, &searches);
	answer->web_searches = Max(answer->web_searches, n);
}

/*
 * Read the calls of an answer of Google. Chunks of a stream tell the searches
 * so far.
 */
static void
google_calls(Answer *answer, const Place *holder)
{
	Place		array;
	Place		candidate;
	int			n = place_array(holder, (Names) {"candidates"}, &array);

	for (int i = 0; i < n; i++)
	{
		place_element(&array, i, &candidate);
		candidate_calls(answer, &candidate);
	}
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
 * Push a variable of usages.
 */
static void
push_variable(JsonOut *out, ExprVariable variable, Numeric value)
{
	jsonout_key(out, expr_variable_names[variable]);
	jsonout_numeric(out, value);
}

/*
 * Push a variable of usages that is not 0.
 */
static void
push_some(JsonOut *out, ExprVariable variable, Numeric value)
{
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value), NumericGetDatum(int64_to_numeric(0)))))
		push_variable(out, variable, value);
}

/*
 * Make the usage of what was read.
 */
static Jsonb *
usage_make(const Answer *answer)
{
	JsonOut		out = {0};

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	if (answer->model != NULL)
	{
		jsonout_key(&out, "model");
		jsonout_text(&out, answer->model);
	}
	push_variable(&out, EXPR_INPUT_TOKENS, input_total(answer));
	push_variable(&out, EXPR_OUTPUT_TOKENS, number_add(count_total(answer, COUNT_OUTPUT), count_total(answer, COUNT_THOUGHTS)));
	push_variable(&out, EXPR_CACHE_READ_TOKENS, count_total(answer, COUNT_CACHE_READ));
	push_variable(&out, EXPR_CACHE_WRITE_TOKENS, cache_write_total(answer));
	push_some(&out, EXPR_SEARCH_QUERIES, int64_to_numeric(answer->queries));
	push_some(&out, EXPR_WEB_SEARCH_CALLS,
			  number_add(count_total(answer, COUNT_WEB_SEARCHES), int64_to_numeric(answer->web_searches)));
	push_some(&out, EXPR_CODE_EXEC_CALLS, int64_to_numeric(answer->code_runs));
	if (answer->ntools > 0)
	{
		jsonout_key(&out, "tool_calls");
		jsonout_push(&out, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < answer->ntools; i++)
			jsonout_element(&out, answer->tools[i]);
		jsonout_push(&out, WJB_END_ARRAY, NULL);
	}
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
	const char *word;
	char	   *model = arg_text(fcinfo, 2, "model");

	arg_require(fcinfo, 0, "provider");
	word = arg_word(fcinfo, 0, "provider", provider_words);
	arg_require(fcinfo, 1, "response");
	for (int i = 0; i < lengthof(providers); i++)
		if (strcmp(providers[i].name, word) == 0)
			answer.provider = &providers[i];
	response_read(&answer, PG_GETARG_JSONB_P(1));
	if (model != NULL)
		answer.model = model;
	PG_RETURN_JSONB_P(usage_make(&answer));
}
