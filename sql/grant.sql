-- grant: credit that expires, or has a place in the order in which it is spent.

CREATE TABLE ducto.grants (
	account_id uuid NOT NULL,
	id uuid NOT NULL,
	seq bigint NOT NULL,
	type text NOT NULL,
	amount numeric NOT NULL,
	remaining numeric NOT NULL,
	priority integer NOT NULL,
	expires_at timestamptz NOT NULL,
	created_at timestamptz NOT NULL,
	live boolean NOT NULL,
	rolls_to timestamptz,
	rollover numeric,
	CONSTRAINT grants_pkey PRIMARY KEY (account_id, id)
) WITH (fillfactor = 80);

CREATE INDEX grants_burn_order ON ducto.grants (account_id, priority, expires_at, seq, id) WHERE live;
CREATE INDEX grants_expiry ON ducto.grants (account_id, expires_at, seq, id) WHERE live;
-- An expression, so that it serves the sweep alone: it has the grants of all accounts.
CREATE INDEX grants_due ON ducto.grants ((expires_at AT TIME ZONE 'UTC'), account_id) WHERE live;
ALTER TABLE ducto.grants ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.grants', '');

COMMENT ON TABLE ducto.grants IS 'Credit that can expire, or was given a priority, with what remains of it.';
COMMENT ON COLUMN ducto.grants.account_id IS 'Whose credit it is.';
COMMENT ON COLUMN ducto.grants.id IS 'The ledger entry that added it, here or to the account that it was moved from.';
COMMENT ON COLUMN ducto.grants.seq IS 'seq of the entry that brought it here: the older is spent first, of one entry by id.';
COMMENT ON COLUMN ducto.grants.type IS 'The type of the entry that added it.';
COMMENT ON COLUMN ducto.grants.amount IS 'Credits added, less those that were moved to another account; 0 when the last of them were, so that nothing comes back to it.';
COMMENT ON COLUMN ducto.grants.remaining IS 'Credits neither spent nor expired.';
COMMENT ON COLUMN ducto.grants.priority IS '0 to 100, lower is spent first.';
COMMENT ON COLUMN ducto.grants.expires_at IS 'From this time on it is expired; infinity = never.';
COMMENT ON COLUMN ducto.grants.created_at IS 'When it came to this account.';
COMMENT ON COLUMN ducto.grants.live IS 'Whether anything remains; the indexes have only these.';
COMMENT ON COLUMN ducto.grants.rolls_to IS 'What remains at the end of the cycle that gave it lives on until then: it is expires_at from then on. NULL = nothing does.';
COMMENT ON COLUMN ducto.grants.rollover IS 'At most so much of it.';

CREATE TYPE @extschema@.ducto_grant AS (
	grant_id uuid,
	type text,
	amount numeric,
	remaining numeric,
	priority integer,
	expires_at timestamptz,
	created_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_grant IS 'Credit that can expire, or was given a priority.';
COMMENT ON COLUMN @extschema@.ducto_grant.grant_id IS 'The ledger entry that added it, here or to the account that it was moved from.';
COMMENT ON COLUMN @extschema@.ducto_grant.type IS 'purchase, subscription, signup_bonus, promo or adjustment.';
COMMENT ON COLUMN @extschema@.ducto_grant.amount IS 'Credits added, less those that were moved to another account.';
COMMENT ON COLUMN @extschema@.ducto_grant.remaining IS 'Credits neither spent nor expired.';
COMMENT ON COLUMN @extschema@.ducto_grant.priority IS '0 to 100, lower is spent first.';
COMMENT ON COLUMN @extschema@.ducto_grant.expires_at IS 'From this time on it is expired; NULL = never.';
COMMENT ON COLUMN @extschema@.ducto_grant.created_at IS 'When it came to this account.';

CREATE TYPE @extschema@.ducto_sweep_result AS (
	expired_count bigint,
	expired_amount numeric,
	dry_run boolean
);
COMMENT ON TYPE @extschema@.ducto_sweep_result IS 'What ducto_sweep_expired expired, or would have.';
COMMENT ON COLUMN @extschema@.ducto_sweep_result.expired_count IS 'Accounts in which credits expired.';
COMMENT ON COLUMN @extschema@.ducto_sweep_result.expired_amount IS 'Credits expired.';
COMMENT ON COLUMN @extschema@.ducto_sweep_result.dry_run IS 'Whether nothing was booked.';

CREATE FUNCTION @extschema@.ducto_list_grants(user_id uuid) RETURNS SETOF @extschema@.ducto_grant
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_grants';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_grants(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_grants(uuid) IS
'Returns the live grants of a user (something remains and it has not expired) in the order in which they are spent:
lower priority, sooner expiry, older. Credit without expiry and priority is in none: it is spent after them.
user_id: the user.
Takes no lock, works on a standby.
Errors: 22004.';

CREATE FUNCTION @extschema@.ducto_sweep_expired(dry_run boolean DEFAULT false, max_accounts integer DEFAULT NULL)
RETURNS @extschema@.ducto_sweep_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sweep_expired';
REVOKE ALL ON FUNCTION @extschema@.ducto_sweep_expired(boolean, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_sweep_expired(boolean, integer) IS
'Books the expiry of credit that is past its time. Balances never depend on it: it only tidies up.
dry_run: true only reports what a call would expire at this moment.
max_accounts: expire in at most so many accounts, 1 or more; NULL = all.
Locks the accounts in the order of their ids and skips those that are locked.
One that fails is left out with a warning that names it and the reason.
Returns the number of accounts and the credits expired.
Errors: 22023.';

CREATE FUNCTION ducto.due_accounts() RETURNS uuid[]
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_due_accounts';
REVOKE ALL ON FUNCTION ducto.due_accounts() FROM PUBLIC;
COMMENT ON FUNCTION ducto.due_accounts() IS 'For ducto_sweep: the accounts with something past its time, in the order of their ids; on a cluster those of its nodes by turns.';

CREATE FUNCTION ducto.sweep_accounts(account_ids uuid[]) RETURNS integer
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sweep_accounts';
REVOKE ALL ON FUNCTION ducto.sweep_accounts(uuid[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sweep_accounts(uuid[]) IS 'For ducto_sweep: books what is past its time on these accounts and skips those that are locked, as many as one transaction should do. Returns with how many it is done.';

CREATE FUNCTION ducto.sweep_shard(
	found bigint,
	shard bigint,
	account_ids uuid[],
	dry_run boolean,
	max_accounts bigint,
	max_entries bigint,
	max_closed bigint,
	settings text[]
) RETURNS numeric[]
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sweep_shard';
REVOKE ALL ON FUNCTION ducto.sweep_shard(bigint, bigint, uuid[], boolean, bigint, bigint, bigint, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sweep_shard(bigint, bigint, uuid[], boolean, bigint, bigint, bigint, text[]) IS
'For sweeps on a cluster: books what is past its time on accounts of one shard, on its node. Returns with how many it is done, the accounts with credit that expired, the entries, the reservations that it closed, and the credits expired.';

CREATE PROCEDURE @extschema@.ducto_sweep(batch_size integer DEFAULT 1000)
LANGUAGE c
AS 'MODULE_PATHNAME', 'ducto_sweep';
REVOKE ALL ON PROCEDURE @extschema@.ducto_sweep(integer) FROM PUBLIC;
COMMENT ON PROCEDURE @extschema@.ducto_sweep(integer) IS
'Expires everything that is past its time, reservations and grants, and commits after every batch; then rolls up the
ledger for the analytics functions, as ducto_rollup does. To be called outside of a transaction, from pg_cron or any
timer. Reports progress by NOTICE.
batch_size: how many accounts a transaction has, 1 or more.
Locks the accounts of a batch in the order of their ids and skips those that are locked. Of one account at most 10,000
reservations and 10,000 grants are booked in one transaction. One that fails is left out with a warning that names it
and the reason.
Errors: 22023, 2D000 (inside of a transaction).';
