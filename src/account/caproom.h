#ifndef DUCTO_ACCOUNT_CAPROOM_H
#define DUCTO_ACCOUNT_CAPROOM_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/money.h"

/* What the caps of an account have left for a model, until one of their windows is over. */
typedef struct CapRoom
{
	Spend		least;			/* of those that deny */
	TimestampTz until;
} CapRoom;

extern bool caps_are_likely(const pg_uuid_t *account, const char *model, Spend amount, TimestampTz now);
extern void caps_note_room(const pg_uuid_t *account, const char *model, const CapRoom *room);

#endif
