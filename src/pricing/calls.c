/*
 * calls.c
 *		Reads what the answers of providers call: tools of the application,
 *		searches and runs of code.
 */
#include "postgres.h"

#include "pricing/provider.h"

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
	Place		calls = {0};
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
 * openai_calls reads the calls of an answer of OpenAI.
 */
void
openai_calls(Answer *answer, const Place *holder)
{
	Place		array = {0};
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
 * anthropic_calls reads the calls of a message of Anthropic, or of an event with
 * one block.
 */
void
anthropic_calls(Answer *answer, const Place *holder)
{
	Place		array = {0};
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
	Place		parts = {0};
	Place		grounding;
	Place		searches = {0};
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
 * google_calls reads the calls of an answer of Google. Chunks of a stream tell
 * the searches so far.
 */
void
google_calls(Answer *answer, const Place *holder)
{
	Place		array = {0};
	Place		candidate;
	int			n = place_array(holder, (Names) {"candidates"}, &array);

	for (int i = 0; i < n; i++)
	{
		place_element(&array, i, &candidate);
		candidate_calls(answer, &candidate);
	}
}
