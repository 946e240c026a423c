/*
 * eventset.c
 *		Writes the events of many accounts together.
 */
#include "postgres.h"

#include "catalog/pg_type_d.h"

#include "account/claim.h"
#include "account/event.h"
#include "base/query.h"
#include "base/records.h"

/* Events that are inserted together, about. */
#define EVENTS_AT_ONCE	10000

/* The caller has the accounts' locks. */
static KeptQuery events_insert_many_query = {
	.sql = "INSERT INTO ducto.events" EVENTS_SQL("e.account", "e.number", "e.team", "e.balance", "$2", "e.created")
	" FROM unnest($1) AS e (account uuid, number bigint, team boolean, balance numeric, created timestamptz, id uuid, kind text,"
	" payload jsonb)",
	.types = {RECORDARRAYOID, INT8OID}
};
static const Oid event_types[] = {UUIDOID, INT8OID, BOOLOID, NUMERICOID, TIMESTAMPTZOID, UUIDOID, TEXTOID, JSONBOID, InvalidOid};

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
 * Add an account's events to rows, and number them.
 */
static void
records_add_events(Records *rows, Account *acc)
{
	ListCell   *cell;

	foreach(cell, acc->events)
	{
		const Event *event = lfirst(cell);
		QueryArgs	row = {0};

		args_uuid(&row, &acc->id);
		args_int8(&row, ++acc->last_event);
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
 * events_write_of writes the events that locked accounts have noted, if any. Their
 * rows are for the caller to write.
 */
void
events_write_of(Account *accs, int n)
{
	Records		rows;

	records_begin(&rows, event_types);
	for (int i = 0; i < n; i++)
	{
		if (accs[i].events == NIL)
			continue;
		records_add_events(&rows, &accs[i]);
		accs[i].events = NIL;
		accs[i].unwritten = true;
		events_note();
		if (rows.n >= EVENTS_AT_ONCE)
			events_insert(&rows);
	}
	if (rows.n > 0)
		events_insert(&rows);
}
