#ifndef DUCTO_BASE_JSON_H
#define DUCTO_BASE_JSON_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

/* A jsonb that is being made; all zeros in the beginning. PostgreSQL 19 has one. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState JsonOut;
#else
typedef struct JsonOut
{
	JsonbParseState *parseState;
	JsonbValue *result;
} JsonOut;
#endif

extern void jsonout_push(JsonOut *out, JsonbIteratorToken token, JsonbValue *value);
extern void jsonout_key(JsonOut *out, const char *key);
extern void jsonout_text(JsonOut *out, const char *text);
extern void jsonout_element(JsonOut *out, const char *text);
extern void jsonout_numeric(JsonOut *out, Numeric number);
extern Jsonb *jsonout_end(JsonOut *out);

#endif
