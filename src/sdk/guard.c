/*
 * guard.c
 *		Keeps the names of the SDKs' functions: an event trigger that refuses what
 *		the migrations of the SDKs make in their place or beside them.
 *
 *		CREATE OR REPLACE works on a member of an extension for its owner, and a
 *		function with further arguments is another function: two engines would
 *		spend the same credit, or calls would be ambiguous.
 */
#include "postgres.h"

#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_sdk_guard);

/*
 * What a statement has made or altered that is one of ours, or has a name of
 * ours in their schema; and what of the SDKs' engine books beside ours.
 */
static KeptQuery taken_query = {
	.sql = "SELECT p.oid::regprocedure::text, p.oid IN (SELECT m.function FROM ducto.sdk_members() m)"
	" FROM pg_event_trigger_ddl_commands() c JOIN pg_proc p ON p.oid = c.objid"
	" WHERE c.classid = 'pg_proc'::regclass AND NOT c.in_extension"
	" AND (p.oid IN (SELECT m.function FROM ducto.sdk_members() m)"
	"  OR p.pronamespace = (SELECT e.extnamespace FROM pg_extension e WHERE e.extname = 'ducto_sdk')"
	"  AND (p.proname IN (SELECT m.name FROM ducto.sdk_members() m WHERE m.schema = p.pronamespace)"
	"   OR ducto.sdk_is_bonus(p.proname, p.prosrc))) LIMIT 1"
};

/*
 * Tell whether a kind of object is called as a function is.
 */
static bool
is_called(ObjectType type)
{
	return type == OBJECT_FUNCTION || type == OBJECT_PROCEDURE || type == OBJECT_ROUTINE || type == OBJECT_AGGREGATE;
}

/*
 * Tell whether a statement gives a function its name or its body.
 */
static bool
may_take(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateFunctionStmt:
			return true;
		case T_DefineStmt:
			return is_called(((const DefineStmt *) statement)->kind);
		case T_RenameStmt:
			return is_called(((const RenameStmt *) statement)->renameType);
		case T_AlterObjectSchemaStmt:
			return is_called(((const AlterObjectSchemaStmt *) statement)->objectType);
		default:
			return false;
	}
}

/*
 * Tell whether a dump is being restored: every script of pg_dump sets both, and
 * pg_restore.
 */
static bool
is_restore(void)
{
	return !check_function_bodies && !row_security;
}

/*
 * ducto.sdk_guard is called after each statement that may make or alter a
 * function. It takes no lock.
 */
Datum
ducto_sdk_guard(PG_FUNCTION_ARGS)
{
	QueryArgs	none = {0};

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.sdk_guard is a function for event triggers")));
	if (creating_extension || is_restore() || !may_take(((EventTriggerData *) fcinfo->context)->parsetree))
		PG_RETURN_NULL();
	query_begin();
	if (query_run(&taken_query, &none, SPI_OK_SELECT) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg(row_bool(0, 2) ? "%s is a function of the extension ducto_sdk" :
						"%s would be beside the functions of the extension ducto_sdk", row_text(0, 1)),
				 errdetail("Two engines on one balance would spend the same credit twice."),
				 errhint("Take the SDKs' setup() and \"ducto migrate\" out of the deploy. To go back to the SDKs' engine,"
						 " drop the extension ducto_sdk first.")));
	query_end();
	PG_RETURN_NULL();
}
