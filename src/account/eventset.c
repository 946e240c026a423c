/*
 * eventset.c
 *		Writes the events of many accounts together: one statement numbers them,
 *		and one inserts them.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "account/claim.h"
#include "account/event.h"
#include "base/query.h"
#include "base/records.h"

/* Events that are inserted together, about. */
#define EVENTS_AT_ONCE	10000

/*
 * The caller has the accounts' locks, as in the next. As the number of an account's
 * last event was, in the order of the ids.
 */
static KeptQuery numbers_query = {
	.sql = "INSERT INTO ducto.alerts AS a (account_id, last_event) SELECT e.account, e.n FROM unnest($1, $2) AS e (account, n)"
	" ORDER BY e.account ON CONFLICT (account_id) DO UPDATE SET last_event = a.last_event + excluded.last_event"
	" RETURNING account_id, last_event",
	.types = {UUIDARRAYOID, INT8ARRAYOID}
};

static KeptQuery events_insert_many_query = {
	.sql = "INSERT INTO ducto.events" EVENTS_SQL("e.account", "e.number", "e.team", "e.balance", "$2", "e.created")
	" FROM unnest($1) AS e (account uuid, number bigint, team boolean, balance numeric, created timestamptz, id uuid, kind text,"
	" payload jsonb)",
	.types = {RECORDARRAYOID, INT8OID}
};
static const Oid event_types[] = {UUIDOID, INT8OID, BOOLOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, TEXTOID, JSONBOID, InvalidOid};

/*
 * Give the events of accounts, n that have some, their numbers: for each account
 * the one before them.
 */
static int64 *
events_number(Account *const *accs, int n)
{
	pg_uuid_t  *ids = palloc(sizeof(pg_uuid_t) * n);
	int64	   *numbers = palloc(sizeof(int64) * n);
	QueryArgs	args = {0};

	for (int i = 0; i < n; i++)
	{
		ids[i] = accs[i]->id;
		numbers[i] = list_length(accs[i]->events);
	}
	args_uuid_array(&args, ids, n);
	args_int8_array(&args, numbers, n);
	if (query_run(&numbers_query, &args, SPI_OK_INSERT_RETURNING) != (uint64) n)
		row_missing("alerts");
	for (int i = 0; i < n; i++)
	{
		pg_uuid_t	id = row_uuid(i, 1);

		if (memcmp(&id, &ids[i], UUID_LEN) != 0)
			elog(ERROR, "events were numbered in another order");
		numbers[i] = row_int8(i, 2) - numbers[i];
	}
	return numbers;
}

/*
 * Insert events.
 */
static void
events_insert(Records *rows)
{
	QueryArgs	args = {0};

	args_records(&args, rows);
	args_int8(&args, event_origin());
	if (query_run(&events_insert_many_query, &args, SPI_OK_INSERT) != rows->n)
		row_missing("events");
	records_clear(rows);
}

/*
 * Add an account's events to rows, numbered from the one before them.
 */
static void
records_add_events(Records *rows, const Account *acc, int64 number)
{
	ListCell   *cell;

	foreach(cell, acc->events)
	{
		const Event *event = lfirst(cell);
		QueryArgs	row = {0};

		args_uuid(&row, &acc->id);
		args_int8(&row, ++number);
		args_bool(&row, acc->team);
		args_money(&row, acc->balance);
		args_time(&row, acc->now);
		args_uuid(&row, &event->id);
		args_text(&row, event->kind);
		args_datum(&row, JsonbPGetDatum(event->payload));
		records_add(rows, &row);
	}
}

/*
 * events_write_of writes the events that locked accounts, in the order of their
 * ids, have noted, if any.
 */
void
events_write_of(Account *accs, int n)
{
	Account   **noted = palloc(sizeof(Account *) * n);
	const int64 *numbers;
	Records		rows;
	int			nnoted = 0;

	for (int i = 0; i < n; i++)
		if (accs[i].events != NIL)
			noted[nnoted++] = &accs[i];
	if (nnoted == 0)
		return;
	numbers = events_number(noted, nnoted);
	records_begin(&rows, event_types);
	for (int i = 0; i < nnoted; i++)
	{
		records_add_events(&rows, noted[i], numbers[i]);
		noted[i]->events = NIL;
		if (rows.n >= EVENTS_AT_ONCE || i == nnoted - 1)
			events_insert(&rows);
	}
	events_note();
}
