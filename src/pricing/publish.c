/*
 * publish.c
 *		Publishing, activating and reading the versions of the pricing, and
 *		pricing a usage.
 */
#include "postgres.h"


#include "account/alertline.h"
#include "account/plan.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/inspect.h"
#include "base/query.h"
#include "base/result.h"
#include "base/uuidv7.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_set_active_pricing);
PG_FUNCTION_INFO_V1(ducto_activate_pricing);
PG_FUNCTION_INFO_V1(ducto_get_active_pricing);
PG_FUNCTION_INFO_V1(ducto_get_pricing_config);
PG_FUNCTION_INFO_V1(ducto_get_pricing_history);
PG_FUNCTION_INFO_V1(ducto_validate_pricing);
PG_FUNCTION_INFO_V1(ducto_price);

/* One publisher at a time; readers and prices go on. */
static KeptQuery lock_query = {
	.sql = "LOCK TABLE ducto.pricing IN SHARE ROW EXCLUSIVE MODE",
};

static KeptQuery deactivate_query = {
	.sql = "UPDATE ducto.pricing SET active = false WHERE active RETURNING config",
};

/* A publisher that this snapshot cannot see makes it fail with 40001. */
static KeptQuery publish_query = {
	.sql = "INSERT INTO ducto.pricing (version, id, label, config, min_balance, active, created_at)"
	" SELECT coalesce(max(version), 0) + 1, $1, $2, $3, $4, true, $5 FROM ducto.pricing"
	" ON CONFLICT (version) DO NOTHING RETURNING version",
	.types = {UUIDOID, TEXTOID, JSONBOID, NUMERICOID, TIMESTAMPTZOID}
};

static KeptQuery activate_query = {
	.sql = "UPDATE ducto.pricing SET active = true WHERE version = $1 RETURNING config",
	.types = {INT4OID}
};

#define PRICING_COLUMNS "id, version, config, label, active, created_at"

/* Of them the caller is told all, and one is read. */
enum
{
	PRICING_ID = 1
};

static KeptQuery read_query = {
	.sql = "SELECT " PRICING_COLUMNS " FROM ducto.pricing WHERE version = $1",
	.types = {INT4OID}
};

static KeptQuery read_active_query = {
	.sql = "SELECT " PRICING_COLUMNS " FROM ducto.pricing WHERE active",
};

static KeptQuery history_query = {
	.sql = "SELECT id, version, label, active, created_at FROM ducto.pricing ORDER BY version DESC",
};

/*
 * Return the rejection of a version that is not there, and tell which.
 */
static Rejection
version_missing(int version)
{
	return rejection_because(PRICING_VERSION_NOT_FOUND, "There is no pricing version %d.", version);
}

/*
 * Answer with the version that the last result's row is, or with a rejection
 * when there was none.
 */
static Datum
pricing_result(FunctionCallInfo fcinfo, uint64 found, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	for (int column = 1; column <= 6; column++)
	{
		if (found == 0 || row_is_null(0, column))
			result_null(&row);
		else
			result_datum(&row, row_datum(0, column));
	}
	return result_end_with_error(&row, found > 0 ? ACCEPTED : rejection);
}

/*
 * Answer with a version that this call has written.
 */
static Datum
pricing_result_of(FunctionCallInfo fcinfo, int version)
{
	QueryArgs	args = {0};

	args_int4(&args, version);
	return pricing_result(fcinfo, query_run(&read_query, &args, SPI_OK_SELECT), version_missing(version));
}

/*
 * Make the plans of a configuration those that can be assigned.
 */
static void
sync_plans(Jsonb *config)
{
	JsonbValue	plans;

	if (getKeyJsonValueFromContainer(&config->root, "plans", strlen("plans"), &plans) != NULL)
		plans_sync(JsonbValueToJsonb(&plans));
	else
		plans_sync(DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"))));
}

/*
 * Lock the pricing against other publishers, let no version be active and
 * return the configuration that was, NULL for none.
 */
static Jsonb *
pricing_lock(void)
{
	QueryArgs	none = {0};

	query_run(&lock_query, &none, SPI_OK_UTILITY);
	if (query_run(&deactivate_query, &none, SPI_OK_UPDATE_RETURNING) == 0)
		return NULL;
	return row_jsonb(0, 1);
}

/*
 * Raise the first problem of a configuration.
 */
static void
problem_raise(const List *problems)
{
	const Problem *problem = linitial(problems);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid pricing configuration: \"%s\": %s", problem->path, problem->problem),
			 list_length(problems) > 1 ?
			 errdetail("There are %d problems in all.", list_length(problems)) : 0,
			 errhint("ducto_validate_pricing lists all problems of a configuration.")));
}

/*
 * pricing_normal returns the normal form of a configuration and its default
 * floor. It raises the first problem.
 */
Jsonb *
pricing_normal(Jsonb *config, Money *min_balance)
{
	Jsonb	   *normal;
	List	   *problems = pricing_validate(config, &normal, min_balance);

	if (problems != NIL)
		problem_raise(problems);
	return normal;
}

/*
 * Return a required configuration.
 */
static Jsonb *
arg_config(FunctionCallInfo fcinfo, int n)
{
	arg_require(fcinfo, n, "config");
	return PG_GETARG_JSONB_P(n);
}

/*
 * pricing_publish publishes a configuration, activates it and returns its
 * version and id. It locks the pricing against other publishers. The caller has
 * connected to SPI.
 */
int
pricing_publish(Jsonb *config, char *label, pg_uuid_t *id)
{
	TimestampTz now = clock_now();
	Money		min_balance;
	Jsonb	   *normal = pricing_normal(config, &min_balance);
	Jsonb	   *before;
	int			version;
	QueryArgs	args = {0};

	before = pricing_lock();
	uuidv7_make(id, now);
	args_uuid(&args, id);
	args_text(&args, label);
	args_datum(&args, JsonbPGetDatum(normal));
	args_money(&args, min_balance);
	args_time(&args, now);
	if (query_run(&publish_query, &args, SPI_OK_INSERT_RETURNING) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent publishing")));
	version = row_int4(0, 1);
	lines_published(before, normal);
	sync_plans(normal);
	return version;
}

/*
 * pricing_activate activates a published version and tells its id. It locks the
 * pricing against other publishers. False: there is no such version. The caller
 * has connected to SPI.
 */
bool
pricing_activate(int version, pg_uuid_t *id)
{
	QueryArgs	args = {0};
	Jsonb	   *before;
	Jsonb	   *config;

	args_int4(&args, version);
	if (query_run(&read_query, &args, SPI_OK_SELECT) == 0)
		return false;
	*id = row_uuid(0, PRICING_ID);
	before = pricing_lock();
	if (query_run(&activate_query, &args, SPI_OK_UPDATE_RETURNING) != 1)
		elog(ERROR, "pricing version %d is gone", version);
	config = row_jsonb(0, 1);
	lines_published(before, config);
	sync_plans(config);
	return true;
}

/*
 * ducto_set_active_pricing publishes a configuration and activates it. It
 * locks the pricing against other publishers. Arguments and errors: see its
 * COMMENT.
 */
Datum
ducto_set_active_pricing(PG_FUNCTION_ARGS)
{
	Jsonb	   *config = arg_config(fcinfo, 0);
	char	   *label = arg_text(fcinfo, 1, "label");
	pg_uuid_t	id;
	Datum		result;

	query_begin();
	result = pricing_result_of(fcinfo, pricing_publish(config, label, &id));
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_activate_pricing activates a published version. It locks the pricing
 * against other publishers. Arguments and rejections: see its COMMENT.
 */
Datum
ducto_activate_pricing(PG_FUNCTION_ARGS)
{
	int			version;
	pg_uuid_t	id;
	Datum		result;

	arg_require(fcinfo, 0, "version");
	version = PG_GETARG_INT32(0);
	query_begin();
	(void) pricing_activate(version, &id);
	result = pricing_result_of(fcinfo, version);
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_get_active_pricing returns the version that prices come from. It
 * takes no lock.
 */
Datum
ducto_get_active_pricing(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};
	Datum		result;

	query_begin();
	result = pricing_result(fcinfo, query_read(&read_active_query, &args), pricing_missing());
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_get_pricing_config returns a version. It takes no lock.
 */
Datum
ducto_get_pricing_config(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};
	Datum		result;

	arg_require(fcinfo, 0, "version");
	query_begin();
	args_int4(&args, PG_GETARG_INT32(0));
	result = pricing_result(fcinfo, query_read(&read_query, &args), version_missing(PG_GETARG_INT32(0)));
	query_end();
	PG_RETURN_DATUM(result);
}

/*
 * ducto_get_pricing_history returns all versions, newest first. It takes no
 * lock.
 */
Datum
ducto_get_pricing_history(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};

	query_begin();
	query_read_into(fcinfo, &history_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * ducto_validate_pricing returns all problems of a configuration.
 */
Datum
ducto_validate_pricing(PG_FUNCTION_ARGS)
{
	Jsonb	   *config = arg_config(fcinfo, 0);
	Jsonb	   *normal;
	Money		min_balance;
	ListCell   *cell;
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	foreach(cell, pricing_validate(config, &normal, &min_balance))
	{
		const Problem *problem = lfirst(cell);

		result_text(&row, problem->path);
		result_text(&row, problem->problem);
		result_put(&row);
	}
	return (Datum) 0;
}

/*
 * Tell whether a plan is one of a pricing, or one that it lacks but users
 * still have.
 */
static bool
plan_exists(const Pricing *pricing, const char *plan_id)
{
	UserPlan	plan;

	return pricing_has_plan(pricing, plan_id) || plan_find(plan_id, &plan, true);
}

/*
 * Answer with a price, whose figures are NULL when there is none.
 */
static Datum
price_result(FunctionCallInfo fcinfo, const PricedUsage *priced, int version, Rejection rejection)
{
	const Price *price = &priced->price;
	const Money figures[] = {price->total, price->model, price->tools, price->search, price->cache, price->fixed};
	ResultRow	row;

	result_begin(&row, fcinfo);
	for (int i = 0; i < lengthof(figures); i++)
	{
		if (rejection == ACCEPTED)
			result_money(&row, figures[i]);
		else
			result_null(&row);
	}
	if (rejection == ACCEPTED)
		result_datum(&row, price_to_datum(price));
	else
		result_null(&row);
	if (version != 0)
		result_int4(&row, version);
	else
		result_null(&row);
	return result_end_with_error(&row, rejection);
}

/*
 * ducto_price returns what a usage costs, and its parts. It takes no lock.
 * Arguments, rejections and errors: see its COMMENT.
 */
Datum
ducto_price(PG_FUNCTION_ARGS)
{
	PricedUsage priced = {0};
	char	   *plan_id = arg_text(fcinfo, 1, "plan_id");
	bool		active = PG_ARGISNULL(2);
	Pricing    *pricing;
	Rejection	rejection;
	Datum		result;

	arg_usage(fcinfo, 0, "usage", &priced.usage);
	query_begin();
	if (active)
		pricing = pricing_get_active(true);
	else
		pricing = pricing_get(PG_GETARG_INT32(2));
	if (pricing != NULL)
		usage_check(&priced, pricing);
	if (pricing == NULL)
		rejection = active ? pricing_missing() : version_missing(PG_GETARG_INT32(2));
	else if (plan_id != NULL && !plan_exists(pricing, plan_id))
		rejection = rejection_because(PLAN_NOT_FOUND, "Pricing version %d has no plan \"%s\".", pricing_version(pricing), plan_id);
	else
	{
		usage_price(&priced, pricing, plan_id);
		rejection = usage_outcome(&priced);
	}
	result = price_result(fcinfo, &priced, pricing != NULL ? pricing_version(pricing) :
						  active ? 0 : PG_GETARG_INT32(2), rejection);
	query_end();
	PG_RETURN_DATUM(result);
}
