-- event: the outbox. What others are to be told is written by the operation that it happens in, and taken from there.

CREATE FUNCTION ducto.event_origin() RETURNS bigint
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_event_origin';
REVOKE ALL ON FUNCTION ducto.event_origin() FROM PUBLIC;
COMMENT ON FUNCTION ducto.event_origin() IS
'Returns the number of this database in this cluster. Only events with this origin are taken here: a restored copy and a replica have those of the original as rows, and send none of them.';

CREATE TABLE ducto.events (
	account_id uuid NOT NULL,
	number bigint NOT NULL,
	id uuid NOT NULL,
	user_id uuid,
	team_id uuid,
	kind text NOT NULL,
	payload jsonb NOT NULL,
	origin bigint NOT NULL,
	attempt integer NOT NULL DEFAULT 0,
	visible_at timestamptz NOT NULL,
	acked_at timestamptz,
	created_at timestamptz NOT NULL,
	CONSTRAINT events_pkey PRIMARY KEY (account_id, number)
) WITH (autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX events_id ON ducto.events (id);
CREATE INDEX events_waiting ON ducto.events (origin, visible_at, account_id, number) WHERE acked_at IS NULL;
CREATE INDEX events_waiting_kind ON ducto.events (origin, kind, visible_at, account_id, number) WHERE acked_at IS NULL;
CREATE INDEX events_acked ON ducto.events (acked_at) WHERE acked_at IS NOT NULL;
ALTER TABLE ducto.events ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.events', '');

COMMENT ON TABLE ducto.events IS 'What happened that others are to be told. ducto_take_events leases what nobody has acknowledged.';
COMMENT ON COLUMN ducto.events.account_id IS 'The account that it is of.';
COMMENT ON COLUMN ducto.events.number IS '1, 2, 3 and so on per account, in the order in which it happened; the payload says it as seq.';
COMMENT ON COLUMN ducto.events.id IS 'UUIDv7.';
COMMENT ON COLUMN ducto.events.user_id IS 'Whose account it is; of a team, the member by whom it happened, NULL for none.';
COMMENT ON COLUMN ducto.events.team_id IS 'The team; NULL for a user''s account.';
COMMENT ON COLUMN ducto.events.kind IS 'balance_low, balance_exhausted, balance_recovered, topup_due, allowance_used, cap_used, grant_expiring, reservation_expired, plan_changed or reversal_shortfall.';
COMMENT ON COLUMN ducto.events.payload IS 'What there is to know of it.';
COMMENT ON COLUMN ducto.events.origin IS 'Which database of which cluster wrote it: ducto.event_origin().';
COMMENT ON COLUMN ducto.events.attempt IS 'How often it was taken.';
COMMENT ON COLUMN ducto.events.visible_at IS 'From when on it can be taken: the end of its last lease.';
COMMENT ON COLUMN ducto.events.acked_at IS 'When it was acknowledged; NULL = not yet.';
COMMENT ON COLUMN ducto.events.created_at IS 'When it happened.';

CREATE TABLE ducto.alerts (
	account_id uuid NOT NULL,
	balance numeric[],
	allowance_percent integer[],
	cap_percent integer[],
	expiring_days integer,
	topup_below numeric,
	topup_amount numeric,
	topup_max_per_month integer,
	topup_due_key text,
	topup_month date,
	topup_count integer NOT NULL DEFAULT 0,
	told boolean NOT NULL DEFAULT false,
	expiring_at timestamptz,
	expiring_until timestamptz,
	caps_told jsonb NOT NULL DEFAULT '{}',
	CONSTRAINT alerts_pkey PRIMARY KEY (account_id)
) WITH (fillfactor = 60);
ALTER TABLE ducto.alerts ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.alerts', '');

COMMENT ON TABLE ducto.alerts IS 'What there is to know of an account for its events: lines of its own and auto top-up, if any, and what was told. A row where there is something. Kept under the account''s lock.';
COMMENT ON COLUMN ducto.alerts.account_id IS 'The account.';
COMMENT ON COLUMN ducto.alerts.balance IS 'Balances below which something is told, the highest first; empty = only when it is exhausted; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN ducto.alerts.allowance_percent IS 'Percentages of the allowance at which its use is told; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN ducto.alerts.cap_percent IS 'Percentages of spend caps at which their use is told; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN ducto.alerts.expiring_days IS 'How many days before credit expires it is told, 0 = not; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN ducto.alerts.topup_below IS 'Below which balance a top-up is due; NULL = there is no auto top-up.';
COMMENT ON COLUMN ducto.alerts.topup_amount IS 'What is to be added then, in credits.';
COMMENT ON COLUMN ducto.alerts.topup_max_per_month IS 'How many top-ups may fall due in a UTC month; NULL = any number.';
COMMENT ON COLUMN ducto.alerts.topup_due_key IS 'The idempotency key of the top-up that is due; NULL = none is.';
COMMENT ON COLUMN ducto.alerts.topup_month IS 'First day of the UTC month that topup_count is of.';
COMMENT ON COLUMN ducto.alerts.topup_count IS 'How many top-ups have fallen due in that month.';
COMMENT ON COLUMN ducto.alerts.told IS 'Whether an event said that the balance fell below a line, and it is below one still.';
COMMENT ON COLUMN ducto.alerts.expiring_at IS 'When credit that expires soon was told of last: of all grants that were there then, up to expiring_until.';
COMMENT ON COLUMN ducto.alerts.expiring_until IS 'Up to which expiry.';
COMMENT ON COLUMN ducto.alerts.caps_told IS 'Of spend caps, by their type and model: the window, and the percentage that was told of last in it.';

CREATE TYPE @extschema@.ducto_alerts_result AS (
	account_id uuid,
	balance numeric[],
	allowance_percent integer[],
	cap_percent integer[],
	expiring_days integer,
	topup_below numeric,
	topup_amount numeric,
	topup_max_per_month integer
);
COMMENT ON TYPE @extschema@.ducto_alerts_result IS 'What an account says itself of what is to be told; where it says nothing, plan and pricing do.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.account_id IS 'The user or the team.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.balance IS 'Balances below which something is told, the highest first; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.allowance_percent IS 'Percentages of the allowance; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.cap_percent IS 'Percentages of spend caps; NULL = those of the plan, or else of the pricing.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.expiring_days IS 'Days before credit expires; 0 = never, NULL = as the plan, or else the pricing says.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.topup_below IS 'Below which balance a top-up is due; NULL = there is no auto top-up.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.topup_amount IS 'What is to be added then, in credits; NULL = there is no auto top-up.';
COMMENT ON COLUMN @extschema@.ducto_alerts_result.topup_max_per_month IS 'How many top-ups may fall due in a UTC month; NULL = any number.';

CREATE FUNCTION @extschema@.ducto_set_alerts(
	account_id uuid,
	balance numeric[] DEFAULT NULL,
	allowance_percent integer[] DEFAULT NULL,
	cap_percent integer[] DEFAULT NULL,
	expiring_days integer DEFAULT NULL
) RETURNS @extschema@.ducto_alerts_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_alerts';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_alerts(uuid, numeric[], integer[], integer[], integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_alerts(uuid, numeric[], integer[], integer[], integer) IS
'Says at which lines an account is to be told of by events, making a user''s when it is new. It replaces what was said
before. A line that the account is past already is told once it was crossed back and again.
account_id: the user or the team.
balance: balances below which balance_low is told, in credits; an empty array = only when nothing is left; NULL = those
  of the plan, or else of the pricing.
allowance_percent: percentages of the month''s allowance, 1 to 100, at which allowance_used is told; an empty array =
  none; NULL = those of the plan, or else of the pricing.
cap_percent: percentages of spend caps, 1 to 100, at which cap_used is told; an empty array = none; NULL = those of the
  plan, or else of the pricing.
expiring_days: how many days before credit expires grant_expiring is told, 0 to 365, 0 = never; NULL = as the plan, or
  else the pricing says.
Locks the account.
Returns what the account says itself now.
Errors: 22004, 22003, 22023 (more than 32 lines, null among them, a figure out of bounds).';

CREATE FUNCTION @extschema@.ducto_set_auto_topup(
	account_id uuid,
	below numeric,
	amount numeric,
	max_per_month integer DEFAULT NULL
) RETURNS @extschema@.ducto_alerts_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_set_auto_topup';
REVOKE ALL ON FUNCTION @extschema@.ducto_set_auto_topup(uuid, numeric, numeric, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_set_auto_topup(uuid, numeric, numeric, integer) IS
'Says when credits of an account are to be topped up: the event topup_due is told as long as the balance is below a
figure and none is due, at once where it is below it already. Adding credits with the event''s key ends it. A top-up that
was due before this call is not any more: its event is acknowledged, unless somebody is taking it.
account_id: the user or the team; a new user''s account is made.
below: the balance below which it is due, in credits.
amount: what is to be added, in credits; 0 = no auto top-up.
max_per_month: how many may fall due in a UTC month, 1 or more; NULL = any number.
Locks the account.
Returns what the account says itself now.
Errors: 22004, 22003, 22023.';

CREATE TYPE @extschema@.ducto_event AS (
	id uuid,
	account_id uuid,
	user_id uuid,
	team_id uuid,
	kind text,
	payload jsonb,
	created_at timestamptz,
	attempt integer
);
COMMENT ON TYPE @extschema@.ducto_event IS 'Something that happened to an account.';
COMMENT ON COLUMN @extschema@.ducto_event.id IS 'UUIDv7. The same whenever it is seen, so that who handles it can tell that it was.';
COMMENT ON COLUMN @extschema@.ducto_event.account_id IS 'The account: of a user or a team.';
COMMENT ON COLUMN @extschema@.ducto_event.user_id IS 'Whose account it is; of a team, the member by whom it happened, NULL for none.';
COMMENT ON COLUMN @extschema@.ducto_event.team_id IS 'The team; NULL for a user''s account.';
COMMENT ON COLUMN @extschema@.ducto_event.kind IS 'balance_low, balance_exhausted, balance_recovered, topup_due, allowance_used, cap_used, grant_expiring, reservation_expired, plan_changed or reversal_shortfall.';
COMMENT ON COLUMN @extschema@.ducto_event.payload IS 'What there is to know of it: seq, its number among the account''s events; balance, as the operation left it; members, the first 100 of a team; and what the kind has.';
COMMENT ON COLUMN @extschema@.ducto_event.created_at IS 'When it happened.';
COMMENT ON COLUMN @extschema@.ducto_event.attempt IS 'How often it was taken, this time included; 0 = never.';

CREATE FUNCTION @extschema@.ducto_take_events(
	max_rows integer DEFAULT 100,
	lease_seconds integer DEFAULT 60,
	kinds text[] DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_event
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_take_events';
REVOKE ALL ON FUNCTION @extschema@.ducto_take_events(integer, integer, text[]) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_take_events(integer, integer, text[]) IS
'Leases events: nobody else gets them until the lease is over, and then they come again, unless ducto_ack_events was
called. Those that wait longest come first, of one account in the order in which they happened. Only events that this
database wrote are taken here, not those that came with a restore or by replication.
max_rows: how many at most, 1 to 10,000.
lease_seconds: how long others do not get them, 1 to 86,400 seconds.
kinds: only of these kinds; NULL = all.
Locks the events and skips locked ones.
Returns a row for each event.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_ack_events(ids uuid[]) RETURNS bigint
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_ack_events';
REVOKE ALL ON FUNCTION @extschema@.ducto_ack_events(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_ack_events(uuid[]) IS
'Acknowledges events: they are done, and do not come again, whoever has leased them. A sweep removes them after
ducto.event_retention.
ids: their ids; those that are not there, or acknowledged already, count for nothing.
Locks the events.
Returns how many it acknowledged.
Errors: 22004, 22023 (null among the ids).';

CREATE FUNCTION @extschema@.ducto_list_events(
	account_id uuid,
	kinds text[] DEFAULT NULL,
	max_rows integer DEFAULT 50,
	before uuid DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_event
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_events';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_events(uuid, text[], integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_events(uuid, text[], integer, uuid) IS
'Returns the events of an account, the last first, acknowledged or not, as long as they are kept.
account_id: the user or the team.
kinds: only of these kinds; NULL = all.
max_rows: the page, in rows, 1 or more.
before: only events before this one of the same account.
Takes no lock, works on a standby.
Returns a row for each event.
Errors: 22004, 22023 (max_rows is out of bounds, no such kind, before is no event of this account).';

CREATE FUNCTION ducto.expiring_accounts() RETURNS uuid[]
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_expiring_accounts';
REVOKE ALL ON FUNCTION ducto.expiring_accounts() FROM PUBLIC;
COMMENT ON FUNCTION ducto.expiring_accounts() IS 'For ducto_sweep: the accounts with credit that expires soon and was not told of, in the order of ducto.due_accounts.';

CREATE FUNCTION ducto.tell_expiring(account_ids uuid[]) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_tell_expiring';
REVOKE ALL ON FUNCTION ducto.tell_expiring(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.tell_expiring(uuid[]) IS 'For ducto_sweep: tells of the credit of given accounts that expires soon. It skips locked ones.';

CREATE FUNCTION ducto.prune_events() RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_prune_events';
REVOKE ALL ON FUNCTION ducto.prune_events() FROM PUBLIC;
COMMENT ON FUNCTION ducto.prune_events() IS
'For ducto_sweep: removes events that were acknowledged longer ago than ducto.event_retention, 10,000 at most, and returns how many.';

CREATE FUNCTION ducto.prune_events_shard(found bigint, shard bigint, account_ids uuid[], numbers bigint[], settings text[])
RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_prune_events_shard';
REVOKE ALL ON FUNCTION ducto.prune_events_shard(bigint, bigint, uuid[], bigint[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.prune_events_shard(bigint, bigint, uuid[], bigint[], text[]) IS
'For ducto.prune_events on a cluster: removes events of accounts of one shard, on its node. Returns how many.';

CREATE FUNCTION ducto.ack_events_shard(
	found bigint,
	shard bigint,
	account_ids uuid[],
	numbers bigint[],
	now timestamptz,
	settings text[]
) RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_ack_events_shard';
REVOKE ALL ON FUNCTION ducto.ack_events_shard(bigint, bigint, uuid[], bigint[], timestamptz, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.ack_events_shard(bigint, bigint, uuid[], bigint[], timestamptz, text[]) IS
'For ducto_ack_events on a cluster: acknowledges events of accounts of one shard, on its node. Returns how many were not yet.';

CREATE FUNCTION ducto.tell_expiring_shard(found bigint, shard bigint, account_ids uuid[], settings text[]) RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_tell_expiring_shard';
REVOKE ALL ON FUNCTION ducto.tell_expiring_shard(bigint, bigint, uuid[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.tell_expiring_shard(bigint, bigint, uuid[], text[]) IS
'For sweeps on a cluster: tells of the credit of accounts of one shard that expires soon, on its node. It skips locked ones. Returns how many accounts it was given.';
