/*
 * setup.c
 *		The part of ducto_setup that SQL cannot do: the trigger for the signup
 *		bonus on the table of users, which is another's.
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "miscadmin.h"

#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_setup_trigger);

#define TRIGGER_NAME	"ducto_signup_bonus"

/* The columns by which a user turns from anonymous into permanent, and gets confirmed. */
#define WATCHED_COLUMNS	"('is_anonymous', 'email_confirmed_at', 'phone_confirmed_at', 'confirmed_at')"

/*
 * Where new users arrive: whose table it is, when it is neither ours nor a
 * superuser's nor Supabase's, and who is behind such a name of Supabase's; and
 * the trigger of our name there.
 */
static KeptQuery users_query = {
	.sql = "SELECT c.oid, has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'TRIGGER'),"
	" CASE WHEN o.rolsuper OR o.rolname = current_user THEN NULL"
	"  WHEN o.rolname NOT IN ('supabase_auth_admin', 'supabase_admin')"
	"   THEN format('belongs to %s, who is neither a superuser nor Supabase''s', o.rolname)"
	"  ELSE (SELECT format('belongs to %s, and %s can let anybody act as it', o.rolname, s.name)"
	"   FROM ducto.stranger_behind(o.rolname) s (name) WHERE s.name IS NOT NULL) END,"
	" watched.columns, t.oid, fn.nspname = 'ducto' AND f.proname = 'signup_bonus', t.tgenabled = 'D',"
	" ours.columns IS DISTINCT FROM watched.columns"
	" FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_roles o ON o.oid = c.relowner"
	" LEFT JOIN pg_trigger t ON t.tgrelid = c.oid AND t.tgname = '" TRIGGER_NAME "'"
	" LEFT JOIN pg_proc f ON f.oid = t.tgfoid LEFT JOIN pg_namespace fn ON fn.oid = f.pronamespace,"
	" LATERAL (SELECT string_agg(a.attname::text, ', ' ORDER BY a.attnum) AS columns FROM pg_attribute a"
	"  WHERE a.attrelid = c.oid AND NOT a.attisdropped AND a.attname IN " WATCHED_COLUMNS ") watched,"
	" LATERAL (SELECT string_agg(a.attname::text, ', ' ORDER BY a.attnum) AS columns FROM pg_attribute a"
	"  WHERE a.attrelid = c.oid AND a.attnum = ANY (t.tgattr::int2[])) ours"
	" WHERE n.nspname = 'auth' AND c.relname = 'users' AND c.relkind IN ('r', 'p')",
};

enum
{
	USERS_TABLE = 1, USERS_ALLOWED, USERS_STRANGER, USERS_WATCHED, TRIGGER_OID, TRIGGER_IS_OURS, TRIGGER_IS_OFF, TRIGGER_IS_OLD
};

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
 * Make the trigger, in place of ours if that is there, for new users and for
 * changes of the columns that are watched, NULL for none.
 */
static void
trigger_make(Oid users, bool again, const char *columns)
{
	query_utility(psprintf("CREATE %sTRIGGER " TRIGGER_NAME " AFTER INSERT%s%s ON auth.users"
						   " FOR EACH ROW EXECUTE FUNCTION ducto.signup_bonus()", again ? "OR REPLACE " : "",
						   columns != NULL ? " OR UPDATE OF " : "", columns != NULL ? columns : ""));
	trigger_tie(get_trigger_oid(users, TRIGGER_NAME, false));
}

/*
 * Create the trigger on the table of users, unless it is there, and return
 * what was done.
 */
static const char *
trigger_create(void)
{
	QueryArgs	args = {0};
	bool		exists;
	bool		ours;

	if (query_run(&users_query, &args, SPI_OK_SELECT) == 0)
		return "not created: there is no table auth.users";
	exists = !row_is_null(0, TRIGGER_OID);
	ours = exists && row_bool(0, TRIGGER_IS_OURS);
	if (!row_is_null(0, USERS_STRANGER))
		return psprintf(ours ? "was there already, and is to be dropped: auth.users %s" : "not created: auth.users %s",
						row_text(0, USERS_STRANGER));
	if (exists && !ours)
		return "not created: another trigger has this name";
	if (ours && !row_bool(0, TRIGGER_IS_OLD))
	{
		trigger_tie(DatumGetObjectId(row_datum(0, TRIGGER_OID)));
		return row_bool(0, TRIGGER_IS_OFF) ? "was there already, but is disabled" : "was there already";
	}
	if (!row_bool(0, USERS_ALLOWED))
		return psprintf("not created: grant %s usage of schema auth and TRIGGER on auth.users, then call ducto_setup again",
						quote_identifier(GetUserNameFromId(GetUserId(), false)));
	trigger_make(DatumGetObjectId(row_datum(0, USERS_TABLE)), ours, row_text(0, USERS_WATCHED));
	return ours ? "created anew: the columns that tell of a user have changed" : "created";
}

/*
 * ducto.setup_trigger creates the trigger for the signup bonus. Returns what
 * was done.
 */
Datum
ducto_setup_trigger(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	const char *action;
	text	   *result;

	query_begin();
	action = trigger_create();
	MemoryContextSwitchTo(context);
	result = cstring_to_text(action);
	query_end();
	PG_RETURN_TEXT_P(result);
}
