/*
 * everywhere.c
 *		What every node of a cluster is told.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/guc.h"

#include "base/cluster.h"
#include "base/everywhere.h"
#include "base/query.h"

static KeptQuery worker_query = {.sql = "SELECT NOT pg_catalog.citus_is_coordinator()"};

/*
 * node_is_worker tells whether this node is a worker of a cluster.
 */
bool
node_is_worker(void)
{
	QueryArgs	none = {0};

	if (!cluster_is_there())
		return false;
	query_run(&worker_query, &none, SPI_OK_SELECT);
	return row_bool(0, 1);
}

/*
 * node_tells_others tells whether what is said on this node is for all nodes: on
 * the coordinator, as it is with Citus's own commands, unless the session has
 * turned that off.
 */
bool
node_tells_others(void)
{
	bool		propagated = true;
	const char *setting;

	if (!cluster_is_there() || !cluster_is_used() || node_is_worker())
		return false;
	setting = GetConfigOption("citus.enable_ddl_propagation", true, false);
	return setting == NULL || !parse_bool(setting, &propagated) || propagated;
}
