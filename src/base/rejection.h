#ifndef DUCTO_BASE_REJECTION_H
#define DUCTO_BASE_REJECTION_H

#include "postgres.h"

/* The outcomes that a correct program must expect, 0 for success. */
typedef enum Rejection
{
	ACCEPTED,
	INSUFFICIENT_CREDITS,
	CAP_REACHED,
	CONCURRENCY_LIMIT,
	FEATURE_NOT_ENTITLED,
	RESERVATION_NOT_FOUND,
	RESERVATION_EXPIRED,
	RESERVATION_CLOSED,
	TRANSACTION_NOT_FOUND,
	NOT_REFUNDABLE,
	ALREADY_REFUNDED,
	OVER_REFUND,
	TEAM_NOT_FOUND,
	USER_NOT_IN_TEAM,
	PLAN_NOT_FOUND,
	PRICING_VERSION_NOT_FOUND,
	NO_ACTIVE_PRICING,
	MODEL_NOT_PRICED,
	IDEMPOTENCY_CONFLICT,
	CEILING_REACHED
} Rejection;

extern void rejection_define(void);

extern const char *rejection_code(Rejection rejection);
extern Rejection rejection_because(Rejection rejection, const char *format,...) pg_attribute_printf(2, 3);
extern void rejection_tell(Rejection rejection, Oid function, Datum row);
extern bool rejection_raises(Oid function);
extern void rejection_over(void);

#endif
