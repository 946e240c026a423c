-- verify_event: what events and alerts say, and the figure below which a balance is to be told. For ducto_verify, as verify.sql.

CREATE FUNCTION ducto.alert_mark(lines numeric[]) RETURNS bigint
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_alert_mark';
REVOKE ALL ON FUNCTION ducto.alert_mark(numeric[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.alert_mark(numeric[]) IS 'For ducto_verify: what alert_mark of an account is where these are the balance lines of its plan or of the pricing, 0 for NULL.';

CREATE FUNCTION ducto.alert_lines(alerts jsonb) RETURNS numeric[]
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN jsonb_typeof(alerts -> 'balance') = 'array'
	THEN ARRAY(SELECT line::numeric FROM jsonb_array_elements_text(alerts -> 'balance') line) END
$$;
REVOKE ALL ON FUNCTION ducto.alert_lines(jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.alert_lines(jsonb) IS 'For ducto_verify: the balance lines of a plan or of a pricing, NULL for none.';

CREATE FUNCTION ducto.verify_event_rows(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	none CONSTANT numeric := -99999999999999.9999;
	pricing_lines CONSTANT numeric[] := (SELECT ducto.alert_lines(p.config -> 'alerts') FROM ducto.pricing p WHERE p.active);
	pricing_mark CONSTANT bigint := ducto.alert_mark(pricing_lines);
BEGIN
	-- An event is one that ducto writes, of its account, with a number that was given.
	RETURN QUERY
	WITH odd AS MATERIALIZED (
		SELECT * FROM (SELECT e.account_id, e.number, to_jsonb(e) AS event, concat_ws(' ',
			CASE WHEN a.id IS NULL THEN 'account_id' END,
			CASE WHEN e.number < 1 OR (e.number <= a.last_event) IS NOT TRUE THEN 'number' END,
			CASE WHEN e.kind NOT IN ('balance_low', 'balance_exhausted', 'balance_recovered', 'topup_due', 'allowance_used', 'cap_used',
				'grant_expiring', 'reservation_expired', 'plan_changed', 'reversal_shortfall') THEN 'kind' END,
			CASE WHEN e.payload -> 'seq' IS DISTINCT FROM to_jsonb(e.number) OR jsonb_typeof(e.payload -> 'balance') IS DISTINCT FROM 'number'
				THEN 'payload' END,
			CASE WHEN e.team_id IS DISTINCT FROM CASE WHEN a.kind = 'team' THEN a.id END THEN 'team_id' END,
			CASE WHEN e.user_id IS DISTINCT FROM CASE WHEN a.kind = 'team' THEN (e.payload ->> 'user_id')::uuid ELSE a.id END THEN 'user_id' END,
			CASE WHEN e.attempt < 0 THEN 'attempt' END,
			CASE WHEN NOT isfinite(e.visible_at) THEN 'visible_at' END,
			CASE WHEN NOT isfinite(e.acked_at) THEN 'acked_at' END,
			CASE WHEN NOT isfinite(e.created_at) THEN 'created_at' END) AS names
			FROM ducto.events e LEFT JOIN ducto.accounts a ON a.id = e.account_id
			WHERE e.account_id BETWEEN lowest AND highest) o
		WHERE names <> ''
	)
	SELECT o.account_id::uuid, n.name || ' of event ' || o.number, n.expected, left(o.event ->> n.name, 255)
	FROM odd o
	JOIN (VALUES ('account_id', 'an account'), ('number', '1 to last_event'), ('kind', 'a kind of event'),
		('payload', 'an object with the number as seq, and a balance'), ('team_id', 'the account''s, where that is a team''s'),
		('user_id', 'whose account it is, or the member in the payload'), ('attempt', '0 or more'),
		('visible_at', 'a time'), ('acked_at', 'none, or a time'), ('created_at', 'a time')) n(name, expected)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- Alerts are what the functions that set them let in.
	RETURN QUERY
	WITH odd AS MATERIALIZED (
		SELECT * FROM (SELECT t.account_id, to_jsonb(t) AS alert, concat_ws(' ',
			CASE WHEN a.id IS NULL THEN 'account_id' END,
			CASE WHEN t.balance <> ARRAY(SELECT DISTINCT b FROM unnest(t.balance) b WHERE abs(b) < 100000000000000 ORDER BY b DESC)
				OR cardinality(t.balance) > 32 THEN 'balance' END,
			CASE WHEN t.allowance_percent <> ARRAY(SELECT DISTINCT b FROM unnest(t.allowance_percent) b WHERE b BETWEEN 1 AND 100 ORDER BY b)
				OR cardinality(t.allowance_percent) > 32 THEN 'allowance_percent' END,
			CASE WHEN t.cap_percent <> ARRAY(SELECT DISTINCT b FROM unnest(t.cap_percent) b WHERE b BETWEEN 1 AND 100 ORDER BY b)
				OR cardinality(t.cap_percent) > 32 THEN 'cap_percent' END,
			CASE WHEN t.expiring_days NOT BETWEEN 0 AND 365 THEN 'expiring_days' END,
			CASE WHEN (t.topup_below IS NULL) <> (t.topup_amount IS NULL) OR abs(t.topup_below) >= 100000000000000 THEN 'topup_below' END,
			CASE WHEN t.topup_amount <= 0 OR t.topup_amount >= 100000000000000 THEN 'topup_amount' END,
			CASE WHEN t.topup_max_per_month < 1 OR t.topup_max_per_month IS NOT NULL AND t.topup_amount IS NULL THEN 'topup_max_per_month' END,
			CASE WHEN t.topup_due_key NOT LIKE 'topup:%' OR t.topup_due_key IS NOT NULL AND t.topup_amount IS NULL
				OR EXISTS (SELECT FROM ducto.ledger l WHERE l.account_id = t.account_id AND l.idempotency_key = t.topup_due_key
					AND l.type NOT IN ('usage', 'refund')) THEN 'topup_due_key' END,
			CASE WHEN t.topup_month <> date_trunc('month', t.topup_month::timestamp)::date OR NOT isfinite(t.topup_month) THEN 'topup_month' END,
			CASE WHEN t.topup_count < 0 OR (t.topup_count > 0) <> (t.topup_month IS NOT NULL) THEN 'topup_count' END) AS names
			FROM ducto.alerts t LEFT JOIN ducto.accounts a ON a.id = t.account_id
			WHERE t.account_id BETWEEN lowest AND highest) o
		WHERE names <> ''
	)
	SELECT o.account_id::uuid, n.name || ' of alerts', n.expected, left(o.alert ->> n.name, 255)
	FROM odd o
	JOIN (VALUES ('account_id', 'an account'), ('balance', 'amounts, the highest first, 32 at most'),
		('allowance_percent', '1 to 100, the lowest first, 32 at most'), ('cap_percent', '1 to 100, the lowest first, 32 at most'),
		('expiring_days', '0 to 365'), ('topup_below', 'an amount, with topup_amount'), ('topup_amount', 'more than 0'),
		('topup_max_per_month', 'none, or 1 or more with topup_amount'),
		('topup_due_key', 'none, or a key of a top-up that was not added'), ('topup_month', 'the first of a month'),
		('topup_count', '0 without topup_month, else more')) n(name, expected)
		ON n.name = ANY (string_to_array(o.names, ' '));

	-- Where the lines are known that alert_below is from, it is the highest of those that the balance is not below.
	RETURN QUERY
	WITH plans AS MATERIALIZED (
		SELECT p.id, p.lines, ducto.alert_mark(p.lines) AS mark
		FROM (SELECT id, coalesce(ducto.alert_lines(alerts), pricing_lines) AS lines FROM ducto.plans) p
	), lines AS MATERIALIZED (
		SELECT a.id, a.balance, a.alert_below, t.account_id IS NOT NULL AS own, t.told, t.topup_below, t.topup_due_key,
			coalesce(t.balance, p.lines, pricing_lines) AS balances
		FROM ducto.accounts a LEFT JOIN ducto.alerts t ON t.account_id = a.id LEFT JOIN plans p ON p.id = a.plan_id
		WHERE a.id BETWEEN lowest AND highest AND a.alert_mark = coalesce(p.mark, pricing_mark)
	), known AS MATERIALIZED (
		SELECT l.*, CASE WHEN balances IS NULL AND topup_below IS NULL THEN CASE WHEN own THEN none ELSE '-Infinity' END
			ELSE greatest(none, CASE WHEN topup_due_key IS NULL THEN topup_below END, CASE WHEN balance > 0 THEN 0.0001 END,
				(SELECT max(b) FROM unnest(balances) b WHERE b <= balance)) END AS expected,
			coalesce(balance <= 0 AND (balances IS NOT NULL OR topup_below IS NOT NULL), false) OR coalesce(balance < topup_below, false)
				OR balances IS NOT NULL AND EXISTS (SELECT FROM unnest(balances) b WHERE b > balance) AS is_below
		FROM lines l
	)
	SELECT k.id::uuid, 'alert_below', k.expected::text, k.alert_below::text FROM known k
	WHERE k.alert_below <> k.expected AND NOT (k.expected = none AND k.alert_below = '-Infinity' AND k.balances IS NULL AND k.topup_below IS NULL)
	UNION ALL
	SELECT k.id, 'told of alerts', 'false', 'true' FROM known k WHERE k.told AND NOT k.is_below;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_event_rows(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_event_rows(uuid, uuid) IS 'For ducto_verify: events, alerts, and below which figure a balance is to be told.';
