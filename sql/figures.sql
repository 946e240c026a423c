-- figures: what all accounts have, for operators and finance.

CREATE TYPE @extschema@.ducto_account AS (
	account_id uuid,
	kind text,
	name text,
	plan_id text,
	balance numeric,
	reserved numeric,
	available numeric,
	lifetime_purchased numeric,
	created_at timestamptz,
	updated_at timestamptz
);
COMMENT ON TYPE @extschema@.ducto_account IS 'An account.';
COMMENT ON COLUMN @extschema@.ducto_account.account_id IS 'The user''s id, or the team''s.';
COMMENT ON COLUMN @extschema@.ducto_account.kind IS 'user or team.';
COMMENT ON COLUMN @extschema@.ducto_account.name IS 'The team''s name; NULL for a user.';
COMMENT ON COLUMN @extschema@.ducto_account.plan_id IS 'The user''s plan.';
COMMENT ON COLUMN @extschema@.ducto_account.balance IS 'Credits at this moment, as ducto_get_balance shows them.';
COMMENT ON COLUMN @extschema@.ducto_account.reserved IS 'Credits held.';
COMMENT ON COLUMN @extschema@.ducto_account.available IS 'Credits not held: balance - reserved.';
COMMENT ON COLUMN @extschema@.ducto_account.lifetime_purchased IS 'Credits ever purchased.';
COMMENT ON COLUMN @extschema@.ducto_account.created_at IS 'When the account was made.';
COMMENT ON COLUMN @extschema@.ducto_account.updated_at IS 'When it was last used, or swept.';

CREATE TYPE @extschema@.ducto_expiring_day AS (
	date date,
	type text,
	amount numeric,
	grants bigint
);
COMMENT ON TYPE @extschema@.ducto_expiring_day IS 'What expires on a day unless it is spent before, of one type.';
COMMENT ON COLUMN @extschema@.ducto_expiring_day.date IS 'The UTC day.';
COMMENT ON COLUMN @extschema@.ducto_expiring_day.type IS 'The type of the entries that added it.';
COMMENT ON COLUMN @extschema@.ducto_expiring_day.amount IS 'Credits that are left of it.';
COMMENT ON COLUMN @extschema@.ducto_expiring_day.grants IS 'How many grants they are of.';

CREATE TYPE @extschema@.ducto_liability_result AS (
	paid numeric,
	granted numeric,
	in_debt numeric,
	held numeric,
	accounts bigint,
	other numeric
);
COMMENT ON TYPE @extschema@.ducto_liability_result IS 'What is owed to the accounts, in credits: paid + granted + other - in_debt is the sum of their balances.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.paid IS 'What is left of purchases.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.granted IS 'What is left of credit that was given: subscription, signup_bonus, promo.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.in_debt IS 'What accounts owe: the sum of the balances below 0, without the sign.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.held IS 'What open reservations hold of it, or of allowances.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.accounts IS 'How many accounts there are, of users and teams.';
COMMENT ON COLUMN @extschema@.ducto_liability_result.other IS 'What is left of credit that is neither: adjustments, the initial balances of teams, transfers, refunds of grants that expired.';

CREATE FUNCTION @extschema@.ducto_list_accounts(
	kind text DEFAULT NULL,
	order_by text DEFAULT 'id',
	max_rows integer DEFAULT 50,
	after uuid DEFAULT NULL
) RETURNS SETOF @extschema@.ducto_account
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_list_accounts';
REVOKE ALL ON FUNCTION @extschema@.ducto_list_accounts(text, text, integer, uuid) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_list_accounts(text, text, integer, uuid) IS
'Returns accounts, page by page. What has expired does not count in them, swept or not.
kind: user or team; NULL = both.
order_by: id, balance (largest first), debt (lowest balance first), held (largest first), created_at (newest first) or
  updated_at (last used first); ties by id. Balances and holds are ordered as they are booked. Only by id a page costs
  the same wherever it is; any other order reads all accounts.
max_rows: the page, in rows, 1 or more.
after: only accounts after this one, for the next page.
Takes no lock, works on a standby.
Returns a row for each account.
Errors: 22023.';

CREATE FUNCTION @extschema@.ducto_expiring(until timestamptz) RETURNS SETOF @extschema@.ducto_expiring_day
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_expiring';
REVOKE ALL ON FUNCTION @extschema@.ducto_expiring(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_expiring(timestamptz) IS
'Returns what expires from now on, by UTC day and type of credit, as far as it is not spent before; the first day first,
then by type in byte order. What has expired already, booked or not, is not in it, neither is what refunds may still give
back.
until: the end of the window, included.
Takes no lock, works on a standby. Reads the grants of the window by index.
Errors: 22004, 22023.';

CREATE FUNCTION ducto.owed_next(owed numeric[], account_id uuid, at timestamptz, settings text[]) RETURNS numeric[]
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'ducto_owed_next';
REVOKE ALL ON FUNCTION ducto.owed_next(numeric[], uuid, timestamptz, text[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.owed_next(numeric[], uuid, timestamptz, text[]) IS
'For ducto.owed: what is owed to all accounts of the shard that the first account is on.';

CREATE FUNCTION ducto.owed_add(owed numeric[], more numeric[]) RETURNS numeric[]
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_owed_add';
REVOKE ALL ON FUNCTION ducto.owed_add(numeric[], numeric[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.owed_add(numeric[], numeric[]) IS 'For ducto.owed: adds what is owed to the accounts of another shard.';

CREATE AGGREGATE ducto.owed(account_id uuid, at timestamptz, settings text[]) (
	SFUNC = ducto.owed_next, STYPE = numeric[], COMBINEFUNC = ducto.owed_add
);
REVOKE ALL ON FUNCTION ducto.owed(uuid, timestamptz, text[]) FROM PUBLIC;
COMMENT ON AGGREGATE ducto.owed(uuid, timestamptz, text[]) IS
'For ducto_liability on a cluster: what is owed to the accounts of a shard, on its node, and the sum of it over all shards.';

CREATE FUNCTION @extschema@.ducto_liability(at timestamptz DEFAULT NULL) RETURNS @extschema@.ducto_liability_result
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off
AS 'MODULE_PATHNAME', 'ducto_liability';
REVOKE ALL ON FUNCTION @extschema@.ducto_liability(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_liability(timestamptz) IS
'Returns what is owed to all accounts at a time, what they paid for and what they were given apart. It is what is left of
it: what was spent, refunded, reversed, moved or has expired by then counts, booked or not. Of credit with a grant it is
what remains of the grant; of other credit it is what was added last, as what was added first is spent first.
at: the time, not in the future; NULL = now.
Takes no lock, works on a standby. Reads all accounts, grants and additions of credit; for a time in the past the whole
ledger too, and what is held then as far as its reservations are kept. What is due on accounts and not booked yet takes
memory up to maintenance_work_mem; where that is not enough they are read in parts.
Errors: 22023.';
