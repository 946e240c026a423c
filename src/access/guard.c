/*
 * guard.c
 *		Keeps the API closed: an event trigger that takes back what a GRANT has
 *		opened.
 *
 *		There is no list of who may call the API: the privileges are the list.
 *		What a role held before the statement it keeps; what the statement adds
 *		goes, unless it is ducto's own, or may be granted by anybody who may
 *		grant. What was held before is read in the snapshot that the statement
 *		was given: its own changes are younger, and not to be seen there.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "tcop/deparse_utility.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/rls.h"

#include "access/access.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_guard);

/* What the statement has done, as the server has collected it. */
static KeptQuery commands_query = {
	.sql = "SELECT c.command FROM pg_event_trigger_ddl_commands() c WHERE c.command_tag = 'GRANT'"
};

/*
 * Tell whether an extension is one of ours.
 */
static bool
is_ours(const char *extension)
{
	return strcmp(extension, "ducto") == 0 || strcmp(extension, "ducto_sdk") == 0;
}

/*
 * Tell whether a script of ours is being executed. It is looked at when it is
 * at its end.
 */
static bool
in_our_script(void)
{
	return creating_extension && is_ours(get_extension_name(CurrentExtensionObject));
}

/*
 * Return the catalog of the objects of a kind that is guarded, else
 * InvalidOid.
 */
static Oid
guarded_class(ObjectType type)
{
	switch (type)
	{
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
			return ProcedureRelationId;
		case OBJECT_TABLE:
		case OBJECT_SEQUENCE:
			return RelationRelationId;
		case OBJECT_SCHEMA:
			return NamespaceRelationId;
		default:
			return InvalidOid;
	}
}

/*
 * Tell whether a statement grants something of a kind that is guarded. CREATE
 * SCHEMA may have any GRANT in it.
 */
static bool
may_open(Node *statement)
{
	ListCell   *cell;

	if (IsA(statement, GrantStmt))
		return ((GrantStmt *) statement)->is_grant && OidIsValid(guarded_class(((GrantStmt *) statement)->objtype));
	if (IsA(statement, CreateSchemaStmt))
		foreach(cell, ((CreateSchemaStmt *) statement)->schemaElts)
			if (IsA(lfirst(cell), GrantStmt) && may_open(lfirst(cell)))
				return true;
	return false;
}

/*
 * Tell whether a statement may make something new a member of ours.
 */
static bool
may_add(Node *statement)
{
	if (IsA(statement, AlterExtensionStmt))
		return is_ours(((AlterExtensionStmt *) statement)->extname);
	return IsA(statement, AlterExtensionContentsStmt) && is_ours(((AlterExtensionContentsStmt *) statement)->extname);
}

/*
 * Close what is open and is not to be, and say so. Where that cannot be done
 * the statement fails.
 */
static void
close_again(const AccessChange *change)
{
	char	   *taken = access_take_back(change);

	if (taken == NULL)
		return;
	if (access_is_open(change))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot take back %s", taken),
				 errhint("The owner of ducto.guard() must own the objects of ducto, or be a superuser.")));
	ereport(NOTICE,
			(errmsg("ducto takes back %s", taken),
			 change->classid == ProcedureRelationId ?
			 errhint("Use ducto_grant_access to let a role call the API.") :
			 errhint("Its functions alone write the tables; a role that is named may read them.")));
}

/*
 * Look at what one GRANT has opened.
 */
static void
grant_check(Node *statement, const InternalGrant *grant)
{
	AccessChange change = {
		.classid = guarded_class(grant->objtype),
		.grantees = grant->grantees,
		.named = IsA(statement, GrantStmt) && ((GrantStmt *) statement)->targtype == ACL_TARGET_OBJECT,
		/* what every script of pg_dump sets, and pg_restore */
		.restored = !check_function_bodies && !row_security,
	};

	if (!OidIsValid(change.classid) || grant->objects == NIL)
		return;
	change.objects = access_touched(change.classid, grant->objects);
	if (change.objects == (Datum) 0)
		return;
	change.before = access_held(change.classid, change.objects);
	close_again(&change);
}

/*
 * Look at what a statement has granted.
 */
static void
grants_check(Node *statement)
{
	QueryArgs	none = {0};
	uint64		n = query_run(&commands_query, &none, SPI_OK_SELECT);
	SPITupleTable *commands = SPI_tuptable;

	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		CollectedCommand *command = (CollectedCommand *) DatumGetPointer(SPI_getbinval(commands->vals[i], commands->tupdesc,
																					  1, &isnull));

		if (command->type == SCT_Grant)
			grant_check(statement, command->d.grant.istmt);
	}
}

/*
 * Look at what was added to our extensions: it may have got privileges by
 * default, or before it belonged there. An update gives it to those who could
 * call what it replaces.
 */
static void
members_check(Node *statement)
{
	static const Oid classes[] = {ProcedureRelationId, RelationRelationId, NamespaceRelationId};
	AccessChange change = {
		.before = PointerGetDatum(construct_empty_array(TEXTOID)),
	};
	Datum		before = access_members();

	for (int i = 0; i < lengthof(classes); i++)
	{
		change.classid = classes[i];
		if (access_members_new(before, change.classid, &change.objects))
			close_again(&change);
	}
	if (IsA(statement, AlterExtensionStmt))
		access_carry_over();
}

/*
 * ducto.guard is called after each statement that may open something. It takes
 * no lock but those of REVOKE.
 */
Datum
ducto_guard(PG_FUNCTION_ARGS)
{
	Node	   *statement;
	bool		opens;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.guard is a function for event triggers")));
	statement = ((EventTriggerData *) fcinfo->context)->parsetree;
	opens = may_open(statement);
	if (!(opens || may_add(statement)) || access_is_changing() || in_our_script())
		PG_RETURN_NULL();
	query_begin();
	if (opens)
		grants_check(statement);
	else
		members_check(statement);
	query_end();
	PG_RETURN_NULL();
}
