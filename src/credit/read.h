#ifndef DUCTO_CREDIT_READ_H
#define DUCTO_CREDIT_READ_H

#include "postgres.h"
#include "fmgr.h"
#include "utils/uuid.h"

#define DEFAULT_PAGE	50
#define ALL_ROWS		0

/* What an account shows, whoever names it: each is the result of a function. */
extern Datum balance_read(FunctionCallInfo fcinfo, const pg_uuid_t *user);
extern Datum grants_read(FunctionCallInfo fcinfo, const pg_uuid_t *user, int max_rows);
extern Datum transactions_read(FunctionCallInfo fcinfo, const pg_uuid_t *account, int max_rows,
							   const pg_uuid_t *before);
extern Datum user_plan_read(FunctionCallInfo fcinfo, const pg_uuid_t *user);
extern Datum events_read(FunctionCallInfo fcinfo, const pg_uuid_t *account, Datum kinds, int max_rows,
						 const pg_uuid_t *before);

#endif
