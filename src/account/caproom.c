/*
 * caproom.c
 *		What caps have left, as this backend saw it last. It saves a look at them
 *		before something is counted, and decides nothing.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "account/caproom.h"

/* A room that was seen. */
typedef struct SeenRoom
{
	bool		known;
	pg_uuid_t	account;
	uint32		model;
	CapRoom		room;
} SeenRoom;

#define ROOMS	1024

static SeenRoom rooms[ROOMS];

/*
 * Return the place of a room, which another may have.
 */
static SeenRoom *
room_place(const pg_uuid_t *account, uint32 model)
{
	return &rooms[hash_combine(hash_bytes(account->data, UUID_LEN), model) % ROOMS];
}

/*
 * Return what stands for a model.
 */
static uint32
model_hash(const char *model)
{
	return hash_bytes((const unsigned char *) model, (int) strlen(model));
}

/*
 * caps_are_likely tells whether the caps of an account, by what this backend saw
 * last, count in the windows of a time and admit an amount. It may be wrong:
 * others spend, too.
 */
bool
caps_are_likely(const pg_uuid_t *account, const char *model, Spend amount, TimestampTz now)
{
	uint32		hash = model_hash(model);
	const SeenRoom *seen = room_place(account, hash);

	return seen->known && seen->model == hash && memcmp(&seen->account, account, UUID_LEN) == 0 &&
		now < seen->room.until && amount <= seen->room.least;
}

/*
 * caps_note_room takes in what the caps of an account have left.
 */
void
caps_note_room(const pg_uuid_t *account, const char *model, const CapRoom *room)
{
	uint32		hash = model_hash(model);
	SeenRoom   *seen = room_place(account, hash);

	seen->known = true;
	seen->account = *account;
	seen->model = hash;
	seen->room = *room;
}
