/*
 * event.c
 *		The table events: what is to be told to others, written in the
 *		operation's own transaction and taken from there.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/async.h"
#include "utils/array.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/tuplestore.h"

#include "account/alert.h"
#include "account/claim.h"
#include "account/event.h"
#include "account/rollset.h"
#include "account/wave.h"
#include "base/cluster.h"
#include "base/uuid.h"
#include "base/uuidv7.h"

/* What sessions that LISTEN are told. */
#define EVENT_CHANNEL	"ducto_events"

const char *const event_kinds[] = {
	EVENT_BALANCE_LOW, EVENT_BALANCE_EXHAUSTED, EVENT_BALANCE_RECOVERED, EVENT_TOPUP_DUE, EVENT_ALLOWANCE_USED, EVENT_CAP_USED,
	EVENT_GRANT_EXPIRING, EVENT_RESERVATION_EXPIRED, EVENT_PLAN_CHANGED, EVENT_REVERSAL_SHORTFALL, NULL
};

/* The account's lock orders the events; their numbers go on from the last that its row has. */
static KeptQuery events_insert_query = {
	.sql = "INSERT INTO ducto.events" EVENTS_SQL("$1", "$2 + e.n", "$9", "$3", "$4", "$5")
	" FROM unnest($6, $7, $8) WITH ORDINALITY AS e (id, kind, payload, n)",
	.types = {UUIDOID, INT8OID, NUMERICOID, INT8OID, TIMESTAMPTZOID, UUIDARRAYOID, TEXTARRAYOID, JSONBARRAYOID, BOOLOID}
};

#define EVENT_COLUMNS	"id, account_id, user_id, team_id, kind, payload, created_at"

/* Of them the caller is told all, and one is read. */
enum
{
	EVENT_ID = 1
};

/*
 * Skips what others are taking. A row that one has taken since the snapshot is
 * read anew, and is not due any more then.
 */
static KeptQuery events_take_query = {
	.sql = "SELECT " EVENT_COLUMNS ", attempt + 1 FROM ducto.events"
	" WHERE origin = $1 AND acked_at IS NULL AND visible_at <= $2"
	" ORDER BY visible_at, account_id, number LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED",
	.types = {INT8OID, TIMESTAMPTZOID, INT8OID},
	.tuples = true
};

/*
 * The same of given kinds, of each from its own part of an index: what waits of
 * others is not read. It locks as many of each kind as it returns of all. The
 * two comparisons are an equality after which the order by kind still counts,
 * and only that index has it, whatever the statistics say.
 */
static KeptQuery events_take_kinds_query = {
	.sql = "SELECT " EVENT_COLUMNS ", attempt + 1 FROM (SELECT DISTINCT kind AS taken FROM unnest($4) kind) k, LATERAL"
	" (SELECT " EVENT_COLUMNS ", attempt, visible_at, number FROM ducto.events"
	"  WHERE origin = $1 AND acked_at IS NULL AND visible_at <= $2 AND kind >= k.taken AND kind <= k.taken"
	"  ORDER BY kind, visible_at, account_id, number LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) e"
	" ORDER BY visible_at, account_id, number LIMIT $3",
	.types = {INT8OID, TIMESTAMPTZOID, INT8OID, TEXTARRAYOID}
};

/* The caller has the rows' locks. */
static KeptQuery events_lease_query = {
	.sql = "UPDATE ducto.events SET visible_at = $2, attempt = attempt + 1 WHERE id = ANY ($1)",
	.types = {UUIDARRAYOID, TIMESTAMPTZOID}
};

/* What the statements that find events say of each. */
enum
{
	FOUND_ACCOUNT = 1, FOUND_NUMBER
};

/* On a cluster the events are on many nodes and each has its origin; they are found without a lock, and locked one by one. */
static KeptQuery events_origins_query = {
	.sql = "SELECT array_append(array_agg(n.result::bigint), $1)"
	" FROM pg_catalog.run_command_on_all_nodes('SELECT ducto.event_origin()') n WHERE n.success",
	.types = {INT8OID}
};
static KeptQuery events_adopt_query = {
	.sql = "UPDATE ducto.events SET origin = $1 WHERE acked_at IS NULL AND origin IN (SELECT n.result::bigint"
	" FROM pg_catalog.run_command_on_all_nodes('SELECT ducto.event_origin()') n WHERE n.success)",
	.types = {INT8OID}
};
static KeptQuery events_due_query = {
	.sql = "SELECT account_id, number FROM ducto.events"
	" WHERE origin = ANY ($1) AND acked_at IS NULL AND visible_at <= $2 AND ($4 IS NULL OR kind = ANY ($4))"
	" ORDER BY visible_at, account_id, number LIMIT $3",
	.types = {INT8ARRAYOID, TIMESTAMPTZOID, INT8OID, TEXTARRAYOID}
};

/* Skips a row that another is taking, and one that has been taken since it was found. */
static KeptQuery event_take_query = {
	.sql = "SELECT " EVENT_COLUMNS ", attempt + 1 FROM ducto.events"
	" WHERE account_id = $1 AND number = $2 AND acked_at IS NULL AND visible_at <= $3 FOR NO KEY UPDATE SKIP LOCKED",
	.types = {UUIDOID, INT8OID, TIMESTAMPTZOID},
	.tuples = true
};

/* The caller has the row's lock. */
static KeptQuery event_lease_query = {
	.sql = "UPDATE ducto.events SET visible_at = $3, attempt = attempt + 1 WHERE account_id = $1 AND number = $2",
	.types = {UUIDOID, INT8OID, TIMESTAMPTZOID}
};

/* Waits for who takes or acknowledges it. */
static KeptQuery event_ack_query = {
	.sql = "UPDATE ducto.events SET acked_at = $3 WHERE account_id = $1 AND number = $2 AND acked_at IS NULL",
	.types = {UUIDOID, INT8OID, TIMESTAMPTZOID}
};

/* The caller has the account's lock, and does not wait with it for who takes or acknowledges the event. */
static KeptQuery event_waiting_query = {
	.sql = "SELECT account_id, number FROM ducto.events WHERE account_id = $1 AND id = $2 AND acked_at IS NULL"
	" FOR NO KEY UPDATE SKIP LOCKED",
	.types = {UUIDOID, UUIDOID}
};

/*
 * The lowest level of nested transactions whose events are not rolled back; 0
 * when there are none to tell of.
 */
static int	written_level = 0;

/*
 * event_begin begins the payload of an event.
 */
void
event_begin(JsonOut *payload)
{
	memset(payload, 0, sizeof(JsonOut));
	jsonout_push(payload, WJB_BEGIN_OBJECT, NULL);
}

/*
 * event_money adds an amount to a payload.
 */
void
event_money(JsonOut *payload, const char *key, Money value)
{
	jsonout_key(payload, key);
	jsonout_numeric(payload, DatumGetNumeric(money_to_datum(value)));
}

/*
 * event_int adds a number to a payload.
 */
void
event_int(JsonOut *payload, const char *key, int64 value)
{
	jsonout_key(payload, key);
	jsonout_numeric(payload, int64_to_numeric(value));
}

/*
 * event_bool adds true or false to a payload.
 */
void
event_bool(JsonOut *payload, const char *key, bool value)
{
	JsonbValue	json = {.type = jbvBool};

	json.val.boolean = value;
	jsonout_key(payload, key);
	jsonout_push(payload, WJB_VALUE, &json);
}

/*
 * event_text adds a text to a payload, null for NULL.
 */
void
event_text(JsonOut *payload, const char *key, const char *value)
{
	JsonbValue	null = {.type = jbvNull};

	jsonout_key(payload, key);
	if (value != NULL)
		jsonout_text(payload, value);
	else
		jsonout_push(payload, WJB_VALUE, &null);
}

/*
 * event_uuid adds an id to a payload.
 */
void
event_uuid(JsonOut *payload, const char *key, const pg_uuid_t *value)
{
	event_text(payload, key, uuid_to_cstring(value));
}

/*
 * event_time adds a time to a payload, as jsonb has times, in UTC.
 */
void
event_time(JsonOut *payload, const char *key, TimestampTz value)
{
	char	   *text = palloc(MAXDATELEN + 1);
	int			utc = 0;

	event_text(payload, key, JsonEncodeDateTime(text, TimestampTzGetDatum(value), TIMESTAMPTZOID, &utc));
}

/*
 * event_add ends a payload and notes the event on a locked account, whose next
 * write writes it; that of an account of a set, the set. id is that of the
 * event; NULL for a new one.
 */
void
event_add(Account *acc, const pg_uuid_t *id, const char *kind, JsonOut *payload)
{
	MemoryContext previous = MemoryContextSwitchTo(acc->set != NULL ? acc->set->memory : CurrentMemoryContext);
	Event	   *event = palloc0(sizeof(Event));

	if (id != NULL)
		event->id = *id;
	else
		uuidv7_make(&event->id, acc->now);
	event->kind = kind;
	event->payload = jsonout_end(payload);
	acc->events = lappend(acc->events, event);
	MemoryContextSwitchTo(previous);
}

/*
 * event_of_expired notes a reservation of a locked account that has just expired:
 * a row of the last result, whose columns are EXPIRED_COLUMNS.
 */
void
event_of_expired(Account *acc, uint64 row)
{
	pg_uuid_t	id = row_uuid(row, EXPIRED_ID);
	JsonOut		payload;

	event_begin(&payload);
	event_uuid(&payload, "reservation_id", &id);
	event_money(&payload, "amount", row_money(row, EXPIRED_AMOUNT));
	event_text(&payload, "operation_type", row_text(row, EXPIRED_OPERATION_TYPE));
	event_text(&payload, "model", row_text(row, EXPIRED_MODEL));
	if (!row_is_null(row, EXPIRED_ACTOR))
		event_uuid(&payload, "user_id", DatumGetUUIDP(row_datum(row, EXPIRED_ACTOR)));
	event_time(&payload, "expired_at", row_time(row, EXPIRED_AT));
	event_add(acc, NULL, EVENT_RESERVATION_EXPIRED, &payload);
}

/*
 * events_of_expired notes the reservations of a locked account that have just
 * expired: all of the last result.
 */
void
events_of_expired(Account *acc, uint64 n)
{
	for (uint64 i = 0; i < n; i++)
		event_of_expired(acc, i);
}

/*
 * Before the transaction commits, tell those who listen that there are events.
 * One that is prepared cannot: its events are found by those who look.
 */
static void
events_tell(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_COMMIT && written_level > 0)
		Async_Notify(EVENT_CHANNEL, "");
	if (event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		written_level = 0;
}

/*
 * Where a nested transaction ends, its events are those of the one around it,
 * or none.
 */
static void
events_end_level(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int			level = GetCurrentTransactionNestLevel();

	if (written_level < level)
		return;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		written_level = level - 1;
	else if (event == SUBXACT_EVENT_ABORT_SUB)
		written_level = 0;
}

/*
 * events_note notes that the current transaction has written events.
 */
void
events_note(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(events_tell, NULL);
		RegisterSubXactCallback(events_end_level, NULL);
		registered = true;
	}
	if (written_level == 0)
		written_level = GetCurrentTransactionNestLevel();
}

/*
 * Append the events that an account has noted as arrays.
 */
static void
args_events(QueryArgs *args, const Account *acc)
{
	int			n = list_length(acc->events);
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * n);
	void	  **kinds = palloc(sizeof(void *) * n);
	void	  **payloads = palloc(sizeof(void *) * n);

	for (int i = 0; i < n; i++)
	{
		const Event *event = list_nth(acc->events, i);

		ids[i] = event->id;
		kinds[i] = cstring_to_text(event->kind);
		payloads[i] = event->payload;
	}
	args_uuid(args, &acc->id);
	args_int8(args, acc->last_event);
	args_money(args, acc->balance);
	args_int8(args, event_origin());
	args_time(args, acc->now);
	args_uuid_array(args, ids, n);
	args_array(args, TEXTOID, kinds, n);
	args_array(args, JSONBOID, payloads, n);
	args_bool(args, acc->team);
}

/*
 * events_write writes the events that a locked account has noted, if any, and
 * numbers them. The account's row is for the caller to write.
 */
void
events_write(Account *acc)
{
	int			n = list_length(acc->events);
	QueryArgs	args = {0};

	if (n == 0)
		return;
	if (n == 1 && !acc->team)
		event_write_own(acc, linitial(acc->events), acc->last_event + 1);
	else
	{
		args_events(&args, acc);
		if (query_run(&events_insert_query, &args, SPI_OK_INSERT) != n)
			row_missing("events");
	}
	acc->last_event += n;
	acc->events = NIL;
	events_note();
}

/*
 * events_find executes a query that finds events, and tells which, in its order.
 */
void
events_find(KeptQuery *query, QueryArgs *args, EventKeys *found)
{
	found->n = (int) query_run(query, args, SPI_OK_SELECT);
	found->accounts = palloc(sizeof(pg_uuid_t) * Max(found->n, 1));
	found->numbers = palloc(sizeof(int64) * Max(found->n, 1));
	for (int i = 0; i < found->n; i++)
	{
		found->accounts[i] = row_uuid(i, FOUND_ACCOUNT);
		found->numbers[i] = row_int8(i, FOUND_NUMBER);
	}
}

/*
 * args_events_of_wave appends which of the events that a wave is about are on its
 * shards.
 */
void
args_events_of_wave(QueryArgs *args, const Wave *wave, const EventKeys *events)
{
	int			n;
	int64	   *places = wave_places(wave, &n);

	for (int i = 0; i < n; i++)
		places[i] = events->numbers[places[i]];
	wave_args_accounts(wave, args);
	args_int8_array(args, places, n);
}

/*
 * Append which event it is.
 */
static void
args_event(QueryArgs *args, const EventKeys *events, int i)
{
	args_uuid(args, &events->accounts[i]);
	args_int8(args, events->numbers[i]);
}

/*
 * Append the kinds that are wanted, an array; 0 for all.
 */
static void
args_kinds(QueryArgs *args, Datum kinds)
{
	if (kinds == (Datum) 0)
		args_null(args);
	else
		args_datum(args, kinds);
}

/*
 * Lease events until a time, by one lock and one update.
 */
static void
take_together(TimestampTz now, TimestampTz until, int max_rows, Datum kinds, Tuplestorestate *taken)
{
	QueryArgs	args = {0};
	QueryArgs	lease = {0};
	pg_uuid_t  *ids;
	uint64		n;

	args_int8(&args, event_origin());
	args_time(&args, now);
	args_int8(&args, max_rows);
	if (kinds == (Datum) 0)
		n = query_run(&events_take_query, &args, SPI_OK_SELECT);
	else
	{
		args_datum(&args, kinds);
		n = query_run(&events_take_kinds_query, &args, SPI_OK_SELECT);
	}
	if (n == 0)
		return;
	ids = palloc(sizeof(pg_uuid_t) * n);
	for (uint64 i = 0; i < n; i++)
	{
		ids[i] = row_uuid(i, EVENT_ID);
		tuplestore_puttuple(taken, SPI_tuptable->vals[i]);
	}
	args_uuid_array(&lease, ids, (int) n);
	args_time(&lease, until);
	if (query_run(&events_lease_query, &lease, SPI_OK_UPDATE) != n)
		row_missing("events");
}

/*
 * Lease an event until a time, unless another has it.
 */
static void
take_one(const EventKeys *events, int i, TimestampTz now, TimestampTz until, Tuplestorestate *taken)
{
	QueryArgs	args = {0};
	QueryArgs	lease = {0};

	args_event(&args, events, i);
	args_time(&args, now);
	if (query_run(&event_take_query, &args, SPI_OK_SELECT) == 0)
		return;
	tuplestore_puttuple(taken, SPI_tuptable->vals[0]);
	args_event(&lease, events, i);
	args_time(&lease, until);
	if (query_run(&event_lease_query, &lease, SPI_OK_UPDATE) != 1)
		row_missing("events");
}

/*
 * Lease events of all nodes of a cluster until a time, one by one.
 */
static void
take_one_by_one(TimestampTz now, TimestampTz until, int max_rows, Datum kinds, Tuplestorestate *taken)
{
	QueryArgs	here = {0};
	QueryArgs	args = {0};
	EventKeys	due;

	args_int8(&here, event_origin());
	query_run(&events_origins_query, &here, SPI_OK_SELECT);
	args_datum(&args, row_datum(0, 1));
	args_time(&args, now);
	args_int8(&args, max_rows);
	args_kinds(&args, kinds);
	events_find(&events_due_query, &args, &due);
	for (int i = 0; i < due.n; i++)
		take_one(&due, i, now, until, taken);
}

/*
 * events_take leases events until a time: of the kinds given, an array, or of
 * all where that is 0. They are put into a set with the columns of ducto_event.
 */
void
events_take(TimestampTz now, TimestampTz until, int max_rows, Datum kinds, Tuplestorestate *taken)
{
	if (cluster_is_used())
		take_one_by_one(now, until, max_rows, kinds, taken);
	else
		take_together(now, until, max_rows, kinds, taken);
}

/*
 * events_adopt lets the events that wait on the nodes of a cluster be this
 * database's, to which their rows have been brought.
 */
void
events_adopt(void)
{
	QueryArgs	args = {0};

	args_int8(&args, event_origin());
	query_run(&events_adopt_query, &args, SPI_OK_UPDATE);
}

/*
 * event_ack acknowledges an event. False: it is acknowledged already.
 */
bool
event_ack(const pg_uuid_t *account, int64 number, TimestampTz now)
{
	QueryArgs	args = {0};

	args_uuid(&args, account);
	args_int8(&args, number);
	args_time(&args, now);
	return query_run(&event_ack_query, &args, SPI_OK_UPDATE) == 1;
}

/*
 * event_withdraw takes an event of a locked account back that nobody has
 * acknowledged, and nobody has the lock of: it is not told any more.
 */
void
event_withdraw(const Account *acc, const pg_uuid_t *id)
{
	QueryArgs	args = {0};
	EventKeys	waiting;

	args_uuid(&args, &acc->id);
	args_uuid(&args, id);
	events_find(&event_waiting_query, &args, &waiting);
	if (waiting.n > 0 && !event_ack(&waiting.accounts[0], waiting.numbers[0], acc->now))
		row_missing("events");
}
