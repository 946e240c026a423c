-- verify_caps: what ducto_verify looks at of spend caps.

CREATE FUNCTION ducto.cap_bucket_width(window_length interval) RETURNS bigint
LANGUAGE sql IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT least(greatest(ceil(extract(epoch FROM window_length) * 1000000 / 60), 1), 1000000000000)::bigint $$;
REVOKE ALL ON FUNCTION ducto.cap_bucket_width(interval) FROM PUBLIC;
COMMENT ON FUNCTION ducto.cap_bucket_width(interval) IS 'For ducto_verify: the width of the buckets of a sliding window, in microseconds.';

CREATE FUNCTION ducto.cap_window(cap_type text, window_length interval, at timestamptz, zone text) RETURNS timestamptz[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE WHEN cap_type = 'sliding' THEN (
	SELECT ARRAY[b.start, b.start + w.width * interval '1 microsecond']
	FROM ducto.cap_bucket_width(window_length) w (width)
	CROSS JOIN LATERAL (SELECT '2000-01-01 00:00:00+00'::timestamptz
		+ div(extract(epoch FROM at - '2000-01-01 00:00:00+00'::timestamptz) * 1000000, w.width)
		* w.width * interval '1 microsecond') b (start))
	ELSE (
	SELECT ducto.period(u.unit, at, NULL, zone)
	FROM (VALUES ('hourly', 'hour'), ('daily', 'day'), ('weekly', 'week'), ('monthly', 'month')) u (kind, unit)
	WHERE u.kind = cap_type) END
$$;
REVOKE ALL ON FUNCTION ducto.cap_window(text, interval, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.cap_window(text, interval, timestamptz, text) IS 'For ducto_verify: the window of a cap by the calendar, or the newest bucket of a sliding one, at a time.';

CREATE FUNCTION ducto.verify_caps(lowest uuid, highest uuid) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- The counters of caps are what the ledger says was spent in their window, what was refunded of it taken away, and what
	-- is held. A sliding window's are that for each bucket.
	RETURN QUERY
	WITH caps AS MATERIALIZED (
		SELECT c.account_id, c.cap_type || ' ' || c.model AS name, c.model, c.spent, c.held, c.buckets, c.window_from, c.window_until,
			w.width, c.window_from - coalesce(60 * w.width, 0) * interval '1 microsecond' AS counts_from
		FROM ducto.spend_caps c CROSS JOIN LATERAL (
			SELECT CASE WHEN c.cap_type = 'sliding' THEN ducto.cap_bucket_width(c.window_length) END AS width) w
		WHERE c.account_id BETWEEN lowest AND highest
	), spends AS (
		SELECT account_id, model, effective_at, -amount AS spent FROM ducto.ledger
		WHERE account_id IN (SELECT c.account_id FROM caps c) AND type || '' = 'usage' AND models IS NULL
			AND account_id BETWEEN lowest AND highest
		UNION ALL
		SELECT account_id, unnest(models), effective_at, unnest(model_spend) FROM ducto.ledger
		WHERE account_id IN (SELECT c.account_id FROM caps c) AND models IS NOT NULL AND account_id BETWEEN lowest AND highest
		UNION ALL
		SELECT d.account_id, d.model, d.effective_at, -r.amount
		FROM ducto.ledger r JOIN ducto.ledger d ON d.id = r.reference AND d.account_id = r.account_id
		WHERE r.account_id IN (SELECT c.account_id FROM caps c) AND r.type = 'refund' AND d.models IS NULL
			AND r.account_id BETWEEN lowest AND highest
		UNION ALL
		-- What was refunded of lines goes back to their models in their order.
		SELECT r.account_id, m.model, r.effective_at, -least(greatest(r.refunded - m.until + m.spend, 0), m.spend)
		FROM (SELECT d.account_id, d.effective_at, d.models, d.model_spend, f.refunded
			FROM (SELECT account_id, reference, sum(amount) AS refunded FROM ducto.ledger
				WHERE type = 'refund' AND account_id BETWEEN lowest AND highest GROUP BY account_id, reference) f
			JOIN ducto.ledger d ON d.id = f.reference AND d.account_id = f.account_id
			WHERE d.models IS NOT NULL AND d.account_id IN (SELECT c.account_id FROM caps c)) r,
			LATERAL (SELECT u.model, u.spend, sum(u.spend) OVER (ORDER BY u.n) AS until
				FROM unnest(r.models, r.model_spend) WITH ORDINALITY AS u(model, spend, n)) m
	), said AS MATERIALIZED (
		SELECT c.account_id, c.name, b.bucket, sum(s.spent) AS spent
		FROM caps c
		JOIN spends s ON s.account_id = c.account_id AND (c.model = '' OR s.model = c.model)
			AND s.effective_at >= c.counts_from AND s.effective_at < c.window_until
		CROSS JOIN LATERAL (SELECT CASE WHEN s.effective_at >= c.window_from THEN 0
			ELSE ceil(extract(epoch FROM c.window_from - s.effective_at) * 1000000 / c.width) END::integer AS bucket) b
		GROUP BY c.account_id, c.name, b.bucket
	), open AS (
		SELECT r.account_id, m.model, sum(r.cap_held) AS held
		FROM ducto.reservations r LEFT JOIN ducto.accounts a ON a.id = r.account_id
		CROSS JOIN LATERAL (VALUES (''), (nullif(r.model, ''))) m (model)
		WHERE r.account_id IN (SELECT c.account_id FROM caps c) AND r.account_id BETWEEN lowest AND highest
			AND r.state = 'open' AND (r.expires_at <= a.ended_until) IS NOT TRUE
		GROUP BY r.account_id, m.model
	), sums AS MATERIALIZED (
		SELECT account_id, name, sum(spent) AS spent, max(bucket) FILTER (WHERE spent <> 0) AS oldest FROM said GROUP BY account_id, name
	), series AS MATERIALIZED (
		SELECT s.account_id, s.name, array_agg(coalesce(n.spent, 0.0000) ORDER BY i.bucket) AS buckets
		FROM sums s CROSS JOIN LATERAL generate_series(1, s.oldest) AS i(bucket)
		LEFT JOIN said n ON n.account_id = s.account_id AND n.name = s.name AND n.bucket = i.bucket
		GROUP BY s.account_id, s.name
	), figures AS MATERIALIZED (
		SELECT c.account_id, c.name, c.width, c.spent, c.held, c.buckets, coalesce(o.held, 0) AS open, coalesce(s.spent, 0) AS said,
			coalesce(r.buckets, '{}') AS said_buckets
		FROM caps c
		LEFT JOIN sums s ON s.account_id = c.account_id AND s.name = c.name
		LEFT JOIN series r ON r.account_id = c.account_id AND r.name = c.name
		LEFT JOIN open o ON o.account_id = c.account_id AND o.model = c.model
	)
	SELECT f.account_id::uuid, 'spent of cap ' || f.name, f.said::text, f.spent::text FROM figures f WHERE f.spent <> f.said
	UNION ALL
	SELECT f.account_id, 'held of cap ' || f.name, f.open::text, f.held::text FROM figures f WHERE f.held <> f.open
	UNION ALL
	SELECT f.account_id, 'buckets of cap ' || f.name, CASE WHEN f.width IS NOT NULL THEN f.said_buckets END::text, f.buckets::text FROM figures f
	WHERE f.width IS NOT NULL AND f.buckets IS DISTINCT FROM f.said_buckets OR f.width IS NULL AND f.buckets IS NOT NULL;

	-- The window of a cap is one of its type.
	RETURN QUERY
	WITH windows AS MATERIALIZED (
		SELECT c.account_id, c.cap_type || ' ' || c.model AS name, ARRAY[c.window_from, c.window_until]::timestamptz[] AS said,
			CASE WHEN c.cap_type = 'total' THEN '{-infinity,infinity}'::timestamptz[]
				WHEN c.cap_type = 'session' THEN ARRAY[c.window_from, CASE WHEN c.window_until = c.window_from THEN c.window_from
					ELSE c.window_from + extract(epoch FROM c.window_length) * interval '1 second' END]::timestamptz[]
				WHEN NOT isfinite(c.window_from) THEN NULL
				ELSE ducto.cap_window(c.cap_type, c.window_length, c.window_from, a.zone) END AS proper
		FROM ducto.spend_caps c LEFT JOIN ducto.accounts a ON a.id = c.account_id
		WHERE c.account_id BETWEEN lowest AND highest
	)
	SELECT w.account_id::uuid, 'window of cap ' || w.name, w.proper::text, w.said::text
	FROM windows w WHERE w.said IS DISTINCT FROM w.proper;

	-- Nothing was spent after the window that a counter is of, or it would let all be spent again. Lines that the allowance
	-- paid are not spent. While an account was ahead of the clock, sessions are none; one that there never was is of a cap that
	-- was set when nothing was spent in its length.
	RETURN QUERY
	SELECT c.account_id::uuid, 'last window of cap ' || c.cap_type || ' ' || c.model, 'not before ' || max(l.effective_at),
		c.window_until::text
	FROM ducto.spend_caps c
	JOIN ducto.accounts a ON a.id = c.account_id
	JOIN ducto.ledger l ON l.account_id = c.account_id AND l.type || '' = 'usage' AND l.amount <> 0
		AND (c.model = '' OR l.models IS NULL AND l.model = c.model
			OR EXISTS (SELECT FROM unnest(l.models, l.model_spend) AS m (model, spend) WHERE m.model = c.model AND m.spend > 0))
		AND l.effective_at >= c.window_until AND l.effective_at <= a.updated_at
	WHERE c.account_id BETWEEN lowest AND highest AND (c.cap_type <> 'session' OR a.ahead_until IS NULL AND (isfinite(c.window_until)
		OR l.effective_at > a.updated_at - extract(epoch FROM c.window_length) * interval '1 second'))
	GROUP BY c.account_id, c.cap_type, c.model, c.window_until;

	-- An account that has caps is known to have them.
	RETURN QUERY
	SELECT a.id::uuid, 'caps', coalesce(c.caps, 0)::text, a.caps::text
	FROM ducto.accounts a
	LEFT JOIN (SELECT account_id, count(*) AS caps FROM ducto.spend_caps
		WHERE account_id BETWEEN lowest AND highest GROUP BY account_id) c ON c.account_id = a.id
	WHERE a.id BETWEEN lowest AND highest AND a.caps <> coalesce(c.caps, 0);

	-- A plan's caps are as the plan says, where the account knows its plan's.
	RETURN QUERY
	WITH said AS (
		SELECT a.id AS account_id, c.cap_type, coalesce(c.model, '') AS model, round(c.cap_limit, 4) AS cap_limit,
			coalesce(c.action, 'deny') AS action, c.window_length
		FROM ducto.accounts a JOIN ducto.plans p ON p.id = a.plan_id AND p.caps_version = a.caps_version
		CROSS JOIN LATERAL jsonb_to_recordset(CASE WHEN jsonb_typeof(p.caps) = 'array' THEN p.caps ELSE '[]' END)
			AS c (cap_type text, cap_limit numeric, action text, model text, window_length interval)
		WHERE a.id BETWEEN lowest AND highest
	), written AS (
		SELECT c.* FROM ducto.spend_caps c JOIN ducto.accounts a ON a.id = c.account_id
		LEFT JOIN ducto.plans p ON p.id = a.plan_id
		WHERE c.account_id BETWEEN lowest AND highest AND coalesce(p.caps_version, 0) = a.caps_version
	)
	SELECT coalesce(s.account_id, w.account_id)::uuid,
		'plan cap ' || coalesce(s.cap_type, w.cap_type) || ' ' || coalesce(s.model, w.model),
		concat_ws(', ', s.cap_limit, s.action, s.window_length), concat_ws(', ', w.cap_limit, w.action, w.window_length)
	FROM said s FULL JOIN written w ON w.account_id = s.account_id AND w.cap_type = s.cap_type AND w.model = s.model
	WHERE w.account_id IS NULL
		OR w.of_plan AND (w.cap_limit, w.action, w.window_length) IS DISTINCT FROM (s.cap_limit, s.action, s.window_length);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_caps(uuid, uuid) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_caps(uuid, uuid) IS 'For ducto_verify: spend caps and their counters.';
