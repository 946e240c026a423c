#ifndef DUCTO_ANALYTICS_ROLLUP_H
#define DUCTO_ANALYTICS_ROLLUP_H

#include "postgres.h"
#include "utils/timestamp.h"

#include "analytics/sums.h"
#include "base/query.h"

/* The lengths of rolled up periods in hours, each a multiple of the one before. */
#define ROLLUP_LEVELS	5
#define LEVEL_HOUR		0
#define LEVEL_DAY		1
#define LEVEL_LONGEST	(ROLLUP_LEVELS - 1)

/* The entries that are rolled up at once where it goes on by itself. */
#define ROLLUP_BATCH	100000

/* Numbers of transactions, both ends included. */
typedef struct XactRange
{
	int64		first;
	int64		last;
} XactRange;

/*
 * How far the ledger is rolled up. The numbers of transactions are taken as a
 * circle: first those of other clusters, which came with a restore, last those
 * of this cluster. What comes before next is in the rollup, the rest is not.
 */
typedef struct RollupState
{
	bool		exists;			/* otherwise nothing is rolled up */
	int64		next;
	BookSums   *total;			/* of all that is rolled up; NULL when it is only read */
} RollupState;

/* A part of the rollup of a period. */
typedef struct RollupPart
{
	TimestampTz start;
	XactRange	xacts;			/* those of its entries are within */
	bool		has_books;
	Datum		arrays[11];		/* as in UsageArrays and BookArrays, perhaps toasted */
} RollupPart;

extern TimestampTz rollup_floor(TimestampTz at, int level);
extern TimestampTz rollup_length(int level);
extern int	rollup_sums(int level);

extern void rollup_state_read(RollupState *state);
extern void rollup_state_lock(RollupState *state, bool anew);
extern bool rollup_state_try_lock(RollupState *state);
extern void rollup_state_write(const RollupState *state);
extern void rollup_discard(void);
extern int	rollup_rest(const RollupState *state, XactRange ranges[2]);

extern int	rollup_parts(int level, TimestampTz from, TimestampTz to, bool read_only, RollupPart **parts);
extern void rollup_part_sum(const RollupPart *part, UsageSums *sums, int wanted);
extern void rollup_add(int level, TimestampTz start, const XactRange *xacts, UsageSums *sums);
extern int	rollup_unbuilt(int level, TimestampTz until, TimestampTz **starts);
extern bool rollup_exists(int level, TimestampTz start);

extern void rollup_advance(int64 max_rows);
extern void nodes_sum(TimestampTz from, TimestampTz to, int wanted, UsageSums *sums);

/* An entry of the ledger, as far as it is rolled up. */
typedef struct RolledEntry
{
	bool		usage;			/* of which there is: */
	pg_uuid_t	user;
	const char *model;
	int			model_length;
	bool		has_lines;		/* of several models, instead: */
	Datum		models;
	Datum		model_spend;
	Datum		model_lines;
	TimestampTz created_at;
	int64		xact;
	BookSum		book;
} RolledEntry;

/* Receives the entries of a range of transactions. */
typedef void (*EntryReader) (const RolledEntry *entry, void *state);

extern void rolled_entry_add(const RolledEntry *entry, UsageSums *sums);
extern uint64 rollup_read_ledger(const XactRange *xacts, TimestampTz from, TimestampTz to, bool usage_only, bool read_only,
								 EntryReader reader, void *state);
extern void rollup_read_usage(TimestampTz from, TimestampTz to, EntryReader reader, void *state);

#endif
