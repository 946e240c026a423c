/*
 * eventset.c
 *		Writes the events of many accounts together, and that of one.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "account/claim.h"
#include "account/event.h"
#include "base/bulk.h"
#include "base/query.h"

/* Events that are inserted together, about. */
#define EVENTS_AT_ONCE	10000

/* The columns of the table after the account, in its order. */
#define EVENT_FIELDS(FIELD) \
	FIELD(2, number, int8) \
	FIELD(3, id, uuid) \
	FIELD(4, user_id, uuid) \
	FIELD(5, team_id, uuid) \
	FIELD(6, kind, text) \
	FIELD(7, payload, jsonb) \
	FIELD(8, origin, int8) \
	FIELD(9, attempt, int4) \
	FIELD(10, visible_at, time) \
	FIELD(11, acked_at, time) \
	FIELD(12, created_at, time)
#define EVENT_INTO	"INSERT INTO ducto.events (account_id" EVENT_FIELDS(COLUMN_NAME) ")"

/* The caller has the account's lock, or those of all. A user's event is complete before it is written. */
static KeptQuery own_insert_query = {
	.sql = EVENT_INTO " VALUES ($1" EVENT_FIELDS(COLUMN_PARAM) ")",
	.types = {UUIDOID, EVENT_FIELDS(COLUMN_TYPE) InvalidOid}
};
static KeptQuery own_insert_many_query = {
	.sql = EVENT_INTO " SELECT * FROM unnest($1) AS e(account_id uuid" EVENT_FIELDS(COLUMN_OF_ROW) ")",
	.types = {RECORDARRAYOID}
};
static const BulkColumn event_columns[] = {{"account_id", UUIDOID}, EVENT_FIELDS(COLUMN_WRITTEN)};

/* A team's has to be told who the members are. */
static KeptQuery teams_insert_query = {
	.sql = "INSERT INTO ducto.events" EVENTS_SQL("e.account", "e.number", "true", "e.balance", "$2", "e.created")
	" FROM unnest($1) AS e (account uuid, number bigint, balance numeric, created timestamptz, id uuid, kind text,"
	" payload jsonb)",
	.types = {RECORDARRAYOID, INT8OID}
};
static const Oid team_types[] = {UUIDOID, INT8OID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, TEXTOID, JSONBOID, InvalidOid};

/*
 * Make the payload of an event complete by its number and the balance, as
 * EVENTS_SQL does.
 */
static Jsonb *
event_payload(const Event *event, int64 number, Money balance)
{
	JsonbIterator *it = JsonbIteratorInit(&event->payload->root);
	JsonbValue	part;
	JsonOut		whole;

	event_begin(&whole);
	event_int(&whole, "seq", number);
	event_money(&whole, "balance", balance);
	(void) JsonbIteratorNext(&it, &part, true);
	while (JsonbIteratorNext(&it, &part, true) == WJB_KEY)
	{
		jsonout_push(&whole, WJB_KEY, &part);
		(void) JsonbIteratorNext(&it, &part, true);
		jsonout_push(&whole, WJB_VALUE, &part);
	}
	return jsonout_end(&whole);
}

/*
 * Append the columns of a user's event.
 */
static void
args_own(QueryArgs *args, const Account *acc, const Event *event, int64 number)
{
	args_uuid(args, &acc->id);
	args_int8(args, number);
	args_uuid(args, &event->id);
	args_uuid(args, &acc->id);
	args_null(args);
	args_text(args, event->kind);
	args_datum(args, JsonbPGetDatum(event_payload(event, number, acc->balance)));
	args_int8(args, event_origin());
	args_int4(args, 0);
	args_time(args, acc->now);
	args_null(args);
	args_time(args, acc->now);
}

/*
 * Append what a team's event is made of.
 */
static void
args_of_team(QueryArgs *args, const Account *acc, const Event *event, int64 number)
{
	args_uuid(args, &acc->id);
	args_int8(args, number);
	args_money(args, acc->balance);
	args_time(args, acc->now);
	args_uuid(args, &event->id);
	args_text(args, event->kind);
	args_datum(args, JsonbPGetDatum(event->payload));
}

/*
 * event_write_own writes an event of a locked account of a user.
 */
void
event_write_own(const Account *acc, const Event *event, int64 number)
{
	QueryArgs	args = {0};

	args_own(&args, acc, event, number);
	if (query_run(&own_insert_query, &args, SPI_OK_INSERT) != 1)
		row_missing("events");
}

/*
 * events_can_be_queued tells whether the events of accounts can be written
 * together: on a cluster they are written one by one.
 */
bool
events_can_be_queued(void)
{
	return !query_distributed(&own_insert_query);
}

/*
 * events_queue_begin starts a queue of events.
 */
void
events_queue_begin(EventQueue *queue)
{
	records_begin(&queue->own, own_insert_query.types);
	records_begin(&queue->of_teams, team_types);
}

/*
 * Insert rows by a statement that takes all of them.
 */
static void
rows_insert(KeptQuery *query, QueryArgs *args, const Records *rows)
{
	if (query_run(query, args, SPI_OK_INSERT) != rows->n)
		row_missing("events");
}

/*
 * Write the events of users.
 */
static void
queue_write_own(Records *rows)
{
	QueryArgs	args = {0};

	if (rows->n >= BULK_LEAST && bulk_write("events", event_columns, rows))
		return;
	args_records(&args, rows);
	rows_insert(&own_insert_many_query, &args, rows);
}

/*
 * Write the events of teams.
 */
static void
queue_write_teams(Records *rows)
{
	QueryArgs	args = {0};

	args_records(&args, rows);
	args_int8(&args, event_origin());
	rows_insert(&teams_insert_query, &args, rows);
}

/*
 * events_queue_write writes the events of a queue.
 */
void
events_queue_write(EventQueue *queue)
{
	if (queue->own.n > 0)
		queue_write_own(&queue->own);
	if (queue->of_teams.n > 0)
		queue_write_teams(&queue->of_teams);
	records_clear(&queue->own);
	records_clear(&queue->of_teams);
}

/*
 * events_queue numbers the events that a locked account has noted, if any, and
 * queues them. Its row is for the caller to write.
 */
void
events_queue(EventQueue *queue, Account *acc)
{
	ListCell   *cell;

	if (acc->events == NIL)
		return;
	foreach(cell, acc->events)
	{
		QueryArgs	row = {0};

		if (acc->team)
			args_of_team(&row, acc, lfirst(cell), ++acc->last_event);
		else
			args_own(&row, acc, lfirst(cell), ++acc->last_event);
		records_add(acc->team ? &queue->of_teams : &queue->own, &row);
	}
	acc->events = NIL;
	events_note();
	if (queue->own.n + queue->of_teams.n >= EVENTS_AT_ONCE)
		events_queue_write(queue);
}

/*
 * events_write_of writes the events that locked accounts have noted, if any. Their
 * rows are for the caller to write.
 */
void
events_write_of(Account *accs, int n)
{
	EventQueue	queue;

	events_queue_begin(&queue);
	for (int i = 0; i < n; i++)
	{
		accs[i].unwritten |= accs[i].events != NIL;
		events_queue(&queue, &accs[i]);
	}
	events_queue_write(&queue);
}
