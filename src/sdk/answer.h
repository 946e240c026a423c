#ifndef DUCTO_SDK_ANSWER_H
#define DUCTO_SDK_ANSWER_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/json.h"
#include "base/money.h"
#include "base/rejection.h"

/* What sign an amount must have. */
typedef enum SdkSign
{
	SDK_POSITIVE,
	SDK_NOT_NEGATIVE,
	SDK_ANY
} SdkSign;

extern char *figure_text(Datum value);
extern char *time_text(TimestampTz time);
extern bool sdk_begin(JsonOut *out, Rejection rejection);
extern Datum sdk_answer(JsonOut *out);
extern void put_text(JsonOut *out, const char *key, const char *text);
extern void put_money(JsonOut *out, const char *key, Money amount);
extern void put_figure(JsonOut *out, const char *key, Datum value);
extern void put_uuid(JsonOut *out, const char *key, const pg_uuid_t *id);
extern void put_bool(JsonOut *out, const char *key, bool truth);
extern void put_int(JsonOut *out, const char *key, int64 value);
extern void put_object(JsonOut *out, const char *key, Jsonb *object);
extern void put_plan(JsonOut *out, const char *plan_id);
extern void put_date(JsonOut *out, const char *key, DateADT date);
extern void put_time(JsonOut *out, const char *key, TimestampTz time);

extern void sdk_plan_id(const char *key, pg_uuid_t *id);

extern bool sdk_amount(FunctionCallInfo fcinfo, int n, SdkSign sign, Money *amount, Datum *answer);
extern char *sdk_member(Jsonb *object, const char *name);
extern bool sdk_uuid(const char *text, Datum *id);

#endif
