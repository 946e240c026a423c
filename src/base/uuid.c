/*
 * uuid.c
 *		Identifiers for users whom an application knows by a text or a number
 *		(RFC 9562, version 5).
 */
#include "postgres.h"

#include <ctype.h>

#include "common/cryptohash.h"
#include "common/sha1.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/uuid.h"

PG_FUNCTION_INFO_V1(ducto_uuid);

/* The namespace of domain names, 6ba7b810-9dad-11d1-80b4-00c04fd430c8. */
static const pg_uuid_t dns_namespace = {
	{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
};

/*
 * uuid_to_cstring returns the usual form of an identifier.
 */
char *
uuid_to_cstring(const pg_uuid_t *uuid)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(uuid)));
}

/*
 * Make the identifier of a name in a namespace. The name's bytes are those of
 * UTF-8, so that it has the same one in a database of any encoding.
 */
static void
uuidv5_make(pg_uuid_t *uuid, const pg_uuid_t *space, const char *name)
{
	uint8		digest[SHA1_DIGEST_LENGTH];
	pg_cryptohash_ctx *sha1 = pg_cryptohash_create(PG_SHA1);

	name = pg_server_to_any(name, (int) strlen(name), PG_UTF8);
	if (sha1 == NULL || pg_cryptohash_init(sha1) < 0 ||
		pg_cryptohash_update(sha1, space->data, UUID_LEN) < 0 ||
		pg_cryptohash_update(sha1, (const uint8 *) name, strlen(name)) < 0 ||
		pg_cryptohash_final(sha1, digest, sizeof(digest)) < 0)
	{
		pg_cryptohash_free(sha1);
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not compute SHA-1")));
	}
	pg_cryptohash_free(sha1);
	memcpy(uuid->data, digest, UUID_LEN);
	uuid->data[6] = (uuid->data[6] & 0x0f) | 0x50;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/*
 * uuid_has_form tells whether a text is a uuid in its usual form.
 */
bool
uuid_has_form(const char *text)
{
	const char *form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != strlen(form))
		return false;
	for (int i = 0; form[i] != '\0'; i++)
		if (form[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char) text[i]))
			return false;
	return true;
}

/*
 * Return a required text of 1 to 255 bytes.
 */
static char *
arg_name(FunctionCallInfo fcinfo, int n, const char *name)
{
	arg_require(fcinfo, n, name);
	return arg_text(fcinfo, n, name);
}

/*
 * ducto_uuid gives a text id its uuid. Arguments and errors: see its COMMENT.
 */
Datum
ducto_uuid(PG_FUNCTION_ARGS)
{
	char	   *space = arg_name(fcinfo, 0, "namespace");
	char	   *id = arg_name(fcinfo, 1, "id");
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	if (uuid_has_form(space))
		*uuid = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(space)));
	else
		uuidv5_make(uuid, &dns_namespace, space);
	uuidv5_make(uuid, uuid, id);
	PG_RETURN_UUID_P(uuid);
}
