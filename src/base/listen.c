/*
 * listen.c
 *		Who hears that a table has changed.
 *
 *		A session has ten places for those that hear of it, which PostgreSQL, Citus
 *		and other extensions share, and ends when they are all taken. ducto takes
 *		one of them.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/namespace.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/listen.h"

#define MOST_LISTENERS	8

static RelationListener listeners[MOST_LISTENERS];
static int	nlisteners = 0;

/*
 * Tell all that a relation has changed.
 */
static void
relation_changed(Datum arg, Oid relation)
{
	for (int i = 0; i < nlisteners; i++)
		listeners[i] (relation);
}

/*
 * relations_listen lets a listener hear of changes from now on, once however
 * often it asks for that.
 */
void
relations_listen(RelationListener listener)
{
	for (int i = 0; i < nlisteners; i++)
		if (listeners[i] == listener)
			return;
	if (nlisteners == MOST_LISTENERS)
		elog(ERROR, "too many listeners");
	if (nlisteners == 0)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	listeners[nlisteners++] = listener;
}

/*
 * table_named returns the table of ducto that has a name.
 */
Oid
table_named(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("ducto", false));
}

/*
 * table_of_part returns the name of a table, for a part of one that Citus has
 * made of it on a node that of the whole: Citus appends the shard's number.
 */
const char *
table_of_part(const char *relation)
{
	size_t		length = strlen(relation);

	while (length > 0 && isdigit((unsigned char) relation[length - 1]))
		length--;
	return relation[length] != '\0' && length > 1 && relation[length - 1] == '_' ? pnstrdup(relation, length - 1) : relation;
}

/*
 * table_changed lets all backends of this node hear, when the transaction
 * commits, that a table has changed, or the one that it is a part of.
 */
void
table_changed(Relation table)
{
	Oid			whole = get_relname_relid(table_of_part(RelationGetRelationName(table)), RelationGetNamespace(table));

	if (OidIsValid(whole))
		CacheInvalidateRelcacheByRelid(whole);
}
