-- access: who may call the API.

CREATE FUNCTION @extschema@.ducto_grant_access(role regrole, what text DEFAULT 'all') RETURNS void
LANGUAGE c VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_grant_access';
REVOKE ALL ON FUNCTION @extschema@.ducto_grant_access(regrole, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_grant_access(regrole, text) IS
'Lets a role call the API: all of it, or only its reads (what = ''read''), which takes the rest away again. The functions that manage access are never granted. To be called by the extension''s owner.
Takes the locks of GRANT. Errors: 22004, 22023, 42501.';
