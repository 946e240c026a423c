/*
 * xact.c
 *		Numbers of transactions that keep their sense when rows move to another
 *		cluster.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "base/xact.h"

PG_FUNCTION_INFO_V1(ducto_ledger_xact);
PG_FUNCTION_INFO_V1(ducto_ledger_stamp);
PG_FUNCTION_INFO_V1(ducto_first_xact_here);
PG_FUNCTION_INFO_V1(ducto_last_xact_here);

/*
 * xact_number returns the number of a transaction of this cluster.
 */
int64
xact_number(uint64 id)
{
	static int64 tag = -1;

	if (tag < 0)
	{
		uint64		cluster = GetSystemIdentifier();

		tag = (int64) (hash_bytes((unsigned char *) &cluster, sizeof(cluster)) & 0x7FFF) << XACT_ID_BITS;
	}
	return tag | (int64) (id & ((UINT64CONST(1) << XACT_ID_BITS) - 1));
}

/*
 * xact_first_here returns the lowest number that this cluster can give.
 */
int64
xact_first_here(void)
{
	return xact_number(0);
}

/*
 * xact_last_here returns the highest number that this cluster can give.
 */
int64
xact_last_here(void)
{
	return xact_number(PG_UINT64_MAX);
}

/*
 * xact_current returns the number of the current transaction, which gets an
 * id if it has none.
 */
int64
xact_current(void)
{
	return xact_number(U64FromFullTransactionId(GetTopFullTransactionId()));
}

/*
 * ducto.ledger_xact returns the number of the current transaction.
 */
Datum
ducto_ledger_xact(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(xact_current());
}

/*
 * ducto.first_xact_here returns the lowest number that this cluster can give.
 */
Datum
ducto_first_xact_here(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(xact_first_here());
}

/*
 * ducto.last_xact_here returns the highest number that this cluster can give.
 */
Datum
ducto_last_xact_here(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(xact_last_here());
}

/*
 * ducto.ledger_stamp gives entries that logical replication brings the number
 * of the transaction that writes them here.
 */
Datum
ducto_ledger_stamp(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	entry;
	int			column;
	Datum		value;
	bool		isnull = false;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.ledger_stamp is a trigger function for insert")));
	column = SPI_fnumber(trigger->tg_relation->rd_att, "xact");
	value = Int64GetDatum(xact_current());
	entry = heap_modify_tuple_by_cols(trigger->tg_trigtuple, trigger->tg_relation->rd_att,
									  1, &column, &value, &isnull);
	return PointerGetDatum(entry);
}
