-- complain if the script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION ducto_sdk" to load this file. \quit

-- The functions that the SDKs call, over those of the engine: every decision is
-- the engine's. Bodies are parsed here, so that what they call is what is found
-- now, in the schema that the extension ducto is in. Money goes as text.

CREATE FUNCTION ducto.sdk_plan_uuid(plan_key text) RETURNS uuid
LANGUAGE c IMMUTABLE SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_sdk_plan_uuid';
REVOKE ALL ON FUNCTION ducto.sdk_plan_uuid(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_plan_uuid(text) IS
'For ducto_sdk: the uuid by which the SDKs know a plan, made from its key (version 5).';

CREATE FUNCTION ducto.sdk_plan_key(plan text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET row_security = off
BEGIN ATOMIC
	SELECT coalesce((SELECT p.id FROM ducto.plans p WHERE p.id = plan),
		(SELECT p.id FROM ducto.plans p WHERE ducto.sdk_plan_uuid(p.id)::text = lower(plan)));
END;
REVOKE ALL ON FUNCTION ducto.sdk_plan_key(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_plan_key(text) IS
'For ducto_sdk: the key of a plan that is given by its key or its uuid; NULL when there is none.';

CREATE FUNCTION ducto.sdk_amount_problem(amount numeric, zero boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT CASE WHEN amount IS NULL OR abs(amount) > 99999999999999.9999 OR amount < 0
		OR (round(amount, 4) = 0 AND NOT (zero AND amount = 0))
		THEN jsonb_build_object('error', 'invalid_amount', 'amount', amount::text) END;
END;
REVOKE ALL ON FUNCTION ducto.sdk_amount_problem(numeric, boolean) FROM PUBLIC;
COMMENT ON FUNCTION ducto.sdk_amount_problem(numeric, boolean) IS
'For ducto_sdk: the answer to an amount that is no positive one, or 0 where that is allowed; NULL when it is.';

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
