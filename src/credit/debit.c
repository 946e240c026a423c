/*
 * debit.c
 *		What every debit is: its key, its two ways, its entry, its answer. What
 *		may be debited is decided by charge.c, deduct.c and teams.c.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/funds.h"
#include "account/grant.h"
#include "account/keptgrant.h"
#include "account/key.h"
#include "account/member.h"
#include "account/roll.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/result.h"
#include "base/setting.h"
#include "base/there.h"
#include "credit/debit.h"
#include "credit/reserve.h"

static const char *const overrun_words[] = {
	[OVERRUN_REJECT] = "reject",
	[OVERRUN_CLAMP] = "clamp",
	[OVERRUN_FULL] = "full",
	NULL
};

/*
 * arg_overrun returns what to do with an amount that does not fit.
 */
Overrun
arg_overrun(FunctionCallInfo fcinfo, int n)
{
	return (Overrun) arg_choice(fcinfo, n, "overrun", overrun_words);
}

/*
 * debit_books tells whether a debit books an entry: it charges something, or a
 * price that is too small to charge anything yet.
 */
bool
debit_books(const Debit *debit)
{
	return debit->amount > 0 || (debit->priced != NULL && debit->priced->price.rest > 0);
}

/*
 * Tell whether a debit is one of a pool that a member asks for.
 */
static bool
debit_is_of_pool(const Debit *debit)
{
	return debit->team != NULL && debit->reservation == NULL;
}

/*
 * Return who spends from a pool by a debit, of a hold unless that is NULL.
 */
static const pg_uuid_t *
debit_actor(const Debit *debit, const Hold *hold)
{
	if (hold != NULL)
		return hold->has_actor ? &hold->actor : NULL;
	return debit_is_of_pool(debit) ? debit->user : NULL;
}

/*
 * Make the ledger entry of a debit, of a hold unless that is NULL.
 */
static void
debit_entry(const Debit *debit, const Hold *hold, LedgerEntry *entry)
{
	memset(entry, 0, sizeof(LedgerEntry));
	entry->amount = -debit->amount;
	entry->type = TYPE_USAGE;
	entry->operation_type = hold != NULL ? hold->operation_type : debit->operation_type;
	entry->model = debit->model != NULL || hold == NULL ? debit->model : hold->model;
	entry->idempotency_key = debit->key;
	entry->actor = debit_actor(debit, hold);
	entry->reference = debit->reservation;
	entry->metadata = debit->metadata;
	if (debit->priced == NULL)
		return;
	entry->pricing = usage_explain(debit->priced);
	entry->exact_price = debit->priced->price.exact;
}

/*
 * account_debit books an entry that takes an amount, 0 or more, from a locked
 * account: credit that can expire first. The account's row is not written.
 */
void
account_debit(Account *acc, LedgerEntry *entry, Money amount)
{
	Money		burn = Min(acc->expiring, amount);

	Assert(amount >= 0);
	Assert(acc->expiring >= 0);
	entry->amount = -amount;
	account_burn(acc, burn, &entry->burned);
	acc->expiring -= burn;
	ledger_append(acc, entry);
}

/*
 * Tell what an entry took, booked now or before.
 */
static void
deduction_from_entry(Deduction *deduction, const pg_uuid_t *user, const LedgerEntry *entry)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->booked = true;
	deduction->transaction = entry->id;
	deduction->user = user;
	deduction->amount = -entry->amount;
	deduction->balance_after = entry->balance_after;
	deduction->allowance_consumed = entry->allowance_consumed;
	deduction->shortfall = entry->shortfall;
	deduction->cap_warning = entry->cap_warning;
}

/*
 * Tell of a debit that booked no entry: rejected, or of 0.
 */
static void
deduction_none(Deduction *deduction, const pg_uuid_t *user, Money amount, Money balance)
{
	memset(deduction, 0, sizeof(Deduction));
	deduction->user = user;
	deduction->amount = amount;
	deduction->balance_after = balance;
}

/*
 * deduction_result makes the answer of a debit.
 */
Datum
deduction_result(FunctionCallInfo fcinfo, const Deduction *deduction, Rejection rejection)
{
	ResultRow	row;

	result_begin(&row, fcinfo);
	result_uuid(&row, deduction->booked ? &deduction->transaction : NULL);
	result_uuid(&row, deduction->user);
	result_money(&row, deduction->amount);
	result_money(&row, deduction->balance_after);
	result_money(&row, deduction->allowance_consumed);
	result_money(&row, deduction->shortfall);
	result_bool(&row, deduction->idempotent);
	result_text(&row, cap_actions[deduction->cap_warning]);
	return result_end_with_error(&row, rejection);
}

/*
 * Tell whether the row of an account may decide a debit alone: nothing that is
 * in other tables matters to it. What is carried over does so only while the
 * price is that of the active pricing, which a call that was sent cannot ask.
 */
static bool
debit_is_plain(const Debit *debit)
{
	if (!debit_books(debit) || debit->floor < 0 || debit->required_feature != NULL)
		return false;
	if (debit->reservation != NULL)
		return !debit->skip_allowance && debit->team == NULL;
	return debit->priced == NULL || debit->priced->price.rest == 0 || !call_is_from_elsewhere();
}

/*
 * Take a charge from an account, and what it has beside its row, by guarded
 * updates; with a hold, from that. A call that was sent has read
 * the active pricing just before. False: they did nothing.
 */
static bool
debit_take(const Debit *debit, const Hold *hold, const Charge *charge, Account *after, AccountChange *change)
{
	bool		check_price = debit->priced != NULL && !call_is_from_elsewhere();

	if (hold != NULL)
		return hold_try_settle(debit->user, hold, charge, debit->final, after, change);
	if (debit->team == NULL)
		return account_try_charge(debit->user, charge, debit->floor,
								  check_price ? pricing_id(debit->priced->pricing) : NULL, after, change);
	if (!account_try_charge_team(debit->team, debit->user, charge,
								 member_is_likely(debit->team, debit->user, charge->amount, clock_now()), after, change))
		return false;
	if (member_try_apply(after, debit->user, charge->amount, 0))
		return true;
	account_undo(debit->team, change);
	return false;
}

/*
 * Book the entry of a debit that debit_take took: grants are burned, the entry
 * is written, of the amount that it took. False: its key is known, and the
 * debit is undone.
 */
static bool
debit_try_book(const Debit *debit, Account *after, const AccountChange *change, const Hold *hold, LedgerEntry *entry)
{
	Assert(change->balance >= 0);
	Assert(change->expiring >= 0 && change->expiring <= change->balance);
	if (!key_is_elsewhere(after, entry->idempotency_key))
	{
		entry->amount = -change->balance;
		grants_burn(&after->id, change->expiring, after->now, false, &entry->burned);
		if (ledger_insert(after, entry))
		{
			if (entry->own != NULL && !after->linked)
				account_write_head(after);
			return true;
		}
		if (entry->burned.n > 0)
			grants_give(&after->id, &entry->burned);
	}
	account_undo(&after->id, change);
	if (hold != NULL)
		hold_reopen(debit->user, hold);
	else if (debit->team != NULL)
		member_apply(after, debit->user, -change->balance, 0);
	return false;
}

/*
 * debit_at_once makes a debit where there is nothing else to do: lock, decision
 * and booking of the account are one statement, which also makes sure that the
 * price of a charge is one of the active pricing. False: nothing was done, and
 * the debit is to be made in steps. The caller has connected to SPI.
 */
bool
debit_at_once(const Debit *debit, Deduction *deduction)
{
	bool		chain = setting_chain();
	Charge		charge = {.amount = debit->amount};
	Account		after;
	AccountChange change;
	Hold		of = {0};
	Hold	   *hold = debit->reservation != NULL ? &of : NULL;
	LedgerEntry entry;

	if (!debit_is_plain(debit) || (hold != NULL && !hold_peek(debit->user, debit->reservation, hold)))
		return false;
	if (debit->priced != NULL)
	{
		charge.amount = debit->priced->price.lower;
		charge.rest = debit->priced->price.rest;
	}
	if (chain)
	{
		debit_entry(debit, hold, &entry);
		ledger_link(debit->team != NULL ? debit->team : debit->user, &entry, &charge);
	}
	if (!debit_take(debit, hold, &charge, &after, &change))
		return false;
	if (!chain)
		debit_entry(debit, hold, &entry);
	if (!debit_try_book(debit, &after, &change, hold, &entry))
		return false;
	deduction_from_entry(deduction, debit->user, &entry);
	return true;
}

/*
 * Lock the account of a debit; there may be none, or none of a team. It returns
 * the hold, NULL for none.
 */
static Hold *
debit_lock(const Debit *debit, Account *acc, Hold *hold)
{
	if (debit->reservation != NULL)
		return reservation_lock(debit->user, debit->team, debit->reservation, acc, hold) ? hold : NULL;
	if (debit->team != NULL)
		(void) account_lock_team(debit->team, acc);
	else
		account_lock(debit->user, acc);
	return NULL;
}

/*
 * Tell whether a debit asks for something else than the one that was booked
 * under its key: another amount, or usage that it is the price of.
 */
static bool
debit_differs(const Debit *debit, KeyState known, const LedgerEntry *original)
{
	if (known == KEY_REPLAY_ZERO)
		return debit->amount != 0;
	if (known != KEY_REPLAY || !setting_key_conflicts())
		return false;
	if (!ledger_has_usage(original, debit->priced != NULL ? debit->priced->usage.json : NULL))
		return true;
	return debit->priced == NULL && debit->amount != original->allowance_consumed + original->shortfall - original->amount;
}

/*
 * Find what is known of a debit.
 */
static KeyState
debit_find(const Debit *debit, const Account *acc, const Hold *hold, LedgerEntry *original)
{
	KeyState	known = key_find(acc, debit->key, KEY_DEBIT, debit->reservation, debit_actor(debit, hold), original);

	if (known != KEY_FREE)
		return key_repeat(known, debit_differs(debit, known, original));
	if (!debit->any_key || hold == NULL || hold->state != HOLD_SETTLED)
		return KEY_FREE;
	if (hold->closed_by_zero)
		return KEY_REPLAY_ZERO;
	return ledger_find_settlement(acc, &hold->id, hold_closed_at(&acc->id, &hold->id), original) ? KEY_REPLAY : KEY_FREE;
}

/*
 * Tell of a debit that was made before. False: it was not.
 */
static bool
debit_replay(const Debit *debit, const Hold *hold, KeyState known, const LedgerEntry *original, Deduction *deduction)
{
	if (known == KEY_REPLAY)
	{
		deduction_from_entry(deduction, debit->user, original);
		deduction->idempotent = true;
		return true;
	}
	if (known != KEY_REPLAY_ZERO || hold == NULL)
		return false;
	deduction_none(deduction, debit->user, 0, hold->closing_balance);
	deduction->idempotent = true;
	return true;
}

/*
 * Decide what of a debit is booked, at its price for a locked account.
 */
static Rejection
debit_decide(Debit *debit, Account *acc, const Hold *hold, Rest *carry, DebitPlan *plan)
{
	if (debit->reservation != NULL && hold == NULL)
		return hold_missing(debit->user, debit->reservation);
	if (debit->priced != NULL)
	{
		Rejection	rejection = usage_require(debit->priced, acc);

		if (rejection != ACCEPTED)
			return rejection;
		debit->amount = price_charge(&debit->priced->price, carry);
	}
	if (hold != NULL)
		return settle_decide(acc, hold, debit, plan);
	return debit->team != NULL ? pool_decide(acc, debit, plan) : charge_decide(acc, debit, plan);
}

/*
 * Free what a debit no longer holds, and let the caps count what it charges
 * instead.
 */
static void
debit_free(Account *acc, Hold *hold, const char *model, DebitPlan *plan)
{
	CapChange	change = {.model = model, .spent = plan->charge - plan->allowance};
	CapVerdict	verdict;
	Money		held = hold->cap_held;

	Assert(hold->state == HOLD_OPEN || hold->state == HOLD_EXPIRED);
	settle_free(acc, hold, plan);
	change.actor = &hold->actor;
	change.held_model = hold->model;
	change.held = hold->cap_held - held;
	caps_apply(acc, &change, &verdict);
	plan->cap_warning = verdict.warning;
}

/*
 * Book a debit on a locked account. A deduct of 0 is remembered by the
 * reservation alone, with the balance that is left once what it kept has expired.
 */
static void
debit_book(const Debit *debit, Account *acc, Hold *hold, DebitPlan *plan, LedgerEntry *entry)
{
	debit_entry(debit, hold, entry);
	if (hold != NULL)
		debit_free(acc, hold, entry->model, plan);
	else
		allowance_take(acc, plan->allowance, 0);
	entry->allowance_consumed = plan->allowance;
	entry->shortfall = plan->shortfall;
	entry->cap_warning = plan->cap_warning;
	if (debit_books(debit))
		account_debit(acc, entry, plan->charge - plan->allowance);
	else
		acc->closing_keys |= debit->key != NULL;
	account_store(acc);
	if (!debit_books(debit))
	{
		hold->closing_key = debit->key;
		hold->closed_by_zero = true;
		hold->closing_balance = entry->balance_after = acc->balance;
	}
	if (hold != NULL)
		hold_update(&acc->id, hold, acc->now);
}

/*
 * debit_locked makes a debit on a locked account, of a hold unless that is NULL.
 * Nothing is booked where it is admitted and there is no account yet.
 */
Rejection
debit_locked(Debit *debit, Account *acc, Hold *hold, Deduction *deduction)
{
	LedgerEntry original;
	LedgerEntry entry;
	DebitPlan	plan = {0};
	Rest		carry = acc->carry;
	KeyState	known;
	Rejection	rejection;

	if (debit_is_of_pool(debit) && !acc->team)
	{
		account_check_user(debit->user);
		deduction_none(deduction, debit->user, debit->amount, 0);	/* it may be a user's: show nothing of it */
		return team_missing(debit->team);
	}
	known = debit_find(debit, acc, hold, &original);
	if (debit_replay(debit, hold, known, &original, deduction))
		return ACCEPTED;
	rejection = known == KEY_CONFLICT ? key_conflict(debit->key) : debit_decide(debit, acc, hold, &carry, &plan);
	deduction_none(deduction, debit->user, debit->amount, acc->balance);
	if (rejection != ACCEPTED || !acc->exists || (hold == NULL && !debit_books(debit)))
		return rejection;
	acc->carry = carry;
	debit_book(debit, acc, hold, &plan, &entry);
	deduction_from_entry(deduction, debit->user, &entry);
	deduction->booked = debit_books(debit);
	return ACCEPTED;
}

/*
 * debit_in_steps makes a debit step by step. A new user's account, which can only
 * get a shortfall, a debt or a price that charges nothing yet, is made when that
 * is what the caller wants. The caller has connected to SPI.
 */
Rejection
debit_in_steps(Debit *debit, Deduction *deduction)
{
	Account		acc;
	Hold		of;
	Hold	   *hold = debit_lock(debit, &acc, &of);
	Rejection	rejection = debit_locked(debit, &acc, hold, deduction);

	if (acc.exists || rejection != ACCEPTED || !debit_books(debit))
		return rejection;
	account_lock_or_create(debit->user, &acc);
	return debit_locked(debit, &acc, NULL, deduction);
}

/*
 * debit_make makes a debit. It locks the account. The caller has connected to
 * SPI.
 */
Rejection
debit_make(Debit *debit, Deduction *deduction)
{
	return debit_at_once(debit, deduction) ? ACCEPTED : debit_in_steps(debit, deduction);
}
