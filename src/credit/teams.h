#ifndef DUCTO_CREDIT_TEAMS_H
#define DUCTO_CREDIT_TEAMS_H

#include "postgres.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "account/member.h"
#include "base/money.h"
#include "base/query.h"
#include "base/rejection.h"

/* What ducto_create_team is asked for, and the team that it makes. */
typedef struct TeamRequest
{
	pg_uuid_t	id;
	char	   *name;
	Money		amount;
	char	   *key;			/* NULL for none */
	TimestampTz now;
} TeamRequest;

/* What a team shows; all zeros when there is none. */
typedef struct TeamBalance
{
	char	   *name;
	Money		balance;
	Money		held;
	int32		members;
} TeamBalance;

/* Where a row of team_members has what it tells of a member; the spend is that of this month. */
enum
{
	LISTED_MEMBER, LISTED_ROLE, LISTED_CAP, LISTED_SPENT, LISTED_JOINED_AT
};

extern bool team_make(TeamRequest *request);
extern Rejection team_read(const pg_uuid_t *team, TeamBalance *balance);
extern void team_members(const pg_uuid_t *team, RowReader reader, void *state);
extern Rejection team_add_member(const pg_uuid_t *team, const pg_uuid_t *user, MemberTerms *terms);

#endif
