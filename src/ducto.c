/*
 * ducto.c
 *		Module start and settings.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "args.h"
#include "reservation.h"
#include "result.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

int			reservation_ttl = 600;

static const struct config_enum_entry rejection_modes[] = {
	{"return", REJECTIONS_RETURN, false},
	{"raise", REJECTIONS_RAISE, false},
	{"http", REJECTIONS_HTTP, false},
	{NULL, 0, false}
};

/*
 * _PG_init defines the settings of the extension.
 */
void
_PG_init(void)
{
	DefineCustomEnumVariable("ducto.rejections",
							 "How a rejected operation is told.",
							 "return: in the column error; raise: as an exception; "
							 "http: in the column error and PostgREST's response.status, until a later call succeeds.",
							 &rejection_mode, REJECTIONS_RETURN, rejection_modes,
							 PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("ducto.reservation_ttl",
							"How long a reservation lasts when ttl_seconds is not given.",
							NULL,
							&reservation_ttl, 600, 1, TTL_MAX_SECONDS,
							PGC_USERSET, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomStringVariable(STATUS_RECORD_SETTING,
							   "Which status of PostgREST's response is ours.",
							   NULL,
							   &status_record, "",
							   PGC_INTERNAL, GUC_NO_SHOW_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE | GUC_SUPERUSER_ONLY,
							   NULL, NULL, NULL);
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved("ducto");
#else
	EmitWarningsOnPlaceholders("ducto");
#endif
}
