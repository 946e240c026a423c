-- lease: credits held for an operation, a reservation of the engine.

CREATE FUNCTION @extschema@.create_lease(
	p_user_id uuid,
	p_amount numeric,
	p_operation_type text,
	p_billing_mode text DEFAULT 'strict',
	p_floor numeric DEFAULT 0,
	p_max_concurrent integer DEFAULT NULL,
	p_ttl_seconds integer DEFAULT 600,
	p_model text DEFAULT NULL,
	p_overdraft_floor numeric DEFAULT NULL,
	p_metadata jsonb DEFAULT '{}'
)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_create_lease';
REVOKE ALL ON FUNCTION @extschema@.create_lease(uuid, numeric, text, text, numeric, integer, integer, text, numeric, jsonb)
	FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.create_lease(uuid, numeric, text, text, numeric, integer, integer, text, numeric, jsonb) IS
'ducto_reserve for the SDKs.
p_amount: credits, positive. p_billing_mode: strict, strict_prepaid (the same) or overdraft. p_floor: what must stay of the balance when strict; negative: the debt that may be made. p_overdraft_floor: the floor when overdraft, 0 or less; NULL = p_floor, or 0 when that is positive. p_max_concurrent: NULL = as the plan says. p_ttl_seconds: 1 to 2592000.
Locks the account. Returns lease_id, user_id, amount, available (what the allowance pays included, after this hold), reserved, billing_mode, expires_at. Errors in the answer, with available and reserved: insufficient_credits, cap_reached, concurrency_limit; invalid_amount. SQL errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.settle_lease(
	p_user_id uuid,
	p_lease_id uuid,
	p_amount numeric,
	p_idempotency_key text DEFAULT NULL,
	p_min_balance numeric DEFAULT 0,
	p_model text DEFAULT NULL,
	p_metadata jsonb DEFAULT '{}',
	p_skip_allowance boolean DEFAULT false
)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_settle_lease';
REVOKE ALL ON FUNCTION @extschema@.settle_lease(uuid, uuid, numeric, text, numeric, text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.settle_lease(uuid, uuid, numeric, text, numeric, text, jsonb, boolean) IS
'ducto_deduct for the SDKs: charges a lease and closes it. What goes beyond the hold and does not fit is not charged when strict, and charged into debt when overdraft. A settled lease returns what it returned then, with a key or without.
p_amount: credits, 0 or more. p_min_balance is not used: the floor is that of the lease.
Locks the account. Returns transaction_id (not for an amount of 0), user_id, amount (credits taken, positive), allowance_consumed, balance_after, idempotent, cap_warning. Errors in the answer, with balance_after: lease_not_found (also when released), lease_expired, idempotency_conflict; invalid_amount. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.release_lease(p_user_id uuid, p_lease_id uuid) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_release_lease';
REVOKE ALL ON FUNCTION @extschema@.release_lease(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.release_lease(uuid, uuid) IS
'ducto_release for the SDKs: released, reason (released, already_released, also when it expired, already_settled, not_found). Locks the account. SQL errors: 22004.';

CREATE FUNCTION @extschema@.renew_lease(p_user_id uuid, p_lease_id uuid, p_ttl_seconds integer)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_renew_lease';
REVOKE ALL ON FUNCTION @extschema@.renew_lease(uuid, uuid, integer) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.renew_lease(uuid, uuid, integer) IS
'ducto_renew for the SDKs. p_ttl_seconds: from now, 1 to 2592000; NULL = 600.
Locks the account. Returns lease_id, user_id, amount, available, reserved, billing_mode, expires_at. Errors in the answer: lease_not_found (also when settled or released), lease_expired. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.expire_due_leases() RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_expire_due_leases';
REVOKE ALL ON FUNCTION @extschema@.expire_due_leases() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.expire_due_leases() IS
'ducto_expire_reservations for the SDKs: expired_count. It also rolls up a part of the ledger, for the analytics. Balances never depend on it. Locks the accounts one by one.';
