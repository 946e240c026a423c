/*
 * version.c
 *		The table pricing, and what this backend keeps of it: the configurations
 *		it uses and the expressions of them that it has parsed.
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "account/plan.h"
#include "base/query.h"
#include "base/shard.h"
#include "base/there.h"
#include "pricing/pricing.h"

#define KEPT_VERSIONS	16
#define PROGRAM_KEY_SIZE	600

struct Pricing
{
	pg_uuid_t	id;				/* versions may start anew, ids do not */
	int			version;
	MemoryContext context;		/* NULL when this place is free */
	Jsonb	   *config;
	Money		min_balance;	/* the floor of a reserve where nothing else is said */
	ExprUnits	units;			/* that expressions may name */
	HTAB	   *programs;
	uint64		last_used;
};

/* A parsed expression. */
typedef struct KeptProgram
{
	char		key[PROGRAM_KEY_SIZE];
	ExprProgram *program;
} KeptProgram;

static Pricing kept[KEPT_VERSIONS];
static uint64 uses = 0;
static Pricing *last_active = NULL;	/* a place of kept, which may have another by now */

#define VERSION_COLUMNS "p.version, p.id"

/* As they are read, and what comes after them. */
enum
{
	VERSION_COLUMN = 1, ID_COLUMN, BESIDE_COLUMN
};

static KeptQuery version_query = {
	.sql = "SELECT " VERSION_COLUMNS " FROM ducto.pricing p WHERE p.version = $1",
	.types = {INT4OID}
};

static KeptQuery active_query = {
	.sql = "SELECT " VERSION_COLUMNS " FROM ducto.pricing p WHERE p.active",
};

/* One snapshot for the version and the plan's row, so that they never mix. */
static KeptQuery active_with_plan_query = {
	.sql = "SELECT v.version, v.id, " PLAN_COLUMNS
	" FROM ducto.pricing v LEFT JOIN ducto.plans p ON p.id = $1 WHERE v.active",
	.types = {TEXTOID}
};

static KeptQuery reserved_query = {
	.sql = "SELECT " VERSION_COLUMNS ", r.plan_id FROM ducto.reservations r JOIN ducto.pricing p ON p.version = r.pricing_version"
	" WHERE r.account_id = $1 AND r.id = $2",
	.types = {UUIDOID, UUIDOID}
};

/* As this in two steps: on a cluster a call that was sent to the account reads no other table beside the account's. */
static KeptQuery reserved_version_query = {
	.sql = "SELECT pricing_version, plan_id FROM ducto.reservations WHERE account_id = $1 AND id = $2 AND pricing_version IS NOT NULL",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery team_reserved_query = {
	.sql = "SELECT " VERSION_COLUMNS ", r.plan_id FROM ducto.reservations r JOIN ducto.pricing p ON p.version = r.pricing_version"
	" WHERE r.id = $2 AND r.actor = $1",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery terms_query = {
	.sql = "SELECT version, min_balance FROM ducto.pricing WHERE active",
};

static KeptQuery config_query = {
	.sql = "SELECT config, min_balance FROM ducto.pricing WHERE id = $1 AND version = $2",
	.types = {UUIDOID, INT4OID}
};

/*
 * Return the place of a configuration: its own, a free one, or that of the
 * one that was not used for the longest time.
 */
static Pricing *
kept_place(const pg_uuid_t *id)
{
	Pricing    *oldest = &kept[0];

	for (int i = 0; i < KEPT_VERSIONS; i++)
	{
		if (kept[i].context != NULL && memcmp(&kept[i].id, id, UUID_LEN) == 0)
			return &kept[i];
		if (kept[i].last_used < oldest->last_used)
			oldest = &kept[i];
	}
	if (oldest->context != NULL)
		MemoryContextDelete(oldest->context);
	memset(oldest, 0, sizeof(Pricing));
	return oldest;
}

/*
 * Make an empty table of expressions.
 */
static HTAB *
programs_create(MemoryContext context)
{
	HASHCTL		control = {.keysize = PROGRAM_KEY_SIZE, .entrysize = sizeof(KeptProgram), .hcxt = context};

	return hash_create("ducto expressions", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
}

/*
 * Find a member of an object by its name.
 */
static bool
member_find(JsonbContainer *object, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object, name, (int) strlen(name), value) != NULL;
}

/*
 * Read the units of a configuration.
 */
static void
units_read(Pricing *pricing)
{
	JsonbValue	units;
	JsonbValue	element;
	JsonbIterator *it;

	if (!member_find(&pricing->config->root, "units", &units) || units.type != jbvBinary)
		return;
	it = JsonbIteratorInit(units.val.binary.data);
	(void) JsonbIteratorNext(&it, &element, true);
	while (JsonbIteratorNext(&it, &element, true) == WJB_ELEM)
		pricing->units.names[pricing->units.count++] = pnstrdup(element.val.string.val, element.val.string.len);
}

/*
 * Read a configuration into a free place. It never changes, so any snapshot
 * that has it will do.
 */
static void
kept_load(Pricing *pricing, const pg_uuid_t *id, int version)
{
	QueryArgs	args = {0};
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "ducto pricing", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous;

	args_uuid(&args, id);
	args_int4(&args, version);
	if (query_run(&config_query, &args, SPI_OK_SELECT) != 1)
		elog(ERROR, "pricing version %d is gone", version);
	previous = MemoryContextSwitchTo(context);
	pricing->config = row_jsonb(0, 1);
	pricing->min_balance = row_money(0, 2);
	units_read(pricing);
	pricing->programs = programs_create(context);
	MemoryContextSwitchTo(previous);
	pricing->id = *id;
	pricing->version = version;
	MemoryContextSetParent(context, CacheMemoryContext);
	pricing->context = context;
}

/*
 * Return the configuration that the last result's row names.
 */
static Pricing *
pricing_from_row(void)
{
	pg_uuid_t	id = row_uuid(0, ID_COLUMN);
	int			version = row_int4(0, VERSION_COLUMN);
	Pricing    *pricing = kept_place(&id);

	if (pricing->context == NULL)
		kept_load(pricing, &id, version);
	pricing->last_used = ++uses;
	return pricing;
}

/*
 * pricing_draft makes a pricing of a normal configuration that is no version,
 * for the current memory context.
 */
Pricing *
pricing_draft(Jsonb *config)
{
	Pricing    *pricing = palloc0(sizeof(Pricing));

	pricing->context = CurrentMemoryContext;
	pricing->config = config;
	units_read(pricing);
	pricing->programs = programs_create(CurrentMemoryContext);
	return pricing;
}

/*
 * pricing_get returns a version; NULL when there is none.
 */
Pricing *
pricing_get(int version)
{
	QueryArgs	args = {0};

	args_int4(&args, version);
	return query_read(&version_query, &args) > 0 ? pricing_from_row() : NULL;
}

/*
 * pricing_get_active returns the active version, as it is now or in the
 * snapshot of the calling statement; NULL when there is none.
 */
Pricing *
pricing_get_active(bool read_only)
{
	QueryArgs	args = {0};
	uint64		found = read_only ? query_read(&active_query, &args) : query_run(&active_query, &args, SPI_OK_SELECT);

	return found > 0 ? last_active = pricing_from_row() : NULL;
}

/*
 * pricing_assume_active returns a version that may be the active one, without
 * asking the table; NULL when this backend knows none. Whoever books by it
 * must make sure that it is, in the statement that books.
 */
Pricing *
pricing_assume_active(void)
{
	if (last_active == NULL || last_active->context == NULL)
		return NULL;
	last_active->last_used = ++uses;
	return last_active;
}

/*
 * pricing_with_plan returns the active version, NULL when there is none, and
 * reads a plan as it is with it.
 */
Pricing *
pricing_with_plan(const char *plan_id, UserPlan *plan)
{
	QueryArgs	args = {0};

	args_text(&args, plan_id);
	if (query_run(&active_with_plan_query, &args, SPI_OK_SELECT) == 0)
		return NULL;
	plan_from_row(plan, BESIDE_COLUMN);
	return pricing_from_row();
}

/*
 * Return the version and the plan of a user's own reservation on a cluster;
 * NULL for none.
 */
static Pricing *
pricing_reserved_there(QueryArgs *args, char **plan_id)
{
	QueryArgs	version = {0};

	if (query_run(&reserved_version_query, args, SPI_OK_SELECT) == 0)
		return NULL;
	*plan_id = row_text(0, 2);
	args_int4(&version, row_int4(0, 1));
	return query_run(&version_query, &version, SPI_OK_SELECT) > 0 ? pricing_from_row() : NULL;
}

/*
 * pricing_reserved returns the version and the plan, NULL for none, that a
 * reservation was made under; NULL when no version was active then or there is
 * no such reservation.
 */
Pricing *
pricing_reserved(const pg_uuid_t *user, const pg_uuid_t *reservation, char **plan_id)
{
	QueryArgs	args = {0};

	*plan_id = NULL;
	args_uuid(&args, user);
	args_uuid(&args, reservation);
	if (call_is_from_elsewhere())
		return pricing_reserved_there(&args, plan_id);
	if (query_run(&reserved_query, &args, SPI_OK_SELECT) == 0)
	{
		(void) shard_suspend();	/* a team's pool may be on any, and so is what follows */
		if (query_run(&team_reserved_query, &args, SPI_OK_SELECT) == 0)
			return NULL;
	}
	*plan_id = row_text(0, BESIDE_COLUMN);
	return pricing_from_row();
}

/*
 * pricing_terms reads what the active pricing says of a reserve, as it is now
 * or in the snapshot of the calling statement.
 */
void
pricing_terms(PricingTerms *terms, bool read_only)
{
	QueryArgs	args = {0};
	uint64		found = read_only ? query_read(&terms_query, &args) : query_run(&terms_query, &args, SPI_OK_SELECT);

	terms->version = found > 0 ? row_int4(0, 1) : 0;
	terms->min_balance = found > 0 ? row_money(0, 2) : DEFAULT_MIN_BALANCE;
}

/*
 * pricing_floor returns the floor that a pricing gives a reserve where nothing
 * else is said.
 */
Money
pricing_floor(const Pricing *pricing)
{
	return pricing->min_balance;
}

/*
 * pricing_version returns the version of a pricing.
 */
int
pricing_version(const Pricing *pricing)
{
	return pricing->version;
}

/*
 * pricing_units returns the units that a pricing counts.
 */
const ExprUnits *
pricing_units(const Pricing *pricing)
{
	return &pricing->units;
}

/*
 * pricing_id returns the id of a version, which no other has, not even one of
 * an extension that was dropped.
 */
const pg_uuid_t *
pricing_id(const Pricing *pricing)
{
	return &pricing->id;
}

/*
 * Find a member that is an object.
 */
static JsonbContainer *
member_object(JsonbContainer *object, const char *name)
{
	JsonbValue	value;

	if (object == NULL || !member_find(object, name, &value) || value.type != jbvBinary)
		return NULL;
	return value.val.binary.data;
}

/*
 * Return the parsed expression of a name in an object, NULL for none; key
 * tells them apart.
 */
static ExprProgram *
program_get(Pricing *pricing, const char *key, JsonbContainer *object, const char *name)
{
	KeptProgram *known = hash_search(pricing->programs, key, HASH_FIND, NULL);
	ExprProgram *program;
	MemoryContext previous;
	JsonbValue	value;
	ExprError	error;

	if (known != NULL)
		return known->program;
	if (object == NULL || !member_find(object, name, &value) || value.type != jbvString)
		return NULL;
	previous = MemoryContextSwitchTo(pricing->context);
	program = expr_parse(value.val.string.val, value.val.string.len, &pricing->units, &error);
	MemoryContextSwitchTo(previous);
	if (program == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("pricing version %d has an invalid expression: %s", pricing->version, error.message)));
	known = hash_search(pricing->programs, key, HASH_ENTER, NULL);
	known->program = program;
	return program;
}

/*
 * pricing_expression returns the expression of a name in a section, NULL for
 * none.
 */
ExprProgram *
pricing_expression(Pricing *pricing, const char *section, const char *name)
{
	char		key[PROGRAM_KEY_SIZE];

	snprintf(key, sizeof(key), "%s/%s", section, name);
	return program_get(pricing, key, member_object(&pricing->config->root, section), name);
}

/*
 * pricing_override returns the expression that a plan has for a model, NULL
 * for none.
 */
ExprProgram *
pricing_override(Pricing *pricing, const char *plan_id, const char *model)
{
	char		key[PROGRAM_KEY_SIZE];
	JsonbContainer *plan;

	if (plan_id == NULL)
		return NULL;
	snprintf(key, sizeof(key), "plans/%zu/%s/%s", strlen(plan_id), plan_id, model);
	plan = member_object(member_object(&pricing->config->root, "plans"), plan_id);
	return program_get(pricing, key, member_object(plan, "rate_overrides"), model);
}

/*
 * pricing_has_plan tells whether a configuration has a plan.
 */
bool
pricing_has_plan(const Pricing *pricing, const char *plan_id)
{
	return member_object(member_object(&pricing->config->root, "plans"), plan_id) != NULL;
}

/*
 * pricing_fixed finds the price of a fixed job.
 */
bool
pricing_fixed(const Pricing *pricing, const char *job, Numeric *price)
{
	JsonbContainer *fixed = member_object(&pricing->config->root, "fixed");
	JsonbValue	value;

	if (fixed == NULL || !member_find(fixed, job, &value) || value.type != jbvNumeric)
		return false;
	*price = DatumGetNumeric(DirectFunctionCall1(numeric_uplus, NumericGetDatum(value.val.numeric)));
	return true;
}

/*
 * pricing_signup_bonus tells what a new user gets: a number alone is for
 * those who are not anonymous.
 */
void
pricing_signup_bonus(const Pricing *pricing, SignupBonus *bonus)
{
	JsonbContainer *rules = member_object(&pricing->config->root, "signup_bonus");
	JsonbValue	value;

	memset(bonus, 0, sizeof(SignupBonus));
	if (!(rules != NULL ? member_find(rules, "amount", &value) : member_find(&pricing->config->root, "signup_bonus", &value)) ||
		value.type != jbvNumeric)
		return;
	bonus->amount = money_from_numeric(value.val.numeric, "signup_bonus");
	bonus->anonymous = rules != NULL && member_find(rules, "anonymous", &value) && value.val.boolean;
	bonus->confirmed = rules != NULL && member_find(rules, "confirmed", &value) && value.val.boolean;
}
