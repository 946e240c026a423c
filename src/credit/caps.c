/*
 * caps.c
 *		Spend caps: setting, removing, listing and checking them.
 */
#include "postgres.h"


#include "account/cap.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"
#include "credit/caps.h"
#include "credit/here.h"

PG_FUNCTION_INFO_V1(ducto_set_spend_cap);
PG_FUNCTION_INFO_V1(ducto_remove_spend_cap);
PG_FUNCTION_INFO_V1(ducto_list_spend_caps);
PG_FUNCTION_INFO_V1(ducto_check_spend_cap);

/*
 * Return a required cap type.
 */
static CapKind
arg_cap_type(FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "cap_type");
	return (CapKind) arg_choice(fcinfo, n, "cap_type", cap_kinds);
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
 * Return the length of a cap's window, NULL for those that have none.
 */
static Interval *
arg_window_length(FunctionCallInfo fcinfo, int n, CapKind kind)
{
	Interval   *length = PG_ARGISNULL(n) ? NULL : PG_GETARG_INTERVAL_P(n);

	if (length == NULL && !cap_has_length(kind))
		return NULL;
	if (length == NULL)
		arg_reject("window_length", "null", "\"window_length\" must be given when \"cap_type\" is session or sliding.");
	if (!cap_has_length(kind))
		arg_reject("window_length", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(length))),
				   "\"window_length\" must be null unless \"cap_type\" is session or sliding.");
	if (!cap_length_is_valid(length))
		arg_reject("window_length", DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(length))),
				   "\"window_length\" must be between 1 minute and 1 year.");
	return length;
}

/*
 * Append what is told of a cap that was brought to the clock.
 */
static void
result_cap(ResultRow *row, const pg_uuid_t *account, const Cap *cap)
{
	result_uuid(row, account);
	result_text(row, cap_kinds[cap->kind]);
	result_text(row, cap->model[0] != '\0' ? cap->model : NULL);
	result_money(row, cap->limit);
	result_text(row, cap_actions[cap->action]);
	result_spend(row, cap_counted(cap));
	result_time_or_null(row, cap_resets_at(cap, 0));
	result_interval(row, cap->window_length);
	result_bool(row, cap->of_plan);
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

	cap.kind = arg_cap_type(fcinfo, 1);
	cap.limit = arg_money(fcinfo, 2, "cap_limit", MONEY_NOT_NEGATIVE);
	cap.action = PG_ARGISNULL(3) ? CAP_DENY : (CapAction) arg_choice(fcinfo, 3, "action", cap_actions);
	cap.model = arg_cap_model(fcinfo, 4);
	cap.window_length = arg_window_length(fcinfo, 5, cap.kind);

	query_begin();
	if (!account_lock_any(user, &acc))
		account_lock_or_create(user, &acc);
	cap_set(&acc, &cap);
	account_store(&acc);
	result_begin(&row, fcinfo);
	result_cap(&row, user, &cap);
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
	CapKind		kind = arg_cap_type(fcinfo, 1);
	const char *model = arg_cap_model(fcinfo, 2);
	Account		acc;
	bool		removed = false;

	query_begin();
	if (account_lock_any(user, &acc))
		removed = cap_remove(&acc, kind, model);
	if (removed)
		account_store(&acc);
	query_end();
	PG_RETURN_BOOL(removed);
}

/*
 * Compare two caps by type, then by model.
 */
static int
cap_compare(const void *a, const void *b)
{
	const Cap  *left = a;
	const Cap  *right = b;
	int			types = strcmp(cap_kinds[left->kind], cap_kinds[right->kind]);

	return types != 0 ? types : strcmp(left->model, right->model);
}

/*
 * Read the caps of an account as they are now, in the snapshot of the calling
 * statement, by type and model.
 */
static void
caps_show(const pg_uuid_t *user, CapList *list)
{
	Account		acc;

	account_load(user, &acc, ACCOUNT_READ);
	caps_read(&acc, true, list);
	if (list->n > 1)
		qsort(list->caps, list->n, sizeof(Cap), cap_compare);
}

/*
 * ducto_list_spend_caps returns the spend caps of a user. It takes no lock.
 */
Datum
ducto_list_spend_caps(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *user = arg_uuid(fcinfo, 0, "user_id");
	CapList		list;
	ResultRow	row;
	Datum		result;

	if (call_reads(fcinfo, user, ducto_list_spend_caps, &result))
		PG_RETURN_DATUM(result);
	result_set_begin(&row, fcinfo);
	query_begin();
	caps_show(user, &list);
	for (int i = 0; i < list.n; i++)
	{
		result_cap(&row, user, &list.caps[i]);
		result_put(&row);
	}
	query_end();
	return (Datum) 0;
}

/*
 * Tell whether one cap matters more than another for an amount: a deny cap that
 * it exceeds, another that it exceeds, the one with the least room.
 */
static bool
cap_matters_more(const Cap *cap, const Cap *other, Money amount)
{
	bool		exceeded = cap_is_exceeded(cap, amount);
	bool		other_exceeded = cap_is_exceeded(other, amount);
	bool		denied = exceeded && cap->action == CAP_DENY;
	bool		other_denied = other_exceeded && other->action == CAP_DENY;

	if (denied != other_denied)
		return denied;
	if (exceeded != other_exceeded)
		return exceeded;
	return !exceeded && cap->limit - cap_counted(cap) < other->limit - cap_counted(other);
}

/*
 * cap_check tells which spend cap matters most for an amount, in the snapshot of
 * the calling statement; model is empty for none. The caller has connected to
 * SPI.
 */
void
cap_check(const pg_uuid_t *user, const char *model, Money amount, CapCheck *check)
{
	const Cap  *matters = NULL;
	CapList		list;

	memset(check, 0, sizeof(CapCheck));
	check->resets_at = DT_NOEND;
	caps_show(user, &list);
	for (int i = 0; i < list.n; i++)
		if (cap_concerns(&list.caps[i], model) && (matters == NULL || cap_matters_more(&list.caps[i], matters, amount)))
			matters = &list.caps[i];
	if (matters == NULL)
		return;
	check->applies = true;
	check->model = matters->model[0] != '\0' ? matters->model : NULL;
	check->limit = matters->limit;
	check->action = matters->action;
	check->current_spend = cap_counted(matters);
	check->capped = cap_is_exceeded(matters, amount) && matters->action == CAP_DENY;
	check->resets_at = cap_resets_at(matters, amount);
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

	if (call_reads(fcinfo, user, ducto_check_spend_cap, &result))
		PG_RETURN_DATUM(result);
	query_begin();
	cap_check(user, model, amount, &check);
	result_begin(&row, fcinfo);
	result_bool(&row, check.capped);
	result_spend(&row, check.current_spend);
	if (check.applies)
		result_money(&row, check.limit);
	else
		result_null(&row);
	result_text(&row, cap_actions[check.action]);
	result_text(&row, check.model);
	result_time_or_null(&row, check.resets_at);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
