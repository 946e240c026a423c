/*
 * setup.c
 *		Making the extension at home in Supabase: privileges of its roles, the
 *		signup bonus, PostgREST's schema cache.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/tuplestore.h"

#include "access.h"
#include "query.h"

PG_FUNCTION_INFO_V1(ducto_setup);
PG_FUNCTION_INFO_V1(ducto_revoke_default_privileges);

#define TRIGGER_NAME	"ducto_signup_bonus"

/*
 * A role of Supabase. What one granted on goes with its own privilege, so that
 * who is to have more comes later.
 */
typedef struct SetupRole
{
	const char *name;
	const char *calls;			/* the API's functions it is to call, for LIKE */
} SetupRole;

static const SetupRole setup_roles[] = {
	{"anon", ""},
	{"authenticated", "ducto\\_my\\_%"},
	{"service_role", "%"},
};

/* The steps of ducto_setup, as rows. */
typedef struct SetupSteps
{
	Tuplestorestate *store;
	TupleDesc	desc;
} SetupSteps;

/* What was changed for a role. */
typedef struct RoleChanges
{
	int			granted;
	int			revoked;
	int			tables;
	bool		usage;			/* granted, of the API's schema */
	bool		inner_usage;	/* revoked, of schema ducto */
	int			left;			/* what another than the owner granted */
} RoleChanges;

/* Functions that a role, 0 for PUBLIC, was granted by name or is to be, but not both. */
static KeptQuery wrong_functions_query = {
	.sql = "SELECT f.name, f.wanted FROM"
	" (SELECT p.oid::regprocedure::text AS name,"
	"  p.pronamespace = $2 AND p.proname LIKE $4 AND p.proname NOT IN " OWNER_FUNCTIONS " AS wanted,"
	"  EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = $3) AS granted"
	"  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'"
	"   AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = $1 WHERE p.proowner <> $3) f"
	" WHERE f.wanted <> f.granted ORDER BY 1",
	.types = {OIDOID, OIDOID, OIDOID, TEXTOID}
};

static KeptQuery open_tables_query = {
	.sql = "SELECT c.oid::regclass::text FROM pg_class c"
	" JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'"
	"  AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = $1"
	" WHERE c.relkind IN ('r', 'p', 'S') AND c.relowner <> $2"
	"  AND EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = $2) ORDER BY 1",
	.types = {OIDOID, OIDOID}
};

static KeptQuery open_schema_query = {
	.sql = "SELECT FROM pg_namespace n, aclexplode(n.nspacl) a"
	" WHERE n.nspname = 'ducto' AND a.grantee = $1 AND a.grantee <> n.nspowner",
	.types = {OIDOID}
};

static KeptQuery usage_query = {
	.sql = "SELECT has_schema_privilege($1, $2, 'USAGE')",
	.types = {OIDOID, OIDOID}
};

/* Where new users arrive, and the trigger of our name there. */
static KeptQuery users_query = {
	.sql = "SELECT c.oid, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'TRIGGER'),"
	" t.oid, fn.nspname = 'ducto' AND f.proname = 'signup_bonus', t.tgenabled = 'D'"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
	" LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = '" TRIGGER_NAME "'"
	" LEFT JOIN pg_proc f ON f.oid = t.tgfoid LEFT JOIN pg_namespace fn ON fn.oid = f.pronamespace"
	" WHERE n.nspname = 'auth' AND c.relname = 'users' AND c.relkind IN ('r', 'p')",
};

/*
 * Append a row of what was done with an object.
 */
static void
setup_step(SetupSteps *steps, const char *object, const char *action)
{
	Datum		values[2] = {CStringGetTextDatum(object), CStringGetTextDatum(action)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(steps->store, steps->desc, values, nulls);
}

/*
 * Find the functions that a role can call although it is not to, and the other
 * way round.
 */
static int
wrong_functions(Oid extension, Oid schema, Oid role, const char *calls)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(extension));
	args_datum(&args, ObjectIdGetDatum(schema));
	args_datum(&args, ObjectIdGetDatum(role));
	args_text(&args, calls);
	return (int) query_run(&wrong_functions_query, &args, SPI_OK_SELECT);
}

/*
 * Grant a role the functions that it is to call, and revoke the others.
 */
static void
role_functions(Oid extension, Oid schema, const char *name, Oid role, const char *calls, RoleChanges *changes)
{
	int			n = wrong_functions(extension, schema, role, calls);
	SPITupleTable *functions = SPI_tuptable;

	for (int i = 0; i < n; i++)
	{
		bool		isnull;
		char	   *function = SPI_getvalue(functions->vals[i], functions->tupdesc, 1);
		bool		wanted = DatumGetBool(SPI_getbinval(functions->vals[i], functions->tupdesc, 2, &isnull));

		query_utility(psprintf(wanted ? "GRANT EXECUTE ON ROUTINE %s TO %s" : "REVOKE ALL ON ROUTINE %s FROM %s CASCADE",
							   function, name));
		if (wanted)
			changes->granted++;
		else
			changes->revoked++;
	}
	if (changes->revoked > 0)
		changes->left += wrong_functions(extension, schema, role, calls);
}

/*
 * Find the tables that a role was granted anything on.
 */
static int
open_tables(Oid extension, Oid role)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(extension));
	args_datum(&args, ObjectIdGetDatum(role));
	return (int) query_run(&open_tables_query, &args, SPI_OK_SELECT);
}

/*
 * Revoke what a role was granted on the tables.
 */
static void
role_tables(Oid extension, const char *name, Oid role, RoleChanges *changes)
{
	SPITupleTable *tables;

	changes->tables = open_tables(extension, role);
	tables = SPI_tuptable;
	for (int i = 0; i < changes->tables; i++)
		query_utility(psprintf("REVOKE ALL ON TABLE %s FROM %s CASCADE",
							   SPI_getvalue(tables->vals[i], tables->tupdesc, 1), name));
	if (changes->tables > 0)
		changes->left += open_tables(extension, role);
}

/*
 * Revoke what a role was granted on the tables' schema.
 */
static void
role_inner_schema(const char *name, Oid role, RoleChanges *changes)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(role));
	changes->inner_usage = query_run(&open_schema_query, &args, SPI_OK_SELECT) > 0;
	if (changes->inner_usage)
	{
		query_utility(psprintf("REVOKE ALL ON SCHEMA ducto FROM %s CASCADE", name));
		changes->left += (int) query_run(&open_schema_query, &args, SPI_OK_SELECT);
	}
}

/*
 * Let a role that is to call the API use its schema.
 */
static void
role_schema(Oid schema, const char *name, Oid role, RoleChanges *changes)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(role));
	args_datum(&args, ObjectIdGetDatum(schema));
	query_run(&usage_query, &args, SPI_OK_SELECT);
	changes->usage = !row_bool(0, 1);
	if (changes->usage)
		query_utility(psprintf("GRANT USAGE ON SCHEMA %s TO %s",
							   quote_identifier(get_namespace_name(schema)), name));
}

/*
 * Let a role, InvalidOid for PUBLIC, have what it is to have and nothing else.
 */
static void
role_adjust(Oid schema, const char *name, Oid role, const char *calls, RoleChanges *changes)
{
	Oid			extension = get_extension_oid("ducto", false);

	memset(changes, 0, sizeof(RoleChanges));
	role_functions(extension, schema, name, role, calls, changes);
	role_tables(extension, name, role, changes);
	role_inner_schema(name, role, changes);
	if (calls[0] != '\0')
		role_schema(schema, name, role, changes);
}

/*
 * Append what was done to how many, if any, to a list.
 */
static void
describe(StringInfo action, const char *what, int n, const char *noun)
{
	if (n > 0)
		appendStringInfo(action, "%s%s %d %s%s", action->len > 0 ? ", " : "", what, n, noun, n == 1 ? "" : "s");
}

/*
 * Say what was changed for a role.
 */
static char *
changes_describe(const RoleChanges *changes, bool calls)
{
	StringInfoData action;

	initStringInfo(&action);
	describe(&action, "granted usage of", changes->usage, "schema");
	describe(&action, "granted execute on", changes->granted, "function");
	describe(&action, "revoked execute on", changes->revoked, "function");
	describe(&action, "revoked access to", changes->tables, "table");
	describe(&action, "revoked usage of", changes->inner_usage, "schema");
	if (changes->left > 0)
		appendStringInfo(&action, ", but %d of them stay: they were granted by another than the owner", changes->left);
	if (action.len == 0)
		appendStringInfoString(&action, calls ? "had all that it is to have, and nothing else" : "had nothing");
	return action.data;
}

/*
 * Set up the privileges.
 */
static void
setup_privileges(SetupSteps *steps, Oid schema)
{
	RoleChanges changes;

	role_adjust(schema, "PUBLIC", ACL_ID_PUBLIC, "", &changes);
	setup_step(steps, "PUBLIC", changes_describe(&changes, false));
	for (int i = 0; i < lengthof(setup_roles); i++)
	{
		const SetupRole *wanted = &setup_roles[i];
		Oid			role = get_role_oid(wanted->name, true);
		bool		calls = wanted->calls[0] != '\0';

		if (OidIsValid(role))
			role_adjust(schema, wanted->name, role, wanted->calls, &changes);
		setup_step(steps, psprintf("role %s", wanted->name), OidIsValid(role) ? changes_describe(&changes, calls) :
				   "is missing; when there is one, call ducto_setup again");
	}
}

/*
 * Let the trigger go with the extension. That needs no privilege on its table.
 */
static void
trigger_tie(Oid trigger)
{
	Oid			extension = get_extension_oid("ducto", false);
	ObjectAddress dependent;
	ObjectAddress referenced;

	if (list_member_oid(getAutoExtensionsOfObject(TriggerRelationId, trigger), extension))
		return;
	ObjectAddressSet(dependent, TriggerRelationId, trigger);
	ObjectAddressSet(referenced, ExtensionRelationId, extension);
	recordDependencyOn(&dependent, &referenced, DEPENDENCY_AUTO_EXTENSION);
}

/*
 * Create the trigger on the table of users, unless it is there, and return
 * what was done.
 */
static const char *
trigger_create(void)
{
	QueryArgs	args = {0};
	Oid			users;

	if (query_run(&users_query, &args, SPI_OK_SELECT) == 0)
		return "not created: there is no table auth.users";
	users = DatumGetObjectId(row_datum(0, 1));
	if (!row_is_null(0, 3))
	{
		if (!row_bool(0, 4))
			return "not created: another trigger has this name";
		trigger_tie(DatumGetObjectId(row_datum(0, 3)));
		return row_bool(0, 5) ? "was there already, but is disabled" : "was there already";
	}
	if (!row_bool(0, 2))
		return psprintf("not created: grant %s usage of schema auth and TRIGGER on auth.users, then call ducto_setup again",
						quote_identifier(GetUserNameFromId(GetUserId(), false)));
	query_utility("CREATE TRIGGER " TRIGGER_NAME " AFTER INSERT ON auth.users"
				  " FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus()");
	trigger_tie(get_trigger_oid(users, TRIGGER_NAME, false));
	return "created";
}

/*
 * Tell whether anything of Supabase is here.
 */
static bool
is_supabase(void)
{
	QueryArgs	args = {0};

	for (int i = 0; i < lengthof(setup_roles); i++)
		if (OidIsValid(get_role_oid(setup_roles[i].name, true)))
			return true;
	return query_run(&users_query, &args, SPI_OK_SELECT) > 0;
}

/*
 * ducto_setup gives Supabase's roles what they are to have, installs the
 * signup bonus and lets PostgREST find the API. It may be called again and
 * again. Privileges and errors: see its COMMENT.
 */
Datum
ducto_setup(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	SetupSteps	steps;

	PreventCommandIfReadOnly("ducto_setup");
	query_begin();
	steps.store = result_set_begin(fcinfo);
	steps.desc = ((ReturnSetInfo *) fcinfo->resultinfo)->setDesc;
	/* two at once would change the same rows of the catalog */
	LockDatabaseObject(ExtensionRelationId, get_extension_oid("ducto", false), 0, ShareUpdateExclusiveLock);
	if (is_supabase())
	{
		setup_privileges(&steps, schema);
		setup_step(&steps, "trigger " TRIGGER_NAME " on auth.users", trigger_create());
		Async_Notify("pgrst", "reload schema");
		setup_step(&steps, "PostgREST", "asked to reload its schema cache");
	}
	else
		setup_step(&steps, "database", "has neither the roles service_role, authenticated, anon nor a table auth.users: nothing to do");
	query_end();
	return (Datum) 0;
}

/*
 * ducto.revoke_default_privileges takes away what default privileges gave
 * Supabase's roles, and PUBLIC, when the extension's objects were made.
 */
Datum
ducto_revoke_default_privileges(PG_FUNCTION_ARGS)
{
	RoleChanges changes;

	query_begin();
	role_adjust(InvalidOid, "PUBLIC", ACL_ID_PUBLIC, "", &changes);
	for (int i = 0; i < lengthof(setup_roles); i++)
	{
		Oid			role = get_role_oid(setup_roles[i].name, true);

		if (OidIsValid(role))
			role_adjust(InvalidOid, setup_roles[i].name, role, "", &changes);
	}
	query_end();
	PG_RETURN_VOID();
}
