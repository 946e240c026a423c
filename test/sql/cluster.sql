-- cluster: without Citus there is nothing to distribute over

SELECT * FROM ducto_distribute();
\echo :LAST_ERROR_SQLSTATE
SELECT * FROM ducto_distribute(NULL);
SELECT * FROM ducto_distribute(shard_count => 0);
SELECT * FROM ducto_distribute(shard_count => 64001);

-- Nor to bring back.
SELECT * FROM ducto_undistribute();
\echo :LAST_ERROR_SQLSTATE

-- It is the owner's: what is granted to all is not that.
CREATE ROLE regress_ducto_cluster;
SELECT ducto_grant_access('regress_ducto_cluster', 'all');
SELECT has_function_privilege('regress_ducto_cluster', 'ducto_charge(uuid, numeric, text, jsonb, text, numeric, text, boolean, text, text)', 'EXECUTE') AS charge,
	has_function_privilege('regress_ducto_cluster', 'ducto_distribute(integer)', 'EXECUTE') AS distribute,
	has_function_privilege('regress_ducto_cluster', 'ducto_undistribute()', 'EXECUTE') AS undistribute;
SELECT ducto_grant_access('regress_ducto_cluster', 'ducto_distribute');
SELECT ducto_grant_access('regress_ducto_cluster', 'ducto_undistribute');
SET ROLE regress_ducto_cluster;
SELECT * FROM ducto_distribute();
SELECT * FROM ducto_undistribute();
RESET ROLE;
SELECT ducto_revoke_access('regress_ducto_cluster');
DROP ROLE regress_ducto_cluster;
