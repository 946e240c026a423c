-- settle: lines, of which thousands are charged to a reservation by one entry.

CREATE TABLE ducto.usage_lines (
	account_id uuid NOT NULL,
	entry uuid NOT NULL,
	line integer NOT NULL,
	key text COLLATE "C" NOT NULL,
	amount numeric NOT NULL,
	model text,
	usage jsonb,
	metadata jsonb,
	CONSTRAINT usage_lines_pkey PRIMARY KEY (account_id, key)
);

-- Lines of an entry lie together, and ids of entries grow with time: this costs a line nothing.
CREATE INDEX usage_lines_entry ON ducto.usage_lines USING brin (entry) WITH (autosummarize = on);
ALTER TABLE ducto.usage_lines ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.usage_lines', '');

COMMENT ON TABLE ducto.usage_lines IS 'What ducto_settle charged, line by line; each is a part of an entry of the ledger. Append-only, as the ledger.';
COMMENT ON COLUMN ducto.usage_lines.account_id IS 'Whose credits paid.';
COMMENT ON COLUMN ducto.usage_lines.entry IS 'The entry of the ledger that charged it, by its transaction id.';
COMMENT ON COLUMN ducto.usage_lines.line IS '1, 2, 3 and so on in the entry.';
COMMENT ON COLUMN ducto.usage_lines.key IS 'The caller''s key, unique per account; where none was given, the entry and the number: ENTRY/LINE.';
COMMENT ON COLUMN ducto.usage_lines.amount IS 'What it costs in credits, exact: the lines of an entry sum to its price.';
COMMENT ON COLUMN ducto.usage_lines.model IS 'The model that was used.';
COMMENT ON COLUMN ducto.usage_lines.usage IS 'What was used, where that was priced; the entry has the version and the plan.';
COMMENT ON COLUMN ducto.usage_lines.metadata IS 'The caller''s JSON object; NULL where it has no members.';

CREATE FUNCTION ducto.lines_refuse_change() RETURNS trigger
LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_lines_refuse_change';
REVOKE ALL ON FUNCTION ducto.lines_refuse_change() FROM PUBLIC;
COMMENT ON FUNCTION ducto.lines_refuse_change() IS 'Refuses update, delete and truncate of the lines (55000).';

CREATE TRIGGER usage_lines_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ducto.usage_lines
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.lines_refuse_change();
ALTER TABLE ducto.usage_lines ENABLE ALWAYS TRIGGER usage_lines_append_only;

CREATE TYPE @extschema@.ducto_settle_result AS (
	transaction_id uuid,
	booked integer,
	skipped integer,
	amount numeric,
	balance_after numeric,
	allowance_consumed numeric,
	shortfall numeric,
	remaining numeric,
	error text
);
COMMENT ON TYPE @extschema@.ducto_settle_result IS 'What was charged for lines.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.booked IS 'Lines that this call booked.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.skipped IS 'Lines that it skipped: the account knew their keys.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.amount IS 'Credits taken, positive; when rejected, those asked for by lines that are not booked yet.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.balance_after IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.allowance_consumed IS 'Credits that the allowance paid.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.shortfall IS 'Credits that could not be charged.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.remaining IS 'Credits that the reservation still holds.';
COMMENT ON COLUMN @extschema@.ducto_settle_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_usage_line AS (
	transaction_id uuid,
	line integer,
	key text,
	user_id uuid,
	team_id uuid,
	operation_type text,
	model text,
	amount numeric,
	usage jsonb,
	metadata jsonb,
	created_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_usage_line IS 'A line that was charged.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.transaction_id IS 'The ledger entry that charged it.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.line IS 'Its number in the entry, from 1.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.key IS 'The caller''s key, unique per account; where none was given, the entry and the number.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.user_id IS 'The user; for a team''s pool the acting member.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.team_id IS 'The team, if it is of a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.operation_type IS 'The kind of operation that was charged.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.model IS 'The model that was used.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.amount IS 'What it costs in credits, exact, positive.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.usage IS 'What was used, where that was priced.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.metadata IS 'The caller''s JSON object.';
COMMENT ON COLUMN @extschema@.ducto_usage_line.created_at IS 'When it was booked.';

CREATE FUNCTION @extschema@.ducto_settle(
	user_id uuid,
	reservation_id uuid,
	lines jsonb,
	final boolean DEFAULT false,
	overrun text DEFAULT 'reject'
) RETURNS @extschema@.ducto_settle_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_settle';
REVOKE ALL ON FUNCTION @extschema@.ducto_settle(uuid, uuid, jsonb, boolean, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_settle(uuid, uuid, jsonb, boolean, text) IS
'Charges many calls to a reservation at once: one ledger entry for all lines that are new, a row of ducto.usage_lines for
each. They cost what as many calls of ducto_deduct would take, one after the other.
user_id: the user, or the member.
reservation_id: the reservation.
lines: a JSON array of at most 10000 objects: key (1 to 255 bytes), amount (credits, 0 or more) or usage (priced by the
  version and the plan of the reservation), model (1 to 255 bytes; without it the usage''s, then the reservation''s),
  metadata (a JSON object). A line whose key the account knows, from an earlier call, from a debit or from a line before
  it, is skipped: so a batch may be repeated, whole or cut otherwise, also when the reservation has been closed meanwhile.
final: true closes the reservation, also where there is no new line; false keeps the rest of the hold open.
overrun: what to do when the lines are more than is held and the rest is not covered down to the reservation''s floor:
  reject, clamp (charge what fits, report the shortfall) or full (charge all, even into debt). An expired reservation is
  charged from what is available.
Locks the account.
Returns the ledger entry''s id, how many lines were booked and skipped, the credits taken, and what is still held. Where
  one is rejected none is booked.
Rejections: idempotency_conflict (a key was used for something else than a debit), reservation_not_found,
  no_active_pricing, model_not_priced, reservation_closed, reservation_expired, ceiling_reached (more than what is left
  of a reservation made with ceiling), insufficient_credits (the floor would be passed).
Errors: 22004, 22003, 22023, those of an expression.';

CREATE FUNCTION @extschema@.ducto_list_usage_lines(
	user_id uuid,
	transaction_id uuid DEFAULT NULL,
	from_time timestamptz DEFAULT NULL,
	to_time timestamptz DEFAULT NULL,
	max_rows integer DEFAULT 50,
	before text DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_usage_line
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_usage_lines';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_usage_lines(uuid, uuid, timestamptz, timestamptz, integer, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_usage_lines(uuid, uuid, timestamptz, timestamptz, integer, text) IS
'Returns the lines that were charged to an account, newest first, in an entry the last one first.
user_id: the user; a team for those of its pool.
transaction_id: only lines of this entry, which may also be a team''s that the user spent from; NULL = all.
from_time: only lines booked at this time or later.
to_time: only lines booked at this time or earlier.
max_rows: the page, in rows, 1 or more.
before: only lines before the one with this key, for paging.
Takes no lock, works on a standby.
Returns a row for each line.
Errors: 22004, 22023.';
