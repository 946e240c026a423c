-- Grants: what is left of each is not recorded, so the ledger is played again, the
-- soonest expiring spent first. Swept grants take part until they were swept.

CREATE FUNCTION ducto.sdk_import_stage_grants() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	entry record;
	account bigint := -1;
	n integer;					-- of the grants of the account:
	ids uuid[];
	remaining numeric[];
	expiries timestamptz[];
	sweeps timestamptz[];		-- NULL when not swept
	need numeric;
	part numeric;
	soonest integer;
	burned uuid[];
	amounts numeric[];
BEGIN
	CREATE TEMPORARY TABLE sdk_grants (
		place bigint, id uuid, seq bigint, type text, amount numeric, remaining numeric, expires_at timestamptz,
		swept_at timestamptz, created_at timestamptz
	);
	INSERT INTO pg_temp.sdk_grants
	SELECT e.place, e.id, e.seq, e.type, e.amount, 0.0000, e.expires_at, e.swept_at, e.created_at
	FROM (
		SELECT g.*, nullif(ducto.sdk_time(metadata ->> 'expires_at'), 'infinity') AS expires_at,
			CASE WHEN metadata ->> 'swept_at' IS NOT NULL
				THEN coalesce(ducto.sdk_time(metadata ->> 'swept_at'), '-infinity') END AS swept_at
		FROM (
			SELECT place, id, seq, type, amount, metadata, created_at FROM pg_temp.sdk_entries
			WHERE metadata ->> 'expires_at' IS NOT NULL AND amount > 0 AND type NOT IN ('usage', 'refund')
		) g
	) e
	WHERE e.expires_at IS NOT NULL;
	CREATE UNIQUE INDEX ON pg_temp.sdk_grants (place, seq);

	FOR entry IN
		SELECT e.place, e.seq, e.id, e.amount, e.created_at, g.expires_at, g.swept_at,
			a.correction + e.balance_after AS balance_after
		FROM pg_temp.sdk_entries e
		JOIN pg_temp.sdk_accounts a ON a.place = e.place
		LEFT JOIN pg_temp.sdk_grants g ON g.place = e.place AND g.seq = e.seq
		WHERE e.place IN (SELECT place FROM pg_temp.sdk_grants WHERE swept_at IS NULL)
		AND e.amount <> 0
		ORDER BY e.place, e.seq
	LOOP
		IF entry.place <> account THEN
			PERFORM ducto.sdk_import_store_grants(account, ids, remaining);
			account := entry.place;
			n := 0;
			ids := '{}';
			remaining := '{}';
			expiries := '{}';
			sweeps := '{}';
		END IF;
		IF entry.expires_at IS NOT NULL THEN
			-- A debt takes of it first.
			n := n + 1;
			ids[n] := entry.id;
			remaining[n] := greatest(0.0000, least(entry.amount, entry.balance_after));
			expiries[n] := entry.expires_at;
			sweeps[n] := entry.swept_at;
			CONTINUE;
		END IF;
		need := -entry.amount;
		burned := NULL;
		amounts := NULL;
		WHILE need > 0 LOOP
			soonest := NULL;
			FOR i IN 1 .. n LOOP
				IF remaining[i] > 0 AND (sweeps[i] IS NULL OR sweeps[i] >= entry.created_at) AND
					(soonest IS NULL OR expiries[i] < expiries[soonest]) THEN
					soonest := i;
				END IF;
			END LOOP;
			EXIT WHEN soonest IS NULL;
			part := least(need, remaining[soonest]);
			need := need - part;
			remaining[soonest] := remaining[soonest] - part;
			IF sweeps[soonest] IS NULL THEN
				burned := burned || ids[soonest];
				amounts := amounts || part;
			END IF;
		END LOOP;
		IF burned IS NOT NULL THEN
			UPDATE pg_temp.sdk_entries SET burned_grants = burned, burned_amounts = amounts
			WHERE place = entry.place AND seq = entry.seq;
		END IF;
	END LOOP;
	PERFORM ducto.sdk_import_store_grants(account, ids, remaining);
	DELETE FROM pg_temp.sdk_grants WHERE swept_at IS NOT NULL;
	UPDATE pg_temp.sdk_entries e SET expires_at = g.expires_at
	FROM pg_temp.sdk_grants g WHERE g.place = e.place AND g.seq = e.seq;
	ANALYZE pg_temp.sdk_grants;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_stage_grants() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_stage_grants() IS
'For ducto_sdk_import: stages the grants that were not swept, with what remains of each, and what each entry burned of them.';

CREATE FUNCTION ducto.sdk_import_store_grants(account bigint, grant_ids uuid[], rests numeric[]) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
UPDATE pg_temp.sdk_grants g SET remaining = r.rest
FROM unnest(grant_ids, rests) AS r(id, rest) WHERE g.place = account AND g.id = r.id
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_store_grants(bigint, uuid[], numeric[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_store_grants(bigint, uuid[], numeric[]) IS
'For ducto_sdk_import: keeps what remains of the grants of a staged account.';

CREATE FUNCTION ducto.sdk_import_stage_leases() RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	CREATE TEMPORARY TABLE sdk_leases AS
	SELECT a.place, r.id, ducto.sdk_import_money(r.amount) AS amount,
		coalesce(ducto.sdk_import_name(r.operation_type), 'usage') AS operation_type,
		ducto.sdk_import_name(r.metadata ->> 'model') AS model,
		CASE WHEN r.billing_mode = 'overdraft' THEN 'overdraft' ELSE 'strict' END AS billing_mode,
		CASE WHEN r.billing_mode = 'overdraft' THEN least(ducto.sdk_import_money(r.overdraft_floor), 0.0000) ELSE 0.0000 END
			AS floor,
		CASE WHEN r.status <> 'active' THEN r.status WHEN r.expires_at > ducto.clock() THEN 'open' ELSE 'expired' END
			AS state,
		CASE WHEN jsonb_typeof(r.metadata) = 'object' THEN r.metadata ELSE '{}' END AS metadata,
		coalesce(r.created_at, r.expires_at) AS created_at, r.expires_at, t.created_at AS settled_at
	FROM (
		SELECT id, user_id, amount, operation_type, metadata::jsonb AS metadata, expires_at, created_at, status::text AS status,
			billing_mode::text AS billing_mode, overdraft_floor, settle_tx_id
		FROM ducto_sdk_old.credit_reservations
	) r
	JOIN pg_temp.sdk_accounts a ON a.id = r.user_id AND a.kind = 'user'
	LEFT JOIN ducto_sdk_old.credit_transactions t ON t.id = r.settle_tx_id
	WHERE r.status IN ('active', 'settled', 'released', 'expired') AND ducto.sdk_import_money(r.amount) > 0;
	CREATE UNIQUE INDEX ON pg_temp.sdk_leases (place, id);
	ANALYZE pg_temp.sdk_leases;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_import_stage_leases() FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_import_stage_leases() IS 'For ducto_sdk_import: stages the leases of the staged accounts.';
