-- Moving staged accounts, whole.

CREATE FUNCTION ducto.sdk_import_batch(batch_size integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	first bigint;
	last bigint;
	total bigint;
BEGIN
	SELECT min(place) FILTER (WHERE NOT moved), max(place) INTO first, total FROM pg_temp.sdk_accounts;
	IF first IS NULL THEN
		IF total IS NOT NULL THEN
			ANALYZE ducto.accounts, ducto.ledger, ducto.grants, ducto.reservations, ducto.spend_caps, ducto.team_members;
		END IF;
		RETURN false;
	END IF;
	last := least(first + batch_size - 1, total);
	PERFORM ducto.sdk_import_lock();
	PERFORM ducto.sdk_import_move(first, last);
	UPDATE pg_temp.sdk_accounts SET moved = true WHERE place BETWEEN first AND last;
	RAISE NOTICE 'moved % of % accounts', last, total;
	RETURN true;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_batch(integer) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_batch(integer) IS
'For ducto_sdk_import: moves the next batch of staged accounts. When there are none left it gathers statistics and returns false.';

CREATE FUNCTION ducto.sdk_import_move(first bigint, last bigint) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	moment CONSTANT timestamptz := ducto.clock();
	month CONSTANT date := (date_trunc('month', moment AT TIME ZONE 'UTC'))::date;
BEGIN
	-- One that was made meanwhile is not moved; the report names it.
	DELETE FROM pg_temp.sdk_accounts s USING ducto.accounts a WHERE s.place BETWEEN first AND last AND a.id = s.id;

	INSERT INTO ducto.accounts (id, kind, balance, held, expiring, lifetime_purchased, next_boundary, last_seq, plan_id,
		cycle_start, cycle_end, allowance_used, caps, plain, created_at, updated_at)
	SELECT s.id, s.kind, s.balance, coalesce(l.held, 0.0000), coalesce(g.expiring, 0.0000), s.purchased,
		least(l.due, CASE WHEN g.due <= u.at THEN '-infinity' ELSE g.due END, p.cycle_end, 'infinity'),
		s.entries + (s.correction <> 0)::integer + (s.allowance_correction <> 0)::integer, s.plan_id,
		p.cycle_start, p.cycle_end, s.allowance_used, coalesce(c.caps, 0),
		s.kind = 'user' AND s.plan_id IS NULL AND c.caps IS NULL, s.created_at, u.at
	FROM pg_temp.sdk_accounts s
	CROSS JOIN LATERAL (
		SELECT CASE WHEN s.allowance_correction <> 0 THEN greatest(s.last_at, moment)
			ELSE coalesce(s.last_at, s.created_at) END AS at
	) u
	LEFT JOIN (
		SELECT month::timestamp AT TIME ZONE 'UTC' AS cycle_start, (month + interval '1 month') AT TIME ZONE 'UTC' AS cycle_end
	) p ON s.plan_id IS NOT NULL OR s.allowance_used > 0
	LEFT JOIN (
		SELECT place, sum(amount) AS held, min(expires_at) AS due FROM pg_temp.sdk_leases
		WHERE state = 'open' AND place BETWEEN first AND last GROUP BY place
	) l ON l.place = s.place
	LEFT JOIN (
		SELECT place, sum(remaining) AS expiring, min(expires_at) FILTER (WHERE remaining > 0) AS due FROM pg_temp.sdk_grants
		WHERE place BETWEEN first AND last GROUP BY place
	) g ON g.place = s.place
	LEFT JOIN (SELECT user_id, count(*)::integer AS caps FROM ducto.sdk_import_caps() GROUP BY user_id) c
		ON c.user_id = s.id AND s.kind = 'user'
	WHERE s.place BETWEEN first AND last
	ORDER BY s.place;

	INSERT INTO ducto.ledger (account_id, seq, id, amount, balance_after, type, operation_type, actor, model,
		idempotency_key, reference, allowance_consumed, burned_grants, burned_amounts, lifetime_purchased, expires_at,
		metadata, created_at, effective_at)
	SELECT s.id, e.seq + (s.correction <> 0)::integer, e.id, e.amount, e.balance_after + s.correction, e.type,
		e.operation_type, e.actor, e.model, e.idempotency_key, e.reference, e.allowance_consumed, e.burned_grants,
		e.burned_amounts, e.lifetime_purchased, e.expires_at, e.metadata, e.created_at, e.created_at
	FROM pg_temp.sdk_entries e JOIN pg_temp.sdk_accounts s ON s.place = e.place
	WHERE e.place BETWEEN first AND last AND s.place BETWEEN first AND last
	UNION ALL
	SELECT s.id, 1, ducto.sdk_import_correction(s.id, 'balance'), s.correction, s.correction, 'adjustment', NULL, NULL,
		NULL, NULL, NULL, 0.0000, NULL, NULL, 0.0000, NULL, '{"reason": "ducto_sdk_import"}', s.created_at, s.created_at
	FROM pg_temp.sdk_accounts s WHERE s.place BETWEEN first AND last AND s.correction <> 0
	UNION ALL
	SELECT s.id, s.entries + (s.correction <> 0)::integer + 1, ducto.sdk_import_correction(s.id, 'allowance'), 0.0000,
		s.balance, 'adjustment', NULL, NULL, NULL, NULL, NULL, s.allowance_correction, NULL, NULL, s.purchased, NULL,
		'{"reason": "ducto_sdk_import"}', greatest(s.last_at, moment), greatest(s.last_at, moment)
	FROM pg_temp.sdk_accounts s WHERE s.place BETWEEN first AND last AND s.allowance_correction <> 0
	ORDER BY 1, 2;

	INSERT INTO ducto.grants (account_id, id, seq, type, amount, remaining, priority, expires_at, created_at, live)
	SELECT s.id, g.id, g.seq + (s.correction <> 0)::integer, g.type, g.amount, g.remaining, 50, g.expires_at, g.created_at,
		g.remaining > 0
	FROM pg_temp.sdk_grants g JOIN pg_temp.sdk_accounts s ON s.place = g.place
	WHERE g.place BETWEEN first AND last;

	INSERT INTO ducto.reservations (account_id, id, amount, remaining, operation_type, model, billing_mode, floor, state,
		balance_after, reserved_after, first_expires_at, closing_balance, skip_allowance, cap_held, metadata, created_at,
		expires_at, closed_at)
	SELECT s.id, l.id, l.amount, CASE WHEN l.state = 'open' THEN l.amount ELSE 0.0000 END, l.operation_type, l.model,
		l.billing_mode, l.floor, l.state, s.balance, 0.0000, l.expires_at,
		CASE WHEN l.state = 'settled' AND e.reference IS NULL THEN s.balance END, false,
		CASE WHEN l.state = 'open' THEN l.amount ELSE 0.0000 END, l.metadata, l.created_at, l.expires_at,
		CASE WHEN l.state <> 'open' THEN coalesce(l.settled_at, least(l.expires_at, moment)) END
	FROM pg_temp.sdk_leases l
	JOIN pg_temp.sdk_accounts s ON s.place = l.place
	LEFT JOIN (
		SELECT DISTINCT place, reference FROM pg_temp.sdk_entries
		WHERE type = 'usage' AND reference IS NOT NULL AND place BETWEEN first AND last
	) e ON e.place = l.place AND e.reference = l.id
	WHERE l.place BETWEEN first AND last;

	PERFORM ducto.sdk_import_move_caps(first, last, moment);
	PERFORM ducto.sdk_import_move_teams(first, last, month);
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_move(bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_move(bigint, bigint) IS
'For ducto_sdk_import: moves the staged accounts of these places, with all that they have.';

CREATE FUNCTION ducto.sdk_import_caps()
RETURNS TABLE (user_id uuid, cap_type text, model text, cap_limit numeric, action text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT DISTINCT ON (c.user_id, c.cap_type::text, coalesce(c.model, '')) c.user_id, c.cap_type::text, coalesce(c.model, ''),
	ducto.sdk_import_money(c.cap_limit), c.action::text
FROM ducto_sdk_old.credit_spend_caps c
WHERE c.cap_type::text IN ('daily', 'monthly') AND c.action::text IN ('deny', 'warn', 'notify')
AND c.cap_limit >= 0 AND c.cap_limit <> 'NaN' AND octet_length(coalesce(c.model, '')) <= 255
ORDER BY c.user_id, c.cap_type::text, coalesce(c.model, ''), c.cap_limit
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_caps() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_caps() IS
'For ducto_sdk_import: the spend caps that the engine can have; of two for the same, the lower.';

-- Counted from the ledger, as the engine does; open leases count whole.
CREATE FUNCTION ducto.sdk_import_move_caps(first bigint, last bigint, moment timestamptz) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
WITH caps AS (
	SELECT s.place, s.id, c.cap_type, c.model, c.cap_limit, c.action,
		date_trunc(CASE WHEN c.cap_type = 'daily' THEN 'day' ELSE 'month' END, moment AT TIME ZONE 'UTC') AS period
	FROM ducto.sdk_import_caps() c JOIN pg_temp.sdk_accounts s ON s.id = c.user_id
	WHERE s.place BETWEEN first AND last AND s.kind = 'user'
), spends AS (
	SELECT e.place, coalesce(e.model, '') AS model, date_trunc('day', e.created_at AT TIME ZONE 'UTC') AS day, -e.amount AS spent
	FROM pg_temp.sdk_entries e WHERE e.type = 'usage' AND e.place BETWEEN first AND last
	AND e.created_at >= date_trunc('month', moment AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
	UNION ALL
	SELECT d.place, coalesce(d.model, ''), date_trunc('day', d.created_at AT TIME ZONE 'UTC'), -f.amount
	FROM pg_temp.sdk_entries f JOIN pg_temp.sdk_entries d ON d.place = f.place AND d.id = f.reference
	WHERE f.type = 'refund' AND f.place BETWEEN first AND last AND d.place BETWEEN first AND last
)
INSERT INTO ducto.spend_caps (account_id, cap_type, model, cap_limit, action, window_from, window_until, spent, held)
SELECT c.id, c.cap_type, c.model, c.cap_limit, c.action, c.period AT TIME ZONE 'UTC',
	(c.period + CASE WHEN c.cap_type = 'daily' THEN interval '1 day' ELSE interval '1 month' END) AT TIME ZONE 'UTC', coalesce(sum(u.spent), 0.0000),
	coalesce((SELECT sum(l.amount) FROM pg_temp.sdk_leases l
		WHERE l.place = c.place AND l.state = 'open' AND (c.model = '' OR l.model = c.model)), 0.0000)
FROM caps c
LEFT JOIN spends u ON u.place = c.place AND (c.model = '' OR u.model = c.model)
	AND date_trunc(CASE WHEN c.cap_type = 'daily' THEN 'day' ELSE 'month' END, u.day) = c.period
GROUP BY c.place, c.id, c.cap_type, c.model, c.cap_limit, c.action, c.period
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_move_caps(bigint, bigint, timestamptz) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_move_caps(bigint, bigint, timestamptz) IS
'For ducto_sdk_import: moves the spend caps of the staged users of these places.';

CREATE FUNCTION ducto.sdk_import_move_teams(first bigint, last bigint, this_month date) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
INSERT INTO ducto.teams (id, name, created_at)
SELECT s.id, coalesce(ducto.sdk_import_name(s.name), s.id::text), s.created_at
FROM pg_temp.sdk_accounts s WHERE s.kind = 'team' AND s.place BETWEEN first AND last;

INSERT INTO ducto.team_members (team_id, user_id, role, spend_cap, month, spent, joined_at)
SELECT s.id, m.user_id, coalesce(ducto.sdk_import_name(m.role::text), 'member'),
	CASE WHEN m.spend_cap <> 'NaN' THEN greatest(ducto.sdk_import_money(m.spend_cap), 0.0000) END, this_month,
	coalesce(u.spent, 0.0000), coalesce(m.joined_at, s.created_at)
FROM ducto_sdk_old.credit_team_members m
JOIN pg_temp.sdk_accounts s ON s.id = m.team_id AND s.kind = 'team'
LEFT JOIN (
	SELECT e.place, e.actor, sum(-e.amount) AS spent FROM pg_temp.sdk_entries e
	WHERE e.actor IS NOT NULL AND e.place BETWEEN first AND last
	AND date_trunc('month', e.created_at AT TIME ZONE 'UTC') = this_month GROUP BY e.place, e.actor
) u ON u.place = s.place AND u.actor = m.user_id
WHERE s.place BETWEEN first AND last;

-- Who spent and is no member any more has left.
INSERT INTO ducto.team_members (team_id, user_id, role, month, spent, joined_at, left_at)
SELECT s.id, e.actor, 'member', this_month,
	coalesce(sum(-e.amount) FILTER (WHERE date_trunc('month', e.created_at AT TIME ZONE 'UTC') = this_month), 0.0000),
	min(e.created_at), max(e.created_at)
FROM pg_temp.sdk_entries e JOIN pg_temp.sdk_accounts s ON s.place = e.place
WHERE e.actor IS NOT NULL AND e.place BETWEEN first AND last
GROUP BY s.id, e.actor
ON CONFLICT (team_id, user_id) DO NOTHING
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_move_teams(bigint, bigint, date) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_move_teams(bigint, bigint, date) IS
'For ducto_sdk_import: moves the staged teams of these places with their members.';
