/*
 * access.c
 *		Who may call the API.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "access.h"
#include "args.h"
#include "query.h"

PG_FUNCTION_INFO_V1(ducto_grant_access);

static const char *const access_words[] = {"all", "read", NULL};

/* The API's functions, as GRANT names them; reads are the stable ones. */
static KeptQuery api_functions_query = {
	.sql = "SELECT p.oid::regprocedure::text FROM pg_proc p"
	" JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'"
	"  AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = $1"
	" WHERE p.pronamespace = $2 AND p.proname NOT IN " OWNER_FUNCTIONS
	" AND (($3 OR p.provolatile = 's') = $4) ORDER BY 1",
	.types = {OIDOID, OIDOID, BOOLOID, BOOLOID}
};

/*
 * Grant a role the functions that it is to call, or revoke the others.
 */
static void
grant_functions(Oid schema, const char *role, bool all, bool granted)
{
	QueryArgs	args = {0};
	SPITupleTable *functions;
	uint64		n;

	args_datum(&args, ObjectIdGetDatum(get_extension_oid("ducto", false)));
	args_datum(&args, ObjectIdGetDatum(schema));
	args_bool(&args, all);
	args_bool(&args, granted);
	n = query_run(&api_functions_query, &args, SPI_OK_SELECT);
	functions = SPI_tuptable;
	for (uint64 i = 0; i < n; i++)
		query_utility(psprintf(granted ? "GRANT EXECUTE ON ROUTINE %s TO %s" : "REVOKE EXECUTE ON ROUTINE %s FROM %s",
							   SPI_getvalue(functions->vals[i], functions->tupdesc, 1), role));
}

/*
 * ducto_grant_access lets a role call the API, or only its reads. Arguments
 * and errors: see its COMMENT.
 */
Datum
ducto_grant_access(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	const char *role;
	bool		all;

	arg_require(fcinfo, 0, "role");
	if (!OidIsValid(PG_GETARG_OID(0)))
		arg_reject("role", "-", "\"role\" must be the name of a role.");
	role = quote_identifier(GetUserNameFromId(PG_GETARG_OID(0), false));
	all = strcmp(arg_word(fcinfo, 1, "what", access_words), "all") == 0;

	query_begin();
	query_utility(psprintf("GRANT USAGE ON SCHEMA %s TO %s",
						   quote_identifier(get_namespace_name(schema)), role));
	grant_functions(schema, role, all, true);
	grant_functions(schema, role, all, false);
	query_end();
	PG_RETURN_VOID();
}
