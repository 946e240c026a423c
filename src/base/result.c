/*
 * result.c
 *		Result rows, and sets of them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "miscadmin.h"

#include "base/result.h"

/*
 * result_begin starts a row of the calling function's composite type.
 */
void
result_begin(ResultRow *row, FunctionCallInfo fcinfo)
{
	if (get_call_result_type(fcinfo, NULL, &row->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	row->function = fcinfo->flinfo->fn_oid;
	row->columns.n = 0;
}

/*
 * result_null appends a NULL.
 */
void
result_null(ResultRow *row)
{
	args_null(&row->columns);
}

/*
 * result_end makes the finished row a datum in the memory of SPI's caller.
 */
Datum
result_end(ResultRow *row)
{
	HeapTuple	tuple;

	Assert(row->columns.n == row->desc->natts);
	tuple = heap_form_tuple(row->desc, row->columns.values, row->columns.nulls);
	return HeapTupleHeaderGetDatum(SPI_returntuple(tuple, row->desc));
}

/*
 * result_end_with_error appends the column error and ends the row as
 * result_end does; a rejection is also told as ducto.rejections says. A success
 * takes back the status of one that came before it in the transaction.
 */
Datum
result_end_with_error(ResultRow *row, Rejection rejection)
{
	Datum		datum;

	result_text(row, rejection_code(rejection));
	datum = result_end(row);
	if (rejection == ACCEPTED)
		rejection_over();
	else
		rejection_tell(rejection, row->function, datum);
	return datum;
}

/*
 * result_set_begin makes an empty tuplestore the result of a set-returning
 * function, and starts a row of it.
 */
void
result_set_begin(ResultRow *row, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext previous;
	TupleDesc	desc = NULL;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) || !(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));

	previous = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	/* the caller knows, and to find it out anew takes as long as a short query */
	if (rsinfo->expectedDesc != NULL)
		desc = rsinfo->expectedDesc;
	else if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	rsinfo->returnMode = SFRM_Materialize;
	rsinfo->setDesc = CreateTupleDescCopy(desc);
	rsinfo->setResult = tuplestore_begin_heap((rsinfo->allowedModes & SFRM_Materialize_Random) != 0,
											  false, work_mem);
	MemoryContextSwitchTo(previous);
	row->desc = rsinfo->setDesc;
	row->store = rsinfo->setResult;
	row->columns.n = 0;
}

/*
 * result_put adds the finished row to its set, and starts the next.
 */
void
result_put(ResultRow *row)
{
	Assert(row->columns.n == row->desc->natts);
	tuplestore_putvalues(row->store, row->desc, row->columns.values, row->columns.nulls);
	row->columns.n = 0;
}
