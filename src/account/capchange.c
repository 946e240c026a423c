/*
 * capchange.c
 *		What operations move on the counters of an account's caps: decided here,
 *		written by cap.c. A team's pool also has the caps of its members.
 */
#include "postgres.h"

#include "account/cap.h"
#include "account/capalert.h"
#include "account/capmake.h"
#include "account/member.h"
#include "base/query.h"

/* The account's models that have caps of their own. */
static KeptQuery capped_models_query = {
	.sql = "SELECT DISTINCT model FROM ducto.spend_caps WHERE account_id = $1 AND model <> ''",
	.types = {UUIDOID}
};

/*
 * verdict_warn lets a verdict tell of an action that is exceeded, where it is
 * the strongest.
 */
void
verdict_warn(CapVerdict *verdict, CapAction action)
{
	if (verdict->warning == CAP_NO_ACTION || action < verdict->warning)
		verdict->warning = action;
}

/*
 * Return what of a change a cap counts.
 */
static CapChange
change_of_cap(const Cap *cap, const CapChange *change)
{
	CapChange	part = {0};

	if (cap_concerns(cap, change->model))
		part.spent = change->spent;
	if (cap_concerns(cap, change->held_model))
		part.held = change->held;
	return part;
}

/*
 * Count a change in caps of a locked account that were brought to the clock,
 * and tell which action is exceeded with it.
 */
static void
caps_count(const Account *acc, const CapList *list, const CapChange *change, CapVerdict *verdict)
{
	for (int i = 0; i < list->n; i++)
	{
		Cap		   *cap = &list->caps[i];
		CapChange	part = change_of_cap(cap, change);

		if (part.spent == 0 && part.held == 0)
			continue;
		cap_count(acc, cap, part.spent, part.held);
		cap_update(acc, cap);
		if ((part.spent > 0 || part.held > 0) && cap_is_exceeded(cap, 0))
			verdict_warn(verdict, cap->action);
	}
}

/*
 * Tell whether a change is of one model.
 */
static bool
change_is_plain(const CapChange *change)
{
	if (change->spent == 0 || change->held == 0 || change->model == change->held_model)
		return true;
	return change->model != NULL && change->held_model != NULL && strcmp(change->model, change->held_model) == 0;
}

/*
 * caps_apply moves the counters of a locked account's caps and tells which
 * action is exceeded with it.
 */
void
caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	CapList		list;

	verdict->warning = CAP_NO_ACTION;
	if (change->spent == 0 && change->held == 0)
		return;
	if (acc->team && member_apply(acc, change->actor, change->spent, change->held) &&
		(change->spent > 0 || change->held > 0))
		verdict->warning = CAP_DENY;
	if (acc->caps == 0 || (change_is_plain(change) && caps_try(acc, change, false, verdict)))
		return;
	caps_read(acc, false, &list);
	caps_count(acc, &list, change, verdict);
}

/*
 * Return which of the models of lines have caps of their own.
 */
static bool *
models_capped(const Account *acc, const EntryModels *models)
{
	bool	   *capped = palloc0(sizeof(bool) * models->n);
	QueryArgs	args = {0};
	uint64		n;

	args_uuid(&args, &acc->id);
	n = query_run(&capped_models_query, &args, SPI_OK_SELECT);
	for (uint64 row = 0; row < n; row++)
	{
		char	   *model = row_text(row, 1);

		for (int i = 0; i < models->n; i++)
			capped[i] |= models->models[i] != NULL && strcmp(models->models[i], model) == 0;
	}
	return capped;
}

/*
 * Apply a part of a change, and keep the stronger of two warnings.
 */
static void
caps_apply_part(const Account *acc, const CapChange *change, CapVerdict *verdict)
{
	CapVerdict	part;

	caps_apply(acc, change, &part);
	if (part.warning != CAP_NO_ACTION)
		verdict_warn(verdict, part.warning);
}

/*
 * caps_apply_models does what caps_apply does where lines of several models
 * spend. Models without caps of their own count together.
 */
void
caps_apply_models(const Account *acc, const CapChange *change, const EntryModels *models, CapVerdict *verdict)
{
	CapChange	rest = *change;
	bool	   *capped;

	if (acc->caps == 0)
	{
		caps_apply(acc, change, verdict);
		return;
	}
	capped = models_capped(acc, models);
	verdict->warning = CAP_NO_ACTION;
	rest.model = NULL;
	for (int i = 0; i < models->n; i++)
		rest.spent -= capped[i] ? models->spend[i] : 0;
	caps_apply_part(acc, &rest, verdict);
	for (int i = 0; i < models->n; i++)
	{
		CapChange	part = {.model = models->models[i], .spent = models->spend[i], .actor = change->actor};

		if (capped[i])
			caps_apply_part(acc, &part, verdict);
	}
}

/*
 * cap_exceeded keeps the reason of a rejection by a cap: what was needed, the
 * cap, what counts against it, and when that is 0 again.
 */
void
cap_exceeded(Money needed, const char *cap, Money limit, Spend counted, TimestampTz resets_at)
{
	const char *resets = TIMESTAMP_IS_NOEND(resets_at) ? "it does not reset" :
		psprintf("it resets at %s", timestamptz_to_str(resets_at));

	(void) rejection_because(CAP_REACHED, "Needed: %s; %s: %s; spent and held: %s; %s.", money_to_cstring(needed),
							 cap, money_to_cstring(limit), spend_to_cstring(counted), resets);
}

/*
 * Tell whether caps that were brought to the clock deny a change, and keep the
 * reason: of those that do, the one that resets last. It may be told of.
 */
static bool
caps_deny(Account *acc, const CapList *list, const CapChange *change, bool tell)
{
	const Cap  *last = NULL;
	Money		amount = 0;
	TimestampTz last_resets = 0;

	for (int i = 0; i < list->n; i++)
	{
		const Cap  *cap = &list->caps[i];
		CapChange	part = change_of_cap(cap, change);
		TimestampTz resets;

		if (cap->action != CAP_DENY || (part.spent == 0 && part.held == 0) ||
			!cap_is_exceeded(cap, part.spent + part.held))
			continue;
		resets = cap_resets_at(cap, part.spent + part.held);
		if (last != NULL && (resets < last_resets || (resets == last_resets && strcmp(cap->model, last->model) >= 0)))
			continue;
		last = cap;
		last_resets = resets;
		amount = part.spent + part.held;
	}
	if (last == NULL)
		return false;
	cap_exceeded(amount, psprintf(last->model[0] == '\0' ? "%s cap" : "%s cap of model \"%s\"", cap_kinds[last->kind], last->model),
				 last->limit, cap_counted(last), last_resets);
	if (tell)
		cap_denied(acc, last);
	return true;
}

/*
 * caps_admit moves the counters of a locked account's caps unless a deny cap
 * would be exceeded; false then, and nothing has changed.
 */
bool
caps_admit(Account *acc, const CapChange *change, CapVerdict *verdict)
{
	CapList		list = {0};

	verdict->warning = CAP_NO_ACTION;
	if (change->spent == 0 && change->held == 0)
		return true;
	if (acc->caps > 0)
	{
		if (!acc->team && caps_try(acc, change, true, verdict))
			return true;
		caps_read(acc, false, &list);
		if (caps_deny(acc, &list, change, true))
			return false;
	}
	if (acc->team && !member_admit(acc, change->actor, change->spent, change->held))
		return false;
	caps_count(acc, &list, change, verdict);
	return true;
}

/*
 * caps_would_deny tells whether a change would exceed a deny cap: of a locked
 * account, or in the snapshot of the calling statement. It keeps the reason.
 */
bool
caps_would_deny(Account *acc, const CapChange *change, bool read_only)
{
	CapList		list;

	if (change->spent == 0 && change->held == 0)
		return false;
	caps_read(acc, read_only, &list);
	if (caps_deny(acc, &list, change, acc->exists && !read_only))
		return true;
	return acc->team && member_state(acc, change->actor, change->spent + change->held, read_only) == MEMBER_CAPPED;
}

/*
 * caps_refund gives room back in the windows of a debit that is refunded.
 */
void
caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at)
{
	CapList		list;

	if (acc->team && refunded->actor != NULL && refunded->spent != 0)
		member_refund(acc, refunded->actor, refunded->spent, debited_at);
	if (acc->caps == 0 || refunded->spent == 0)
		return;
	caps_select(acc, false, &list);
	for (int i = 0; i < list.n; i++)
		if (cap_concerns(&list.caps[i], refunded->model) && cap_give_back(&list.caps[i], refunded->spent, debited_at))
			cap_update(acc, &list.caps[i]);
}

/*
 * caps_refund_models does what caps_refund does where the debit was of lines,
 * after as much was refunded of it before: their models get it back in their
 * order.
 */
void
caps_refund_models(const Account *acc, const CapChange *refunded, const EntryModels *models, Money before,
				   TimestampTz debited_at)
{
	Money		position = 0;

	for (int i = 0; i < models->n; i++)
	{
		Money		end = position + models->spend[i];
		CapChange	part = *refunded;

		part.model = models->models[i];
		part.spent = Min(end, before + refunded->spent) - Max(position, before);
		if (part.spent > 0)
			caps_refund(acc, &part, debited_at);
		position = end;
	}
}

