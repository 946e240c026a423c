/*
 * alerts.c
 *		What an account wants to be told: its lines and its auto top-up.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/alert.h"
#include "account/claim.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "base/result.h"

PG_FUNCTION_INFO_V1(ducto_set_alerts);
PG_FUNCTION_INFO_V1(ducto_set_auto_topup);

/*
 * Return the elements of an optional array of lines, which are not null and no
 * more than MAX_LINES; false when there is none.
 */
static bool
arg_lines(FunctionCallInfo fcinfo, int n, const char *name, Oid type, Datum **elements, int *count)
{
	bool		money = type == NUMERICOID;
	ArrayType  *array;
	bool	   *nulls;

	if (PG_ARGISNULL(n))
		return false;
	array = PG_GETARG_ARRAYTYPE_P(n);
	deconstruct_array(array, type, money ? -1 : (int) sizeof(int32), !money, TYPALIGN_INT, elements, &nulls, count);
	if (*count > MAX_LINES)
		arg_reject(name, psprintf("%d lines", *count), psprintf("\"%s\" must have %d lines at most.", name, MAX_LINES));
	for (int i = 0; i < *count; i++)
		if (nulls[i])
			arg_reject(name, "an array with null", psprintf("\"%s\" must have no null in it.", name));
	return true;
}

/*
 * Read an optional list of percentages. False: there is none.
 */
static bool
arg_percent(FunctionCallInfo fcinfo, int n, const char *name, int *percent, int *count)
{
	Datum	   *elements;

	if (!arg_lines(fcinfo, n, name, INT4OID, &elements, count))
		return false;
	for (int i = 0; i < *count; i++)
	{
		percent[i] = DatumGetInt32(elements[i]);
		if (percent[i] < 1 || percent[i] > MAX_PERCENT)
			arg_reject(name, psprintf("%d", percent[i]),
					   psprintf("Each line of \"%s\" must be between 1 and %d percent.", name, MAX_PERCENT));
	}
	return true;
}

/*
 * Door of ducto_set_alerts.
 */
static void
lines_request(FunctionCallInfo fcinfo, Lines *lines)
{
	Datum	   *elements;

	memset(lines, 0, sizeof(Lines));
	lines->has_balance = arg_lines(fcinfo, 1, "balance", NUMERICOID, &elements, &lines->nbalance);
	for (int i = 0; i < lines->nbalance; i++)
		lines->balance[i] = money_from_numeric(DatumGetNumeric(elements[i]), "balance");
	lines->has_allowance = arg_percent(fcinfo, 2, "allowance_percent", lines->allowance, &lines->nallowance);
	lines->has_cap = arg_percent(fcinfo, 3, "cap_percent", lines->cap, &lines->ncap);
	lines->has_days = !PG_ARGISNULL(4);
	lines->days = arg_int_between(fcinfo, 4, "expiring_days", 0, MAX_EXPIRING_DAYS, 0);
	lines_order(lines);
}

/*
 * Lock the account of a user or a team; one that is not there yet is made for a
 * user.
 */
static void
account_lock_any_or_create(const pg_uuid_t *id, Account *acc)
{
	if (account_lock_any(id, acc))
		return;
	account_create(id, false);
	if (!account_lock_any(id, acc))
		row_missing("accounts");
}

/*
 * Append an argument that was stored, or null.
 */
static void
result_if(ResultRow *row, bool given, Datum value)
{
	if (given)
		result_datum(row, value);
	else
		result_null(row);
}

/*
 * Answer with what an account says itself.
 */
static Datum
alerts_result(FunctionCallInfo fcinfo, const Account *acc, const OwnAlerts *own)
{
	const Lines *lines = &own->lines;
	const Topup *topup = &own->topup;
	QueryArgs	lists = {0};
	ResultRow	row;

	args_money_array(&lists, lines->balance, lines->nbalance);
	args_int4_array(&lists, lines->allowance, lines->nallowance);
	args_int4_array(&lists, lines->cap, lines->ncap);
	result_begin(&row, fcinfo);
	result_uuid(&row, &acc->id);
	result_if(&row, lines->has_balance, lists.values[0]);
	result_if(&row, lines->has_allowance, lists.values[1]);
	result_if(&row, lines->has_cap, lists.values[2]);
	result_if(&row, lines->has_days, Int32GetDatum(lines->days));
	result_if(&row, topup->on, money_to_datum(topup->below));
	result_if(&row, topup->on, money_to_datum(topup->amount));
	result_if(&row, topup->on && topup->max_per_month > 0, Int32GetDatum(topup->max_per_month));
	return result_end(&row);
}

/*
 * ducto_set_alerts says at which lines an account is to be told of. It locks
 * the account. Arguments and errors: see its COMMENT.
 */
Datum
ducto_set_alerts(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = arg_uuid(fcinfo, 0, "account_id");
	Lines		lines;
	OwnAlerts	own;
	Account		acc;
	Datum		result;

	lines_request(fcinfo, &lines);
	query_begin();
	account_lock_any_or_create(id, &acc);
	alerts_load(&acc, &own);
	own.lines = lines;
	alerts_save(&acc, &own);
	own.exist = true;
	account_store(&acc);
	result = alerts_result(fcinfo, &acc, &own);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_set_auto_topup says when credits of an account are to be topped up, and
 * by how much; one that was due is not any more, and its event is taken back. It
 * locks the account.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_set_auto_topup(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *id = arg_uuid(fcinfo, 0, "account_id");
	Money		below = arg_money(fcinfo, 1, "below", MONEY_ANY);
	Money		amount = arg_money(fcinfo, 2, "amount", MONEY_NOT_NEGATIVE);
	int			max_per_month = arg_int_between(fcinfo, 3, "max_per_month", 1, PG_INT32_MAX, 0);
	OwnAlerts	own;
	Account		acc;
	Datum		result;

	query_begin();
	account_lock_any_or_create(id, &acc);
	alerts_load(&acc, &own);
	topup_withdraw(&acc, &own.topup);
	own.topup.on = amount > 0;
	own.topup.below = below;
	own.topup.amount = amount;
	own.topup.max_per_month = max_per_month;
	alerts_save(&acc, &own);
	account_store(&acc);
	result = alerts_result(fcinfo, &acc, &own);
	query_end();
	PG_RETURN_DATUM(result);
}
