/*
 * setting.c
 *		The settings, also those of a role that a session became later.
 *
 * PostgreSQL applies the settings of a role and a database when a session
 * starts. PostgREST logs in as one role and becomes another for each request;
 * it passes on the settings of that role which the server knows, and ours are
 * not known before the library is loaded, which the first call does. So what
 * the session itself has not set is looked up here, where it is needed, and
 * only in a session that became another role.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_db_role_setting.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/rel.h"

#include "base/args.h"
#include "base/request.h"
#include "base/setting.h"

PG_FUNCTION_INFO_V1(ducto_setting_problem);

#define RETENTION_MAX_SECONDS	315360000

/* A setting, whose value is an int here whatever its type is. */
typedef struct Setting
{
	const char *name;
	bool		(*parse) (const char *value, int *result);
	const char *allowed;		/* what it can be, for a message */
	struct config_generic *generic; /* what PostgreSQL knows of it */
	bool		told;			/* that a stored value is not valid */
} Setting;

static bool ttl_parse(const char *value, int *seconds);
static bool switch_parse(const char *value, int *on);
static bool mismatch_parse(const char *value, int *conflict);
static bool interval_parse(const char *value, int *seconds);
static bool retention_parse(const char *value, int *seconds);

static Setting rejections = {
	.name = "ducto.rejections",
	.parse = rejections_parse,
	.allowed = REJECTION_WORDS
};
static Setting reservation_ttl = {
	.name = "ducto.reservation_ttl",
	.parse = ttl_parse,
	.allowed = "a time between 1 second and 30 days, such as 10min"
};
static Setting require_key = {
	.name = "ducto.require_idempotency_key",
	.parse = switch_parse,
	.allowed = "on or off"
};
static Setting key_mismatch = {
	.name = "ducto.key_mismatch",
	.parse = mismatch_parse,
	.allowed = "replay or conflict"
};
static Setting chain = {
	.name = "ducto.ledger_chain",
	.parse = switch_parse,
	.allowed = "on or off"
};
static Setting test_clock = {
	.name = "ducto.test_clock",
	.parse = switch_parse,
	.allowed = "on or off"
};
static Setting progress_interval = {
	.name = "ducto.progress_interval",
	.parse = interval_parse,
	.allowed = "a time between 0 and 1 day, such as 10s"
};
static Setting event_retention = {
	.name = "ducto.event_retention",
	.parse = retention_parse,
	.allowed = "a time between 0 and 3650 days, such as 7d"
};
static Setting *const settings[] = {
	&rejections, &reservation_ttl, &require_key, &key_mismatch, &chain, &test_clock, &progress_interval, &event_retention
};

static const struct config_enum_entry rejection_modes[] = {
	{"return", REJECTIONS_RETURN, false},
	{"raise", REJECTIONS_RAISE, false},
	{"http", REJECTIONS_HTTP, false},
	{"postgrest", REJECTIONS_POSTGREST, false},
	{NULL, 0, false}
};

static const struct config_enum_entry key_mismatches[] = {
	{"replay", false, false},
	{"conflict", true, false},
	{NULL, 0, false}
};

/* The values that PostgreSQL keeps. */
static int	rejections_value = REJECTIONS_RETURN;
static int	reservation_ttl_value = 600;
static bool require_key_value = false;
static int	key_mismatch_value = false;
static bool chain_value = false;
static bool test_clock_value = false;
static int	progress_interval_value = 10;
static int	event_retention_value = 604800;
static bool direct_value = true;

/*
 * Return what PostgreSQL knows of a setting. It stays where it is.
 */
static struct config_generic *
generic_find(const char *name)
{
#if PG_VERSION_NUM >= 160000
	return find_option(name, false, false, ERROR);
#else
	struct config_generic **all = get_guc_variables();
	int			n = GetNumConfigOptions();

	for (int i = 0; i < n; i++)
		if (strcmp(all[i]->name, name) == 0)
			return all[i];
	elog(ERROR, "unrecognized configuration parameter \"%s\"", name);
#endif
}

/*
 * settings_define defines the settings of the extension.
 */
void
settings_define(void)
{
	DefineCustomEnumVariable(rejections.name,
							 "How a rejected operation is told.",
							 "return: in the column error; raise: as an exception; "
							 "http: in the column error and PostgREST's response.status, until a later call succeeds; "
							 "postgrest: as an exception that PostgREST makes a response of.",
							 &rejections_value, REJECTIONS_RETURN, rejection_modes,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(reservation_ttl.name,
							"How long a reservation lasts when ttl_seconds is not given.",
							NULL,
							&reservation_ttl_value, 600, 1, TTL_MAX_SECONDS,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable(require_key.name,
							 "Whether an operation that books credits must have an idempotency key.",
							 NULL,
							 &require_key_value, false,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(key_mismatch.name,
							 "What a known idempotency key with another amount is.",
							 "replay: it is answered with the original; conflict: it is rejected as idempotency_conflict.",
							 &key_mismatch_value, false, key_mismatches,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(chain.name,
							 "Whether ledger entries get a digest.",
							 "It covers the entry and the digest of the one before. Only superusers can set it, for the database.",
							 &chain_value, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomBoolVariable(test_clock.name,
							 "Whether ducto_advance_clock moves the clock of the extension.",
							 "For databases of tests. Only superusers can set it, for the database.",
							 &test_clock_value, false,
							 PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(progress_interval.name,
							"How often long work tells by NOTICE how far it is.",
							"0: at each of its steps.",
							&progress_interval_value, 10, 0, SECS_PER_DAY,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable(event_retention.name,
							"How long acknowledged events are kept.",
							"The next sweep removes older ones.",
							&event_retention_value, 604800, 0, RETENTION_MAX_SECONDS,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomBoolVariable("ducto.direct",
							 "Whether statements of one table are executed without the server's executor.",
							 "off: pg_stat_statements and auto_explain see every statement of a call, which costs twice as much.",
							 &direct_value, true,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	for (int i = 0; i < lengthof(settings); i++)
		settings[i]->generic = generic_find(settings[i]->name);
}

/*
 * rejections_parse reads a word of ducto.rejections. False: it is none.
 */
bool
rejections_parse(const char *word, int *mode)
{
	for (const struct config_enum_entry *each = rejection_modes; each->name != NULL; each++)
		if (pg_strcasecmp(word, each->name) == 0)
		{
			*mode = each->val;
			return true;
		}
	return false;
}

/*
 * Read a value of ducto.reservation_ttl. False: it is none.
 */
static bool
ttl_parse(const char *value, int *seconds)
{
	return parse_int(value, seconds, GUC_UNIT_S, NULL) && *seconds >= 1 && *seconds <= TTL_MAX_SECONDS;
}

/*
 * Read a value of a setting that is on or off. False: it is none.
 */
static bool
switch_parse(const char *value, int *on)
{
	bool		result;

	if (!parse_bool(value, &result))
		return false;
	*on = result;
	return true;
}

/*
 * Read a word of ducto.key_mismatch. False: it is none.
 */
static bool
mismatch_parse(const char *value, int *conflict)
{
	for (const struct config_enum_entry *each = key_mismatches; each->name != NULL; each++)
		if (pg_strcasecmp(value, each->name) == 0)
		{
			*conflict = each->val;
			return true;
		}
	return false;
}

/*
 * Read a value of ducto.progress_interval. False: it is none.
 */
static bool
interval_parse(const char *value, int *seconds)
{
	return parse_int(value, seconds, GUC_UNIT_S, NULL) && *seconds >= 0 && *seconds <= SECS_PER_DAY;
}

/*
 * Read a value of ducto.event_retention. False: it is none.
 */
static bool
retention_parse(const char *value, int *seconds)
{
	return parse_int(value, seconds, GUC_UNIT_S, NULL) && *seconds >= 0 && *seconds <= RETENTION_MAX_SECONDS;
}

/*
 * Return the value of a setting in a list of settings, NULL for none.
 */
static char *
list_find(ArrayType *list, const char *name)
{
	size_t		len = strlen(name);
	Datum	   *items;
	int			n;

	deconstruct_array(list, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *item = TextDatumGetCString(items[i]);

		if (pg_strncasecmp(item, name, len) == 0 && item[len] == '=')
			return item + len + 1;
	}
	return NULL;
}

/*
 * Return what is set for a role in a database, InvalidOid for every one; NULL
 * for nothing.
 */
static char *
stored_text(Oid database, Oid role, const char *name)
{
	Relation	rel = table_open(DbRoleSettingRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *value = NULL;

	ScanKeyInit(&keys[0], Anum_pg_db_role_setting_setdatabase, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(database));
	ScanKeyInit(&keys[1], Anum_pg_db_role_setting_setrole, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	scan = systable_beginscan(rel, DbRoleSettingDatidRolidIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		list = heap_getattr(tuple, Anum_pg_db_role_setting_setconfig, RelationGetDescr(rel), &isnull);

		if (!isnull)
			value = list_find(DatumGetArrayTypeP(list), name);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return value;
}

/*
 * Say once a session that what was set for a role or a database is no value of
 * the setting.
 */
static void
stored_reject(Setting *setting, const char *value)
{
	if (setting->told)
		return;
	setting->told = true;
	ereport(WARNING,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for parameter \"%s\", set for a role or a database: \"%s\"", setting->name, value),
			 errhint("\"%s\" must be %s. The value is not obeyed.", setting->name, setting->allowed)));
}

/*
 * Find what is set for the role that the session acts as, as PostgreSQL would
 * if that role had logged in: for the role in this database, for the role, for
 * the database, for all. What is not above the source of the value in force
 * does not count. False: nothing does.
 */
static bool
stored_find(Setting *setting, GucSource source, int *value)
{
	Oid			role = GetOuterUserId();
	const struct
	{
		Oid			database;
		Oid			role;
		GucSource	source;		/* the highest that it is above */
	}			places[] = {
		{MyDatabaseId, role, PGC_S_DATABASE_USER},
		{InvalidOid, role, PGC_S_DATABASE_USER},
		{MyDatabaseId, InvalidOid, PGC_S_DATABASE},
		{InvalidOid, InvalidOid, PGC_S_GLOBAL}
	};

	for (int i = 0; i < lengthof(places); i++)
	{
		char	   *text = source <= places[i].source ? stored_text(places[i].database, places[i].role, setting->name) : NULL;

		if (text != NULL)
		{
			if (setting->parse(text, value))
				return true;
			stored_reject(setting, text);
			return false;
		}
	}
	return false;
}

/*
 * Tell whether PostgREST has passed on the value in force: it is what is set
 * for the role in every database.
 */
static bool
is_passed_on(const Setting *setting, int in_force)
{
	char	   *text = request_is_there() ? stored_text(InvalidOid, GetOuterUserId(), setting->name) : NULL;
	int			value;

	return text != NULL && setting->parse(text, &value) && value == in_force;
}

/*
 * Return the value of a setting for the role that the session acts as, given
 * the one in force. stands: the connection, the session or a function set it.
 */
static int
setting_resolve(Setting *setting, int in_force, bool *stands)
{
	GucSource	source = setting->generic->source;
	int			value;

	*stands = source >= PGC_S_CLIENT;
	if (GetOuterUserId() == GetAuthenticatedUserId())
		return in_force;
	if (*stands)
	{
		*stands = !is_passed_on(setting, in_force);
		if (*stands)
			return in_force;
		source = PGC_S_DEFAULT;
	}
	return stored_find(setting, source, &value) ? value : in_force;
}

/*
 * setting_rejections returns how a rejection is to be told. stands: the
 * connection, the session or a function on the way here said so.
 */
RejectionMode
setting_rejections(bool *stands)
{
	return (RejectionMode) setting_resolve(&rejections, rejections_value, stands);
}

/*
 * setting_reservation_ttl returns how long a hold lasts, in seconds.
 */
int
setting_reservation_ttl(void)
{
	bool		stands;

	return setting_resolve(&reservation_ttl, reservation_ttl_value, &stands);
}

/*
 * setting_require_key tells whether an operation that books credits must have
 * an idempotency key.
 */
bool
setting_require_key(void)
{
	bool		stands;

	return setting_resolve(&require_key, require_key_value, &stands) != 0;
}

/*
 * setting_key_conflicts tells whether a known idempotency key with another
 * amount is a conflict.
 */
bool
setting_key_conflicts(void)
{
	bool		stands;

	return setting_resolve(&key_mismatch, key_mismatch_value, &stands) != 0;
}

/*
 * setting_chain tells whether ledger entries get a digest. It is a matter of
 * the database: no role has another value.
 */
bool
setting_chain(void)
{
	return chain_value;
}

/*
 * setting_direct tells whether statements of one table are executed without the
 * executor.
 */
bool
setting_direct(void)
{
	return direct_value;
}

/*
 * setting_test_clock tells whether the clock is one that can be moved. It is a
 * matter of the database, as the chain is.
 */
bool
setting_test_clock(void)
{
	return test_clock_value;
}

/*
 * setting_progress_interval returns how many seconds long work lets pass before
 * it says again how far it is.
 */
int
setting_progress_interval(void)
{
	bool		stands;

	return setting_resolve(&progress_interval, progress_interval_value, &stands);
}

/*
 * setting_event_retention returns how long acknowledged events are kept, in
 * seconds.
 */
int64
setting_event_retention(void)
{
	bool		stands;

	return setting_resolve(&event_retention, event_retention_value, &stands);
}

/*
 * Return what is wrong with a setting of ours as it is stored for a role or a
 * database, NULL for nothing.
 */
static char *
setting_problem(const char *name, const char *value)
{
	int			parsed;

	for (int i = 0; i < lengthof(settings); i++)
		if (pg_strcasecmp(name, settings[i]->name) == 0)
			return settings[i]->parse(value, &parsed) ? NULL :
				psprintf("it is not obeyed, as it must be %s", settings[i]->allowed);
	return pstrdup("there is no such setting");
}

/*
 * ducto.setting_problem tells why a setting is not obeyed.
 */
Datum
ducto_setting_problem(PG_FUNCTION_ARGS)
{
	char	   *problem;

	arg_require(fcinfo, 0, "name");
	arg_require(fcinfo, 1, "value");
	problem = setting_problem(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}
