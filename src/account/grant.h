#ifndef DUCTO_ACCOUNT_GRANT_H
#define DUCTO_ACCOUNT_GRANT_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/entrytype.h"
#include "base/args.h"
#include "base/money.h"
#include "base/records.h"

/* That of credit that expires, where nothing else is said. */
#define DEFAULT_PRIORITY	50

/* A grant, as far as it matters for time and spending. */
typedef struct Grant
{
	pg_uuid_t	id;
	int64		seq;
	Money		remaining;
	int			priority;		/* in the order that they are burned, where that matters */
	TimestampTz expires_at;
	TimestampTz rolls_to;		/* what is left lives on until then; -infinity for none, or when it does already */
	Money		rollover;		/* at most so much of it */
	Money		before;			/* remaining, as the table has it */
	bool		rolled;			/* it lives on, which the table does not say yet */
	struct Gift *gift;			/* it is new, and not in the table yet; NULL for one that is */
} Grant;

/* A grant that is new: what a cycle gives, or what was added. */
typedef struct Gift
{
	pg_uuid_t	id;
	int64		seq;
	EntryType	type;
	Money		amount;
	bool		makes_grant;
	Money		remaining;		/* of the grant */
	int			priority;
	TimestampTz given_at;
	TimestampTz expires_at;		/* infinity for never */
	TimestampTz rolls_to;		/* -infinity for none */
	Money		rollover;
	TimestampTz cycle_end;
} Gift;

/* What was taken from, or given back to, which grant. */
typedef struct Burn
{
	pg_uuid_t	grant;
	Money		amount;
} Burn;

typedef struct BurnList
{
	int			n;
	Burn	   *burns;
} BurnList;

/* What can go back to a grant, and until when. */
typedef struct GrantRoom
{
	TimestampTz expires_at;
	Money		room;			/* what was taken from it, and not moved elsewhere */
} GrantRoom;

/* Changes of many grants that are not written yet. */
typedef struct GrantQueue
{
	Records		gifts;			/* what cycles gave */
	Records		kept;			/* what is left of those past their time */
} GrantQueue;

extern int	grants_due(const pg_uuid_t *account, TimestampTz now, bool read_only, Grant **grants);
extern void grants_due_of(const pg_uuid_t *accounts, int n, TimestampTz now, int max, Grant *grants, int *counts);
extern TimestampTz grants_next_expiry(const pg_uuid_t *account, TimestampTz now);
extern void grant_insert(const pg_uuid_t *account, const Gift *grant);
extern void grants_find(const pg_uuid_t *account, Money amount, TimestampTz now, bool late,
						BurnList *burned);
extern void grants_burn(const pg_uuid_t *account, Money amount, TimestampTz now, bool late,
						BurnList *burned);
pg_noreturn extern void grants_do_not_sum(void);
extern Money grant_left(const pg_uuid_t *account, const pg_uuid_t *id, bool *exists);
extern void grants_take(const pg_uuid_t *account, const BurnList *list);
extern void grants_give(const pg_uuid_t *account, const BurnList *list);
extern void grants_expire(const pg_uuid_t *account, const Grant *last, int n);
extern void grant_roll_over(const pg_uuid_t *account, const Grant *grant);
extern void grants_queue_begin(GrantQueue *queue);
extern void grants_queue_gift(GrantQueue *queue, const pg_uuid_t *account, const Gift *gift);
extern void grants_queue_kept(GrantQueue *queue, const pg_uuid_t *account, const Grant *grant);
extern void grants_queue_write(GrantQueue *queue);
extern void grants_arrive(const pg_uuid_t *account, const Gift *grants, int n);
extern GrantRoom *grants_room(const pg_uuid_t *account, const BurnList *list);
extern TimestampTz grants_move(const pg_uuid_t *from, const pg_uuid_t *to, const BurnList *parts, Money eaten,
							   int64 seq, TimestampTz given_at, BurnList *kept);

#endif
