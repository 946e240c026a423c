#ifndef DUCTO_ACCOUNT_CAPMAKE_H
#define DUCTO_ACCOUNT_CAPMAKE_H

#include "account/cap.h"

/*
 * What holds of an account $1 that are past their time, but count in its caps
 * still, hold: by model, and empty for all. They expire after the time $2 and no
 * later than $3.
 */
#define CAPS_DUE \
	"SELECT CASE WHEN grouping(model) = 0 THEN model ELSE '' END AS model, sum(cap_held) AS held FROM ducto.reservations" \
	" WHERE account_id = $1 AND state = 'open' AND expires_at > $2 AND expires_at <= $3" \
	" GROUP BY GROUPING SETS ((model), ()) HAVING sum(cap_held) > 0 AND (grouping(model) = 1 OR model IS NOT NULL)"

enum
{
	CAPS_DUE_MODEL, CAPS_DUE_HELD
};

extern void cap_make(const Account *acc, Cap *cap, bool read_only);
extern void cap_make_held(const Account *acc, Cap *cap, bool read_only);
extern void caps_subtract_due(const Account *acc, CapList *list);
extern void cap_edit(const Account *acc, Cap *cap, const Cap *terms, bool read_only);
extern int64 plan_caps(const char *plan_id, bool read_only, CapList *list);

#endif
