-- uuid: ids for users whom an application knows by a text or a number.

CREATE FUNCTION @extschema@.ducto_uuid(namespace text, id text)
RETURNS uuid
LANGUAGE c IMMUTABLE PARALLEL SAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'MODULE_PATHNAME', 'ducto_uuid';
REVOKE ALL ON FUNCTION @extschema@.ducto_uuid(text, text) FROM PUBLIC;
COMMENT ON FUNCTION @extschema@.ducto_uuid(text, text) IS
'Gives a text id its uuid, always the same (RFC 9562, version 5): for users of an identity provider whose ids are no
uuids, and for numbers, as text.
namespace: whose ids they are, so that equal ids of two providers are two users. A uuid, with hyphens, is taken as it
  is; for any other text its version 5 in the namespace of domain names stands, 6ba7b810-9dad-11d1-80b4-00c04fd430c8.
id: the id, as it is written: letters of different case are different ids.
The bytes are those of UTF-8, whatever the encoding of the database: a program gets the same by uuid5(uuid5(DNS,
namespace), id).
Takes no lock, reads nothing.
Errors: 22004, 22023 (a text that is empty or over 255 bytes).';
