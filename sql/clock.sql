-- clock: the time by which everything is decided.

CREATE TABLE ducto.test_clock (
	id boolean NOT NULL DEFAULT true,
	ahead interval NOT NULL,
	CONSTRAINT test_clock_pkey PRIMARY KEY (id),
	CONSTRAINT test_clock_one_row CHECK (id)
);
ALTER TABLE ducto.test_clock ENABLE ROW LEVEL SECURITY;
SELECT pg_catalog.pg_extension_config_dump('ducto.test_clock', '');

COMMENT ON TABLE ducto.test_clock IS 'How far the clock of a database of tests is ahead of the server''s; no row where it was never moved. It counts where ducto.test_clock is on.';
COMMENT ON COLUMN ducto.test_clock.id IS 'true: there is one row.';
COMMENT ON COLUMN ducto.test_clock.ahead IS 'How far: the sum of what ducto_advance_clock moved it by.';

CREATE FUNCTION ducto.clock() RETURNS timestamptz
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_clock';
REVOKE ALL ON FUNCTION ducto.clock() FROM PUBLIC;
COMMENT ON FUNCTION ducto.clock() IS 'Returns the time of the call, for functions in SQL. It is stable so that an index can be searched by it.';

CREATE FUNCTION ducto.clock_ahead() RETURNS interval
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_clock_ahead';
REVOKE ALL ON FUNCTION ducto.clock_ahead() FROM PUBLIC;
COMMENT ON FUNCTION ducto.clock_ahead() IS 'Returns how far the test clock is ahead of the server''s, NULL where ducto.test_clock is off.';

CREATE FUNCTION ducto.period(unit text, at timestamptz, anchor timestamptz, timezone text) RETURNS timestamptz[]
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_period';
REVOKE ALL ON FUNCTION ducto.period(text, timestamptz, timestamptz, text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.period(text, timestamptz, timestamptz, text) IS 'For ducto_verify: the start and the end of the hour, day, week, month or year in a time zone, NULL for UTC, that a time is in, or of the cycle that repeats the day and time of an anchor.';

CREATE FUNCTION @extschema@.ducto_advance_clock(by interval) RETURNS timestamptz
LANGUAGE c VOLATILE SUPPORT ducto.call_once SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_advance_clock';
REVOKE ALL ON FUNCTION @extschema@.ducto_advance_clock(interval) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_advance_clock(interval) IS
'Moves the clock of a database of tests, for ducto alone: what expires meanwhile has expired, for all sessions once the
transaction commits. Only where a superuser has turned ducto.test_clock on.
by: by how much, days and months by the calendar in UTC; 0 moves nothing. Never back.
Locks the test clock until the end of the transaction.
Returns the time that it is then.
Errors: 22004, 22023, 55000 (ducto.test_clock is off).';
