#ifndef DUCTO_ACCOUNT_CAPWINDOW_H
#define DUCTO_ACCOUNT_CAPWINDOW_H

#include "postgres.h"
#include "utils/timestamp.h"

#include "account/account.h"
#include "base/money.h"

/* What a sliding window is cut into; one more is counted, which is not over yet. */
#define CAP_BUCKETS	60

typedef enum CapKind
{
	CAP_HOURLY,
	CAP_DAILY,
	CAP_WEEKLY,
	CAP_MONTHLY,
	CAP_TOTAL,
	CAP_SESSION,
	CAP_SLIDING
} CapKind;

/* What an exceeded cap does, the strongest first. */
typedef enum CapAction
{
	CAP_NO_ACTION,				/* NULL in SQL */
	CAP_DENY,
	CAP_WARN,
	CAP_NOTIFY
} CapAction;

/* A spend cap, and what it has counted. */
typedef struct Cap
{
	CapKind		kind;
	const char *model;			/* empty for all models */
	Money		limit;
	CapAction	action;
	bool		of_plan;		/* not the account's own */
	Interval   *window_length;	/* of a session or a sliding window; NULL for others */
	TimestampTz from;			/* of the window that spent is of; of a sliding one, of its newest bucket */
	TimestampTz until;			/* no session is open: both are when the last one ended, -infinity for none */
	Spend		spent;			/* of a sliding window, in all its buckets */
	Spend		held;
	int			nbuckets;		/* of a sliding window; what is beyond is 0 */
	Spend	   *buckets;		/* CAP_BUCKETS, those before the newest, from the newest on; NULL for other windows */
	bool		unwritten;		/* a batch keeps it, and it has counted */
} Cap;

extern const char *const cap_kinds[];
extern const char *const cap_actions[];

extern bool cap_has_length(CapKind kind);
extern bool cap_length_is_valid(const Interval *length);
extern int64 cap_length(const Cap *cap);
extern int64 cap_bucket_width(const Cap *cap);
extern TimestampTz cap_counts_from(const Cap *cap);
extern void cap_make_buckets(Cap *cap);
extern void cap_window_at(const Account *acc, Cap *cap, TimestampTz at);
extern bool cap_is_in_window(const Account *acc, const Cap *cap);
extern void cap_turn(const Account *acc, Cap *cap);
extern void cap_count(const Account *acc, Cap *cap, Money spent, Money held);
extern bool cap_give_back(Cap *cap, Money amount, TimestampTz at);
extern Spend cap_counted(const Cap *cap);
extern bool session_is_open(const Account *acc, const Cap *cap);
extern TimestampTz cap_resets_at(const Cap *cap, Money amount);

/* Whether a cap concerns a model, which is NULL for none. */
static inline bool
cap_concerns(const Cap *cap, const char *model)
{
	return cap->model[0] == '\0' || (model != NULL && strcmp(cap->model, model) == 0);
}

/* Whether an amount would exceed a cap. */
static inline bool
cap_is_exceeded(const Cap *cap, Money amount)
{
	return cap_counted(cap) + amount > cap->limit;
}

#endif
