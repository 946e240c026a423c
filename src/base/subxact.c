/*
 * subxact.c
 *		Work that may fail without the operation that it is a part of.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/direct.h"
#include "base/shard.h"
#include "base/subxact.h"

/*
 * subxact_try does work in a subtransaction. False: it was taken back, after an
 * error, which the caller gets, or with NULL because the work said so. The
 * operation goes on as it was before.
 */
bool
subxact_try(SubxactWork work, void *state, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int64		shard = shard_entered();
	bool		under_way = direct_is_under_way();
	volatile bool done = false;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		done = work(state);
		if (done)
			ReleaseCurrentSubTransaction();
		else
			RollbackAndReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		FlushErrorState();
		shard_leave(shard);
		RollbackAndReleaseCurrentSubTransaction();
		direct_return_to(under_way);
		done = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return done;
}
