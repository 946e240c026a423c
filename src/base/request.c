/*
 * request.c
 *		What PostgREST tells of the request that it makes a call of: settings
 *		that end with its transaction.
 */
#include "postgres.h"

#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"

#include "base/request.h"

#define METHOD_SETTING	"request.method"
#define PATH_SETTING	"request.path"
#define HEADERS_SETTING	"request.headers"

/* What the parser has seen. */
typedef struct MemberState
{
	const char *name;
	int			depth;
	bool		in_member;		/* at the value of the outer object's member */
	bool		is_object;
	char	   *value;			/* NULL for none, or one that is no string */
} MemberState;

/* The parser's actions return a code since PostgreSQL 16. */
#if PG_VERSION_NUM >= 160000
#define ACTION		static JsonParseErrorType
#define ACTION_END	return JSON_SUCCESS
#else
#define ACTION		static void
#define ACTION_END	return
#endif

/*
 * Enter an object.
 */
ACTION
member_object_start(void *state)
{
	MemberState *member = state;

	if (member->depth == 0)
		member->is_object = true;
	member->depth++;
	ACTION_END;
}

/*
 * Enter an array.
 */
ACTION
member_array_start(void *state)
{
	((MemberState *) state)->depth++;
	ACTION_END;
}

/*
 * Leave an object or an array.
 */
ACTION
member_end(void *state)
{
	((MemberState *) state)->depth--;
	ACTION_END;
}

/*
 * Start a member of an object: of members with one name the last counts, as in
 * jsonb.
 */
ACTION
member_field_start(void *state, char *name, bool isnull)
{
	MemberState *member = state;

	if (member->depth == 1)
	{
		member->in_member = strcmp(name, member->name) == 0;
		if (member->in_member)
			member->value = NULL;
	}
	ACTION_END;
}

/*
 * Take the value of the member.
 */
ACTION
member_scalar(void *state, char *token, JsonTokenType type)
{
	MemberState *member = state;

	if (member->depth == 1 && member->in_member && type == JSON_TOKEN_STRING)
		member->value = token;
	ACTION_END;
}

/*
 * json_member finds a text in a JSON object: value is set when there is one.
 */
JsonMember
json_member(char *json, const char *name, char **value)
{
	MemberState state = {.name = name};
	JsonSemAction actions = {
		.semstate = &state,
		.object_start = member_object_start,
		.object_end = member_end,
		.array_start = member_array_start,
		.array_end = member_end,
		.object_field_start = member_field_start,
		.scalar = member_scalar,
	};
	JsonLexContext *lexer;

#if PG_VERSION_NUM >= 170000
	lexer = makeJsonLexContextCstringLen(NULL, json, (int) strlen(json), GetDatabaseEncoding(), true);
#else
	lexer = makeJsonLexContextCstringLen(json, (int) strlen(json), GetDatabaseEncoding(), true);
#endif
	if (pg_parse_json(lexer, &actions) != JSON_SUCCESS)
		return MEMBER_NO_JSON;
	if (!state.is_object)
		return MEMBER_NO_OBJECT;
	*value = state.value;
	return state.value != NULL ? MEMBER_TEXT : MEMBER_MISSING;
}

/*
 * request_setting returns the value of a setting as a copy, NULL when it is
 * unset or empty, which it is after a transaction that set it.
 */
char *
request_setting(const char *name)
{
	const char *value = GetConfigOption(name, true, false);

	return value != NULL && value[0] != '\0' ? pstrdup(value) : NULL;
}

/*
 * request_is_there tells whether PostgREST makes the call.
 */
bool
request_is_there(void)
{
	return request_setting(METHOD_SETTING) != NULL;
}

/*
 * request_header returns a header of the request by its name in lower case,
 * NULL for none.
 */
char *
request_header(const char *name)
{
	char	   *headers = request_setting(HEADERS_SETTING);
	char	   *value;

	if (headers == NULL || json_member(headers, name, &value) != MEMBER_TEXT)
		return NULL;
	return value;
}

/*
 * request_is_for tells whether PostgREST is asked for a function itself: not
 * for one of the application that calls it.
 */
bool
request_is_for(Oid function)
{
	char	   *path = request_setting(PATH_SETTING);
	char	   *last = path != NULL ? strrchr(path, '/') : NULL;

	if (!request_is_there())
		return false;
	return path == NULL || (last != NULL && strcmp(last + 1, get_func_name(function)) == 0);
}
