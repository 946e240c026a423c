-- verify_rollup: the rollup and the books are what the ledger says. For ducto_verify, as verify.sql.

CREATE FUNCTION ducto.weigh_users(users uuid[], spend bigint[], entries integer[], seed bigint) RETURNS bigint[]
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_weigh';
REVOKE ALL ON FUNCTION ducto.weigh_users(uuid[], bigint[], integer[], bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.weigh_users(uuid[], bigint[], integer[], bigint) IS
'For ducto.verify_rollup: what users spent, in 1/10000 credits, and their entries, each weighed by a hash of the user; NULL where the arrays do not belong together.';

CREATE FUNCTION ducto.weigh_models(models text[], spend bigint[], entries integer[], seed bigint) RETURNS bigint[]
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_weigh';
REVOKE ALL ON FUNCTION ducto.weigh_models(text[], bigint[], integer[], bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.weigh_models(text[], bigint[], integer[], bigint) IS
'For ducto.verify_rollup: what was spent on models, as ducto.weigh_users says it.';

-- Called for each entry, as ducto.follow_next.
CREATE FUNCTION ducto.weigh_next(
	state internal,
	user_id uuid,
	model text,
	amount numeric,
	models text[],
	model_spend numeric[],
	model_lines integer[],
	seed bigint
) RETURNS internal
LANGUAGE c IMMUTABLE
AS 'MODULE_PATHNAME', 'ducto_weigh_next';
REVOKE ALL ON FUNCTION ducto.weigh_next(internal, uuid, text, numeric, text[], numeric[], integer[], bigint) FROM PUBLIC;
COMMENT ON FUNCTION ducto.weigh_next(internal, uuid, text, numeric, text[], numeric[], integer[], bigint) IS
'For ducto.weigh_usage: adds an entry.';

CREATE FUNCTION ducto.weigh_end(state internal) RETURNS bigint[]
LANGUAGE c IMMUTABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_weigh_end';
REVOKE ALL ON FUNCTION ducto.weigh_end(internal) FROM PUBLIC;
COMMENT ON FUNCTION ducto.weigh_end(internal) IS 'For ducto.weigh_usage: returns the sums.';

CREATE AGGREGATE ducto.weigh_usage(
	user_id uuid,
	model text,
	amount numeric,
	models text[],
	model_spend numeric[],
	model_lines integer[],
	seed bigint
) (
	SFUNC = ducto.weigh_next, STYPE = internal, SSPACE = 32, FINALFUNC = ducto.weigh_end
);
REVOKE ALL ON FUNCTION ducto.weigh_usage(uuid, text, numeric, text[], numeric[], integer[], bigint) FROM PUBLIC;
COMMENT ON AGGREGATE ducto.weigh_usage(uuid, text, numeric, text[], numeric[], integer[], bigint) IS
'For ducto.verify_rollup: usage entries weighed as ducto.weigh_users and ducto.weigh_models do: what users spent, their entries, what was spent on models, their entries.';

CREATE FUNCTION ducto.verify_rollup_cells(next_xact bigint, last_xact bigint, lengths integer[], starts timestamptz[])
RETURNS SETOF @extschema@.ducto_discrepancy
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	RETURN QUERY
	WITH wrong AS MATERIALIZED (
		SELECT hours, start FROM unnest(lengths, starts) w (hours, start)
	), parts AS MATERIALIZED (
		SELECT r.* FROM ducto.usage_rollup r JOIN wrong w ON w.hours = r.hours AND w.start = r.start
	), longer AS MATERIALIZED (
		SELECT r.*, w.hours AS in_hours, w.start AS in_start
		FROM ducto.usage_rollup r JOIN wrong w ON w.start = date_bin(make_interval(hours => w.hours), r.start, '2000-01-01 00:00:00+00')
		WHERE r.hours = 1 AND w.hours > 1
	), used AS MATERIALIZED (
		SELECT coalesce(actor, account_id) AS user_id, date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS start,
			unnest(coalesce(models, ARRAY[model])) AS model, unnest(coalesce(ledger.model_spend, ARRAY[-amount])) AS spend,
			unnest(coalesce(model_lines, ARRAY[1])) AS entries
		FROM ducto.ledger
		WHERE type = 'usage' AND CASE WHEN next_xact <= last_xact THEN xact NOT BETWEEN next_xact AND last_xact
			ELSE xact > last_xact AND xact < next_xact END
			AND date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') IN (SELECT w.start FROM wrong w WHERE w.hours = 1)
	), sums AS (
		SELECT c.user_id, c.model, c.hours, c.start, sum(c.said) AS said, sum(c.said_entries) AS said_entries,
			sum(c.spend) / 10000.0 AS spend, sum(c.entries) AS entries
		FROM (
			SELECT user_id, NULL AS model, 1 AS hours, start, spend AS said, u.entries AS said_entries,
				NULL::bigint AS spend, NULL::integer AS entries
			FROM used u
			UNION ALL
			SELECT NULL, coalesce(model, 'unknown'), 1, start, spend, u.entries, NULL, NULL FROM used u
			UNION ALL
			SELECT unnest(users), NULL, in_hours, in_start, unnest(user_spend) / 10000.0, unnest(user_entries), NULL, NULL FROM longer
			UNION ALL
			SELECT NULL, unnest(models), in_hours, in_start, unnest(model_spend) / 10000.0, unnest(model_entries), NULL, NULL FROM longer
			UNION ALL
			SELECT unnest(users), NULL, hours, start, NULL, NULL, unnest(user_spend), unnest(user_entries) FROM parts
			UNION ALL
			SELECT NULL, unnest(models), hours, start, NULL, NULL, unnest(model_spend), unnest(model_entries) FROM parts
		) c GROUP BY c.user_id, c.model, c.hours, c.start
	)
	SELECT user_id, 'rollup of ' || coalesce('model ' || model || ' of ', '') || hours || ' hours from ' || start,
		round(said, 4) || ' in ' || said_entries, round(spend, 4) || ' in ' || entries
	FROM sums WHERE spend IS DISTINCT FROM said OR entries IS DISTINCT FROM said_entries;
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_rollup_cells(bigint, bigint, integer[], timestamptz[]) FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_rollup_cells(bigint, bigint, integer[], timestamptz[]) IS
'For ducto.verify_rollup: the users and models of which the rollup is wrong in some periods, of these lengths in hours and these starts, where it ends with the transaction before next_xact, and this cluster''s numbers with last_xact.';

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
	modulus CONSTANT numeric := 18446744073709551616;
	next bigint;
	lengths integer[];
	starts timestamptz[];
BEGIN
	-- Where another cluster wrote the rollup, it does not count, and is made anew.
	SELECT next_xact INTO next FROM ducto.usage_rollup WHERE hours = 0 AND first_xact = ducto.first_xact_here();
	IF next IS NULL THEN
		RETURN;
	END IF;

	PERFORM ducto.progress_step('the rollup');
	-- The hours of the rollup are what the ledger says was used in them, as far as it is rolled up, and longer periods are
	-- the sums of their hours: of each user, and of each model. It takes four numbers for each period to see that, as users and
	-- models count with a weight each, by this call's seed; sums are the same where they are modulo 2^64.
	WITH used AS (
		SELECT date_bin('1 hour', created_at, '2000-01-01 00:00:00+00') AS start,
			ducto.weigh_usage(coalesce(actor, account_id), model, amount, models, model_spend, model_lines, seed) AS usage
		FROM ducto.ledger WHERE type = 'usage'
			AND CASE WHEN next <= last THEN xact NOT BETWEEN next AND last ELSE xact > last AND xact < next END
		GROUP BY 1
	), cells AS MATERIALIZED (
		SELECT hours, start, bool_and(users IS NOT NULL AND models IS NOT NULL) AS sound,
			sum(users[1]) AS spent, sum(users[2]) AS entries, sum(models[1]) AS model_spent, sum(models[2]) AS model_entries
		FROM (SELECT hours, start, ducto.weigh_users(r.users, user_spend, user_entries, seed) AS users,
				ducto.weigh_models(r.models, r.model_spend, r.model_entries, seed) AS models
			FROM ducto.usage_rollup r WHERE hours > 0 OFFSET 0) c
		GROUP BY hours, start
	), said AS (
		SELECT 1 AS hours, start, usage[1] AS spent, usage[2] AS entries, usage[3] AS model_spent, usage[4] AS model_entries
		FROM used
		UNION ALL
		SELECT l.hours, p.start, sum(spent), sum(h.entries), sum(model_spent), sum(h.model_entries)
		FROM cells h, unnest(ARRAY[24, 96, 384, 1536]) l (hours),
			date_bin(make_interval(hours => l.hours), h.start, '2000-01-01 00:00:00+00') p (start)
		WHERE h.hours = 1
		GROUP BY l.hours, p.start
		HAVING (l.hours, p.start) IN (SELECT c.hours, c.start FROM cells c)
	)
	SELECT array_agg(hours), array_agg(start) INTO lengths, starts
	FROM said s FULL JOIN cells c USING (hours, start)
	WHERE sound IS NOT TRUE OR (coalesce(s.spent, 0) - c.spent) % modulus <> 0 OR (coalesce(s.entries, 0) - c.entries) % modulus <> 0
		OR (coalesce(s.model_spent, 0) - c.model_spent) % modulus <> 0
		OR (coalesce(s.model_entries, 0) - c.model_entries) % modulus <> 0;
	IF lengths IS NOT NULL THEN
		RETURN QUERY SELECT * FROM ducto.verify_rollup_cells(next, last, lengths, starts);
	END IF;
	PERFORM ducto.progress_step('the books');
	RETURN QUERY SELECT * FROM ducto.verify_books(next, last);
END
$$;
REVOKE ALL ON FUNCTION ducto.verify_rollup() FROM PUBLIC;
COMMENT ON FUNCTION ducto.verify_rollup() IS 'For ducto_verify: the rollup.';

