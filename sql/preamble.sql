-- complain if the script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION ducto" to load this file. \quit

-- Money columns are plain numeric: src/money.c gives every amount four decimals
-- and checks its bounds, and a type modifier would do so again on every write.

-- Tables live in a schema of their own, which is never exposed through an API.
CREATE SCHEMA ducto;
COMMENT ON SCHEMA ducto IS 'Tables of the ducto credits engine: read by operators, written by its functions only.';
REVOKE ALL ON SCHEMA ducto FROM PUBLIC;
