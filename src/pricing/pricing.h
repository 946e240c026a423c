#ifndef DUCTO_PRICING_PRICING_H
#define DUCTO_PRICING_PRICING_H

#include "postgres.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "base/money.h"
#include "base/result.h"
#include "expr/expr.h"

/* A published configuration, as this backend keeps it. */
typedef struct Pricing Pricing;

/* What was used. */
typedef struct Usage
{
	Jsonb	   *json;			/* as given */
	char	   *model;			/* NULL for none */
	bool		has_tokens;
	int			ntools;
	char	  **tools;			/* a name for each call */
	char	   *fixed_job;		/* NULL for none */
	Numeric		variables[EXPR_MAX_VARIABLES];	/* NULL for 0 */
	List	   *counts;			/* of UsageCount: what only the units of a pricing can be */
	bool		has_units;		/* one of them is not 0 */
} Usage;

/* What was used of a unit, if there is such a unit. */
typedef struct UsageCount
{
	char	   *name;
	JsonbValue	value;
} UsageCount;

/* What it costs: the parts, and their sum, to 20 decimals. */
typedef struct Price
{
	Money		total;			/* rounded to the nearest, */
	Money		lower;			/* rounded down, */
	Rest		rest;			/* and what that leaves; */
	Numeric		exact;			/* NULL where it leaves nothing */
	Money		model;
	Money		tools;
	Money		search;
	Money		cache;
	Money		fixed;
} Price;

/* The credits that a new user gets. */
typedef struct SignupBonus
{
	Money		amount;			/* 0 for none */
	bool		anonymous;		/* anonymous users get it too */
	bool		confirmed;		/* only confirmed users get it */
} SignupBonus;

/* A usage with the pricing and the plan that it is priced by. */
typedef struct PricedUsage
{
	Usage		usage;
	Pricing    *pricing;
	bool		pinned;			/* pricing and plan are those of the reservation */
	const char *plan_id;		/* NULL for none */
	Price		price;
	Rejection	rejection;		/* it has no price */
	bool		failed;			/* an expression has no value, as error tells, */
	const char *unknown;		/* or the pricing lacks this key of the usage */
	ExprError	error;
} PricedUsage;

extern List *pricing_validate(Jsonb *config, Jsonb **normal, Money *min_balance);

struct Inspection;

extern void inspect_cycle(struct Inspection *in, const char *path, const JsonbValue *value);
extern void inspect_grants(struct Inspection *in, const char *path, const JsonbValue *value);
extern void inspect_caps(struct Inspection *in, const char *path, const JsonbValue *value);
extern void inspect_alert_lines(struct Inspection *in, const char *path, const JsonbValue *value);

extern int	pricing_publish(Jsonb *config, char *label, pg_uuid_t *id);
extern bool pricing_activate(int version, pg_uuid_t *id);
extern Jsonb *pricing_normal(Jsonb *config, Money *min_balance);
extern Pricing *pricing_draft(Jsonb *config);
extern Pricing *pricing_get(int version);
extern Pricing *pricing_get_active(bool read_only);
extern Pricing *pricing_assume_active(void);
extern void pricing_terms(PricingTerms *terms, bool read_only);
extern Money pricing_floor(const Pricing *pricing);
extern void pricing_signup_bonus(const Pricing *pricing, SignupBonus *bonus);
extern int	pricing_version(const Pricing *pricing);
extern const ExprUnits *pricing_units(const Pricing *pricing);
extern const pg_uuid_t *pricing_id(const Pricing *pricing);
extern Pricing *pricing_with_plan(const char *plan_id, UserPlan *plan);
extern Pricing *pricing_reserved(const pg_uuid_t *user, const pg_uuid_t *reservation, char **plan_id);
extern bool pricing_has_plan(const Pricing *pricing, const char *plan_id);
extern ExprProgram *pricing_expression(Pricing *pricing, const char *section, const char *name);
extern ExprProgram *pricing_override(Pricing *pricing, const char *plan_id, const char *model);
extern bool pricing_fixed(const Pricing *pricing, const char *job, Numeric *price);

extern void usage_read(Jsonb *json, Usage *usage);
extern void arg_usage(FunctionCallInfo fcinfo, int n, const char *name, Usage *usage);
extern void usage_check(PricedUsage *priced, Pricing *pricing);
extern void usage_price(PricedUsage *priced, Pricing *pricing, const char *plan_id);
extern void usage_price_within(PricedUsage *priced, Pricing *pricing, const char *plan_id, MemoryContext each);
extern Rejection pricing_missing(void);
extern Rejection usage_outcome(const PricedUsage *priced);
extern Rejection usage_require(PricedUsage *priced, Account *acc);
extern Datum price_to_datum(const Price *price);
extern Jsonb *usage_explain(const PricedUsage *priced);

/*
 * What a hold has to cover of a price: any amount that is charged for it.
 */
static inline Money
price_hold(const Price *price)
{
	return price->lower + (price->rest > 0 ? 1 : 0);
}

/*
 * What a price charges to an account with a carry: both to the nearest 1/10000
 * credits, half up. What that leaves is the carry afterwards, from -1/20000 to
 * less than 1/20000.
 */
static inline Money
price_charge(const Price *price, Rest *carry)
{
	Rest		sum = *carry + price->rest;
	Rest		up = sum + REST_HALF;
	Money		amount = Max(price->lower + up / REST_UNIT - (up % REST_UNIT < 0 ? 1 : 0), 0);

	*carry = sum - (amount - price->lower) * REST_UNIT;
	return amount;
}

#endif
