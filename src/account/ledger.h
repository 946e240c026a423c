#ifndef DUCTO_ACCOUNT_LEDGER_H
#define DUCTO_ACCOUNT_LEDGER_H

#include "postgres.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/account.h"
#include "account/capwindow.h"
#include "account/chain.h"
#include "account/entrytype.h"
#include "account/grant.h"
#include "base/records.h"
#include "base/rejection.h"

/* What an entry that has lines is for, by model: each once, NULL where none was told. */
typedef struct EntryModels
{
	int			n;
	const char **models;
	Money	   *spend;			/* net of allowance */
	int32	   *lines;
} EntryModels;

/*
 * An entry of the ledger: one to be written, or what LEDGER_READ_FIELDS has of one
 * that was, for replays, refunds and reversals. Pointers may be NULL.
 */
typedef struct LedgerEntry
{
	pg_uuid_t	account_id;
	pg_uuid_t	id;
	int64		seq;
	Money		amount;
	Money		balance_after;
	EntryType	type;
	const char *operation_type;
	const pg_uuid_t *actor;
	const char *model;
	const char *idempotency_key;
	const pg_uuid_t *reference;
	Money		allowance_consumed;
	Money		shortfall;
	CapAction	cap_warning;
	BurnList	burned;
	Spend		lifetime_purchased;
	TimestampTz expires_at;		/* infinity for never */
	int			priority;
	TimestampTz cycle_end;
	Numeric		exact_price;	/* where the amount is a rounded one; NULL for none */
	Jsonb	   *pricing;		/* how it was priced */
	const EntryModels *models;	/* of its lines; NULL where it has none */
	Jsonb	   *metadata;
	TimestampTz created_at;
	TimestampTz effective_at;

	bool		has_id;			/* it is given */
	bool		is_credit;		/* lifetime_purchased is kept */
	bool		makes_grant;	/* expires_at and priority are kept */
	bool		is_gift;		/* a cycle gave it: cycle_end is kept */
	Values	   *own;		/* its columns, where a guarded update is to chain it */
} LedgerEntry;

/* What a roll-forward books: credit that expired, or that a cycle gave. */
typedef struct Rolled
{
	pg_uuid_t	grant;
	Money		amount;
	TimestampTz effective_at;
	Gift	   *gift;			/* NULL for what expired */
} Rolled;

/* Entries that are not written yet. */
typedef struct LedgerQueue
{
	Records		entries;
	struct EventQueue *events;	/* of the same accounts; NULL where they are written at once */
	bool		key_is_new;		/* neither ledger nor queue has the key that is looked up */
} LedgerQueue;

extern void ledger_queue_begin(LedgerQueue *queue);
extern void ledger_queue_write(LedgerQueue *queue);
extern TimestampTz ledger_time(const Account *acc);
extern void ledger_append(Account *acc, LedgerEntry *entry);
extern void ledger_link(const pg_uuid_t *account, LedgerEntry *entry, Charge *charge);
extern bool ledger_insert(Account *acc, LedgerEntry *entry);
extern void ledger_append_rolled(Account *acc, const Rolled *rolled, int n, LedgerQueue *queue);
extern bool ledger_cycle_given(const pg_uuid_t *account, TimestampTz cycle_end, const char *plan_id, bool read_only);
extern Money ledger_running_gifts(const pg_uuid_t *account, TimestampTz now);
extern bool ledger_find_key(const Account *acc, const char *key, LedgerEntry *entry);
extern bool ledger_find_models(const pg_uuid_t *account, const pg_uuid_t *id, EntryModels *models);
extern bool ledger_has_usage(const LedgerEntry *entry, Jsonb *usage);
extern bool ledger_find_id(const pg_uuid_t *id, const pg_uuid_t *account, LedgerEntry *entry);
extern Rejection transaction_missing(const pg_uuid_t *id);
extern Money ledger_reversed(const pg_uuid_t *account, const pg_uuid_t *reference);
extern void ledger_refunded(const pg_uuid_t *account, const pg_uuid_t *reference, Money *credits,
							Money *allowance, Money *largest);
extern bool ledger_find_settlement(const Account *acc, const pg_uuid_t *reservation, TimestampTz closed_at,
								   LedgerEntry *entry);
extern int64 ledger_seq_near(const pg_uuid_t *account, int64 last_seq, TimestampTz at, bool read_only);
extern int64 ledger_seq_before(const pg_uuid_t *account, int64 last_seq, TimestampTz at,
							   bool inclusive, bool effective, bool read_only);
extern Money ledger_balance_at_seq(const pg_uuid_t *account, int64 seq);

#endif
