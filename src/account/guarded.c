/*
 * guarded.c
 *		The guarded updates of an account: lock, decision and booking at once.
 */
#include "postgres.h"

#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "account/account.h"
#include "account/ahead.h"
#include "account/alertline.h"
#include "account/claim.h"
#include "account/guarded.h"
#include "base/clock.h"
#include "base/cluster.h"
#include "base/period.h"
#include "base/query.h"

/* A guarded update that had to wait longer than this is done over. */
#define STALE_CLOCK_USECS	100000

/*
 * How a guarded update that goes by the time $4 moves the head of
 * the chain to the entry to come, whose ChainLink is a parameter: as
 * chain_digest does. Where grants are burned, the entry is not known yet.
 */
#define CHAIN_HEAD(link) \
	", chain_head = CASE WHEN expiring = 0 THEN sha256(chain_head || " link " || int8send(last_seq + 1)" \
	" || timestamptz_send(greatest(updated_at, $4))) ELSE chain_head END"

/* It leaves alone an account that has no digest yet. */
#define IS_CHAINED	" AND chain_head IS NOT NULL"

/*
 * What a guarded update takes that args_carry has given a rest: by the carry
 * of before, the amount $2 or 1/10000 more; and the carry of after. least is
 * the carry from which on it is more. charge_taken can tell which it was where
 * the carry is what it should be.
 */
#define CARRY_AMOUNT(least, more)	"CASE WHEN carry >= " least " THEN " more " ELSE $2 END"
#define CARRY_SET(least, gain, loss)	", carry = carry + CASE WHEN carry >= " least " THEN " loss " ELSE " gain " END"
#define CARRY_LINK(least, link, raised)	"CASE WHEN carry >= " least " THEN " raised " ELSE " link " END"
#define CARRY_IS_SOUND	" AND carry >= -0.00005 AND carry < 0.00005"

/*
 * The guarded updates are lock, decision and booking at once. They look only
 * at the account's own row, which is read anew after waiting for its lock, and
 * go by the time $4; account_charged judges whether it still holds after that.
 * They leave alone an account where something is to be rolled forward, one
 * with a plan or caps, one that is ahead of the clock, and one whose grants do
 * not cover the amount alone; what concerns holds leaves alone one where some
 * have ended and are still open. The floor is never below 0, so that no figure
 * can leave the bounds of money. Those with a carry ask for the more that it
 * may take.
 */
/* What comes after the columns of all of them. */
enum
{
	HELD_COLUMN = AFTER_COLUMN_COUNT + 1, TERMS_COLUMN
};

#define AFTER_CARRY	", carry"
#define AFTER_HEAD	", chain_head"

/* A balance of which there is nothing to tell, by lines whose mark is $5, covers what is taken and leaves as much as it must. */
#define LEAVES(most, least)	" AND balance - " most " >= greatest(" least ", alert_below) AND alert_mark = $5"

#define CHARGE_SQL(amount, most, carry, head, whose) \
	"UPDATE ducto.accounts SET balance = balance - " amount "," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - " amount " END," \
	" last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" carry head \
	GUARD(whose) LEAVES(most, "held + $3") " AND (expiring = 0 OR expiring > " most ")" \
	" RETURNING " AFTER_COLUMNS

#define CHARGE_CARRY_SQL(head, whose) \
	CHARGE_SQL(CARRY_AMOUNT("$7", "$8"), "$8", CARRY_SET("$7", "$9", "$10"), head, whose)

#define CHARGE_TYPES	UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, INT8OID
#define CARRY_TYPES		NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID

#define PLAIN	"plain"
#define PLAIN_AND_PRICED	"plain AND (SELECT p.id FROM ducto.pricing p WHERE p.active) = $6"
#define POOL	"kind = 'team' AND caps = 0 AND (ahead_until <= updated_at) IS NOT FALSE"
#define POOL_OF_MEMBER \
	POOL " AND EXISTS (SELECT FROM ducto.team_members m WHERE m.team_id = $1 AND m.user_id = $6" \
	" AND m.left_at IS NULL AND (m.spend_cap IS NULL" \
	" OR CASE WHEN m.month = $7 THEN m.spent ELSE 0.0000 END + m.held + $2 <= m.spend_cap))"

/*
 * Lock, decision and booking of a deduct within a hold of which $6 is open: $2,
 * or what a carry makes of it, is charged, and $3 no longer held. The hold was
 * read before the lock: the caller closes it only as it was, and undoes the
 * update where it has changed since.
 */
#define OF_HOLD(held, now)	" WHERE id = $1 AND plain AND ended_until IS NULL AND held >= " held " AND next_boundary > " now
#define SETTLE_SQL(amount, most, carry, head, guard, more) \
	"UPDATE ducto.accounts SET balance = balance - " amount "," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - " amount " END," \
	" held = held - $3, last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" carry head \
	OF_HOLD("$6", "$4") " AND (expiring = 0 OR expiring > " most ")" LEAVES(most, "0.0000") guard \
	" RETURNING " AFTER_COLUMNS more
#define SETTLE_CARRY_SQL(head, guard, more) \
	SETTLE_SQL(CARRY_AMOUNT("$7", "$8"), "$8", CARRY_SET("$7", "$9", "$10"), head, CARRY_IS_SOUND guard, AFTER_CARRY more)
#define SETTLE_TYPES	CHARGE_TYPES, NUMERICOID

static KeptQuery account_charge_query = {.sql = CHARGE_SQL("$2", "$2", "", "", PLAIN), .types = {CHARGE_TYPES}};
static KeptQuery account_charge_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$6"), PLAIN IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, BYTEAOID}
};

/* Does nothing when another version is active: the amount is no price then. */
static KeptQuery account_charge_priced_query = {
	.sql = CHARGE_SQL("$2", "$2", "", "", PLAIN_AND_PRICED),
	.types = {CHARGE_TYPES, UUIDOID}
};
static KeptQuery account_charge_priced_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$7"), PLAIN_AND_PRICED IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, BYTEAOID}
};

/* As these, of a price that leaves a rest. */
static KeptQuery account_charge_carry_query = {
	.sql = CHARGE_CARRY_SQL("", PLAIN_AND_PRICED CARRY_IS_SOUND) AFTER_CARRY,
	.types = {CHARGE_TYPES, UUIDOID, CARRY_TYPES}
};
static KeptQuery account_charge_carry_chained_query = {
	.sql = CHARGE_CARRY_SQL(CHAIN_HEAD(CARRY_LINK("$7", "$11", "$12")), PLAIN_AND_PRICED CARRY_IS_SOUND IS_CHAINED)
	AFTER_CARRY AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, CARRY_TYPES, BYTEAOID, BYTEAOID}
};

/* For a member who is expected to be let: the caller decides by the member's row, and undoes the update where not. */
static KeptQuery account_charge_pool_query = {
	.sql = CHARGE_SQL("$2", "$2", "", "", POOL),
	.types = {CHARGE_TYPES}
};
static KeptQuery account_charge_pool_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$6"), POOL IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, BYTEAOID}
};

/*
 * Leaves alone what the member may not spend, in the snapshot of before: what
 * is to be rejected writes nothing. The caller decides by the member's row.
 */
static KeptQuery account_charge_team_query = {
	.sql = CHARGE_SQL("$2", "$2", "", "", POOL_OF_MEMBER),
	.types = {CHARGE_TYPES, UUIDOID, DATEOID}
};
static KeptQuery account_charge_team_chained_query = {
	.sql = CHARGE_SQL("$2", "$2", "", CHAIN_HEAD("$8"), POOL_OF_MEMBER IS_CHAINED) AFTER_HEAD,
	.types = {CHARGE_TYPES, UUIDOID, DATEOID, BYTEAOID}
};

static KeptQuery account_settle_query = {.sql = SETTLE_SQL("$2", "$2", "", "", "", ""), .types = {SETTLE_TYPES}};
static KeptQuery account_settle_chained_query = {
	.sql = SETTLE_SQL("$2", "$2", "", CHAIN_HEAD("$7"), IS_CHAINED, AFTER_HEAD),
	.types = {SETTLE_TYPES, BYTEAOID}
};
static KeptQuery account_settle_carry_query = {.sql = SETTLE_CARRY_SQL("", "", ""), .types = {SETTLE_TYPES, CARRY_TYPES}};
static KeptQuery account_settle_carry_chained_query = {
	.sql = SETTLE_CARRY_SQL(CHAIN_HEAD(CARRY_LINK("$7", "$11", "$12")), IS_CHAINED, AFTER_HEAD),
	.types = {SETTLE_TYPES, CARRY_TYPES, BYTEAOID, BYTEAOID}
};

#define HOLD_SQL \
	"UPDATE ducto.accounts SET held = held + $2, next_boundary = least(next_boundary, $5)," \
	" updated_at = greatest(updated_at, $4)" \
	GUARD("plain AND ended_until IS NULL") " AND balance - held - $2 >= $3 RETURNING " AFTER_COLUMNS ", held"
#define HOLD_TYPES	UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID, TIMESTAMPTZOID
#define TERMS_SQL	"SELECT ARRAY[p.version, p.min_balance] FROM ducto.pricing p WHERE p.active"

/* Tells the active pricing's terms too; the caller looks whether its floor was kept. */
static KeptQuery account_hold_query = {.sql = HOLD_SQL ", (" TERMS_SQL ")", .types = {HOLD_TYPES}};

/* On a cluster the terms are read after that, as they are on every node: the statement is of one table and its plan is kept. */
static KeptQuery account_hold_alone_query = {.sql = HOLD_SQL, .types = {HOLD_TYPES}};
static KeptQuery terms_query = {.sql = TERMS_SQL, .types = {0}};

/* Frees $2, all that a hold holds; as a settle. */
static KeptQuery account_release_query = {
	.sql = "UPDATE ducto.accounts SET held = held - $2, updated_at = greatest(updated_at, $3)"
	OF_HOLD("$2", "$3") " RETURNING " AFTER_COLUMNS,
	.types = {UUIDOID, NUMERICOID, TIMESTAMPTZOID}
};

/* Lets the account expect that its open hold $2 expires at $4; nothing of the hold is in the row, so there is nothing to undo. */
static KeptQuery account_expect_query = {
	.sql = "UPDATE ducto.accounts SET next_boundary = least(next_boundary, $4), updated_at = greatest(updated_at, $3)"
	" WHERE id = $1 AND plain AND ended_until IS NULL AND next_boundary > $3"
	" AND EXISTS (SELECT FROM ducto.reservations r WHERE r.account_id = $1 AND r.id = $2 AND r.closed_at IS NULL)"
	" RETURNING " AFTER_COLUMNS ", held",
	.types = {UUIDOID, UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* The caller has the row's lock by the guarded update that it takes back. */
static KeptQuery account_undo_query = {
	.sql = "UPDATE ducto.accounts SET balance = balance + $2, expiring = expiring + $3, held = held - $4,"
	" last_seq = last_seq - $5, carry = carry - $6, allowance_used = allowance_used - $7 WHERE id = $1",
	.types = {UUIDOID, NUMERICOID, NUMERICOID, NUMERICOID, INT8OID, NUMERICOID, NUMERICOID}
};

/* The head of the chain is again that of the last entry that has a digest. */
static KeptQuery account_unlink_query = {
	.sql = "UPDATE ducto.accounts SET chain_head = (SELECT l.digest FROM ducto.ledger l"
	"  WHERE l.account_id = $1 AND l.digest IS NOT NULL ORDER BY l.seq DESC LIMIT 1) WHERE id = $1",
	.types = {UUIDOID}
};

/* How many more accounts than not were no plain ones lately, 0 to MOST_DOUBTS; from DOUBTS on no guarded update is tried. */
#define DOUBTS		4
#define MOST_DOUBTS	8

static int	doubts = 0;

/*
 * account_seen takes in whether a user's account is plain. Where most are not,
 * as most users have a plan, a guarded update would be made in vain.
 */
void
account_seen(bool plain)
{
	doubts = plain ? Max(doubts - 1, 0) : Min(doubts + 1, MOST_DOUBTS);
}

/*
 * account_is_doubted tells whether a guarded update of a user's account is likely
 * to be in vain.
 */
bool
account_is_doubted(void)
{
	return doubts >= DOUBTS;
}

/*
 * account_update makes a guarded update of an account and claims it; false when
 * it did nothing.
 */
bool
account_update(KeptQuery *query, const pg_uuid_t *id, QueryArgs *args)
{
	account_claim(id);
	if (query_run(query, args, SPI_OK_UPDATE_RETURNING) > 0)
		return true;
	account_unclaim(id);
	return false;
}

/*
 * Make a guarded update of a user's account; false when it did nothing, or is
 * likely to be in vain.
 */
static bool
user_update(KeptQuery *query, const pg_uuid_t *id, QueryArgs *args)
{
	if (account_is_doubted() || !account_update(query, id, args))
		return false;
	account_seen(true);
	return true;
}

#define AFTER_READ(n, column, kind, member)	after->member = row_##kind(0, n);

/*
 * account_after takes the row that a guarded update returned, which went by the
 * time from before it. False means that it waited for the lock meanwhile, so that
 * something may have expired, that the time is too old to be the operation's,
 * or that the clock was set back. It must be undone then.
 */
bool
account_after(const pg_uuid_t *id, Account *after, AccountChange *change)
{
	TimestampTz clock = clock_now();

	memset(after, 0, sizeof(Account));
	after->id = *id;
	after->exists = true;
	after->balance = row_money(0, BALANCE_COLUMN);
	AFTER_FIELDS(AFTER_READ)
	after->ahead_until = DT_NOBEGIN;
	after->now = after->updated_at;
	memset(change, 0, sizeof(AccountChange));
	return clock < after->next_boundary && clock >= after->updated_at && clock - after->updated_at < STALE_CLOCK_USECS;
}

/*
 * Return how much a guarded update has taken by the carry of before, which that
 * of after tells: a raised amount leaves less than any that was not.
 */
static Money
charge_taken(const Charge *charge, Datum carry)
{
	Datum		least = rest_to_datum(charge->rest - REST_HALF);

	return DatumGetBool(DirectFunctionCall2(numeric_lt, carry, least)) ? charge->amount + 1 : charge->amount;
}

/*
 * Take the row that a guarded update returned after it took a charge, how much
 * that was, and with a link the head of the account's chain. False: the update
 * must be undone, as it went by a time that is over.
 */
static bool
account_charged(const pg_uuid_t *id, const Charge *charge, Account *after, AccountChange *change)
{
	int			column = AFTER_COLUMN_COUNT;
	bool		valid = account_after(id, after, change);

	change->balance = charge->rest != 0 ? charge_taken(charge, row_datum(0, ++column)) : charge->amount;
	change->carry = charge->rest - (change->balance - charge->amount) * REST_UNIT;
	change->expiring = after->expiring > 0 ? change->balance : 0;
	change->entries = 1;
	if (charge->link != NULL)
	{
		account_head_from_row(after, 0, ++column);
		after->linked = change->linked = after->expiring == 0;
	}
	return valid;
}

/*
 * Append what CARRY_AMOUNT and CARRY_SET need of a charge: from
 * which carry on it takes more, and how much that is; by how much the carry
 * grows, and how much otherwise. Nothing where there is no rest.
 */
static void
args_carry(QueryArgs *args, const Charge *charge)
{
	if (charge->rest == 0)
		return;
	args_datum(args, rest_to_datum(REST_HALF - charge->rest));
	args_money(args, charge->amount + 1);
	args_datum(args, rest_to_datum(charge->rest));
	args_datum(args, rest_to_datum(charge->rest - REST_UNIT));
}

/*
 * Append the links of the entry that a charge may become; nothing
 * where the chain is off.
 */
static void
args_links(QueryArgs *args, const Charge *charge)
{
	if (charge->link == NULL)
		return;
	args_datum(args, PointerGetDatum(charge->link));
	if (charge->rest != 0)
		args_datum(args, PointerGetDatum(charge->raised_link));
}

/*
 * Append what the statements that charge down to a floor have in common.
 */
static void
args_charge(QueryArgs *args, const pg_uuid_t *id, const Charge *charge, Money floor, TimestampTz now)
{
	args_uuid(args, id);
	args_money(args, charge->amount);
	args_money(args, floor);
	args_time(args, now);
	args_int8(args, lines_pricing_mark());
}

/*
 * Take a charge from an account by a guarded update, of a user or a team.
 */
static bool
try_charge(KeptQuery *query, QueryArgs *args, const pg_uuid_t *id, const Charge *charge, bool team,
		   Account *after, AccountChange *change)
{
	args_carry(args, charge);
	args_links(args, charge);
	if (!(team ? account_update(query, id, args) : user_update(query, id, args)))
		return false;
	if (account_charged(id, charge, after, change))
		return true;
	account_undo(id, change);
	return false;
}

/*
 * account_try_charge takes a charge from a user's account in one statement
 * when that is all there is to do: nothing is due, and balance - held stays at
 * the floor or above, and pricing, unless it is NULL, is the active one: it is
 * not where the charge has a rest. change tells what it took, of which
 * change->expiring from grants. With a link it moves the head of the account's
 * chain, unless it took from grants. False: it did nothing.
 */
bool
account_try_charge(const pg_uuid_t *id, const Charge *charge, Money floor, const pg_uuid_t *pricing,
				   Account *after, AccountChange *change)
{
	static KeptQuery *const queries[3][2] = {
		{&account_charge_query, &account_charge_chained_query},
		{&account_charge_priced_query, &account_charge_priced_chained_query},
		{&account_charge_carry_query, &account_charge_carry_chained_query}
	};
	int			kind = charge->rest != 0 ? 2 : pricing != NULL ? 1 : 0;
	QueryArgs	args = {0};

	args_charge(&args, id, charge, floor, clock_now());
	if (pricing != NULL)
		args_uuid(&args, pricing);
	return try_charge(queries[kind][charge->link != NULL], &args, id, charge, false, after, change);
}

/*
 * account_try_settle takes a charge from a user's account, and frees a part of
 * what is open of a hold, under the conditions of account_try_charge: the charge
 * is within the hold. False: it did nothing.
 */
bool
account_try_settle(const pg_uuid_t *id, Money open, Money freed, const Charge *charge, Account *after, AccountChange *change)
{
	static KeptQuery *const queries[2][2] = {
		{&account_settle_query, &account_settle_chained_query},
		{&account_settle_carry_query, &account_settle_carry_chained_query}
	};
	QueryArgs	args = {0};
	bool		valid;

	Assert(freed <= open);
	args_uuid(&args, id);
	args_money(&args, charge->amount);
	args_money(&args, freed);
	args_time(&args, clock_now());
	args_int8(&args, lines_pricing_mark());
	args_money(&args, open);
	args_carry(&args, charge);
	args_links(&args, charge);
	if (!user_update(queries[charge->rest != 0][charge->link != NULL], id, &args))
		return false;
	valid = account_charged(id, charge, after, change);
	change->held = -freed;
	if (!valid)
		account_undo(id, change);
	return valid;
}

/*
 * account_try_charge_team takes a charge, without a rest, from a team's pool
 * under the same conditions as account_try_charge, with the floor 0, for a
 * member who may spend it as far as the snapshot tells, or without a look at
 * it where that is likely.
 */
bool
account_try_charge_team(const pg_uuid_t *id, const pg_uuid_t *member, const Charge *charge, bool likely,
						Account *after, AccountChange *change)
{
	static KeptQuery *const queries[2][2] = {
		{&account_charge_team_query, &account_charge_team_chained_query},
		{&account_charge_pool_query, &account_charge_pool_chained_query}
	};
	QueryArgs	args = {0};
	TimestampTz now = clock_now();

	args_charge(&args, id, charge, 0, now);
	if (!likely)
	{
		args_uuid(&args, member);
		args_datum(&args, DateADTGetDatum(period_month(now)));
	}
	if (!try_charge(queries[likely][charge->link != NULL], &args, id, charge, true, after, change))
		return false;
	after->team = true;
	return true;
}

/*
 * Read an array of the active pricing's version and min_balance.
 */
static void
terms_from_row(PricingTerms *terms, int column)
{
	Datum	   *figures;
	int			n;

	if (row_is_null(0, column))
		return;
	deconstruct_array(DatumGetArrayTypeP(row_datum(0, column)), NUMERICOID, -1, false, TYPALIGN_INT, &figures, NULL, &n);
	terms->version = DatumGetInt32(DirectFunctionCall1(numeric_int4, figures[0]));
	terms->min_balance = money_from_datum(figures[1]);
}

/*
 * account_try_hold holds an amount in one statement under the same conditions
 * as account_try_charge. The floor NULL stands for that of the active pricing,
 * whose terms it tells.
 */
bool
account_try_hold(const pg_uuid_t *id, Money amount, const Money *floor, int ttl_seconds,
				 Account *after, AccountChange *change, PricingTerms *terms)
{
	QueryArgs	args = {0};
	QueryArgs	none = {0};
	TimestampTz now = clock_now();
	bool		alone = cluster_is_used();
	bool		valid;

	args_uuid(&args, id);
	args_money(&args, amount);
	args_money(&args, floor != NULL ? *floor : 0);
	args_time(&args, now);
	args_time(&args, now + ttl_seconds * USECS_PER_SEC);
	if (!user_update(alone ? &account_hold_alone_query : &account_hold_query, id, &args))
		return false;
	valid = account_after(id, after, change);
	after->held = row_money(0, HELD_COLUMN);
	change->held = amount;
	terms->version = 0;
	terms->min_balance = DEFAULT_MIN_BALANCE;
	if (!alone)
		terms_from_row(terms, TERMS_COLUMN);
	else if (query_run(&terms_query, &none, SPI_OK_SELECT) > 0)
		terms_from_row(terms, 1);
	if (valid && account_available(after) >= (floor != NULL ? *floor : terms->min_balance))
		return true;
	account_undo(id, change);
	return false;
}

/*
 * account_try_release frees all that a hold holds of a user's account under the
 * conditions of account_try_charge. False: it did nothing.
 */
bool
account_try_release(const pg_uuid_t *id, Money open, Account *after, AccountChange *change)
{
	QueryArgs	args = {0};
	bool		valid;

	args_uuid(&args, id);
	args_money(&args, open);
	args_time(&args, clock_now());
	if (!user_update(&account_release_query, id, &args))
		return false;
	valid = account_after(id, after, change);
	change->held = -open;
	if (!valid)
		account_undo(id, change);
	return valid;
}

/*
 * account_try_expect lets a user's account expect an open hold to expire in so
 * many seconds, under the conditions of account_try_charge. False: nothing is
 * to be taken back.
 */
bool
account_try_expect(const pg_uuid_t *id, const pg_uuid_t *reservation, int ttl_seconds, Account *after)
{
	AccountChange change;
	QueryArgs	args = {0};
	TimestampTz now = clock_now();

	args_uuid(&args, id);
	args_uuid(&args, reservation);
	args_time(&args, now);
	args_time(&args, now + ttl_seconds * USECS_PER_SEC);
	if (!user_update(&account_expect_query, id, &args) || !account_after(id, after, &change))
		return false;
	after->held = row_money(0, HELD_COLUMN);
	return true;
}

/*
 * account_undo takes back a guarded update of this transaction.
 */
void
account_undo(const pg_uuid_t *id, const AccountChange *change)
{
	QueryArgs	args = {0};

	args_uuid(&args, id);
	args_money(&args, change->balance);
	args_money(&args, change->expiring);
	args_money(&args, change->held);
	args_int8(&args, change->entries);
	args_datum(&args, rest_to_datum(change->carry));
	args_money(&args, change->allowance);
	if (query_run(&account_undo_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
	if (!change->linked)
		return;
	memset(&args, 0, sizeof(args));
	args_uuid(&args, id);
	if (query_run(&account_unlink_query, &args, SPI_OK_UPDATE) != 1)
		row_missing("accounts");
}
