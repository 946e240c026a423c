-- team: shared pools.

CREATE FUNCTION @extschema@.create_team(p_name text, p_initial_balance numeric DEFAULT 0) RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT coalesce(ducto.sdk_amount_problem(coalesce(p_initial_balance, 0), true), (
		SELECT jsonb_build_object('team_id', t.team_id, 'name', t.name)
		FROM ducto_create_team(name => p_name, initial_balance => p_initial_balance) t));
END;
REVOKE ALL ON FUNCTION @extschema@.create_team(text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.create_team(text, numeric) IS
'ducto_create_team for the SDKs: team_id, name. Errors in the answer: invalid_amount. SQL errors: 22004 (also for an initial balance where ducto.require_idempotency_key is on: there is no key), 22023.';

CREATE FUNCTION @extschema@.get_team_balance(p_team_id uuid) RETURNS jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT CASE WHEN t.error IS NULL
		THEN jsonb_build_object('team_id', t.team_id, 'name', t.name, 'balance', t.balance::text, 'member_count', t.member_count)
		ELSE jsonb_build_object('error', t.error) END
	FROM ducto_get_team_balance(team_id => p_team_id) t;
END;
REVOKE ALL ON FUNCTION @extschema@.get_team_balance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_team_balance(uuid) IS
'ducto_get_team_balance for the SDKs: team_id, name, balance, member_count. Errors in the answer: team_not_found. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.add_team_member(
	p_team_id uuid,
	p_user_id uuid,
	p_role text DEFAULT 'member',
	p_spend_cap numeric DEFAULT NULL
)
RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT coalesce(CASE WHEN p_spend_cap IS NOT NULL THEN ducto.sdk_amount_problem(p_spend_cap, true) END, (
		SELECT CASE WHEN m.error IS NULL
			THEN jsonb_build_object('team_id', m.team_id, 'user_id', m.user_id, 'role', m.role)
			ELSE jsonb_build_object('error', m.error) END
		FROM ducto_add_team_member(team_id => p_team_id, user_id => p_user_id, role => p_role, spend_cap => p_spend_cap) m));
END;
REVOKE ALL ON FUNCTION @extschema@.add_team_member(uuid, uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.add_team_member(uuid, uuid, text, numeric) IS
'ducto_add_team_member for the SDKs: team_id, user_id, role. p_spend_cap: credits per UTC month, 0 or more. Errors in the answer: team_not_found, invalid_amount. Locks the pool. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.get_team_members(p_team_id uuid) RETURNS SETOF jsonb
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT jsonb_build_object('user_id', m.user_id, 'role', m.role, 'spend_cap', m.spend_cap::text,
		'total_spent', m.total_spent::text, 'joined_at', m.joined_at)
	FROM ducto_get_team_members(team_id => p_team_id) m;
END;
REVOKE ALL ON FUNCTION @extschema@.get_team_members(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_team_members(uuid) IS
'ducto_get_team_members for the SDKs: objects with user_id, role, spend_cap, total_spent (in this UTC month), joined_at. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.deduct_team(p_team_id uuid, p_user_id uuid, p_amount numeric, p_metadata jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE sql VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET ducto.rejections = 'return'
BEGIN ATOMIC
	SELECT coalesce(ducto.sdk_amount_problem(p_amount, false), (
		SELECT CASE WHEN d.error IS NULL
			THEN jsonb_build_object('transaction_id', d.transaction_id, 'team_id', d.team_id, 'user_id', d.user_id,
				'amount', (-d.amount)::text, 'team_balance_after', d.team_balance_after::text, 'idempotent', d.idempotent)
			ELSE jsonb_build_object('error', d.error, 'team_balance_after', d.team_balance_after::text) END
		FROM ducto_deduct_team(team_id => p_team_id, user_id => p_user_id, amount => p_amount, metadata => p_metadata,
			idempotency_key => p_metadata ->> 'idempotency_key', model => p_metadata ->> 'model') d));
END;
REVOKE ALL ON FUNCTION @extschema@.deduct_team(uuid, uuid, numeric, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.deduct_team(uuid, uuid, numeric, jsonb) IS
'ducto_deduct_team for the SDKs. p_amount: credits, positive. p_metadata: idempotency_key and model are taken from it.
Locks the pool. Returns transaction_id, team_id, user_id, amount (negative), team_balance_after, idempotent. Errors in the answer, with team_balance_after: team_not_found, user_not_in_team, insufficient_credits, cap_reached, idempotency_conflict; invalid_amount. SQL errors: 22004, 22023.';
