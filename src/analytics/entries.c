/*
 * entries.c
 *		The entries of the ledger that a rollup takes in, and those that are not
 *		rolled up yet: what each of them counts in.
 */
#include "postgres.h"

#include "executor/tuptable.h"
#include "utils/array.h"

#include "analytics/rollup.h"
#include "base/period.h"

#define DEFAULT_MODEL	"unknown"

/* Who used what, from the first of these on; what an entry has before them, and one of usage. */
#define WHO_AND_WHAT	"coalesce(actor, account_id), model, models, model_spend, model_lines"

enum
{
	WHO_USER, WHO_MODEL, WHO_MODELS, WHO_MODEL_SPEND, WHO_MODEL_LINES
};

enum
{
	ENTRY_TYPE, ENTRY_AMOUNT, ENTRY_CREATED_AT, ENTRY_XACT, ENTRY_BURNED, ENTRY_ALLOWANCE, ENTRY_WHO
};

enum
{
	USAGE_AMOUNT, USAGE_CREATED_AT, USAGE_XACT, USAGE_WHO
};

#define ENTRIES_OF_WINDOW \
	"SELECT type, amount, created_at, xact, burned_amounts, allowance_consumed, " WHO_AND_WHAT \
	" FROM ducto.ledger WHERE xact >= $1 AND xact <= $2 AND created_at >= $3 AND created_at <= $4"

static KeptQuery entries_query = {
	.sql = ENTRIES_OF_WINDOW,
	.types = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

#define USAGE_COLUMNS \
	"SELECT amount, created_at, xact, " WHO_AND_WHAT \
	" FROM ducto.ledger WHERE type = 'usage'"

static KeptQuery usage_entries_query = {
	.sql = USAGE_COLUMNS " AND xact >= $1 AND xact <= $2 AND created_at >= $3 AND created_at <= $4",
	.types = {INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* Of all transactions: where nothing is rolled up. */
static KeptQuery all_usage_query = {
	.sql = USAGE_COLUMNS " AND created_at >= $1 AND created_at <= $2",
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID},
	.whole = true
};

/* What a row of the ledger goes to. */
typedef struct EntryTarget
{
	EntryReader reader;
	void	   *state;
} EntryTarget;

/*
 * Tell whether entries are of a type.
 */
static bool
type_is(const BookKey *key, const char *type)
{
	return key->length == strlen(type) && memcmp(key->type, type, key->length) == 0;
}

/*
 * Return what an entry took from grants: part of a debit, all of what expired;
 * negative for what it gave back to them.
 */
static Spend
from_grants(const BookKey *key, Money amount, Datum burned, bool burned_is_null)
{
	Spend		sum = 0;
	Datum	   *elements;
	int			n;

	if (type_is(key, "expiry"))
		return -amount;
	if (burned_is_null)
		return 0;
	deconstruct_array(DatumGetArrayTypeP(burned), NUMERICOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	for (int i = 0; i < n; i++)
		sum += money_from_datum(elements[i]);
	return amount > 0 ? -sum : sum;
}

/*
 * Read who used what model, or models, into an entry, from a column of its row
 * and the next ones.
 */
static void
read_usage(TupleTableSlot *slot, int column, RolledEntry *entry)
{
	entry->user = *DatumGetUUIDP(slot->tts_values[column + WHO_USER]);
	entry->model = DEFAULT_MODEL;
	entry->model_length = strlen(DEFAULT_MODEL);
	if (!slot->tts_isnull[column + WHO_MODEL])
	{
		text	   *model = DatumGetTextPP(slot->tts_values[column + WHO_MODEL]);

		entry->model = VARDATA_ANY(model);
		entry->model_length = VARSIZE_ANY_EXHDR(model);
	}
	entry->has_lines = !slot->tts_isnull[column + WHO_MODELS];
	entry->models = slot->tts_values[column + WHO_MODELS];
	entry->model_spend = slot->tts_values[column + WHO_MODEL_SPEND];
	entry->model_lines = slot->tts_values[column + WHO_MODEL_LINES];
}

/*
 * Give a row of the ledger to its reader.
 */
static bool
read_entry(TupleTableSlot *slot, void *state)
{
	EntryTarget *target = state;
	RolledEntry entry;
	text	   *type;
	Money		amount;

	slot_getallattrs(slot);
	type = DatumGetTextPP(slot->tts_values[ENTRY_TYPE]);
	amount = money_from_datum(slot->tts_values[ENTRY_AMOUNT]);
	entry.created_at = DatumGetTimestampTz(slot->tts_values[ENTRY_CREATED_AT]);
	entry.xact = DatumGetInt64(slot->tts_values[ENTRY_XACT]);
	entry.book.key = (BookKey) {period_day(entry.created_at), VARSIZE_ANY_EXHDR(type), VARDATA_ANY(type)};
	entry.book.entries = 1;
	entry.book.amount = amount;
	entry.book.from_grants = from_grants(&entry.book.key, amount, slot->tts_values[ENTRY_BURNED], slot->tts_isnull[ENTRY_BURNED]);
	entry.book.allowance = money_from_datum(slot->tts_values[ENTRY_ALLOWANCE]);
	entry.usage = type_is(&entry.book.key, "usage");
	read_usage(slot, ENTRY_WHO, &entry);
	target->reader(&entry, target->state);
	return true;
}

/*
 * Give a row of USAGE_COLUMNS to its reader; of the book it has the amount.
 */
static bool
read_usage_entry(TupleTableSlot *slot, void *state)
{
	EntryTarget *target = state;
	RolledEntry entry = {.usage = true};

	slot_getallattrs(slot);
	entry.book.amount = money_from_datum(slot->tts_values[USAGE_AMOUNT]);
	entry.created_at = DatumGetTimestampTz(slot->tts_values[USAGE_CREATED_AT]);
	entry.xact = DatumGetInt64(slot->tts_values[USAGE_XACT]);
	read_usage(slot, USAGE_WHO, &entry);
	target->reader(&entry, target->state);
	return true;
}

/*
 * Add an entry that has lines to the sums that these count in.
 */
static void
rolled_lines_add(const RolledEntry *entry, UsageSums *sums)
{
	Datum	   *models;
	Datum	   *spend;
	Datum	   *lines;
	bool	   *unknown;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(entry->models), TEXTOID, -1, false, TYPALIGN_INT, &models, &unknown, &n);
	deconstruct_array(DatumGetArrayTypeP(entry->model_spend), NUMERICOID, -1, false, TYPALIGN_INT, &spend, NULL, &n);
	deconstruct_array(DatumGetArrayTypeP(entry->model_lines), INT4OID, sizeof(int32), true, TYPALIGN_INT, &lines, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		text	   *model = unknown[i] ? NULL : DatumGetTextPP(models[i]);

		usage_sums_add(sums, entry->created_at, &entry->user, model == NULL ? DEFAULT_MODEL : VARDATA_ANY(model),
					   model == NULL ? (int) strlen(DEFAULT_MODEL) : (int) VARSIZE_ANY_EXHDR(model),
					   money_from_datum(spend[i]), DatumGetInt32(lines[i]));
	}
}

/*
 * rolled_entry_add adds an entry to the sums that it counts in.
 */
void
rolled_entry_add(const RolledEntry *entry, UsageSums *sums)
{
	if (entry->usage && entry->has_lines)
		rolled_lines_add(entry, sums);
	else if (entry->usage)
		usage_sums_add(sums, entry->created_at, &entry->user, entry->model, entry->model_length,
					   -(Money) entry->book.amount, 1);
	if (usage_sums_books(sums) != NULL)
		book_sums_add(usage_sums_books(sums), &entry->book);
}

/*
 * rollup_read_ledger gives a reader the entries of transactions and of a time,
 * both ends included, all or usage only, and returns how many they were. They
 * are read by the index of their transactions.
 */
uint64
rollup_read_ledger(const XactRange *xacts, TimestampTz from, TimestampTz to, bool usage_only, bool read_only,
				   EntryReader reader, void *state)
{
	EntryTarget target = {reader, state};
	QueryArgs	args = {0};

	args_int8(&args, xacts->first);
	args_int8(&args, xacts->last);
	args_time(&args, from);
	args_time(&args, to);
	return query_each(usage_only ? &usage_entries_query : &entries_query, &args, read_only,
					  usage_only ? read_usage_entry : read_entry, &target);
}

/*
 * rollup_read_usage gives a reader the usage entries of a time, whatever their
 * transactions.
 */
void
rollup_read_usage(TimestampTz from, TimestampTz to, EntryReader reader, void *state)
{
	EntryTarget target = {reader, state};
	QueryArgs	args = {0};

	args_time(&args, from);
	args_time(&args, to);
	(void) query_each(&all_usage_query, &args, true, read_usage_entry, &target);
}
