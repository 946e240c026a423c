/*
 * lines.c
 *		The table usage_lines: many debits that are one entry of the ledger.
 */
#include "postgres.h"

#include "commands/trigger.h"

#include "account/claim.h"
#include "account/lines.h"
#include "base/keep.h"
#include "base/query.h"
#include "base/records.h"
#include "base/uuid.h"

PG_FUNCTION_INFO_V1(ducto_lines_refuse_change);

/*
 * Exact under the account's lock: a key is only ever added under it. OFFSET 0
 * keeps the planner from a join of whole tables: each key is looked up by its
 * index, however many lines there are. Whether there are deducts of 0 with a
 * key at all is asked once.
 */
static KeptQuery keys_query = {
	.sql = "SELECT k.n, l.amount, l.usage, e.type, r.closed FROM unnest($2) WITH ORDINALITY AS k(key, n)"
	" LEFT JOIN LATERAL (SELECT amount, usage FROM ducto.usage_lines"
	"  WHERE account_id = $1 AND key = k.key OFFSET 0) l ON true"
	" LEFT JOIN LATERAL (SELECT type FROM ducto.ledger WHERE account_id = $1 AND idempotency_key = k.key OFFSET 0) e ON true"
	" LEFT JOIN LATERAL (SELECT true AS closed FROM ducto.reservations"
	"  WHERE (SELECT EXISTS (SELECT FROM ducto.reservations WHERE account_id = $1 AND closing_key IS NOT NULL))"
	"  AND account_id = $1 AND closing_key = k.key OFFSET 0) r ON true"
	" WHERE l.amount IS NOT NULL OR e.type IS NOT NULL OR r.closed",
	.types = {UUIDOID, TEXTARRAYOID}
};

/* Where its rows have what is known of a key, the first of which is 1. */
enum
{
	KEY_NUMBER, KEY_LINE_AMOUNT, KEY_LINE_USAGE, KEY_ENTRY_TYPE, KEY_CLOSED
};

static KeptQuery key_query = {
	.sql = "SELECT entry, line FROM ducto.usage_lines WHERE account_id = $1 AND key = $2",
	.types = {UUIDOID, TEXTOID}
};

/* The keys were looked up under the account's lock, so none is there. */
static KeptQuery insert_query = {
	.sql = "INSERT INTO ducto.usage_lines (account_id, entry, line, key, amount, model, usage, metadata)"
	" SELECT $1, $2, l.line, l.key, l.amount, l.model, l.usage, l.metadata FROM unnest($3)"
	" AS l(line integer, key text, amount numeric, model text, usage jsonb, metadata jsonb)",
	.types = {UUIDOID, UUIDOID, RECORDARRAYOID}
};

/* The columns of a line. */
static const Oid line_types[] = {INT4OID, TEXTOID, NUMERICOID, TEXTOID, JSONBOID, JSONBOID, InvalidOid};

/* Whom the rows of keys_query go to. */
typedef struct KeyTarget
{
	KnownKeyReader reader;
	void	   *state;
} KeyTarget;

/*
 * Return a text for an array, NULL for NULL.
 */
static text *
text_or_null(const char *value)
{
	return value != NULL ? cstring_to_text(value) : NULL;
}

/*
 * Give a row of keys_query to its reader.
 */
static bool
read_key(TupleTableSlot *slot, void *state)
{
	KeyTarget  *target = state;
	KnownKey	known = {0};

	slot_getallattrs(slot);
	known.line = !slot->tts_isnull[KEY_LINE_AMOUNT];
	if (known.line)
		known.amount = DatumGetNumeric(slot->tts_values[KEY_LINE_AMOUNT]);
	if (!slot->tts_isnull[KEY_LINE_USAGE])
		known.usage = DatumGetJsonbP(slot->tts_values[KEY_LINE_USAGE]);
	if (!slot->tts_isnull[KEY_ENTRY_TYPE])
		known.type = (EntryType) word_find(entry_types, TextDatumGetCString(slot->tts_values[KEY_ENTRY_TYPE]));
	known.closed = !slot->tts_isnull[KEY_CLOSED];
	target->reader((int) DatumGetInt64(slot->tts_values[KEY_NUMBER]) - 1, &known, target->state);
	return true;
}

/*
 * lines_find_keys gives a reader those of some keys, of which some are NULL,
 * that a locked account knows.
 */
void
lines_find_keys(const pg_uuid_t *account, char *const *keys, int n, KnownKeyReader reader, void *state)
{
	KeyTarget	target = {reader, state};
	void	  **texts = palloc(sizeof(void *) * Max(n, 1));
	QueryArgs	args = {0};

	for (int i = 0; i < n; i++)
		texts[i] = text_or_null(keys[i]);
	args_uuid(&args, account);
	args_array(&args, TEXTOID, texts, n);
	query_each(&keys_query, &args, false, read_key, &target);
}

/*
 * line_find finds the line of an account that has a key, in the snapshot of
 * the calling statement.
 */
bool
line_find(const pg_uuid_t *account, const char *key, pg_uuid_t *entry, int *line)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_text(&args, key);
	if (query_read(&key_query, &args) == 0)
		return false;
	*entry = row_uuid(0, 1);
	*line = row_int4(0, 2);
	return true;
}

/*
 * line_has_key tells whether a line of a locked account has a key.
 */
bool
line_has_key(const pg_uuid_t *account, const char *key)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_text(&args, key);
	return query_run(&key_query, &args, SPI_OK_SELECT) > 0;
}

/*
 * Add a line to rows. One without a key gets one that no other has: its entry's
 * id and its number.
 */
static void
records_add_line(Records *rows, const char *entry, int number, const UsageLine *line)
{
	QueryArgs	args = {0};

	args_int4(&args, number);
	args_text(&args, line->key != NULL ? line->key : psprintf("%s/%d", entry, number));
	args_datum(&args, NumericGetDatum(line->amount));
	args_text(&args, line->model);
	args_jsonb(&args, line->usage);
	args_jsonb(&args, line->metadata);
	records_add(rows, &args);
}

/*
 * lines_insert writes the lines of an entry of a locked account, whose keys are
 * new, and numbers them.
 */
void
lines_insert(const pg_uuid_t *account, const pg_uuid_t *entry, UsageLine *const *lines, int n)
{
	char	   *id = uuid_to_cstring(entry);
	Records		rows;
	QueryArgs	args = {0};

	records_begin(&rows, line_types);
	for (int i = 0; i < n; i++)
		records_add_line(&rows, id, i + 1, lines[i]);
	args_uuid(&args, account);
	args_uuid(&args, entry);
	args_records(&args, &rows);
	if (query_run(&insert_query, &args, SPI_OK_INSERT) != n)
		row_missing("usage_lines");
}

/*
 * Trigger: lines are append-only, as the ledger.
 */
Datum
ducto_lines_refuse_change(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by trigger manager");
	if (!keep_is_emptying() || !TRIGGER_FIRED_BY_TRUNCATE(((TriggerData *) fcinfo->context)->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the lines of the ledger are append-only"),
				 errdetail("They are never updated, deleted or truncated."),
				 errhint("Book a correction with ducto_add_credits or ducto_refund.")));
	return PointerGetDatum(NULL);
}
