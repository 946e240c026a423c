-- batch: many operations in one call.

CREATE TYPE @extschema@.ducto_charge_many_row AS (
	"position" integer,
	transaction_id uuid,
	user_id uuid,
	team_id uuid,
	amount numeric,
	balance_after numeric,
	allowance_consumed numeric,
	shortfall numeric,
	idempotent boolean,
	cap_warning text,
	error text
);
COMMENT ON TYPE @extschema@.ducto_charge_many_row IS 'What ducto_charge_many did with one of the charges.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row."position" IS 'Which charge of the array, from 1.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.user_id IS 'The user, or the member.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.team_id IS 'The team whose pool was charged; NULL for the user''s own account.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.amount IS 'Credits taken; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.balance_after IS 'The balance after it, in credits: the user''s, or the pool''s.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.allowance_consumed IS 'What the plan''s allowance paid.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.shortfall IS 'What could not be charged.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.idempotent IS 'Whether an earlier call or charge with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.cap_warning IS 'The strongest action of a spend cap that is exceeded; NULL = none.';
COMMENT ON COLUMN @extschema@.ducto_charge_many_row.error IS 'The code of the rejection; NULL on success.';

CREATE FUNCTION @extschema@.ducto_charge_many(charges jsonb) RETURNS SETOF @extschema@.ducto_charge_many_row
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge_many';
REVOKE ALL ON FUNCTION @extschema@.ducto_charge_many(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_charge_many(jsonb) IS
'Does many charges in one call, as if each were called in turn: accounts in the order of their ids, those of an account in
the order of the array. Each has its own key and its own rejection, which leaves the others as they are. All entries are
booked together: an error books none.
charges: an array of at most 10000 objects with the arguments of ducto_charge; or with usage in place of amount and model,
  priced as by ducto_charge_usage; or with team_id, and the member as user_id, and otherwise the arguments of
  ducto_deduct_team. Amounts may be numbers or texts of them.
Locks the accounts in the order of their ids.
Returns a row for each charge, in the order of the array. With ducto.rejections = raise the first rejection is raised; with
  http the rows tell them, and the status stays as it is.
Rejections: those of ducto_charge, ducto_charge_usage and ducto_deduct_team, each in its row.
Errors: 22004, 22003, 22012; 22023, with a JSON Pointer to the place, such as /17/amount.';

CREATE TYPE @extschema@.ducto_add_credits_many_row AS (
	"position" integer,
	transaction_id uuid,
	user_id uuid,
	amount numeric,
	new_balance numeric,
	lifetime_purchased numeric,
	expires_at timestamptz,
	idempotent boolean,
	error text,
	team_id uuid
);
COMMENT ON TYPE @extschema@.ducto_add_credits_many_row IS 'What ducto_add_credits_many did with one of the additions.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row."position" IS 'Which addition of the array, from 1.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.transaction_id IS 'The ledger entry; NULL if nothing was booked.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.user_id IS 'The user; NULL for a team''s pool.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.amount IS 'Credits added, negative if taken away; when rejected, those asked for.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.new_balance IS 'The balance after it, in credits.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.lifetime_purchased IS 'Credits ever purchased.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.expires_at IS 'When the credits expire; NULL = never.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.idempotent IS 'Whether an earlier call or addition with the same key did it.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.error IS 'The code of the rejection; NULL on success.';
COMMENT ON COLUMN @extschema@.ducto_add_credits_many_row.team_id IS 'The team whose pool it is; NULL for a user''s account.';

CREATE FUNCTION @extschema@.ducto_add_credits_many(credits jsonb) RETURNS SETOF @extschema@.ducto_add_credits_many_row
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_credits_many';
REVOKE ALL ON FUNCTION @extschema@.ducto_add_credits_many(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_add_credits_many(jsonb) IS
'Adds credits to many accounts in one call, as if each addition were called in turn: accounts in the order of their ids,
those of an account in the order of the array. Each has its own key and its own rejection, which leaves the others as they
are. All entries are booked together: an error books none.
credits: an array of at most 10000 objects with the arguments of ducto_add_credits; or with team_id in place of user_id,
  and the defaults of ducto_add_team_credits. Amounts may be numbers or texts of them; expires_at is a text.
Locks the accounts in the order of their ids, and makes those of new users.
Returns a row for each addition, in the order of the array. With ducto.rejections = raise the first rejection is raised;
  with http the rows tell them, and the status stays as it is.
Rejections: those of ducto_add_credits and ducto_add_team_credits, each in its row.
Errors: 22004, 22003; 22023, with a JSON Pointer to the place, such as /17/expires_at.';

CREATE FUNCTION ducto.charge_many_shards(found bigint, charges jsonb, places integer[], settings text[])
RETURNS SETOF @extschema@.ducto_charge_many_row
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_charge_many_shards';
REVOKE ALL ON FUNCTION ducto.charge_many_shards(bigint, jsonb, integer[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.charge_many_shards(bigint, jsonb, integer[], text[]) IS
'For ducto_charge_many on a cluster: the same for accounts of shards on one node, whose places in the array are given.';

CREATE FUNCTION ducto.add_credits_many_shards(found bigint, credits jsonb, places integer[], settings text[])
RETURNS SETOF @extschema@.ducto_add_credits_many_row
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_add_credits_many_shards';
REVOKE ALL ON FUNCTION ducto.add_credits_many_shards(bigint, jsonb, integer[], text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.add_credits_many_shards(bigint, jsonb, integer[], text[]) IS
'For ducto_add_credits_many on a cluster: the same for accounts of shards on one node, whose places in the array are given.';
