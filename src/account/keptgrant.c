/*
 * keptgrant.c
 *		Grants that a batch keeps: what burns them or adds to them happens in
 *		memory, and what came of it is written for all accounts by one statement
 *		of each kind. Of an account the first grants in burn order are read; where
 *		these do not suffice, what changed is written and more are read.
 */
#include "postgres.h"

#include "account/keptgrant.h"
#include "base/query.h"

/* Grants of an account that are read at first, and how many times more are when these did not suffice. */
#define FIRST_KEPT	4
#define KEPT_FACTOR	8

/* The first grants in burn order of accounts, whose locks the caller has: for each a range of the index. */
static KeptQuery grants_first_query = {
	.sql = "SELECT a.n, g.* FROM unnest($1) WITH ORDINALITY AS a(id, n), LATERAL"
	" (SELECT id, seq, remaining, priority, expires_at FROM ducto.grants WHERE account_id = a.id AND live"
	"  ORDER BY priority, expires_at, seq, id LIMIT $2) g",
	.types = {UUIDARRAYOID, INT8OID}
};

/* Those of one of them. */
static KeptQuery grants_first_of_query = {
	.sql = "SELECT id, seq, remaining, priority, expires_at FROM ducto.grants WHERE account_id = $1 AND live"
	" ORDER BY priority, expires_at, seq, id LIMIT " CppAsString2(FIRST_KEPT),
	.types = {UUIDOID}
};

/* Where a row has them; before them the former has which of the accounts it is of, from 1. */
enum
{
	FIRST_ID, FIRST_SEQ, FIRST_REMAINING, FIRST_PRIORITY, FIRST_EXPIRES_AT, FIRST_COLUMNS
};

/* The grants of an account that a batch keeps. */
typedef struct GrantList
{
	MemoryContext context;
	int			n;
	int			max;
	Grant	   *grants;
	int			first;			/* those before it are spent */
	int			ordered;		/* those before it are the account's first in burn order, */
	bool		all;			/* and all that it has; n is ordered then */
	int			limit;			/* so many were read */
} GrantList;

/* Lists that are being read. */
typedef struct ListsReader
{
	const pg_uuid_t *ids;
	GrantList **lists;
} ListsReader;

/*
 * Make a list of grants that are not read.
 */
static GrantList *
list_make(bool all)
{
	GrantList  *list = palloc0(sizeof(GrantList));

	list->context = CurrentMemoryContext;
	list->all = all;
	return list;
}

/*
 * Make room for a grant at a place of a list.
 */
static Grant *
list_open(GrantList *list, int place)
{
	if (list->n == list->max)
	{
		int			max = Max(list->max * 2, FIRST_KEPT);

		if (list->grants == NULL)
			list->grants = MemoryContextAlloc(list->context, sizeof(Grant) * max);
		else
			list->grants = repalloc_huge(list->grants, sizeof(Grant) * max);
		list->max = max;
	}
	memmove(&list->grants[place + 1], &list->grants[place], sizeof(Grant) * (list->n - place));
	list->n++;
	return &list->grants[place];
}

/*
 * Put a grant that was read at the end of its list.
 */
static void
list_take(GrantList *list, const Datum *columns)
{
	Grant	   *grant = list_open(list, list->n);

	memset(grant, 0, sizeof(Grant));
	grant->id = *DatumGetUUIDP(columns[FIRST_ID]);
	grant->seq = DatumGetInt64(columns[FIRST_SEQ]);
	grant->remaining = grant->before = money_from_datum(columns[FIRST_REMAINING]);
	grant->priority = DatumGetInt32(columns[FIRST_PRIORITY]);
	grant->expires_at = DatumGetTimestampTz(columns[FIRST_EXPIRES_AT]);
	list->ordered = list->n;
}

/*
 * Take a row of grants_first_query.
 */
static bool
read_grant(TupleTableSlot *slot, void *state)
{
	const ListsReader *reader = state;

	slot_getallattrs(slot);
	list_take(reader->lists[DatumGetInt64(slot->tts_values[0]) - 1], slot->tts_values + 1);
	return true;
}

/*
 * Take a row of grants_first_of_query.
 */
static void
grant_found(int i, ItemPointer place, void *state)
{
	const ListsReader *reader = state;
	Datum		columns[FIRST_COLUMNS];

	for (int column = 0; column < FIRST_COLUMNS; column++)
		columns[column] = row_datum(0, column + 1);
	list_take(reader->lists[i], columns);
}

/*
 * Have the id of an account whose grants are read.
 */
static void
args_id_of(QueryArgs *args, int i, const void *state)
{
	args_uuid(args, &((const ListsReader *) state)->ids[i]);
}

/*
 * Read the first grants of accounts into their lists by one statement.
 */
static void
lists_read_together(ListsReader *reader, int n, int limit)
{
	QueryArgs	args = {0};

	args_uuid_array(&args, reader->ids, n);
	args_int8(&args, limit);
	query_each(&grants_first_query, &args, false, read_grant, reader);
}

/*
 * Read the first grants of accounts into their lists, which are empty.
 */
static void
lists_read(const pg_uuid_t *ids, GrantList **lists, int n, int limit)
{
	ListsReader reader = {ids, lists};
	QueryEach	each = {.n = n, .args = args_id_of, .found = grant_found, .state = &reader};

	if (limit != FIRST_KEPT || !query_run_each(&grants_first_of_query, &each))
		lists_read_together(&reader, n, limit);
	for (int i = 0; i < n; i++)
	{
		lists[i]->limit = limit;
		lists[i]->all = lists[i]->n < limit;
	}
}

/*
 * Queue what is new or has changed in a list.
 */
static void
list_queue(const Account *acc, const GrantList *list, GrantQueue *queue)
{
	for (int i = 0; i < list->n; i++)
	{
		const Grant *grant = &list->grants[i];

		if (grant->gift != NULL)
		{
			grant->gift->remaining = grant->remaining;
			grants_queue_gift(queue, &acc->id, grant->gift);
		}
		else if (grant->remaining < grant->before)
			grants_queue_kept(queue, &acc->id, grant);
	}
}

/*
 * Write what an account's list has, and read more grants than it had.
 */
static void
list_read_more(Account *acc)
{
	GrantList  *list = acc->kept_grants;
	GrantQueue	queue;

	grants_queue_begin(&queue);
	list_queue(acc, list, &queue);
	grants_queue_write(&queue);
	list->n = list->first = list->ordered = 0;
	lists_read(&acc->id, &list, 1, list->limit == 0 ? FIRST_KEPT : list->limit * KEPT_FACTOR);
}

/*
 * Tell whether the grants of a list that are in order have an amount.
 */
static bool
list_has(const GrantList *list, Money amount)
{
	for (int i = list->first; i < list->ordered && amount > 0; i++)
		amount -= Min(amount, list->grants[i].remaining);
	return amount == 0;
}

/*
 * Take an amount, which a list has, from its grants.
 */
static void
list_burn(GrantList *list, Money amount, BurnList *burned)
{
	int			end = list->first;
	Money		left = amount;

	for (; left > 0; end++)
		left -= Min(left, list->grants[end].remaining);
	burned->burns = palloc(sizeof(Burn) * (end - list->first));
	burned->n = 0;
	while (amount > 0)
	{
		Grant	   *grant = &list->grants[list->first];
		Money		part = Min(amount, grant->remaining);

		if (part > 0)
			burned->burns[burned->n++] = (Burn) {.grant = grant->id, .amount = part};
		grant->remaining -= part;
		amount -= part;
		if (grant->remaining == 0)
			list->first++;
	}
}

/*
 * account_burn takes an amount from the grants of a locked account in burn order,
 * as grants_burn does.
 */
void
account_burn(Account *acc, Money amount, BurnList *burned)
{
	GrantList  *list = acc->kept_grants;

	if (list == NULL)
	{
		grants_burn(&acc->id, amount, acc->now, acc->late, burned);
		return;
	}
	Assert(!acc->late);
	burned->n = 0;
	if (amount == 0)
		return;
	while (!list_has(list, amount))
	{
		if (list->all)
			grants_do_not_sum();
		list_read_more(acc);
	}
	list_burn(list, amount, burned);
}

/*
 * Tell whether a grant is burned before another.
 */
static bool
grant_is_before(const Grant *a, const Grant *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->expires_at != b->expires_at)
		return a->expires_at < b->expires_at;
	if (a->seq != b->seq)
		return a->seq < b->seq;
	return memcmp(&a->id, &b->id, UUID_LEN) < 0;
}

/*
 * Put a grant into a list: where it belongs, or behind those in order where
 * there may be others before it that were not read.
 */
static void
list_add(GrantList *list, const Grant *grant)
{
	int			low = list->first;
	int			high = list->ordered;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (grant_is_before(grant, &list->grants[middle]))
			high = middle;
		else
			low = middle + 1;
	}
	if (low < list->ordered || list->all)
		list->ordered++;
	else
		low = list->n;
	*list_open(list, low) = *grant;
}

/*
 * account_add_grant adds a grant to a locked account.
 */
void
account_add_grant(Account *acc, const Gift *gift)
{
	GrantList  *list = acc->kept_grants;
	Grant		grant = {.id = gift->id, .seq = gift->seq, .priority = gift->priority, .expires_at = gift->expires_at};

	if (list == NULL)
	{
		grant_insert(&acc->id, gift);
		return;
	}
	grant.remaining = grant.before = gift->remaining;
	grant.gift = MemoryContextAlloc(list->context, sizeof(Gift));
	*grant.gift = *gift;
	list_add(list, &grant);
}

/*
 * grants_can_be_kept tells whether a batch can keep grants: on a cluster they
 * are written one by one.
 */
bool
grants_can_be_kept(void)
{
	return !query_distributed(&grants_first_query);
}

/*
 * grants_keep lets accounts of a batch, locked and rolled forward, keep their
 * grants until grants_write_kept: for those that burn some the first ones are
 * read by one statement.
 */
void
grants_keep(Account *accs, const bool *burns, int n)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * Max(n, 1));
	GrantList **lists = palloc(sizeof(GrantList *) * Max(n, 1));
	int			nlists = 0;

	for (int i = 0; i < n; i++)
	{
		if (!accs[i].exists || accs[i].late)
			continue;
		accs[i].kept_grants = list_make(accs[i].expiring == 0);
		if (!burns[i] || accs[i].expiring == 0)
			continue;
		ids[nlists] = accs[i].id;
		lists[nlists++] = accs[i].kept_grants;
	}
	if (nlists > 0)
		lists_read(ids, lists, nlists, FIRST_KEPT);
}

/*
 * grants_write_kept writes what became of the grants of a batch's accounts, and
 * keeps them no longer.
 */
void
grants_write_kept(Account *accs, int n)
{
	GrantQueue	queue;

	grants_queue_begin(&queue);
	for (int i = 0; i < n; i++)
	{
		if (accs[i].kept_grants != NULL)
			list_queue(&accs[i], accs[i].kept_grants, &queue);
		accs[i].kept_grants = NULL;
	}
	grants_queue_write(&queue);
}
