-- complain if the script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION ducto" to load this file. \quit

-- Money columns are plain numeric: src/base/money.c gives every amount four decimals
-- and checks its bounds, and a type modifier would do so again on every write.

-- Tables live in a schema of their own, which is never exposed through an API.
CREATE SCHEMA ducto;
COMMENT ON SCHEMA ducto IS 'Tables of the ducto credits engine: read by operators, written by its functions only.';
REVOKE ALL ON SCHEMA ducto FROM PUBLIC;

-- It is called by the planner alone and looks up no names: it needs neither the owner's rights nor a search_path.
CREATE FUNCTION ducto.call_once(request internal) RETURNS internal
LANGUAGE c IMMUTABLE
AS 'MODULE_PATHNAME', 'ducto_call_once';
REVOKE ALL ON FUNCTION ducto.call_once(internal) FROM PUBLIC;
COMMENT ON FUNCTION ducto.call_once(internal) IS
'For the planner: the support function of every function that writes. It refuses a statement in which PostgreSQL would call one more often than it stands there (0A000), as for each column of (ducto_charge(...)).*. A superuser can guard a function of the application so: ALTER FUNCTION ... SUPPORT ducto.call_once.';
