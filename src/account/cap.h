#ifndef DUCTO_ACCOUNT_CAP_H
#define DUCTO_ACCOUNT_CAP_H

#include "account/account.h"
#include "account/ledger.h"

/* A spend cap. model is empty for all models. */
typedef struct Cap
{
	const char *cap_type;
	const char *model;
	Money		limit;
	const char *action;
} Cap;

/* What an operation moves on the counters of an account's caps. */
typedef struct CapChange
{
	const char *model;			/* of what is spent; NULL for none */
	Money		spent;
	const char *held_model;		/* of what is held; NULL for none */
	Money		held;
	const pg_uuid_t *actor;		/* the member, where the account is a team's pool */
} CapChange;

/* What the caps say of a change. */
typedef struct CapVerdict
{
	const char *warning;		/* the strongest action exceeded, NULL for none */
} CapVerdict;

/*
 * What holds of an account that are past their time, but count in its caps
 * still, hold: by model, and empty for all. They expire after one time and no
 * later than another.
 */
#define CAPS_DUE(account, after, until) \
	"SELECT CASE WHEN grouping(model) = 0 THEN model ELSE '' END AS model, sum(cap_held) AS held FROM ducto.reservations" \
	" WHERE account_id = " account " AND state = 'open' AND expires_at > " after " AND expires_at <= " until \
	" GROUP BY GROUPING SETS ((model), ()) HAVING sum(cap_held) > 0 AND (grouping(model) = 1 OR model IS NOT NULL)"

/* The window that a cap c counts in, a day or a month, from parameters; and from and until when it lasts. */
#define CAP_WINDOW(c, day, month)	"CASE WHEN " c ".cap_type = 'daily' THEN " day " ELSE " month " END"
#define CAP_FROM(c, day, month)		"(" CAP_WINDOW(c, day, month) ")::timestamp AT TIME ZONE 'UTC'"
#define CAP_UNTIL(c, day, month) \
	"(CASE WHEN " c ".cap_type = 'daily' THEN " day " + interval '1 day' ELSE " month " + interval '1 month' END) AT TIME ZONE 'UTC'"

/* What was spent by an entry l on a model, or on all when that is empty. */
#define ENTRY_SPENT(l, model) \
	"CASE WHEN " model " = '' OR " l ".models IS NULL THEN -" l ".amount ELSE" \
	" (SELECT m.spend FROM unnest(" l ".models, " l ".model_spend) AS m(model, spend) WHERE m.model = " model ") END"

/* What r.refunded, all that was refunded of an entry, gives back of that: its lines' models get it back in their order. */
#define ENTRY_REFUNDED(r, model) \
	"CASE WHEN " model " = '' OR " r ".models IS NULL THEN " r ".refunded ELSE" \
	" (SELECT least(greatest(" r ".refunded - m.before, 0.0000), m.spend) FROM (SELECT u.model, u.spend," \
	"   sum(u.spend) OVER (ORDER BY u.n) - u.spend AS before" \
	"   FROM unnest(" r ".models, " r ".model_spend) WITH ORDINALITY AS u(model, spend, n)) m WHERE m.model = " model ") END"

/*
 * What the ledger says counts in a window for a model, or for all when that is
 * empty: what was spent in it, less what was refunded of that. No entry up to
 * the seq after counts.
 */
#define SAID_SPENT(account, model, from, until, after) \
	"((SELECT coalesce(sum(" ENTRY_SPENT("l", model) "), 0.0000) FROM ducto.ledger l" \
	"  WHERE l.account_id = " account " AND l.seq > " after \
	"  AND l.type = 'usage' AND l.effective_at >= " from " AND l.effective_at < " until \
	"  AND (" model " = '' OR l.model = " model " OR l.models IS NOT NULL))" \
	" - (SELECT coalesce(sum(" ENTRY_REFUNDED("r", model) "), 0.0000)" \
	"  FROM (SELECT d.models, d.model_spend, sum(f.amount) AS refunded" \
	"  FROM ducto.ledger f JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = " account \
	"  WHERE f.account_id = " account " AND f.seq > " after " AND f.type = 'refund'" \
	"   AND d.effective_at >= " from " AND d.effective_at < " until \
	"   AND (" model " = '' OR d.model = " model " OR d.models IS NOT NULL) GROUP BY d.seq, d.models, d.model_spend) r))"

/* What of a cap c counts as spent in its window, which may have to be made anew; no entry up to the seq after counts. */
#define CAP_SPENT(c, day, month, moved, after) \
	"CASE WHEN " c ".period = " CAP_WINDOW(c, day, month) " THEN " c ".spent WHEN " moved " THEN " \
	SAID_SPENT(c ".account_id", c ".model", CAP_FROM(c, day, month), CAP_UNTIL(c, day, month), after) " ELSE 0.0000 END"

extern void cap_set(Account *acc, const Cap *cap);
extern bool cap_remove(Account *acc, const Cap *cap);
extern void caps_apply(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern void caps_apply_models(const Account *acc, const CapChange *change, const EntryModels *models, CapVerdict *verdict);
extern bool caps_admit(const Account *acc, const CapChange *change, CapVerdict *verdict);
extern bool caps_would_deny(const Account *acc, const CapChange *change, bool read_only);
extern void cap_exceeded(Money needed, const char *cap, Money limit, Spend counted, TimestampTz resets_at);
extern void caps_refund(const Account *acc, const CapChange *refunded, TimestampTz debited_at);
extern void caps_refund_models(const Account *acc, const CapChange *refunded, const EntryModels *models, Money before,
							   TimestampTz debited_at);
extern void caps_end_holds(Account *acc, TimestampTz until);
extern void caps_make(const Account *acc);

#endif
