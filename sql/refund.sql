-- refund: credits go back to where they came from.

CREATE TYPE @extschema@.ducto_refund_result AS (
	refund_transaction_id uuid,
	original_transaction_id uuid,
	user_id uuid,
	team_id uuid,
	amount numeric,
	new_balance numeric,
	allowance_restored numeric,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_refund_result IS 'What was refunded.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.refund_transaction_id IS 'The ledger entry of the refund; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.original_transaction_id IS 'The ledger entry that was refunded.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.user_id IS 'The user.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.team_id IS 'The team, if a team''s pool was charged.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.amount IS 'Credits returned; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.new_balance IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.allowance_restored IS 'Credits given back to the allowance.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_refund_result.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_refund(
	transaction_id uuid,
	amount numeric DEFAULT NULL,
	reason text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	idempotency_key text DEFAULT NULL,
	restore_allowance boolean DEFAULT true,
	account_id uuid DEFAULT NULL
) RETURNS @extschema@.ducto_refund_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_refund';
REVOKE ALL ON FUNCTION @extschema@.ducto_refund(uuid, numeric, text, jsonb, text, boolean, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_refund(uuid, numeric, text, jsonb, text, boolean, uuid) IS
'Gives back what a usage entry took, a team''s to its pool, to the grants it burned in reverse order; the part of a
grant that has expired since comes back without expiry. Credits go back first, then the allowance, into the month that
it came from.
transaction_id: the usage entry.
amount: credits and allowance, positive; NULL = all that is left.
reason: kept in the refund''s metadata as "reason".
metadata: a JSON object, kept with the refund''s entry.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
restore_allowance: false refunds credits alone.
account_id: whose entry it is, the user''s or for a team''s debit the team''s, which saves the look-up on a cluster;
  another''s is transaction_not_found; NULL = wherever it is.
Locks the account.
Returns the refund''s ledger entry, the credits returned, the new balance and the allowance given back.
Rejections: idempotency_conflict, transaction_not_found, not_refundable, already_refunded, over_refund.
Errors: 22004, 22003, 22023.';
