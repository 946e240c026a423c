/*
 * keptcap.c
 *		Spend caps that a batch keeps: they are read together, count in
 *		memory, and are written by one statement for those that counted only, and
 *		one for those whose windows are others by then. Caps change under the
 *		account's lock only, so each is still at the place in the table where it
 *		was read, and is found there.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"
#include "storage/itemptr.h"

#include "account/cap.h"
#include "account/claim.h"
#include "account/keptcap.h"
#include "base/query.h"
#include "base/records.h"

/* Those of an account of a batch, whose lock the caller has, or of all of its accounts. */
static KeptQuery caps_select_query = {
	.sql = "SELECT " CAP_COLUMNS " FROM ducto.spend_caps WHERE account_id = $1",
	.types = {UUIDOID}
};
static KeptQuery caps_select_many_query = {
	.sql = "SELECT " CAP_COLUMNS ", ctid FROM ducto.spend_caps WHERE account_id = ANY ($1) ORDER BY account_id",
	.types = {UUIDARRAYOID}
};

enum
{
	PLACE_COLUMN = CAP_BUCKETS_COLUMN + 1
};

/* What is written of a cap, by whether it only counted. The caller has the accounts' locks since it read the caps. */
#define CAP_COUNT_SQL(n)	"UPDATE ducto.spend_caps c SET spent = " n(2, spent) ", held = " n(3, held)
#define CAP_TURN_SQL(n) \
	CAP_COUNT_SQL(n) ", window_from = " n(4, window_from) ", window_until = " n(5, window_until) ", buckets = " n(6, buckets)
#define CAP_PARAM(n, column)	"$" #n
#define CAP_OF_ROW(n, column)	"v." #column

static KeptQuery caps_write_query[] = {
	[false] = {.sql = CAP_TURN_SQL(CAP_PARAM) " WHERE ctid = $1",
	.types = {TIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID, NUMERICARRAYOID}},
	[true] = {.sql = CAP_COUNT_SQL(CAP_PARAM) " WHERE ctid = $1", .types = {TIDOID, NUMERICOID, NUMERICOID}}
};

static KeptQuery caps_write_many_query[] = {
	[false] = {.sql = CAP_TURN_SQL(CAP_OF_ROW) " FROM unnest($1) AS v(place tid, spent numeric, held numeric,"
	" window_from timestamptz, window_until timestamptz, buckets numeric[]) WHERE c.ctid = v.place",
	.types = {RECORDARRAYOID}},
	[true] = {.sql = CAP_COUNT_SQL(CAP_OF_ROW) " FROM unnest($1) AS v(place tid, spent numeric, held numeric)"
	" WHERE c.ctid = v.place",
	.types = {RECORDARRAYOID}}
};

/* A cap as it was read. */
typedef struct KeptCap
{
	ItemPointerData place;
	TimestampTz from;
	TimestampTz until;
} KeptCap;

/* A cap that is to be written. */
typedef struct CapRow
{
	const Cap  *cap;
	KeptCap    *kept;
} CapRow;

/*
 * caps_can_be_kept tells whether a batch can keep caps: on a cluster they are
 * written one by one.
 */
bool
caps_can_be_kept(void)
{
	return !query_distributed(&caps_select_many_query);
}

/* Caps that are being read. */
typedef struct Keeping
{
	Account   **accs;			/* those that have any, in the order of their ids, */
	int			naccs;
	CapList    *lists;			/* and what each has */
	int			n;				/* of all of them */
	int			room;
	Cap		   *caps;
	KeptCap    *kept;
	MemoryContext context;		/* of all of this */
} Keeping;

/*
 * Make room for one more cap.
 */
static void
caps_make_room(Keeping *keeping)
{
	if (keeping->n < keeping->room)
		return;
	keeping->room *= 2;
	keeping->caps = repalloc_huge(keeping->caps, sizeof(Cap) * keeping->room);
	keeping->kept = repalloc_huge(keeping->kept, sizeof(KeptCap) * keeping->room);
}

/*
 * Take the cap in a row, the next of those of an account.
 */
static void
cap_take(Keeping *keeping, int account, uint64 row, ItemPointer place)
{
	MemoryContext previous = MemoryContextSwitchTo(keeping->context);
	Cap		   *cap;

	caps_make_room(keeping);
	cap = &keeping->caps[keeping->n];
	cap_from_row(cap, row);
	keeping->kept[keeping->n++] = (KeptCap) {.place = *place, .from = cap->from, .until = cap->until};
	keeping->lists[account].n++;
	MemoryContextSwitchTo(previous);
}

/*
 * Have the id of an account whose caps are read.
 */
static void
args_id_of(QueryArgs *args, int i, const void *state)
{
	args_uuid(args, &((const Keeping *) state)->accs[i]->id);
}

/*
 * Take a cap that was found.
 */
static void
cap_found(int i, ItemPointer place, void *state)
{
	cap_take(state, i, 0, place);
}

/*
 * Read the caps of all accounts by one statement.
 */
static void
caps_read_together(Keeping *keeping)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * keeping->naccs);
	QueryArgs	args = {0};
	uint64		found;
	int			account = 0;

	for (int i = 0; i < keeping->naccs; i++)
		ids[i] = keeping->accs[i]->id;
	args_uuid_array(&args, ids, keeping->naccs);
	found = query_run(&caps_select_many_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < found; row++)
	{
		while (memcmp(DatumGetUUIDP(row_datum(row, CAP_ACCOUNT_COLUMN)), &ids[account], UUID_LEN) != 0)
			account++;
		cap_take(keeping, account, row, (ItemPointer) DatumGetPointer(row_datum(row, PLACE_COLUMN)));
	}
	rows_free();
}

/*
 * caps_keep reads the caps of accounts of a batch, locked and rolled forward,
 * together. From then on their counters move in memory, until caps_write.
 */
void
caps_keep(Account *accs, int n)
{
	Keeping		keeping = {.accs = palloc(sizeof(Account *) * Max(n, 1)), .context = CurrentMemoryContext};
	QueryEach	each = {.args = args_id_of, .found = cap_found, .state = &keeping};
	int			given = 0;

	for (int i = 0; i < n; i++)
		if (accs[i].caps > 0)
		{
			keeping.accs[keeping.naccs++] = &accs[i];
			keeping.room += accs[i].caps;
		}
	if (keeping.naccs == 0)
		return;
	keeping.lists = palloc0(sizeof(CapList) * keeping.naccs);
	keeping.caps = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Cap) * keeping.room);
	keeping.kept = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(KeptCap) * keeping.room);
	each.n = keeping.naccs;
	if (!query_run_each(&caps_select_query, &each))
		caps_read_together(&keeping);
	for (int i = 0; i < keeping.naccs; i++)
	{
		CapList    *list = &keeping.lists[i];

		list->caps = keeping.caps + given;
		list->kept = keeping.kept + given;
		keeping.accs[i]->kept_caps = list;
		given += list->n;
	}
}

/*
 * Tell whether a cap that is kept did no more than count: its window, and of one
 * that slides the buckets, are as they were read.
 */
static bool
kept_only_counted(const Cap *cap, const KeptCap *kept)
{
	return cap->kind != CAP_SLIDING && cap->from == kept->from && cap->until == kept->until;
}

/*
 * Have what is to be written of a cap that only counted.
 */
static void
args_counted(QueryArgs *args, int i, const void *rows)
{
	const CapRow *row = &((const CapRow *) rows)[i];

	args_datum(args, PointerGetDatum(&row->kept->place));
	args_spend(args, row->cap->spent);
	args_spend(args, row->cap->held);
}

/*
 * Have what is to be written of another cap.
 */
static void
args_turned(QueryArgs *args, int i, const void *rows)
{
	const CapRow *row = &((const CapRow *) rows)[i];

	args_counted(args, i, rows);
	args_time(args, row->cap->from);
	args_time(args, row->cap->until);
	args_buckets(args, row->cap);
}

/*
 * Write caps by one statement.
 */
static uint64
caps_write_rows(const QueryEach *each, bool counted)
{
	Records		rows;
	QueryArgs	args = {0};

	records_begin(&rows, caps_write_query[counted].types);
	for (int i = 0; i < each->n; i++)
	{
		QueryArgs	row = {0};

		each->args(&row, i, each->state);
		records_add(&rows, &row);
	}
	args_records(&args, &rows);
	return query_run(&caps_write_many_query[counted], &args, SPI_OK_UPDATE);
}

/*
 * Write the caps of accounts that only counted, or the others of those that are
 * to be written.
 */
static void
caps_write_some(Account *accs, int n, int ncaps, bool counted)
{
	CapRow	   *rows = palloc(sizeof(CapRow) * Max(ncaps, 1));
	QueryEach	each = {.args = counted ? args_counted : args_turned, .state = rows};
	uint64		written;

	for (int i = 0; i < n; i++)
	{
		const CapList *list = accs[i].kept_caps;

		for (int j = 0; list != NULL && j < list->n; j++)
			if (list->caps[j].unwritten && kept_only_counted(&list->caps[j], &list->kept[j]) == counted)
				rows[each.n++] = (CapRow) {&list->caps[j], &list->kept[j]};
	}
	if (each.n == 0)
		return;
	written = query_run_each(&caps_write_query[counted], &each) ? SPI_processed : caps_write_rows(&each, counted);
	if (written != each.n)
		row_missing("spend_caps");
}

/*
 * caps_write writes what counted in the caps that a batch keeps, and keeps them
 * no longer.
 */
void
caps_write(Account *accs, int n)
{
	int			ncaps = 0;

	for (int i = 0; i < n; i++)
		ncaps += accs[i].kept_caps != NULL ? accs[i].kept_caps->n : 0;
	caps_write_some(accs, n, ncaps, true);
	caps_write_some(accs, n, ncaps, false);
	for (int i = 0; i < n; i++)
		accs[i].kept_caps = NULL;
}
