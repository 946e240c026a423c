\set n random(1, :accounts / 10)
\set team :accounts + :n
SELECT * FROM ducto_deduct_team(team_id => lpad(to_hex(:team::bigint), 32, '0')::uuid,
	user_id => lpad(to_hex(:n::bigint), 32, '0')::uuid, amount => 0.01);
