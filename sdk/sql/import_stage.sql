-- What is to be moved, in temporary tables.

CREATE FUNCTION ducto.sdk_import_money(value numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE WHEN value = 'NaN' THEN 0.0000 ELSE round(coalesce(value, 0), 4) END $$;
REVOKE ALL ON FUNCTION ducto.sdk_import_money(numeric) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_money(numeric) IS 'For ducto_sdk_import: an amount with four decimals; 0 for NULL and NaN.';

CREATE FUNCTION ducto.sdk_import_correction(account_id uuid, what text) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$ SELECT md5('ducto_sdk_import ' || what || ' ' || account_id)::uuid $$;
REVOKE ALL ON FUNCTION ducto.sdk_import_correction(uuid, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_correction(uuid, text) IS
'For ducto_sdk_import: the id of the entry that corrects the balance or the allowance of an account.';

-- The team of an entry whose pool was charged.
CREATE FUNCTION ducto.sdk_import_team(type text, metadata jsonb) RETURNS uuid
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
SELECT ducto.sdk_uuid(metadata ->> 'team_id') WHERE type = 'team_usage'
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_team(text, jsonb) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_team(text, jsonb) IS
'For ducto_sdk_import: the team whose pool an entry charged; NULL for none.';

CREATE FUNCTION ducto.sdk_import_stage_accounts() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CREATE TEMPORARY TABLE sdk_accounts AS
	SELECT row_number() OVER (ORDER BY s.id) AS place, s.id, s.kind, s.name,
		ducto.sdk_import_money(s.balance) AS balance, s.plan_id, s.created_at, s.updated_at,
		0.0000 AS correction, 0.0000 AS allowance_used, 0.0000 AS allowance_correction,
		0::bigint AS entries, 0.0000 AS purchased, NULL::timestamptz AS last_at, false AS moved
	FROM (
		SELECT coalesce(c.user_id, o.user_id) AS id, 'user' AS kind, NULL AS name, c.balance, p.plan_key AS plan_id,
			coalesce(c.created_at, ducto.clock()) AS created_at, coalesce(c.updated_at, c.created_at) AS updated_at
		FROM ducto_sdk_old.user_credits c
		FULL JOIN (
			SELECT t.user_id FROM ducto_sdk_old.credit_transactions t WHERE t.type::text <> 'team_usage'
			UNION SELECT r.user_id FROM ducto_sdk_old.credit_reservations r
			UNION SELECT s.user_id FROM ducto_sdk_old.credit_spend_caps s
			UNION SELECT w.user_id FROM ducto_sdk_old.credit_usage_window w
		) o ON o.user_id = c.user_id
		LEFT JOIN ducto_sdk_old.credit_plans p ON p.id = c.plan_id
		UNION ALL
		SELECT t.id, 'team', t.name, t.balance, NULL, ducto.clock(), NULL
		FROM ducto_sdk_old.credit_teams t WHERE NOT EXISTS (SELECT FROM ducto_sdk_old.user_credits c WHERE c.user_id = t.id)
	) s
	WHERE s.id IS NOT NULL AND NOT EXISTS (SELECT FROM ducto.accounts a WHERE a.id = s.id);
	ALTER TABLE pg_temp.sdk_accounts ADD PRIMARY KEY (id);
	CREATE UNIQUE INDEX ON pg_temp.sdk_accounts (place);
	ANALYZE pg_temp.sdk_accounts;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_stage_accounts() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_stage_accounts() IS
'For ducto_sdk_import: stages the users and teams that the engine does not have.';
