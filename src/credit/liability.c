/*
 * liability.c
 *		What is owed to all accounts at a time.
 *
 *		It is made of what is there, back over what came later, and on over what is
 *		due and not booked yet. All of it is a sum over accounts: on a cluster each
 *		node sums up its shards, by the same statements as one server, and the sums
 *		of the shards come here.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/array.h"

#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/query.h"
#include "base/records.h"
#include "base/result.h"
#include "base/there.h"

PG_FUNCTION_INFO_V1(ducto_liability);
PG_FUNCTION_INFO_V1(ducto_owed_next);
PG_FUNCTION_INFO_V1(ducto_owed_add);

/* What is owed, as ducto.owed has it. in_credit is the sum of the balances above 0. */
enum
{
	OWED_PAID, OWED_GRANTED, OWED_IN_CREDIT, OWED_IN_DEBT, OWED_HELD, OWED_ACCOUNTS, OWED_COLUMNS
};

typedef struct Owed
{
	Spend		sums[OWED_COLUMNS];
} Owed;

/* What is kept of an account on which something is due, about. */
#define DUE_BYTES	275

/* Accounts on which nothing was booked since, and something is due: the first of those after one, or of all. */
static KeptQuery due_query = {
	.sql = "SELECT id FROM ducto.accounts WHERE next_boundary <= $1 AND updated_at <= $1 AND ($2 IS NULL OR id > $2)"
	" ORDER BY id LIMIT $3",
	.types = {TIMESTAMPTZOID, UUIDOID, INT8OID},
	.whole = true,
	.anew = true
};

/*
 * The rows that go to owed_query: what accounts have at that time, what of their
 * grants has expired by then, and what cycles gave, that the ledger does not have.
 */
static const Oid unbooked_types[] = {UUIDOID, NUMERICOID, NUMERICOID, InvalidOid};
static const Oid expired_types[] = {UUIDOID, UUIDOID, NUMERICOID, InvalidOid};
static const Oid given_types[] = {UUIDOID, TEXTOID, NUMERICOID, InvalidOid};

#define UNBOOKED	"unnest($3) AS u(id uuid, balance numeric, held numeric)"
#define EXPIRED		"unnest($4) AS e(account_id uuid, grant_id uuid, amount numeric)"
#define GIVEN		"unnest($5) AS e(account_id uuid, type text, amount numeric)"

/* The accounts of a part: after one, and up to another, NULL for all. */
#define OF_PART(id)	" AND ($6 IS NULL OR " id " > $6) AND ($7 IS NULL OR " id " <= $7)"

/*
 * Which entries came later. What an account booked while it was ahead of the clock
 * is older than what it booked afterwards; while there is no such entry yet
 * nobody knows when, and it counts: as in ducto_balance_at.
 */
#define LATER \
	"ahead AS MATERIALIZED (" \
	"  SELECT a.id, CASE WHEN $2 < greatest(a.ahead_until, a.updated_at) AND s.at_seq = s.now_seq THEN a.last_seq" \
	"   ELSE s.at_seq END AS last_seq" \
	"  FROM ducto.accounts a, LATERAL (" \
	"   SELECT coalesce(max(l.seq) FILTER (WHERE l.effective_at <= $1), 0) AS at_seq," \
	"    coalesce(max(l.seq) FILTER (WHERE l.effective_at <= $2), 0) AS now_seq" \
	"   FROM ducto.ledger l WHERE l.account_id = a.id) s" \
	"  WHERE $1 IS NOT NULL AND (a.ahead_until IS NOT NULL OR a.updated_at > $2)" OF_PART("a.id") ")," \
	" later AS MATERIALIZED (" \
	"  SELECT account_id, amount, type, reference, burned_grants, burned_amounts" \
	"  FROM ducto.ledger l LEFT JOIN ahead h ON h.id = l.account_id" \
	"  WHERE $1 IS NOT NULL AND CASE WHEN h.id IS NULL THEN effective_at > $1 ELSE seq > h.last_seq END" \
	OF_PART("l.account_id") ")"

/* And which did not. */
#define NOT_LATER	"($1 IS NULL OR CASE WHEN h.id IS NULL THEN l.effective_at <= $1 ELSE l.seq <= h.last_seq END)"

#define BALANCES \
	"balances AS MATERIALIZED (" \
	"  SELECT a.id, coalesce(u.balance, a.balance) - coalesce(l.amount, 0) AS balance, coalesce(u.held, a.held) AS held" \
	"  FROM ducto.accounts a LEFT JOIN " UNBOOKED " ON u.id = a.id" \
	"  LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM later GROUP BY 1) l ON l.account_id = a.id" \
	"  WHERE ($1 IS NULL OR a.created_at <= $1)" OF_PART("a.id") ")"

/* What is in grants; what was taken from them since was there. */
#define GRANTED_CREDIT \
	"taken AS (" \
	"  SELECT account_id, grant_id, sum(amount) AS amount FROM (" \
	"   SELECT account_id, unnest(burned_grants) AS grant_id," \
	"    unnest(burned_amounts) * CASE WHEN amount > 0 THEN -1 ELSE 1 END AS amount" \
	"   FROM later WHERE burned_grants IS NOT NULL" \
	"   UNION ALL SELECT account_id, reference, -amount FROM later WHERE type = 'expiry'" \
	"   UNION ALL SELECT e.account_id, e.grant_id, -e.amount FROM " EXPIRED ") t" \
	"  GROUP BY 1, 2)," \
	" granted_credit AS MATERIALIZED (" \
	"  SELECT g.account_id, g.type, g.remaining + coalesce(t.amount, 0) AS amount" \
	"  FROM ducto.grants g LEFT JOIN taken t ON t.account_id = g.account_id AND t.grant_id = g.id" \
	"  WHERE ($1 IS NULL OR g.created_at <= $1) AND (g.live OR t.amount IS NOT NULL)" OF_PART("g.account_id") \
	"  UNION ALL SELECT e.account_id, e.type, e.amount FROM " GIVEN ")"

/* The rest never expires, and is spent in the order in which it was added. */
#define SHARES \
	"pools AS (" \
	"  SELECT b.id AS account_id, b.balance - coalesce(l.amount, 0) AS amount" \
	"  FROM balances b LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM granted_credit GROUP BY 1) l" \
	"   ON l.account_id = b.id" \
	"  WHERE b.balance - coalesce(l.amount, 0) > 0)," \
	" reversed AS (" \
	"  SELECT account_id, reference, -sum(amount + coalesce((SELECT sum(b) FROM unnest(burned_amounts) b), 0)) AS amount" \
	"  FROM ducto.ledger l LEFT JOIN ahead h ON h.id = l.account_id" \
	"  WHERE type <> 'usage' AND type = 'reversal' AND " NOT_LATER OF_PART("l.account_id") " GROUP BY 1, 2)," \
	" additions AS (" \
	"  SELECT l.account_id, l.seq, l.type," \
	"   l.amount - coalesce(r.amount, 0) - coalesce((SELECT sum(b) FROM unnest(l.burned_amounts) b), 0) AS amount" \
	"  FROM ducto.ledger l LEFT JOIN reversed r ON r.account_id = l.account_id AND r.reference = l.id" \
	"   LEFT JOIN ahead h ON h.id = l.account_id" \
	"  WHERE l.type <> 'usage' AND l.type NOT IN ('refund', 'expiry') AND l.amount > 0 AND " NOT_LATER OF_PART("l.account_id") \
	"   AND NOT EXISTS (SELECT FROM ducto.grants g WHERE g.account_id = l.account_id AND g.id = l.id))," \
	" shares AS (" \
	"  SELECT type, least(amount, pool - newer) AS amount FROM (" \
	"   SELECT a.type, a.amount, p.amount AS pool," \
	"    sum(a.amount) OVER (PARTITION BY account_id ORDER BY a.seq DESC) - a.amount AS newer" \
	"   FROM additions a JOIN pools p USING (account_id)) s" \
	"  WHERE newer < pool)"

/* $1 is the time, NULL for now, which $2 is. */
static KeptQuery owed_query = {
	.sql = "WITH " LATER ", " BALANCES ", " GRANTED_CREDIT ", " SHARES
	" SELECT coalesce(p.paid, 0), coalesce(p.granted, 0), b.* FROM ("
	"  SELECT sum(amount) FILTER (WHERE type = 'purchase') AS paid,"
	"   sum(amount) FILTER (WHERE type IN ('subscription', 'signup_bonus', 'promo')) AS granted"
	"  FROM (SELECT type, amount FROM granted_credit UNION ALL SELECT type, amount FROM shares) c) p,"
	" (SELECT coalesce(sum(balance) FILTER (WHERE balance > 0), 0), coalesce(-sum(balance) FILTER (WHERE balance < 0), 0),"
	"   coalesce(sum(held), 0), count(*)::numeric FROM balances) b",
	.types = {TIMESTAMPTZOID, TIMESTAMPTZOID, RECORDARRAYOID, RECORDARRAYOID, RECORDARRAYOID, UUIDOID, UUIDOID},
	.whole = true,
	.anew = true
};

/* What reservations held at a time, as far as they are kept. */
static KeptQuery held_query = {
	.sql = "WITH open AS ("
	"  SELECT account_id, id, amount FROM ducto.reservations"
	"  WHERE created_at <= $1 AND least(expires_at, coalesce(closed_at, 'infinity')) > $1),"
	" captured AS ("
	"  SELECT l.account_id, l.reference, sum(allowance_consumed - l.amount) AS amount"
	"  FROM ducto.ledger l JOIN open o ON o.account_id = l.account_id AND o.id = l.reference"
	"  WHERE type = 'usage' AND created_at <= $1 GROUP BY 1, 2)"
	" SELECT coalesce(sum(greatest(o.amount - coalesce(c.amount, 0), 0)), 0)"
	" FROM open o LEFT JOIN captured c ON c.account_id = o.account_id AND c.reference = o.id",
	.types = {TIMESTAMPTZOID},
	.whole = true,
	.anew = true
};

/* On a cluster. */
static KeptQuery shards_query = {
	.sql = "SELECT ducto.owed(id, $1, $2) FROM ducto.accounts",
	.types = {TIMESTAMPTZOID, TEXTARRAYOID},
	.whole = true
};

/* What the ledger does not have yet, of accounts in the order of their ids. */
typedef struct Unbooked
{
	TimestampTz at;
	pg_uuid_t	last;			/* of them */
	Records		accounts;
	Records		expired;
	Records		given;
} Unbooked;

/*
 * Compare what a roll-forward would book by the grant that it is of.
 */
static int
compare_rolled(const void *one, const void *other)
{
	return memcmp(&((const Rolled *) one)->grant, &((const Rolled *) other)->grant, UUID_LEN);
}

/*
 * Note what has expired of the grants of an account that are there, and what is
 * left of what cycles gave it.
 */
static void
note_rolled(Unbooked *unbooked, const pg_uuid_t *account, Rolled *rolled, int n)
{
	qsort(rolled, n, sizeof(Rolled), compare_rolled);
	for (int i = 0; i < n;)
	{
		const Rolled *first = &rolled[i];
		const Gift *gift = NULL;
		Money		expired = 0;
		Values		row = {0};

		for (; i < n && memcmp(&rolled[i].grant, &first->grant, UUID_LEN) == 0; i++)
		{
			if (rolled[i].gift != NULL)
				gift = rolled[i].gift;
			else
				expired += rolled[i].amount;
		}
		args_uuid(&row, account);
		if (gift == NULL)
		{
			args_uuid(&row, &first->grant);
			args_money(&row, expired);
			records_add(&unbooked->expired, &row);
		}
		else if (gift->remaining > expired)
		{
			args_text(&row, entry_types[gift->type]);
			args_money(&row, gift->remaining - expired);
			records_add(&unbooked->given, &row);
		}
	}
}

/*
 * Note what an account has at a time that the ledger does not have.
 */
static bool
note_unbooked(TupleTableSlot *slot, void *state)
{
	Unbooked   *unbooked = state;
	Account		acc;
	Rolled	   *rolled = NULL;
	Values		row = {0};
	pg_uuid_t	id;
	int			n;

	slot_getallattrs(slot);
	id = *DatumGetUUIDP(slot->tts_values[0]);
	query_begin();
	n = account_project_rolled(&id, &acc, unbooked->at, &rolled);
	args_uuid(&row, &id);
	args_money(&row, acc.balance);
	args_money(&row, acc.held);
	records_add(&unbooked->accounts, &row);
	note_rolled(unbooked, &id, rolled, n);
	query_end();
	unbooked->last = id;
	return true;
}

/*
 * Find what the ledger does not have of accounts after one, NULL for none: of as
 * many as may take the memory. False: those were the last.
 */
static bool
unbooked_find(Unbooked *unbooked, const pg_uuid_t *after)
{
	int64		most = Max((int64) maintenance_work_mem * 1024 / DUE_BYTES, 1);
	QueryArgs	args = {0};

	records_begin(&unbooked->accounts, unbooked_types);
	records_begin(&unbooked->expired, expired_types);
	records_begin(&unbooked->given, given_types);
	args_time(&args, unbooked->at);
	args_uuid(&args, after);
	args_int8(&args, most);
	return query_each(&due_query, &args, true, note_unbooked, unbooked) == most;
}

/*
 * Add what is owed at a time, infinity for now, to a part of the accounts, those
 * after one, NULL for none, and up to the one that is returned; NULL when they are
 * the last.
 */
static const pg_uuid_t *
owed_add_part(TimestampTz at, TimestampTz now, const pg_uuid_t *after, pg_uuid_t *until, Owed *owed)
{
	Unbooked	unbooked = {.at = TIMESTAMP_IS_NOEND(at) ? now : at};
	QueryArgs	args = {0};
	bool		more;

	query_begin();
	more = unbooked_find(&unbooked, after);
	args_time_or_null(&args, at);
	args_time(&args, now);
	args_records(&args, &unbooked.accounts);
	args_records(&args, &unbooked.expired);
	args_records(&args, &unbooked.given);
	args_uuid(&args, after);
	args_uuid(&args, more ? &unbooked.last : NULL);
	(void) query_read(&owed_query, &args);
	for (int i = 0; i < OWED_COLUMNS; i++)
		owed->sums[i] = spend_add(owed->sums[i], row_spend(0, i + 1), "what is owed");
	query_end();
	*until = unbooked.last;
	return more ? until : NULL;
}

/*
 * Sum up what is owed to the accounts of this server, or of a shard of it: in
 * parts, when what is due on all of them would take more than maintenance_work_mem.
 */
static void
owed_here(TimestampTz at, TimestampTz now, Owed *owed)
{
	const pg_uuid_t *after = NULL;
	pg_uuid_t	until;
	QueryArgs	moment = {0};

	do
		after = owed_add_part(at, now, after, &until, owed);
	while (after != NULL);
	if (TIMESTAMP_IS_NOEND(at))
		return;
	args_time(&moment, at);
	(void) query_read(&held_query, &moment);
	owed->sums[OWED_HELD] = row_spend(0, 1);
}

/*
 * Return sums as ducto.owed has them.
 */
static Datum
owed_to_datum(const Owed *owed)
{
	Datum		sums[OWED_COLUMNS];

	for (int i = 0; i < OWED_COLUMNS; i++)
		sums[i] = spend_to_datum(owed->sums[i]);
	return PointerGetDatum(construct_array(sums, OWED_COLUMNS, NUMERICOID, -1, false, TYPALIGN_INT));
}

/*
 * Add sums of ducto.owed to others.
 */
static void
owed_add_datum(Owed *owed, Datum more)
{
	Datum	   *sums;
	int			n;

	deconstruct_array(DatumGetArrayTypeP(more), NUMERICOID, -1, false, TYPALIGN_INT, &sums, NULL, &n);
	if (n != OWED_COLUMNS)
		elog(ERROR, "%d sums of what is owed", n);
	for (int i = 0; i < n; i++)
		owed->sums[i] = spend_add(owed->sums[i], spend_from_datum(sums[i]), "what is owed");
}

/*
 * Answer of ducto.owed_next for the first account of a shard.
 */
static Datum
owed_on_shard(PG_FUNCTION_ARGS)
{
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz at = PG_ARGISNULL(2) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(2);
	Owed		owed = {0};

	query_begin();
	owed_here(at, clock_now(), &owed);
	query_end();
	MemoryContextSwitchTo(caller);
	return owed_to_datum(&owed);
}

/*
 * ducto.owed_next is called for each account of a shard, on its node. With the
 * first it sums up what is owed to all of them.
 */
Datum
ducto_owed_next(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	PG_RETURN_DATUM(call_on_shard(fcinfo, cluster_shard(arg_uuid(fcinfo, 1, "account_id")), owed_on_shard));
}

/*
 * ducto.owed_add adds what is owed to the accounts of two shards.
 */
Datum
ducto_owed_add(PG_FUNCTION_ARGS)
{
	Owed		owed = {0};

	for (int i = 0; i < 2; i++)
		if (!PG_ARGISNULL(i))
			owed_add_datum(&owed, PG_GETARG_DATUM(i));
	PG_RETURN_DATUM(owed_to_datum(&owed));
}

/*
 * Sum up what is owed to the accounts of all nodes of a cluster.
 */
static void
owed_everywhere(TimestampTz at, Owed *owed)
{
	QueryArgs	args = {0};

	args_time_or_null(&args, at);
	args_carried(&args);
	(void) query_read(&shards_query, &args);
	if (!row_is_null(0, 1))
		owed_add_datum(owed, row_datum(0, 1));
}

/*
 * ducto_liability returns what is owed to all accounts. It takes no lock.
 * Arguments and errors: see its COMMENT.
 */
Datum
ducto_liability(PG_FUNCTION_ARGS)
{
	TimestampTz now = clock_now();
	TimestampTz at = PG_ARGISNULL(0) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(0);
	Owed		owed = {0};
	ResultRow	row;
	Datum		result;

	if (!PG_ARGISNULL(0) && (TIMESTAMP_NOT_FINITE(at) || at > now))
		arg_reject("at", timestamptz_to_str(at), "\"at\" must be a finite time, not in the future.");
	query_begin();
	if (cluster_is_used())
		owed_everywhere(at, &owed);
	else
		owed_here(at, now, &owed);
	result_begin(&row, fcinfo);
	result_spend(&row, owed.sums[OWED_PAID]);
	result_spend(&row, owed.sums[OWED_GRANTED]);
	result_spend(&row, owed.sums[OWED_IN_DEBT]);
	result_spend(&row, owed.sums[OWED_HELD]);
	result_int8(&row, (int64) (owed.sums[OWED_ACCOUNTS] / MONEY_UNIT));
	result_spend(&row, owed.sums[OWED_IN_CREDIT] - owed.sums[OWED_PAID] - owed.sums[OWED_GRANTED]);
	result = result_end(&row);
	query_end();
	PG_RETURN_DATUM(result);
}
