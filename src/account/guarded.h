/*
 * guarded.h
 *		What the guarded updates of account.c are made of.
 */
#ifndef DUCTO_GUARDED_H
#define DUCTO_GUARDED_H

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
#define AFTER_COLUMNS	"balance, expiring, next_boundary, last_seq, closing_keys, updated_at"
#define AFTER_COLUMN_COUNT	6
#define AFTER_CARRY	", carry"
#define AFTER_HEAD	", chain_head"
#define HELD_COLUMN			(AFTER_COLUMN_COUNT + 1)

#define GUARD(most, whose) \
	" WHERE id = $1 AND " whose " AND next_boundary > $4 AND balance - held - " most " >= $3"

#define CHARGE_SQL(amount, most, carry, head, whose) \
	"UPDATE ducto.accounts SET balance = balance - " amount "," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - " amount " END," \
	" last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" carry head \
	GUARD(most, whose) " AND (expiring = 0 OR expiring > " most ")" \
	" RETURNING " AFTER_COLUMNS

#define CHARGE_CARRY_SQL(head, whose) \
	CHARGE_SQL(CARRY_AMOUNT("$6", "$7"), "$7", CARRY_SET("$6", "$8", "$9"), head, whose)

#define CHARGE_TYPES	UUIDOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID
#define CARRY_TYPES		NUMERICOID, NUMERICOID, NUMERICOID, NUMERICOID

#define PLAIN	"plain"
#define PLAIN_AND_PRICED	"plain AND (SELECT p.id FROM ducto.pricing p WHERE p.active) = $5"
#define POOL_OF_MEMBER \
	"kind = 'team' AND (ahead_until <= updated_at) IS NOT FALSE" \
	" AND EXISTS (SELECT FROM ducto.team_members m WHERE m.team_id = $1 AND m.user_id = $5" \
	" AND m.left_at IS NULL AND (m.spend_cap IS NULL" \
	" OR CASE WHEN m.month = $6 THEN m.spent ELSE 0.0000 END + m.held + $2 <= m.spend_cap))"

/*
 * Lock, decision and booking of a deduct within its hold: $2, or what a carry
 * makes of it, is charged, $3 no longer held.
 */
#define SETTLE_SQL(amount, most, carry, head, guard) \
	"UPDATE ducto.accounts SET balance = balance - " amount "," \
	" expiring = CASE WHEN expiring = 0 THEN expiring ELSE expiring - " amount " END," \
	" held = held - $3, last_seq = last_seq + 1, updated_at = greatest(updated_at, $4)" carry head \
	" WHERE id = $1 AND plain AND ended_until IS NULL AND next_boundary > $4" \
	" AND (expiring = 0 OR expiring > " most ") AND balance >= " most guard \
	" RETURNING " AFTER_COLUMNS
#define SETTLE_CARRY_SQL(head, guard) \
	SETTLE_SQL(CARRY_AMOUNT("$5", "$6"), "$6", CARRY_SET("$5", "$7", "$8"), head, CARRY_IS_SOUND guard)

#endif
