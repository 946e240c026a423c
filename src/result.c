/*
 * result.c
 *		Result rows, and rejections as ducto.rejections wants them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "result.h"

/* SQLSTATE class UC is ours: the standard reserves those of 0-4 and A-H. */
#define UC(number)	MAKE_SQLSTATE('U', 'C', '0', '0' + (number) / 10, '0' + (number) % 10)

static const struct
{
	const char *code;
	int			sqlstate;
	const char *http_status;
}			rejections[] =
{
	[ACCEPTED] = {NULL, 0, NULL},
	[INSUFFICIENT_CREDITS] = {"insufficient_credits", UC(1), "402"},
	[CAP_REACHED] = {"cap_reached", UC(2), "429"},
	[CONCURRENCY_LIMIT] = {"concurrency_limit", UC(3), "429"},
	[FEATURE_NOT_ENTITLED] = {"feature_not_entitled", UC(4), "403"},
	[RESERVATION_NOT_FOUND] = {"reservation_not_found", UC(5), "404"},
	[RESERVATION_EXPIRED] = {"reservation_expired", UC(6), "410"},
	[RESERVATION_CLOSED] = {"reservation_closed", UC(7), "409"},
	[TRANSACTION_NOT_FOUND] = {"transaction_not_found", UC(8), "404"},
	[NOT_REFUNDABLE] = {"not_refundable", UC(9), "409"},
	[ALREADY_REFUNDED] = {"already_refunded", UC(10), "409"},
	[OVER_REFUND] = {"over_refund", UC(11), "409"},
	[TEAM_NOT_FOUND] = {"team_not_found", UC(12), "404"},
	[USER_NOT_IN_TEAM] = {"user_not_in_team", UC(13), "403"},
	[PLAN_NOT_FOUND] = {"plan_not_found", UC(14), "404"},
	[PRICING_VERSION_NOT_FOUND] = {"pricing_version_not_found", UC(15), "404"},
	[NO_ACTIVE_PRICING] = {"no_active_pricing", UC(16), "409"},
	[MODEL_NOT_PRICED] = {"model_not_priced", UC(17), "422"},
	[IDEMPOTENCY_CONFLICT] = {"idempotency_conflict", UC(18), "409"},
};

int			rejection_mode = REJECTIONS_RETURN;

/*
 * What status is ours: where the setting keeps it, and the status that was
 * there before, the application's. Empty when none is. It is a setting too, so
 * that a savepoint takes back both or neither.
 */
char	   *status_record = "";

#define STATUS_SETTING	"response.status"

/*
 * rejection_code returns the word of a rejection, NULL for success.
 */
const char *
rejection_code(Rejection rejection)
{
	return rejections[rejection].code;
}

/*
 * result_begin starts a row of the calling function's composite type.
 */
void
result_begin(ResultRow *row, FunctionCallInfo fcinfo)
{
	if (get_call_result_type(fcinfo, NULL, &row->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	row->n = 0;
}

/*
 * result_datum appends a column.
 */
void
result_datum(ResultRow *row, Datum value)
{
	Assert(row->n < row->desc->natts);
	row->values[row->n] = value;
	row->nulls[row->n] = false;
	row->n++;
}

/*
 * result_null appends a NULL.
 */
void
result_null(ResultRow *row)
{
	result_datum(row, (Datum) 0);
	row->nulls[row->n - 1] = true;
}

/*
 * result_uuid appends a uuid, NULL for none.
 */
void
result_uuid(ResultRow *row, const pg_uuid_t *value)
{
	if (value == NULL)
		result_null(row);
	else
		result_datum(row, UUIDPGetDatum(value));
}

/*
 * result_money appends an amount as numeric.
 */
void
result_money(ResultRow *row, Money value)
{
	result_datum(row, money_to_datum(value));
}

/*
 * result_spend appends a sum as numeric.
 */
void
result_spend(ResultRow *row, Spend value)
{
	result_datum(row, spend_to_datum(value));
}

/*
 * result_text appends a text, NULL for none.
 */
void
result_text(ResultRow *row, const char *value)
{
	if (value == NULL)
		result_null(row);
	else
		result_datum(row, CStringGetTextDatum(value));
}

/*
 * result_bool appends a boolean.
 */
void
result_bool(ResultRow *row, bool value)
{
	result_datum(row, BoolGetDatum(value));
}

/*
 * result_time_or_null appends a timestamp with time zone, NULL for infinity.
 */
void
result_time_or_null(ResultRow *row, TimestampTz value)
{
	if (TIMESTAMP_NOT_FINITE(value))
		result_null(row);
	else
		result_datum(row, TimestampTzGetDatum(value));
}

/*
 * result_end makes the finished row a datum in the memory of SPI's caller.
 */
Datum
result_end(ResultRow *row)
{
	HeapTuple	tuple;

	Assert(row->n == row->desc->natts);
	tuple = heap_form_tuple(row->desc, row->values, row->nulls);
	return HeapTupleHeaderGetDatum(SPI_returntuple(tuple, row->desc));
}

/*
 * Raise a rejection as an exception with the row as its detail.
 */
static void
rejection_raise(Rejection rejection, Datum row)
{
	Datum		json = DirectFunctionCall1(row_to_json, row);

	ereport(ERROR,
			(errcode(rejections[rejection].sqlstate),
			 errmsg("%s", rejections[rejection].code),
			 errdetail("%s", TextDatumGetCString(json))));
}

/*
 * Return the status that PostgREST is to answer with, NULL or empty for none.
 */
static const char *
status_current(void)
{
	return GetConfigOption(STATUS_SETTING, true, false);
}

/*
 * Return the application's status when the current one is ours, else NULL. The
 * place tells: the application may have set the same status itself.
 */
static char *
status_before_ours(void)
{
	void	   *ours;

	if (sscanf(status_record, "%p", &ours) != 1 || ours != (void *) status_current())
		return NULL;
	return pstrdup(strchr(status_record, ':') + 1);
}

/*
 * Change a setting for the rest of the transaction.
 */
static void
setting_change(const char *name, const char *value, GucContext context)
{
	(void) set_config_option(name, value, context, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
}

/*
 * Let PostgREST answer with the status of a rejection.
 */
static void
status_set(Rejection rejection)
{
	char	   *before = status_before_ours();

	if (before == NULL)
		before = status_current() != NULL ? pstrdup(status_current()) : "";
	setting_change(STATUS_SETTING, rejections[rejection].http_status, PGC_USERSET);
	setting_change(STATUS_RECORD_SETTING, psprintf("%p:%s", status_current(), before), PGC_INTERNAL);
}

/*
 * Put the application's status back where ours is.
 */
static void
status_take_back(void)
{
	char	   *before = status_before_ours();

	if (before != NULL)
		setting_change(STATUS_SETTING, before, PGC_USERSET);
	setting_change(STATUS_RECORD_SETTING, "", PGC_INTERNAL);
}

/*
 * result_end_with_error appends the column error and ends the row as
 * result_end does; a rejection is also raised or given an HTTP status, as
 * ducto.rejections says. A success takes back the status of one that came
 * before it in the transaction.
 */
Datum
result_end_with_error(ResultRow *row, Rejection rejection)
{
	Datum		datum;

	result_text(row, rejections[rejection].code);
	datum = result_end(row);
	if (rejection == ACCEPTED)
	{
		if (status_record[0] != '\0')
			status_take_back();
	}
	else if (rejection_mode == REJECTIONS_RAISE)
		rejection_raise(rejection, datum);
	else if (rejection_mode == REJECTIONS_HTTP)
		status_set(rejection);
	return datum;
}
