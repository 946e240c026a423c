/*
 * origin.c
 *		Which database of which cluster writes events.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"

#include "account/event.h"

PG_FUNCTION_INFO_V1(ducto_event_origin);

/*
 * event_origin returns the number of this database in this cluster: events that
 * came with a restore or by replication have another.
 */
int64
event_origin(void)
{
	static int64 origin = 0;

	if (origin == 0)
	{
		uint64		cluster = GetSystemIdentifier();

		origin = (int64) hash_bytes_extended((unsigned char *) &cluster, sizeof(cluster), MyDatabaseId);
	}
	return origin;
}

/*
 * ducto.event_origin returns the number of this database in this cluster.
 */
Datum
ducto_event_origin(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(event_origin());
}
