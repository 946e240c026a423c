/*
 * ledger.c
 *		The table ledger: appending entries and finding them again.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "utils/array.h"

#include "account/chain.h"
#include "account/claim.h"
#include "account/ledger.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/query.h"
#include "base/setting.h"
#include "base/uuid.h"
#include "base/uuidv7.h"
#include "base/xact.h"

#define LEDGER_OWN_COLUMNS \
	"account_id, amount, type, operation_type, model, idempotency_key, reference, shortfall," \
	" burned_grants, burned_amounts, lifetime_purchased, expires_at, priority, metadata, allowance_consumed, cap_warning," \
	" pricing, actor, exact_price"
#define LEDGER_PLACE_COLUMNS	"id, seq, balance_after, created_at, effective_at, xact, digest"
#define LEDGER_INSERT_SQL \
	"INSERT INTO ducto.ledger (" LEDGER_OWN_COLUMNS ", " LEDGER_PLACE_COLUMNS ")" \
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24," \
	" $25, $26)"
#define LEDGER_OWN_TYPES \
	UUIDOID, NUMERICOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, UUIDOID, NUMERICOID, UUIDARRAYOID, NUMERICARRAYOID, \
		NUMERICOID, TIMESTAMPTZOID, INT4OID, JSONBOID, NUMERICOID, TEXTOID, JSONBOID, UUIDOID, NUMERICOID
#define LEDGER_PLACE_TYPES \
	UUIDOID, INT8OID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, BYTEAOID
#define LEDGER_INSERT_TYPES	{LEDGER_OWN_TYPES, LEDGER_PLACE_TYPES}

/* The account's lock orders the entries; seq comes from its row. */
static KeptQuery ledger_insert_query = {.sql = LEDGER_INSERT_SQL, .types = LEDGER_INSERT_TYPES};

/* The columns of queued entries. */
static const Oid queue_types[] = {LEDGER_OWN_TYPES, LEDGER_PLACE_TYPES, TIMESTAMPTZOID, InvalidOid};

/* As this, of many entries, whose accounts are locked and whose keys are new. */
static KeptQuery ledger_insert_many_query = {
	.sql = "INSERT INTO ducto.ledger (" LEDGER_OWN_COLUMNS ", " LEDGER_PLACE_COLUMNS ", cycle_end)"
	" SELECT * FROM unnest($1) AS e(c1 uuid, c2 numeric, c3 text, c4 text, c5 text, c6 text, c7 uuid,"
	" c8 numeric, c9 uuid[], c10 numeric[], c11 numeric, c12 timestamptz, c13 integer, c14 jsonb, c15 numeric, c16 text,"
	" c17 jsonb, c18 uuid, c19 numeric, c20 uuid, c21 bigint, c22 numeric, c23 timestamptz, c24 timestamptz, c25 bigint,"
	" c26 bytea, c27 timestamptz)",
	.types = {RECORDARRAYOID}
};

/* Does nothing when the key is known, which is exact under the account's lock. */
static KeptQuery ledger_insert_once_query = {
	.sql = LEDGER_INSERT_SQL " ON CONFLICT (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
	.types = LEDGER_INSERT_TYPES
};

/* An entry with lines. It has no key: its lines have. */
static KeptQuery ledger_insert_lines_query = {
	.sql = "INSERT INTO ducto.ledger (" LEDGER_OWN_COLUMNS ", models, model_spend, model_lines, " LEDGER_PLACE_COLUMNS ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,"
	" $25, $26, $27, $28, $29)",
	.types = {LEDGER_OWN_TYPES, TEXTARRAYOID, NUMERICARRAYOID, INT4ARRAYOID, LEDGER_PLACE_TYPES}
};

/* Where args_own has the amount. */
#define OWN_AMOUNT	1

#define RECORD_COLUMNS \
	"account_id, id, type, amount, balance_after, reference, shortfall, lifetime_purchased," \
	" coalesce(expires_at, 'infinity'), burned_grants, burned_amounts, model, allowance_consumed, cap_warning, effective_at, actor"

/* Exact under the account's lock: a key is only ever added under it. */
static KeptQuery ledger_key_query = {
	.sql = "SELECT " RECORD_COLUMNS " FROM ducto.ledger WHERE account_id = $1 AND idempotency_key = $2",
	.types = {UUIDOID, TEXTOID}
};

static KeptQuery ledger_usage_query = {
	.sql = "SELECT (pricing -> 'usage') IS NOT DISTINCT FROM $3 FROM ducto.ledger WHERE account_id = $1 AND id = $2",
	.types = {UUIDOID, UUIDOID, JSONBOID}
};

static KeptQuery ledger_models_query = {
	.sql = "SELECT m.model, m.spend, m.lines FROM ducto.ledger l, unnest(l.models, l.model_spend, l.model_lines)"
	" WITH ORDINALITY AS m(model, spend, lines, n) WHERE l.account_id = $1 AND l.id = $2 ORDER BY m.n",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery ledger_id_query = {
	.sql = "SELECT " RECORD_COLUMNS " FROM ducto.ledger WHERE id = $1",
	.types = {UUIDOID}
};

static KeptQuery ledger_own_id_query = {
	.sql = "SELECT " RECORD_COLUMNS " FROM ducto.ledger WHERE id = $1 AND account_id = $2",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery ledger_settlement_query = {
	.sql = "SELECT " RECORD_COLUMNS " FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND reference = $3 AND type = 'usage'"
	" ORDER BY seq LIMIT 1",
	.types = {UUIDOID, INT8OID, UUIDOID}
};

/*
 * Append the columns of what an entry burned.
 */
static void
args_burned(QueryArgs *args, const BurnList *burned)
{
	pg_uuid_t  *grants;
	Money	   *amounts;

	if (burned->n == 0)
	{
		args_null(args);
		args_null(args);
		return;
	}
	grants = palloc(sizeof(pg_uuid_t) * burned->n);
	amounts = palloc(sizeof(Money) * burned->n);
	for (int i = 0; i < burned->n; i++)
	{
		grants[i] = burned->burns[i].grant;
		amounts[i] = burned->burns[i].amount;
	}
	args_uuid_array(args, grants, burned->n);
	args_money_array(args, amounts, burned->n);
}

/*
 * Append the columns of what an entry's lines are for.
 */
static void
args_models(QueryArgs *args, const EntryModels *models)
{
	void	  **names = palloc(sizeof(void *) * models->n);
	Datum	   *lines = palloc(sizeof(Datum) * models->n);

	for (int i = 0; i < models->n; i++)
	{
		names[i] = models->models[i] != NULL ? cstring_to_text(models->models[i]) : NULL;
		lines[i] = Int32GetDatum(models->lines[i]);
	}
	args_array(args, TEXTOID, names, models->n);
	args_money_array(args, models->spend, models->n);
	args_datum(args, PointerGetDatum(construct_array(lines, models->n, INT4OID, sizeof(int32), true, TYPALIGN_INT)));
}

/*
 * Append the columns that an entry's own digest is made of.
 */
static void
args_own(QueryArgs *args, const pg_uuid_t *account, const LedgerEntry *entry)
{
	args_uuid(args, account);
	args_money(args, entry->amount);
	args_text(args, entry_types[entry->type]);
	args_text(args, entry->operation_type);
	args_text(args, entry->model);
	args_text(args, entry->idempotency_key);
	args_uuid(args, entry->reference);
	if (entry->shortfall != 0)
		args_money(args, entry->shortfall);
	else
		args_null(args);
	args_burned(args, &entry->burned);
	if (entry->is_credit)
		args_spend(args, entry->lifetime_purchased);
	else
		args_null(args);
	if (entry->makes_grant && !TIMESTAMP_NOT_FINITE(entry->expires_at))
		args_time(args, entry->expires_at);
	else
		args_null(args);
	if (entry->makes_grant)
		args_int4(args, entry->priority);
	else
		args_null(args);
	args_metadata(args, entry->metadata);
	args_money(args, entry->allowance_consumed);
	args_text(args, cap_actions[entry->cap_warning]);
	args_jsonb(args, entry->pricing);
	args_uuid(args, entry->actor);
	if (entry->exact_price != NULL)
		args_datum(args, NumericGetDatum(entry->exact_price));
	else
		args_null(args);
	Assert(args->n == CHAIN_COLUMNS - CHAIN_LINE_COLUMNS);
	if (entry->models != NULL)
		args_models(args, entry->models);
}

/*
 * Make the link of an entry of an amount, with the columns that are known.
 */
static ChainLink *
ledger_link_of(LedgerEntry *entry, Money amount)
{
	ChainLink  *link = palloc(sizeof(ChainLink));

	link->id = entry->id;
	entry->own->values[OWN_AMOUNT] = money_to_datum(amount);
	chain_own(entry->own->values, entry->own->nulls, entry->own->n, link);
	return link;
}

/*
 * ledger_link gives the entry of a charge its id, and makes what a guarded
 * update of the account needs to chain it. What it burns is not known yet.
 */
void
ledger_link(const pg_uuid_t *account, LedgerEntry *entry, Charge *charge)
{
	entry->own = palloc0(sizeof(QueryArgs));
	uuidv7_make(&entry->id, clock_now());
	args_own(entry->own, account, entry);
	charge->link = ledger_link_of(entry, -charge->amount);
	if (charge->rest != 0)
		charge->raised_link = ledger_link_of(entry, -charge->amount - 1);
}

/*
 * Move the head of a locked account's chain to an entry, which has the columns
 * that its own digest is made of.
 */
static void
ledger_chain(Account *acc, const LedgerEntry *entry, TimestampTz effective_at, const QueryArgs *own)
{
	ChainLink	link;
	ChainPlace	place = {.seq = entry->seq, .created_at = entry->created_at, .effective_at = effective_at,
		.cycle_end = entry->is_gift ? entry->cycle_end : DT_NOBEGIN};

	link.id = entry->id;
	chain_own(own->values, own->nulls, own->n, &link);
	chain_digest(acc->chain_head, &link, &place);
	acc->chained = true;
}

/*
 * ledger_time returns the created_at of a locked account's next entry: the
 * clock, but never before the last one's.
 */
TimestampTz
ledger_time(const Account *acc)
{
	return Max(acc->now, acc->ahead_until);
}

/*
 * Append an entry's place: what its account's lock tells. own are the columns of
 * its own digest.
 */
static void
args_place(QueryArgs *args, Account *acc, const LedgerEntry *entry, TimestampTz effective_at)
{
	if (setting_chain() && !acc->linked)
		ledger_chain(acc, entry, effective_at, args);
	args_uuid(args, &entry->id);
	args_int8(args, entry->seq);
	args_money(args, entry->balance_after);
	args_time(args, entry->created_at);
	args_time(args, effective_at);
	args_int8(args, xact_current());
	if (setting_chain())
		args_datum(args, digest_to_datum(acc->chain_head));
	else
		args_null(args);
}

/*
 * Queue an entry, of which the columns are there but for the end of the cycle
 * that gave it.
 */
static void
queue_add(LedgerQueue *queue, const LedgerEntry *entry, QueryArgs *args)
{
	if (entry->is_gift)
		args_time(args, entry->cycle_end);
	else
		args_null(args);
	records_add(&queue->entries, args);
}

/*
 * ledger_insert writes an entry whose place the account's row has reserved
 * already: last_seq and balance are those with the entry, and so is the head of
 * the chain where the update moved it. False: its key is known, and it did
 * nothing.
 */
bool
ledger_insert(Account *acc, LedgerEntry *entry)
{
	QueryArgs	args = {0};

	entry->created_at = ledger_time(acc);
	entry->seq = acc->last_seq;
	entry->balance_after = acc->balance;
	Assert(entry->type != TYPE_NONE);
	Assert(entry->seq > 0);
	Assert(entry->shortfall >= 0);
	Assert(entry->is_credit || entry->amount <= 0 || entry->type == TYPE_REFUND || entry->type == TYPE_TRANSFER_IN);
	Assert(entry->type != TYPE_USAGE || entry->allowance_consumed >= 0);
	Assert(entry->type != TYPE_REFUND || (entry->amount >= 0 && entry->allowance_consumed <= 0));
	Assert(!acc->linked || entry->own != NULL);
	Assert(entry->models == NULL || entry->idempotency_key == NULL);
	if (entry->own == NULL && !entry->has_id)
		uuidv7_make(&entry->id, acc->now);

	if (acc->linked && entry->own != NULL)
	{
		args = *entry->own;
		args.values[OWN_AMOUNT] = money_to_datum(entry->amount);
	}
	else
		args_own(&args, &acc->id, entry);
	args_place(&args, acc, entry, acc->now);
	if (acc->queue != NULL)
	{
		Assert(entry->models == NULL);
		queue_add(acc->queue, entry, &args);
		return true;
	}
	return query_run(entry->models != NULL ? &ledger_insert_lines_query :
					 entry->idempotency_key == NULL ? &ledger_insert_query : &ledger_insert_once_query,
					 &args, SPI_OK_INSERT) == 1;
}

/*
 * ledger_append books an entry on a locked account: its balance and last_seq
 * move, the entry is written. The account's row is not.
 */
void
ledger_append(Account *acc, LedgerEntry *entry)
{
	Assert(acc->exists);
	Assert(!acc->linked);
	acc->balance = money_add(acc->balance, entry->amount, "the balance");
	acc->last_seq++;
	acc->has_actor = entry->actor != NULL;
	if (acc->has_actor)
		acc->actor = *entry->actor;
	if (!ledger_insert(acc, entry))
		row_missing("ledger");
}

/*
 * Return what the metadata of credit that a cycle gave are: the plan.
 */
static Jsonb *
gift_metadata(const char *plan_id)
{
	JsonOut		out = {0};

	jsonout_push(&out, WJB_BEGIN_OBJECT, NULL);
	if (plan_id != NULL)
	{
		jsonout_key(&out, "plan_id");
		jsonout_text(&out, plan_id);
	}
	return jsonout_end(&out);
}

/*
 * Make the entry of what was rolled, and move the account by it.
 */
static void
rolled_entry(Account *acc, const Rolled *rolled, Jsonb *metadata, LedgerEntry *entry)
{
	const Gift *gift = rolled->gift;

	Assert(rolled->amount > 0);
	Assert(rolled->effective_at <= acc->now);
	entry->created_at = ledger_time(acc);
	entry->seq = ++acc->last_seq;
	entry->amount = gift != NULL ? rolled->amount : -rolled->amount;
	acc->balance = money_add(acc->balance, entry->amount, "the balance");
	entry->balance_after = acc->balance;
	if (gift == NULL)
	{
		Assert(rolled->amount <= acc->expiring);
		entry->type = TYPE_EXPIRY;
		entry->reference = &rolled->grant;
		acc->expiring -= rolled->amount;
		uuidv7_make(&entry->id, acc->now);
		return;
	}
	Assert(gift->seq == entry->seq);
	entry->id = gift->id;
	entry->type = gift->type;
	entry->is_credit = true;
	entry->lifetime_purchased = acc->lifetime_purchased;
	entry->makes_grant = gift->makes_grant;
	entry->expires_at = gift->expires_at;
	entry->priority = gift->priority;
	entry->is_gift = true;
	entry->cycle_end = gift->cycle_end;
	entry->metadata = metadata;
	if (gift->makes_grant)
		acc->expiring += Max(0, Min(entry->amount, entry->balance_after));
}

/*
 * ledger_append_rolled books expired credit and gifts on a locked account, an
 * entry each: they are queued, or with NULL written by one statement.
 */
void
ledger_append_rolled(Account *acc, const Rolled *rolled, int n, LedgerQueue *queue)
{
	LedgerQueue own = {0};
	LedgerQueue *entries = queue != NULL ? queue : &own;
	Jsonb	   *metadata = gift_metadata(acc->plan_id);

	if (queue == NULL)
		ledger_queue_begin(&own);
	for (int i = 0; i < n; i++)
	{
		LedgerEntry entry = {0};
		QueryArgs	args = {0};

		rolled_entry(acc, &rolled[i], metadata, &entry);
		args_own(&args, &acc->id, &entry);
		args_place(&args, acc, &entry, rolled[i].effective_at);
		queue_add(entries, &entry, &args);
	}
	if (queue == NULL)
		ledger_queue_write(&own);
}

/*
 * Read the arrays of what an entry burned.
 */
static void
burned_from_row(BurnList *burned, int grants_column, int amounts_column)
{
	Datum	   *grants;
	Datum	   *amounts;
	int			n;

	memset(burned, 0, sizeof(BurnList));
	if (row_is_null(0, grants_column))
		return;
	deconstruct_array(DatumGetArrayTypeP(row_datum(0, grants_column)), UUIDOID, UUID_LEN, false,
					  TYPALIGN_CHAR, &grants, NULL, &n);
	burned->burns = palloc(sizeof(Burn) * n);
	burned->n = n;
	deconstruct_array(DatumGetArrayTypeP(row_datum(0, amounts_column)), NUMERICOID, -1, false,
					  TYPALIGN_INT, &amounts, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		burned->burns[i].grant = *DatumGetUUIDP(grants[i]);
		burned->burns[i].amount = money_from_datum(amounts[i]);
	}
}

/*
 * Read the entry that a query found; false when it found none.
 */
static bool
record_from_row(LedgerRecord *record, uint64 found)
{
	if (found == 0)
		return false;
	record->account_id = row_uuid(0, 1);
	record->id = row_uuid(0, 2);
	record->type = (EntryType) row_word(0, 3, entry_types);
	record->amount = row_money(0, 4);
	record->balance_after = row_money(0, 5);
	record->has_reference = !row_is_null(0, 6);
	if (record->has_reference)
		record->reference = row_uuid(0, 6);
	record->shortfall = row_money(0, 7);
	record->lifetime_purchased = row_spend(0, 8);
	record->expires_at = row_time(0, 9);
	burned_from_row(&record->burned, 10, 11);
	record->model = row_text(0, 12);
	record->allowance_consumed = row_money(0, 13);
	record->cap_warning = (CapAction) row_word(0, 14, cap_actions);
	record->effective_at = row_time(0, 15);
	record->has_actor = !row_is_null(0, 16);
	if (record->has_actor)
		record->actor = row_uuid(0, 16);
	return true;
}

/*
 * ledger_queue_begin starts a queue of entries.
 */
void
ledger_queue_begin(LedgerQueue *queue)
{
	queue->key_is_new = false;
	records_begin(&queue->entries, queue_types);
}

/*
 * ledger_queue_write writes the entries of a queue.
 */
void
ledger_queue_write(LedgerQueue *queue)
{
	QueryArgs	args = {0};

	if (queue->entries.n == 0)
		return;
	args_records(&args, &queue->entries);
	if (query_run(&ledger_insert_many_query, &args, SPI_OK_INSERT) != queue->entries.n)
		row_missing("ledger");
	records_clear(&queue->entries);
}

/*
 * ledger_find_key finds the entry of a locked account that was booked under
 * an idempotency key, earlier in the same batch too.
 */
bool
ledger_find_key(const Account *acc, const char *key, LedgerRecord *record)
{
	QueryArgs	args = {0};

	if (acc->queue != NULL && acc->queue->key_is_new)
		return false;
	if (acc->queue != NULL)
		ledger_queue_write(acc->queue);
	args_uuid(&args, &acc->id);
	args_text(&args, key);
	return record_from_row(record, query_run(&ledger_key_query, &args, SPI_OK_SELECT));
}

/*
 * ledger_find_models reads what the lines of an entry are for. False: it has
 * none.
 */
bool
ledger_find_models(const pg_uuid_t *account, const pg_uuid_t *id, EntryModels *models)
{
	QueryArgs	args = {0};
	uint64		n;

	args_uuid(&args, account);
	args_uuid(&args, id);
	n = query_run(&ledger_models_query, &args, SPI_OK_SELECT);
	models->n = (int) n;
	models->models = palloc(sizeof(char *) * Max(n, 1));
	models->spend = palloc(sizeof(Money) * Max(n, 1));
	models->lines = palloc(sizeof(int32) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		models->models[i] = row_text(i, 1);
		models->spend[i] = row_money(i, 2);
		models->lines[i] = row_int4(i, 3);
	}
	return n > 0;
}

/*
 * ledger_has_usage tells whether an entry is the price of a usage, NULL for
 * none.
 */
bool
ledger_has_usage(const LedgerRecord *record, Jsonb *usage)
{
	QueryArgs	args = {0};

	args_uuid(&args, &record->account_id);
	args_uuid(&args, &record->id);
	args_jsonb(&args, usage);
	if (query_run(&ledger_usage_query, &args, SPI_OK_SELECT) != 1)
		row_missing("ledger");
	return row_bool(0, 1);
}

/*
 * ledger_find_id finds an entry by its transaction id: of an account, or with
 * NULL whosever it is.
 */
bool
ledger_find_id(const pg_uuid_t *id, const pg_uuid_t *account, LedgerRecord *record)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	if (account != NULL)
		args_uuid(&args, account);
	return record_from_row(record, query_run(account != NULL ? &ledger_own_id_query : &ledger_id_query, &args, SPI_OK_SELECT));
}

/*
 * transaction_missing returns the rejection of a transaction that is not
 * there, and tells which.
 */
Rejection
transaction_missing(const pg_uuid_t *id)
{
	return rejection_because(TRANSACTION_NOT_FOUND, "There is no transaction %s.", uuid_to_cstring(id));
}

/*
 * ledger_find_settlement finds the entry of a locked account that settled a
 * reservation, which was closed with it or before it.
 */
bool
ledger_find_settlement(const Account *acc, const pg_uuid_t *reservation, TimestampTz closed_at, LedgerRecord *record)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, ledger_seq_before(&acc->id, acc->last_seq, closed_at, false, false, false));
	args_uuid(&args, reservation);
	return record_from_row(record, query_run(&ledger_settlement_query, &args, SPI_OK_SELECT));
}

PG_FUNCTION_INFO_V1(ducto_ledger_refuse_change);

/*
 * Trigger: the ledger is append-only.
 */
Datum
ducto_ledger_refuse_change(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by trigger manager");
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the ledger is append-only"),
			 errdetail("Its entries are never updated, deleted or truncated."),
			 errhint("Book a correction with ducto_add_credits or ducto_refund.")));
	return (Datum) 0;
}
