/*
 * uuidv7.c
 *		Time-ordered identifiers (RFC 9562, version 7).
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/timestamp.h"

#include "base/uuidv7.h"

/*
 * Give random bytes, taken from the system's generator in blocks. A child of
 * fork draws its own.
 */
static void
random_take(unsigned char *bytes, int n)
{
	static unsigned char block[1024];
	static int	left = 0;
	static int	owner = 0;

	if (left < n || owner != MyProcPid)
	{
		if (!pg_strong_random(block, sizeof(block)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		left = sizeof(block);
		owner = MyProcPid;
	}
	left -= n;
	memcpy(bytes, block + left, n);
}

#define RANDOM_BITS	62

/*
 * Return the random bits of an identifier. Those of one moment grow by random
 * steps, each after the other (RFC 9562, section 6.2, method 2): an index then has
 * them at its end, in the order in which they were made. The first leaves room for
 * 2^30 of them; when it is used up, they begin anew.
 */
static uint64
random_next(TimestampTz at)
{
	static TimestampTz last_at;
	static uint64 last = 0;
	uint32		step;

	if (last != 0 && at == last_at)
	{
		random_take((unsigned char *) &step, sizeof(step));
		last += (uint64) step + 1;
		if (last >> RANDOM_BITS == 0)
			return last;
	}
	random_take((unsigned char *) &last, sizeof(last));
	last = (last >> (64 - RANDOM_BITS + 1)) | 1;
	last_at = at;
	return last;
}

/*
 * Write the moment of an identifier, whose last 62 bits are there already.
 */
static void
uuidv7_stamp(pg_uuid_t *uuid, TimestampTz at)
{
	int64		usecs = at + ((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY);
	uint64		msecs = usecs / 1000;
	uint32		fraction = (uint32) ((usecs % 1000) * 4096 / 1000);

	for (int i = 0; i < 6; i++)
		uuid->data[i] = (unsigned char) (msecs >> (8 * (5 - i)));
	uuid->data[6] = 0x70 | (unsigned char) (fraction >> 8);
	uuid->data[7] = (unsigned char) fraction;
	uuid->data[8] = (uuid->data[8] & 0x3f) | 0x80;
}

/*
 * uuidv7_make makes an identifier for a moment: 48 bits of Unix milliseconds,
 * 12 bits of the fraction of the millisecond, 62 random bits.
 */
void
uuidv7_make(pg_uuid_t *uuid, TimestampTz at)
{
	uint64		bits = pg_hton64(random_next(at));

	memcpy(uuid->data + 8, &bits, sizeof(bits));
	uuidv7_stamp(uuid, at);
}

/*
 * uuidv7_derive makes the identifier of what happens to something at a moment,
 * the same one each time: 62 bits are those of a hash of its parts.
 */
void
uuidv7_derive(pg_uuid_t *uuid, TimestampTz at, const void *parts, int length)
{
	uint64		hash = hash_bytes_extended(parts, length, 0);

	memcpy(uuid->data + 8, &hash, sizeof(hash));
	uuidv7_stamp(uuid, at);
}
