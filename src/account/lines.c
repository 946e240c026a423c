/*
 * lines.c
 *		The table usage_lines: many debits that are one entry of the ledger.
 */
#include "postgres.h"

#include "commands/trigger.h"

#include "account/claim.h"
#include "account/lines.h"
#include "base/bulk.h"
#include "base/keep.h"
#include "base/query.h"
#include "base/records.h"
#include "base/uuid.h"

PG_FUNCTION_INFO_V1(ducto_lines_refuse_change);

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

/* The columns of a line there, and of the table. */
static const Oid line_types[] = {INT4OID, TEXTOID, NUMERICOID, TEXTOID, JSONBOID, JSONBOID, InvalidOid};
static const BulkColumn line_columns[] = {
	{"account_id", UUIDOID}, {"entry", UUIDOID}, {"line", INT4OID}, {"key", TEXTOID},
	{"amount", NUMERICOID}, {"model", TEXTOID}, {"usage", JSONBOID}, {"metadata", JSONBOID}
};

/* Lines that are written. */
typedef struct LineRows
{
	const pg_uuid_t *account;
	const pg_uuid_t *entry;
	UsageLine  *const *lines;
	int			n;
} LineRows;

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
 * Append what a line has of its own. One without a key gets one that no other
 * has: its entry's id and its number.
 */
static void
args_line(QueryArgs *args, const LineRows *rows, int i)
{
	const UsageLine *line = rows->lines[i];

	args_int4(args, i + 1);
	args_text(args, line->key != NULL ? line->key : psprintf("%s/%d", uuid_to_cstring(rows->entry), i + 1));
	args_datum(args, NumericGetDatum(line->amount));
	args_text(args, line->model);
	args_jsonb(args, line->usage);
	args_jsonb(args, line->metadata);
}

/*
 * Write lines together. False: the table has to be written by a statement.
 */
static bool
lines_write(const LineRows *rows)
{
	Bulk		bulk;

	if (!bulk_begin(&bulk, "usage_lines", line_columns, lengthof(line_columns)))
		return false;
	for (int i = 0; i < rows->n; i++)
	{
		QueryArgs	row = {0};

		args_uuid(&row, rows->account);
		args_uuid(&row, rows->entry);
		args_line(&row, rows, i);
		bulk_add(&bulk, &row);
	}
	bulk_end(&bulk);
	return true;
}

/*
 * Write lines by a statement.
 */
static void
lines_write_by_query(const LineRows *rows)
{
	Records		records;
	QueryArgs	args = {0};

	records_begin(&records, line_types);
	for (int i = 0; i < rows->n; i++)
	{
		QueryArgs	row = {0};

		args_line(&row, rows, i);
		records_add(&records, &row);
	}
	args_uuid(&args, rows->account);
	args_uuid(&args, rows->entry);
	args_records(&args, &records);
	if (query_run(&insert_query, &args, SPI_OK_INSERT) != rows->n)
		row_missing("usage_lines");
}

/*
 * lines_insert writes the lines of an entry of a locked account, whose keys are
 * new, and numbers them.
 */
void
lines_insert(const pg_uuid_t *account, const pg_uuid_t *entry, UsageLine *const *lines, int n)
{
	LineRows	rows = {account, entry, lines, n};

	if (!lines_write(&rows))
		lines_write_by_query(&rows);
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
