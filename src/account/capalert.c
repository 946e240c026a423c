/*
 * capalert.c
 *		Tells of spend caps: which parts of their limits are spent, and that one
 *		has rejected something, once per window.
 */
#include "postgres.h"

#include "account/alert.h"
#include "account/capalert.h"
#include "account/event.h"

/*
 * Return what tells the window of a cap from its others; one that slides, or
 * has no end, has one.
 */
static TimestampTz
cap_told_window(const Cap *cap)
{
	return cap->kind == CAP_SLIDING || cap->kind == CAP_TOTAL ? DT_NOBEGIN : cap->from;
}

/*
 * Return the highest of the lines that what is spent of a cap has reached, 0 for
 * none.
 */
static int
cap_reached(const Cap *cap, const Lines *lines)
{
	int			reached = 0;

	for (int i = 0; i < lines->ncap; i++)
		if (cap->spent >= percent_of(cap->limit, lines->cap[i]))
			reached = lines->cap[i];
	return reached;
}

/*
 * Note the event of a line of a cap.
 */
static void
cap_tell(Account *acc, const Cap *cap, int percent, bool denied)
{
	JsonOut		payload;

	event_begin(&payload);
	if (acc->has_actor)
		event_uuid(&payload, "user_id", &acc->actor);
	event_int(&payload, "percent", percent);
	event_text(&payload, "cap_type", cap_kinds[cap->kind]);
	event_text(&payload, "model", cap->model[0] != '\0' ? cap->model : NULL);
	event_text(&payload, "action", cap_actions[cap->action]);
	event_money(&payload, "cap_limit", cap->limit);
	event_money(&payload, "spent", (Money) Min(cap->spent, MONEY_MAX));
	event_bool(&payload, "rejected", denied);
	event_add(acc, NULL, EVENT_CAP_USED, &payload);
}

/*
 * Tell of the lines of a cap that were reached and not told of in its window;
 * where it denies something, of all of them.
 */
static void
cap_watch(Account *acc, const Cap *cap, const Lines *lines, bool denied)
{
	char	   *key = psprintf("%s %s", cap_kinds[cap->kind], cap->model);
	TimestampTz window = cap_told_window(cap);
	int			reached = denied && lines->ncap > 0 ? lines->cap[lines->ncap - 1] : cap_reached(cap, lines);
	int			told = alerts_cap_told(acc, key, window);

	if (told > 0 && TIMESTAMP_IS_NOBEGIN(window) && !denied && cap_reached(cap, lines) == 0)
		alerts_tell_cap(acc, key, window, 0);
	if (reached <= told)
		return;
	for (int i = 0; i < lines->ncap; i++)
		if (lines->cap[i] > told && lines->cap[i] <= reached)
			cap_tell(acc, cap, lines->cap[i], denied);
	alerts_tell_cap(acc, key, window, reached);
}

/*
 * caps_watch tells of the caps of a locked account whose lines an operation has
 * reached.
 */
void
caps_watch(Account *acc, const Lines *lines)
{
	CapList		list;

	caps_read(acc, false, &list);
	for (int i = 0; i < list.n; i++)
		cap_watch(acc, &list.caps[i], lines, false);
}

/*
 * cap_denied tells that a cap of a locked account has rejected something: all
 * that its operation writes.
 */
void
cap_denied(Account *acc, const Cap *cap)
{
	Account		teller = *acc;
	OwnAlerts	own;
	Lines		lines;

	teller.events = NIL;
	alerts_lines(&teller, &own, &lines);
	if (lines.ncap == 0 || lines.cap[lines.ncap - 1] < MAX_PERCENT)
		return;
	cap_watch(&teller, cap, &lines, true);
	account_tell(&teller);
	acc->last_event = teller.last_event;
	acc->unwritten = teller.unwritten;
}
