/*
 * follow.c
 *		Whether the entries of an account follow from each other, told in one
 *		pass over the ledger as it lies on the disk.
 *
 * Entries are kept as runs: entries whose numbers follow each other are one.
 * The ledger nearly lies in the order of its numbers, so that there are one or
 * two runs of an account at a time, and one in the end.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"

#include "base/money.h"

PG_FUNCTION_INFO_V1(ducto_follow_next);
PG_FUNCTION_INFO_V1(ducto_follow_end);

#define MAX_RUNS	1024		/* of an account whose entries lie anywhere */

/* Entries that follow from each other. */
typedef struct Run
{
	int64		first;
	int64		last;
	Money		before;			/* the balance before the first */
	Money		after;			/* that after the last */
	TimestampTz first_created;
	TimestampTz first_effective;
	TimestampTz last_created;
	TimestampTz last_effective;
} Run;

/* The entries of an account that were read. */
typedef struct Followed
{
	bool		broken;			/* one of them does not follow, or cannot be told */
	int			n;
	int			size;
	Run			runs[FLEXIBLE_ARRAY_MEMBER];
} Followed;

/*
 * Make an entry a run. False: its amounts are none that the extension writes.
 */
static bool
run_of_entry(FunctionCallInfo fcinfo, Run *run)
{
	Money		amount;

	for (int i = 1; i <= 5; i++)
		if (PG_ARGISNULL(i))
			return false;
	if (!money_is_exact(PG_GETARG_DATUM(2), &amount) || !money_is_exact(PG_GETARG_DATUM(3), &run->after))
		return false;
	run->first = run->last = PG_GETARG_INT64(1);
	run->before = run->after - amount;
	run->first_created = run->last_created = PG_GETARG_TIMESTAMPTZ(4);
	run->first_effective = run->last_effective = PG_GETARG_TIMESTAMPTZ(5);
	return true;
}

/*
 * Make two runs one. False: the second does not follow from the first.
 */
static bool
run_join(Run *run, const Run *next)
{
	Assert(run->last + 1 == next->first);
	if (run->after != next->before || run->last_created > next->first_created ||
		run->last_effective > next->first_effective)
		return false;
	run->last = next->last;
	run->after = next->after;
	run->last_created = next->last_created;
	run->last_effective = next->last_effective;
	return true;
}

/*
 * Put a run among those that are there: it may close the gap between two.
 */
static Followed *
follow_add(Followed *all, Run run)
{
	Assert(run.first == run.last);
	Assert(all->n >= 0 && all->n <= all->size);
	for (int i = all->n - 1; i >= 0 && !all->broken; i--)
	{
		Run			other = all->runs[i];

		Assert(other.first <= other.last);
		if (other.last + 1 == run.first)
		{
			all->broken = !run_join(&other, &run);
			run = other;
		}
		else if (run.last + 1 == other.first)
			all->broken = !run_join(&run, &other);
		else
			continue;
		all->runs[i] = all->runs[--all->n];
	}
	if (all->n == all->size && all->size < MAX_RUNS)
	{
		all->size *= 2;
		all = repalloc(all, offsetof(Followed, runs) + sizeof(Run) * all->size);
	}
	if (all->n == all->size)
		all->broken = true;
	else
		all->runs[all->n++] = run;
	return all;
}

/*
 * ducto.follow_next adds an entry: its seq, amount, balance_after, created_at
 * and effective_at.
 */
Datum
ducto_follow_next(PG_FUNCTION_ARGS)
{
	MemoryContext context;
	Followed   *all = PG_ARGISNULL(0) ? NULL : (Followed *) PG_GETARG_POINTER(0);
	Run			run;

	if (!AggCheckCallContext(fcinfo, &context))
		elog(ERROR, "ducto.follow_next was not called by an aggregate");
	if (all == NULL)
	{
		all = MemoryContextAllocZero(context, offsetof(Followed, runs) + sizeof(Run));
		all->size = 1;
	}
	if (!all->broken && run_of_entry(fcinfo, &run))
		all = follow_add(all, run);
	else
		all->broken = true;
	PG_RETURN_POINTER(all);
}

/*
 * ducto.follow_end returns the balance after the last entry, where they are 1,
 * 2, 3 and so on, each follows from the one before, and the first from nothing;
 * otherwise NULL.
 */
Datum
ducto_follow_end(PG_FUNCTION_ARGS)
{
	const Followed *all = PG_ARGISNULL(0) ? NULL : (Followed *) PG_GETARG_POINTER(0);

	if (all == NULL || all->broken || all->n != 1 || all->runs[0].first != 1 || all->runs[0].before != 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(money_to_datum(all->runs[0].after));
}
