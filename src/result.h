#ifndef DUCTO_RESULT_H
#define DUCTO_RESULT_H

#include "postgres.h"
#include "funcapi.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "money.h"

/* What ducto.rejections can be. */
typedef enum RejectionMode
{
	REJECTIONS_RETURN,
	REJECTIONS_RAISE,
	REJECTIONS_HTTP
} RejectionMode;

/* The outcomes that a correct program must expect, 0 for success. */
typedef enum Rejection
{
	ACCEPTED,
	INSUFFICIENT_CREDITS,
	CAP_REACHED,
	CONCURRENCY_LIMIT,
	FEATURE_NOT_ENTITLED,
	RESERVATION_NOT_FOUND,
	RESERVATION_EXPIRED,
	RESERVATION_CLOSED,
	TRANSACTION_NOT_FOUND,
	NOT_REFUNDABLE,
	ALREADY_REFUNDED,
	OVER_REFUND,
	TEAM_NOT_FOUND,
	USER_NOT_IN_TEAM,
	PLAN_NOT_FOUND,
	PRICING_VERSION_NOT_FOUND,
	NO_ACTIVE_PRICING,
	MODEL_NOT_PRICED,
	IDEMPOTENCY_CONFLICT
} Rejection;

/* Which status of PostgREST's response is ours: see result.c. */
#define STATUS_RECORD_SETTING	"ducto.status_record"

#define RESULT_MAX_COLUMNS	20

/* A result row, its columns appended in order. */
typedef struct ResultRow
{
	TupleDesc	desc;
	int			n;
	Datum		values[RESULT_MAX_COLUMNS];
	bool		nulls[RESULT_MAX_COLUMNS];
} ResultRow;

extern int	rejection_mode;
extern char *status_record;

extern const char *rejection_code(Rejection rejection);

extern void result_begin(ResultRow *row, FunctionCallInfo fcinfo);
extern void result_datum(ResultRow *row, Datum value);
extern void result_null(ResultRow *row);
extern void result_uuid(ResultRow *row, const pg_uuid_t *value);
extern void result_money(ResultRow *row, Money value);
extern void result_spend(ResultRow *row, Spend value);
extern void result_text(ResultRow *row, const char *value);
extern void result_bool(ResultRow *row, bool value);
extern void result_time_or_null(ResultRow *row, TimestampTz value);
extern Datum result_end(ResultRow *row);
extern Datum result_end_with_error(ResultRow *row, Rejection rejection);

#endif
