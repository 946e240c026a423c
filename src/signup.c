/*
 * signup.c
 *		The credits that a new user gets: a trigger on auth.users, which must
 *		never stand in the way of a signup.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/resowner.h"

#include "credit.h"
#include "ledger.h"
#include "pricing.h"
#include "query.h"
#include "uuid.h"

PG_FUNCTION_INFO_V1(ducto_signup_bonus);

#define BONUS_KEY	"signup_bonus"
#define LOCK_TIMEOUT_MS	1000

/*
 * Return the id of a new user, NULL when the row has none.
 */
static pg_uuid_t *
signup_user(const TriggerData *trigger)
{
	TupleDesc	desc = trigger->tg_relation->rd_att;
	int			column = SPI_fnumber(desc, "id");
	bool		isnull = true;
	Datum		id = (Datum) 0;

	if (column > 0 && getBaseType(SPI_gettypeid(desc, column)) == UUIDOID)
		id = SPI_getbinval(trigger->tg_trigtuple, desc, column, &isnull);
	return isnull ? NULL : DatumGetUUIDP(id);
}

/*
 * Do not wait for a lock longer than a signup may.
 */
static void
lock_timeout_bound(void)
{
	if (LockTimeout == 0 || LockTimeout > LOCK_TIMEOUT_MS)
		(void) set_config_option("lock_timeout", psprintf("%d", LOCK_TIMEOUT_MS), PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Book a user's bonus, if the active pricing has one. The key makes it one for
 * ever.
 */
static void
bonus_book(const TriggerData *trigger)
{
	Pricing    *pricing = pricing_get_active(false);
	CreditRequest request = {
		.amount = pricing != NULL ? pricing_signup_bonus(pricing) : 0,
		.type = TYPE_SIGNUP_BONUS,
		.expires_at = DT_NOEND,
		.key = BONUS_KEY,
		.priority = DEFAULT_PRIORITY,
	};
	CreditOutcome outcome;

	if (request.amount <= 0)
		return;
	request.account = signup_user(trigger);
	if (request.account == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a row of \"%s\" has no uuid in a column \"id\"", RelationGetRelationName(trigger->tg_relation))));
	credit_add(&request, &outcome);
	if (outcome.rejection != ACCEPTED)
		ereport(ERROR,
				(errcode(ERRCODE_UNIQUE_VIOLATION),
				 errmsg("%s", rejection_code(outcome.rejection)),
				 errdetail("Its key \"%s\" was used for something else.", BONUS_KEY)));
}

/*
 * Turn an error into a warning, unless the statement or the session is to end.
 */
static void
bonus_forgo(const TriggerData *trigger, ErrorData *error)
{
	pg_uuid_t  *user = signup_user(trigger);

	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("a new user got no signup bonus: %s", error->message),
			 user == NULL ? 0 :
			 errdetail("The user is %s.%s%s", uuid_to_cstring(user),
					   error->detail != NULL ? " " : "", error->detail != NULL ? error->detail : ""),
			 errhint("Book it with ducto_add_credits, type signup_bonus, idempotency_key signup_bonus.")));
	FreeErrorData(error);
}

/*
 * Book a user's bonus in a subtransaction, whose error costs the bonus and
 * nothing else.
 */
static void
bonus_try(const TriggerData *trigger)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;
	int			level;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		level = NewGUCNestLevel();
		lock_timeout_bound();
		query_begin();
		bonus_book(trigger);
		query_end();
		AtEOXact_GUC(true, level);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL)
		bonus_forgo(trigger, error);
}

/*
 * ducto.signup_bonus gives a new user the bonus of the active pricing, once.
 * It locks the user's account. Errors: see its COMMENT.
 */
Datum
ducto_signup_bonus(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.signup_bonus is a trigger function for after insert, for each row")));
	bonus_try(trigger);
	return PointerGetDatum(NULL);
}
