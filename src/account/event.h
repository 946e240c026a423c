#ifndef DUCTO_ACCOUNT_EVENT_H
#define DUCTO_ACCOUNT_EVENT_H

#include "account/account.h"
#include "base/json.h"
#include "base/records.h"

/* The kinds of events. */
#define EVENT_BALANCE_LOW			"balance_low"
#define EVENT_BALANCE_EXHAUSTED		"balance_exhausted"
#define EVENT_BALANCE_RECOVERED		"balance_recovered"
#define EVENT_TOPUP_DUE				"topup_due"
#define EVENT_ALLOWANCE_USED		"allowance_used"
#define EVENT_CAP_USED				"cap_used"
#define EVENT_GRANT_EXPIRING		"grant_expiring"
#define EVENT_RESERVATION_EXPIRED	"reservation_expired"
#define EVENT_PLAN_CHANGED			"plan_changed"
#define EVENT_REVERSAL_SHORTFALL	"reversal_shortfall"

/* What is told of a reservation that expired, of a row of ducto.reservations. */
#define EXPIRED_COLUMNS	"id, amount, operation_type, model, actor, expires_at"

/* Where a row has them; EXPIRED_ACCOUNT is which of several accounts it is of, from 1. */
enum
{
	EXPIRED_ID = 1, EXPIRED_AMOUNT, EXPIRED_OPERATION_TYPE, EXPIRED_MODEL, EXPIRED_ACTOR, EXPIRED_AT, EXPIRED_ACCOUNT
};

/* The members of a team that an event names. */
#define MAX_MEMBERS		"100"

/*
 * What is inserted as events: of rows e of what follows, with id, kind and
 * payload. Each tells the balance after the operation, one of a team's balance
 * who the members are: the first of the index team_members_rank, however many
 * there are.
 */
#define EVENTS_SQL(account, number, team, balance, origin, created) \
	" (account_id, number, id, user_id, team_id, kind, payload, origin, visible_at, created_at)" \
	" SELECT " account ", " number ", e.id, CASE WHEN " team " THEN (e.payload ->> 'user_id')::uuid ELSE " account " END," \
	" CASE WHEN " team " THEN " account " END, e.kind," \
	" jsonb_build_object('seq', " number ", 'balance', " balance ") || e.payload" \
	" || CASE WHEN " team " AND e.payload ? 'line' THEN jsonb_build_object('members'," \
	"  (SELECT coalesce(jsonb_agg(m.user_id ORDER BY m.rank, m.joined_at, m.user_id), '[]') FROM" \
	"   (SELECT array_position(ARRAY['owner', 'admin'], role) AS rank, joined_at, user_id FROM ducto.team_members" \
	"   WHERE team_id = " account " AND coalesce(left_at, 'infinity') = 'infinity'" \
	"   ORDER BY rank, joined_at, user_id LIMIT " MAX_MEMBERS ") m)) ELSE '{}' END," \
	" " origin ", " created ", " created

/* An event of an account that its operation has not written yet. */
typedef struct Event
{
	pg_uuid_t	id;
	const char *kind;
	Jsonb	   *payload;
} Event;

/* Events of accounts whose rows are written later that are not written yet. */
typedef struct EventQueue
{
	Records		own;			/* those of users */
	Records		of_teams;
} EventQueue;

/* Events that were found: which they are. */
typedef struct EventKeys
{
	int			n;
	pg_uuid_t  *accounts;
	int64	   *numbers;
} EventKeys;

struct Wave;

extern const char *const event_kinds[];

extern void event_begin(JsonOut *payload);
extern void event_money(JsonOut *payload, const char *key, Money value);
extern void event_int(JsonOut *payload, const char *key, int64 value);
extern void event_bool(JsonOut *payload, const char *key, bool value);
extern void event_text(JsonOut *payload, const char *key, const char *value);
extern void event_uuid(JsonOut *payload, const char *key, const pg_uuid_t *value);
extern void event_time(JsonOut *payload, const char *key, TimestampTz value);
extern void event_add(Account *acc, const pg_uuid_t *id, const char *kind, JsonOut *payload);
extern void event_of_expired(Account *acc, uint64 row);
extern void events_of_expired(Account *acc, uint64 n);
extern void events_write(Account *acc);
extern void event_write_own(const Account *acc, const Event *event, int64 number);
extern bool events_can_be_queued(void);
extern void events_queue_begin(EventQueue *queue);
extern void events_queue(EventQueue *queue, Account *acc);
extern void events_queue_write(EventQueue *queue);
extern void events_write_of(Account *accs, int n);
extern void events_note(void);
extern int64 event_origin(void);
extern void events_find(KeptQuery *query, QueryArgs *args, EventKeys *found);
extern void args_events_of_wave(QueryArgs *args, const struct Wave *wave, const EventKeys *events);
extern int64 events_prune(TimestampTz before, int64 max_rows);
extern void events_take(TimestampTz now, TimestampTz until, int max_rows, Datum kinds, Tuplestorestate *taken);
extern void events_adopt(void);
extern void event_withdraw(const Account *acc, const pg_uuid_t *id);
extern bool event_ack(const pg_uuid_t *account, int64 number, TimestampTz now);
extern int64 events_ack(Datum ids, TimestampTz now);

#endif
