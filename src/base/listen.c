/*
 * listen.c
 *		Who hears that a table has changed.
 *
 *		A session has ten places for those that hear of it, which PostgreSQL, Citus
 *		and other extensions share, and ends when they are all taken. ducto takes
 *		one of them.
 */
#include "postgres.h"

#include "utils/inval.h"

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
