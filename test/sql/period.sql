-- Hours, days, weeks, months, years and cycles in a time zone, beside what the server's own calendar makes of them.
SET TimeZone = 'Asia/Tokyo';		-- which must not matter
SET DateStyle = 'ISO, MDY';

-- Clocks that change by an hour at night, at midnight, by half an hour, by a whole day, and never.
CREATE TEMP TABLE zones (zone text);
INSERT INTO zones VALUES (NULL), ('Europe/Berlin'), ('America/New_York'), ('America/Havana'), ('Australia/Lord_Howe'),
	('Africa/Casablanca'), ('Asia/Kathmandu'), ('Pacific/Apia');

-- The first instant at which a zone's clocks show a time or a later one, looked for in quarters of an hour.
CREATE FUNCTION pg_temp.instant(wall timestamp, zone text) RETURNS timestamptz LANGUAGE sql AS $$
	SELECT min(t) FROM generate_series(wall AT TIME ZONE 'UTC' - interval '26 h', wall AT TIME ZONE 'UTC' + interval '26 h', '15 min') t
	WHERE t AT TIME ZONE coalesce(zone, 'UTC') >= wall
$$;

-- Where cycles begin: anchors at the end of months, in a night that has no such time, and the calendar's own.
CREATE TEMP TABLE anchors (name text, first timestamp, anchored boolean);
INSERT INTO anchors VALUES ('31st', '2024-01-31 02:30', true), ('leap day', '2024-02-29 00:15', true),
	('30th', '2027-11-30 23:45', true), ('calendar', '2024-01-01 00:00', false);

CREATE TEMP TABLE starts AS
SELECT z.zone, u.unit, a.name, a.anchored, f.anchor,
	CASE WHEN n = 0 AND a.anchored THEN f.anchor ELSE pg_temp.instant(a.first + n * ('1 ' || u.unit)::interval, z.zone) END AS start
FROM zones z, anchors a, LATERAL (SELECT CASE WHEN anchored THEN first AT TIME ZONE coalesce(zone, 'UTC') END AS anchor) f,
	(VALUES ('day', -20, 480), ('week', -10, 100), ('month', -40, 90), ('year', -8, 12)) u(unit, low, high),
	generate_series(u.low, u.high) n;
CREATE TEMP TABLE expected AS
SELECT zone, unit, name, anchor, anchored, start, lead(start) OVER (PARTITION BY zone, unit, name ORDER BY start) AS until
FROM (SELECT DISTINCT zone, unit, name, anchor, anchored, start FROM starts) s;

-- At its first instant, in the middle and at its last microsecond, a period is that one. No row differs.
SELECT unit, count(*) > 400 AS many,
	count(*) FILTER (WHERE found IS DISTINCT FROM ARRAY[start, until]) AS wrong
FROM (SELECT e.unit, e.start, e.until, ducto.period(e.unit, t, e.anchor, e.zone) AS found
	FROM expected e, unnest(ARRAY[e.start, e.start + (e.until - e.start) / 2, e.until - interval '1 us']) t
	WHERE e.until IS NOT NULL) f
GROUP BY unit ORDER BY unit;

-- Days of 23, 24 and 25 hours, and of 23.5 and 24.5; Samoa had no 30 December 2011.
SELECT zone, array_agg(DISTINCT (until - start)::text ORDER BY (until - start)::text) AS days FROM expected
WHERE unit = 'day' AND name = 'calendar' AND until IS NOT NULL GROUP BY zone ORDER BY zone;
SELECT ducto.period('day', '2011-12-31 09:59:59Z', NULL, 'Pacific/Apia') AS before,
	ducto.period('day', '2011-12-31 10:00Z', NULL, 'Pacific/Apia') AS after;

-- Hours are those that the clocks show; where they are moved by half an hour, an hour is divided.
WITH quarters AS (
	SELECT zone, t, date_trunc('hour', t AT TIME ZONE coalesce(zone, 'UTC')) AS hour,
		t AT TIME ZONE coalesce(zone, 'UTC') - t AT TIME ZONE 'UTC' AS ahead
	FROM zones, generate_series('2026-01-01 00:00Z'::timestamptz, '2027-01-01 00:00Z', '15 min') t
), runs AS (
	SELECT *, count(*) FILTER (WHERE new) OVER (PARTITION BY zone ORDER BY t) AS run
	FROM (SELECT *, (hour, ahead) IS DISTINCT FROM (lag(hour) OVER w, lag(ahead) OVER w) AS new FROM quarters
		WINDOW w AS (PARTITION BY zone ORDER BY t)) q
), hours AS (
	SELECT zone, min(t) AS start, lead(min(t)) OVER (PARTITION BY zone ORDER BY run) AS until FROM runs GROUP BY zone, run
)
SELECT count(*) > 70000 AS many, count(*) FILTER (WHERE found <> ARRAY[start, until]) AS wrong,
	count(*) FILTER (WHERE until - start < interval '1 h' AND zone = 'Australia/Lord_Howe') AS halves
FROM (SELECT *, ducto.period('hour', until - interval '1 us', NULL, zone) AS found FROM hours
	WHERE until IS NOT NULL AND start > '2026-01-01 01:00Z') h;

-- Weeks begin on Monday, as ISO 8601 has them.
SELECT count(*) FILTER (WHERE (ducto.period('week', t, NULL, NULL))[1] <> date_trunc('week', t, 'UTC')) AS wrong
FROM generate_series('1999-12-20 00:00Z'::timestamptz, '2001-01-20 00:00Z', '7 h') t;

-- A name is one of a zone; POSIX's notation, in which UTC+3 is west of Greenwich, is none.
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e1', NULL, NULL, 'europe/berlin');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e2', NULL, '2026-01-31 12:00Z', 'Etc/GMT+3');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, NULL, 'UTC+3');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, NULL, 'Berlin/1');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, NULL, 'CEST');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, NULL, '');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, NULL, 'Mars/Olympus');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, 'infinity');
SELECT * FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e3', NULL, '-infinity');
SELECT right(id::text, 2) AS id, anchor AT TIME ZONE 'UTC' AS anchor, zone FROM ducto.accounts WHERE id::text LIKE '%-0000000000e_' ORDER BY id;
-- The next call without them takes them back.
SELECT error FROM ducto_set_user_plan('00000000-0000-7000-8000-0000000000e2', NULL);
SELECT anchor, zone FROM ducto.accounts WHERE id = '00000000-0000-7000-8000-0000000000e2';
SELECT * FROM ducto_verify();
