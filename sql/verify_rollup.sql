-- verify_rollup: the rollup and the books are what the ledger says. For ducto_verify, as verify.sql.

CREATE FUNCTION ducto.verify_rollup_cells(next_xact bigint, last_xact bigint) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	RETURN QUERY
	WITH used AS (
		SELECT user_id, coalesce(model, 'unknown') AS model, start, sum(spend) AS spend, sum(lines) AS entries
		FROM (
			SELECT coalesce(actor, account_id) AS user_id, date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS start,
				unnest(coalesce(models, ARRAY[model])) AS model, unnest(coalesce(ledger.model_spend, ARRAY[-amount])) AS spend,
				unnest(coalesce(model_lines, ARRAY[1])) AS lines
			FROM ducto.ledger
			WHERE type = 'usage' AND CASE WHEN next_xact <= last_xact THEN xact NOT BETWEEN next_xact AND last_xact
				ELSE xact > last_xact AND xact < next_xact END
		) e
		GROUP BY user_id, coalesce(model, 'unknown'), start
	), cells AS MATERIALIZED (
		SELECT unnest(users) AS user_id, NULL::text AS model, hours, start, unnest(user_spend) AS spend,
			unnest(user_entries) AS entries
		FROM ducto.usage_rollup WHERE hours > 0
		UNION ALL
		SELECT NULL, unnest(models), hours, start, unnest(model_spend), unnest(model_entries)
		FROM ducto.usage_rollup WHERE hours > 0
	), longer AS MATERIALIZED (
		SELECT h.start AS hour, p.hours, p.start
		FROM (SELECT start, unnest(ARRAY[24, 96, 384, 1536]) AS hours FROM ducto.usage_rollup WHERE hours = 1 GROUP BY start) h
		JOIN (SELECT DISTINCT hours, start FROM ducto.usage_rollup) p
			ON p.hours = h.hours AND p.start = date_bin(make_interval(hours => h.hours), h.start, '2000-01-01 00:00:00+00')
	), sums AS (
		SELECT c.user_id, c.model, c.hours, c.start, sum(c.said) AS said, sum(c.said_entries) AS said_entries,
			sum(c.spend) / 10000.0 AS spend, sum(c.entries) AS entries
		FROM (
			SELECT user_id, NULL AS model, 1 AS hours, start, spend AS said, u.entries AS said_entries,
				NULL::bigint AS spend, NULL::integer AS entries
			FROM used u
			UNION ALL
			SELECT NULL, model, 1, start, spend, u.entries, NULL, NULL FROM used u
			UNION ALL
			SELECT h.user_id, h.model, l.hours, l.start, h.spend / 10000.0, h.entries, NULL, NULL
			FROM cells h JOIN longer l ON l.hour = h.start WHERE h.hours = 1
			UNION ALL
			SELECT user_id, model, hours, start, NULL, NULL, spend, entries FROM cells
		) c GROUP BY c.user_id, c.model, c.hours, c.start
	)
	SELECT user_id, 'rollup of ' || coalesce('model ' || model || ' of ', '') || hours || ' hours from ' || start,
		round(said, 4) || ' in ' || said_entries, round(spend, 4) || ' in ' || entries
	FROM sums WHERE spend IS DISTINCT FROM said OR entries IS DISTINCT FROM said_entries;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_rollup_cells(bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_rollup_cells(bigint, bigint) IS
'For ducto.verify_rollup: the users and models of which the rollup is wrong, where it ends with the transaction before next_xact, and this cluster''s numbers with last_xact.';

CREATE FUNCTION ducto.verify_books(next_xact bigint, last_xact bigint) RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	-- The books of an hour are the entries of each type that the ledger has of it, those of a day are those of its hours, and
	-- the total is that of all hours: what was in the accounts before a day and its books are what was there after it.
	RETURN QUERY
	WITH booked AS (
		SELECT date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS start, type, count(*) AS entries, sum(amount) AS amount,
			sum(CASE WHEN type = 'expiry' THEN -amount WHEN burned_amounts IS NULL THEN 0
				ELSE (SELECT sum(b) FROM unnest(burned_amounts) b) * CASE WHEN amount > 0 THEN -1 ELSE 1 END END) AS from_grants,
			sum(allowance_consumed) AS allowance
		FROM ducto.ledger
		WHERE CASE WHEN next_xact <= last_xact THEN xact NOT BETWEEN next_xact AND last_xact
			ELSE xact > last_xact AND xact < next_xact END
		GROUP BY 1, 2
	), cells AS MATERIALIZED (
		SELECT hours, start, type, sum(c.entries) AS entries, sum(amount) AS amount, sum(from_grants) AS from_grants,
			sum(allowance) AS allowance
		FROM (SELECT hours, start, unnest(types) AS type, unnest(type_entries) AS entries, unnest(type_amount) AS amount,
				unnest(type_from_grants) AS from_grants, unnest(type_allowance) AS allowance FROM ducto.usage_rollup) c
		GROUP BY hours, start, type
	), days AS (
		SELECT 24 AS hours, date_bin('24 hours', start, '2000-01-01 00:00:00+00') AS start, type, sum(c.entries) AS entries,
			sum(amount) AS amount, sum(from_grants) AS from_grants, sum(allowance) AS allowance
		FROM cells c WHERE hours = 1 GROUP BY 2, 3
	), said AS (
		SELECT 1 AS hours, start, type, b.entries, amount, from_grants, allowance FROM booked b
		UNION ALL
		SELECT d.* FROM days d JOIN (SELECT DISTINCT start FROM ducto.usage_rollup WHERE hours = 24) r ON r.start = d.start
		UNION ALL
		SELECT 0, '-infinity', type, sum(c.entries), sum(amount), sum(from_grants), sum(allowance) FROM cells c
		WHERE hours = 1 GROUP BY type
	)
	SELECT NULL::uuid, 'books of ' || coalesce(type, 'no type') || CASE WHEN hours = 0 THEN ' in total' ELSE ' of ' || hours || ' hours from ' || start END,
		format('%s in %s, %s from grants, %s from allowance', coalesce(s.amount, 0), coalesce(s.entries, 0),
			coalesce(s.from_grants, 0), coalesce(s.allowance, 0)),
		format('%s in %s, %s from grants, %s from allowance', coalesce(c.amount, 0), coalesce(c.entries, 0),
			coalesce(c.from_grants, 0), coalesce(c.allowance, 0))
	FROM said s FULL JOIN cells c USING (hours, start, type)
	WHERE (s.entries, s.amount, s.from_grants, s.allowance) IS DISTINCT FROM (c.entries, c.amount, c.from_grants, c.allowance);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_books(bigint, bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_books(bigint, bigint) IS
'For ducto.verify_rollup: the books of the rollup, where it ends with the transaction before next_xact, and this cluster''s numbers with last_xact.';

CREATE FUNCTION ducto.verify_rollup() RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	last CONSTANT bigint := ducto.last_xact_here();
	seed CONSTANT bigint := (random() * 1e15)::bigint;
	next bigint;
BEGIN
	-- Where another cluster wrote the rollup, it does not count, and is made anew.
	SELECT next_xact INTO next FROM ducto.usage_rollup WHERE hours = 0 AND first_xact = ducto.first_xact_here();
	IF next IS NULL THEN
		RETURN;
	END IF;

	PERFORM ducto.progress_step('the rollup');
	-- The hours of the rollup are what the ledger says was used in them, as far as it is rolled up, and longer periods are
	-- the sums of their hours: of each user, and of each model. It takes a number for each period to see that: users and
	-- models count with a weight each, of their id or name and this call's seed. Halves of what was spent are weighed each by
	-- itself, so that integers have room for it; an amount that is none for usage is told elsewhere, and counts as nothing.
	PERFORM FROM (
		WITH used AS (
			SELECT start, sum(spend) AS spend, sum(lines) AS entries,
				sum((spend >> 32) * of_user) * 4294967296 + sum((spend & 4294967295) * of_user) AS user_spend,
				sum(of_user * lines) AS user_entries,
				sum((spend >> 32) * of_model) * 4294967296 + sum((spend & 4294967295) * of_model) AS model_spend,
				sum(of_model * lines) AS model_entries
			FROM (SELECT start, lines, of_user, hashtextextended(coalesce(model, 'unknown'), seed) & 2147483647 AS of_model,
					CASE WHEN spend < 100000000000000 AND spend >= 0 THEN (10000 * spend)::bigint END AS spend
				FROM (SELECT date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS start,
						uuid_hash_extended(coalesce(actor, account_id), seed) & 2147483647 AS of_user,
						unnest(coalesce(models, ARRAY[model])) AS model, unnest(coalesce(ledger.model_spend, ARRAY[-amount])) AS spend,
						unnest(coalesce(model_lines, ARRAY[1])) AS lines
					FROM ducto.ledger WHERE type = 'usage'
						AND CASE WHEN next <= last THEN xact NOT BETWEEN next AND last ELSE xact > last AND xact < next END) u
				OFFSET 0) e
			GROUP BY start
		), cells AS MATERIALIZED (
			SELECT by_model, hours, start, sum(spend) AS spend, sum(c.entries) AS entries,
				sum((spend >> 32) * weight) * 4294967296 + sum((spend & 4294967295) * weight) AS weighed_spend,
				sum(c.entries * weight) AS weighed_entries
			FROM (SELECT false AS by_model, hours, start, unnest(user_spend) AS spend, unnest(user_entries)::bigint AS entries,
					uuid_hash_extended(unnest(users), seed) & 2147483647 AS weight
				FROM ducto.usage_rollup WHERE hours > 0
				UNION ALL
				SELECT true, hours, start, unnest(model_spend), unnest(model_entries)::bigint,
					hashtextextended(unnest(models), seed) & 2147483647
				FROM ducto.usage_rollup WHERE hours > 0) c
			GROUP BY by_model, hours, start
		), longer AS (
			SELECT by_model, hours, date_bin(make_interval(hours => hours), start, '2000-01-01 00:00:00+00') AS start,
				sum(spend) AS spend, sum(h.entries) AS entries, sum(weighed_spend) AS weighed_spend,
				sum(weighed_entries) AS weighed_entries
			FROM (SELECT by_model, unnest(ARRAY[24, 96, 384, 1536]) AS hours, start, spend, c.entries, weighed_spend,
					weighed_entries FROM cells c WHERE hours = 1) h
			GROUP BY 1, 2, 3
		), said AS (
			SELECT false AS by_model, 1 AS hours, start, spend, u.entries, user_spend AS weighed_spend,
				user_entries AS weighed_entries FROM used u
			UNION ALL
			SELECT true, 1, start, spend, u.entries, model_spend, model_entries FROM used u
			UNION ALL
			SELECT l.* FROM longer l JOIN (SELECT DISTINCT hours, start FROM cells) c USING (hours, start)
		)
		SELECT FROM said s FULL JOIN cells c USING (by_model, hours, start)
		WHERE (s.spend, s.entries, s.weighed_spend, s.weighed_entries)
			IS DISTINCT FROM (c.spend, c.entries, c.weighed_spend, c.weighed_entries)
	) d;
	IF FOUND THEN
		RETURN QUERY SELECT * FROM ducto.verify_rollup_cells(next, last);
	END IF;
	PERFORM ducto.progress_step('the books');
	RETURN QUERY SELECT * FROM ducto.verify_books(next, last);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_rollup() FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_rollup() IS 'For ducto_verify: the rollup.';

