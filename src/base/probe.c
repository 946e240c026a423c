/*
 * probe.c
 *		Which of many keys, a uuid and a text, an index may have. A statement
 *		descends from the root for each of them, and compares them with those on
 *		its way by calls of functions. Here the pages are read in the order of the
 *		keys, a page once for all that belong to it.
 *
 *		An index has more than a statement sees: rows that are dead, or not there
 *		for a snapshot. So what it has is only said to be possible. But what it
 *		has not, no row has.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/varlena.h"
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

#include "base/cluster.h"
#include "base/listen.h"
#include "base/probe.h"
#include "base/shard.h"

#if PG_VERSION_NUM >= 160000
#define get_root(table, index)	_bt_getroot(index, table, BT_READ)
#else
#define get_root(table, index)	_bt_getroot(index, BT_READ)
#endif

/* Keys that are looked for, in the order of the index. */
typedef struct Probe
{
	Relation	table;
	Relation	index;
	Oid			collation;		/* of its texts */
	ProbeKey   *keys;
} Probe;

/*
 * Tell whether an index has all rows of its table whose text, its second column,
 * is not NULL.
 */
static bool
index_has_all(Relation table, Relation index)
{
	List	   *predicate = RelationGetIndexPredicate(index);
	int			number = index->rd_index->indkey.values[1];
	NullTest   *test;

	if (predicate == NIL)
		return TupleDescAttr(RelationGetDescr(table), number - 1)->attnotnull;
	test = linitial(predicate);
	return list_length(predicate) == 1 && IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL &&
		IsA(test->arg, Var) && castNode(Var, test->arg)->varattno == number;
}

/*
 * Tell whether an index has all rows of its table by two columns, a uuid that is
 * never NULL and a text, in their order.
 */
static bool
index_is_of(Relation table, Relation index, const char *const *columns)
{
	if (index->rd_rel->relam != BTREE_AM_OID || !index->rd_index->indisvalid || index->rd_index->indnatts != 2 ||
		index->rd_index->indnkeyatts != 2)
		return false;
	for (int i = 0; i < 2; i++)
	{
		int			number = index->rd_index->indkey.values[i];

		if (number <= 0 || index->rd_indoption[i] != 0 ||
			strcmp(NameStr(TupleDescAttr(RelationGetDescr(table), number - 1)->attname), columns[i]) != 0)
			return false;
	}
	return TupleDescAttr(RelationGetDescr(table), index->rd_index->indkey.values[0] - 1)->attnotnull &&
		index_has_all(table, index) && index_getprocid(index, 1, BTORDER_PROC) == F_UUID_CMP &&
		index_getprocid(index, 2, BTORDER_PROC) == F_BTTEXTCMP && get_collation_isdeterministic(index->rd_indcollation[1]);
}

/*
 * Open such an index of a table. False: there is none.
 */
static bool
index_find(Probe *probe, const char *const *columns)
{
	List	   *ids = RelationGetIndexList(probe->table);
	ListCell   *id;

	foreach(id, ids)
	{
		probe->index = index_open(lfirst_oid(id), AccessShareLock);
		if (index_is_of(probe->table, probe->index, columns))
			return true;
		index_close(probe->index, AccessShareLock);
	}
	return false;
}

/*
 * Compare texts.
 */
static inline int
texts_order(Oid collation, const char *a, int a_len, const char *b, int b_len)
{
	int			order;

	if (collation != C_COLLATION_OID)
		return varstr_cmp(a, a_len, b, b_len, collation);
	order = memcmp(a, b, Min(a_len, b_len));
	return order != 0 ? order : a_len - b_len;
}

/*
 * Compare keys, by the collation of their texts.
 */
static int
keys_order(const void *a, const void *b, void *collation)
{
	const ProbeKey *x = a;
	const ProbeKey *y = b;
	int			order = memcmp(x->first, y->first, UUID_LEN);

	return order != 0 ? order : texts_order(*(Oid *) collation, x->text, x->len, y->text, y->len);
}

/*
 * Compare a key, by its number, with an item of a page. An item of an inner
 * page has no more than its order needs, and what it has not is less than
 * anything.
 */
static inline int
key_order(const Probe *probe, int i, IndexTuple item)
{
	const ProbeKey *key = &probe->keys[i];
	int			natts = BTreeTupleGetNAtts(item, probe->index);
	char	   *data = (char *) item + IndexInfoFindDataOffset(item->t_info);
	struct varlena *other;
	int			order;

	if (natts == 0)
		return 1;
	order = memcmp(key->first, data, UUID_LEN);
	if (order != 0 || natts == 1)
		return order != 0 ? order : 1;
	other = (struct varlena *) (data + UUID_LEN);
	if (!VARATT_IS_SHORT(other))
		other = PG_DETOAST_DATUM_PACKED(PointerGetDatum(other));
	return texts_order(probe->collation, key->text, key->len, VARDATA_ANY(other), (int) VARSIZE_ANY_EXHDR(other));
}

/*
 * Return an item of a page.
 */
static inline IndexTuple
page_item(Page page, OffsetNumber number)
{
	return (IndexTuple) PageGetItem(page, PageGetItemId(page, number));
}

/*
 * Return the first item of a page, from one on, that is not less than a key,
 * and tell whether one is the key; the number after the last, where all are
 * less.
 */
static OffsetNumber
item_from(const Probe *probe, Page page, OffsetNumber from, int i, bool *found)
{
	OffsetNumber to = PageGetMaxOffsetNumber(page) + 1;

	*found = false;
	while (from < to)
	{
		OffsetNumber middle = from + (to - from) / 2;
		int			order = key_order(probe, i, page_item(page, middle));

		*found |= order == 0;
		if (order > 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/*
 * Return the end of those keys, from one on, that are not greater than an item.
 */
static int
keys_end(const Probe *probe, int from, int to, IndexTuple item)
{
	while (from < to && key_order(probe, from, item) <= 0)
		from++;
	return from;
}

/*
 * Return the end of those keys that belong to a page: none to one that has been
 * deleted, those up to its high key to others, all of them to the last one.
 */
static int
page_end(const Probe *probe, Page page, int from, int to)
{
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);

	if (P_IGNORE(opaque))
		return from;
	return P_RIGHTMOST(opaque) ? to : keys_end(probe, from, to, page_item(page, P_HIKEY));
}

/*
 * Find keys in a leaf. The last of them is possible where it is the high key, as
 * the next leaf may begin with it.
 */
static void
leaf_read(Probe *probe, Page page, int from, int to)
{
	BTPageOpaque opaque = (BTPageOpaque) PageGetSpecialPointer(page);
	OffsetNumber number = P_FIRSTDATAKEY(opaque);

	for (int i = from; i < to; i++)
	{
		bool		found;

		number = item_from(probe, page, number, i, &found);
		if (!found && i == to - 1 && !P_RIGHTMOST(opaque))
			found = key_order(probe, i, page_item(page, P_HIKEY)) == 0;
		if (found)
			probe->keys[i].possible = true;
	}
}

static void pages_read(Probe *probe, BlockNumber block, int from, int to);

/*
 * Find keys in the pages below one, of which this is a copy: nobody has to wait
 * for it meanwhile. Its first item is less than any.
 */
static void
inner_read(Probe *probe, Page page, int from, int to)
{
	OffsetNumber number = P_FIRSTDATAKEY((BTPageOpaque) PageGetSpecialPointer(page));
	OffsetNumber last = PageGetMaxOffsetNumber(page);

	while (from < to)
	{
		bool		found;
		int			end;

		number = item_from(probe, page, number + 1, from, &found);
		end = number <= last ? keys_end(probe, from, to, page_item(page, number)) : to;
		number--;
		pages_read(probe, BTreeTupleGetDownLink(page_item(page, number)), from, end);
		from = end;
	}
}

/*
 * Find keys in a page, those below it, and those on its right that it has been
 * split into since its number was read.
 */
static void
pages_read(Probe *probe, BlockNumber block, int from, int to)
{
	while (from < to)
	{
		Buffer		buffer;
		Page		page;
		int			end;

		CHECK_FOR_INTERRUPTS();
		if (block == P_NONE)
			elog(ERROR, "index \"%s\" ends before its last page", RelationGetRelationName(probe->index));
		buffer = ReadBuffer(probe->index, block);
		LockBuffer(buffer, BT_READ);
		_bt_checkpage(probe->index, buffer);
		page = BufferGetPage(buffer);
		end = page_end(probe, page, from, to);
		block = ((BTPageOpaque) PageGetSpecialPointer(page))->btpo_next;
		if (P_ISLEAF((BTPageOpaque) PageGetSpecialPointer(page)))
		{
			leaf_read(probe, page, from, end);
			UnlockReleaseBuffer(buffer);
		}
		else
		{
			Page		copy = memcpy(palloc(BLCKSZ), page, BLCKSZ);

			UnlockReleaseBuffer(buffer);
			inner_read(probe, copy, from, end);
			pfree(copy);
		}
		from = end;
	}
}

/*
 * Find keys in the index.
 */
static void
index_read(Probe *probe, int n)
{
	Buffer		root = get_root(probe->table, probe->index);
	BlockNumber block;

	if (!BufferIsValid(root))
		return;
	block = BufferGetBlockNumber(root);
	UnlockReleaseBuffer(root);
	pages_read(probe, block, 0, n);
}

/*
 * Tell whether what an index has is all that a statement would find: a cluster's
 * rows are elsewhere, and those of heirs in other indexes. A serializable
 * transaction has to leave notes of what it looked at.
 */
static bool
probe_may_read(Relation table)
{
	return shard_entered() == 0 && !cluster_is_used() && !IsolationIsSerializable() &&
		table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relhassubclass;
}

/*
 * probe_keys finds those of some keys, each of them once, that an index of two
 * columns of a table of ducto may have, and brings them into its order. False:
 * statements have to ask for all.
 */
bool
probe_keys(const char *table, const char *const *columns, ProbeKey *keys, int n)
{
	Probe		probe = {.keys = keys};
	bool		found;

	probe.table = table_open(table_named(table), AccessShareLock);
	found = probe_may_read(probe.table) && index_find(&probe, columns);
	if (found)
	{
		probe.collation = probe.index->rd_indcollation[1];
		qsort_arg(keys, n, sizeof(ProbeKey), keys_order, &probe.collation);
		index_read(&probe, n);
		index_close(probe.index, NoLock);
	}
	table_close(probe.table, NoLock);
	return found;
}
