/*
 * shardfit.c
 *		Statements that were written of tables become those of the parts that the
 *		tables are on a shard.
 *
 *		The columns of a part may be others: a node's table may lack one that
 *		somebody has added before the tables were distributed, or before the node
 *		joined, and one that was dropped leaves a gap in a table, but none in parts
 *		that are made later. So columns are found by their names, and where a row
 *		is written, those that the node's table lacks get their default.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/shardfit.h"

/* What has the rights that a query asks for to a table. */
#if PG_VERSION_NUM >= 160000
typedef RTEPermissionInfo Rights;
#else
typedef RangeTblEntry Rights;
#endif

/* A query, and the one that it is in. */
typedef struct Level
{
	const struct Level *outer;	/* the outermost has no tables */
	TablePart	part;
	const void *shard;
	int			n;				/* entries of its range table, and for each: */
	AttrMap   **maps;			/* where the columns are in the part; NULL: where they are in the table */
	Oid		   *parts;			/* the part, or InvalidOid */
} Level;

static Query *query_fit(Query *query, const Level *outer);

/*
 * Tell where the columns of a table are in its part, which is locked; NULL:
 * where they are in the table.
 */
static AttrMap *
columns_map(Oid table, Oid part)
{
	Relation	whole;
	Relation	partial;
	AttrMap    *map;

	if (part == table)
		return NULL;
	whole = table_open(table, AccessShareLock);
	partial = table_open(part, NoLock);
#if PG_VERSION_NUM >= 160000
	map = build_attrmap_by_name_if_req(RelationGetDescr(partial), RelationGetDescr(whole), false);
#else
	map = build_attrmap_by_name_if_req(RelationGetDescr(partial), RelationGetDescr(whole));
#endif
	table_close(partial, NoLock);
	table_close(whole, AccessShareLock);
	return map;
}

/*
 * Return where a column of a table is in its part.
 */
static AttrNumber
column_place(const AttrMap *map, AttrNumber column)
{
	if (column > 0)
		return map->attnums[column - 1];
	return column;
}

/*
 * Return the columns of a part that some of a table are.
 */
static Bitmapset *
columns_fit(Bitmapset *columns, const AttrMap *map)
{
	Bitmapset  *fitted = NULL;
	int			column = -1;

	while ((column = bms_next_member(columns, column)) >= 0)
	{
		AttrNumber	place = column_place(map, (AttrNumber) (column + FirstLowInvalidHeapAttributeNumber));

		fitted = bms_add_member(fitted, place - FirstLowInvalidHeapAttributeNumber);
	}
	return fitted;
}

/*
 * Return the row of a table that a row of its part is.
 */
static Node *
row_fit(Var *row, Oid part)
{
	ConvertRowtypeExpr *converted = makeNode(ConvertRowtypeExpr);

	converted->arg = (Expr *) row;
	converted->resulttype = row->vartype;
	converted->convertformat = COERCE_IMPLICIT_CAST;
	converted->location = -1;
	row->vartype = get_rel_type_id(part);
	return (Node *) converted;
}

/*
 * Return the column of a part that one of a table is.
 */
static Node *
column_fit(Var *var, const Level *level)
{
	Var		   *fitted = copyObject(var);
	const AttrMap *map;

	for (Index up = var->varlevelsup; up > 0 && level != NULL; up--)
		level = level->outer;
	if (level == NULL || (int) var->varno > level->n)
		return (Node *) fitted;
	map = level->maps[var->varno - 1];
	if (map == NULL)
		return (Node *) fitted;
	if (var->varattno == 0 && var->vartype != RECORDOID)
		return row_fit(fitted, level->parts[var->varno - 1]);
	fitted->varattno = column_place(map, var->varattno);
	fitted->varattnosyn = fitted->varattno;
	return (Node *) fitted;
}

/*
 * Let an expression be of the parts of tables.
 */
static Node *
expression_fit(Node *node, void *level)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
		return column_fit(castNode(Var, node), level);
	if (IsA(node, Query))
		return (Node *) query_fit(castNode(Query, node), level);
	return expression_tree_mutator(node, expression_fit, level);
}

/*
 * Let what is written to columns of a table be written to those of its part. A
 * column that the table does not have any more is left out.
 */
static List *
targets_fit(List *targets, const AttrMap *map)
{
	List	   *fitted = NIL;
	ListCell   *cell;

	foreach(cell, targets)
	{
		TargetEntry *target = lfirst_node(TargetEntry, cell);

		if (!target->resjunk)
			target->resno = column_place(map, target->resno);
		if (target->resno != 0 || target->resjunk)
			fitted = lappend(fitted, target);
	}
	return fitted;
}

/*
 * Tell whether a table has a column of its part.
 */
static bool
has_place(const AttrMap *map, AttrNumber place)
{
	for (int i = 0; i < map->maplen; i++)
		if (map->attnums[i] == place)
			return true;
	return false;
}

/*
 * Compare two columns that are written, by their places.
 */
static int
target_compare(const ListCell *a, const ListCell *b)
{
	return lfirst_node(TargetEntry, a)->resno - lfirst_node(TargetEntry, b)->resno;
}

/*
 * Add the defaults of the columns of a part that the table does not have.
 */
static List *
defaults_add(List *targets, const AttrMap *map, Oid part)
{
	Relation	relation = table_open(part, NoLock);
	TupleDesc	desc = RelationGetDescr(relation);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		AttrNumber	place = attribute->attnum;
		Expr	   *value;

		if (attribute->attisdropped || attribute->attgenerated != '\0' || has_place(map, place))
			continue;
		value = (Expr *) build_column_default(relation, place);
		if (value != NULL)
			targets = lappend(targets, makeTargetEntry(value, place, pstrdup(NameStr(attribute->attname)), false));
	}
	table_close(relation, NoLock);
	list_sort(targets, target_compare);
	return targets;
}

/*
 * Let a query write to the part of a table.
 */
static void
result_fit(Query *query, const AttrMap *map, Oid part)
{
	query->targetList = targets_fit(query->targetList, map);
	if (query->commandType == CMD_INSERT)
		query->targetList = defaults_add(query->targetList, map, part);
	if (query->onConflict != NULL)
	{
		query->onConflict->onConflictSet = targets_fit(query->onConflict->onConflictSet, map);
		query->onConflict->exclRelTlist = targets_fit(query->onConflict->exclRelTlist, map);
	}
}

/*
 * Find the parts of the tables of a query, and lock them.
 */
static void
parts_find(Level *level, const Query *query)
{
	ListCell   *cell;

	level->n = list_length(query->rtable);
	level->maps = palloc0(sizeof(AttrMap *) * Max(level->n, 1));
	level->parts = palloc0(sizeof(Oid) * Max(level->n, 1));
	foreach(cell, query->rtable)
	{
		const RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);
		int			i = foreach_current_index(cell);

		if (entry->rtekind != RTE_RELATION)
			continue;
		level->parts[i] = level->part(level->shard, entry->relid);
		LockRelationOid(level->parts[i], entry->rellockmode);
		level->maps[i] = columns_map(entry->relid, level->parts[i]);
	}
}

/*
 * Return the rights that a query asks for to a table; NULL: none.
 */
static Rights *
entry_rights(const Query *query, RangeTblEntry *entry)
{
#if PG_VERSION_NUM >= 160000
	return entry->perminfoindex == 0 ? NULL : list_nth_node(RTEPermissionInfo, query->rteperminfos, entry->perminfoindex - 1);
#else
	return entry;
#endif
}

/*
 * Let the entries of the range table be the parts, and the rights that are asked
 * for those to them.
 */
static void
entries_fit(Query *query, const Level *level)
{
	ListCell   *cell;

#if PG_VERSION_NUM >= 160000
	query->rteperminfos = copyObject(query->rteperminfos);
#endif
	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);
		int			i = foreach_current_index(cell);
		Rights	   *rights;

		if (!OidIsValid(level->parts[i]))
			continue;
		entry->relid = level->parts[i];
		rights = entry_rights(query, entry);
		if (rights == NULL)
			continue;
		rights->relid = level->parts[i];
		if (level->maps[i] == NULL)
			continue;
		rights->selectedCols = columns_fit(rights->selectedCols, level->maps[i]);
		rights->insertedCols = columns_fit(rights->insertedCols, level->maps[i]);
		rights->updatedCols = columns_fit(rights->updatedCols, level->maps[i]);
	}
}

/*
 * Return what a query within another one is of the parts of tables.
 */
static Query *
query_fit(Query *query, const Level *outer)
{
	Level		level = {.outer = outer, .part = outer->part, .shard = outer->shard};
	Query	   *fitted;
	int			result = query->resultRelation - 1;

	parts_find(&level, query);
	fitted = query_tree_mutator(query, expression_fit, &level, 0);
	entries_fit(fitted, &level);
	if (result >= 0 && level.maps[result] != NULL)
		result_fit(fitted, level.maps[result], level.parts[result]);
	return fitted;
}

/*
 * shard_fit returns what a query of tables is of their parts on a shard, which it
 * locks.
 */
Query *
shard_fit(Query *query, TablePart part, const void *shard)
{
	Level		outermost = {.part = part, .shard = shard};

	return query_fit(query, &outermost);
}
