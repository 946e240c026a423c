/*
 * directfind.c
 *		Finds the rows of a statement without the executor: at a place, where it
 *		found them before, or by an index.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/smgr.h"
#include "utils/rel.h"

#include "base/directfind.h"

#if PG_VERSION_NUM >= 190000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0, 0)
#elif PG_VERSION_NUM >= 180000
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, NULL, nkeys, 0)
#else
#define begin_scan(table, index, snapshot, nkeys)	index_beginscan(table, index, snapshot, nkeys, 0)
#endif

/*
 * Where this session has found rows by a unique index: the root of each row's
 * chain of versions, which stays where it is as long as its updates stay in the
 * page. Rows that share an entry take it from each other. An entry may be wrong,
 * as nobody tells when a row has gone: what is there has to be seen, and to have
 * the key.
 */
typedef struct Root
{
	uint32		hash;			/* of the index and the key */
	ItemPointerData place;
} Root;

#define ROOTS	4096

static Root roots[ROOTS];

/*
 * Tell whether a table has the page of a place. What this session has seen of its
 * length holds: to make it shorter takes a lock that excludes the one held here,
 * and tells.
 */
static bool
page_is_there(Relation table, const ItemPointerData *place)
{
	BlockNumber seen = RelationGetSmgr(table)->smgr_cached_nblocks[MAIN_FORKNUM];
	BlockNumber block = ItemPointerGetBlockNumberNoCheck(place);

	return ItemPointerIsValid(place) &&
		((seen != InvalidBlockNumber && block < seen) || block < RelationGetNumberOfBlocks(table));
}

/*
 * Let the slot have the row that is at a place. False: none that can be seen.
 */
static bool
place_read(const Run *run, ItemPointer place)
{
	return page_is_there(run->table, place) &&
		table_tuple_fetch_row_version(run->table, place, run->snapshot, run->found);
}

/*
 * Do a statement with the row that is at a place, when it sees one there.
 */
static void
run_place(Run *run)
{
	bool		isnull;
	Datum		place = run_value(run, &run->direct->scan.place, NULL, &isnull);
	ItemPointerData tid;

	if (isnull)
		return;
	tid = *(ItemPointer) DatumGetPointer(place);
	if (place_read(run, &tid))
		run_found(run);
}

/*
 * Do a statement with the row at a place, when it is the one that is found by the
 * index. False: it is not.
 */
static bool
run_likely(Run *run, ItemPointerData place)
{
	if (!place_read(run, &place) || !run_has_keys(run, run->found))
		return false;
	run_found(run);
	return true;
}

/*
 * Let the slot have the version that is seen of the row whose chain begins at a
 * place, and tell whether none can be seen by anybody. False: there is none, or the
 * page is so short of room that the server is to read it.
 *
 * The server's own reading prunes a page as soon as what fillfactor keeps free is
 * touched: after each update, where pages are full otherwise. Here that waits
 * until half of it is used, or the rest may not do for the next versions, so that
 * it is done once for many.
 */
static bool
chain_read(Run *run, ItemPointerData root, bool *dead, bool *is_short)
{
	BufferHeapTupleTableSlot *slot = (BufferHeapTupleTableSlot *) run->found;
	HeapTuple	row = &slot->base.tupdata;
	Size		room = RelationGetTargetPageFreeSpace(run->table, HEAP_DEFAULT_FILLFACTOR) / 2;
	Page		page;
	bool		found;

	run->buffer = ReleaseAndReadBuffer(run->buffer, run->table, ItemPointerGetBlockNumber(&root));
	page = BufferGetPage(run->buffer);
	LockBuffer(run->buffer, BUFFER_LOCK_SHARE);
	found = heap_hot_search_buffer(&root, run->table, run->buffer, run->snapshot, row, dead, true);
	*is_short = PageIsFull(page) || PageGetHeapFreeSpace(page) < Max(room, found ? 2 * row->t_len : 0);
	LockBuffer(run->buffer, BUFFER_LOCK_UNLOCK);
	if (*is_short)
	{
		/* a page that is pinned twice is not pruned */
		ExecClearTuple(run->found);
		ReleaseBuffer(run->buffer);
		run->buffer = InvalidBuffer;
		return false;
	}
	if (!found)
		return false;
	run->found->tts_tableOid = RelationGetRelid(run->table);
	ExecStoreBufferHeapTuple(row, run->found, run->buffer);
	return true;
}

/*
 * Return the hash of what a statement looks for, by which is remembered where it
 * finds it.
 */
static uint32
keys_hash(const Run *run)
{
	const DirectScan *scan = &run->direct->scan;
	uint32		hash = scan->index;

	for (int i = 0; i < scan->nkeys; i++)
	{
		const DirectValue *value = &scan->keys[i].value;
		bool		isnull;
		Datum		key = run_value(run, value, NULL, &isnull);

		if (!isnull)
			hash = hash_combine(hash, value->byval ? hash_bytes((unsigned char *) &key, sizeof(Datum)) :
								hash_bytes((unsigned char *) DatumGetPointer(key), value->len));
	}
	return hash;
}

/*
 * Do a statement with the row that the session has found before. False: it is not
 * known where that is.
 */
static bool
run_root(Run *run)
{
	Root	   *root;
	bool		dead;
	bool		is_short;

	run->hash = keys_hash(run);
	root = &roots[run->hash % ROOTS];
	if (root->hash != run->hash || !page_is_there(run->table, &root->place) ||
		!chain_read(run, root->place, &dead, &is_short) || !run_has_keys(run, run->found))
		return false;
	pgstat_count_heap_fetch(run->table);
	run_found(run);
	return true;
}

/*
 * Remember where the index has found the row that a statement looks for.
 */
static void
root_remember(const Run *run)
{
	Root	   *root = &roots[run->hash % ROOTS];

	root->hash = run->hash;
	root->place = run->root;
}

/*
 * Start to look for the rows by the index.
 */
static void
scan_start(Run *run)
{
	const DirectScan *scan = &run->direct->scan;

	if (run->scan == NULL)
	{
		run->index = index_open(scan->index, run->direct->lock);
		run->keys = MemoryContextAlloc(run->rows_context, sizeof(ScanKeyData) * Max(scan->nkeys, 1));
		run->scan = begin_scan(run->table, run->index, run->snapshot, scan->nkeys);
	}
	for (int i = 0; i < scan->nkeys; i++)
	{
		const DirectKey *key = &scan->keys[i];
		bool		isnull;

		run->keys[i] = key->key;
		if (!key->has_value)
			continue;
		run->keys[i].sk_argument = run_value(run, &key->value, NULL, &isnull);
		if (isnull)
			run->keys[i].sk_flags |= SK_ISNULL;
	}
	index_rescan(run->scan, run->keys, scan->nkeys, NULL, 0);
}

/*
 * Let the slot have the version that is seen of the row that the index has found.
 * False: there is none.
 */
static bool
entry_read(Run *run)
{
	IndexScanDesc scan = run->scan;
	bool		dead;
	bool		is_short;
	bool		found;

	run->root = scan->xs_heaptid;
	found = chain_read(run, run->root, &dead, &is_short);
	if (is_short)
		return index_fetch_heap(scan, run->found);
	if (!scan->xactStartedInRecovery)
		scan->kill_prior_tuple = dead;
	if (found)
		pgstat_count_heap_fetch(run->index);
	return found;
}

/*
 * Let the slot have the next row that the index finds. False: there is none.
 */
static bool
scan_next(Run *run)
{
	while (index_getnext_tid(run->scan, run->direct->scan.direction) != NULL)
		if (entry_read(run))
			return true;
	return false;
}

/*
 * Do a statement with the rows that it finds by the index.
 */
static void
run_scan(Run *run)
{
	const Direct *direct = run->direct;
	uint64		before = run->rows.n;

	scan_start(run);
	while (scan_next(run))
	{
		CHECK_FOR_INTERRUPTS();
		if (direct->scan.is_remembered)
			root_remember(run);
		run_found(run);
		if (direct->scan.unique || (direct->limit > 0 && run->rows.n - before >= direct->limit))
			break;
	}
}

/*
 * run_find does a statement with the rows that it is about, of which one may be
 * known to be at a place.
 */
void
run_find(Run *run, const ItemPointerData *likely)
{
	const DirectScan *scan = &run->direct->scan;

	if (scan->by_place)
		run_place(run);
	else if ((likely == NULL || !run_likely(run, *likely)) && (!scan->is_remembered || !run_root(run)))
		run_scan(run);
}
