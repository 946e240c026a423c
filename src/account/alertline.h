#ifndef DUCTO_ACCOUNT_ALERTLINE_H
#define DUCTO_ACCOUNT_ALERTLINE_H

#include "postgres.h"
#include "utils/jsonb.h"

#include "base/money.h"

#define MAX_LINES		32
#define MAX_PERCENT		100
#define MAX_EXPIRING_DAYS	365

/* Lines at which something is to be told. A list that is not given is that of the level below: plan, then pricing. */
typedef struct Lines
{
	bool		has_balance;
	int			nbalance;
	Money		balance[MAX_LINES];	/* from the highest */
	bool		has_allowance;
	int			nallowance;
	int			allowance[MAX_LINES];	/* percent, from the lowest */
	bool		has_cap;
	int			ncap;
	int			cap[MAX_LINES];
	bool		has_days;
	int			days;			/* before credit expires; 0 for never */
} Lines;

extern void lines_order(Lines *lines);
extern void lines_from_json(JsonbContainer *object, Lines *lines);
extern void lines_inherit(Lines *lines, const Lines *from);
extern int64 lines_mark(const Lines *lines);
extern const Lines *lines_of_pricing(void);
extern int64 lines_pricing_mark(void);
extern void lines_published(const Jsonb *before, const Jsonb *after);

#endif
