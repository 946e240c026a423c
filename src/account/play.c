/*
 * play.c
 *		Plays what is due on an account, in the order of time: holds past their
 *		time end, grants past theirs expire, cycles of the plan begin and give
 *		their credit. It computes, and books nothing.
 *
 *		A grant does not expire as far as open holds need it. That part is late:
 *		it stays in the balance, covered by what is held, and expires as the
 *		holds end.
 *
 *		Of one moment, the plan's terms come first, then the new cycle with its
 *		allowance, the ends of holds, those of grants, and last what the cycle
 *		gives: what lived on of the old one is what was left of it.
 *
 *		Where an account sleeps through cycles that give again just what they
 *		take, these are one: what the first of them gave expires with the last.
 *		The balance is what it was in each of them.
 */
#include "postgres.h"

#include "account/ahead.h"
#include "account/funds.h"
#include "account/hold.h"
#include "account/play.h"
#include "account/rollset.h"
#include "base/query.h"
#include "base/uuidv7.h"

/*
 * roll_is_full tells whether no more may be booked. A cycle that has begun
 * gives its credit in any case.
 */
bool
roll_is_full(const Roll *roll)
{
	return roll->nrolled >= roll->limit && TIMESTAMP_IS_NOEND(roll->gifts_at);
}

/*
 * Make room for one more of what is to be booked, and return it.
 */
static Rolled *
roll_append(Roll *roll)
{
	if (roll->nrolled == roll->max_rolled)
	{
		roll->max_rolled *= 2;
		roll->rolled = repalloc_huge(roll->rolled, sizeof(Rolled) * roll->max_rolled);
	}
	return &roll->rolled[roll->nrolled++];
}

/*
 * Expire an amount of a grant.
 */
static void
roll_expire(Roll *roll, Grant *grant, Money amount)
{
	Rolled	   *expiry = roll_append(roll);

	expiry->grant = grant->id;
	expiry->amount = amount;
	expiry->effective_at = roll->clock;
	expiry->gift = NULL;
	Assert(amount > 0);
	Assert(amount <= grant->remaining);
	grant->remaining -= amount;
	roll->late -= amount;
	roll->acc->balance -= amount;
	roll->acc->expiring -= amount;
}

/*
 * roll_release expires late credit that the holds do not need at a time: they
 * rely on the allowance then.
 */
void
roll_release(Roll *roll, TimestampTz at)
{
	Money		rest = roll->acc->balance - roll->late;
	Money		kept = Min(roll->late, Max(account_need(roll->acc, at) - rest, 0));

	Assert(kept >= 0 && kept <= roll->late);
	roll->clock = at;
	while (roll->late > kept && !roll_is_full(roll))
	{
		Grant	   *grant = &roll->grants[roll->first_late];

		Assert(roll->first_late < roll->nlate);
		if (grant->remaining > 0)
			roll_expire(roll, grant, Min(grant->remaining, roll->late - kept));
		if (grant->remaining == 0)
			roll->first_late++;
	}
	allowance_rely(roll->acc, at);
}

/*
 * End a hold.
 */
static void
roll_end_hold(Account *acc, const DueHold *hold)
{
	account_free(acc, hold->remaining, hold->skip_allowance, hold->skip_allowance ? 0 : hold->remaining - hold->cap_held);
}

/*
 * Return the terms in force; NULL for none.
 */
static const PlanTerms *
roll_terms(const Roll *roll)
{
	return roll->next_terms > 0 ? &roll->terms[roll->next_terms - 1] : NULL;
}

/*
 * Return when the account's next cycle begins; infinity for an account that has
 * no cycles.
 */
static TimestampTz
roll_turn_at(const Roll *roll)
{
	const Account *acc = roll->acc;

	return acc->plan_id == NULL || TIMESTAMP_IS_NOBEGIN(acc->cycle.end) ? DT_NOEND : acc->cycle.end;
}

/*
 * Return when what is due next, but for the holds, happens; infinity when
 * nothing is left.
 */
static TimestampTz
roll_next(const Roll *roll)
{
	TimestampTz at = Min(roll_turn_at(roll), roll->gifts_at);

	if (roll->nlate < roll->ngrants)
		at = Min(at, roll->grants[roll->nlate].expires_at);
	if (roll->next_terms < roll->nterms)
		at = Min(at, roll->terms[roll->next_terms].since);
	return at <= roll->acc->now ? at : DT_NOEND;
}

/*
 * Compare grants by the order in which they expire.
 */
static int
compare_grants(const void *one, const void *other)
{
	const Grant *a = one;
	const Grant *b = other;

	if (a->expires_at != b->expires_at)
		return a->expires_at < b->expires_at ? -1 : 1;
	if (a->seq != b->seq)
		return a->seq < b->seq ? -1 : 1;
	return memcmp(&a->id, &b->id, UUID_LEN);
}

/*
 * Put the grants that are not late yet in the order in which they expire.
 */
static void
roll_sort(Roll *roll)
{
	qsort(roll->grants + roll->nlate, roll->ngrants - roll->nlate, sizeof(Grant), compare_grants);
}

/*
 * Return what a cycle that has begun is about to give.
 */
static Money
roll_pending(const Roll *roll)
{
	const PlanTerms *terms = roll_terms(roll);
	Money		sum = 0;

	for (int i = 0; !TIMESTAMP_IS_NOEND(roll->gifts_at) && i < terms->ngrants; i++)
		sum = money_add(sum, terms->grants[i].amount, "the balance");
	return sum;
}

/*
 * Let the next grant live on after its cycle, but for what is more than that
 * may be and no hold needs.
 */
static void
roll_over(Roll *roll, TimestampTz at)
{
	Grant	   *grant = &roll->grants[roll->nlate];
	Money		excess = Max(grant->remaining - grant->rollover, 0);
	Money		rest = roll->acc->balance - roll->late - excess;
	Money		needed = Max(account_need(roll->acc, at) - rest - roll_pending(roll), 0);

	roll->clock = at;
	excess = Max(excess - needed, 0);
	if (excess > 0)
	{
		roll->late += excess;
		roll_expire(roll, grant, excess);
	}
	grant->expires_at = grant->rolls_to;
	grant->rolls_to = DT_NOBEGIN;
	grant->rolled = true;
	roll->nlived_on++;
	roll_sort(roll);
}

/*
 * Play the end of the next grant: it is late, or lives on.
 */
static void
roll_play_grant(Roll *roll, TimestampTz at)
{
	Grant	   *grant = &roll->grants[roll->nlate];

	if (grant->gift == NULL)
		roll->steady = 0;
	if (!TIMESTAMP_IS_NOBEGIN(grant->rolls_to))
		roll_over(roll, at);
	else
	{
		roll->late += grant->remaining;
		roll->nlate++;
	}
}

/*
 * Return the time to which what a cycle gave is moved, with the cycle's end,
 * when cycles between are skipped.
 */
static TimestampTz
skipped_to(const PeriodRule *rule, TimestampTz at, TimestampTz from, TimestampTz to)
{
	while (from < at)
	{
		from = period_find(rule, from).end;
		to = period_find(rule, to).end;
	}
	return to;
}

/*
 * Skip cycles that would give again just what they take, up to the last that
 * begins before anything else happens.
 */
static void
roll_skip(Roll *roll, TimestampTz hold_ends)
{
	Account    *acc = roll->acc;
	const PlanTerms *terms = roll_terms(roll);
	PeriodRule	rule = account_cycle_rule(acc, terms->cycle);
	TimestampTz limit = Min(acc->now, hold_ends - 1);
	TimestampTz from = acc->cycle.end;
	TimestampTz to;

	if (roll->next_terms < roll->nterms)
		limit = Min(limit, roll->terms[roll->next_terms].since - 1);
	for (int i = roll->nlate; i < roll->ngrants; i++)
	{
		const Grant *grant = &roll->grants[i];

		if (grant->gift == NULL)
			limit = Min(limit, grant->expires_at - 1);
		else if (grant->gift->given_at < roll->steady_since)
			return;
	}
	to = limit > from ? period_find(&rule, limit).start : from;
	if (to <= from)
		return;
	for (int i = roll->nlate; i < roll->ngrants; i++)
	{
		Grant	   *grant = &roll->grants[i];

		if (grant->gift == NULL)
			continue;
		grant->expires_at = skipped_to(&rule, grant->expires_at, from, to);
		if (!TIMESTAMP_IS_NOBEGIN(grant->rolls_to))
			grant->rolls_to = skipped_to(&rule, grant->rolls_to, from, to);
		if (!grant->rolled)
		{
			grant->gift->expires_at = grant->expires_at;
			grant->gift->rolls_to = grant->rolls_to;
		}
	}
	roll_sort(roll);
	acc->cycle.end = to;
}

/*
 * Tell whether all that a cycle gives goes with a cycle, and how many more it
 * may live on.
 */
static bool
terms_go_with_cycles(const PlanTerms *terms, int *cycles)
{
	*cycles = 0;
	for (int i = 0; i < terms->ngrants; i++)
	{
		if (terms->grants[i].ends != ENDS_WITH_CYCLE)
			return false;
		*cycles = Max(*cycles, terms->grants[i].rollover_cycles);
	}
	return true;
}

/*
 * Tell whether a cycle has given its credit already: the clock was set back
 * since.
 */
static bool
roll_has_given(const Roll *roll, const Period *cycle)
{
	const Account *acc = roll->acc;
	bool		given;

	if (TIMESTAMP_IS_NOBEGIN(acc->ahead_until))
		return false;
	query_begin();
	given = ledger_cycle_given(&acc->id, cycle->end, acc->plan_id, roll->read_only);
	query_end();
	return given;
}

/*
 * Begin a cycle.
 */
static void
roll_turn(Roll *roll, TimestampTz at)
{
	Account    *acc = roll->acc;
	const PlanTerms *terms = roll_terms(roll);
	PeriodRule	rule = account_cycle_rule(acc, terms != NULL ? terms->cycle : acc->plan.cycle);
	Period		cycle = {.start = at, .end = period_find(&rule, at).end};

	if (TIMESTAMP_IS_NOBEGIN(acc->ahead_until))
	{
		acc->cycle = cycle;
		acc->allowance_used = 0;
	}
	else
	{
		query_begin();
		account_enter_cycle(acc, &cycle, roll->read_only);
		query_end();
	}
	roll->nturns++;
	if (terms == NULL || terms->ngrants == 0)
	{
		roll->steady = 0;
		return;
	}
	if (!roll_has_given(roll, &cycle))
		roll->gifts_at = at;
}

/*
 * Return when credit that is given at a time expires; infinity for never.
 */
static TimestampTz
gift_expires_at(const Account *acc, const CycleGrant *grant, TimestampTz at)
{
	if (grant->ends == ENDS_WITH_CYCLE)
		return acc->cycle.end;
	if (grant->ends == ENDS_NEVER)
		return DT_NOEND;
	return period_later(at, grant->lasts, acc->zone);
}

/*
 * Return until when credit lives on after its cycle; -infinity for no longer.
 */
static TimestampTz
gift_rolls_to(const Account *acc, const PlanTerms *terms, const CycleGrant *grant)
{
	PeriodRule	rule = account_cycle_rule(acc, terms->cycle);
	TimestampTz end = acc->cycle.end;

	if (grant->rollover_cycles == 0)
		return DT_NOBEGIN;
	for (int i = 0; i < grant->rollover_cycles; i++)
		end = period_find(&rule, end).end;
	return end;
}

/*
 * Give an amount of what a cycle gives, the number n of it.
 */
static void
roll_gift(Roll *roll, const PlanTerms *terms, int n, Money amount, TimestampTz at)
{
	Account    *acc = roll->acc;
	const CycleGrant *grant = &terms->grants[n];
	struct
	{
		pg_uuid_t	account;
		TimestampTz at;
		TimestampTz cycle_end;
		int64		n;
	}			parts = {acc->id, at, acc->cycle.end, n};
	Gift	   *gift = MemoryContextAllocZero(roll->context, sizeof(Gift));
	Rolled	   *rolled = roll_append(roll);

	uuidv7_derive(&gift->id, at, &parts, sizeof(parts));
	gift->seq = acc->last_seq + roll->nrolled;
	gift->type = grant->type;
	gift->amount = amount;
	gift->priority = grant->priority >= 0 ? grant->priority : DEFAULT_PRIORITY;
	gift->given_at = at;
	gift->expires_at = gift_expires_at(acc, grant, at);
	gift->rolls_to = gift_rolls_to(acc, terms, grant);
	gift->rollover = grant->rollover_max;
	gift->cycle_end = acc->cycle.end;
	gift->makes_grant = grant->priority >= 0 || !TIMESTAMP_IS_NOEND(gift->expires_at);
	gift->remaining = gift->makes_grant ? Max(0, Min(amount, acc->balance + amount)) : 0;
	*rolled = (Rolled) {.grant = gift->id, .amount = amount, .effective_at = at, .gift = gift};
	acc->balance = money_add(acc->balance, amount, "the balance");
	acc->expiring += gift->remaining;
	if (!gift->makes_grant)
		return;
	if (roll->ngrants == roll->max_grants)
	{
		roll->max_grants *= 2;
		roll->grants = repalloc_huge(roll->grants, sizeof(Grant) * roll->max_grants);
	}
	roll->grants[roll->ngrants++] = (Grant) {.id = gift->id, .seq = gift->seq, .remaining = gift->remaining,
		.expires_at = gift->expires_at, .rolls_to = gift->rolls_to, .rollover = gift->rollover, .gift = gift};
}

/*
 * roll_give gives what a cycle gives at a time, but for what was given already.
 */
void
roll_give(Roll *roll, const PlanTerms *terms, TimestampTz at, Money given)
{
	bool		whole = given == 0 && roll->late == 0;

	for (int i = 0; i < terms->ngrants; i++)
	{
		Money		skipped = Min(given, terms->grants[i].amount);

		whole &= roll->acc->balance >= 0;
		given -= skipped;
		if (terms->grants[i].amount > skipped)
			roll_gift(roll, terms, i, terms->grants[i].amount - skipped, at);
	}
	roll_sort(roll);
	if (roll->steady == 0)
		roll->steady_since = at;
	roll->steady = whole ? roll->steady + 1 : 0;
	roll->clock = at;
}

/*
 * Let the cycle that has begun give what it gives.
 */
static void
roll_play_gifts(Roll *roll, TimestampTz at, TimestampTz hold_ends)
{
	const PlanTerms *terms = roll_terms(roll);
	int			cycles;

	roll->gifts_at = DT_NOEND;
	roll_give(roll, terms, at, 0);
	if (terms_go_with_cycles(terms, &cycles) && roll->steady > cycles)
		roll_skip(roll, hold_ends);
}

/*
 * Play what is due before a hold ends, or all that is left: infinity.
 */
static void
roll_play_until(Roll *roll, TimestampTz hold_ends)
{
	TimestampTz at;

	while (!roll_is_full(roll) && (at = roll_next(roll)) <= hold_ends && at != DT_NOEND)
	{
		if (roll->next_terms < roll->nterms && at == roll->terms[roll->next_terms].since)
		{
			roll->acc->plan.free_allowance = roll->terms[roll->next_terms++].free_allowance;
			roll->steady = 0;
		}
		else if (at == roll_turn_at(roll))
			roll_turn(roll, at);
		else if (at >= hold_ends)
			return;
		else if (roll->nlate < roll->ngrants && at == roll->grants[roll->nlate].expires_at)
			roll_play_grant(roll, at);
		else
			roll_play_gifts(roll, at, hold_ends);
		roll_release(roll, at);
	}
}

/*
 * Play the end of a hold: a row of holds_due. Those that end at the moment at
 * which the roll stops end as well.
 */
static bool
roll_play_hold(const DueHold *hold, void *state)
{
	Roll	   *roll = state;

	roll_play_until(roll, hold->expires_at);
	if (roll_is_full(roll) && hold->expires_at > roll->clock)
		return false;
	roll_end_hold(roll->acc, hold);
	roll_release(roll, hold->expires_at);
	roll->steady = 0;
	roll->nholds++;
	roll->last_hold = hold->expires_at;
	return true;
}

/*
 * Load the grants of an account that are due, of one of a set those that were
 * read with the others'.
 */
static void
roll_load_grants(Roll *roll)
{
	const Account *acc = roll->acc;
	const RollSet *set = acc->set;

	if (set == NULL)
		roll->ngrants = grants_due(&acc->id, acc->now, roll->read_only, &roll->grants);
	else
	{
		roll->ngrants = set->ngrants;
		roll->grants = palloc(sizeof(Grant) * Max(set->ngrants, 8));
		memcpy(roll->grants, set->grants, sizeof(Grant) * set->ngrants);
		roll_sort(roll);
	}
	roll->max_grants = Max(roll->ngrants, 8);
}

/*
 * Load the terms that the plan of an account had from a time on.
 */
static void
roll_load_terms(Roll *roll, TimestampTz at)
{
	const Account *acc = roll->acc;

	if (acc->set == NULL)
		roll->nterms = plan_terms(acc->plan_id, at, roll->read_only, &roll->terms);
	else
		roll->nterms = set_terms(acc->set, acc->plan_id, at, &roll->terms);
}

/*
 * Play the ends of holds, and all that is due before each.
 */
static void
roll_play_holds(Roll *roll)
{
	const RollSet *set = roll->acc->set;

	if (set == NULL)
		holds_due(roll->acc, roll->acc->now, roll->read_only, roll_play_hold, roll);
	else
		for (int i = 0; i < set->nholds && roll_play_hold(&set->holds[i], roll); i++)
			;
}

/*
 * roll_load loads the grants of an account that are due; those from before its
 * last operation are late.
 */
void
roll_load(Roll *roll, Account *acc, int64 limit, bool read_only)
{
	memset(roll, 0, sizeof(Roll));
	roll->acc = acc;
	roll->read_only = read_only;
	roll->context = CurrentMemoryContext;
	roll->limit = limit;
	roll->gifts_at = DT_NOEND;
	roll_load_grants(roll);
	roll->max_rolled = roll->ngrants + 1;
	roll->rolled = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Rolled) * roll->max_rolled);
	while (roll->nlate < roll->ngrants && roll->grants[roll->nlate].expires_at <= acc->updated_at)
		roll->late += roll->grants[roll->nlate++].remaining;
	if (acc->plan_id != NULL && (roll->ngrants > 0 || roll_turn_at(roll) <= acc->now))
		roll_load_terms(roll, Min(acc->updated_at, roll_turn_at(roll)));
}

/*
 * roll_play plays what is due on an account in the order of time, under the
 * terms that were in force then. Another plan counts from the operation that
 * gave it. When the limit is reached the account's clock stops there: what is
 * due in that moment still is taken up with what is late, the rest is not yet
 * played.
 */
void
roll_play(Roll *roll, Account *acc, int64 limit, bool read_only)
{
	Money		allowance_now = acc->plan.free_allowance;

	roll_load(roll, acc, limit, read_only);
	if (roll->nterms > 0)
		acc->plan.free_allowance = roll->terms[roll->next_terms++].free_allowance;
	if (roll->late > 0)
		roll_release(roll, acc->updated_at);
	roll_play_holds(roll);
	roll_play_until(roll, DT_NOEND);
	acc->plan.free_allowance = allowance_now;
	if (roll_is_full(roll))
		acc->now = Max(roll->clock, acc->updated_at);
	else
		roll_release(roll, acc->now);
	acc->late = roll->late > 0 || roll_next(roll) != DT_NOEND;
}
