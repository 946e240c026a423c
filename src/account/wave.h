#ifndef DUCTO_ACCOUNT_WAVE_H
#define DUCTO_ACCOUNT_WAVE_H

#include "postgres.h"
#include "utils/uuid.h"

#include "base/query.h"

/*
 * A query that does something on the shards of a wave. It calls a function of
 * the shard with values of arrays of the query's, at w.n; $1 is an account of
 * each shard, $2 the shards. Then there may be, from wave_args_accounts, $3 the
 * accounts, $4 and $5 the first and the last of a shard.
 */
#define ON_SHARDS(call)	"SELECT w.n, " call " FROM " THESE_SHARDS
#define THESE_SHARDS	"(SELECT array_position($1, a.id) AS n FROM ducto.accounts a WHERE a.id = ANY ($1)) w"

/* The same where there is one shard, and there may be no account on it that there is a row of. */
#define ON_ANY_SHARD(call)	"SELECT w.n, " call " FROM " ANY_SHARD
#define ANY_SHARD	"(SELECT (1 + 0 * count(*))::integer AS n FROM ducto.accounts WHERE id = ($1)[1]) w"

/* The columns of both: which of the wave's parts it is, from 1, and what the call returned. */
enum
{
	WAVE_PART = 1, WAVE_ANSWER
};

/* Of the arrays that wave_args_accounts appends, or others like that of accounts, what is a shard's. */
#define OF_SHARD(array)	"(" array ")[($4)[w.n]:($5)[w.n]]"

/* Accounts that follow each other and are on one shard, or on one node. */
typedef struct ShardPart
{
	int64		shard;			/* of the first */
	int			node;
	int64		next;			/* of the accounts: what is before it is done */
	int64		end;
	bool		answered;
} ShardPart;

/* Accounts that are worked on, by shard and then by id, and the parts of them that are next. */
typedef struct Wave
{
	pg_uuid_t  *accounts;
	int64	   *places;			/* that they were given at */
	ShardPart  *parts;
	int			nparts;
	ShardPart **now;
	int			n;
	bool		by_node;		/* a part is what is on a node, by shard and then by id */
} Wave;

/* What is done with accounts where they are. */
typedef struct WaveWork
{
	KeptQuery	together;		/* ON_SHARDS */
	KeptQuery	alone;			/* ON_ANY_SHARD */
	void		(*arguments) (const Wave *wave, QueryArgs *args, void *state);	/* appends those from $3 on */
	void		(*answer) (ShardPart *part, uint64 row, void *state);	/* reads a row, and says how far the part is done */
} WaveWork;

extern void accounts_by_turns(pg_uuid_t *ids, int64 n);
extern void wave_begin(Wave *wave, const pg_uuid_t *accounts, int64 n);
extern void wave_begin_nodes(Wave *wave, const pg_uuid_t *accounts, int64 n);
extern bool wave_hold(const Wave *wave);
extern bool wave_next(Wave *wave, bool all_nodes);
extern void wave_run(Wave *wave, WaveWork *work, void *state);
extern void wave_all(const pg_uuid_t *accounts, int64 n, WaveWork *work, void *state);
extern int64 wave_done(const Wave *wave, int64 n);
extern void wave_args_accounts(const Wave *wave, QueryArgs *args);
extern int64 *wave_places(const Wave *wave, int *n);

#endif
