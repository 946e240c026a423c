#ifndef DUCTO_ACCOUNT_ENTRYTYPE_H
#define DUCTO_ACCOUNT_ENTRYTYPE_H

/* The types of entries, those of credit that is added first. */
typedef enum EntryType
{
	TYPE_NONE,					/* NULL in SQL */
	TYPE_ADJUSTMENT,
	TYPE_PURCHASE,
	TYPE_SUBSCRIPTION,
	TYPE_SIGNUP_BONUS,
	TYPE_PROMO,
	TYPE_USAGE,
	TYPE_REFUND,
	TYPE_REVERSAL,
	TYPE_TRANSFER_OUT,
	TYPE_TRANSFER_IN,
	TYPE_EXPIRY
} EntryType;

extern const char *const entry_types[];
extern const char *const credit_types[];	/* those of credit alone */

/* Whether credit of a type is added by a call or given by a cycle. */
static inline bool
type_is_credit(EntryType type)
{
	return type >= TYPE_ADJUSTMENT && type <= TYPE_PROMO;
}

#endif
