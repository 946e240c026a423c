/*
 * ducto.c
 *		Module start.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/guc.h"

#include "base/rejection.h"
#include "base/setting.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

/*
 * _PG_init defines the settings of the extension.
 */
void
_PG_init(void)
{
	settings_define();
	rejection_define();
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved("ducto");
#else
	EmitWarningsOnPlaceholders("ducto");
#endif
}
