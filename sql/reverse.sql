-- reverse: credit that was added is taken back.

CREATE TYPE @extschema@.ducto_reversal_result AS (
	reversal_transaction_id uuid,
	original_transaction_id uuid,
	user_id uuid,
	team_id uuid,
	amount numeric,
	shortfall numeric,
	new_balance numeric,
	lifetime_purchased numeric,
	idempotent boolean,
	error text
);
COMMENT ON TYPE @extschema@.ducto_reversal_result IS 'What was taken back.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.reversal_transaction_id IS 'The ledger entry of the reversal; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.original_transaction_id IS 'The ledger entry of the credit.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.user_id IS 'The user; NULL for a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.team_id IS 'The team, if it was added to a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.amount IS 'Credits taken; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.shortfall IS 'Credits that could not be taken.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.new_balance IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.lifetime_purchased IS 'Credits ever purchased, less those of purchases that were taken back.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.idempotent IS 'Whether an earlier call with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_reversal_result.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_reverse_credits(
	transaction_id uuid,
	amount numeric DEFAULT NULL,
	overrun text DEFAULT 'clamp',
	reason text DEFAULT NULL,
	metadata jsonb DEFAULT '{}',
	idempotency_key text DEFAULT NULL,
	account_id uuid DEFAULT NULL
) RETURNS @extschema@.ducto_reversal_result
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_reverse_credits';
REVOKE ALL ON FUNCTION @extschema@.ducto_reverse_credits(uuid, numeric, text, text, jsonb, text, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_reverse_credits(uuid, numeric, text, text, jsonb, text, uuid) IS
'Takes back credit that was added, a team''s from its pool: for a purchase that was charged back, or a promo that was
given by mistake. It takes what is left of the grant that the credit made first, or, where it made none, credit that
is in no grant, then other available credits, as a debit does. It is no spend. Of a purchase, lifetime_purchased goes
down by as much.
transaction_id: the entry that added the credit.
amount: credits, positive; NULL = all that is left to take back of it.
overrun: what to do when it is spent: clamp takes what there is, unspent only what is left of that very credit, and
  both report the rest as shortfall; reject takes nothing unless all is there; full takes all, even into debt. Only
  full takes what open reservations need.
reason: kept in the reversal''s metadata as "reason".
metadata: a JSON object, kept with the reversal''s entry.
idempotency_key: 1 to 255 bytes; a retry with it returns the original result.
account_id: whose entry it is, the user''s or the team''s, which saves the look-up on a cluster; another''s is
  transaction_not_found; NULL = wherever it is.
Locks the account.
Returns the reversal''s ledger entry, the credits taken, the shortfall, which can still be taken back later, the new
  balance and lifetime_purchased. Where there is nothing to take, an entry of 0 records the shortfall.
Rejections: idempotency_conflict, transaction_not_found, not_refundable (no addition of credit), already_refunded,
  over_refund (more than is left to take back), insufficient_credits (with reject).
Errors: 22004, 22003, 22023.';
