/*
 * nodetext.c
 *		Values as the nodes of a cluster write them to each other: as texts.
 *
 *		Citus reads the texts of other nodes, which are of the database's
 *		encoding, as if the client had sent them, and copies rows to them in the
 *		client's. Where that is another, a key would be one that nobody knows
 *		any more.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/nodetext.h"

/* Beyond this no other node takes the offset of a time. */
#define OFFSET_MAX_SECONDS	(16 * SECS_PER_HOUR)

/*
 * texts_are_common tells whether every node reads texts, dates, times and
 * intervals as they are written in this session.
 */
bool
texts_are_common(void)
{
	long		offset;

	return (pg_get_client_encoding() == GetDatabaseEncoding() || GetDatabaseEncoding() == PG_SQL_ASCII) &&
		DateStyle == USE_ISO_DATES && IntervalStyle == INTSTYLE_POSTGRES &&
		(!pg_get_timezone_offset(session_timezone, &offset) || labs(offset) < OFFSET_MAX_SECONDS);
}

/*
 * texts_make_common lets this session write them so, until the settings go back to
 * a level before.
 */
void
texts_make_common(void)
{
	const char *const common[][2] = {{"DateStyle", "ISO"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
	{"client_encoding", GetDatabaseEncodingName()}};

	for (int i = 0; i < lengthof(common); i++)
		(void) set_config_option(common[i][0], common[i][1], PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * errors_told_in does something whose errors are told in an encoding of the client,
 * which may be another meanwhile.
 */
void
errors_told_in(int encoding, void (*work) (void *state), void *state)
{
	if (encoding == pg_get_client_encoding())
	{
		work(state);
		return;
	}
	PG_TRY();
	{
		work(state);
	}
	PG_CATCH();
	{
		SetClientEncoding(encoding);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * texts_common_while does something while texts are common.
 */
void
texts_common_while(void (*work) (void *state), void *state)
{
	int			encoding = pg_get_client_encoding();
	int			level = NewGUCNestLevel();

	texts_make_common();
	errors_told_in(encoding, work, state);
	AtEOXact_GUC(true, level);
}
