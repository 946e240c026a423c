/*
 * cap.c
 *		The table spend_caps: spend caps and their counters, kept under the
 *		account's lock. A team's pool also has the caps of its members.
 */
#include "postgres.h"

#include "utils/array.h"

#include "account/cap.h"
#include "account/capmake.h"
#include "account/caproom.h"
#include "account/claim.h"
#include "account/member.h"
#include "base/keep.h"
#include "base/query.h"

/* The caps of a model, which is empty for none. */
#define CONCERNS(cap, model_param)	"(" cap "model = '' OR " cap "model = " model_param ")"

#define CAPS_MOVE_SQL(held) \
	"UPDATE ducto.spend_caps SET spent = spent + $3" held " WHERE account_id = $1 AND " CONCERNS("", "$2")
#define CAPS_MOVED	" RETURNING action, window_until, cap_limit - spent - held"

enum
{
	MOVED_ACTION = 1, MOVED_UNTIL, MOVED_LEFT
};

/*
 * Counts in all caps of a model at once, where all windows are the clock's, $5,
 * and nothing is denied. In every other case it does nothing, and what is to be
 * done is decided step by step. The snapshot is right: caps change under the
 * account's lock only.
 */
#define CAPS_COUNT_SQL(denied) \
	CAPS_MOVE_SQL(", held = held + $4") " AND NOT EXISTS (SELECT FROM ducto.spend_caps c" \
	"  WHERE c.account_id = $1 AND " CONCERNS("c.", "$2") " AND (c.window_until <= $5" denied "))" CAPS_MOVED
#define CAPS_COUNT_TYPES	UUIDOID, TEXTOID, NUMERICOID, NUMERICOID, TIMESTAMPTZOID

static KeptQuery caps_count_query = {.sql = CAPS_COUNT_SQL(""), .types = {CAPS_COUNT_TYPES}};

static KeptQuery caps_admit_query = {
	.sql = CAPS_COUNT_SQL(" OR c.action = 'deny' AND c.spent + c.held + $6 > c.cap_limit"),
	.types = {CAPS_COUNT_TYPES, NUMERICOID}
};

/* Count in them unseen, where that is likely to be right: the caller looks at what it told, and takes back what was not. */
static KeptQuery caps_spend_query = {.sql = CAPS_MOVE_SQL("") CAPS_MOVED, .types = {UUIDOID, TEXTOID, NUMERICOID}};
static KeptQuery caps_move_query = {
	.sql = CAPS_MOVE_SQL(", held = held + $4") CAPS_MOVED,
	.types = {UUIDOID, TEXTOID, NUMERICOID, NUMERICOID}
};

static KeptQuery caps_select_query = {
	.sql = "SELECT " CAP_COLUMNS " FROM ducto.spend_caps WHERE account_id = $1",
	.types = {UUIDOID}
};

/* The caller has the account's lock, as in all that follow. */
#define OID_kind	TEXTOID
#define OID_action	TEXTOID
#define CAP_TYPES	{UUIDOID, CAP_FIELDS(COLUMN_TYPE) NUMERICARRAYOID}

static KeptQuery cap_insert_query = {
	.sql = "INSERT INTO ducto.spend_caps (" CAP_COLUMNS ") VALUES ($1" CAP_FIELDS(COLUMN_PARAM) ", $12)",
	.types = CAP_TYPES
};

static KeptQuery cap_update_query = {
	.sql = "UPDATE ducto.spend_caps SET buckets = $12" CAP_OTHER_FIELDS(COLUMN_SET)
	" WHERE account_id = $1 AND cap_type = $2 AND model = $3",
	.types = CAP_TYPES
};

static KeptQuery cap_delete_query = {
	.sql = "DELETE FROM ducto.spend_caps WHERE account_id = $1 AND cap_type = $2 AND model = $3" REMOVED_BY_DUCTO("action"),
	.types = {UUIDOID, TEXTOID, TEXTOID}
};

static KeptQuery caps_due_query = {
	.sql = CAPS_DUE,
	.types = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static KeptQuery caps_free_query = {
	.sql = "UPDATE ducto.spend_caps SET held = held - $3 WHERE account_id = $1 AND model = $2",
	.types = {UUIDOID, TEXTOID, NUMERICOID}
};

/*
 * Append the kind of a cap.
 */
static void
args_kind(QueryArgs *args, CapKind value)
{
	args_text(args, cap_kinds[value]);
}

/*
 * Append the action of a cap.
 */
static void
args_action(QueryArgs *args, CapAction value)
{
	args_text(args, cap_actions[value]);
}

/*
 * Read the kind of a cap.
 */
static CapKind
row_kind(uint64 row, int column)
{
	return (CapKind) row_word(row, column, cap_kinds);
}

/*
 * Read the action of a cap.
 */
static CapAction
row_action(uint64 row, int column)
{
	return (CapAction) row_word(row, column, cap_actions);
}

#define FIELD_APPEND(n, column, kind, member)	args_##kind(&args, cap->member);
#define FIELD_READ(n, column, kind, member)	cap->member = row_##kind(row, n);

/*
 * args_buckets appends the buckets of a cap, NULL where it has none. What is 0
 * at the end is left out.
 */
void
args_buckets(QueryArgs *args, const Cap *cap)
{
	Datum		elements[CAP_BUCKETS];
	int			n = cap->nbuckets;

	if (cap->kind != CAP_SLIDING)
	{
		args_null(args);
		return;
	}
	while (n > 0 && cap->buckets[n - 1] == 0)
		n--;
	for (int i = 0; i < n; i++)
		elements[i] = spend_to_datum(cap->buckets[i]);
	args_datum(args, PointerGetDatum(construct_array(elements, n, NUMERICOID, -1, false, TYPALIGN_INT)));
}

/*
 * Write a cap of a locked account by one of the statements that do.
 */
static void
cap_write(KeptQuery *query, int expected, const Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	CAP_FIELDS(FIELD_APPEND)
	args_buckets(&args, cap);
	if (query_run(query, &args, expected) != 1)
		row_missing("spend_caps");
}

/*
 * Add a cap to a locked account.
 */
static void
cap_insert(Account *acc, const Cap *cap)
{
	cap_write(&cap_insert_query, SPI_OK_INSERT, acc, cap);
	acc->caps++;
}

/*
 * cap_update writes a cap of a locked account; one that a batch keeps is written
 * at its end.
 */
void
cap_update(const Account *acc, Cap *cap)
{
	if (acc->kept_caps != NULL)
		cap->unwritten = true;
	else
		cap_write(&cap_update_query, SPI_OK_UPDATE, acc, cap);
}

/*
 * Remove a cap of a locked account.
 */
static void
cap_delete(Account *acc, const Cap *cap)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	CAP_KEY_FIELDS(FIELD_APPEND)
	if (query_remove(&cap_delete_query, &args) != 1)
		row_missing("spend_caps");
	acc->caps--;
}

/*
 * Read the buckets of a cap whose window slides.
 */
static void
buckets_from_row(Cap *cap, uint64 row, int column)
{
	Datum	   *elements;
	int			n;

	cap_make_buckets(cap);
	if (cap->kind != CAP_SLIDING || row_is_null(row, column))
		return;
	deconstruct_array(DatumGetArrayTypeP(row_datum(row, column)), NUMERICOID, -1, false, TYPALIGN_INT, &elements, NULL, &n);
	if (n > CAP_BUCKETS)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a spend cap has %d buckets", n),
				 errhint("Run ducto_verify.")));
	cap->nbuckets = n;
	for (int i = 0; i < cap->nbuckets; i++)
		cap->buckets[i] = spend_from_datum(elements[i]);
}

/*
 * cap_from_row reads a row of CAP_COLUMNS.
 */
void
cap_from_row(Cap *cap, uint64 row)
{
	memset(cap, 0, sizeof(Cap));
	CAP_FIELDS(FIELD_READ)
	buckets_from_row(cap, row, CAP_BUCKETS_COLUMN);
}

/*
 * caps_select reads the caps of an account as they are written; of one whose
 * caps a batch keeps, as they are to be.
 */
void
caps_select(const Account *acc, bool read_only, CapList *list)
{
	QueryArgs	args = {0};
	uint64		n;

	if (acc->kept_caps != NULL)
	{
		Assert(!read_only);
		*list = *acc->kept_caps;
		return;
	}
	args_uuid(&args, &acc->id);
	n = read_only ? query_read(&caps_select_query, &args) : query_run(&caps_select_query, &args, SPI_OK_SELECT);
	list->n = (int) n;
	list->caps = palloc(sizeof(Cap) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
		cap_from_row(&list->caps[i], i);
}

/*
 * Bring the caps of an account to the clock.
 */
static void
caps_turn(const Account *acc, bool read_only, CapList *list)
{
	for (int i = 0; i < list->n; i++)
	{
		if (!acc->windows_moved)
			cap_turn(acc, &list->caps[i]);
		else if (!cap_is_in_window(acc, &list->caps[i]))
			cap_make(acc, &list->caps[i], read_only);
	}
}

/*
 * Return the cap of a list for the same, NULL for none.
 */
static Cap *
caps_find(const CapList *list, CapKind kind, const char *model)
{
	for (int i = 0; i < list->n; i++)
		if (list->caps[i].kind == kind && strcmp(list->caps[i].model, model) == 0)
			return &list->caps[i];
	return NULL;
}

/*
 * Let a new cap start from what its window has seen.
 */
static void
cap_start(const Account *acc, Cap *cap, bool read_only)
{
	cap->from = cap->until = DT_NOBEGIN;
	cap_make(acc, cap, read_only);
	cap_make_held(acc, cap, read_only);
}

/*
 * Let the caps of an account that are its plan's be those that the plan has
 * now, and return the version of these. Its own go before them. What was
 * counted stays with a cap of the same type and model. A locked account's are
 * written; otherwise the list is all that changes.
 */
static int64
caps_merge(Account *acc, bool read_only, CapList *list)
{
	CapList		plan;
	int64		version = plan_caps(acc->plan_id, read_only, &plan);
	CapList		merged = {.caps = palloc0(sizeof(Cap) * Max(list->n + plan.n, 1))};

	for (int i = 0; i < list->n; i++)
	{
		Cap		   *cap = &list->caps[i];
		const Cap  *terms = cap->of_plan ? caps_find(&plan, cap->kind, cap->model) : NULL;

		if (terms != NULL)
			cap_edit(acc, cap, terms, read_only);
		if (cap->of_plan && terms == NULL)
		{
			if (!read_only)
				cap_delete(acc, cap);
			continue;
		}
		if (terms != NULL && !read_only)
			cap_update(acc, cap);
		merged.caps[merged.n++] = *cap;
	}
	for (int i = 0; i < plan.n; i++)
	{
		Cap		   *cap = &plan.caps[i];

		if (caps_find(&merged, cap->kind, cap->model) != NULL)
			continue;
		cap_start(acc, cap, read_only);
		if (!read_only)
			cap_insert(acc, cap);
		merged.caps[merged.n++] = *cap;
	}
	*list = merged;
	return version;
}

/*
 * caps_sync lets the caps of a locked account be those that its plan has now,
 * beside its own. The caller writes the account.
 */
void
caps_sync(Account *acc)
{
	CapList		list;

	caps_select(acc, false, &list);
	caps_turn(acc, false, &list);
	acc->caps_version = caps_merge(acc, false, &list);
}

/*
 * caps_read reads the caps of an account as they are at the clock: of a locked
 * one, or in the snapshot of the calling statement, where what is due may not
 * be booked, nor the plan's caps written.
 */
void
caps_read(const Account *acc, bool read_only, CapList *list)
{
	list->n = 0;
	if (acc->caps > 0)
		caps_select(acc, read_only, list);
	caps_turn(acc, read_only, list);
	if (!read_only)
		return;
	caps_subtract_due(acc, list);
	if (caps_are_stale(acc))
	{
		Account		reader = *acc;

		(void) caps_merge(&reader, true, list);
	}
}

/*
 * cap_set adds or changes a cap of a locked account, and tells what it has
 * counted: that stays.
 */
void
cap_set(Account *acc, Cap *cap)
{
	CapList		list;
	Cap		   *known;

	caps_read(acc, false, &list);
	known = caps_find(&list, cap->kind, cap->model);
	if (known == NULL)
	{
		cap_start(acc, cap, false);
		cap_insert(acc, cap);
		return;
	}
	cap_edit(acc, known, cap, false);
	cap_update(acc, known);
	*cap = *known;
}

/*
 * cap_remove removes a cap of its own from a locked account; false when it has
 * none. Where the plan has the same, that is what is left.
 */
bool
cap_remove(Account *acc, CapKind kind, const char *model)
{
	CapList		list;
	CapList		plan;
	Cap		   *cap;
	const Cap  *terms;

	caps_read(acc, false, &list);
	cap = caps_find(&list, kind, model);
	if (cap == NULL || cap->of_plan)
		return false;
	(void) plan_caps(acc->plan_id, false, &plan);
	terms = caps_find(&plan, kind, model);
	if (terms == NULL)
	{
		cap_delete(acc, cap);
		return true;
	}
	cap_edit(acc, cap, terms, false);
	cap_update(acc, cap);
	return true;
}

/*
 * Count a change in the caps of a model by the statement that does so at once,
 * or by one that does not look before where that is likely to be right, or back;
 * returns how many they are.
 */
static uint64
caps_move(const Account *acc, const char *model, const CapChange *change, bool deny, bool unseen)
{
	QueryArgs	args = {0};

	args_uuid(&args, &acc->id);
	args_text(&args, model);
	args_money(&args, change->spent);
	if (unseen && change->held == 0)
		return query_run(&caps_spend_query, &args, SPI_OK_UPDATE_RETURNING);
	args_money(&args, change->held);
	if (unseen)
		return query_run(&caps_move_query, &args, SPI_OK_UPDATE_RETURNING);
	args_time(&args, acc->now);
	if (deny)
		args_money(&args, change->spent + change->held);
	return query_run(deny ? &caps_admit_query : &caps_count_query, &args, SPI_OK_UPDATE_RETURNING);
}

/*
 * Return what the caps that a change was counted in, n of them, have left, and
 * tell which action is exceeded with it.
 */
static CapRoom
caps_moved(uint64 n, CapVerdict *verdict)
{
	CapRoom		room = {.least = PG_INT64_MAX, .until = DT_NOEND};

	for (uint64 i = 0; i < n; i++)
	{
		CapAction	action = row_action(i, MOVED_ACTION);
		Spend		left = row_spend(i, MOVED_LEFT);

		room.until = Min(room.until, row_time(i, MOVED_UNTIL));
		if (action == CAP_DENY)
			room.least = Min(room.least, left);
		if (left < 0)
			verdict_warn(verdict, action);
	}
	return room;
}

/*
 * caps_try counts a change of one model in the caps of a locked account by one
 * statement, unless a deny cap would be exceeded, where that matters, and tells
 * which action is exceeded with it. False: it counted nothing, and what is to be
 * done is decided step by step.
 */
bool
caps_try(const Account *acc, const CapChange *change, bool deny, CapVerdict *verdict)
{
	const char *model = change->spent != 0 ? change->model : change->held_model;
	CapVerdict	exceeded = {0};
	CapRoom		room;
	bool		unseen;
	uint64		n;

	if (acc->kept_caps != NULL)
		return false;
	if (model == NULL)
		model = "";
	unseen = caps_are_likely(&acc->id, model, deny ? change->spent + change->held : PG_INT64_MIN, acc->now);
	n = caps_move(acc, model, change, deny, unseen);
	if (n == 0)
		return false;
	room = caps_moved(n, &exceeded);
	caps_note_room(&acc->id, model, &room);
	if (unseen && (room.until <= acc->now || (deny && room.least < 0)))
	{
		CapChange	back = {.spent = -change->spent, .held = -change->held};

		caps_move(acc, model, &back, false, true);
		return false;
	}
	if (exceeded.warning != CAP_NO_ACTION && (change->spent > 0 || change->held > 0))
		verdict_warn(verdict, exceeded.warning);
	return true;
}

/*
 * Free what holds held against the caps of a model, or of all: a row of
 * caps_due_query.
 */
static bool
caps_free(TupleTableSlot *slot, void *state)
{
	const Account *acc = state;
	QueryArgs	args = {0};

	slot_getallattrs(slot);
	query_begin();
	args_uuid(&args, &acc->id);
	args_datum(&args, slot->tts_values[CAPS_DUE_MODEL]);
	args_datum(&args, slot->tts_values[CAPS_DUE_HELD]);
	query_run(&caps_free_query, &args, SPI_OK_UPDATE);
	query_end();
	return true;
}

/*
 * caps_end_holds frees what holds of a locked account that end now held
 * against its caps, or its members': those that expire no later than a time
 * and still count. It touches the counters of these only.
 */
void
caps_end_holds(Account *acc, TimestampTz until)
{
	QueryArgs	args = {0};

	if (acc->team)
		members_end_holds(acc, until);
	if (acc->caps == 0)
		return;
	args_uuid(&args, &acc->id);
	args_time(&args, acc->ended_until);
	args_time(&args, until);
	query_each(&caps_due_query, &args, false, caps_free, acc);
}

/*
 * caps_make makes the counters of a locked account's caps anew whose window is
 * not that of the clock.
 */
void
caps_make(const Account *acc)
{
	CapList		list;

	caps_select(acc, false, &list);
	for (int i = 0; i < list.n; i++)
		if (!cap_is_in_window(acc, &list.caps[i]))
		{
			cap_make(acc, &list.caps[i], false);
			cap_update(acc, &list.caps[i]);
		}
}
