#ifndef DUCTO_CREDIT_SWEPT_H
#define DUCTO_CREDIT_SWEPT_H

#include "postgres.h"
#include "utils/uuid.h"

#include "base/money.h"

/* Accounts that are being swept, and what was booked on them. */
typedef struct Sweep
{
	const pg_uuid_t *ids;
	int64		next;			/* of the ids */
	int64		set_end;		/* of the set that is being swept */
	int64		alone_until;	/* ids before it are swept one by one */
	bool		dry_run;		/* only compute it */
	bool		in_parts;		/* on a cluster, limits may be met on one node and not on others */
	bool		in_part;		/* they were */
	int64		max_accounts;	/* with credit that expired */
	int64		max_entries;
	int64		max_closed;
	int64		accounts;
	int64		entries;
	int64		closed;
	Spend		expired;
} Sweep;

extern void sweep_begin(Sweep *sweep, const pg_uuid_t *ids);
extern void sweep_all(Sweep *sweep, int64 n);

#endif
