/*
 * tell.c
 *		Who may call, on every node of a cluster: Citus sends no GRANT on what
 *		belongs to an extension.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/acl.h"

#include "access/access.h"
#include "access/tell.h"
#include "base/everywhere.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_tell_access);

static KeptQuery tell_query = {
	.sql = ON_EVERY_NODE("ducto.tell_access", "$1, $2, $3, $4"),
	.types = {TEXTOID, TEXTOID, TEXTOID, TEXTOID}
};

/*
 * access_tell has the other nodes change what a role, 0 for PUBLIC, may call, as
 * access_change has done it here.
 */
void
access_tell(const char *extension, Oid role, const char *what, const char *scope)
{
	QueryArgs	args = {0};

	if (!node_tells_others())
		return;
	args_text(&args, OidIsValid(role) ? GetUserNameFromId(role, false) : NULL);
	args_text(&args, extension);
	args_text(&args, what);
	args_text(&args, scope);
	query_run(&tell_query, &args, SPI_OK_INSERT);
}

/*
 * Return a text argument, NULL where it is.
 */
static char *
text_or_null(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * ducto.tell_access changes what a role may call on a worker, as the coordinator
 * tells it. It returns false.
 */
Datum
ducto_tell_access(PG_FUNCTION_ARGS)
{
	char	   *name = text_or_null(fcinfo, 1);
	Oid			role = name != NULL ? get_role_oid(name, true) : ACL_ID_PUBLIC;

	query_begin();
	if (!node_is_worker())
		;						/* has done it */
	else if (name != NULL && !OidIsValid(role))
		ereport(WARNING,
				(errmsg("role \"%s\" is missing on a worker, where it may call nothing", name),
				 errhint("Make it there, then call ducto_distribute on the coordinator.")));
	else
	{
		access_lock("ducto.tell_access");
		access_change(text_or_null(fcinfo, 2), role, name != NULL ? quote_identifier(name) : "PUBLIC",
					  text_or_null(fcinfo, 3), text_or_null(fcinfo, 4));
	}
	query_end();
	PG_RETURN_BOOL(false);
}
