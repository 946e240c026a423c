-- cluster: the tables on several nodes.

CREATE FUNCTION ducto.is_distributed() RETURNS boolean
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_is_distributed';
REVOKE ALL ON FUNCTION ducto.is_distributed() FROM PUBLIC;
COMMENT ON FUNCTION ducto.is_distributed() IS 'Tells whether the tables are distributed over the nodes of a cluster.';

-- As ducto.call_once it needs neither the owner's rights nor a search_path.
CREATE FUNCTION ducto.call_sent(request internal) RETURNS internal
LANGUAGE c IMMUTABLE
AS 'MODULE_PATHNAME', 'ducto_call_sent';
REVOKE ALL ON FUNCTION ducto.call_sent(internal) FROM PUBLIC;
COMMENT ON FUNCTION ducto.call_sent(internal) IS
'For the planner: as ducto.call_once, and refuses NULL for the account, at which Citus ends the server.';

CREATE FUNCTION ducto.is_there(user_id uuid) RETURNS boolean
LANGUAGE c STABLE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_is_there';
REVOKE ALL ON FUNCTION ducto.is_there(uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.is_there(uuid) IS
'For calls on a cluster: what Citus sends to the node of an account''s shard, with the call that is made there.';

CREATE FUNCTION ducto.charge_there(
	user_id uuid,
	amount numeric,
	idempotency_key text,
	metadata jsonb,
	model text,
	min_balance numeric,
	operation_type text,
	skip_allowance boolean,
	required_feature text,
	overrun text,
	settings text[]
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge_there';
REVOKE ALL ON FUNCTION ducto.charge_there(
	uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.charge_there(
	uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text, text[]) IS
'For ducto_charge on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.reserve_there(
	user_id uuid,
	amount numeric,
	operation_type text,
	metadata jsonb,
	min_balance numeric,
	ttl_seconds integer,
	model text,
	billing_mode text,
	overdraft_floor numeric,
	max_concurrent integer,
	required_feature text,
	idempotency_key text,
	team_id uuid,
	skip_allowance boolean,
	ceiling boolean,
	settings text[]
) RETURNS @extschema@.ducto_reserve_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_reserve_there';
REVOKE ALL ON FUNCTION ducto.reserve_there(
	uuid, numeric, text, jsonb, numeric, integer, text, text, numeric, integer, text, text, uuid, boolean, boolean, text[])
FROM PUBLIC;
COMMENT ON FUNCTION ducto.reserve_there(
	uuid, numeric, text, jsonb, numeric, integer, text, text, numeric, integer, text, text, uuid, boolean, boolean, text[]) IS
'For ducto_reserve on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.deduct_there(
	user_id uuid,
	reservation_id uuid,
	amount numeric,
	idempotency_key text,
	metadata jsonb,
	model text,
	overrun text,
	final boolean,
	allow_late boolean,
	skip_allowance boolean,
	team_id uuid,
	settings text[]
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_deduct_there';
REVOKE ALL ON FUNCTION ducto.deduct_there(
	uuid, uuid, numeric, text, jsonb, text, text, boolean, boolean, boolean, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.deduct_there(
	uuid, uuid, numeric, text, jsonb, text, text, boolean, boolean, boolean, uuid, text[]) IS
'For ducto_deduct on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.add_credits_there(
	user_id uuid,
	amount numeric,
	type text,
	metadata jsonb,
	expires_at timestamptz,
	idempotency_key text,
	priority integer,
	settings text[]
) RETURNS @extschema@.ducto_add_credits_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_credits_there';
REVOKE ALL ON FUNCTION ducto.add_credits_there(uuid, numeric, text, jsonb, timestamptz, text, integer, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.add_credits_there(uuid, numeric, text, jsonb, timestamptz, text, integer, text[]) IS
'For ducto_add_credits on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.charge_usage_there(
	user_id uuid,
	usage jsonb,
	reservation_id uuid,
	idempotency_key text,
	metadata jsonb,
	overrun text,
	settings text[]
) RETURNS @extschema@.ducto_deduction_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge_usage_there';
REVOKE ALL ON FUNCTION ducto.charge_usage_there(uuid, jsonb, uuid, text, jsonb, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.charge_usage_there(uuid, jsonb, uuid, text, jsonb, text, text[]) IS
'For ducto_charge_usage on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.renew_there(
	user_id uuid,
	reservation_id uuid,
	ttl_seconds integer,
	team_id uuid,
	settings text[]
) RETURNS @extschema@.ducto_reserve_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_renew_there';
REVOKE ALL ON FUNCTION ducto.renew_there(uuid, uuid, integer, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.renew_there(uuid, uuid, integer, uuid, text[]) IS
'For ducto_renew on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.release_there(
	user_id uuid,
	reservation_id uuid,
	team_id uuid,
	settings text[]
) RETURNS @extschema@.ducto_release_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_release_there';
REVOKE ALL ON FUNCTION ducto.release_there(uuid, uuid, uuid, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.release_there(uuid, uuid, uuid, text[]) IS
'For ducto_release on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE FUNCTION ducto.settle_there(
	user_id uuid,
	reservation_id uuid,
	lines jsonb,
	final boolean,
	overrun text,
	settings text[]
) RETURNS @extschema@.ducto_settle_result
LANGUAGE c VOLATILE SUPPORT ducto.call_sent SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_settle_there';
REVOKE ALL ON FUNCTION ducto.settle_there(uuid, uuid, jsonb, boolean, text, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.settle_there(uuid, uuid, jsonb, boolean, text, text[]) IS
'For ducto_settle on a cluster: the same on the node of the account, under the settings of the session that called it.';

CREATE TYPE @extschema@.ducto_distribute_step AS (
	object text,
	action text
);
COMMENT ON TYPE @extschema@.ducto_distribute_step IS 'A step of ducto_distribute and ducto_undistribute.';
COMMENT ON COLUMN @extschema@.ducto_distribute_step.object IS 'What it is about.';
COMMENT ON COLUMN @extschema@.ducto_distribute_step.action IS 'What was done, or was there already.';

CREATE FUNCTION @extschema@.ducto_distribute(shard_count integer DEFAULT 32)
RETURNS SETOF @extschema@.ducto_distribute_step
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_distribute';
REVOKE ALL ON FUNCTION @extschema@.ducto_distribute(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_distribute(integer) IS
'Distributes the tables over the nodes of a Citus cluster: each by its account, all that is an account''s on one shard,
and small tables whole on every node. What a role may call here it may call on every node. To be called by the
extension''s owner, on the coordinator. Never granted. Where it was done before it tells nodes that have joined who may
call, and changes nothing else.
shard_count: into how many shards, 1 to 64000; NULL = 32.
Locks the tables against reading and writing until it ends.
Returns what was done, step by step.
Errors: 0A000 (Citus is not in this database, or older than 13), 55000 (this is a worker, or there is none), 22023.';

CREATE FUNCTION @extschema@.ducto_undistribute()
RETURNS SETOF @extschema@.ducto_distribute_step
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_undistribute';
REVOKE ALL ON FUNCTION @extschema@.ducto_undistribute() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_undistribute() IS
'Brings the tables of a Citus cluster back to its coordinator, as they were before ducto_distribute, with all their rows.
To be called by the extension''s owner, on the coordinator. Never granted. Where it was done before it changes nothing.
Locks the tables against reading and writing, on all nodes, until it ends.
Returns what was done, step by step.
Errors: 0A000 (Citus is not in this database, or older than 13), 55000 (this is a worker, or a transaction is left
  prepared on a node).';
