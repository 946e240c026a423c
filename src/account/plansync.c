/*
 * plansync.c
 *		What a version of the pricing makes of the tables plans and
 *		plan_allowances.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "account/plan.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/query.h"

#define SYNCED(row) \
	row "name, " row "free_allowance, " row "features, " row "default_billing_mode, " row "per_operation, " row "max_concurrent, " \
	row "overdraft_floor, " row "cycle, " row "grants, " row "caps, " row "alerts"

/* What the plans $1 say. */
#define PLANS_GIVEN \
	"(SELECT key AS id, value ->> 'name' AS name, coalesce((value ->> 'free_allowance')::numeric, 0.0000) AS free_allowance," \
	"  coalesce(value -> 'features', '{}') AS features," \
	"  coalesce(value ->> 'default_billing_mode', 'strict') AS default_billing_mode," \
	"  coalesce(value -> 'per_operation', '{}') AS per_operation," \
	"  (value ->> 'max_concurrent')::integer AS max_concurrent, (value ->> 'overdraft_floor')::numeric AS overdraft_floor," \
	"  coalesce(value ->> 'cycle', 'month') AS cycle, coalesce(value -> 'grants', '[]') AS grants," \
	"  coalesce(value -> 'caps', '[]') AS caps, value -> 'alerts' AS alerts FROM jsonb_each($1)) v" \
	" WHERE NOT EXISTS (SELECT FROM ducto.plans o WHERE o.id = v.id AND NOT o.retired AND NOT o.imported" \
	"  AND ROW(" SYNCED("o.") ")::text = ROW(" SYNCED("v.") ")::text)"

/*
 * What a plan says already is not written: who is given it need not wait, and
 * no constraint is looked at. The lock on the pricing keeps other publishers
 * out; where they are newer than the snapshot, the update of the active version
 * has failed before. Texts are compared, as the columns may be of types of
 * somebody's own by now.
 */
static KeptQuery sync_plans_query = {
	.sql = "INSERT INTO ducto.plans (id, " SYNCED("") ") SELECT v.* FROM " PLANS_GIVEN " ORDER BY v.id"
	" ON CONFLICT (id) DO UPDATE SET name = excluded.name, free_allowance = excluded.free_allowance,"
	"  features = excluded.features,"
	"  default_billing_mode = excluded.default_billing_mode, per_operation = excluded.per_operation,"
	"  max_concurrent = excluded.max_concurrent, overdraft_floor = excluded.overdraft_floor, cycle = excluded.cycle,"
	"  grants = excluded.grants, caps = excluded.caps, alerts = excluded.alerts, retired = false, imported = false",
	.types = {JSONBOID}
};

#define PLANS_TO_RETIRE	" NOT retired AND NOT $1 ? id"

static KeptQuery retire_plans_query = {
	.sql = "UPDATE ducto.plans SET retired = true WHERE" PLANS_TO_RETIRE,
	.types = {JSONBOID},
	.whole = true
};

/* Plans whose allowance or cycles are others than their history says. */
#define PLANS_TO_RECORD \
	" FROM ducto.plans p" \
	" LEFT JOIN (SELECT DISTINCT ON (plan_id) * FROM ducto.plan_allowances ORDER BY plan_id, number DESC) l ON l.plan_id = p.id" \
	" WHERE (l.free_allowance, l.cycle, l.grants) IS DISTINCT FROM (p.free_allowance, p.cycle, p.grants)"

static KeptQuery record_allowances_query = {
	.sql = "INSERT INTO ducto.plan_allowances (plan_id, number, since, free_allowance, cycle, grants)"
	" SELECT p.id, coalesce(l.number, 0) + 1, $1, p.free_allowance, p.cycle, p.grants" PLANS_TO_RECORD,
	.types = {TIMESTAMPTZOID},
	.whole = true
};

/* Whether there is nothing of that to write: most versions change prices, and to begin to write costs more than to look. */
static KeptQuery plans_stand_query = {
	.sql = "SELECT NOT EXISTS (SELECT FROM " PLANS_GIVEN ") AND NOT EXISTS (SELECT FROM ducto.plans WHERE" PLANS_TO_RETIRE ")"
	" AND NOT EXISTS (SELECT" PLANS_TO_RECORD ")",
	.types = {JSONBOID},
	.whole = true
};

/* Plans of a pricing that were those of the table when it had changed so many times; NULL for none. */
static struct
{
	uint64		changes;
	Jsonb	   *plans;
}			stood;

/*
 * Record the allowances that plans have from a time on.
 */
static void
record_allowances(TimestampTz since)
{
	QueryArgs	args = {0};

	args_time(&args, since);
	query_run(&record_allowances_query, &args, SPI_OK_INSERT);
}

/*
 * Tell whether the plans that can be assigned are given ones already, and their
 * history says so.
 */
static bool
plans_stand(QueryArgs *args)
{
	return query_run(&plans_stand_query, args, SPI_OK_SELECT) == 1 && row_bool(0, 1);
}

/*
 * Tell whether plans were found to be those of the table, of which nothing has
 * been heard since. Who keeps a snapshot for a transaction goes by that.
 */
static bool
plans_stood(Jsonb *plans)
{
	if (IsolationUsesXactSnapshot() || cluster_is_used() || stood.plans == NULL)
		return false;
	return stood.changes == plans_heard() && VARSIZE(stood.plans) == VARSIZE(plans) &&
		memcmp(stood.plans, plans, VARSIZE(plans)) == 0;
}

/*
 * Tell whether plans are those of the table, and remember it where nothing is
 * heard of it meanwhile.
 */
static bool
plans_are_there(Jsonb *plans, QueryArgs *args)
{
	uint64		changes;

	if (cluster_is_used())
		return false;
	changes = plans_heard();
	if (!plans_stand(args))
		return false;
	if (changes != plans_heard() || IsolationUsesXactSnapshot())
		return true;
	if (stood.plans != NULL)
		pfree(stood.plans);
	stood.plans = NULL;
	stood.plans = MemoryContextAlloc(CacheMemoryContext, VARSIZE(plans));
	memcpy(stood.plans, plans, VARSIZE(plans));
	stood.changes = changes;
	return true;
}

/*
 * plans_sync makes given plans, an object that pricing has checked, those that
 * can be assigned. What has an allowance that was never recorded always had it.
 */
void
plans_sync(Jsonb *plans)
{
	QueryArgs	args = {0};
	uint64		written;

	if (plans_stood(plans))
		return;
	args_datum(&args, JsonbPGetDatum(plans));
	if (plans_are_there(plans, &args))
		return;
	record_allowances(DT_NOBEGIN);
	written = query_run(&sync_plans_query, &args, SPI_OK_INSERT);
	query_run(&retire_plans_query, &args, SPI_OK_UPDATE);
	if (written > 0)
		record_allowances(clock_now());
}
