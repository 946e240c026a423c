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

CREATE FUNCTION ducto.unbooked(account_id uuid, at timestamptz) RETURNS jsonb
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_unbooked';
REVOKE ALL ON FUNCTION ducto.unbooked(uuid, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.unbooked(uuid, timestamptz) IS 'For ducto_liability: what an account on which nothing was booked since has at a time, what of its grants has expired by then, and what cycles gave, that the ledger does not have.';

CREATE FUNCTION ducto.held_at(at timestamptz) RETURNS numeric
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (WITH open AS (
			SELECT account_id, id, amount FROM ducto.reservations
			WHERE created_at <= at AND least(expires_at, coalesce(closed_at, 'infinity')) > at
		), captured AS (
			SELECT l.account_id, l.reference, sum(allowance_consumed - l.amount) AS amount
			FROM ducto.ledger l JOIN open o ON o.account_id = l.account_id AND o.id = l.reference
			WHERE type = 'usage' AND created_at <= at GROUP BY 1, 2
		)
		SELECT coalesce(sum(greatest(o.amount - coalesce(c.amount, 0), 0)), 0.0000)
		FROM open o LEFT JOIN captured c ON c.account_id = o.account_id AND c.reference = o.id);
END
$$;
REVOKE ALL ON FUNCTION ducto.held_at(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.held_at(timestamptz) IS 'For ducto_liability: what reservations held at a time, as far as they are kept.';

CREATE FUNCTION @extschema@.ducto_liability(at timestamptz DEFAULT NULL) RETURNS @extschema@.ducto_liability_result
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off
SET DateStyle = iso SET IntervalStyle = postgres SET TimeZone = 'UTC'
AS $$
DECLARE
	moment CONSTANT timestamptz := coalesce(at, ducto.clock());
	result record;
BEGIN
	IF NOT isfinite(moment) OR moment > ducto.clock() THEN
		RAISE invalid_parameter_value USING MESSAGE = 'invalid value for argument "at": ' || moment,
			HINT = '"at" must be a finite time, not in the future.';
	END IF;

	-- From what is there, back over what came later; and on over what is due and not booked yet.
	-- What an account booked while it was ahead of the clock is older than what it booked afterwards; while there is no such
	-- entry yet nobody knows when, and it counts: as in ducto_balance_at.
	WITH ahead AS MATERIALIZED (
		SELECT a.id, CASE WHEN ducto.clock() < greatest(a.ahead_until, a.updated_at) AND s.at_seq = s.now_seq THEN a.last_seq
			ELSE s.at_seq END AS last_seq
		FROM ducto.accounts a, LATERAL (
			SELECT coalesce(max(l.seq) FILTER (WHERE l.effective_at <= at), 0) AS at_seq,
				coalesce(max(l.seq) FILTER (WHERE l.effective_at <= ducto.clock()), 0) AS now_seq
			FROM ducto.ledger l WHERE l.account_id = a.id) s
		WHERE at IS NOT NULL AND (a.ahead_until IS NOT NULL OR a.updated_at > ducto.clock())
	), later AS MATERIALIZED (
		SELECT account_id, amount, type, reference, burned_grants, burned_amounts
		FROM ducto.ledger l LEFT JOIN ahead h ON h.id = l.account_id
		WHERE at IS NOT NULL AND CASE WHEN h.id IS NULL THEN effective_at > at ELSE seq > h.last_seq END
	), unbooked AS MATERIALIZED (
		-- On a cluster the accounts come here first: what is computed of each asks its node again.
		SELECT id, ducto.unbooked(id, moment) AS what FROM (
			SELECT a.id FROM ducto.accounts a WHERE a.next_boundary <= moment AND a.updated_at <= moment OFFSET 0) due
	), balances AS MATERIALIZED (
		SELECT a.id, coalesce((u.what ->> 'balance')::numeric, a.balance) - coalesce(l.amount, 0) AS balance,
			coalesce((u.what ->> 'held')::numeric, a.held) AS held
		FROM ducto.accounts a LEFT JOIN unbooked u ON u.id = a.id
		LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM later GROUP BY 1) l ON l.account_id = a.id
		WHERE at IS NULL OR a.created_at <= at
	), taken AS (
		-- What was taken from grants since: that was there.
		SELECT account_id, grant_id, sum(amount) AS amount FROM (
			SELECT account_id, unnest(burned_grants) AS grant_id,
				unnest(burned_amounts) * CASE WHEN amount > 0 THEN -1 ELSE 1 END AS amount
			FROM later WHERE burned_grants IS NOT NULL
			UNION ALL
			SELECT account_id, reference, -amount FROM later WHERE type = 'expiry'
			UNION ALL
			SELECT u.id, e.key::uuid, -e.value::numeric FROM unbooked u, jsonb_each_text(u.what -> 'expired') e) t
		GROUP BY 1, 2
	), granted_credit AS MATERIALIZED (
		SELECT g.account_id, g.type, g.remaining + coalesce(t.amount, 0) AS amount
		FROM ducto.grants g LEFT JOIN taken t ON t.account_id = g.account_id AND t.grant_id = g.id
		WHERE (at IS NULL OR g.created_at <= at) AND (g.live OR t.amount IS NOT NULL)
		UNION ALL
		SELECT u.id, e.value ->> 'type', (e.value ->> 'amount')::numeric FROM unbooked u, jsonb_array_elements(u.what -> 'given') e
	), pools AS (
		-- The rest never expires, and is spent in the order in which it was added.
		SELECT b.id AS account_id, b.balance - coalesce(l.amount, 0) AS amount
		FROM balances b LEFT JOIN (SELECT account_id, sum(amount) AS amount FROM granted_credit GROUP BY 1) l ON l.account_id = b.id
		WHERE b.balance - coalesce(l.amount, 0) > 0
	), reversed AS (
		SELECT account_id, reference, -sum(amount + coalesce((SELECT sum(b) FROM unnest(burned_amounts) b), 0)) AS amount
		FROM ducto.ledger l LEFT JOIN ahead h ON h.id = l.account_id
		WHERE type <> 'usage' AND type = 'reversal'
			AND (at IS NULL OR CASE WHEN h.id IS NULL THEN effective_at <= at ELSE seq <= h.last_seq END) GROUP BY 1, 2
	), additions AS (
		SELECT l.account_id, l.seq, l.type, l.amount - coalesce(r.amount, 0)
			- coalesce((SELECT sum(b) FROM unnest(l.burned_amounts) b), 0) AS amount
		FROM ducto.ledger l LEFT JOIN reversed r ON r.account_id = l.account_id AND r.reference = l.id
			LEFT JOIN ahead h ON h.id = l.account_id
		WHERE l.type <> 'usage' AND l.type NOT IN ('refund', 'expiry') AND l.amount > 0
			AND (at IS NULL OR CASE WHEN h.id IS NULL THEN l.effective_at <= at ELSE l.seq <= h.last_seq END)
			AND NOT EXISTS (SELECT FROM ducto.grants g WHERE g.account_id = l.account_id AND g.id = l.id)
	), shares AS (
		SELECT type, least(amount, pool - newer) AS amount FROM (
			SELECT a.type, a.amount, p.amount AS pool, sum(a.amount) OVER (PARTITION BY account_id ORDER BY a.seq DESC) - a.amount AS newer
			FROM additions a JOIN pools p USING (account_id)) s
		WHERE newer < pool
	), parts AS (
		SELECT coalesce(sum(amount) FILTER (WHERE type = 'purchase'), 0.0000) AS paid,
			coalesce(sum(amount) FILTER (WHERE type IN ('subscription', 'signup_bonus', 'promo')), 0.0000) AS granted
		FROM (SELECT type, amount FROM granted_credit UNION ALL SELECT type, amount FROM shares) p
	)
	SELECT p.paid, p.granted, coalesce(-sum(b.balance) FILTER (WHERE b.balance < 0), 0.0000) AS in_debt,
		coalesce(sum(b.held), 0.0000) AS held, count(b.id) AS accounts,
		coalesce(sum(b.balance) FILTER (WHERE b.balance > 0), 0.0000) - p.paid - p.granted AS other
	INTO result FROM parts p LEFT JOIN balances b ON true GROUP BY p.paid, p.granted;
	IF at IS NOT NULL THEN
		result.held := ducto.held_at(at);
	END IF;
	RETURN result;
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_liability(timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_liability(timestamptz) IS
'Returns what is owed to all accounts at a time, what they paid for and what they were given apart. It is what is left of
it: what was spent, refunded, reversed, moved or has expired by then counts, booked or not. Of credit with a grant it is
what remains of the grant; of other credit it is what was added last, as what was added first is spent first.
at: the time, not in the future; NULL = now.
Takes no lock, works on a standby. Reads all accounts, grants and additions of credit; for a time in the past the whole
ledger too, and what is held then as far as its reservations are kept.
Errors: 22023.';
