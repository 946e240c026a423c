/*
 * cluster.c
 *		Whether tables are distributed over the nodes of a Citus cluster.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "utils/lsyscache.h"

#include "base/cluster.h"
#include "base/query.h"

PG_FUNCTION_INFO_V1(ducto_is_distributed);

/*
 * cluster_is_there tells whether Citus is in this database.
 */
bool
cluster_is_there(void)
{
	return OidIsValid(get_extension_oid("citus", true));
}

/*
 * cluster_has_any tells whether one of some tables is distributed. It looks into
 * Citus's catalog, and is asked when a statement is prepared: the tables'
 * definitions change when they are distributed, so that its plan is not valid
 * any more. The caller has connected to SPI.
 */
bool
cluster_has_any(List *tables)
{
	Oid			types[] = {OIDOID};
	ListCell   *table;

	if (tables == NIL || !cluster_is_there())
		return false;
	foreach(table, tables)
	{
		Datum		value = ObjectIdGetDatum(lfirst_oid(table));

		if (SPI_execute_with_args("SELECT FROM pg_catalog.pg_dist_partition WHERE logicalrelid OPERATOR(pg_catalog.=) $1",
								  1, types, &value, NULL, true, 1) != SPI_OK_SELECT)
			elog(ERROR, "SPI_execute_with_args failed");
		if (SPI_processed > 0)
			return true;
	}
	return false;
}

/*
 * cluster_is_used tells whether the tables are distributed. The caller has
 * connected to SPI.
 */
bool
cluster_is_used(void)
{
	return cluster_is_there() && cluster_has_any(list_make1_oid(get_relname_relid("accounts", get_namespace_oid("ducto", false))));
}

/*
 * ducto.is_distributed tells whether the tables are distributed.
 */
Datum
ducto_is_distributed(PG_FUNCTION_ARGS)
{
	bool		distributed;

	query_begin();
	distributed = cluster_is_used();
	query_end();
	PG_RETURN_BOOL(distributed);
}
