/*
 * caps.c
 *		Spend caps: setting, removing, listing and checking them.
 */
#include "postgres.h"

#include "account/ahead.h"
#include "account/cap.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/period.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/caps.h"

PG_FUNCTION_INFO_V1(ducto_set_spend_cap);
PG_FUNCTION_INFO_V1(ducto_remove_spend_cap);
PG_FUNCTION_INFO_V1(ducto_list_spend_caps);
PG_FUNCTION_INFO_V1(ducto_check_spend_cap);

static const char *const cap_types[] = {"daily", "monthly", NULL};
static const char *const cap_actions[] = {"deny", "warn", "notify", NULL};

/*
 * The caps of an account with what counts against them now, expired holds not
 * included, swept or not: $2 is the day, $3 the month, $4 and $5 from and until
 * when holds are due, $6 whether windows may have to be made anew, from the
 * entries after $7.
 */
#define CAPS_NOW \
	"WITH due AS MATERIALIZED (" CAPS_DUE("$1", "$4", "$5") "), caps AS (" \
	" SELECT c.*, " CAP_SPENT("c", "$2", "$3", "$6", "$7") \
	"  + c.held - coalesce(d.held, 0.0000) AS current_spend" \
	" FROM ducto.spend_caps c LEFT JOIN due d ON d.model = c.model WHERE c.account_id = $1)"

static KeptQuery caps_list_query = {
	.sql = CAPS_NOW " SELECT account_id, cap_type, nullif(model, ''), cap_limit, action, current_spend"
	" FROM caps ORDER BY cap_type, model",
	.types = {UUIDOID, DATEOID, DATEOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID}
};

/* Of the caps of a model the one that matters comes first. */
#define CAP_THAT_MATTERS(caps, model_param, amount) \
	" SELECT model, cap_limit, action, current_spend, exceeded AND action = 'deny' FROM" \
	" (SELECT *, current_spend + " amount " > cap_limit AS exceeded FROM " caps \
	"  WHERE model = '' OR model = " model_param ") c" \
	" ORDER BY exceeded AND action = 'deny' DESC, exceeded DESC," \
	"  CASE WHEN NOT exceeded THEN cap_limit - current_spend END, cap_type, model LIMIT 1"

/* Where nothing is due, and by a clock that was not set back, the counters say it all. */
static KeptQuery caps_check_plain_query = {
	.sql = CAP_THAT_MATTERS("(SELECT *, CASE WHEN period = CASE WHEN cap_type = 'daily' THEN $2 ELSE $3 END THEN spent"
							" ELSE 0.0000 END + held AS current_spend FROM ducto.spend_caps WHERE account_id = $1) s", "$4", "$5"),
	.types = {UUIDOID, DATEOID, DATEOID, TEXTOID, NUMERICOID}
};

static KeptQuery caps_check_query = {
	.sql = CAPS_NOW CAP_THAT_MATTERS("caps", "$8", "$9"),
	.types = {UUIDOID, DATEOID, DATEOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID, INT8OID, TEXTOID, NUMERICOID}
};

/*
 * Append an account, its day and month, from and until when holds are due, and
 * whether windows may have to be made anew.
 */
static void
args_now(QueryArgs *args, const Account *acc, bool read_only)
{
	args_uuid(args, &acc->id);
	args_datum(args, DateADTGetDatum(period_day(acc->now)));
	args_datum(args, DateADTGetDatum(period_month(acc->now)));
	args_time(args, acc->ended_until);
	args_time(args, acc->now);
	args_moved(args, acc, read_only);
}

/*
 * Return a required cap type.
 */
static const char *
arg_cap_type(FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "cap_type");
	return arg_word(fcinfo, n, "cap_type", cap_types);
}

/*
 * Return a cap's model, empty for NULL.
 */
static const char *
arg_cap_model(FunctionCallInfo fcinfo, int n)
{
	return arg_text_default(fcinfo, n, "model", "");
}

/*
 * Read what counts against a cap of a locked account.
 */
static Datum
cap_current_spend(const Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};
	uint64		n;

	args_now(&args, acc, false);
	n = query_run(&caps_list_query, &args, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		char	   *model = row_text(i, 3);

		if (strcmp(row_text(i, 2), cap->cap_type) == 0 && strcmp(model != NULL ? model : "", cap->model) == 0)
			return row_datum(i, 6);
	}
	elog(ERROR, "spend cap is gone");
}

/*
 * ducto_set_spend_cap adds or changes a spend cap. It locks the account.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_set_spend_cap(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Cap			cap = {0};
	Account		acc;
	ResultRow	row;
	Datum		result;

	cap.cap_type = arg_cap_type(fcinfo, 1);
	cap.limit = arg_money(fcinfo, 2, "cap_limit", MONEY_NOT_NEGATIVE);
	cap.action = arg_word(fcinfo, 3, "action", cap_actions);
	cap.model = arg_cap_model(fcinfo, 4);

	query_begin();
	account_lock_or_create(user, &acc);
	cap_set(&acc, &cap);
	account_store(&acc);
	result_begin(&row, fcinfo);
	result_uuid(&row, user);
	result_text(&row, cap.cap_type);
	result_text(&row, cap.model[0] != '\0' ? cap.model : NULL);
	result_money(&row, cap.limit);
	result_text(&row, cap.action);
	result_datum(&row, cap_current_spend(&acc, &cap));
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_remove_spend_cap removes a spend cap. It locks the account.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_remove_spend_cap(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Cap			cap = {0};
	Account		acc;
	bool		removed = false;

	cap.cap_type = arg_cap_type(fcinfo, 1);
	cap.model = arg_cap_model(fcinfo, 2);
	query_begin();
	if (account_lock(user, &acc))
		removed = cap_remove(&acc, &cap);
	if (removed)
		account_store(&acc);
	query_end();
	PG_RETURN_BOOL(removed);
}

/*
 * ducto_list_spend_caps returns the spend caps of a user. It takes no lock.
 */
Datum
ducto_list_spend_caps(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	Account		acc;
	QueryArgs	args = {0};

	query_begin();
	account_load(user, &acc, ACCOUNT_READ);
	args_now(&args, &acc, true);
	query_read_into(fcinfo, &caps_list_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * Find the cap that matters most for an amount, by the counters alone. False:
 * there is none of the model.
 */
static bool
cap_find_plain(const pg_uuid_t *user, const char *model, Money amount)
{
	TimestampTz now = clock_now();
	QueryArgs	args = {0};

	args_uuid(&args, user);
	args_datum(&args, DateADTGetDatum(period_day(now)));
	args_datum(&args, DateADTGetDatum(period_month(now)));
	args_text(&args, model);
	args_money(&args, amount);
	return query_read(&caps_check_plain_query, &args) > 0;
}

/*
 * Find the cap that matters most for an amount. What the counters say is right
 * where nothing is due.
 */
static bool
cap_find(const pg_uuid_t *user, const char *model, Money amount)
{
	Account		acc;
	QueryArgs	args = {0};

	if (!cap_find_plain(user, model, amount))
		return false;
	if (account_glance(user, &acc))
		return cap_find_plain(user, model, amount);
	account_load(user, &acc, ACCOUNT_READ);
	args_now(&args, &acc, true);
	args_text(&args, model);
	args_money(&args, amount);
	return query_read(&caps_check_query, &args) > 0;
}

/*
 * cap_check tells which spend cap matters most for an amount, in the snapshot of
 * the calling statement; model is empty for none. The caller has connected to
 * SPI.
 */
void
cap_check(const pg_uuid_t *user, const char *model, Money amount, CapCheck *check)
{
	memset(check, 0, sizeof(CapCheck));
	check->applies = cap_find(user, model, amount);
	if (!check->applies)
		return;
	check->model = row_text(0, 1)[0] != '\0' ? row_text(0, 1) : NULL;
	check->limit = row_money(0, 2);
	check->action = row_text(0, 3);
	check->current_spend = row_spend(0, 4);
	check->capped = row_bool(0, 5);
}

/*
 * ducto_check_spend_cap tells whether an amount would exceed a deny cap. It
 * takes no lock. Arguments and errors: see its COMMENT.
 */
Datum
ducto_check_spend_cap(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	const char *model = arg_cap_model(fcinfo, 1);
	Money		amount = PG_ARGISNULL(2) ? 0 : arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	CapCheck	check;
	ResultRow	row;
	Datum		result;

	query_begin();
	cap_check(user, model, amount, &check);
	result_begin(&row, fcinfo);
	result_bool(&row, check.capped);
	result_spend(&row, check.current_spend);
	if (check.applies)
		result_money(&row, check.limit);
	else
		result_null(&row);
	result_text(&row, check.action);
	result_text(&row, check.model);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
