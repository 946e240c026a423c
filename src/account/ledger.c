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
#include "base/bulk.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/keep.h"
#include "base/query.h"
#include "base/setting.h"
#include "base/uuid.h"
#include "base/uuidv7.h"
#include "base/value.h"
#include "base/xact.h"

/* The columns that the account's lock tells. */
#define LEDGER_PLACE_FIELDS(FIELD) \
	FIELD(23, id, uuid) \
	FIELD(24, seq, int8) \
	FIELD(25, balance_after, numeric) \
	FIELD(26, created_at, time) \
	FIELD(27, effective_at, time) \
	FIELD(28, xact, int8) \
	FIELD(29, digest, bytea)
#define LEDGER_FIELDS(FIELD)	LEDGER_OWN_FIELDS(FIELD) LEDGER_PLACE_FIELDS(FIELD)

#define LEDGER_INSERT_SQL \
	"INSERT INTO ducto.ledger (account_id" LEDGER_FIELDS(COLUMN_NAME) ") VALUES ($1" LEDGER_FIELDS(COLUMN_PARAM) ")"
#define LEDGER_TYPES	UUIDOID, LEDGER_FIELDS(COLUMN_TYPE)

/* The account's lock orders the entries; seq comes from its row. */
static KeptQuery ledger_insert_query = {.sql = LEDGER_INSERT_SQL, .types = {LEDGER_TYPES}};

/* The table's columns in its order, after the first: what is queued needs no other to be written. */
#define TABLE_FIELDS(FIELD) \
	FIELD(AT_seq, seq, int8) FIELD(AT_id, id, uuid) FIELD(AT_amount, amount, numeric) \
	FIELD(AT_balance_after, balance_after, numeric) FIELD(AT_type, type, text) \
	FIELD(AT_operation_type, operation_type, text) FIELD(AT_actor, actor, uuid) FIELD(AT_model, model, text) \
	FIELD(AT_idempotency_key, idempotency_key, text) FIELD(AT_reference, reference, uuid) \
	FIELD(AT_allowance_consumed, allowance_consumed, numeric) FIELD(AT_shortfall, shortfall, numeric) \
	FIELD(AT_cap_warning, cap_warning, text) FIELD(AT_burned_grants, burned_grants, uuids) \
	FIELD(AT_burned_amounts, burned_amounts, numerics) FIELD(AT_lifetime_purchased, lifetime_purchased, numeric) \
	FIELD(AT_expires_at, expires_at, time) FIELD(AT_priority, priority, int4) FIELD(AT_cycle_end, cycle_end, time) \
	FIELD(AT_exact_price, exact_price, numeric) FIELD(AT_pricing, pricing, jsonb) FIELD(AT_models, models, texts) \
	FIELD(AT_model_spend, model_spend, numerics) FIELD(AT_model_lines, model_lines, integers) \
	FIELD(AT_metadata, metadata, jsonb) FIELD(AT_created_at, created_at, time) FIELD(AT_effective_at, effective_at, time) \
	FIELD(AT_xact, xact, int8) FIELD(AT_digest, digest, bytea)

/* Where each is among the parameters, of which cycle_end is the last. */
#define COLUMN_AT(n, column, ...)	AT_##column = (n) - 1,

enum
{
	AT_account_id, LEDGER_FIELDS(COLUMN_AT) AT_cycle_end
};

#define COLUMN_PLACE(place, ...)	place,

/* The columns of queued entries. */
static const int queue_order[] = {AT_account_id, TABLE_FIELDS(COLUMN_PLACE)};
static const Oid queue_types[] = {UUIDOID, TABLE_FIELDS(COLUMN_TYPE) InvalidOid};
static const BulkColumn queue_columns[] = {{"account_id", UUIDOID}, TABLE_FIELDS(COLUMN_WRITTEN)};

StaticAssertDecl(lengthof(queue_order) == AT_cycle_end + 1, "an entry is queued with all of its columns");

/* As this, of many entries, whose accounts are locked and whose keys are new. */
static KeptQuery ledger_insert_many_query = {
	.sql = "INSERT INTO ducto.ledger (account_id" TABLE_FIELDS(COLUMN_NAME) ")"
	" SELECT * FROM unnest($1) AS e(account_id uuid" TABLE_FIELDS(COLUMN_OF_ROW) ")",
	.types = {RECORDARRAYOID}
};

/* Does nothing when the key is known, which is exact under the account's lock. */
static KeptQuery ledger_insert_once_query = {
	.sql = LEDGER_INSERT_SQL " ON CONFLICT (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING",
	.types = {LEDGER_TYPES}
};

/* What is read of an entry, as value.h has it, after its account and what it burned. */
#define LEDGER_READ_FIELDS(FIELD) \
	FIELD(4, id, uuid, id) \
	FIELD(5, type, type, type) \
	FIELD(6, amount, money, amount) \
	FIELD(7, balance_after, money, balance_after) \
	FIELD(8, shortfall, money, shortfall) \
	FIELD(9, lifetime_purchased, spend, lifetime_purchased) \
	FIELD(10, model, text, model) \
	FIELD(11, allowance_consumed, money, allowance_consumed) \
	FIELD(12, cap_warning, action, cap_warning) \
	FIELD(13, effective_at, time, effective_at) \
	FIELD(14, expires_at, end, expires_at) \
	FIELD(15, reference, uuid_or_null, reference) \
	FIELD(16, actor, uuid_or_null, actor)

#define LEDGER_READ_COLUMNS	"account_id, burned_grants, burned_amounts" LEDGER_READ_FIELDS(COLUMN_NAME)

enum
{
	READ_ACCOUNT = 1, READ_BURNED_GRANTS, READ_BURNED_AMOUNTS
};

/* Exact under the account's lock: a key is only ever added under it. */
static KeptQuery ledger_key_query = {
	.sql = "SELECT " LEDGER_READ_COLUMNS " FROM ducto.ledger WHERE account_id = $1 AND idempotency_key = $2",
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

enum
{
	MODELS_MODEL = 1, MODELS_SPEND, MODELS_LINES
};

static KeptQuery ledger_id_query = {
	.sql = "SELECT " LEDGER_READ_COLUMNS " FROM ducto.ledger WHERE id = $1",
	.types = {UUIDOID}
};

static KeptQuery ledger_own_id_query = {
	.sql = "SELECT " LEDGER_READ_COLUMNS " FROM ducto.ledger WHERE id = $1 AND account_id = $2",
	.types = {UUIDOID, UUIDOID}
};

static KeptQuery ledger_settlement_query = {
	.sql = "SELECT " LEDGER_READ_COLUMNS " FROM ducto.ledger WHERE account_id = $1 AND seq > $2 AND reference = $3 AND type = 'usage'"
	" ORDER BY seq LIMIT 1",
	.types = {UUIDOID, INT8OID, UUIDOID}
};

/*
 * Let the next value be that of a column.
 */
static QueryArgs *
column(QueryArgs *args, int place)
{
	args->n = place;
	return args;
}

/*
 * Put the columns of what an entry burned.
 */
static void
args_burned(QueryArgs *args, const BurnList *burned)
{
	pg_uuid_t  *grants = palloc(sizeof(pg_uuid_t) * burned->n);
	Money	   *amounts = palloc(sizeof(Money) * burned->n);

	for (int i = 0; i < burned->n; i++)
	{
		grants[i] = burned->burns[i].grant;
		amounts[i] = burned->burns[i].amount;
	}
	args_uuid_array(column(args, OWN_burned_grants), grants, burned->n);
	args_money_array(column(args, OWN_burned_amounts), amounts, burned->n);
}

/*
 * Put the columns of what an entry's lines are for.
 */
static void
args_models(QueryArgs *args, const EntryModels *models)
{
	void	  **names = palloc(sizeof(void *) * models->n);

	for (int i = 0; i < models->n; i++)
		names[i] = models->models[i] != NULL ? cstring_to_text(models->models[i]) : NULL;
	args_array(column(args, OWN_models), TEXTOID, names, models->n);
	args_money_array(column(args, OWN_model_spend), models->spend, models->n);
	args_int4_array(column(args, OWN_model_lines), models->lines, models->n);
}

/*
 * Append the columns that an entry's own digest is made of: those that it has,
 * and NULL for the others.
 */
static void
args_own(QueryArgs *args, const LedgerEntry *entry)
{
	memset(args->nulls, true, OWN_COLUMNS);
	args_uuid(column(args, OWN_account_id), &entry->account_id);
	args_money(column(args, OWN_amount), entry->amount);
	args_text(column(args, OWN_type), entry_types[entry->type]);
	args_text(column(args, OWN_operation_type), entry->operation_type);
	args_text(column(args, OWN_model), entry->model);
	args_text(column(args, OWN_idempotency_key), entry->idempotency_key);
	args_uuid(column(args, OWN_reference), entry->reference);
	if (entry->shortfall != 0)
		args_money(column(args, OWN_shortfall), entry->shortfall);
	if (entry->burned.n > 0)
		args_burned(args, &entry->burned);
	if (entry->is_credit)
		args_spend(column(args, OWN_lifetime_purchased), entry->lifetime_purchased);
	if (entry->makes_grant && !TIMESTAMP_NOT_FINITE(entry->expires_at))
		args_time(column(args, OWN_expires_at), entry->expires_at);
	if (entry->makes_grant)
		args_int4(column(args, OWN_priority), entry->priority);
	args_metadata(column(args, OWN_metadata), entry->metadata);
	args_money(column(args, OWN_allowance_consumed), entry->allowance_consumed);
	args_text(column(args, OWN_cap_warning), cap_actions[entry->cap_warning]);
	args_jsonb(column(args, OWN_pricing), entry->pricing);
	args_uuid(column(args, OWN_actor), entry->actor);
	if (entry->exact_price != NULL)
		args_datum(column(args, OWN_exact_price), NumericGetDatum(entry->exact_price));
	if (entry->models != NULL)
		args_models(args, entry->models);
	args->n = OWN_COLUMNS;
}

/*
 * Make the link of an entry of an amount, with the columns that are known.
 */
static ChainLink *
ledger_link_of(LedgerEntry *entry, Money amount)
{
	ChainLink  *link = palloc(sizeof(ChainLink));

	link->id = entry->id;
	entry->own->values[OWN_amount] = money_to_datum(amount);
	chain_own(entry->own->values, entry->own->nulls, link);
	return link;
}

/*
 * ledger_link gives the entry of a charge its id, and makes what a guarded
 * update of the account needs to chain it. What it burns is not known yet.
 */
void
ledger_link(const pg_uuid_t *account, LedgerEntry *entry, Charge *charge)
{
	entry->account_id = *account;
	entry->own = palloc0(sizeof(QueryArgs));
	uuidv7_make(&entry->id, clock_now());
	args_own(entry->own, entry);
	charge->link = ledger_link_of(entry, -charge->amount);
	if (charge->rest != 0)
		charge->raised_link = ledger_link_of(entry, -charge->amount - 1);
}

/*
 * Move the head of a locked account's chain to an entry, which has the columns
 * that its own digest is made of.
 */
static void
ledger_chain(Account *acc, const LedgerEntry *entry, const QueryArgs *own)
{
	ChainLink	link;
	ChainPlace	place = {.seq = entry->seq, .created_at = entry->created_at, .effective_at = entry->effective_at,
		.cycle_end = entry->is_gift ? entry->cycle_end : DT_NOBEGIN};

	link.id = entry->id;
	chain_own(own->values, own->nulls, &link);
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
 * Append an entry's place, in the order of LEDGER_PLACE_FIELDS, to the columns of
 * its own digest.
 */
static void
args_place(QueryArgs *args, Account *acc, const LedgerEntry *entry)
{
	Assert(args->n == OWN_COLUMNS);
	if (setting_chain() && !acc->linked)
		ledger_chain(acc, entry, args);
	args_uuid(args, &entry->id);
	args_int8(args, entry->seq);
	args_money(args, entry->balance_after);
	args_time(args, entry->created_at);
	args_time(args, entry->effective_at);
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
	Values		columns = {.n = lengthof(queue_order)};

	if (entry->is_gift)
		args_time(args, entry->cycle_end);
	else
		args_null(args);
	Assert(args->n == columns.n);
	for (int i = 0; i < columns.n; i++)
	{
		columns.values[i] = args->values[queue_order[i]];
		columns.nulls[i] = args->nulls[queue_order[i]];
	}
	records_add(&queue->entries, &columns);
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

	entry->account_id = acc->id;
	entry->created_at = ledger_time(acc);
	entry->effective_at = acc->now;
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
		args.values[OWN_amount] = money_to_datum(entry->amount);
	}
	else
		args_own(&args, entry);
	args_place(&args, acc, entry);
	if (acc->queue != NULL)
	{
		Assert(entry->models == NULL);
		queue_add(acc->queue, entry, &args);
		return true;
	}
	return query_run(entry->idempotency_key == NULL ? &ledger_insert_query : &ledger_insert_once_query,
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
	entry->account_id = acc->id;
	entry->created_at = ledger_time(acc);
	entry->effective_at = rolled->effective_at;
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
		args_own(&args, &entry);
		args_place(&args, acc, &entry);
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
 * Read the type of an entry.
 */
static EntryType
row_type(uint64 row, int column)
{
	return (EntryType) row_word(row, column, entry_types);
}

/*
 * Read the action of a cap, NULL for none.
 */
static CapAction
row_action(uint64 row, int column)
{
	return (CapAction) row_word(row, column, cap_actions);
}

/*
 * Read when credit expires, NULL for never.
 */
static TimestampTz
row_end(uint64 row, int column)
{
	return row_is_null(row, column) ? DT_NOEND : row_time(row, column);
}

#define FIELD_READ(n, column, kind, member)	entry->member = row_##kind(0, n);

/*
 * Read the entry that a query found; false when it found none.
 */
static bool
entry_from_row(LedgerEntry *entry, uint64 found)
{
	if (found == 0)
		return false;
	memset(entry, 0, sizeof(LedgerEntry));
	entry->account_id = row_uuid(0, READ_ACCOUNT);
	burned_from_row(&entry->burned, READ_BURNED_GRANTS, READ_BURNED_AMOUNTS);
	LEDGER_READ_FIELDS(FIELD_READ)
	return true;
}

/*
 * ledger_queue_begin starts a queue of entries.
 */
void
ledger_queue_begin(LedgerQueue *queue)
{
	queue->key_is_new = false;
	queue->events = NULL;
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
	if (queue->entries.n < BULK_LEAST || !bulk_write("ledger", queue_columns, &queue->entries))
	{
		args_records(&args, &queue->entries);
		if (query_run(&ledger_insert_many_query, &args, SPI_OK_INSERT) != queue->entries.n)
			row_missing("ledger");
	}
	records_clear(&queue->entries);
}

/*
 * ledger_find_key finds the entry of a locked account that was booked under
 * an idempotency key, earlier in the same batch too.
 */
bool
ledger_find_key(const Account *acc, const char *key, LedgerEntry *entry)
{
	QueryArgs	args = {0};

	if (acc->queue != NULL && acc->queue->key_is_new)
		return false;
	if (acc->queue != NULL)
		ledger_queue_write(acc->queue);
	args_uuid(&args, &acc->id);
	args_text(&args, key);
	return entry_from_row(entry, query_run(&ledger_key_query, &args, SPI_OK_SELECT));
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
		models->models[i] = row_text(i, MODELS_MODEL);
		models->spend[i] = row_money(i, MODELS_SPEND);
		models->lines[i] = row_int4(i, MODELS_LINES);
	}
	return n > 0;
}

/*
 * ledger_has_usage tells whether an entry is the price of a usage, NULL for
 * none.
 */
bool
ledger_has_usage(const LedgerEntry *entry, Jsonb *usage)
{
	QueryArgs	args = {0};

	args_uuid(&args, &entry->account_id);
	args_uuid(&args, &entry->id);
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
ledger_find_id(const pg_uuid_t *id, const pg_uuid_t *account, LedgerEntry *entry)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	if (account != NULL)
		args_uuid(&args, account);
	return entry_from_row(entry, query_run(account != NULL ? &ledger_own_id_query : &ledger_id_query, &args, SPI_OK_SELECT));
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
ledger_find_settlement(const Account *acc, const pg_uuid_t *reservation, TimestampTz closed_at, LedgerEntry *entry)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_int8(&args, ledger_seq_before(&acc->id, acc->last_seq, closed_at, false, false, false));
	args_uuid(&args, reservation);
	return entry_from_row(entry, query_run(&ledger_settlement_query, &args, SPI_OK_SELECT));
}

PG_FUNCTION_INFO_V1(ducto_ledger_refuse_change);

/*
 * Trigger: the ledger is append-only. What ducto truncates is elsewhere.
 */
Datum
ducto_ledger_refuse_change(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by trigger manager");
	if (!keep_is_emptying() || !TRIGGER_FIRED_BY_TRUNCATE(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the ledger is append-only"),
				 errdetail("Its entries are never updated, deleted or truncated."),
				 errhint("Book a correction with ducto_add_credits or ducto_refund.")));
	return PointerGetDatum(NULL);
}
