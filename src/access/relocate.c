/*
 * relocate.c
 *		Moving the API to another schema. ALTER EXTENSION ... SET SCHEMA cannot: it
 *		wants all objects of an extension in one schema, and the tables have
 *		theirs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/alter.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/args.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_set_schema);

/* What of an extension is in a schema: routines and types, no array types. */
static KeptQuery members_query = {
	.sql = "SELECT d.classid, d.objid FROM pg_depend d LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid"
	" LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid"
	" WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = $1 AND d.deptype = 'e'"
	"  AND coalesce(p.pronamespace, t.typnamespace) = $2 ORDER BY 1, 2",
	.types = {OIDOID, OIDOID}
};

/*
 * Note the schema of an extension in the catalog, for dumps and updates, and
 * return the one that it had.
 */
static Oid
extension_set_schema(Oid extension, Oid schema)
{
	Relation	rel = table_open(ExtensionRelationId, RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	Oid			before;

	ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(extension));
	scan = systable_beginscan(rel, ExtensionOidIndexId, true, NULL, 1, &key);
	tuple = heap_copytuple(systable_getnext(scan));
	systable_endscan(scan);
	before = ((Form_pg_extension) GETSTRUCT(tuple))->extnamespace;
	((Form_pg_extension) GETSTRUCT(tuple))->extnamespace = schema;
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	table_close(rel, RowExclusiveLock);
	if (changeDependencyFor(ExtensionRelationId, extension, NamespaceRelationId, before, schema) != 1)
		elog(ERROR, "could not change the schema of the extension");
	return before;
}

/*
 * Move what of an extension is in one schema to another.
 */
static void
members_move(Oid extension, Oid from, Oid to)
{
	ObjectAddresses *moved = new_object_addresses();
	QueryArgs	args = {0};
	SPITupleTable *members;
	uint64		n;

	args_datum(&args, ObjectIdGetDatum(extension));
	args_datum(&args, ObjectIdGetDatum(from));
	n = query_run(&members_query, &args, SPI_OK_SELECT);
	members = SPI_tuptable;
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		class = SPI_getbinval(members->vals[i], members->tupdesc, 1, &isnull);
		Datum		object = SPI_getbinval(members->vals[i], members->tupdesc, 2, &isnull);

		AlterObjectNamespace_oid(DatumGetObjectId(class), DatumGetObjectId(object), to, moved);
	}
	free_object_addresses(moved);
}

/*
 * ducto.set_schema moves the functions and types of the API to another schema.
 * The tables stay. Arguments and errors: see its COMMENT.
 */
Datum
ducto_set_schema(PG_FUNCTION_ARGS)
{
	Oid			extension = get_extension_oid("ducto", false);
	Oid			schema;
	Oid			before;
	char	   *name;

	arg_require(fcinfo, 0, "schema");
	schema = PG_GETARG_OID(0);
	name = get_namespace_name(schema);
	if (name == NULL)
		arg_reject("schema", psprintf("%u", schema), "\"schema\" must be the name of a schema.");
	if (strcmp(name, "ducto") == 0 || strncmp(name, "pg_", 3) == 0 || strcmp(name, "information_schema") == 0)
		arg_reject("schema", psprintf("\"%s\"", name),
				   "\"schema\" must be a schema for functions of applications: that of the tables must not be exposed.");

	query_begin();
	LockDatabaseObject(ExtensionRelationId, extension, 0, ShareUpdateExclusiveLock);
	LockDatabaseObject(NamespaceRelationId, schema, 0, AccessShareLock);
	before = extension_set_schema(extension, schema);
	if (before != schema)
	{
		members_move(extension, before, schema);
		Async_Notify("pgrst", "reload schema");
	}
	query_end();
	PG_RETURN_VOID();
}
