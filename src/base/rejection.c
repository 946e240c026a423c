/*
 * rejection.c
 *		Rejections, told as ducto.rejections wants them.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/json.h"

#include "base/args.h"
#include "base/rejection.h"
#include "base/request.h"
#include "base/setting.h"

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
	[CEILING_REACHED] = {"ceiling_reached", UC(19), "402"},
};

/*
 * What status is ours: where the setting keeps it, and the status that was
 * there before, the application's. Empty when none is. It is a setting too, so
 * that a savepoint takes back both or neither.
 */
static char *status_record = "";

#define STATUS_SETTING	"response.status"
#define STATUS_RECORD_SETTING	"ducto.status_record"

/* The header by which a caller chooses. */
#define REJECTIONS_HEADER	"x-ducto-rejections"

#define REASON_MAX_BYTES	1024

/* Why the last operation was rejected. What it names has 255 bytes at most. */
static struct
{
	Rejection	rejection;
	char		text[REASON_MAX_BYTES];
}			reason;

/*
 * rejection_code returns the word of a rejection, NULL for success.
 */
const char *
rejection_code(Rejection rejection)
{
	return rejections[rejection].code;
}

/*
 * rejection_define defines the setting that the status is recorded in.
 */
void
rejection_define(void)
{
	DefineCustomStringVariable(STATUS_RECORD_SETTING,
							   "Which status of PostgREST's response is ours.",
							   NULL,
							   &status_record, "",
							   PGC_INTERNAL, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
}

/*
 * rejection_because returns a rejection and keeps its reason, a sentence, for
 * the hint of an exception.
 */
Rejection
rejection_because(Rejection rejection, const char *format,...)
{
	va_list		values;

	va_start(values, format);
	vsnprintf(reason.text, sizeof(reason.text), format, values);
	va_end(values);
	reason.rejection = rejection;
	return rejection;
}

/*
 * Return the reason of a rejection, NULL where none was kept.
 */
static const char *
reason_of(Rejection rejection)
{
	return reason.rejection == rejection ? reason.text : NULL;
}

/*
 * Raise a rejection as an exception with the row as its detail.
 */
static void
rejection_raise(Rejection rejection, const char *row)
{
	const char *hint = reason_of(rejection);

	ereport(ERROR,
			(errcode(rejections[rejection].sqlstate),
			 errmsg("%s", rejections[rejection].code),
			 errdetail("%s", row),
			 hint != NULL ? errhint("%s", hint) : 0));
}

/*
 * Append a member of a JSON object whose value is a text, NULL for null.
 */
static void
json_append(StringInfo json, const char *name, const char *value)
{
	appendStringInfo(json, "%s\"%s\":", json->len > 1 ? "," : "", name);
	if (value != NULL)
		escape_json(json, value);
	else
		appendStringInfoString(json, "null");
}

/*
 * Raise a rejection as the exception that PostgREST makes its response of: the
 * body is in the message, the status in the detail.
 */
static void
rejection_raise_response(Rejection rejection, const char *row)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	json_append(&body, "code", unpack_sql_state(rejections[rejection].sqlstate));
	json_append(&body, "message", rejections[rejection].code);
	json_append(&body, "details", row);
	json_append(&body, "hint", reason_of(rejection));
	appendStringInfoChar(&body, '}');
	ereport(ERROR,
			(errcode(MAKE_SQLSTATE('P', 'G', 'R', 'S', 'T')),
			 errmsg("%s", body.data),
			 errdetail("{\"status\":%s,\"headers\":{}}", rejections[rejection].http_status)));
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
 * Tell whether a role may call a function.
 */
static bool
role_may_call(Oid role, Oid function)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
	return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

/*
 * Read the mode that the request's header chooses. False: there is none, or it
 * has no say: a function of the application stands between the request and
 * this one, or the role could not have called this one itself.
 */
static bool
header_mode(Oid function, int *mode)
{
	char	   *word = request_header(REJECTIONS_HEADER);

	if (word == NULL || !request_is_for(function) || !role_may_call(GetOuterUserId(), function))
		return false;
	if (!rejections_parse(word, mode))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid value for header \"%s\": \"%s\"", REJECTIONS_HEADER, text_shortened(word)),
				 errhint("\"%s\" must be %s.", REJECTIONS_HEADER, REJECTION_WORDS)));
	return true;
}

/*
 * Return how a rejection of a function is told: as the connection, the session
 * or a function on the way says, else as the request does, else as the role's
 * settings do. An exception that nobody can handle, as the request is for this
 * function itself, is one that PostgREST understands.
 */
static RejectionMode
rejection_mode(Oid function)
{
	bool		stands;
	int			mode = setting_rejections(&stands);

	if (!stands)
		(void) header_mode(function, &mode);
	return mode == REJECTIONS_RAISE && request_is_for(function) ? REJECTIONS_POSTGREST : (RejectionMode) mode;
}

/*
 * rejection_tell tells of the rejection of a function whose row has it in the
 * column error: with nothing more, with a status or with an exception.
 */
void
rejection_tell(Rejection rejection, Oid function, Datum row)
{
	RejectionMode mode = rejection_mode(function);

	if (mode == REJECTIONS_HTTP)
		status_set(rejection);
	else if (mode != REJECTIONS_RETURN)
	{
		char	   *json = TextDatumGetCString(DirectFunctionCall1(row_to_json, row));

		if (mode == REJECTIONS_RAISE)
			rejection_raise(rejection, json);
		else
			rejection_raise_response(rejection, json);
	}
	reason.rejection = ACCEPTED;
}

/*
 * rejection_raises tells whether a rejection of one of the many that a function
 * does is to be raised, by rejection_tell. Else its row tells it, and nothing
 * more.
 */
bool
rejection_raises(Oid function)
{
	RejectionMode mode = rejection_mode(function);

	if (mode == REJECTIONS_RAISE || mode == REJECTIONS_POSTGREST)
		return true;
	reason.rejection = ACCEPTED;
	return false;
}

/*
 * rejection_over takes back the status of a rejection that came before a
 * success.
 */
void
rejection_over(void)
{
	if (status_record[0] != '\0')
		status_take_back();
}
