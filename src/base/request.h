#ifndef DUCTO_BASE_REQUEST_H
#define DUCTO_BASE_REQUEST_H

#include "postgres.h"

/* What the parser of a JSON object's member has found. */
typedef enum JsonMember
{
	MEMBER_TEXT,
	MEMBER_MISSING,				/* or no text */
	MEMBER_NO_OBJECT,
	MEMBER_NO_JSON
} JsonMember;

extern char *request_setting(const char *name);
extern JsonMember json_member(char *json, const char *name, char **value);
extern bool request_is_there(void);
extern char *request_header(const char *name);
extern bool request_is_for(Oid function);

#endif
