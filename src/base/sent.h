#ifndef DUCTO_BASE_SENT_H
#define DUCTO_BASE_SENT_H

#include "postgres.h"
#include "fmgr.h"

#include "base/query.h"

/* The text of a call of a function, with its parameters, that is sent to the account which is $1. */
#define SENT_BEGIN	"SELECT t.* FROM "
#define SENT_END	" t"
#define SENT_CALL(call)	SENT_BEGIN call SENT_END

extern KeptQuery *sent_query(KeptQuery *query, const pg_uuid_t *account);
extern HeapTupleHeader sent_row(FunctionCallInfo fcinfo);

#endif
