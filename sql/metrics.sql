-- metrics: figures for a monitor, each in constant time. A metric is a block of ducto_metrics.

CREATE TYPE @extschema@.ducto_metric AS (
	name text,
	labels jsonb,
	value double precision,
	kind text,
	help text
);
COMMENT ON TYPE @extschema@.ducto_metric IS 'A figure for a monitor.';
COMMENT ON COLUMN @extschema@.ducto_metric.name IS 'What is measured, with its unit: as Prometheus names metrics.';
COMMENT ON COLUMN @extschema@.ducto_metric.labels IS 'What it is measured of, where a name has several: a JSON object of texts.';
COMMENT ON COLUMN @extschema@.ducto_metric.value IS 'The figure.';
COMMENT ON COLUMN @extschema@.ducto_metric.kind IS 'gauge, or counter where it only ever rises.';
COMMENT ON COLUMN @extschema@.ducto_metric.help IS 'What it tells.';

CREATE FUNCTION @extschema@.ducto_metrics() RETURNS SETOF @extschema@.ducto_metric
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET jit = off
SET enable_seqscan = off SET enable_bitmapscan = off
SET DateStyle = iso SET IntervalStyle = postgres SET TimeZone = 'UTC'
AS $$
DECLARE
	moment CONSTANT timestamptz := ducto.clock();
	none CONSTANT jsonb := '{}';
	last_xact CONSTANT bigint := ducto.last_xact_here();
	-- Pages of accounts and open holds that are read at most: where there are more, the rest is taken to be like them.
	pages bigint := pg_relation_size('ducto.accounts') / current_setting('block_size')::integer;
	percent real;
	max_holds CONSTANT integer := 1000;
	-- On a cluster there is no rollup, and this node has figures of its own part of the tables alone.
	distributed CONSTANT boolean := ducto.is_distributed();
	origins bigint[];
	rollup record;
	sample record;
	holds record;
	due record;
	accounts double precision;
	open_holds double precision;
	next_xact bigint;
	oldest timestamptz;
BEGIN
	IF distributed THEN
		pages := pg_catalog.citus_relation_size('ducto.accounts') / current_setting('block_size')::integer;
		origins := ARRAY(SELECT n.result::bigint FROM pg_catalog.run_command_on_all_nodes('SELECT ducto.event_origin()') n WHERE n.success);
	END IF;
	percent := least(100, 100.0 * 80 / greatest(pages, 1));
	SELECT count(*) AS n, sum(balance) AS balance, coalesce(-sum(balance) FILTER (WHERE balance < 0), 0) AS debt,
		count(*) FILTER (WHERE balance < 0) AS debtors INTO sample
	FROM ducto.accounts TABLESAMPLE SYSTEM (percent);
	SELECT CASE WHEN percent = 100 THEN sample.n
		WHEN c.reltuples > 0 AND c.relpages > 0 AND NOT distributed THEN round((c.reltuples / c.relpages * pages)::numeric)
		ELSE round((sample.n * 100 / percent)::numeric) END INTO accounts
	FROM pg_class c WHERE c.oid = 'ducto.accounts'::regclass;
	SELECT r.next_xact, r.types, r.type_entries, r.type_amount INTO rollup
	FROM ducto.usage_rollup r WHERE r.hours = 0 AND r.start = '-infinity' AND r.part = 0 AND r.first_xact = ducto.first_xact_here();
	SELECT count(*) AS n, coalesce(sum(remaining) FILTER (WHERE expires_at > moment), 0) AS held,
		count(*) FILTER (WHERE expires_at <= moment) AS overdue, min(expires_at) FILTER (WHERE expires_at <= moment) AS due,
		min(created_at) FILTER (WHERE expires_at > moment) AS oldest INTO holds
	FROM (SELECT remaining, expires_at, created_at FROM ducto.reservations WHERE state = 'open' LIMIT max_holds) h;
	SELECT CASE WHEN holds.n < max_holds THEN holds.n ELSE greatest(c.reltuples, holds.n) END INTO open_holds
	FROM pg_class c WHERE c.oid = 'ducto.reservations_open'::regclass;
	IF distributed AND holds.n = max_holds THEN
		open_holds := (SELECT count(*) FROM ducto.reservations WHERE state = 'open');
	END IF;

	RETURN QUERY SELECT 'ducto_info', jsonb_build_object('version', e.extversion), 1::double precision, 'gauge',
		'The version of ducto'
	FROM pg_extension e WHERE e.extname = 'ducto';

	RETURN QUERY SELECT 'ducto_test_clock', none, (ducto.clock_ahead() IS NOT NULL)::integer::double precision, 'gauge',
		'1 where the test clock is on, 0 where it is not, as in all databases but those of tests';

	RETURN QUERY SELECT 'ducto_accounts', none, accounts, 'gauge',
		'Accounts of users and teams; an estimate where they have more than 80 pages';

	RETURN QUERY SELECT 'ducto_balance_credits', none, b.balance::double precision, 'gauge',
		'The sum of all balances; as of the last rollup where accounts have more than 80 pages'
	FROM (SELECT CASE WHEN percent = 100 THEN coalesce(sample.balance, 0) ELSE (SELECT sum(a) FROM unnest(rollup.type_amount) a) END)
		b (balance) WHERE b.balance IS NOT NULL;

	RETURN QUERY SELECT 'ducto_debt_credits', none, sample.debt::double precision * accounts / greatest(sample.n, 1), 'gauge',
		'What accounts owe: the sum of the balances below 0, without the sign; an estimate where accounts have more than 80 pages';

	RETURN QUERY SELECT 'ducto_accounts_in_debt', none, round((sample.debtors * accounts / greatest(sample.n, 1))::numeric)::double precision,
		'gauge', 'Accounts with a balance below 0; an estimate where they have more than 80 pages';

	RETURN QUERY SELECT 'ducto_held_credits', none, holds.held::double precision * open_holds / greatest(holds.n, 1), 'gauge',
		'What open reservations hold; an estimate where there are 1000 or more';

	RETURN QUERY SELECT 'ducto_open_holds', none, round(((holds.n - holds.overdue) * open_holds / greatest(holds.n, 1))::numeric)::double precision,
		'gauge', 'Open reservations that are not past their time; an estimate where there are 1000 or more';

	RETURN QUERY SELECT 'ducto_overdue_holds', none, round((holds.overdue * open_holds / greatest(holds.n, 1))::numeric)::double precision,
		'gauge', 'Reservations that are past their time and not closed yet: they hold nothing, and wait for a sweep';

	RETURN QUERY SELECT 'ducto_oldest_hold_seconds', none, coalesce(extract(epoch FROM moment - holds.oldest), 0)::double precision,
		'gauge', 'The age of the oldest open reservation, of the first 1000';

	-- The grant that is overdue longest, through the index of those that a sweep books.
	SELECT g.expires_at INTO due FROM ducto.grants g
	WHERE g.live AND g.expires_at AT TIME ZONE 'UTC' <= moment AT TIME ZONE 'UTC' ORDER BY g.expires_at AT TIME ZONE 'UTC' LIMIT 1;
	RETURN QUERY SELECT 'ducto_sweep_lag_seconds', none,
		coalesce(extract(epoch FROM moment - least(due.expires_at, holds.due)), 0)::double precision, 'gauge',
		'For how long something has been past its time that no sweep has booked';

	IF NOT distributed THEN
		-- The first entry that is not rolled up. Numbers of transactions are a circle that begins after this cluster's last.
		next_xact := coalesce(rollup.next_xact,
			CASE WHEN last_xact = 9223372036854775807 THEN -9223372036854775808 ELSE last_xact + 1 END);
		oldest := (SELECT l.created_at FROM ducto.ledger l WHERE l.xact >= next_xact AND (next_xact > last_xact OR l.xact <= last_xact)
			ORDER BY l.xact LIMIT 1);
		IF oldest IS NULL AND next_xact > last_xact THEN
			oldest := (SELECT l.created_at FROM ducto.ledger l WHERE l.xact <= last_xact ORDER BY l.xact LIMIT 1);
		END IF;
		RETURN QUERY SELECT 'ducto_rollup_lag_seconds', none,
			greatest(coalesce(extract(epoch FROM moment - oldest), 0), 0)::double precision, 'gauge',
			'The age of the first ledger entry that is not rolled up';
	END IF;

	IF distributed THEN
		RETURN QUERY SELECT 'ducto_events_waiting', none, count(*)::double precision, 'gauge',
			'Events of this database that nobody has acknowledged, 10000 at most'
		FROM (SELECT e.number FROM ducto.events e WHERE e.origin = ANY (origins) AND e.acked_at IS NULL LIMIT 10000) e;

		RETURN QUERY SELECT 'ducto_oldest_event_seconds', none, coalesce(extract(epoch FROM moment - (SELECT e.created_at FROM ducto.events e
			WHERE e.origin = ANY (origins) AND e.acked_at IS NULL ORDER BY e.visible_at LIMIT 1)), 0)::double precision,
			'gauge', 'The age of the event that is to be taken next';
		RETURN;
	END IF;

	RETURN QUERY SELECT 'ducto_events_waiting', none, count(*)::double precision, 'gauge',
		'Events of this database that nobody has acknowledged, 10000 at most'
	FROM (SELECT FROM ducto.events e WHERE e.origin = ducto.event_origin() AND e.acked_at IS NULL LIMIT 10000) e;

	RETURN QUERY SELECT 'ducto_oldest_event_seconds', none, coalesce(extract(epoch FROM moment - (SELECT e.created_at FROM ducto.events e
		WHERE e.origin = ducto.event_origin() AND e.acked_at IS NULL ORDER BY e.visible_at LIMIT 1)), 0)::double precision,
		'gauge', 'The age of the event that is to be taken next';

	RETURN QUERY SELECT 'ducto_entries_total', jsonb_build_object('type', t.type), t.entries::double precision, 'counter',
		'Ledger entries, as of the last rollup'
	FROM unnest(rollup.types, rollup.type_entries) t (type, entries);

	RETURN QUERY SELECT 'ducto_booked_credits', jsonb_build_object('type', t.type), t.amount::double precision, 'gauge',
		'The sum of the ledger''s amounts, negative for debits, as of the last rollup'
	FROM unnest(rollup.types, rollup.type_amount) t (type, amount);

	RETURN QUERY SELECT 'ducto_hot_update_ratio', none, s.hot::double precision / s.updates, 'gauge',
		'The part of all updates of accounts that were HOT, since the server''s statistics were reset: falls while an old transaction is open'
	FROM (SELECT pg_stat_get_tuples_hot_updated('ducto.accounts'::regclass), pg_stat_get_tuples_updated('ducto.accounts'::regclass))
		s (hot, updates) WHERE s.updates > 0;

	RETURN QUERY SELECT 'ducto_table_bytes', jsonb_build_object('table', c.relname), pg_total_relation_size(c.oid)::double precision,
		'gauge', 'The size of a table with its indexes'
	FROM pg_class c WHERE c.relnamespace = 'ducto'::regnamespace AND c.relkind = 'r' ORDER BY c.relname;

	RETURN QUERY SELECT 'ducto_prepared_transactions', none, count(*)::double precision, 'gauge',
		'Transactions of this database that were prepared and have not ended: their accounts stay locked'
	FROM pg_prepared_xacts p WHERE p.database = current_database();
END
$$;
REVOKE ALL ON FUNCTION @extschema@.ducto_metrics() FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_metrics() IS
'Returns figures for a monitor, in a time that does not depend on how much there is: where an exact figure would need a scan
it is an estimate, or as of the last rollup, and its help says so. Nothing is netted: refunds and reversals are types of
their own.
Takes no lock, works on a standby.
Returns a row for each figure: names and labels are stable, as those of Prometheus.';
