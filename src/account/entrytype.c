/*
 * entrytype.c
 *		What the types of entries are called.
 */
#include "postgres.h"

#include "account/entrytype.h"

#define CREDIT_WORDS	NULL, "adjustment", "purchase", "subscription", "signup_bonus", "promo"

const char *const credit_types[] = {CREDIT_WORDS, NULL};
const char *const entry_types[] = {
	CREDIT_WORDS, "usage", "refund", "reversal", "transfer_out", "transfer_in", "expiry", NULL
};
