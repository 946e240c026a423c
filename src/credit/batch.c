/*
 * batch.c
 *		Many operations in one call, as if each were called in turn: accounts in
 *		the order of their ids, those of an account in the order of the array.
 *
 *		Each account is locked once. The operations then decide one after the
 *		other by the functions of the single calls, which leave entries and the
 *		accounts' rows to the batch, and caps, grants and members, which it keeps:
 *		it reads and writes all of each by one statement. What a decision finds in
 *		other tables it reads and writes there as ever.
 */
#include "postgres.h"

#include "account/event.h"
#include "account/keptcap.h"
#include "account/keptgrant.h"
#include "account/key.h"
#include "account/ledger.h"
#include "account/member.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/query.h"
#include "credit/batch.h"

/* Rows whose values are freed together. */
#define ROWS_AT_ONCE	1000

/* Caps that are kept at once, a kilobyte each where their windows slide. */
#define KEPT_CAPS		4000

/* Operations from which on what they need is kept: fewer do better by themselves. */
#define KEEP_TOGETHER	8

/* A batch that is under way. */
typedef struct Batch
{
	const BatchKind *kind;
	void	   *items;
	int			n;
	BatchElement *elements;		/* in the order of their accounts */
	int			naccounts;
	Account    *accounts;
	MemoryContext kept;			/* of what is kept now */
	int		   *firsts;			/* where the elements of each begin, and where the last end */
	LedgerQueue queue;
	EventQueue	events;
} Batch;

/*
 * Order elements by account, then by place.
 */
static int
element_compare(const void *a, const void *b)
{
	const BatchElement *x = a;
	const BatchElement *y = b;
	int			order = memcmp(x->account, y->account, UUID_LEN);

	return order != 0 ? order : x->place - y->place;
}

/*
 * Order elements by account, then by key, then by place.
 */
static int
key_compare(const void *a, const void *b)
{
	const BatchElement *x = *(BatchElement *const *) a;
	const BatchElement *y = *(BatchElement *const *) b;
	int			order = memcmp(x->account, y->account, UUID_LEN);

	if (order == 0)
		order = strcmp(x->key, y->key);
	return order != 0 ? order : x->place - y->place;
}

/*
 * Bring the elements into their order, and find whose they are.
 */
static void
batch_group(Batch *batch)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(batch->n, 1));

	qsort(batch->elements, batch->n, sizeof(BatchElement), element_compare);
	batch->firsts = palloc(sizeof(int) * (batch->n + 1));
	for (int i = 0; i < batch->n; i++)
	{
		if (batch->naccounts > 0 && memcmp(&ids[batch->naccounts - 1], batch->elements[i].account, UUID_LEN) == 0)
			continue;
		batch->firsts[batch->naccounts] = i;
		ids[batch->naccounts++] = *batch->elements[i].account;
	}
	batch->firsts[batch->naccounts] = batch->n;
	batch->accounts = palloc(sizeof(Account) * Max(batch->naccounts, 1));
	accounts_begin(batch->accounts, ids, batch->naccounts, &batch->queue);
}

/*
 * Tell whether any element may make an account.
 */
static bool
batch_may_make(const Batch *batch)
{
	for (int i = 0; i < batch->n; i++)
		if (batch->kind->may_make(batch->items, batch->elements[i].place))
			return true;
	return false;
}

/*
 * Tell whether an element makes the account that there is none of.
 */
static bool
batch_makes(Batch *batch, int account)
{
	bool		makes = false;

	for (int i = batch->firsts[account]; i < batch->firsts[account + 1] && !makes; i++)
	{
		int			place = batch->elements[i].place;
		ElementScope scope;

		if (!batch->kind->may_make(batch->items, place))
			continue;
		query_begin();
		element_enter(&scope, batch->kind->argument, place);
		makes = batch->kind->makes(batch->items, place, &batch->accounts[account]);
		element_leave(&scope);
		query_end();
	}
	return makes;
}

/*
 * Lock the accounts, and make those that are to be made. What comes before one
 * in the order of the ids is locked before it is made.
 */
static void
batch_lock(Batch *batch)
{
	Account    *accounts = batch->accounts;
	int			locked = 0;

	if (batch_may_make(batch))
	{
		accounts_find(accounts, batch->naccounts);
		for (int i = 0; i < batch->naccounts; i++)
		{
			int			end = i;

			while (end < batch->naccounts && !accounts[end].exists && batch_makes(batch, end))
				end++;
			if (end == i)
				continue;
			if (locked < i)
				accounts_lock(accounts + locked, i - locked);
			accounts_create(accounts + i, end - i);
			locked = i;
			i = end - 1;
		}
	}
	accounts_lock(accounts + locked, batch->naccounts - locked);
}

/*
 * Find which keys are new. Of those that come again in an account the first may
 * be.
 */
static void
batch_find_keys(Batch *batch)
{
	BatchElement **keyed = palloc(sizeof(BatchElement *) * Max(batch->n, 1));
	AccountKey *keys = palloc(sizeof(AccountKey) * Max(batch->n, 1));
	int			nkeyed = 0;
	int			n = 0;

	for (int i = 0; i < batch->n; i++)
		if (batch->elements[i].key != NULL)
			keyed[nkeyed++] = &batch->elements[i];
	qsort(keyed, nkeyed, sizeof(BatchElement *), key_compare);
	for (int i = 0; i < nkeyed; i++)
	{
		BatchElement *element = keyed[i];

		if (n > 0 && memcmp(keys[n - 1].account, element->account, UUID_LEN) == 0 && strcmp(keys[n - 1].key, element->key) == 0)
			continue;
		keys[n] = (AccountKey) {.account = element->account, .key = element->key};
		keyed[n++] = element;
	}
	keys_find(keys, n);
	for (int i = 0; i < n; i++)
		keyed[i]->key_is_new = !keys[i].known;
}

/*
 * Let the elements of an account decide. What each needs is freed after it.
 */
static void
batch_decide(Batch *batch, int account)
{
	Account    *acc = &batch->accounts[account];
	UserPlan	plan = acc->plan;

	for (int i = batch->firsts[account]; i < batch->firsts[account + 1]; i++)
	{
		int			place = batch->elements[i].place;
		ElementScope scope;

		batch->queue.key_is_new = batch->elements[i].key_is_new;
		query_begin();
		element_enter(&scope, batch->kind->argument, place);
		batch->kind->decide(batch->items, place, acc);
		element_leave(&scope);
		query_end();
		acc->plan = plan;		/* a price may have read it anew */
	}
}

/*
 * Return where the accounts from one on end whose caps may be kept at once, and
 * how many operations are on accounts with caps.
 */
static int
batch_part(const Batch *batch, int from, int *capped)
{
	int			end = from;
	int			caps = 0;

	*capped = 0;
	while (end < batch->naccounts && caps + batch->accounts[end].caps <= KEPT_CAPS)
	{
		caps += batch->accounts[end].caps;
		if (batch->accounts[end].caps > 0)
			*capped += batch->firsts[end + 1] - batch->firsts[end];
		end++;
	}
	return Max(end, from + 1);
}

/*
 * Let accounts keep the grants that their operations may burn, and add.
 */
static void
batch_keep_grants(Batch *batch, int from, int end)
{
	bool	   *burns = palloc0(sizeof(bool) * (end - from));

	if (batch->firsts[end] - batch->firsts[from] < KEEP_TOGETHER || !grants_can_be_kept())
		return;
	for (int account = from; account < end; account++)
		for (int i = batch->firsts[account]; i < batch->firsts[account + 1]; i++)
			burns[account - from] |= batch->elements[i].burns;
	grants_keep(batch->accounts + from, burns, end - from);
}

/*
 * Order members of pools by these, then by their ids.
 */
static int
member_compare(const void *a, const void *b)
{
	const PoolMember *x = a;
	const PoolMember *y = b;

	return x->pool != y->pool ? (x->pool < y->pool ? -1 : 1) : memcmp(x->user, y->user, UUID_LEN);
}

/*
 * Let pools keep the members who spend from them.
 */
static void
batch_keep_members(Batch *batch, int from, int end)
{
	PoolMember *members = palloc(sizeof(PoolMember) * (batch->firsts[end] - batch->firsts[from]));
	int			n = 0;
	int			different = 0;

	for (int account = from; account < end; account++)
		for (int i = batch->firsts[account]; i < batch->firsts[account + 1] && batch->accounts[account].team; i++)
			if (batch->elements[i].member != NULL)
				members[n++] = (PoolMember) {.pool = &batch->accounts[account], .user = batch->elements[i].member};
	if (n < KEEP_TOGETHER || !members_can_be_kept())
		return;
	qsort(members, n, sizeof(PoolMember), member_compare);
	for (int i = 0; i < n; i++)
		if (different == 0 || member_compare(&members[different - 1], &members[i]) != 0)
			members[different++] = members[i];
	members_keep(members, different);
}

/*
 * Let a batch keep what operations on the accounts from one on need, as many as
 * there may be at once, and return where they end.
 */
static int
batch_keep(Batch *batch, int from)
{
	MemoryContext previous = MemoryContextSwitchTo(batch->kept);
	int			capped;
	int			end = batch_part(batch, from, &capped);

	if (capped >= KEEP_TOGETHER && caps_can_be_kept())
		caps_keep(batch->accounts + from, end - from);
	batch_keep_grants(batch, from, end);
	batch_keep_members(batch, from, end);
	MemoryContextSwitchTo(previous);
	return end;
}

/*
 * Write what a batch has kept of accounts.
 */
static void
batch_write_kept(Batch *batch, int from, int end)
{
	MemoryContext previous = MemoryContextSwitchTo(batch->kept);

	caps_write(batch->accounts + from, end - from);
	grants_write_kept(batch->accounts + from, end - from);
	members_write(batch->accounts + from, end - from);
	MemoryContextSwitchTo(previous);
	MemoryContextReset(batch->kept);
}

/*
 * Start the queues of a batch.
 */
static void
batch_queue(Batch *batch)
{
	ledger_queue_begin(&batch->queue);
	events_queue_begin(&batch->events);
	if (batch->n >= KEEP_TOGETHER && events_can_be_queued())
		batch->queue.events = &batch->events;
}

/*
 * batch_run does many operations. It locks their accounts in the order of their
 * ids. The caller has connected to SPI; what decides may use what was allocated
 * since, and what it allocates itself lives no longer than its element.
 */
void
batch_run(const BatchKind *kind, void *items, BatchElement *elements, int n)
{
	Batch		batch = {.kind = kind, .items = items, .elements = elements, .n = n};
	int			end;

	if (n == 0)
		return;
	batch_queue(&batch);
	batch_group(&batch);
	batch_lock(&batch);
	batch_find_keys(&batch);
	batch.kept = AllocSetContextCreate(CurrentMemoryContext, "ducto kept", ALLOCSET_DEFAULT_SIZES);
	for (int from = 0; from < batch.naccounts; from = end)
	{
		end = batch_keep(&batch, from);
		for (int i = from; i < end; i++)
			batch_decide(&batch, i);
		batch_write_kept(&batch, from, end);
	}
	ledger_queue_write(&batch.queue);
	events_queue_write(&batch.events);
	accounts_write(batch.accounts, batch.naccounts);
}

/*
 * batch_reject raises the rejection of an operation, where rejections are
 * raised.
 */
void
batch_reject(FunctionCallInfo fcinfo, const BatchKind *kind, const void *items, int place, Rejection rejection)
{
	ResultRow	row;

	if (rejection == ACCEPTED || !rejection_raises(fcinfo->flinfo->fn_oid))
		return;
	result_begin(&row, fcinfo);
	kind->row(items, place, &row);
	rejection_tell(rejection, row.function, result_end(&row));
}

/*
 * batch_answer answers with a row for each operation.
 */
void
batch_answer(FunctionCallInfo fcinfo, const BatchKind *kind, const void *items, int n)
{
	MemoryContext rows = AllocSetContextCreate(CurrentMemoryContext, "ducto rows", ALLOCSET_DEFAULT_SIZES);
	ResultRow	row;

	result_set_begin(&row, fcinfo);
	for (int i = 0; i < n; i++)
	{
		MemoryContext previous = MemoryContextSwitchTo(rows);

		kind->row(items, i, &row);
		result_put(&row);
		MemoryContextSwitchTo(previous);
		if (i % ROWS_AT_ONCE == 0)
			MemoryContextReset(rows);
	}
	rejection_over();
}
