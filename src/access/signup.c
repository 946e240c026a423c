/*
 * signup.c
 *		The credits that a new user gets: a trigger on auth.users, which must
 *		never stand in the way of a signup. Who is anonymous or not confirmed
 *		yet may get them later.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "account/ledger.h"
#include "base/query.h"
#include "base/subxact.h"
#include "base/uuid.h"
#include "credit/add.h"
#include "pricing/pricing.h"

PG_FUNCTION_INFO_V1(ducto_signup_bonus);

#define BONUS_KEY	"signup_bonus"
#define LOCK_TIMEOUT_MS	1000

/* What the row of a user tells; a column that is not there tells nothing. */
typedef struct SignupState
{
	bool		anonymous;
	bool		confirmed;
} SignupState;

/*
 * Return the row of a user as it is now.
 */
static HeapTuple
signup_row(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

/*
 * Return the id of a user, NULL when the row has none.
 */
static pg_uuid_t *
signup_user(const TriggerData *trigger)
{
	TupleDesc	desc = trigger->tg_relation->rd_att;
	int			column = SPI_fnumber(desc, "id");
	bool		isnull = true;
	Datum		id = (Datum) 0;

	if (column > 0 && getBaseType(SPI_gettypeid(desc, column)) == UUIDOID)
		id = SPI_getbinval(signup_row(trigger), desc, column, &isnull);
	return isnull ? NULL : DatumGetUUIDP(id);
}

/*
 * Read what a row of a user tells.
 */
static SignupState
signup_state(TupleDesc desc, HeapTuple row)
{
	static const char *const confirmations[] = {"email_confirmed_at", "phone_confirmed_at", "confirmed_at"};
	SignupState state = {0};
	int			column = SPI_fnumber(desc, "is_anonymous");
	bool		isnull;

	if (column > 0 && SPI_gettypeid(desc, column) == BOOLOID)
	{
		Datum		value = SPI_getbinval(row, desc, column, &isnull);

		state.anonymous = !isnull && DatumGetBool(value);
	}
	for (int i = 0; i < lengthof(confirmations); i++)
	{
		column = SPI_fnumber(desc, confirmations[i]);
		if (column > 0)
		{
			(void) SPI_getbinval(row, desc, column, &isnull);
			state.confirmed |= !isnull;
		}
	}
	return state;
}

/*
 * Tell whether a row says what it did not say before.
 */
static bool
signup_changed(const TriggerData *trigger)
{
	TupleDesc	desc = trigger->tg_relation->rd_att;
	SignupState now = signup_state(desc, signup_row(trigger));
	SignupState before;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return true;
	before = signup_state(desc, trigger->tg_trigtuple);
	return now.anonymous != before.anonymous || now.confirmed != before.confirmed;
}

/*
 * Tell whether a bonus is due: to a new user for whom it is meant, or to one
 * for whom it was not, being anonymous or not confirmed, and now is.
 */
static bool
bonus_is_due(const TriggerData *trigger, const SignupBonus *bonus)
{
	TupleDesc	desc = trigger->tg_relation->rd_att;
	SignupState now = signup_state(desc, signup_row(trigger));
	SignupState before;

	if (bonus->amount <= 0 || (now.anonymous && !bonus->anonymous) || (!now.confirmed && bonus->confirmed))
		return false;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		return true;
	before = signup_state(desc, trigger->tg_trigtuple);
	return (before.anonymous && !bonus->anonymous) || (!before.confirmed && bonus->confirmed);
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
	SignupBonus bonus;
	CreditRequest request = {
		.type = TYPE_SIGNUP_BONUS,
		.expires_at = DT_NOEND,
		.key = BONUS_KEY,
		.any_amount = true,
		.priority = DEFAULT_PRIORITY,
	};
	CreditOutcome outcome;

	if (pricing == NULL)
		return;
	pricing_signup_bonus(pricing, &bonus);
	if (!bonus_is_due(trigger, &bonus))
		return;
	request.amount = bonus.amount;
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
 * Book a user's bonus, after no longer than it may be waited for.
 */
static bool
bonus_book_bounded(void *trigger)
{
	int			level = NewGUCNestLevel();

	lock_timeout_bound();
	query_begin();
	bonus_book(trigger);
	query_end();
	AtEOXact_GUC(true, level);
	return true;
}

/*
 * Book a user's bonus in a subtransaction, whose error costs the bonus and
 * nothing else.
 */
static void
bonus_try(TriggerData *trigger)
{
	ErrorData  *error;

	(void) subxact_try(bonus_book_bounded, trigger, &error);
	if (error != NULL)
		bonus_forgo(trigger, error);
}

/*
 * ducto.signup_bonus gives a user the bonus of the active pricing, once.
 * It locks the user's account. Errors: see its COMMENT.
 */
Datum
ducto_signup_bonus(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("ducto.signup_bonus is a trigger function for after insert or update, for each row")));
	if (signup_changed(trigger))
		bonus_try(trigger);
	return PointerGetDatum(NULL);
}
