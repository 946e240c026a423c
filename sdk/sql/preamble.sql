-- complain if the script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION ducto_sdk" to load this file. \quit

-- The functions that the SDKs call, over those of the engine: every decision is
-- the engine's. A body in SQL is parsed here, so that what it calls is what is
-- found now, in the schema that the extension ducto is in. Money goes as text.

CREATE FUNCTION ducto.sdk_plan_uuid(plan_key text) RETURNS uuid
LANGUAGE c IMMUTABLE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_plan_uuid';
REVOKE ALL ON FUNCTION ducto.sdk_plan_uuid(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_plan_uuid(text) IS
'For ducto_sdk: the uuid by which the SDKs know a plan, made from its key (version 5).';

CREATE FUNCTION ducto.sdk_time(value text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
BEGIN
	RETURN value::timestamptz;
EXCEPTION WHEN data_exception THEN
	RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION ducto.sdk_time(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_time(text) IS 'For ducto_sdk: reads a time, in UTC when it has no offset; NULL when it cannot be read.';
