-- team: shared pools.

CREATE FUNCTION @extschema@.create_team(p_name text, p_initial_balance numeric DEFAULT 0) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_create_team';
REVOKE ALL ON FUNCTION @extschema@.create_team(text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.create_team(text, numeric) IS
'ducto_create_team for the SDKs: team_id, name. Errors in the answer: invalid_amount. SQL errors: 22004 (also for an initial balance where ducto.require_idempotency_key is on: there is no key), 22023.';

CREATE FUNCTION @extschema@.get_team_balance(p_team_id uuid) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_team_balance';
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
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_add_team_member';
REVOKE ALL ON FUNCTION @extschema@.add_team_member(uuid, uuid, text, numeric) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.add_team_member(uuid, uuid, text, numeric) IS
'ducto_add_team_member for the SDKs: team_id, user_id, role. p_spend_cap: credits per UTC month, 0 or more. Errors in the answer: team_not_found, invalid_amount. Locks the pool. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.get_team_members(p_team_id uuid) RETURNS SETOF jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_team_members';
REVOKE ALL ON FUNCTION @extschema@.get_team_members(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_team_members(uuid) IS
'ducto_get_team_members for the SDKs: objects with user_id, role, spend_cap, total_spent (in this UTC month), joined_at. Takes no lock. SQL errors: 22004.';

CREATE FUNCTION @extschema@.deduct_team(p_team_id uuid, p_user_id uuid, p_amount numeric, p_metadata jsonb DEFAULT '{}')
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_deduct_team';
REVOKE ALL ON FUNCTION @extschema@.deduct_team(uuid, uuid, numeric, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.deduct_team(uuid, uuid, numeric, jsonb) IS
'ducto_deduct_team for the SDKs. p_amount: credits, positive. p_metadata: idempotency_key and model are taken from it.
Locks the pool. Returns transaction_id, team_id, user_id, amount (negative), team_balance_after, idempotent. Errors in the answer, with team_balance_after: team_not_found, user_not_in_team, insufficient_credits, cap_reached, idempotency_conflict; invalid_amount. SQL errors: 22004, 22023.';
