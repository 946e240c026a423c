-- balance: credits of a user.

CREATE FUNCTION @extschema@.get_credits_balance(p_user_id uuid) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_credits_balance';
REVOKE ALL ON FUNCTION @extschema@.get_credits_balance(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_credits_balance(uuid) IS
'ducto_get_balance for the SDKs: user_id, balance, lifetime_purchased. Takes no lock. Errors: 22004.';

CREATE FUNCTION @extschema@.get_available_credits(p_user_id uuid) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_get_available_credits';
REVOKE ALL ON FUNCTION @extschema@.get_available_credits(uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.get_available_credits(uuid) IS
'ducto_get_balance for the SDKs: user_id, balance, reserved, available (credits only). Takes no lock. Errors: 22004.';

CREATE FUNCTION @extschema@.credits_add(
	p_user_id uuid,
	p_amount numeric,
	p_type text DEFAULT 'adjustment',
	p_metadata jsonb DEFAULT NULL
)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_credits_add';
REVOKE ALL ON FUNCTION @extschema@.credits_add(uuid, numeric, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.credits_add(uuid, numeric, text, jsonb) IS
'ducto_add_credits for the SDKs.
p_amount: credits; 0 and less only for an adjustment. p_type: purchase, subscription, signup_bonus, adjustment or promo. p_metadata: a JSON object; expires_at in it (ISO 8601, UTC without an offset) is when the credit expires, and credit that is past its time is there for the sweep alone; idempotency_key in it makes a retry return the original result.
Locks the account. Returns id, user_id, amount, new_balance, lifetime_purchased, idempotent. Errors in the answer: invalid_amount, invalid_expires_at, insufficient_credits, idempotency_conflict. SQL errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.deduct_with_allowance(
	p_user_id uuid,
	p_amount numeric,
	p_idempotency_key text DEFAULT NULL,
	p_min_balance numeric DEFAULT 0,
	p_model text DEFAULT NULL,
	p_metadata jsonb DEFAULT '{}',
	p_skip_allowance boolean DEFAULT false
)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_deduct_with_allowance';
REVOKE ALL ON FUNCTION @extschema@.deduct_with_allowance(uuid, numeric, text, numeric, text, jsonb, boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.deduct_with_allowance(uuid, numeric, text, numeric, text, jsonb, boolean) IS
'ducto_charge for the SDKs: the allowance pays first, the rest comes from credits.
p_amount: credits, positive. p_min_balance: what must stay of the balance; negative: the debt that may be made.
Locks the account. Returns transaction_id, user_id, amount (credits taken, positive), allowance_consumed, balance_after, idempotent, cap_warning. Errors in the answer, with balance_after: insufficient_credits, cap_reached, idempotency_conflict; invalid_amount. SQL errors: 22004, 22003, 22023.';

CREATE FUNCTION @extschema@.refund_credits(
	p_transaction_id uuid,
	p_amount numeric DEFAULT NULL,
	p_reason text DEFAULT NULL,
	p_metadata jsonb DEFAULT '{}'
)
RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_refund_credits';
REVOKE ALL ON FUNCTION @extschema@.refund_credits(uuid, numeric, text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.refund_credits(uuid, numeric, text, jsonb) IS
'ducto_refund for the SDKs, of credits alone: the allowance does not come back.
p_amount: credits, positive; NULL = all that is left. p_reason: kept in the metadata of the refund. p_metadata: idempotency_key in it makes a retry return the original result.
Locks the account. Returns refund_transaction_id, user_id, amount, new_balance, idempotent. Errors in the answer, with user_id and new_balance: not_found, already_refunded (by one refund of all), over_refund (more than is left, or no debit), idempotency_conflict; invalid_amount. SQL errors: 22004, 22023.';

CREATE FUNCTION @extschema@.expire_credits(p_dry_run boolean DEFAULT false) RETURNS jsonb
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_expire_credits';
REVOKE ALL ON FUNCTION @extschema@.expire_credits(boolean) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.expire_credits(boolean) IS
'ducto_sweep_expired for the SDKs: expired_count (accounts), expired_amount, dry_run. But for a dry run it also rolls up a part of the ledger, for the analytics. Balances never depend on it. Locks the accounts one by one.';
