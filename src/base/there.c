/*
 * there.c
 *		Calls that are made on the node of a cluster which has the account.
 *
 *		A function of the API is not itself distributed: it is the door, and
 *		the settings are where it is. For an account that is elsewhere it calls
 *		one that has its arguments, the settings and the name ducto.NAME_there,
 *		which Citus sends to the account's node in the same transaction: one
 *		statement instead of one for each step. Where Citus does not send it, it
 *		is executed here, and does the same.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "nodes/supportnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/args.h"
#include "base/cluster.h"
#include "base/result.h"
#include "base/sent.h"
#include "base/setting.h"
#include "base/shard.h"
#include "base/there.h"

PG_FUNCTION_INFO_V1(ducto_call_sent);

extern PGDLLEXPORT Datum ducto_call_once(PG_FUNCTION_ARGS);

/* The settings that decide what a call does: they are carried, in this order. */
static const char *const carried[] = {
	"ducto.require_idempotency_key", "ducto.key_mismatch", "ducto.reservation_ttl", "ducto.ledger_chain", "ducto.test_clock",
	"lock_timeout", "TimeZone", "DateStyle", "IntervalStyle"
};

/* After them comes this where the call is to be made inside of the account's shard, or not at all. */
#define INSIDE	"inside"

/* Whether the call that is answered came from elsewhere, or could have. */
static bool from_elsewhere = false;

/* Whether that is to be made inside of a shard, and whether it could not. */
static bool only_inside = false;
static bool not_made = false;

/*
 * Return the value of a setting, of those that a role has for the one that the
 * session acts as: on another node a call is the owner's.
 */
static const char *
setting_here(const char *name)
{
	const char *value = GetConfigOption(name, false, false);
	int			seconds;

	if (strcmp(name, "ducto.require_idempotency_key") == 0)
		return setting_require_key() ? "on" : "off";
	if (strcmp(name, "ducto.key_mismatch") == 0)
		return setting_key_conflicts() ? "conflict" : "replay";
	if (strcmp(name, "ducto.reservation_ttl") != 0)
		return value;
	if (parse_int(value, &seconds, GUC_UNIT_S, NULL) && seconds == setting_reservation_ttl())
		return value;
	return psprintf("%ds", setting_reservation_ttl());
}

/*
 * Append the settings that decide what a call does, and where that may be.
 */
static void
args_settings(QueryArgs *args, bool inside)
{
	const char *values[lengthof(carried) + 1];

	for (int i = 0; i < lengthof(carried); i++)
		values[i] = pstrdup(setting_here(carried[i]));
	values[lengthof(carried)] = INSIDE;
	args_text_array(args, values, lengthof(carried) + inside);
}

/*
 * args_carried appends the settings that decide what a call does.
 */
void
args_carried(QueryArgs *args)
{
	args_settings(args, false);
}

/*
 * Make the only row of the last result that of the calling function.
 */
static Datum
row_of_there(FunctionCallInfo fcinfo)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	for (int column = 1; column <= SPI_tuptable->tupdesc->natts; column++)
	{
		if (row_is_null(0, column))
			result_null(&row);
		else
			result_datum(&row, row_datum(0, column));
	}
	return result_end(&row);
}

/*
 * Tell by its last column, an error or another reason, whether a row is the answer:
 * there is no error, or the reason is another than the one that is looked into
 * here.
 */
static bool
is_answer(const char *last, const char *again)
{
	return again == NULL ? last == NULL : strcmp(last, again) != 0;
}

/*
 * Return the last column of a row, a text; NULL for NULL.
 */
static char *
last_of(HeapTupleHeader row)
{
	bool		isnull;
	Datum		last = GetAttributeByNum(row, HeapTupleHeaderGetNatts(row), &isnull);

	return isnull ? NULL : TextDatumGetCString(last);
}

/*
 * Make a call by a plan that is kept. False: it was not made.
 */
static bool
call_by_kept(FunctionCallInfo fcinfo, KeptQuery *query, QueryArgs args, const char *again, Datum *result, bool *answered)
{
	KeptQuery  *kept = sent_query(query, PG_GETARG_UUID_P(0));
	HeapTupleHeader row;

	if (kept == NULL)
		return false;
	args_settings(&args, true);
	if (query_run(kept, &args, SPI_OK_SELECT) != 1)
		elog(ERROR, "no answer to: %s", kept->sql);
	row = sent_row(fcinfo);
	if (row == NULL)
		return false;
	*answered = is_answer(last_of(row), again);
	*result = HeapTupleHeaderGetDatum(row);
	return true;
}

/*
 * Make a call by a plan of its own.
 */
static void
call_by_values(FunctionCallInfo fcinfo, KeptQuery *query, QueryArgs args, const char *again, Datum *result, bool *answered)
{
	args_carried(&args);
	if (query_run(query, &args, SPI_OK_SELECT) != 1)
		elog(ERROR, "no answer to: %s", query->sql);
	*answered = is_answer(row_text(0, SPI_tuptable->tupdesc->natts), again);
	if (*answered)
		*result = row_of_there(fcinfo);
}

/*
 * Tell whether a call that came here is not made, as it could not be inside of
 * a shard.
 */
static bool
is_refused(void)
{
	if (!only_inside || shard_entered() != 0 || query_depth() > 0)
		return false;
	not_made = true;
	return true;
}

/*
 * Make a call where the account is. again is the reason for which it is to be
 * made here, NULL for each error.
 */
static bool
call_send(FunctionCallInfo fcinfo, KeptQuery *query, const char *again, Datum *result)
{
	QueryArgs	args = {0};
	bool		answered;

	if (is_refused())
	{
		*result = (Datum) 0;
		return true;
	}
	if (PG_ARGISNULL(0) || !cluster_is_elsewhere(PG_GETARG_UUID_P(0)) || query_depth() > 0 || XactReadOnly)
		return false;
	query_begin();
	for (int i = 0; OidIsValid(query->types[i + 1]); i++)
	{
		if (PG_ARGISNULL(i))
			args_null(&args);
		else
			args_datum(&args, PG_GETARG_DATUM(i));
	}
	if (!call_by_kept(fcinfo, query, args, again, result, &answered))
		call_by_values(fcinfo, query, args, again, result, &answered);
	query_end();
	return answered;
}

/*
 * call_there makes a call of a function whose first argument is the account
 * where that is, by a query that has all the function's arguments and those of
 * args_carried. False: it is to be made here, as on one server. So it is for a
 * rejection, which booked nothing: it is told here, as the settings say. An
 * operation inside another one is made where that one is, and one that may not
 * write where that is known.
 */
bool
call_there(FunctionCallInfo fcinfo, KeptQuery *query, Datum *result)
{
	if (!call_send(fcinfo, query, NULL, result))
		return false;
	rejection_over();
	return true;
}

/*
 * call_there_unless does the same with a function whose last column tells a
 * reason: one is to be looked into here.
 */
bool
call_there_unless(FunctionCallInfo fcinfo, KeptQuery *query, const char *again, Datum *result)
{
	return call_send(fcinfo, query, again, result);
}

/*
 * Let a setting be what it is where the call comes from.
 */
static void
carry(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Let the settings be what they are where a call comes from, which its last
 * argument tells. Returns whether it is to be made inside of a shard alone.
 */
static bool
settings_carry(FunctionCallInfo fcinfo)
{
	int			last = fcinfo->nargs - 1;
	ArrayType  *array = PG_ARGISNULL(last) ? construct_empty_array(TEXTOID) : PG_GETARG_ARRAYTYPE_P(last);
	Datum	   *values;
	int			n;
	bool		stands;
	bool		inside;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &n);
	inside = n == lengthof(carried) + 1;
	if ((n != lengthof(carried) && !inside) || array_contains_nulls(array) ||
		(inside && strcmp(TextDatumGetCString(values[lengthof(carried)]), INSIDE) != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("settings of another version of ducto"),
				 errhint("Let all nodes of the cluster have the same version.")));
	if (setting_rejections(&stands) != REJECTIONS_RETURN)
		carry("ducto.rejections", "return");
	for (int i = 0; i < lengthof(carried); i++)
	{
		const char *value = TextDatumGetCString(values[i]);

		if (strcmp(GetConfigOption(carried[i], false, false), value) != 0)
			carry(carried[i], value);
	}
	return inside;
}

/*
 * call_raise_again raises again what a call on the account's node has failed with, as
 * what it is where the account's shard moved meanwhile: a statement that waited
 * for that finds the account on another node, to which Citus does not go on from
 * here, or the tables of the shard gone.
 */
void
call_raise_again(MemoryContext context, bool moved)
{
	ErrorData  *error;

	if (geterrcode() != ERRCODE_INTERNAL_ERROR || !moved)
		PG_RE_THROW();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	cluster_raise_moved(error->message);
}

/*
 * Answer a call from elsewhere by a function. elsewhere tells that its account
 * is not on this node, as far as is known.
 */
static Datum
call_carried(FunctionCallInfo fcinfo, PGFunction function, bool elsewhere)
{
	int			level = NewGUCNestLevel();
	bool		before = from_elsewhere;
	bool		inside_before = only_inside;
	MemoryContext context = CurrentMemoryContext;
	Datum		result = (Datum) 0;
	uint64		changes = cluster_changes();

	only_inside = settings_carry(fcinfo);
	not_made = false;
	from_elsewhere = true;
	PG_TRY();
	{
		result = function(fcinfo);
	}
	PG_CATCH();
	{
		from_elsewhere = before;
		only_inside = inside_before;
		call_raise_again(context, elsewhere || cluster_changes() != changes);
	}
	PG_END_TRY();
	from_elsewhere = before;
	fcinfo->isnull = only_inside && not_made;
	only_inside = inside_before;
	AtEOXact_GUC(true, level);
	return result;
}

/*
 * call_here answers a call that call_there made, by the function that it is
 * of; with NULL where it is to be made inside of a shard and that cannot be.
 */
Datum
call_here(FunctionCallInfo fcinfo, PGFunction function)
{
	return call_carried(fcinfo, function, !PG_ARGISNULL(0) && cluster_is_elsewhere(PG_GETARG_UUID_P(0)));
}

/*
 * call_on_shards answers a call from elsewhere, as call_here does, by a function
 * that enters shards of this node.
 */
Datum
call_on_shards(FunctionCallInfo fcinfo, PGFunction function)
{
	return call_carried(fcinfo, function, false);
}

/*
 * call_on_shard answers a call from elsewhere, as call_here does, by statements
 * on a shard of this node.
 */
Datum
call_on_shard(FunctionCallInfo fcinfo, int64 shard, PGFunction function)
{
	int64		before = shard_enter(shard);
	Datum		result = (Datum) 0;

	PG_TRY();
	{
		result = call_carried(fcinfo, function, false);
	}
	PG_FINALLY();
	{
		shard_leave(before);
	}
	PG_END_TRY();
	return result;
}

/*
 * call_is_from_elsewhere tells whether the call that is answered is one that
 * call_there made: what is not on the account's node is not to be found then.
 */
bool
call_is_from_elsewhere(void)
{
	return from_elsewhere;
}

/*
 * ducto.call_sent is the planner's support function of the functions that
 * Citus sends to the account: it does what ducto.call_once does, and
 * refuses NULL for the account, at which Citus 13 ends the server whoever calls.
 */
Datum
ducto_call_sent(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = (SupportRequestSimplify *) PG_GETARG_POINTER(0);
	Datum		result = ducto_call_once(fcinfo);

	if (IsA(request, SupportRequestSimplify))
	{
		Const	   *account = linitial(request->fcall->args);

		if (IsA(account, Const) && account->constisnull)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"user_id\" must not be null")));
	}
	return result;
}
