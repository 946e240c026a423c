/*
 * seq.c
 *		Finding an entry of the ledger by the time at which it was booked.
 */
#include "postgres.h"

#include "account/ledger.h"
#include "base/query.h"

/* What costs about as much to read as to look one entry up. */
#define FEW_ENTRIES	32

static KeptQuery ledger_probe_query = {
	.sql = "SELECT created_at, effective_at, balance_after FROM ducto.ledger WHERE account_id = $1 AND seq = $2",
	.types = {UUIDOID, INT8OID}
};

enum
{
	PROBE_CREATED_AT = 1, PROBE_EFFECTIVE_AT, PROBE_BALANCE_AFTER
};

/*
 * Read an entry's times and balance; false when the snapshot lacks it.
 */
static bool
ledger_probe(const pg_uuid_t *account, int64 seq, bool read_only)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_int8(&args, seq);
	return (read_only ? query_read(&ledger_probe_query, &args) :
			query_run(&ledger_probe_query, &args, SPI_OK_SELECT)) == 1;
}

/*
 * Return a seq of an account that was created (or took effect) before a time,
 * or at it when inclusive, 0 for none: no more than so many before the last
 * one. Times of creation never decrease in seq (for the others see
 * ledger_seq_at), so it halves the ledger until it is found.
 */
static int64
seq_find(const pg_uuid_t *account, int64 last_seq, TimestampTz at,
		 bool inclusive, bool effective, int64 most, bool read_only)
{
	int64		low = 0;
	int64		high = last_seq;

	while (high - low > most)
	{
		int64		middle = low + (high - low + 1) / 2;
		TimestampTz time;

		if (!ledger_probe(account, middle, read_only))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("entry " INT64_FORMAT " of an account's ledger is missing", middle),
					 errhint("Run ducto_verify.")));
		time = row_time(0, effective ? PROBE_EFFECTIVE_AT : PROBE_CREATED_AT);
		rows_free();
		if (time < at || (inclusive && time == at))
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

/*
 * ledger_seq_before returns the last seq of an account that was created (or
 * took effect) before a time, or at it when inclusive; 0 for none.
 */
int64
ledger_seq_before(const pg_uuid_t *account, int64 last_seq, TimestampTz at,
				  bool inclusive, bool effective, bool read_only)
{
	return seq_find(account, last_seq, at, inclusive, effective, 0, read_only);
}

/*
 * ledger_seq_near does the same for who looks at the times of the entries after
 * it: a few of them may be from before the time. A short ledger is read in less
 * time than one entry is looked up in it.
 */
int64
ledger_seq_near(const pg_uuid_t *account, int64 last_seq, TimestampTz at, bool read_only)
{
	return seq_find(account, last_seq, at, false, false, FEW_ENTRIES, read_only);
}

/*
 * ledger_balance_at_seq returns an account's balance after an entry, 0 before
 * the first.
 */
Money
ledger_balance_at_seq(const pg_uuid_t *account, int64 seq)
{
	if (seq == 0 || !ledger_probe(account, seq, true))
		return 0;
	return row_money(0, PROBE_BALANCE_AFTER);
}
