-- reservation: credits held for an operation that is under way.

CREATE TABLE ducto.reservations (
	account_id uuid NOT NULL,
	id uuid NOT NULL,
	actor uuid,
	amount numeric NOT NULL,
	remaining numeric NOT NULL,
	operation_type text NOT NULL,
	model text,
	billing_mode text NOT NULL,
	floor numeric NOT NULL,
	state text NOT NULL,
	idempotency_key text,
	balance_after numeric NOT NULL,
	reserved_after numeric NOT NULL,
	first_expires_at timestamptz NOT NULL,
	closing_key text,
	closing_balance numeric,
	skip_allowance boolean NOT NULL,
	cap_held numeric NOT NULL,
	pricing_version integer,
	plan_id text,
	ceiling numeric,
	metadata jsonb NOT NULL DEFAULT '{}',
	created_at timestamptz NOT NULL,
	expires_at timestamptz NOT NULL,
	closed_at timestamptz,
	CONSTRAINT reservations_pkey PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80);

CREATE UNIQUE INDEX reservations_idempotency_key ON ducto.reservations (account_id, idempotency_key)
	WHERE idempotency_key IS NOT NULL;
CREATE UNIQUE INDEX reservations_closing_key ON ducto.reservations (account_id, closing_key) WHERE closing_key IS NOT NULL;
CREATE INDEX reservations_open ON ducto.reservations (account_id, expires_at) WHERE state = 'open';
CREATE INDEX reservations_of_member ON ducto.reservations (id) WHERE actor IS NOT NULL;
ALTER TABLE ducto.reservations ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.reservations', '');

COMMENT ON TABLE ducto.reservations IS 'Credits held for operations, and how each hold ended.';
COMMENT ON COLUMN ducto.reservations.account_id IS 'Whose credits are held.';
COMMENT ON COLUMN ducto.reservations.id IS 'The reservation id (UUIDv7).';
COMMENT ON COLUMN ducto.reservations.actor IS 'The member for whom a team''s pool holds credits.';
COMMENT ON COLUMN ducto.reservations.amount IS 'Credits reserved.';
COMMENT ON COLUMN ducto.reservations.remaining IS 'Credits still held; 0 once closed.';
COMMENT ON COLUMN ducto.reservations.operation_type IS 'The kind of operation.';
COMMENT ON COLUMN ducto.reservations.model IS 'The model that is to be used.';
COMMENT ON COLUMN ducto.reservations.billing_mode IS 'strict or overdraft.';
COMMENT ON COLUMN ducto.reservations.floor IS 'The balance, in credits, that admission left untouched.';
COMMENT ON COLUMN ducto.reservations.state IS 'open, settled, released or expired. An open one that is past its time has expired, too, and holds nothing.';
COMMENT ON COLUMN ducto.reservations.idempotency_key IS 'The caller''s key of the reserve, unique per account.';
COMMENT ON COLUMN ducto.reservations.balance_after IS 'The balance at admission, for a replay.';
COMMENT ON COLUMN ducto.reservations.reserved_after IS 'What was held after admission, for a replay.';
COMMENT ON COLUMN ducto.reservations.first_expires_at IS 'expires_at as admitted, for a replay.';
COMMENT ON COLUMN ducto.reservations.closing_key IS 'The key of the deduct of 0 that closed it.';
COMMENT ON COLUMN ducto.reservations.closing_balance IS 'The balance at the deduct of 0 that closed it, with a key or without.';
COMMENT ON COLUMN ducto.reservations.skip_allowance IS 'Whether it is to be paid from credits alone.';
COMMENT ON COLUMN ducto.reservations.cap_held IS 'What spend caps count while it is open: credits beyond the allowance at admission. What remains beyond it was admitted on the allowance, unless skip_allowance.';
COMMENT ON COLUMN ducto.reservations.pricing_version IS 'The pricing that it was reserved under; NULL where none was active.';
COMMENT ON COLUMN ducto.reservations.plan_id IS 'The plan that it was reserved under.';
COMMENT ON COLUMN ducto.reservations.ceiling IS 'Where no more than the hold may ever be deducted from it: the amount, and from its expiry on what may still be; NULL = there is no such limit.';
COMMENT ON COLUMN ducto.reservations.metadata IS 'The caller''s JSON object.';
COMMENT ON COLUMN ducto.reservations.created_at IS 'When it was admitted.';
COMMENT ON COLUMN ducto.reservations.expires_at IS 'From this time on it is expired.';
COMMENT ON COLUMN ducto.reservations.closed_at IS 'When it ended.';

CREATE TYPE @extschema@.ducto_reserve_result AS (
	reservation_id uuid,
	user_id uuid,
	amount numeric,
	balance numeric,
	reserved numeric,
	available numeric,
	billing_mode text,
	expires_at timestamptz,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_reserve_result IS 'A reservation and the user''s credits with it.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.reservation_id IS 'The reservation; NULL if none was made.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.amount IS 'Credits reserved; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.balance IS 'Credits, those held included.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.reserved IS 'Credits held by open reservations.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.billing_mode IS 'strict or overdraft.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.expires_at IS 'From this time on the reservation is expired.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_reserve_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_deduction_result AS (
	transaction_id uuid,
	user_id uuid,
	amount numeric,
	balance_after numeric,
	allowance_consumed numeric,
	shortfall numeric,
	idempotent boolean,
	cap_warning text,
	error text
);
COMMENT ON TYPE @extschema@.ducto_deduction_result IS 'What was charged.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.amount IS 'Credits taken, positive; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.balance_after IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.allowance_consumed IS 'Credits that the allowance paid.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.shortfall IS 'Credits that could not be charged.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.cap_warning IS 'The strongest action of a spend cap that was exceeded.';
COMMENT ON COLUMN @extschema@.ducto_deduction_result.error IS 'The code of the rejection; NULL on success.';

CREATE TYPE @extschema@.ducto_release_result AS (
	reservation_id uuid,
	user_id uuid,
	released boolean,
	reason text
);
COMMENT ON TYPE @extschema@.ducto_release_result IS 'Whether a reservation was released, and why not.';
COMMENT ON COLUMN @extschema@.ducto_release_result.reservation_id IS 'The reservation.';
COMMENT ON COLUMN @extschema@.ducto_release_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_release_result.released IS 'Whether this call released it.';
COMMENT ON COLUMN @extschema@.ducto_release_result.reason IS 'released, already_released, already_settled, expired or not_found.';

CREATE TYPE @extschema@.ducto_afford_result AS (
	affordable boolean,
	available numeric,
	allowance_remaining numeric,
	reason text
);
COMMENT ON TYPE @extschema@.ducto_afford_result IS 'Whether a reservation would be admitted.';
COMMENT ON COLUMN @extschema@.ducto_afford_result.affordable IS 'Whether a reservation would be admitted now.';
COMMENT ON COLUMN @extschema@.ducto_afford_result.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_afford_result.allowance_remaining IS 'Credits left of this UTC month''s allowance.';
COMMENT ON COLUMN @extschema@.ducto_afford_result.reason IS 'The code of the rejection; NULL if affordable.';

CREATE FUNCTION @extschema@.ducto_reserve(
	user_id uuid,
	amount numeric,
	operation_type text DEFAULT 'usage',
	metadata jsonb DEFAULT '{}',
	min_balance numeric DEFAULT NULL,
	ttl_seconds integer DEFAULT NULL,
	model text DEFAULT NULL,
	billing_mode text DEFAULT NULL,
	overdraft_floor numeric DEFAULT NULL,
	max_concurrent integer DEFAULT NULL,
	required_feature text DEFAULT NULL,
	idempotency_key text DEFAULT NULL,
	team_id uuid DEFAULT NULL,
	skip_allowance boolean DEFAULT false,
	ceiling boolean DEFAULT false
) RETURNS @extschema@.ducto_reserve_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_reserve';
REVOKE ALL ON FUNCTION @extschema@.ducto_reserve(
	uuid, numeric, text, jsonb, numeric, integer, text, text, numeric, integer, text, text, uuid, boolean, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_reserve(
	uuid, numeric, text, jsonb, numeric, integer, text, text, numeric, integer, text, text, uuid, boolean, boolean) IS
'Holds credits for an operation, when the allowance left this month and what is available cover them down to the floor.
user_id: the user; with team_id, the member.
amount: credits, positive.
operation_type: stored; 1 to 255 bytes. The user''s plan may have rules for it.
metadata: a JSON object, kept with the reservation.
min_balance: the floor when strict, in credits, 0 or more: what stays untouched; NULL = min_balance of the active
  pricing, else 5.
ttl_seconds: how long it holds, 1 to 2592000; NULL = ducto.reservation_ttl.
model: stored; 1 to 255 bytes. Spend caps may be for it.
billing_mode: strict or overdraft; NULL = as the user''s plan says for the operation type, else as the plan says, else
  strict.
overdraft_floor: the floor when overdraft, in credits, 0 or less, required then; NULL = as for billing_mode, else
  none.
max_concurrent: reject when so many reservations of this operation type are open, 1 or more; NULL = as for
  billing_mode, else unlimited.
required_feature: reject unless the user''s plan has it.
idempotency_key: 1 to 255 bytes, in a set of its own; a retry with it returns the original result.
team_id: hold them in this team''s pool: only the pool and the member''s cap count then, and balances are the pool''s.
skip_allowance: pay from credits alone.
ceiling: never deduct more from it than it holds, whatever overrun says: a budget for a job.
Locks the account.
Returns the reservation and the user''s balance, reserved and available credits with it.
Rejections: idempotency_conflict, team_not_found, user_not_in_team, feature_not_entitled, concurrency_limit,
  cap_reached, insufficient_credits (the floor would be passed).
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_deduct(
	user_id uuid,
	reservation_id uuid,
	amount numeric,
	idempotency_key text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	model text DEFAULT NULL,
	overrun text DEFAULT 'reject',
	final boolean DEFAULT true,
	allow_late boolean DEFAULT true,
	skip_allowance boolean DEFAULT NULL,
	team_id uuid DEFAULT NULL
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_deduct';
REVOKE ALL ON FUNCTION @extschema@.ducto_deduct(
	uuid, uuid, numeric, text, jsonb, text, text, boolean, boolean, boolean, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_deduct(uuid, uuid, numeric, text, jsonb, text, text, boolean, boolean, boolean, uuid) IS
'Charges what an operation really cost and closes its reservation; what was held beyond it is free again. The allowance
of the month pays first, and what the reservation was admitted on of it in any case, whatever became of plan, pricing
and month since.
user_id: the user, or the member.
reservation_id: the reservation.
amount: credits, 0 or more; 0 closes without a charge.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
metadata: a JSON object, kept with the entry.
model: stored; 1 to 255 bytes; NULL = the reservation''s.
overrun: what to do when amount is more than is held and the rest is not covered down to the reservation''s floor:
  reject, clamp (charge what fits, report the shortfall) or full (charge all, even into debt).
final: false captures a part, more than 0, and keeps the rest of the hold open.
allow_late: whether an expired reservation may still be charged, from what is available.
skip_allowance: pay from credits alone; NULL = as reserved.
team_id: the team whose pool holds it, which saves the look-up on a cluster; where that team''s does not, it is
  reservation_not_found; NULL = the user''s own or any team''s.
Locks the account.
Returns the ledger entry''s id, the credits taken, the balance after it, what the allowance paid, and the strongest
  action of the spend caps that are exceeded, which never block a deduct.
Rejections: idempotency_conflict, reservation_not_found, reservation_closed, reservation_expired, ceiling_reached (more
  than what is left of a reservation made with ceiling), insufficient_credits (the floor would be passed).
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_release(user_id uuid, reservation_id uuid, team_id uuid DEFAULT NULL)
RETURNS @extschema@.ducto_release_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_release';
REVOKE ALL ON FUNCTION @extschema@.ducto_release(uuid, uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_release(uuid, uuid, uuid) IS
'Frees what a reservation holds.
user_id: the user, or the member.
reservation_id: the reservation.
team_id: the team whose pool holds it, which saves the look-up on a cluster; where that team''s does not, it is
  not_found; NULL = the user''s own or any team''s.
Locks the account.
Returns whether this call released it, and the reason: released, already_released, already_settled, expired or
  not_found. Never a rejection.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_renew(
	user_id uuid,
	reservation_id uuid,
	ttl_seconds integer DEFAULT NULL,
	team_id uuid DEFAULT NULL
) RETURNS @extschema@.ducto_reserve_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_renew';
REVOKE ALL ON FUNCTION @extschema@.ducto_renew(uuid, uuid, integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_renew(uuid, uuid, integer, uuid) IS
'Gives an open reservation more time.
user_id: the user, or the member.
reservation_id: the reservation.
ttl_seconds: how long from now, 1 to 2592000; NULL = ducto.reservation_ttl.
team_id: the team whose pool holds it, which saves the look-up on a cluster; where that team''s does not, it is
  reservation_not_found; NULL = the user''s own or any team''s.
Locks the account.
Returns the reservation and the user''s credits.
Rejections: reservation_not_found, reservation_closed, reservation_expired.
Errors: 22004, 22023.';

CREATE FUNCTION @extschema@.ducto_charge(
	user_id uuid,
	amount numeric,
	idempotency_key text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	model text DEFAULT NULL,
	min_balance numeric DEFAULT NULL,
	operation_type text DEFAULT 'usage',
	skip_allowance boolean DEFAULT false,
	required_feature text DEFAULT NULL,
	overrun text DEFAULT 'reject'
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge';
REVOKE ALL ON FUNCTION @extschema@.ducto_charge(uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_charge(uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text) IS
'Charges credits in one step, without a reservation, when what is available covers them down to the floor; what open
reservations hold is never spent. The allowance of the month pays first.
user_id: the user.
amount: credits, 0 or more; 0 books nothing.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
metadata: a JSON object, kept with the entry.
model: stored; 1 to 255 bytes. Spend caps may be for it.
min_balance: the floor in credits, 0 or more: what stays untouched; NULL = 0, or the overdraft floor of the user''s
  plan for the operation type.
operation_type: stored; 1 to 255 bytes. The user''s plan may have rules for it.
skip_allowance: pay from credits alone.
required_feature: reject unless the user''s plan has it.
overrun: what to do with what is not covered down to the floor: reject, clamp (charge what is, report the rest as
  shortfall) or full (charge all, even into debt). A new user''s account is made for a clamp or full.
Locks the account.
Returns the ledger entry''s id, the credits taken, the balance after it, what the allowance paid, the shortfall, and
  the strongest action of the soft spend caps that are exceeded.
Rejections: idempotency_conflict, feature_not_entitled, cap_reached, insufficient_credits (the floor would be passed).
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_can_afford(
	user_id uuid,
	amount numeric,
	model text DEFAULT NULL,
	operation_type text DEFAULT 'usage'
) RETURNS @extschema@.ducto_afford_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_can_afford';
REVOKE ALL ON FUNCTION @extschema@.ducto_can_afford(uuid, numeric, text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_can_afford(uuid, numeric, text, text) IS
'Tells whether ducto_reserve, with all its defaults, would admit an amount now, down to its floor. A hint, not a
promise.
user_id: the user.
amount: credits, positive.
model: as in ducto_reserve.
operation_type: as in ducto_reserve.
Takes no lock, works on a standby.
Returns the answer, and as reason the rejection that ducto_reserve would give, NULL when affordable.
Errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.ducto_expire_reservations(max_rows integer DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_expire_reservations';
REVOKE ALL ON FUNCTION @extschema@.ducto_expire_reservations(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_expire_reservations(integer) IS
'Closes reservations that are past their time, the first first. Balances never depend on it: it only tidies up.
max_rows: how many at most, 1 or more; NULL = all.
Locks the accounts in the order of their ids and skips those that are locked.
One that fails is left out with a warning that names it and the reason.
Returns how many it closed.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_prune_reservations(before timestamptz, max_rows integer DEFAULT 10000) RETURNS bigint
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_prune_reservations';
REVOKE ALL ON FUNCTION @extschema@.ducto_prune_reservations(timestamptz, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_prune_reservations(timestamptz, integer) IS
'Removes reservations that ended before a time: settled, released or expired. The ledger keeps what was charged, with its
keys. What is gone with a reservation: the key of its reserve, so that a retry after that long would hold again; a late
charge of one that expired, which is reservation_not_found then; what was held in the past. Open ones stay, and those that
a deduct of 0 closed under a key, which only they remember.
before: the time; weeks ago, longer than any retry takes.
max_rows: how many at most, 1 or more. Each call reads the table until it has found them, and tells every
  ducto.progress_interval by NOTICE how far it is.
Locks the accounts of 10,000 reservations after another, and skips those that are locked.
Returns how many it removed.
Errors: 22004, 22023.';

CREATE FUNCTION ducto.prune_shard(
	found bigint,
	shard bigint,
	account_ids uuid[],
	ids uuid[],
	before timestamptz,
	settings text[]
) RETURNS bigint
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_prune_shard';
REVOKE ALL ON FUNCTION ducto.prune_shard(bigint, bigint, uuid[], uuid[], timestamptz, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.prune_shard(bigint, bigint, uuid[], uuid[], timestamptz, text[]) IS
'For ducto_prune_reservations on a cluster: removes reservations of accounts of one shard, on its node, which ended before a time, and skips those of locked accounts. Returns how many.';
