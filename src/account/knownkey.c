/*
 * knownkey.c
 *		Which of thousands of keys an account knows: lines, entries and deducts
 *		of 0 have them.
 *
 *		Most batches have none that is known, and many have keys that grow with
 *		time. So what is known between the least and the greatest is read first,
 *		up to some rows. Only where there is more each key is looked up, which
 *		costs a descent in the index for each: of lines, which are many, one for
 *		those alone that the pages of the index have.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "miscadmin.h"
#include "utils/varlena.h"

#include "account/knownkey.h"
#include "base/probe.h"
#include "base/query.h"

/* What may have a key, as the statements here number them. */
enum
{
	OF_LINE, OF_ENTRY, OF_CLOSED, KINDS
};

/* The columns of the rows of the statements here. */
enum
{
	COLUMN_KIND, COLUMN_KEY, COLUMN_AMOUNT, COLUMN_USAGE, COLUMN_TYPE
};

/* What is between keys in the order of a collation, whichever the column has by now. */
#define BETWEEN(least, greatest, collation)	"BETWEEN (" least " COLLATE " collation ") AND (" greatest " COLLATE " collation ")"
#define BETWEEN_LINES	BETWEEN("$2", "$3", "pg_catalog.\"C\"")
#define BETWEEN_OTHERS	BETWEEN("$4", "$5", "pg_catalog.\"default\"")

/* Exact under the account's lock, as all here: a key is only ever added under it. */
static KeptQuery between_query = {
	.sql = "(SELECT 0, key, amount, usage, NULL::text FROM ducto.usage_lines"
	"  WHERE account_id = $1 AND key " BETWEEN_LINES " LIMIT 1)"
	" UNION ALL (SELECT 1, idempotency_key, NULL, NULL, type FROM ducto.ledger"
	"  WHERE account_id = $1 AND idempotency_key " BETWEEN_OTHERS " LIMIT $6)"
	" UNION ALL (SELECT 2, closing_key, NULL, NULL, NULL FROM ducto.reservations"
	"  WHERE account_id = $1 AND closing_key " BETWEEN_OTHERS " LIMIT $6)",
	.types = {UUIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID}
};

/*
 * OFFSET 0 lets each key be looked up in the index, however few rows there were
 * when it was planned.
 */
static KeptQuery each_query[KINDS] = {
	{
		.sql = "SELECT 0, k.key, l.amount, l.usage, NULL::text FROM unnest($2) AS k(key), LATERAL (SELECT amount, usage"
		" FROM ducto.usage_lines WHERE account_id = $1 AND key = k.key OFFSET 0) l",
		.types = {UUIDOID, TEXTARRAYOID}
	},
	{
		.sql = "SELECT 1, k.key, NULL::numeric, NULL::jsonb, e.type FROM unnest($2) AS k(key), LATERAL (SELECT type"
		" FROM ducto.ledger WHERE account_id = $1 AND idempotency_key = k.key OFFSET 0) e",
		.types = {UUIDOID, TEXTARRAYOID}
	},
	{
		.sql = "SELECT 2, k.key, NULL::numeric, NULL::jsonb, NULL::text FROM unnest($2) AS k(key), LATERAL (SELECT"
		" FROM ducto.reservations WHERE account_id = $1 AND closing_key = k.key OFFSET 0) r",
		.types = {UUIDOID, TEXTARRAYOID}
	},
};

/* A key, and its number among those that were asked for. */
typedef struct LineKey
{
	const char *key;
	int			n;
} LineKey;

/*
 * Compare keys, the same by their numbers.
 */
static inline int
key_order(const LineKey *a, const LineKey *b)
{
	int			order = strcmp(a->key, b->key);

	return order != 0 ? order : a->n - b->n;
}

#define ST_SORT			line_keys_sort
#define ST_ELEMENT_TYPE	LineKey
#define ST_COMPARE(a, b)	key_order(a, b)
#define ST_CHECK_FOR_INTERRUPTS
#define ST_SCOPE		static
#define ST_DEFINE
#include "lib/sort_template.h"

/* What is looked up, and whom it is told. */
typedef struct Lookup
{
	const pg_uuid_t *account;
	LineKey    *keys;			/* in the order of their bytes */
	int			n;
	const char **distinct;		/* each of them once */
	int			ndistinct;
	int64		read[KINDS];	/* rows */
	KnownKeyReader reader;
	void	   *state;
} Lookup;

/*
 * Return the place of the first key that is not less than one.
 */
static int
place_of(const Lookup *lookup, const char *key)
{
	int			from = 0;
	int			to = lookup->n;

	while (from < to)
	{
		int			middle = (from + to) / 2;

		if (strcmp(lookup->keys[middle].key, key) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/*
 * Read what a row of the statements here tells of a key, which may not be one
 * that was asked for.
 */
static bool
read_known(TupleTableSlot *slot, void *state)
{
	Lookup	   *lookup = state;
	KnownKey	known = {0};
	int			kind;
	char	   *key;

	slot_getallattrs(slot);
	kind = DatumGetInt32(slot->tts_values[COLUMN_KIND]);
	key = TextDatumGetCString(slot->tts_values[COLUMN_KEY]);
	known.line = kind == OF_LINE;
	if (known.line)
		known.amount = DatumGetNumeric(slot->tts_values[COLUMN_AMOUNT]);
	if (known.line && !slot->tts_isnull[COLUMN_USAGE])
		known.usage = DatumGetJsonbP(slot->tts_values[COLUMN_USAGE]);
	if (kind == OF_ENTRY)
		known.type = (EntryType) word_find(entry_types, TextDatumGetCString(slot->tts_values[COLUMN_TYPE]));
	known.closed = kind == OF_CLOSED;
	lookup->read[kind]++;
	for (int i = place_of(lookup, key); i < lookup->n && strcmp(lookup->keys[i].key, key) == 0; i++)
		lookup->reader(lookup->keys[i].n, &known, lookup->state);
	return true;
}

/*
 * Sort the keys that are not NULL, and tell those that come again.
 */
static void
lookup_begin(Lookup *lookup, char *const *keys, int n)
{
	const KnownKey twice = {.twice = true};

	lookup->keys = palloc(sizeof(LineKey) * Max(n, 1));
	lookup->distinct = palloc(sizeof(char *) * Max(n, 1));
	for (int i = 0; i < n; i++)
		if (keys[i] != NULL)
			lookup->keys[lookup->n++] = (LineKey) {keys[i], i};
	line_keys_sort(lookup->keys, lookup->n);
	for (int i = 0; i < lookup->n; i++)
	{
		if (i == 0 || strcmp(lookup->keys[i - 1].key, lookup->keys[i].key) != 0)
			lookup->distinct[lookup->ndistinct++] = lookup->keys[i].key;
		else
			lookup->reader(lookup->keys[i].n, &twice, lookup->state);
	}
}

/*
 * Find the least and the greatest key in the order that the ledger and the
 * reservations have.
 */
static void
keys_ends(const Lookup *lookup, const char **least, const char **greatest)
{
	*least = *greatest = lookup->distinct[0];
	for (int i = 1; i < lookup->ndistinct; i++)
	{
		const char *key = lookup->distinct[i];
		int			len = (int) strlen(key);

		if (varstr_cmp(key, len, *least, (int) strlen(*least), DEFAULT_COLLATION_OID) < 0)
			*least = key;
		if (varstr_cmp(key, len, *greatest, (int) strlen(*greatest), DEFAULT_COLLATION_OID) > 0)
			*greatest = key;
	}
}

/*
 * Read what is known between the keys: whether there is a line, and up to some
 * rows of the other kinds.
 */
static void
lookup_between(Lookup *lookup, int64 rows)
{
	const char *least;
	const char *greatest;
	QueryArgs	args = {0};

	keys_ends(lookup, &least, &greatest);
	args_uuid(&args, lookup->account);
	args_text(&args, lookup->distinct[0]);
	args_text(&args, lookup->distinct[lookup->ndistinct - 1]);
	args_text(&args, least);
	args_text(&args, greatest);
	args_int8(&args, rows);
	query_each(&between_query, &args, false, read_known, lookup);
}

/*
 * Look up each of some keys among those of a kind.
 */
static void
lookup_each(Lookup *lookup, int kind, const char *const *keys, int n)
{
	QueryArgs	args = {0};

	args_uuid(&args, lookup->account);
	args_text_array(&args, keys, n);
	query_each(&each_query[kind], &args, false, read_known, lookup);
}

/*
 * Look up the keys among those of lines.
 */
static void
lookup_lines(Lookup *lookup)
{
	static const char *const columns[] = {"account_id", "key"};
	ProbeKey   *keys = palloc0(sizeof(ProbeKey) * lookup->ndistinct);
	const char **possible = palloc(sizeof(char *) * lookup->ndistinct);
	int			n = 0;

	for (int i = 0; i < lookup->ndistinct; i++)
	{
		keys[i].first = lookup->account;
		keys[i].text = lookup->distinct[i];
		keys[i].len = (int) strlen(keys[i].text);
	}
	if (!probe_keys("usage_lines", columns, keys, lookup->ndistinct))
	{
		lookup_each(lookup, OF_LINE, lookup->distinct, lookup->ndistinct);
		return;
	}
	for (int i = 0; i < lookup->ndistinct; i++)
		if (keys[i].possible)
			possible[n++] = keys[i].text;
	if (n > 0)
		lookup_each(lookup, OF_LINE, possible, n);
}

/* Rows are read where they are no more than a part of the keys: a row costs as much as a descent, or half of it. */
#define BETWEEN_PART	8

/*
 * keys_find_known gives a reader those of some keys, of which some are NULL,
 * that a locked account knows, or that come again.
 */
void
keys_find_known(const pg_uuid_t *account, char *const *keys, int n, KnownKeyReader reader, void *state)
{
	Lookup		lookup = {.account = account, .reader = reader, .state = state};
	int64		rows;

	lookup_begin(&lookup, keys, n);
	if (lookup.n == 0)
		return;
	rows = 1 + lookup.ndistinct / BETWEEN_PART;
	lookup_between(&lookup, rows);
	if (lookup.read[OF_LINE] > 0)
		lookup_lines(&lookup);
	for (int kind = OF_ENTRY; kind < KINDS; kind++)
		if (lookup.read[kind] == rows)
			lookup_each(&lookup, kind, lookup.distinct, lookup.ndistinct);
}
