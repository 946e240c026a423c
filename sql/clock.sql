-- clock: the time by which everything is decided.

CREATE FUNCTION ducto.clock() RETURNS timestamptz
LANGUAGE c STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_clock';
REVOKE ALL ON FUNCTION ducto.clock() FROM PUBLIC;
COMMENT ON FUNCTION ducto.clock() IS 'Returns the time of the call, for functions in SQL. It is stable so that an index can be searched by it.';

