#ifndef DUCTO_BASE_ARGS_H
#define DUCTO_BASE_ARGS_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/money.h"
#include "base/words.h"

#define TTL_MAX_SECONDS	2592000

/* PostgreSQL 18 and later define it. */
#ifndef pg_noreturn
#define pg_noreturn	_Noreturn
#endif

/* What sign an amount may have. */
typedef enum MoneySign
{
	MONEY_ANY,
	MONEY_NOT_NEGATIVE,
	MONEY_POSITIVE,
	MONEY_NOT_POSITIVE
} MoneySign;

/*
 * The element of an array argument whose fields are arguments while it is read
 * or worked on. It is one of the error contexts, so that it ends with the
 * operation however that does.
 */
typedef struct ElementScope
{
	ErrorContextCallback callback;
	const char *argument;
	int			element;		/* from 0 */
	bool		told;			/* an error has named it */
} ElementScope;

extern const int32 *element_numbers(const int32 *numbers);
extern void element_enter(ElementScope *scope, const char *argument, int element);
extern void element_leave(const ElementScope *scope);
pg_noreturn extern void arg_reject(const char *name, const char *value, const char *hint);
pg_noreturn extern void arg_reject_because(const char *name, const char *value, const char *detail, const char *hint);
extern char *path_member(const char *path, const char *key);
pg_noreturn extern void arg_reject_at(const char *name, const char *path, const char *problem, const char *hint);
pg_noreturn extern void arg_missing(const char *name, const char *detail, const char *hint);
extern void arg_require(FunctionCallInfo fcinfo, int n, const char *name);
extern pg_uuid_t *arg_uuid(FunctionCallInfo fcinfo, int n, const char *name);
extern pg_uuid_t *arg_uuid_or_null(FunctionCallInfo fcinfo, int n);
extern ArrayType *arg_ids(FunctionCallInfo fcinfo, int n, const char *name, const char *of);
extern Money arg_money(FunctionCallInfo fcinfo, int n, const char *name, MoneySign sign);
extern char *text_shortened(const char *value);
extern char *numeric_shown(Numeric value);
extern char *text_checked(char *value, const char *name);
extern char *arg_text(FunctionCallInfo fcinfo, int n, const char *name);
extern char *arg_text_default(FunctionCallInfo fcinfo, int n, const char *name, const char *fallback);
extern int	arg_choice(FunctionCallInfo fcinfo, int n, const char *name, Words words);
extern Jsonb *arg_metadata(FunctionCallInfo fcinfo, int n, const char *name);
extern Jsonb *arg_metadata_and_reason(FunctionCallInfo fcinfo, int n, const char *name, int reason);
extern bool arg_bool_default(FunctionCallInfo fcinfo, int n, bool fallback);
extern int	arg_int_between(FunctionCallInfo fcinfo, int n, const char *name, int low, int high, int fallback);
extern TimestampTz arg_time(FunctionCallInfo fcinfo, int n, const char *name);

#endif
