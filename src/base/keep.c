/*
 * keep.c
 *		Keeps the rows of the tables: what the books rest on is removed by the
 *		functions that may, and by nobody's hand.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "tcop/tcopprot.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

#include "base/keep.h"
#include "base/listen.h"

PG_FUNCTION_INFO_V1(ducto_refuse_removal);

/* At which depth of triggers query_remove's own are called, 0 for none, and whether query_empty is removing all of a table. */
static int	removing = 0;
static bool emptying = false;

/*
 * Return how deep in triggers this is.
 */
static int
trigger_depth(void)
{
	return DatumGetInt32(OidFunctionCall0(F_PG_TRIGGER_DEPTH));
}

/*
 * query_remove executes a DELETE of our own and returns the number of rows
 * that it removed. What a trigger of somebody's own removes meanwhile is not ours.
 */
uint64
query_remove(KeptQuery *query, QueryArgs *args)
{
	uint64		removed = 0;
	int			before = removing;

	removing = trigger_depth() + 1;
	PG_TRY();
	{
		removed = query_run(query, args, SPI_OK_DELETE);
	}
	PG_FINALLY();
	{
		removing = before;
	}
	PG_END_TRY();
	return removed;
}

/*
 * query_empty executes a SELECT by which this node's part of a table is
 * truncated, whose rows are elsewhere.
 */
void
query_empty(KeptQuery *query, QueryArgs *args)
{
	emptying = true;
	PG_TRY();
	{
		query_run(query, args, SPI_OK_SELECT);
	}
	PG_FINALLY();
	{
		emptying = false;
	}
	PG_END_TRY();
}

/*
 * keep_is_emptying tells whether query_empty is at work, so that a truncation
 * loses nothing.
 */
bool
keep_is_emptying(void)
{
	return emptying;
}

/* What to do instead of removing rows of a table by hand. */
static const struct
{
	const char *table;
	const char *hint;
}			instead[] =
{
	{"reservations", "End a reservation with ducto_release or ducto_deduct; ducto_prune_reservations removes those that ended"
	" long ago."},
	{"spend_caps", "Remove a cap with ducto_remove_spend_cap."},
	{"team_members", "Remove a member with ducto_remove_team_member."},
	{"pricing", "Activate another version with ducto_activate_pricing."},
	{"plans", "Publish a pricing without the plan: it is retired then."},
	{"plan_allowances", "Publish a pricing with another allowance."},
	{"teams", "Remove the members with ducto_remove_team_member."},
	{"test_clock", "Turn ducto.test_clock off: the clock is the server's then."},
	{"events", "Acknowledge events with ducto_ack_events: a sweep removes them later."},
	{"alerts", "Set others with ducto_set_alerts, and auto top-up with ducto_set_auto_topup."},
	{"team_keys", "Make another team under another key."},
};

/*
 * Return what to do instead of removing rows of a table.
 */
static const char *
hint_instead(const char *table)
{
	for (int i = 0; i < lengthof(instead); i++)
		if (strcmp(table, instead[i].table) == 0)
			return instead[i].hint;
	return "Book a correction with ducto_add_credits or ducto_refund.";
}

/*
 * Tell whether a table is a shard of one that ducto removes rows of, and the
 * statement is one of ducto's, which Citus has sent from another node.
 */
static bool
is_ours_from_elsewhere(const char *table)
{
	static const char *const shards[] = {"reservations_", "spend_caps_", "events_"};

	if (debug_query_string == NULL || strstr(debug_query_string, REMOVAL_MARK) == NULL)
		return false;
	for (int i = 0; i < lengthof(shards); i++)
		if (strncmp(table, shards[i], strlen(shards[i])) == 0)
			return true;
	return false;
}

/*
 * Trigger: rows are not removed by hand.
 */
Datum
ducto_refuse_removal(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const char *table;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "not called by trigger manager");
	table = RelationGetRelationName(trigger->tg_relation);
	if (removing != trigger_depth() && !emptying && !is_ours_from_elsewhere(table))
	{
		table = table_of_part(table);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rows of ducto.%s are not removed", table),
				 errdetail("The books rest on them, and what was removed could not be proven any more."),
				 errhint("%s", hint_instead(table))));
	}
	return PointerGetDatum(NULL);
}
