/*
 * wave.c
 *		Work on many accounts of a cluster, where they are.
 *
 *		A wave is one shard of each node that has something left: one
 *		statement, which Citus sends to all these nodes at once. Each gets it
 *		once, so nothing waits there for another connection of this
 *		transaction, and by the connection by which the shard was
 *		written to before, so that it is a part of the transaction.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "account/account.h"
#include "account/wave.h"
#include "base/cluster.h"

#define PART_MOST	10000		/* accounts that are sent to a shard at once */

/* An account, and where it is. */
typedef struct Placed
{
	int			node;
	int64		shard;
	pg_uuid_t	account;
	int64		place;			/* among others, of those of its node after it was ordered by turns */
} Placed;

/*
 * Order accounts by shard, then by id.
 */
static int
placed_by_shard(const void *a, const void *b)
{
	const Placed *x = a;
	const Placed *y = b;
	int			order = memcmp(&x->account, &y->account, UUID_LEN);

	if (x->shard != y->shard)
		return x->shard < y->shard ? -1 : 1;
	if (order != 0)
		return order;
	return x->place < y->place ? -1 : 1;
}

/*
 * Order accounts by node, then by shard and id.
 */
static int
placed_by_node(const void *a, const void *b)
{
	const Placed *x = a;
	const Placed *y = b;

	return x->node != y->node ? x->node - y->node : placed_by_shard(a, b);
}

/*
 * Order accounts by place, then by node.
 */
static int
placed_by_place(const void *a, const void *b)
{
	const Placed *x = a;
	const Placed *y = b;

	if (x->place != y->place)
		return x->place < y->place ? -1 : 1;
	return x->node - y->node;
}

/*
 * Find out where accounts are.
 */
static Placed *
accounts_place(const pg_uuid_t *ids, int64 n)
{
	Placed	   *placed = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Placed) * Max(n, 1));

	for (int64 i = 0; i < n; i++)
		placed[i] = (Placed) {.node = cluster_node(&ids[i]), .shard = cluster_shard(&ids[i]), .account = ids[i], .place = i};
	return placed;
}

/*
 * accounts_by_turns brings accounts, on a cluster, into an order in which each
 * node has its share of however many follow each other.
 */
void
accounts_by_turns(pg_uuid_t *ids, int64 n)
{
	Placed	   *placed;

	if (!cluster_is_used() || n == 0)
		return;
	placed = accounts_place(ids, n);
	qsort(placed, n, sizeof(Placed), placed_by_node);
	placed[0].place = 0;
	for (int64 i = 1; i < n; i++)
		placed[i].place = placed[i].node == placed[i - 1].node ? placed[i - 1].place + 1 : 0;
	qsort(placed, n, sizeof(Placed), placed_by_place);
	for (int64 i = 0; i < n; i++)
		ids[i] = placed[i].account;
	pfree(placed);
}

/*
 * Make the parts of accounts that are in their order.
 */
static void
wave_cut(Wave *wave, const Placed *placed, int64 n)
{
	int			most = 16;

	wave->parts = palloc(sizeof(ShardPart) * most);
	for (int64 i = 0; i < n;)
	{
		ShardPart	part = {.shard = placed[i].shard, .node = placed[i].node, .next = i};

		while (i < n && i - part.next < PART_MOST && (wave->by_node ? placed[i].node == part.node : placed[i].shard == part.shard))
			i++;
		part.end = i;
		if (wave->nparts == most)
			wave->parts = repalloc(wave->parts, sizeof(ShardPart) * (most *= 2));
		wave->parts[wave->nparts++] = part;
	}
	wave->now = palloc(sizeof(ShardPart *) * Max(wave->nparts, 1));
}

/*
 * Note accounts that are to be worked on.
 */
static void
wave_make(Wave *wave, const pg_uuid_t *accounts, int64 n, bool by_node)
{
	Placed	   *placed = accounts_place(accounts, n);

	memset(wave, 0, sizeof(Wave));
	wave->by_node = by_node;
	qsort(placed, n, sizeof(Placed), by_node ? placed_by_node : placed_by_shard);
	wave->accounts = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t) * Max(n, 1));
	wave->places = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * Max(n, 1));
	for (int64 i = 0; i < n; i++)
	{
		wave->accounts[i] = placed[i].account;
		wave->places[i] = placed[i].place;
	}
	wave_cut(wave, placed, n);
	pfree(placed);
}

/*
 * wave_begin notes accounts that are to be worked on shard by shard.
 */
void
wave_begin(Wave *wave, const pg_uuid_t *accounts, int64 n)
{
	wave_make(wave, accounts, n, false);
}

/*
 * wave_begin_nodes notes accounts, of each node PART_MOST at most, that are to be
 * worked on by one statement of each node. All parts are next.
 */
void
wave_begin_nodes(Wave *wave, const pg_uuid_t *accounts, int64 n)
{
	wave_make(wave, accounts, n, true);
	for (int i = 0; i < wave->nparts; i++)
		wave->now[wave->n++] = &wave->parts[i];
}

/*
 * wave_hold keeps the shards of a wave of nodes where they are until the
 * transaction ends. False: one has gone to another node meanwhile.
 */
bool
wave_hold(const Wave *wave)
{
	int64		n = 0;
	pg_uuid_t  *firsts;
	int		   *nodes;

	for (int i = 0; i < wave->n; i++)
		n += wave->now[i]->end - wave->now[i]->next;
	firsts = palloc(sizeof(pg_uuid_t) * n);
	nodes = palloc(sizeof(int) * n);
	n = 0;
	for (int i = 0; i < wave->n; i++)
	{
		const ShardPart *part = wave->now[i];

		for (int64 next = part->next; next < part->end; next++)
		{
			if (next > part->next && cluster_shard(&wave->accounts[next]) == cluster_shard(&firsts[n - 1]))
				continue;
			firsts[n] = wave->accounts[next];
			nodes[n++] = part->node;
		}
	}
	accounts_hold_shards(firsts, (int) n);
	while (n > 0 && cluster_node(&firsts[n - 1]) == nodes[n - 1])
		n--;
	return n == 0;
}

/*
 * wave_done returns how many of n accounts are done, from the first on in the
 * order in which they were given.
 */
int64
wave_done(const Wave *wave, int64 n)
{
	int64		done = n;

	for (int i = 0; i < wave->nparts; i++)
		for (int64 next = wave->parts[i].next; next < wave->parts[i].end; next++)
			done = Min(done, wave->places[next]);
	return done;
}

/*
 * Tell whether a node has a part in the wave.
 */
static bool
wave_has(const Wave *wave, int node)
{
	for (int i = 0; i < wave->n; i++)
		if (wave->now[i]->node == node)
			return true;
	return false;
}

/*
 * Keep the shard of a part where it is until the transaction ends.
 */
static void
part_hold(const Wave *wave, const ShardPart *part)
{
	if (account_hold_shard(&wave->accounts[part->next]) != part->shard)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("shard " INT64_FORMAT " was split meanwhile", part->shard),
				 errhint("Call it again.")));
}

/*
 * wave_next chooses the parts that are next: the first of each node that is not
 * done, or of one node. False: all are done.
 */
bool
wave_next(Wave *wave, bool all_nodes)
{
	wave->n = 0;
	for (int i = 0; i < wave->nparts && (all_nodes || wave->n == 0); i++)
	{
		ShardPart  *part = &wave->parts[i];

		if (part->next == part->end || wave_has(wave, part->node))
			continue;
		part->answered = false;
		wave->now[wave->n++] = part;
	}
	for (int i = 0; i < wave->n; i++)
		part_hold(wave, wave->now[i]);
	return wave->n > 0;
}

/*
 * Send the parts of a wave to their nodes by a query, and read the answers.
 */
static void
wave_send(const Wave *wave, KeptQuery *query, const WaveWork *work, void *state)
{
	QueryArgs	args = {0};
	pg_uuid_t  *accounts = palloc(sizeof(pg_uuid_t) * wave->n);
	int64	   *shards = palloc(sizeof(int64) * wave->n);
	uint64		n;

	for (int i = 0; i < wave->n; i++)
	{
		accounts[i] = wave->accounts[wave->now[i]->next];
		shards[i] = wave->now[i]->shard;
	}
	args_uuid_array(&args, accounts, wave->n);
	args_int8_array(&args, shards, wave->n);
	work->arguments(wave, &args, state);
	n = query_run(query, &args, SPI_OK_SELECT);
	for (uint64 i = 0; i < n; i++)
	{
		ShardPart  *part = wave->now[row_int4(i, WAVE_PART) - 1];

		part->answered = true;
		work->answer(part, i, state);
	}
}

/*
 * wave_run does the work on the parts of a wave: together, and then those of which
 * there is no row of the account by which Citus finds the shard.
 */
void
wave_run(Wave *wave, WaveWork *work, void *state)
{
	if (wave->n > 1)
		wave_send(wave, &work->together, work, state);
	for (int i = 0; i < wave->n; i++)
	{
		Wave		alone = {.accounts = wave->accounts, .places = wave->places, .now = &wave->now[i], .n = 1};

		if (wave->now[i]->answered)
			continue;
		wave_send(&alone, &work->alone, work, state);
		if (!wave->now[i]->answered)
			elog(ERROR, "no answer to: %s", work->alone.sql);
	}
}

/*
 * wave_all does the work on accounts where they are, on all nodes at once.
 */
void
wave_all(const pg_uuid_t *accounts, int64 n, WaveWork *work, void *state)
{
	Wave		wave;

	wave_begin(&wave, accounts, n);
	while (wave_next(&wave, true))
		wave_run(&wave, work, state);
}

/*
 * wave_args_accounts appends the accounts of a wave, and which of them are
 * each part's.
 */
void
wave_args_accounts(const Wave *wave, QueryArgs *args)
{
	int32	   *first = palloc(sizeof(int32) * wave->n);
	int32	   *last = palloc(sizeof(int32) * wave->n);
	pg_uuid_t  *accounts;
	int			n = 0;

	for (int i = 0; i < wave->n; i++)
	{
		first[i] = n + 1;
		last[i] = n += (int) (wave->now[i]->end - wave->now[i]->next);
	}
	accounts = palloc(sizeof(pg_uuid_t) * n);
	for (int i = 0; i < wave->n; i++)
		memcpy(accounts + first[i] - 1, wave->accounts + wave->now[i]->next, sizeof(pg_uuid_t) * (last[i] - first[i] + 1));
	args_uuid_array(args, accounts, n);
	args_int4_array(args, first, wave->n);
	args_int4_array(args, last, wave->n);
}

/*
 * wave_places returns the places that the accounts of a wave were given at, in
 * the order of wave_args_accounts.
 */
int64 *
wave_places(const Wave *wave, int *n)
{
	int64	   *places;

	*n = 0;
	for (int i = 0; i < wave->n; i++)
		*n += (int) (wave->now[i]->end - wave->now[i]->next);
	places = palloc(sizeof(int64) * *n);
	*n = 0;
	for (int i = 0; i < wave->n; i++)
		for (int64 next = wave->now[i]->next; next < wave->now[i]->end; next++)
			places[(*n)++] = wave->places[next];
	return places;
}
