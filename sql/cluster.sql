-- cluster: the tables on several nodes.

CREATE FUNCTION ducto.is_distributed() RETURNS boolean
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_is_distributed';
REVOKE ALL ON FUNCTION ducto.is_distributed() FROM PUBLIC;
COMMENT ON FUNCTION ducto.is_distributed() IS 'Tells whether the tables are distributed over the nodes of a cluster.';

CREATE TYPE @extschema@.ducto_distribute_step AS (
	object text,
	action text
);
COMMENT ON TYPE @extschema@.ducto_distribute_step IS 'A step of ducto_distribute.';
COMMENT ON COLUMN @extschema@.ducto_distribute_step.object IS 'What it is about.';
COMMENT ON COLUMN @extschema@.ducto_distribute_step.action IS 'What was done, or was there already.';

CREATE FUNCTION @extschema@.ducto_distribute(shard_count integer DEFAULT 32)
RETURNS SETOF @extschema@.ducto_distribute_step
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_distribute';
REVOKE ALL ON FUNCTION @extschema@.ducto_distribute(integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_distribute(integer) IS
'Distributes the tables over the nodes of a Citus cluster: each by its account, all that is an account''s on one shard,
and small tables whole on every node. To be called by the extension''s owner, on the coordinator. Never granted. Where
it was done before it changes nothing.
shard_count: into how many shards, 1 to 64000; NULL = 32.
Locks the tables against writing until it ends.
Returns what was done, step by step.
Errors: 0A000 (Citus is not in this database, or older than 13), 55000 (this is a worker, or there is none, or
  the test clock is on), 22023.';
