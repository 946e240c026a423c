/*
 * plan.c
 *		The table plans, and what a plan says.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "account/plan.h"
#include "base/cluster.h"
#include "base/listen.h"
#include "base/query.h"
#include "base/shard.h"

PG_FUNCTION_INFO_V1(ducto_plan_changed);

#define KEPT_PLANS	16

/*
 * Plans as they were when the table had changed so many times, as far as this
 * backend has heard. Whatever changes a row of it lets all backends know.
 */
static struct
{
	uint64		changes;
	MemoryContext context;		/* NULL for none */
	UserPlan	plan;
}			kept[KEPT_PLANS];
static int	next_kept = 0;
static uint64 plans_changes = 0;
static Oid	plans_table = InvalidOid;
static Oid	allowances_table = InvalidOid;

/* Plans that give nothing with their cycles from a time on, when the tables had changed so many times. */
static struct
{
	uint64		changes;
	char	   *id;				/* NULL for none */
	TimestampTz since;
}			giving_nothing[KEPT_PLANS];
static int	next_giving_nothing = 0;

const char *const billing_modes[] = {
	[BILLING_BY_PLAN] = NULL,
	[BILLING_STRICT] = "strict",
	[BILLING_OVERDRAFT] = "overdraft",
	NULL
};

const char *const gift_ends[] = {
	[ENDS_WITH_CYCLE] = "cycle",
	[ENDS_NEVER] = "never",
	NULL
};

static KeptQuery plan_query = {
	.sql = "SELECT p FROM ducto.plans p WHERE p.id = $1",
	.types = {TEXTOID}
};

/*
 * For who keeps a snapshot for a transaction: fails where the plan is another one
 * by now. Who may only read is refused in the server's words.
 */
static KeptQuery plan_assignable_query = {
	.sql = "SELECT p FROM ducto.plans p WHERE p.id = $1 AND NOT p.retired FOR SHARE",
	.types = {TEXTOID}
};

/* On a cluster a record is of another type on each node. */
static KeptQuery plan_apart_query = {
	.sql = "SELECT " PLAN_COLUMNS " FROM ducto.plans p WHERE p.id = $1",
	.types = {TEXTOID}
};

/*
 * On a cluster a lock on a table that is on every node is one on each of them,
 * and two of them are a deadlock. Who is given a plan that is being retired
 * was given it before.
 */
static KeptQuery plan_on_offer_query = {
	.sql = "SELECT " PLAN_COLUMNS " FROM ducto.plans p WHERE p.id = $1 AND NOT p.retired",
	.types = {TEXTOID}
};

/*
 * A number lower than all others of the plan stands for the time before them.
 * One whose time is after that of a later number was published under a clock
 * that was set back since.
 */
static KeptQuery terms_query = {
	.sql = "SELECT min(since) OVER (ORDER BY number DESC), free_allowance, cycle, grants FROM ducto.plan_allowances WHERE plan_id = $1"
	" AND number >= coalesce((SELECT max(number) FROM ducto.plan_allowances WHERE plan_id = $1 AND since <= $2), 0)"
	" ORDER BY number",
	.types = {TEXTOID, TIMESTAMPTZOID}
};

enum
{
	TERMS_SINCE = 1, TERMS_ALLOWANCE, TERMS_CYCLE, TERMS_GRANTS
};

#define FIELD_NAME(n, column, ...)	#column,

static const char *const plan_columns[] = {"id", PLAN_FIELDS(FIELD_NAME, FIELD_NAME) NULL};
static RecordColumns plan_record = {.names = plan_columns};

/*
 * Return the unit of a plan's cycles.
 */
static PeriodUnit
cycle_from_text(const char *word)
{
	PeriodUnit	unit = PERIOD_MONTH;

	(void) period_unit_find(word, &unit);
	return unit;
}

/*
 * Read the unit of a plan's cycles.
 */
static PeriodUnit
row_unit(uint64 row, int column)
{
	return cycle_from_text(row_text(row, column));
}

/*
 * Read a billing mode.
 */
static BillingMode
row_mode(uint64 row, int column)
{
	return (BillingMode) row_word(row, column, billing_modes);
}

/*
 * Read a limit of a count, NULL for 0.
 */
static int
row_count(uint64 row, int column)
{
	return row_is_null(row, column) ? 0 : row_int4(row, column);
}

#define FIELD_READ(n, column, kind, member)	plan->member = row_##kind(0, first_column + (n));
#define MAYBE_READ(n, column, kind, member, given) \
	plan->given = !row_is_null(0, first_column + (n)); \
	if (plan->given) \
		plan->member = row_##kind(0, first_column + (n));

/*
 * plan_from_row reads a plan from the columns PLAN_COLUMNS of the last
 * result; they are all NULL for none.
 */
void
plan_from_row(UserPlan *plan, int first_column)
{
	memset(plan, 0, sizeof(UserPlan));
	plan->id = row_text(0, first_column);
	if (plan->id == NULL)
		return;
	PLAN_FIELDS(FIELD_READ, MAYBE_READ)
}

/*
 * Read a plan; false when there is none.
 */
static bool
plan_read(const char *id, UserPlan *plan, bool read_only)
{
	bool		apart = cluster_is_used();
	KeptQuery  *query = apart ? &plan_apart_query : &plan_query;
	QueryArgs	args = {0};

	args_text(&args, id);
	memset(plan, 0, sizeof(UserPlan));
	if ((read_only ? query_read(query, &args) : query_run(query, &args, SPI_OK_SELECT)) == 0)
		return false;
	if (!apart)
		row_unpack(0, &plan_record);
	plan_from_row(plan, 1);
	return true;
}

/*
 * A table is another one now, or a plan has changed.
 */
static void
plans_forget(Oid table)
{
	if (!OidIsValid(table) || table == plans_table || table == allowances_table)
		plans_changes++;
}

/*
 * Hear of changes of the tables from now on.
 */
static void
plans_listen(void)
{
	relations_listen(plans_forget);
	plans_table = table_named("plans");
	allowances_table = table_named("plan_allowances");
}

/*
 * Lock a plan until the end of the transaction: who gives it shares the lock, and
 * who changes it has it alone. The row stays as it is, however many give the plan
 * at once.
 */
static void
plan_lock_id(const char *id, LOCKMODE mode)
{
	LockDatabaseObject(plans_table, string_hash(id, strlen(id) + 1), 0, mode);
}

/*
 * Wait for those who are giving a plan whose row a trigger was fired for. On a
 * cluster nobody has its lock.
 */
static void
plan_wait(const TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	char	   *id;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) || cluster_is_used())
		return;
	plans_listen();
	if (RelationGetRelid(trigger->tg_relation) != plans_table)
		return;
	id = SPI_getvalue(trigger->tg_trigtuple, desc, SPI_fnumber(desc, "id"));
	plan_lock_id(id, ExclusiveLock);
}

/*
 * ducto.plan_changed lets all backends know, when the transaction commits, that
 * a plan is another one, or its history, and this one from its next statement on, or when it is
 * undone. It waits for those who are giving the plan.
 */
Datum
ducto_plan_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.plan_changed is a trigger function for changes of rows")));
	plan_wait(trigger);
	table_changed(trigger->tg_relation);
	return PointerGetDatum(NULL);
}

/*
 * plans_heard returns how often the tables have changed, as far as this backend
 * has heard, and lets it hear of changes from now on.
 */
uint64
plans_heard(void)
{
	plans_listen();
	AcceptInvalidationMessages();
	return plans_changes;
}

/* Copies of a text and of JSON, NULL of NULL. */
#define COPY_TEXT(text)	((text) != NULL ? pstrdup(text) : NULL)
#define COPY_JSONB(jsonb)	((jsonb) != NULL ? memcpy(palloc(VARSIZE(jsonb)), (jsonb), VARSIZE(jsonb)) : NULL)

/*
 * Copy a plan into the current memory context.
 */
static void
plan_copy(const UserPlan *from, UserPlan *plan)
{
	*plan = *from;
	plan->id = COPY_TEXT(from->id);
	plan->name = COPY_TEXT(from->name);
	plan->features = COPY_JSONB(from->features);
	plan->per_operation = COPY_JSONB(from->per_operation);
	plan->alerts = COPY_JSONB(from->alerts);
}

/*
 * Keep a plan as it is when the table has changed so many times.
 */
static void
plan_keep(const UserPlan *plan, uint64 changes)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ducto plan", ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	UserPlan	copy;

	plan_copy(plan, &copy);
	MemoryContextSwitchTo(previous);
	MemoryContextSetParent(context, CacheMemoryContext);
	if (kept[next_kept].context != NULL)
		MemoryContextDelete(kept[next_kept].context);
	kept[next_kept].changes = changes;
	kept[next_kept].context = context;
	kept[next_kept].plan = copy;
	next_kept = (next_kept + 1) % KEPT_PLANS;
}

/*
 * Find a plan as it is now, in what this backend keeps or in the table. What is
 * heard of while it is read counts: the plan is not kept then.
 */
static bool
plan_find_kept(const char *id, UserPlan *plan)
{
	uint64		changes;

	AcceptInvalidationMessages();
	for (int i = 0; i < KEPT_PLANS; i++)
		if (kept[i].context != NULL && kept[i].changes == plans_changes && strcmp(kept[i].plan.id, id) == 0)
		{
			plan_copy(&kept[i].plan, plan);
			return true;
		}
	plans_listen();
	changes = plans_changes;
	if (!plan_read(id, plan, false))
		return false;
	if (changes == plans_changes)
		plan_keep(plan, changes);
	return true;
}

/*
 * plan_find reads a plan, retired or not: as it is now, or in the snapshot of
 * the calling statement. Who keeps a snapshot for a transaction goes by that. On a
 * cluster it is read, as a node may hear of a change later than another.
 */
bool
plan_find(const char *id, UserPlan *plan, bool read_only)
{
	if (read_only || IsolationUsesXactSnapshot() || cluster_is_used() || shard_entered() != 0)
		return plan_read(id, plan, read_only);
	return plan_find_kept(id, plan);
}

/*
 * Read a member of an object; false when it has none.
 */
static bool
plan_member(JsonbContainer *object, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, key, (int) strlen(key), value) != NULL;
}

/*
 * Return a whole number that an object has under a key, or a default.
 */
static int
plan_whole(JsonbContainer *object, const char *key, int fallback)
{
	JsonbValue	value;

	if (!plan_member(object, key, &value) || value.type != jbvNumeric)
		return fallback;
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
}

/*
 * Return an amount that an object has under a key, or a default.
 */
static Money
plan_money(JsonbContainer *object, const char *key, Money fallback)
{
	JsonbValue	value;

	if (!plan_member(object, key, &value) || value.type != jbvNumeric)
		return fallback;
	return money_from_datum(NumericGetDatum(value.val.numeric));
}

/*
 * Return a text that an object has under a key, or a default.
 */
static char *
plan_text(JsonbContainer *object, const char *key, const char *fallback)
{
	JsonbValue	value;

	if (!plan_member(object, key, &value) || value.type != jbvString)
		return pstrdup(fallback);
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/*
 * Return which of a list of words an object has under a key, or a default.
 */
static int
plan_word(JsonbContainer *object, const char *key, Words words, int fallback)
{
	int			word = word_find(words, plan_text(object, key, ""));

	return word >= 0 ? word : fallback;
}

/*
 * Read when what a cycle gives expires: a word, or a length of time.
 */
static void
gift_end_read(JsonbContainer *object, CycleGrant *grant)
{
	const char *text = plan_text(object, "expires", gift_ends[ENDS_WITH_CYCLE]);
	int			word = word_find(gift_ends, text);

	grant->ends = word >= 0 ? (GiftEnd) word : ENDS_AFTER;
	grant->lasts = NULL;
	if (grant->ends == ENDS_AFTER)
		grant->lasts = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
															 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * Read what a cycle gives, as the pricing has it.
 */
static void
cycle_grant_read(JsonbContainer *object, CycleGrant *grant)
{
	JsonbValue	rollover;

	grant->amount = plan_money(object, "amount", 0);
	grant->type = (EntryType) plan_word(object, "type", credit_types, TYPE_SUBSCRIPTION);
	grant->priority = plan_whole(object, "priority", -1);
	gift_end_read(object, grant);
	grant->rollover_cycles = 0;
	grant->rollover_max = 0;
	if (!plan_member(object, "rollover", &rollover) || rollover.type != jbvBinary)
		return;
	grant->rollover_cycles = plan_whole(rollover.val.binary.data, "cycles", 1);
	grant->rollover_max = plan_money(rollover.val.binary.data, "max", MONEY_MAX);
}

/*
 * Read the list of what a cycle gives.
 */
static void
cycle_grants_read(Jsonb *list, PlanTerms *terms)
{
	int			n = JB_ROOT_IS_ARRAY(list) ? (int) JB_ROOT_COUNT(list) : 0;

	terms->ngrants = 0;
	terms->grants = palloc0(sizeof(CycleGrant) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&list->root, i);

		if (element->type == jbvBinary)
			cycle_grant_read(element->val.binary.data, &terms->grants[terms->ngrants++]);
	}
}

/*
 * plan_terms reads which terms a plan has had since a time, those in force then
 * first.
 */
int
plan_terms(const char *id, TimestampTz at, bool read_only, PlanTerms **terms)
{
	QueryArgs	args = {0};
	uint64		n;

	args_text(&args, id);
	args_time(&args, at);
	n = read_only ? query_read(&terms_query, &args) : query_run(&terms_query, &args, SPI_OK_SELECT);
	*terms = palloc(sizeof(PlanTerms) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		PlanTerms  *one = &(*terms)[i];

		one->since = row_time(i, TERMS_SINCE);
		one->free_allowance = row_money(i, TERMS_ALLOWANCE);
		one->cycle = row_unit(i, TERMS_CYCLE);
		cycle_grants_read(row_jsonb(i, TERMS_GRANTS), one);
	}
	return (int) n;
}

/*
 * Keep that a plan gives nothing with its cycles from a time on.
 */
static void
keep_giving_nothing(const char *id, TimestampTz since, uint64 changes)
{
	int			i = next_giving_nothing;
	char	   *kept_id = MemoryContextStrdup(CacheMemoryContext, id);

	if (giving_nothing[i].id != NULL)
		pfree(giving_nothing[i].id);
	giving_nothing[i].changes = changes;
	giving_nothing[i].id = kept_id;
	giving_nothing[i].since = since;
	next_giving_nothing = (i + 1) % KEPT_PLANS;
}

/*
 * Tell whether a plan is known to give nothing with its cycles at a time.
 */
static bool
gives_nothing(const char *id, TimestampTz at)
{
	AcceptInvalidationMessages();
	for (int i = 0; i < KEPT_PLANS; i++)
		if (giving_nothing[i].id != NULL && giving_nothing[i].changes == plans_changes && at >= giving_nothing[i].since &&
			strcmp(giving_nothing[i].id, id) == 0)
			return true;
	return false;
}

/*
 * plan_gives tells whether a plan gives something with its cycles at a time, and
 * the terms by which it does. Most plans do not, as this backend remembers until
 * it hears of a change.
 */
bool
plan_gives(const char *id, TimestampTz at, PlanTerms **terms)
{
	bool		remembers = !IsolationUsesXactSnapshot() && !cluster_is_used();
	uint64		changes;
	int			n;

	if (remembers && gives_nothing(id, at))
		return false;
	changes = plans_heard();
	n = plan_terms(id, at, false, terms);
	if (n > 0 && (*terms)->ngrants > 0)
		return true;
	/* the last terms that there are */
	if (remembers && n == 1 && changes == plans_changes)
		keep_giving_nothing(id, (*terms)->since, changes);
	return false;
}

/*
 * Find a plan that is not retired as it is now, and lock it. What has become of it
 * until then is heard of when the lock is got.
 */
static bool
plan_lock_kept(const char *id, UserPlan *plan)
{
	uint64		changes = plans_heard();

	if (!plan_find_kept(id, plan) || plan->retired)
		return false;
	plan_lock_id(id, ShareLock);
	return changes == plans_changes || (plan_find_kept(id, plan) && !plan->retired);
}

/*
 * plan_lock reads a plan that is not retired, and keeps it as it is until the
 * end of the transaction. False: there is none.
 */
bool
plan_lock(const char *id, UserPlan *plan)
{
	bool		apart = cluster_is_used();
	QueryArgs	args = {0};

	if (!apart && !IsolationUsesXactSnapshot() && !XactReadOnly)
		return plan_lock_kept(id, plan);
	args_text(&args, id);
	if (query_run(apart ? &plan_on_offer_query : &plan_assignable_query, &args, SPI_OK_SELECT) == 0)
		return false;
	if (!apart)
		row_unpack(0, &plan_record);
	plan_from_row(plan, 1);
	return true;
}

/*
 * plan_missing returns the rejection of a plan that cannot be assigned, and
 * tells which.
 */
Rejection
plan_missing(const char *id)
{
	return rejection_because(PLAN_NOT_FOUND, "The active pricing has no plan \"%s\".", id);
}

/*
 * feature_missing returns the rejection of a feature that a plan does not have,
 * and tells which.
 */
Rejection
feature_missing(const UserPlan *plan, const char *feature)
{
	if (plan->id == NULL)
		return rejection_because(FEATURE_NOT_ENTITLED, "The user has no plan, so not the feature \"%s\".", feature);
	return rejection_because(FEATURE_NOT_ENTITLED, "The plan \"%s\" does not have the feature \"%s\".", plan->id, feature);
}

/*
 * plan_has_feature looks up a feature; absent, null and false mean no.
 */
bool
plan_has_feature(const UserPlan *plan, const char *feature, JsonbValue *value)
{
	value->type = jbvNull;
	if (plan->id == NULL ||
		getKeyJsonValueFromContainer(&plan->features->root, feature, (int) strlen(feature), value) == NULL)
		return false;
	return value->type != jbvNull && !(value->type == jbvBool && !value->val.boolean);
}

/*
 * Read a member of a policy; false when it is absent or null.
 */
static bool
policy_member(JsonbContainer *policy, const char *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(policy, key, (int) strlen(key), value) != NULL && value->type != jbvNull;
}

/*
 * plan_billing_mode returns the billing mode of a plan, strict without one.
 */
BillingMode
plan_billing_mode(const UserPlan *plan)
{
	return plan->billing_mode != BILLING_BY_PLAN ? plan->billing_mode : BILLING_STRICT;
}

/*
 * plan_policy returns what a plan says for an operation type: its own rule,
 * else the plan's; without a plan the default.
 */
void
plan_policy(const UserPlan *plan, const char *operation_type, Policy *policy)
{
	JsonbValue	own;
	JsonbValue	value;

	policy->billing_mode = plan_billing_mode(plan);
	policy->max_concurrent = plan->max_concurrent;
	policy->has_floor = plan->has_floor;
	policy->overdraft_floor = plan->overdraft_floor;
	if (plan->id == NULL || !policy_member(&plan->per_operation->root, operation_type, &own) ||
		own.type != jbvBinary || !JsonContainerIsObject(own.val.binary.data))
		return;

	policy->billing_mode = (BillingMode) plan_word(own.val.binary.data, "billing_mode", billing_modes, policy->billing_mode);
	if (policy_member(own.val.binary.data, "max_concurrent", &value) && value.type == jbvNumeric)
		policy->max_concurrent = DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(value.val.numeric)));
	if (policy_member(own.val.binary.data, "overdraft_floor", &value) && value.type == jbvNumeric)
	{
		policy->has_floor = true;
		policy->overdraft_floor = money_from_datum(NumericGetDatum(value.val.numeric));
	}
}
