/*
 * access.c
 *		Who may call the API.
 */
#include "postgres.h"

#include "commands/extension.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "args.h"
#include "query.h"

PG_FUNCTION_INFO_V1(ducto_grant_access);

static const char *const access_words[] = {"all", "read", NULL};

/* The API's functions, as GRANT names them; reads are the stable ones. */
static KeptQuery api_functions_query = {
	.sql = "SELECT p.oid::regprocedure::text, p.prokind = 'p' FROM pg_proc p"
	" JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'"
	"  AND d.refclassid = 'pg_extension'::regclass AND d.refobjid = $1"
	" WHERE p.pronamespace = $2 AND p.proname NOT IN ('ducto_setup', 'ducto_grant_access')"
	" AND ($3 OR p.provolatile = 's') ORDER BY 1",
	.types = {OIDOID, OIDOID, BOOLOID}
};

/*
 * Execute a GRANT.
 */
static void
grant_execute(const char *command)
{
	int			rc = SPI_execute(command, false, 0);

	if (rc != SPI_OK_UTILITY)
		elog(ERROR, "SPI_execute returned %s: %s", SPI_result_code_string(rc), command);
}

/*
 * ducto_grant_access lets a role call the API. Arguments and errors: see its
 * COMMENT.
 */
Datum
ducto_grant_access(PG_FUNCTION_ARGS)
{
	Oid			schema = get_func_namespace(fcinfo->flinfo->fn_oid);
	const char *role;
	bool		all;
	QueryArgs	args = {0};
	SPITupleTable *functions;
	uint64		n;

	arg_require(fcinfo, 0, "role");
	role = quote_identifier(GetUserNameFromId(PG_GETARG_OID(0), false));
	all = strcmp(arg_word(fcinfo, 1, "what", access_words), "all") == 0;

	query_begin();
	args_datum(&args, ObjectIdGetDatum(get_extension_oid("ducto", false)));
	args_datum(&args, ObjectIdGetDatum(schema));
	args_bool(&args, all);
	n = query_run(&api_functions_query, &args, SPI_OK_SELECT);
	functions = SPI_tuptable;
	grant_execute(psprintf("GRANT USAGE ON SCHEMA %s TO %s",
						   quote_identifier(get_namespace_name(schema)), role));
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		char	   *function = SPI_getvalue(functions->vals[i], functions->tupdesc, 1);
		bool		procedure = DatumGetBool(SPI_getbinval(functions->vals[i], functions->tupdesc, 2, &isnull));

		grant_execute(psprintf("GRANT EXECUTE ON %s %s TO %s", procedure ? "PROCEDURE" : "FUNCTION",
							   function, role));
	}
	query_end();
	PG_RETURN_VOID();
}
