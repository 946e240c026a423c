-- account: one row per user or team, the only row that an operation locks.

CREATE TABLE ducto.accounts (
	id uuid NOT NULL,
	kind text NOT NULL,
	balance numeric NOT NULL DEFAULT 0.0000,
	held numeric NOT NULL DEFAULT 0.0000,
	expiring numeric NOT NULL DEFAULT 0.0000,
	lifetime_purchased numeric NOT NULL DEFAULT 0.0000,
	next_boundary timestamptz NOT NULL DEFAULT 'infinity',
	last_seq bigint NOT NULL DEFAULT 0,
	closing_keys boolean NOT NULL DEFAULT false,
	plan_id text,
	anchor timestamptz,
	zone text,
	cycle_start timestamptz,
	cycle_end timestamptz,
	allowance_used numeric NOT NULL DEFAULT 0.0000,
	held_from_credits numeric NOT NULL DEFAULT 0.0000,
	promised numeric NOT NULL DEFAULT 0.0000,
	carry numeric NOT NULL DEFAULT 0.0000,
	caps integer NOT NULL DEFAULT 0,
	caps_version bigint NOT NULL DEFAULT 0,
	plain boolean NOT NULL DEFAULT true,
	ended_until timestamptz,
	chain_head bytea,
	ahead_from timestamptz,
	ahead_until timestamptz,
	alert_below numeric NOT NULL DEFAULT '-Infinity',
	alert_mark bigint NOT NULL DEFAULT 0,
	last_event bigint NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL,
	updated_at timestamptz NOT NULL,
	CONSTRAINT accounts_pkey PRIMARY KEY (id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

-- It changes once per cycle, so that other updates stay HOT, that of the plan too, which it does not name: for the sweep, as grants_due.
CREATE INDEX accounts_cycle ON ducto.accounts ((cycle_end AT TIME ZONE 'UTC'), id) WHERE cycle_end IS NOT NULL;
ALTER TABLE ducto.accounts ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.accounts', '');

COMMENT ON TABLE ducto.accounts IS 'One row per account. Its only index beside the primary key is on the end of its plan''s cycle, so that every other update of it is HOT.';
COMMENT ON COLUMN ducto.accounts.id IS 'The user''s id, as the application has it, or the team''s.';
COMMENT ON COLUMN ducto.accounts.kind IS 'user or team';
COMMENT ON COLUMN ducto.accounts.balance IS 'Credits: the sum of the ledger''s amounts.';
COMMENT ON COLUMN ducto.accounts.held IS 'Credits held: the sum of what is left of the open reservations.';
COMMENT ON COLUMN ducto.accounts.expiring IS 'The part of the balance that is in grants, and is spent first: the sum of what remains of them.';
COMMENT ON COLUMN ducto.accounts.lifetime_purchased IS 'Credits ever purchased, less those of purchases that were taken back.';
COMMENT ON COLUMN ducto.accounts.next_boundary IS 'Nothing of this account expires before this time, and no cycle of its plan begins; -infinity while an open reservation keeps credit past its expiry.';
COMMENT ON COLUMN ducto.accounts.last_seq IS 'seq of the last ledger entry.';
COMMENT ON COLUMN ducto.accounts.closing_keys IS 'Whether a reservation of this account was closed by a deduct of 0 with an idempotency key, or it has lines.';
COMMENT ON COLUMN ducto.accounts.plan_id IS 'The user''s plan.';
COMMENT ON COLUMN ducto.accounts.anchor IS 'Cycles begin at this time and repeat its day and time; NULL = they are those of the calendar.';
COMMENT ON COLUMN ducto.accounts.zone IS 'The time zone of the user''s cycles and caps; NULL = UTC.';
COMMENT ON COLUMN ducto.accounts.cycle_start IS 'When the cycle began that allowance_used is of.';
COMMENT ON COLUMN ducto.accounts.cycle_end IS 'When it ends, and the plan gives anew.';
COMMENT ON COLUMN ducto.accounts.allowance_used IS 'Credits of usage that the allowance of that cycle paid.';
COMMENT ON COLUMN ducto.accounts.held_from_credits IS 'The part of held whose reservations skip the allowance.';
COMMENT ON COLUMN ducto.accounts.promised IS 'The part of held that the allowance pays whatever becomes of plan, pricing, month and usage elsewhere: what open reservations were admitted on of it.';
COMMENT ON COLUMN ducto.accounts.carry IS 'What rounding has left of exact prices, at least -0.00005 and less than 0.00005 credits: the sum of the prices that are not charged yet. The next price that is not exact in four decimals takes it along.';
COMMENT ON COLUMN ducto.accounts.caps IS 'How many spend caps there are.';
COMMENT ON COLUMN ducto.accounts.caps_version IS 'The version of its plan''s caps that the spend caps of the plan are of.';
COMMENT ON COLUMN ducto.accounts.plain IS 'Whether it is a user''s account without plan and caps, whose reservations credits alone pay, and whose ledger is not ahead of the clock.';
COMMENT ON COLUMN ducto.accounts.ended_until IS 'Reservations that are still open and expire no later than this have ended: held, caps and members do not count them any more, and they are being closed. NULL = there are none.';
COMMENT ON COLUMN ducto.accounts.chain_head IS 'The digest of the last ledger entry that has one.';
COMMENT ON COLUMN ducto.accounts.ahead_from IS 'The clock was once set back to this time: from then until ahead_until the ledger''s effective_at is not in the order of seq. NULL = never.';
COMMENT ON COLUMN ducto.accounts.ahead_until IS 'The created_at that the ledger had reached when the clock was set back: entries have this one until the clock has passed it. NULL = it never was.';
COMMENT ON COLUMN ducto.accounts.alert_below IS 'The figure below which the balance has to fall for an event: -Infinity = there is none, and no row of ducto.alerts with lines; -99999999999999.9999, the lowest that a balance can be = there is none.';
COMMENT ON COLUMN ducto.accounts.alert_mark IS 'A hash of the balance lines of plan or pricing that alert_below is from; 0 = there were none. Where it is another than that of the lines in force, the next operation finds alert_below anew.';
COMMENT ON COLUMN ducto.accounts.last_event IS 'number of its last event.';
COMMENT ON COLUMN ducto.accounts.created_at IS 'When the account was made.';
COMMENT ON COLUMN ducto.accounts.updated_at IS 'The clock at the account''s last operation.';

CREATE TYPE @extschema@.ducto_add_credits_result AS (
	transaction_id uuid,
	user_id uuid,
	amount numeric,
	new_balance numeric,
	lifetime_purchased numeric,
	expires_at timestamptz,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_add_credits_result IS 'What ducto_add_credits did.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.user_id IS 'The user; NULL for a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.amount IS 'Credits added, negative if taken away; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.new_balance IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.lifetime_purchased IS 'Credits ever purchased.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.expires_at IS 'When the credits expire; NULL = never.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_balance_result AS (
	user_id uuid,
	balance numeric,
	lifetime_purchased numeric,
	reserved numeric,
	available numeric,
	next_expiry timestamptz
);
COMMENT ON TYPE @extschema@.ducto_balance_result IS 'The credits of a user at the moment of the call.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.balance IS 'Credits, those held included.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.lifetime_purchased IS 'Credits ever purchased.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.reserved IS 'Credits held by open reservations.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_balance_result.next_expiry IS 'When the first of the credits expire; NULL = never.';

CREATE FUNCTION @extschema@.ducto_add_credits(
	user_id uuid,
	amount numeric,
	type text DEFAULT 'adjustment',
	metadata jsonb DEFAULT '{}',
	expires_at timestamptz DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	priority integer DEFAULT NULL
) RETURNS @extschema@.ducto_add_credits_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_credits';
REVOKE ALL ON FUNCTION @extschema@.ducto_add_credits(uuid, numeric, text, jsonb, timestamptz, text, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_add_credits(uuid, numeric, text, jsonb, timestamptz, text, integer) IS
'Adds credits to a user, making the account when it is new.
user_id: the user.
amount: credits, four decimals; negative only for an adjustment, which must then fit into balance - held; 0 only for
  an adjustment, which makes the account and books nothing.
type: purchase, subscription, signup_bonus, adjustment or promo.
metadata: a JSON object, kept with the entry.
expires_at: when the credit expires, in the future; NULL = never.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
priority: 0 to 100, lower is spent first; without expires_at it makes a grant that never expires, so that its place in
  the order is known; NULL = 50 with expires_at, and no grant without: such credit is spent last.
Locks the account.
Returns the ledger entry''s id, the new balance and lifetime_purchased.
Rejections: insufficient_credits (a negative adjustment that does not fit), idempotency_conflict.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_get_balance(user_id uuid)
RETURNS @extschema@.ducto_balance_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_get_balance';
REVOKE ALL ON FUNCTION @extschema@.ducto_get_balance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_get_balance(uuid) IS
'Returns a user''s credits, exact at the moment of the call: what has expired does not count, swept or not.
user_id: the user; one who is unknown has zeros.
Takes no lock, works on a standby.
Returns balance, lifetime_purchased, reserved, available (balance - reserved, before any floor) and next_expiry.
Errors: 22004.';
