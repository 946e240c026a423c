/*
 * access.c
 *		Who may call the API: the privileges on the objects of ducto and
 *		ducto_sdk, and every GRANT and REVOKE that ducto makes.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "parser/scansup.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/guc.h"

#include "access/access.h"
#include "access/tell.h"
#include "base/args.h"
#include "base/everywhere.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_grant_access);
PG_FUNCTION_INFO_V1(ducto_revoke_access);
PG_FUNCTION_INFO_V1(ducto_list_access);
PG_FUNCTION_INFO_V1(ducto_setup_begin);
PG_FUNCTION_INFO_V1(ducto_set_access);
PG_FUNCTION_INFO_V1(ducto_revoke_default_privileges);

/*
 * The functions by what may be done with them: helper and owner are never
 * granted, setup, what sets up or mends, by its name only, my to everybody,
 * price, what looks at prices or at nothing, by its name to everybody, and api
 * by ducto_grant_access.
 */
#define FUNCTION_CLASS \
	"CASE WHEN p.pronamespace <> m.schema OR p.proname ~ '^sdk_' THEN 'helper'" \
	" WHEN p.proname IN ('ducto_setup', 'ducto_sdk_setup', 'ducto_repair') THEN 'setup'" \
	" WHEN p.proname IN ('ducto_grant_access', 'ducto_revoke_access', 'ducto_distribute', 'ducto_undistribute')" \
	"  OR p.proname ~ '^ducto_sdk_' THEN 'owner'" \
	" WHEN p.proname ~ '^ducto_my_' THEN 'my'" \
	" WHEN p.provolatile = 'i' OR p.proname IN ('ducto_price', 'ducto_get_active_pricing', 'ducto_get_pricing_config'," \
	"  'ducto_get_pricing_history', 'ducto_validate_pricing', 'get_active_pricing_config', 'get_pricing_config'," \
	"  'get_pricing_configs', 'get_pricing_history') THEN 'price' ELSE 'api' END"

/* What of both extensions can be granted; a table is there again for each column with privileges. */
#define OBJECTS \
	"WITH RECURSIVE member AS (SELECT e.extname::text AS extension, e.extnamespace AS schema, d.classid, d.objid" \
	"  FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'" \
	"  WHERE e.extname IN ('ducto', 'ducto_sdk'))," \
	" object AS (" \
	" SELECT m.extension, 'ROUTINE' AS kind, 'function' AS noun, 'execute on' AS verb, m.classid, p.oid," \
	"  p.oid::regprocedure::text AS name, p.proowner AS owner, coalesce(p.proacl, acldefault('f', p.proowner)) AS acl," \
	"  p.proname::text AS function, p.provolatile <> 'v' AS reads, " FUNCTION_CLASS " AS class" \
	"  FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid" \
	" UNION ALL SELECT m.extension, CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END," \
	"  CASE WHEN c.relkind = 'S' THEN 'sequence' ELSE 'table' END, 'access to', m.classid, c.oid," \
	"  c.oid::regclass::text, c.relowner, a.acl, '', false, ''" \
	"  FROM member m JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid," \
	"   LATERAL (SELECT c.relacl UNION ALL" \
	"    SELECT t.attacl FROM pg_attribute t WHERE t.attrelid = c.oid AND t.attacl IS NOT NULL) a (acl)" \
	" UNION ALL SELECT m.extension, 'SCHEMA', 'schema', 'usage of', m.classid, n.oid," \
	"  n.oid::regnamespace::text, n.nspowner, n.nspacl, '', false, ''" \
	"  FROM member m JOIN pg_namespace n ON m.classid = 'pg_namespace'::regclass AND n.oid = m.objid" \
	" UNION ALL SELECT m.extension, 'TYPE', 'type', 'usage of', m.classid, t.oid," \
	"  t.oid::regtype::text, t.typowner, t.typacl, '', false, ''" \
	"  FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid)"

/* What others than the owner hold on them. To open is for all who have no key of a backend. */
#define ENTRIES \
	", entry AS (SELECT o.*, a.grantor, a.grantee, a.privilege_type AS privilege, a.is_grantable," \
	"  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role," \
	"  a.grantee = 0 OR pg_get_userbyid(a.grantee) IN ('anon', 'authenticated') AS open" \
	"  FROM object o, aclexplode(o.acl) a WHERE a.grantee <> o.owner)"

/* Whether a role that is to call something, a text, is to call a function. */
#define WANTED(what) \
	"(o.class IN ('api', 'price', 'my') AND CASE WHEN " what " = 'all' THEN true WHEN " what " = 'read' THEN o.reads" \
	" WHEN " what " = 'my' THEN o.class = 'my' ELSE o.function = ANY (string_to_array(" what ", ',')) END)"

#define PLURAL(n)	"CASE WHEN " n " = 1 THEN '' ELSE 's' END"

/*
 * The statements that let a role, 0 for PUBLIC, call something of some
 * extensions and nothing else, each with a phrase for it. What is taken away:
 * nothing, it is given additions; functions; what a set-up looks at; or
 * everything.
 */
static KeptQuery changes_query = {
	.sql = OBJECTS
	", target AS (SELECT o.*, " WANTED("$4") " AS wanted FROM object o"
	"  WHERE coalesce(o.extension = $1, true) AND o.owner <> $2),"
	" held AS (SELECT t.*, a.is_grantable FROM target t, aclexplode(t.acl) a WHERE a.grantee = $2 AND CASE"
	"  WHEN $5 = 'functions' THEN t.class IN ('api', 'price', 'my') WHEN $5 = 'additions' THEN false"
	"  WHEN $5 = 'setup' THEN t.kind <> 'TYPE' AND NOT (t.class = 'price' AND $3 IN ('PUBLIC', 'anon', 'authenticated'))"
	"  ELSE true END)"
	" SELECT s.statement, s.phrase FROM ("
	" SELECT 1 AS n, format('GRANT USAGE ON SCHEMA %I TO %s', n.nspname, $3) AS statement, 'granted usage of 1 schema' AS phrase"
	"  FROM pg_namespace n WHERE n.oid IN (SELECT m.schema FROM member m WHERE coalesce(m.extension = $1, true)) AND CASE"
	"   WHEN $4 = '' OR $2 = 0 THEN false WHEN $5 <> 'functions' THEN NOT has_schema_privilege($2, n.oid, 'USAGE')"
	"   ELSE NOT EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = $2 AND a.privilege_type = 'USAGE') END"
	" UNION ALL SELECT 2, format('GRANT EXECUTE ON ROUTINE %s TO %s', string_agg(t.name, ', ' ORDER BY t.name), $3),"
	"  format('granted %s %s %s%s', t.verb, count(*), t.noun, " PLURAL("count(*)") ")"
	"  FROM target t WHERE t.wanted AND NOT EXISTS (SELECT FROM aclexplode(t.acl) a WHERE a.grantee = $2)"
	"  GROUP BY t.verb, t.noun"
	" UNION ALL SELECT 2 + strpos('RTS', substr(h.kind, 1, 1)),"
	"  format('REVOKE ALL ON %s %s FROM %s CASCADE', h.kind, string_agg(DISTINCT h.name, ', '), $3),"
	"  format('revoked %s %s %s%s', h.verb, count(DISTINCT h.name), h.noun, " PLURAL("count(DISTINCT h.name)") ")"
	"  FROM held h WHERE NOT h.wanted GROUP BY h.kind, h.verb, h.noun"
	" UNION ALL SELECT 9,"
	"  format('REVOKE GRANT OPTION FOR ALL ON %s %s FROM %s CASCADE', h.kind, string_agg(DISTINCT h.name, ', '), $3),"
	"  format('revoked the right to grant %s %s%s', count(DISTINCT h.name), h.noun, " PLURAL("count(DISTINCT h.name)") ")"
	"  FROM held h WHERE h.wanted AND h.is_grantable GROUP BY h.kind, h.noun"
	") s ORDER BY s.n, s.statement",
	.types = {TEXTOID, OIDOID, TEXTOID, TEXTOID, TEXTOID}
};

/* Of a list of functions, the first that none of the API's is called. */
static KeptQuery unknown_function_query = {
	.sql = OBJECTS
	" SELECT w.name FROM unnest(string_to_array($1, ',', '')) WITH ORDINALITY w (name, n) WHERE NOT EXISTS ("
	"  SELECT FROM object o WHERE o.class IN ('api', 'price', 'my') AND o.function = w.name) ORDER BY w.n LIMIT 1",
	.types = {TEXTOID}
};

/* One that is not to be open to all, of those that a role would call. */
static KeptQuery closed_function_query = {
	.sql = OBJECTS " SELECT o.function FROM object o WHERE o.class = 'api' AND " WANTED("$1") " ORDER BY o.function LIMIT 1",
	.types = {TEXTOID}
};

/*
 * Usage of the API's schemas, unless a role has or owns something else in one
 * of them.
 */
static KeptQuery usage_query = {
	.sql = "SELECT format('REVOKE USAGE ON SCHEMA %I FROM %s CASCADE', n.nspname, $2), ''"
	" FROM pg_namespace n WHERE n.oid IN (SELECT e.extnamespace FROM pg_extension e WHERE e.extname IN ('ducto', 'ducto_sdk'))"
	" AND EXISTS (SELECT FROM aclexplode(n.nspacl) a WHERE a.grantee = $1 AND a.privilege_type = 'USAGE')"
	" AND NOT EXISTS (SELECT FROM pg_shdepend d LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid"
	"  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid"
	"  LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid"
	"  WHERE d.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())"
	"   AND d.refclassid = 'pg_authid'::regclass AND d.refobjid = $1"
	"   AND n.oid = coalesce(p.pronamespace, c.relnamespace, t.typnamespace))",
	.types = {OIDOID, TEXTOID}
};

/* All that others than the owners hold on an extension; that all may use a type is PostgreSQL's default. */
static KeptQuery defaults_query = {
	.sql = OBJECTS ENTRIES
	" SELECT format('REVOKE ALL ON %s %s FROM %s CASCADE', e.kind, string_agg(DISTINCT e.name, ', '), e.role), ''"
	" FROM entry e WHERE e.extension = $1 AND NOT (e.kind = 'TYPE' AND e.grantee = 0) GROUP BY e.kind, e.role",
	.types = {TEXTOID}
};

static KeptQuery list_query = {
	.sql = OBJECTS ENTRIES
	", holder (role, granted_to) AS (SELECT e.grantee, e.grantee FROM entry e"
	"  UNION SELECT m.member, h.granted_to FROM holder h JOIN pg_auth_members m ON m.roleid = h.role)"
	" SELECT l.role, l.object, l.privilege, l.granted_to, l.granted_by FROM ("
	"  SELECT CASE WHEN h.role = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(h.role)::text END AS role,"
	"  e.noun || ' ' || e.name AS object, e.privilege,"
	"  CASE WHEN e.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee)::text END AS granted_to,"
	"  pg_get_userbyid(e.grantor)::text AS granted_by"
	"  FROM entry e JOIN holder h ON h.granted_to = e.grantee WHERE e.kind <> 'TYPE') l"
	" ORDER BY l.role COLLATE \"C\", l.object COLLATE \"C\", l.privilege COLLATE \"C\", l.granted_to COLLATE \"C\"",
};

/* Which of some objects are members. */
static KeptQuery touched_query = {
	.sql = "SELECT array_agg(d.objid) FROM pg_extension e JOIN pg_depend d"
	"  ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'"
	" WHERE e.extname IN ('ducto', 'ducto_sdk') AND d.classid = $1 AND d.objid = ANY ($2)",
	.types = {OIDOID, OIDARRAYOID}
};

/* All members, and those that were none before. */
static KeptQuery members_query = {
	.sql = OBJECTS " SELECT array_agg(o.classid || '/' || o.oid) FROM object o"
};

static KeptQuery members_new_query = {
	.sql = OBJECTS " SELECT array_agg(o.oid) FROM object o WHERE o.classid = $1 AND o.classid || '/' || o.oid <> ALL ($2)",
	.types = {OIDOID, TEXTARRAYOID}
};

/* What each role may call of each extension, as ducto_grant_access reads it. */
static KeptQuery callers_query = {
	.sql = OBJECTS ENTRIES
	" SELECT e.extension, e.grantee, e.role, CASE WHEN count(DISTINCT e.oid) = a.functions THEN 'all'"
	"  WHEN count(DISTINCT e.oid) = a.reads AND bool_and(e.reads) THEN 'read' ELSE string_agg(DISTINCT e.function, ',') END"
	" FROM entry e JOIN (SELECT o.extension, count(*) AS functions, count(*) FILTER (WHERE o.reads) AS reads"
	"  FROM object o WHERE o.class IN ('api', 'price', 'my') GROUP BY o.extension) a ON a.extension = e.extension"
	" WHERE e.class IN ('api', 'price', 'my') GROUP BY e.extension, e.grantee, e.role, a.functions, a.reads ORDER BY e.role"
};

enum
{
	CALLER_EXTENSION = 1, CALLER_GRANTEE, CALLER_ROLE, CALLER_FUNCTIONS
};

/* Who holds something on some objects. */
static KeptQuery held_query = {
	.sql = OBJECTS ENTRIES
	" SELECT coalesce(array_agg(e.oid || '/' || e.grantee), '{}') FROM entry e WHERE e.classid = $1 AND e.oid = ANY ($2)",
	.types = {OIDOID, OIDARRAYOID}
};

/*
 * What is open on some objects and is not to be, with the statement that takes
 * it back. Only an owner may grant; the tables can be read by whoever is
 * granted that by name, and written by nobody. Where no grantees are given it
 * is everything.
 */
static KeptQuery wrong_query = {
	.sql = OBJECTS ENTRIES
	", known AS (SELECT e.*, e.oid || '/' || e.grantee = ANY ($4) AS was FROM entry e"
	"  WHERE e.classid = $1 AND e.oid = ANY ($2) AND ($3 IS NULL OR e.grantee = ANY ($3))),"
	" judged AS (SELECT k.*, CASE WHEN $3 IS NULL THEN false"
	"  WHEN k.kind = 'SCHEMA' THEN k.privilege = 'USAGE' AND NOT k.open"
	"  WHEN k.kind <> 'ROUTINE' THEN k.privilege = 'SELECT' AND NOT k.open"
	"  WHEN k.class = 'my' THEN true"
	"  WHEN k.class = 'price' THEN k.was OR $5"
	"  WHEN k.class = 'setup' THEN NOT k.open AND (k.was OR $5)"
	"  WHEN k.class = 'api' THEN NOT k.open AND (k.was OR $5 AND $6) ELSE false END AS kept FROM known k),"
	" wrong AS (SELECT j.kind, j.noun, j.name, j.role, j.kept, string_agg(DISTINCT j.privilege, ', ') AS privileges"
	"  FROM judged j WHERE NOT j.kept OR j.is_grantable GROUP BY j.kind, j.noun, j.name, j.role, j.kept),"
	" held AS (SELECT w.kind, w.kept, w.privileges, w.role, string_agg(w.name, ', ' ORDER BY w.name) AS names,"
	"  CASE WHEN count(*) = 1 THEN w.noun || ' ' || min(w.name) ELSE count(*) || ' ' || w.noun || 's' END AS objects"
	"  FROM wrong w GROUP BY w.kind, w.noun, w.kept, w.privileges, w.role)"
	" SELECT format('REVOKE %s%s ON %s %s FROM %s CASCADE', CASE WHEN h.kept THEN 'GRANT OPTION FOR ' ELSE '' END, h.privileges,"
	"   h.kind, h.names, string_agg(h.role, ', ')),"
	"  format('%s%s on %s from %s', CASE WHEN h.kept THEN 'the right to grant ' ELSE '' END, h.privileges, h.objects,"
	"   string_agg(h.role, ', ' ORDER BY h.role COLLATE \"C\"))"
	" FROM held h GROUP BY h.kind, h.kept, h.privileges, h.names, h.objects"
	" ORDER BY h.kept DESC, h.privileges, h.objects COLLATE \"C\"",
	.types = {OIDOID, OIDARRAYOID, OIDARRAYOID, TEXTARRAYOID, BOOLOID, BOOLOID}
};

/* A GRANT or REVOKE of ours is being executed. */
static bool changing = false;

/*
 * access_is_changing tells whether it is ducto itself that grants.
 */
bool
access_is_changing(void)
{
	return changing;
}

/*
 * Execute a GRANT or REVOKE of ours. A worker's own is not sent to other nodes,
 * which Citus would refuse.
 */
static void
change_run(const char *statement)
{
	int			level = NewGUCNestLevel();

	if (node_is_worker())
		(void) set_config_option("citus.enable_ddl_propagation", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	changing = true;
	PG_TRY();
	{
		query_utility(statement);
	}
	PG_FINALLY();
	{
		changing = false;
	}
	PG_END_TRY();
	AtEOXact_GUC(true, level);
}

/*
 * Execute the statements that a query gives. Returns its phrases, NULL when
 * there was nothing to do.
 */
static char *
changes_run(KeptQuery *query, QueryArgs *args)
{
	uint64		n = query_run(query, args, SPI_OK_SELECT);
	SPITupleTable *changes = SPI_tuptable;
	StringInfoData phrases;

	initStringInfo(&phrases);
	for (uint64 i = 0; i < n; i++)
	{
		change_run(SPI_getvalue(changes->vals[i], changes->tupdesc, 1));
		appendStringInfo(&phrases, "%s%s", i > 0 ? ", " : "", SPI_getvalue(changes->vals[i], changes->tupdesc, 2));
	}
	return n > 0 ? phrases.data : NULL;
}

/*
 * Append a list of oids as an array, NULL for none.
 */
static void
args_oids(QueryArgs *args, List *oids)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	int			n = 0;
	ListCell   *cell;

	foreach(cell, oids)
		elements[n++] = ObjectIdGetDatum(lfirst_oid(cell));
	if (n == 0)
		args_null(args);
	else
		args_datum(args, PointerGetDatum(construct_array(elements, n, OIDOID, sizeof(Oid), true, TYPALIGN_INT)));
}

/*
 * access_change lets a role, 0 for PUBLIC, call something of an extension, NULL
 * for both, and nothing else. Where everything is taken, usage of the API's
 * schemas goes, too. Returns what was done, NULL for nothing.
 */
char *
access_change(const char *extension, Oid role, const char *name, const char *what, const char *scope)
{
	QueryArgs	args = {0};
	char	   *phrases;

	args_text(&args, extension);
	args_datum(&args, ObjectIdGetDatum(role));
	args_text(&args, name);
	args_text(&args, what);
	args_text(&args, scope);
	phrases = changes_run(&changes_query, &args);
	if (strcmp(scope, "everything") == 0)
	{
		QueryArgs	usage = {0};

		args_datum(&usage, ObjectIdGetDatum(role));
		args_text(&usage, name);
		changes_run(&usage_query, &usage);
	}
	return phrases;
}

/*
 * The same on all nodes of a cluster.
 */
static char *
access_change_everywhere(const char *extension, Oid role, const char *name, const char *what, const char *scope)
{
	char	   *phrases = access_change(extension, role, name, what, scope);

	access_tell(extension, role, what, scope);
	return phrases;
}

/*
 * access_lock lets no two change access at once: they would change the same rows
 * of the catalog.
 */
void
access_lock(const char *function)
{
	PreventCommandIfReadOnly(function);
	LockDatabaseObject(ExtensionRelationId, get_extension_oid("ducto", false), 0, ShareUpdateExclusiveLock);
}

/*
 * Return the role that an argument gives, and its name for a statement.
 */
static Oid
arg_role(FunctionCallInfo fcinfo, const char **name)
{
	arg_require(fcinfo, 0, "role");
	if (!OidIsValid(PG_GETARG_OID(0)))
		arg_reject("role", "-", "\"role\" must be the name of a role.");
	*name = quote_identifier(GetUserNameFromId(PG_GETARG_OID(0), false));
	return PG_GETARG_OID(0);
}

/*
 * Return what a role is to call, as the queries read it: without blanks.
 */
static char *
arg_what(FunctionCallInfo fcinfo)
{
	char	   *what = PG_ARGISNULL(1) ? pstrdup("all") : text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *end = what;

	for (const char *p = what; *p != '\0'; p++)
		if (!scanner_isspace(*p))
			*end++ = *p;
	*end = '\0';
	return what;
}

/*
 * Reject what is neither all nor read nor a list of functions.
 */
static void
check_what(const char *what)
{
	QueryArgs	args = {0};
	const char *unknown = "";

	if (strcmp(what, "all") == 0 || strcmp(what, "read") == 0)
		return;
	args_text(&args, what);
	if (what[0] != '\0')
	{
		if (query_run(&unknown_function_query, &args, SPI_OK_SELECT) == 0)
			return;
		if (!row_is_null(0, 1))
			unknown = row_text(0, 1);
	}
	arg_reject("what",
			   strlen(unknown) < NAMEDATALEN ? psprintf("\"%s\"", unknown) : psprintf("a name of %zu bytes", strlen(unknown)),
			   "\"what\" must be all, read, or names of functions, separated by commas.");
}

/*
 * Reject a role that everybody can act as, unless it is only to read prices
 * and what is the user's own.
 */
static void
check_not_open(const char *role, const char *what)
{
	QueryArgs	args = {0};

	if (strcmp(role, "anon") != 0 && strcmp(role, "authenticated") != 0)
		return;
	args_text(&args, what);
	if (query_run(&closed_function_query, &args, SPI_OK_SELECT) > 0)
		arg_reject("role", role,
				   psprintf("Everybody can act as it, so it may call ducto_my_... and read prices, but not call %s.", row_text(0, 1)));
}

/*
 * ducto_grant_access lets a role call the API, only its reads, or some of its
 * functions. Arguments and errors: see its COMMENT.
 */
Datum
ducto_grant_access(PG_FUNCTION_ARGS)
{
	const char *name;
	Oid			role = arg_role(fcinfo, &name);
	char	   *what = arg_what(fcinfo);

	query_begin();
	access_lock("ducto_grant_access");
	check_what(what);
	check_not_open(name, what);
	access_change_everywhere(NULL, role, name, what, "functions");
	query_end();
	PG_RETURN_VOID();
}

/*
 * ducto_revoke_access takes from a role all that it holds on ducto's objects.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_revoke_access(PG_FUNCTION_ARGS)
{
	const char *name;
	Oid			role = arg_role(fcinfo, &name);

	query_begin();
	access_lock("ducto_revoke_access");
	access_change_everywhere(NULL, role, name, "", "everything");
	query_end();
	PG_RETURN_VOID();
}

/*
 * ducto_list_access shows who holds what, by which grant. It takes no lock.
 */
Datum
ducto_list_access(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};

	query_begin();
	query_read_into(fcinfo, &list_query, &args);
	query_end();
	return (Datum) 0;
}

/*
 * ducto.setup_begin lets no two set-ups run at once.
 */
Datum
ducto_setup_begin(PG_FUNCTION_ARGS)
{
	access_lock("ducto_setup");
	PG_RETURN_VOID();
}

/*
 * ducto.set_access lets a role call something of an extension, and takes all
 * else of it away unless it is to come besides. Returns what was done.
 */
Datum
ducto_set_access(PG_FUNCTION_ARGS)
{
	char	   *role = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *extension = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char	   *what = text_to_cstring(PG_GETARG_TEXT_PP(2));
	bool		is_public = strcmp(role, "PUBLIC") == 0;
	bool		besides = PG_GETARG_BOOL(3);
	MemoryContext context = CurrentMemoryContext;
	char	   *phrases;
	text	   *result;

	query_begin();
	phrases = access_change_everywhere(extension, is_public ? ACL_ID_PUBLIC : get_role_oid(role, false),
									   is_public ? role : quote_identifier(role), what, besides ? "additions" : "setup");
	if (phrases == NULL)
		phrases = besides ? "had it" : what[0] == '\0' ? "had nothing" : "had all that it is to have, and nothing else";
	MemoryContextSwitchTo(context);
	result = cstring_to_text(phrases);
	query_end();
	PG_RETURN_TEXT_P(result);
}

/*
 * ducto.revoke_default_privileges takes away what default privileges gave,
 * when an extension's objects were made, to whomever.
 */
Datum
ducto_revoke_default_privileges(PG_FUNCTION_ARGS)
{
	QueryArgs	args = {0};

	query_begin();
	args_datum(&args, PG_GETARG_DATUM(0));
	changes_run(&defaults_query, &args);
	query_end();
	PG_RETURN_VOID();
}

/*
 * access_touched returns those of some objects that belong to ducto or
 * ducto_sdk, as oid[]; 0 for none.
 */
Datum
access_touched(Oid classid, List *objects)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(classid));
	args_oids(&args, objects);
	query_run(&touched_query, &args, SPI_OK_SELECT);
	return row_is_null(0, 1) ? (Datum) 0 : row_datum(0, 1);
}

/*
 * access_members returns all that belongs to them in the active snapshot, as
 * access_members_new reads it.
 */
Datum
access_members(void)
{
	QueryArgs	args = {0};

	query_read(&members_query, &args);
	return row_datum(0, 1);
}

/*
 * access_members_new tells whether objects of a class belong to them that did
 * not before, and which, as oid[].
 */
bool
access_members_new(Datum before, Oid classid, Datum *objects)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(classid));
	args_datum(&args, before);
	query_run(&members_new_query, &args, SPI_OK_SELECT);
	if (row_is_null(0, 1))
		return false;
	*objects = row_datum(0, 1);
	return true;
}

/*
 * access_each_caller calls a function for all who could call something in the
 * active snapshot, and what: the names of functions, or all of what there is.
 */
void
access_each_caller(AccessCaller caller, void *state)
{
	QueryArgs	none = {0};
	uint64		n = query_read(&callers_query, &none);
	SPITupleTable *callers = SPI_tuptable;

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;

		caller(SPI_getvalue(callers->vals[i], callers->tupdesc, CALLER_EXTENSION),
			   DatumGetObjectId(SPI_getbinval(callers->vals[i], callers->tupdesc, CALLER_GRANTEE, &isnull)),
			   SPI_getvalue(callers->vals[i], callers->tupdesc, CALLER_ROLE),
			   SPI_getvalue(callers->vals[i], callers->tupdesc, CALLER_FUNCTIONS), state);
	}
}

/*
 * Let a role call what it could.
 */
static void
carry_over(const char *extension, Oid role, const char *name, const char *what, void *state)
{
	access_change(extension, role, name, what, "additions");
}

/*
 * access_carry_over lets everybody call what they could in the active snapshot
 * and lost since: a function of that name, or one that is new to those who
 * could call all.
 */
void
access_carry_over(void)
{
	access_each_caller(carry_over, NULL);
}

/*
 * access_held returns who holds something on which of some objects in the
 * active snapshot, as text[].
 */
Datum
access_held(Oid classid, Datum objects)
{
	QueryArgs	args = {0};

	args_datum(&args, ObjectIdGetDatum(classid));
	args_datum(&args, objects);
	query_read(&held_query, &args);
	return row_datum(0, 1);
}

/*
 * Gather the arguments of the query for what is open and is not to be.
 */
static void
args_change(QueryArgs *args, const AccessChange *change)
{
	args_datum(args, ObjectIdGetDatum(change->classid));
	args_datum(args, change->objects);
	args_oids(args, change->grantees);
	args_datum(args, change->before);
	args_bool(args, change->named);
	args_bool(args, change->restored);
}

/*
 * access_take_back closes what is open and is not to be. Returns what was
 * taken back, NULL for nothing.
 */
char *
access_take_back(const AccessChange *change)
{
	QueryArgs	args = {0};

	args_change(&args, change);
	return changes_run(&wrong_query, &args);
}

/*
 * access_is_open tells whether something is open that is not to be.
 */
bool
access_is_open(const AccessChange *change)
{
	QueryArgs	args = {0};

	args_change(&args, change);
	return query_run(&wrong_query, &args, SPI_OK_SELECT) > 0;
}
