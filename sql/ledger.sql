-- ledger: every movement of credits, append-only.

CREATE FUNCTION ducto.ledger_xact() RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_ledger_xact';
REVOKE ALL ON FUNCTION ducto.ledger_xact() FROM PUBLIC;
COMMENT ON FUNCTION ducto.ledger_xact() IS 'Returns the number of the current transaction: a tag of the cluster and the transaction''s id.';

CREATE TABLE ducto.ledger (
	account_id uuid NOT NULL,
	seq bigint NOT NULL,
	id uuid NOT NULL,
	amount numeric NOT NULL,
	balance_after numeric NOT NULL,
	type text NOT NULL,
	operation_type text,
	actor uuid,
	model text,
	idempotency_key text,
	reference uuid,
	allowance_consumed numeric NOT NULL DEFAULT 0.0000,
	shortfall numeric,
	cap_warning text,
	burned_grants uuid[],
	burned_amounts numeric[],
	lifetime_purchased numeric,
	expires_at timestamptz,
	priority integer,
	cycle_end timestamptz,
	exact_price numeric,
	pricing jsonb,
	models text[],
	model_spend numeric[],
	model_lines integer[],
	metadata jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL,
	effective_at timestamptz NOT NULL,
	xact bigint NOT NULL DEFAULT ducto.ledger_xact(),
	digest bytea,
	CONSTRAINT ledger_pkey PRIMARY KEY (account_id, seq)
);

CREATE INDEX ledger_id ON ducto.ledger (id);
CREATE UNIQUE INDEX ledger_idempotency_key ON ducto.ledger (account_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX ledger_refunds ON ducto.ledger (account_id, reference) WHERE type IN ('refund', 'reversal');
CREATE INDEX ledger_actor ON ducto.ledger (actor, created_at, id) WHERE actor IS NOT NULL AND type = 'usage';
CREATE INDEX ledger_not_usage ON ducto.ledger (account_id, type, seq) WHERE type <> 'usage';
CREATE INDEX ledger_xact ON ducto.ledger (xact);
ALTER TABLE ducto.ledger ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.ledger', '');

COMMENT ON TABLE ducto.ledger IS 'Every movement of credits. Append-only: update, delete and truncate are refused for everybody.';
COMMENT ON COLUMN ducto.ledger.account_id IS 'Whose credits moved.';
COMMENT ON COLUMN ducto.ledger.seq IS '1, 2, 3 and so on per account, without gaps.';
COMMENT ON COLUMN ducto.ledger.id IS 'The transaction id (UUIDv7).';
COMMENT ON COLUMN ducto.ledger.amount IS 'Credits, negative for a debit.';
COMMENT ON COLUMN ducto.ledger.balance_after IS 'The balance with this entry.';
COMMENT ON COLUMN ducto.ledger.type IS 'purchase, subscription, signup_bonus, adjustment, promo, usage, refund, reversal, transfer_out, transfer_in or expiry.';
COMMENT ON COLUMN ducto.ledger.operation_type IS 'The kind of operation that was charged.';
COMMENT ON COLUMN ducto.ledger.actor IS 'The member who spent from a team''s pool.';
COMMENT ON COLUMN ducto.ledger.model IS 'The model that was used; of lines the one that all of them are of.';
COMMENT ON COLUMN ducto.ledger.idempotency_key IS 'The caller''s key, unique per account.';
COMMENT ON COLUMN ducto.ledger.reference IS 'The debit that a refund refunds, the credit that a reversal takes back, the reservation that a debit settles, a transfer''s other entry, the grant that expired.';
COMMENT ON COLUMN ducto.ledger.allowance_consumed IS 'What the plan''s allowance paid.';
COMMENT ON COLUMN ducto.ledger.shortfall IS 'What could not be charged.';
COMMENT ON COLUMN ducto.ledger.cap_warning IS 'The strongest action of a spend cap that was exceeded.';
COMMENT ON COLUMN ducto.ledger.burned_grants IS 'The grants that a debit or a reversal took credit from, in that order; for a refund, those that it gave back to, for a transfer_in, those that came.';
COMMENT ON COLUMN ducto.ledger.burned_amounts IS 'How much of each of burned_grants.';
COMMENT ON COLUMN ducto.ledger.lifetime_purchased IS 'For credit that was added or taken back: the account''s lifetime_purchased with it.';
COMMENT ON COLUMN ducto.ledger.expires_at IS 'For added credit: when it expires.';
COMMENT ON COLUMN ducto.ledger.priority IS 'For added credit that is in a grant: the grant''s priority.';
COMMENT ON COLUMN ducto.ledger.cycle_end IS 'For credit that a cycle of the user''s plan gave: the end of that cycle; metadata names the plan. NULL for all else.';
COMMENT ON COLUMN ducto.ledger.exact_price IS 'The price of the usage, to 20 decimals, where four are not enough: what amount, allowance_consumed and shortfall together make of it depends on what was carried over. NULL = they are exact.';
COMMENT ON COLUMN ducto.ledger.pricing IS 'How the amount was priced: version, plan_id, usage and the parts of the price; of lines version, plan_id and total.';
COMMENT ON COLUMN ducto.ledger.models IS 'For a debit of lines (ducto.usage_lines): the models that they are of, each once, NULL where none was told. NULL = the entry has no lines.';
COMMENT ON COLUMN ducto.ledger.model_spend IS 'What of amount is for each of models, in credits, positive.';
COMMENT ON COLUMN ducto.ledger.model_lines IS 'How many lines are of each of models.';
COMMENT ON COLUMN ducto.ledger.metadata IS 'The caller''s JSON object.';
COMMENT ON COLUMN ducto.ledger.created_at IS 'When it was booked; never decreases in seq, so it is later than the clock was where that had been set back.';
COMMENT ON COLUMN ducto.ledger.effective_at IS 'From when on it counts: the clock when it was booked, but for an expiry the moment from which the credit was not spendable, and for what a cycle gave the moment from which it was.';
COMMENT ON COLUMN ducto.ledger.xact IS 'The number of the transaction that booked it: a tag of the cluster and the transaction''s id.';
COMMENT ON COLUMN ducto.ledger.digest IS 'The SHA-256 of the digest before it (32 zeros where there is none), ducto.entry_digest of this entry, its id, seq, created_at, effective_at where that is another, and cycle_end where there is one; NULL where ducto.ledger_chain was off.';

CREATE FUNCTION ducto.ledger_refuse_change() RETURNS trigger
LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_ledger_refuse_change';
REVOKE ALL ON FUNCTION ducto.ledger_refuse_change() FROM PUBLIC;
COMMENT ON FUNCTION ducto.ledger_refuse_change() IS 'Refuses update, delete and truncate of the ledger (55000).';

CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ducto.ledger
	FOR EACH STATEMENT EXECUTE FUNCTION ducto.ledger_refuse_change();
ALTER TABLE ducto.ledger ENABLE ALWAYS TRIGGER ledger_append_only;

CREATE FUNCTION ducto.ledger_stamp() RETURNS trigger
LANGUAGE c SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_ledger_stamp';
REVOKE ALL ON FUNCTION ducto.ledger_stamp() FROM PUBLIC;
COMMENT ON FUNCTION ducto.ledger_stamp() IS 'Gives entries that logical replication brings the number of the transaction that writes them here.';

CREATE TRIGGER ledger_stamp BEFORE INSERT ON ducto.ledger FOR EACH ROW EXECUTE FUNCTION ducto.ledger_stamp();
ALTER TABLE ducto.ledger ENABLE REPLICA TRIGGER ledger_stamp;

CREATE TYPE @extschema@.ducto_transaction AS (
	id uuid,
	user_id uuid,
	team_id uuid,
	amount numeric,
	type text,
	operation_type text,
	model text,
	reference_id uuid,
	balance_after numeric,
	allowance_consumed numeric,
	idempotency_key text,
	metadata jsonb,
	created_at timestamptz,
	total_count bigint
);
COMMENT ON TYPE @extschema@.ducto_transaction IS 'An entry of the ledger.';
COMMENT ON COLUMN @extschema@.ducto_transaction.id IS 'The transaction id (UUIDv7).';
COMMENT ON COLUMN @extschema@.ducto_transaction.user_id IS 'The user; for a team''s pool the acting member.';
COMMENT ON COLUMN @extschema@.ducto_transaction.team_id IS 'The team, if it is of a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_transaction.amount IS 'Credits, negative for a debit.';
COMMENT ON COLUMN @extschema@.ducto_transaction.type IS 'purchase, subscription, signup_bonus, adjustment, promo, usage, refund, reversal, transfer_out, transfer_in or expiry.';
COMMENT ON COLUMN @extschema@.ducto_transaction.operation_type IS 'The kind of operation that was charged.';
COMMENT ON COLUMN @extschema@.ducto_transaction.model IS 'The model that was used.';
COMMENT ON COLUMN @extschema@.ducto_transaction.reference_id IS 'The debit that a refund refunds, the credit that a reversal takes back, the reservation that a debit settles, a transfer''s other entry, the grant that expired.';
COMMENT ON COLUMN @extschema@.ducto_transaction.balance_after IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_transaction.allowance_consumed IS 'Credits that the allowance paid.';
COMMENT ON COLUMN @extschema@.ducto_transaction.idempotency_key IS 'The caller''s key, unique per account.';
COMMENT ON COLUMN @extschema@.ducto_transaction.metadata IS 'The caller''s JSON object.';
COMMENT ON COLUMN @extschema@.ducto_transaction.created_at IS 'When it was booked.';
COMMENT ON COLUMN @extschema@.ducto_transaction.total_count IS 'Entries that match, on all pages.';

CREATE FUNCTION @extschema@.ducto_list_transactions(
	user_id uuid,
	types text[] DEFAULT NULL,
	from_time timestamptz DEFAULT NULL,
	to_time timestamptz DEFAULT NULL,
	max_rows integer DEFAULT 50,
	skip_rows integer DEFAULT 0,
	before uuid DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_transaction
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_transactions';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_transactions(
	uuid, text[], timestamptz, timestamptz, integer, integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_transactions(uuid, text[], timestamptz, timestamptz, integer, integer, uuid) IS
'Returns the ledger of an account, newest first.
user_id: the user; with a team''s id its pool''s ledger, user_id in it then being the acting member.
types: only entries of these types (purchase, subscription, signup_bonus, adjustment, promo, usage, refund, reversal,
  transfer_out, transfer_in, expiry); NULL = all.
from_time: only entries created at this time or later.
to_time: only entries created at this time or earlier.
max_rows: the page, in rows, 1 or more.
skip_rows: how many rows before the page, 0 or more.
before: only entries before this one, for paging at a constant cost.
Takes no lock, works on a standby.
Returns a row for each entry; total_count is the number of entries that match types and window.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_list_usage_events(
	user_id uuid,
	from_time timestamptz DEFAULT NULL,
	to_time timestamptz DEFAULT NULL,
	max_rows integer DEFAULT 50,
	skip_rows integer DEFAULT 0
) RETURNS SETOF @extschema@.ducto_transaction
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_usage_events';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_usage_events(uuid, timestamptz, timestamptz, integer, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_usage_events(uuid, timestamptz, timestamptz, integer, integer) IS
'Returns the usage entries of a user, personal and in teams, newest first.
user_id: the user.
from_time: only entries created at this time or later.
to_time: only entries created at this time or earlier.
max_rows: the page, in rows, 1 or more.
skip_rows: how many rows before the page, 0 or more.
Takes no lock, works on a standby.
Returns a row for each entry; total_count is the number of entries in the window.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_balance_at(user_id uuid, at timestamptz) RETURNS numeric
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_balance_at';
REVOKE ALL ON FUNCTION @extschema@.ducto_balance_at(uuid, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_balance_at(uuid, timestamptz) IS
'Returns the balance in credits that ducto_get_balance showed at a time.
user_id: the user, or a team.
at: the time, not in the future; before the account''s first entry the balance was 0.
Takes no lock, works on a standby. Costs a logarithm of the ledger''s length.
Errors: 22004, 22023.';
