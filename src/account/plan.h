#ifndef DUCTO_ACCOUNT_PLAN_H
#define DUCTO_ACCOUNT_PLAN_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "account/entrytype.h"
#include "base/money.h"
#include "base/period.h"
#include "base/rejection.h"
#include "base/words.h"

/* What the pricing may say of cycles. */
#define MAX_CYCLE_GRANTS	16
#define MAX_ROLLOVER_CYCLES	100
#define MAX_PLAN_CAPS		100

/* What a hold may take. */
typedef enum BillingMode
{
	BILLING_BY_PLAN,			/* as the plan says, strict without one; NULL in SQL */
	BILLING_STRICT,				/* down to a floor of 0 or more */
	BILLING_OVERDRAFT			/* down to a floor of 0 or less, and what it is charged beyond that */
} BillingMode;

/* A plan; id is NULL for none. */
typedef struct UserPlan
{
	char	   *id;
	char	   *name;
	Money		free_allowance;
	Jsonb	   *features;
	BillingMode billing_mode;
	Jsonb	   *per_operation;
	int			max_concurrent; /* 0 = unlimited */
	bool		has_floor;
	Money		overdraft_floor;
	int64		caps_version;	/* 0 = it has no caps */
	Jsonb	   *alerts;			/* NULL for none */
	PeriodUnit	cycle;
	bool		retired;		/* nobody is given it any more */
} UserPlan;

/* When what a cycle gives expires. */
typedef enum GiftEnd
{
	ENDS_WITH_CYCLE,
	ENDS_NEVER,
	ENDS_AFTER					/* a length of time: no word */
} GiftEnd;

/* What a plan gives with each cycle. */
typedef struct CycleGrant
{
	Money		amount;
	EntryType	type;
	int			priority;		/* -1 for none */
	GiftEnd		ends;
	Interval   *lasts;			/* where it ends after a length of time */
	int			rollover_cycles;	/* 0 for none */
	Money		rollover_max;
} CycleGrant;

/* What a plan says of allowance and cycles from a time on. */
typedef struct PlanTerms
{
	TimestampTz since;
	Money		free_allowance;
	PeriodUnit	cycle;
	int			ngrants;
	CycleGrant *grants;
} PlanTerms;

/* What a plan says for an operation type; fields as in UserPlan. */
typedef struct Policy
{
	BillingMode billing_mode;	/* strict or overdraft */
	int			max_concurrent;
	bool		has_floor;
	Money		overdraft_floor;
} Policy;

/*
 * The columns of a plan that are read of it after its id, as value.h has them:
 * counted from it. MAYBE is one that may be NULL, and which member tells whether it is
 * there.
 */
#define PLAN_FIELDS(FIELD, MAYBE) \
	FIELD(1, name, text, name) \
	FIELD(2, free_allowance, money, free_allowance) \
	FIELD(3, features, jsonb, features) \
	FIELD(4, default_billing_mode, mode, billing_mode) \
	FIELD(5, per_operation, jsonb, per_operation) \
	FIELD(6, max_concurrent, count, max_concurrent) \
	MAYBE(7, overdraft_floor, money, overdraft_floor, has_floor) \
	FIELD(8, caps_version, int8, caps_version) \
	FIELD(9, alerts, jsonb, alerts) \
	FIELD(10, cycle, unit, cycle) \
	FIELD(11, retired, bool, retired)
#define PLAN_COLUMN(n, column, ...)	", p." #column

/* What plan_from_row reads, of a table ducto.plans p. */
#define PLAN_COLUMNS	"p.id" PLAN_FIELDS(PLAN_COLUMN, PLAN_COLUMN)

extern const char *const billing_modes[];
extern const char *const gift_ends[];

extern void plan_from_row(UserPlan *plan, int first_column);
extern bool plan_find(const char *id, UserPlan *plan, bool read_only);
extern int	plan_terms(const char *id, TimestampTz at, bool read_only, PlanTerms **terms);
extern uint64 plans_heard(void);
extern bool plan_gives(const char *id, TimestampTz at, PlanTerms **terms);
extern bool plan_lock(const char *id, UserPlan *plan);
extern Rejection plan_missing(const char *id);
extern Rejection feature_missing(const UserPlan *plan, const char *feature);
extern bool plan_has_feature(const UserPlan *plan, const char *feature, JsonbValue *value);
extern void plans_sync(Jsonb *plans);
extern BillingMode plan_billing_mode(const UserPlan *plan);
extern void plan_policy(const UserPlan *plan, const char *operation_type, Policy *policy);

#endif
