-- progress: telling how far long work is. It must say nothing of an account: who calls the work reads it.

CREATE FUNCTION ducto.progress_begin(name text, steps integer) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_progress_begin';
REVOKE ALL ON FUNCTION ducto.progress_begin(text, integer) FROM PUBLIC;
COMMENT ON FUNCTION ducto.progress_begin(text, integer) IS 'For long work that is written in SQL: begins it, and says how many steps it has.';

CREATE FUNCTION ducto.progress_step(step text) RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_progress_step';
REVOKE ALL ON FUNCTION ducto.progress_step(text) FROM PUBLIC;
COMMENT ON FUNCTION ducto.progress_step(text) IS
'Begins the next step of the work that ducto.progress_begin began, and says so by NOTICE where nothing was said for ducto.progress_interval.';

