#ifndef DUCTO_BASE_EVERYWHERE_H
#define DUCTO_BASE_EVERYWHERE_H

#include "postgres.h"

/*
 * A statement that calls a function on every node of a cluster, within the
 * transaction. Citus sends what writes to a table that is on every node to all of
 * them, and commits it in two phases. The function is called once, with
 * how many rows that table has, and returns false, so that nothing is written.
 */
#define ON_EVERY_NODE(function, arguments) \
	"INSERT INTO ducto.test_clock (id, ahead) SELECT true, interval '0' FROM ducto.test_clock" \
	" HAVING " function "(count(*), " arguments ")"

extern bool node_is_worker(void);
extern bool node_tells_others(void);

#endif
