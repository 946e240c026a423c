-- The ledger: what type each entry has here, in which order, with which balance.

CREATE FUNCTION ducto.sdk_import_stage_entries() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	month CONSTANT timestamp := date_trunc('month', ducto.clock() AT TIME ZONE 'UTC');
BEGIN
	-- An entry whose sign does not fit its type is an adjustment; metadata.sdk_type says what it was.
	CREATE TEMPORARY TABLE sdk_entries AS
	WITH typed AS (
		SELECT a.place, t.id, a.kind, t.user_id, t.amount, t.at, t.theirs, t.metadata, t.reference_type, t.reference_id,
			CASE WHEN t.theirs IN ('usage', 'team_usage') AND t.amount <= 0 THEN 'usage'
				WHEN t.theirs = 'refund' AND t.amount > 0 AND t.reference_id IS NOT NULL THEN 'refund'
				WHEN t.theirs IN ('purchase', 'subscription', 'signup_bonus', 'promo') AND t.amount > 0 THEN t.theirs
				ELSE 'adjustment' END AS type
		FROM (
			SELECT id, user_id, ducto.sdk_import_money(amount) AS amount, type::text AS theirs, reference_type, reference_id,
				coalesce(created_at, ducto.clock()) AS at,
				CASE WHEN jsonb_typeof(metadata::jsonb) = 'object' THEN metadata::jsonb
					WHEN coalesce(jsonb_typeof(metadata::jsonb), 'null') = 'null' THEN '{}'
					ELSE jsonb_build_object('value', metadata) END AS metadata
			FROM ducto_sdk_old.credit_transactions
		) t
		JOIN pg_temp.sdk_accounts a
		ON a.id = CASE WHEN t.theirs = 'team_usage' THEN ducto.sdk_import_team(t.theirs, t.metadata) ELSE t.user_id END
		AND (a.kind = 'team') = (t.theirs = 'team_usage')
	)
	SELECT t.place, row_number() OVER history AS seq, t.id, t.amount, sum(t.amount) OVER history AS balance_after, t.type,
		CASE WHEN t.type = 'usage' THEN CASE WHEN r.id IS NOT NULL THEN coalesce(r.operation_type, 'usage')
			ELSE coalesce(ducto.sdk_import_name(t.reference_type), 'usage') END END
			AS operation_type,
		CASE WHEN t.kind = 'team' AND t.type = 'usage' THEN t.user_id END AS actor,
		ducto.sdk_import_name(t.metadata ->> 'model') AS model,
		ducto.sdk_import_name(t.metadata ->> 'idempotency_key') AS idempotency_key,
		CASE WHEN t.type = 'refund' THEN t.reference_id WHEN t.type = 'usage' THEN r.id END AS reference,
		CASE WHEN t.type = 'usage' AND t.metadata ->> 'allowance_consumed' ~ '^[0-9]{1,14}(\.[0-9]{1,30})?$'
			THEN round((t.metadata ->> 'allowance_consumed')::numeric, 4) ELSE 0.0000 END AS allowance_consumed,
		NULL::uuid[] AS burned_grants, NULL::numeric[] AS burned_amounts,
		CASE WHEN t.type IN ('usage', 'refund') THEN NULL
			ELSE coalesce(sum(t.amount) FILTER (WHERE t.type = 'purchase') OVER history, 0.0000) END AS lifetime_purchased,
		NULL::timestamptz AS expires_at,
		t.metadata || jsonb_strip_nulls(jsonb_build_object('reference_type', t.reference_type,
			'reference_id', CASE WHEN t.type <> 'refund' AND t.reference_id IS DISTINCT FROM r.id THEN t.reference_id END,
			'sdk_type', CASE WHEN t.type <> t.theirs AND t.theirs <> 'team_usage' THEN t.theirs END)) AS metadata,
		t.at AS created_at
	FROM typed t
	LEFT JOIN (
		SELECT DISTINCT ON (settle_tx_id) settle_tx_id, id, user_id, ducto.sdk_import_name(operation_type) AS operation_type
		FROM ducto_sdk_old.credit_reservations WHERE settle_tx_id IS NOT NULL ORDER BY settle_tx_id, created_at, id
	) r ON r.settle_tx_id = t.id AND r.user_id = t.user_id AND t.kind = 'user' AND t.type = 'usage'
	WINDOW history AS (PARTITION BY t.place ORDER BY t.at, t.id ROWS UNBOUNDED PRECEDING);

	CREATE UNIQUE INDEX ON pg_temp.sdk_entries (place, seq);
	ANALYZE pg_temp.sdk_entries;
	PERFORM ducto.sdk_import_check_refunds();
	PERFORM ducto.sdk_import_check_keys();

	-- What the ledger lacks opens it, so that every balance after is what it was.
	UPDATE pg_temp.sdk_accounts a SET entries = coalesce(e.entries, 0), last_at = e.last_at,
		correction = a.balance - coalesce(e.sum, 0), purchased = coalesce(e.purchased, 0.0000),
		created_at = least(a.created_at, e.first_at),
		allowance_used = coalesce(w.used, 0.0000), allowance_correction = coalesce(w.used, 0.0000) - coalesce(e.consumed, 0.0000)
	FROM pg_temp.sdk_accounts b
	LEFT JOIN (
		SELECT place, count(*) AS entries, sum(amount), min(created_at) AS first_at, max(created_at) AS last_at,
			sum(amount) FILTER (WHERE type = 'purchase') AS purchased,
			sum(allowance_consumed) FILTER (WHERE created_at >= month AT TIME ZONE 'UTC') AS consumed
		FROM pg_temp.sdk_entries GROUP BY place
	) e ON e.place = b.place
	LEFT JOIN (
		SELECT u.user_id, sum(ducto.sdk_import_money(w.usage)) AS used
		FROM ducto_sdk_old.user_credits u JOIN ducto_sdk_old.credit_usage_window w ON w.user_id = u.user_id AND w.plan_id = u.plan_id
		WHERE date_trunc('month', w.billing_period::timestamp) = month GROUP BY u.user_id
	) w ON w.user_id = b.id AND b.kind = 'user'
	WHERE b.place = a.place;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_stage_entries() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_stage_entries() IS
'For ducto_sdk_import: stages the entries of the staged accounts, and what is to be corrected.';

CREATE FUNCTION ducto.sdk_import_name(value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT value WHERE octet_length(value) BETWEEN 1 AND 255 $$;
REVOKE ALL ON FUNCTION ducto.sdk_import_name(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_name(text) IS
'For ducto_sdk_import: a name or key that the engine can have; NULL for another.';

CREATE FUNCTION ducto.sdk_import_check_refunds() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
UPDATE pg_temp.sdk_entries e SET type = 'adjustment', reference = NULL,
	metadata = e.metadata || jsonb_build_object('sdk_type', 'refund', 'reference_id', e.reference)
FROM (
	SELECT f.place, f.seq, d.amount AS debit, d.seq AS debit_seq,
		sum(f.amount) OVER (PARTITION BY f.place, f.reference ORDER BY f.seq) AS refunded
	FROM pg_temp.sdk_entries f
	LEFT JOIN pg_temp.sdk_entries d ON d.place = f.place AND d.id = f.reference AND d.type = 'usage'
	WHERE f.type = 'refund'
) f
WHERE e.place = f.place AND e.seq = f.seq AND (f.debit IS NULL OR f.debit_seq > f.seq OR f.refunded > -f.debit)
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_check_refunds() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_check_refunds() IS
'For ducto_sdk_import: makes an adjustment of a refund without a debit that it fits.';

CREATE FUNCTION ducto.sdk_import_check_keys() RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
UPDATE pg_temp.sdk_entries e SET idempotency_key = NULL
FROM (
	SELECT place, idempotency_key, min(seq) AS first FROM pg_temp.sdk_entries
	WHERE idempotency_key IS NOT NULL GROUP BY place, idempotency_key HAVING count(*) > 1
) d
WHERE e.place = d.place AND e.idempotency_key = d.idempotency_key AND e.seq > d.first
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_check_keys() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_check_keys() IS
'For ducto_sdk_import: leaves a key to the first of an account''s entries that have it.';
