-- transfer: credits go from one account to another.

CREATE TYPE @extschema@.ducto_transfer_result AS (
	out_transaction_id uuid,
	in_transaction_id uuid,
	from_id uuid,
	to_id uuid,
	amount numeric,
	from_balance numeric,
	to_balance numeric,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_transfer_result IS 'What was moved.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.out_transaction_id IS 'The ledger entry of the sender; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.in_transaction_id IS 'The ledger entry of the receiver; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.from_id IS 'The sender: a user or a team.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.to_id IS 'The receiver: a user or a team.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.amount IS 'Credits moved; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.from_balance IS 'The sender''s balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.to_balance IS 'The receiver''s balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_transfer_result.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_transfer(
	from_id uuid,
	to_id uuid,
	amount numeric DEFAULT NULL,
	reason text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	idempotency_key text DEFAULT NULL
) RETURNS @extschema@.ducto_transfer_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_transfer';
REVOKE ALL ON FUNCTION @extschema@.ducto_transfer(uuid, uuid, numeric, text, jsonb, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_transfer(uuid, uuid, numeric, text, jsonb, text) IS
'Moves credits between users and teams, in one step: what a manager allocates, a gift, two users that become one.
Grants move in the order in which they would be spent, and keep type, priority and expiry; then credit that is in no
grant. A debt of the receiver eats of it first. What was charged from a grant before it moved comes back without
expiry when it is refunded. It is no spend, and no purchase of the receiver''s.
from_id: the sender, a user or a team.
to_id: the receiver, another user or team; a new user''s account is made.
amount: credits, positive, which must fit into balance - held; NULL = all that is available; nothing is booked then
  when nothing is.
reason: kept in the metadata of both entries as "reason".
metadata: a JSON object, kept with both entries.
idempotency_key: 1 to 255 bytes, of the sender''s keys; a retry with it returns the original result.
Locks both accounts in the order of their ids.
Returns both ledger entries, which name each other as their reference, the credits moved and both balances.
Rejections: idempotency_conflict, insufficient_credits.
Errors: 22004, 22003, 22023.';
