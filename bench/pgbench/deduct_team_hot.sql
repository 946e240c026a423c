\set n :client_id + 1
\set team :accounts + 1
SELECT * FROM ducto_deduct_team(team_id => lpad(to_hex(:team::bigint), 32, '0')::uuid,
	user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
