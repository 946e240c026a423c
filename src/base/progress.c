/*
 * progress.c
 *		Telling by NOTICE how far long work is: at most once in the time that
 *		ducto.progress_interval says, of a clock that nobody sets.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "base/args.h"
#include "base/progress.h"
#include "base/setting.h"

PG_FUNCTION_INFO_V1(ducto_progress_begin);
PG_FUNCTION_INFO_V1(ducto_progress_step);

/* Work that is written in SQL and has steps. */
static struct
{
	Progress	progress;
	char		name[NAMEDATALEN];
	int			step;
	int			steps;
}			work;

/*
 * progress_begin notes that work begins.
 */
void
progress_begin(Progress *progress)
{
	INSTR_TIME_SET_CURRENT(progress->told);
}

/*
 * progress_is_due tells whether it is time to say how far the work is. The
 * caller says it then.
 */
bool
progress_is_due(Progress *progress)
{
	instr_time	now;
	instr_time	passed;

	INSTR_TIME_SET_CURRENT(now);
	passed = now;
	INSTR_TIME_SUBTRACT(passed, progress->told);
	if (INSTR_TIME_GET_MILLISEC(passed) < setting_progress_interval() * 1000.0)
		return false;
	progress->told = now;
	return true;
}

/*
 * ducto.progress_begin begins work of some steps. It belongs to the session:
 * work inside of other work takes its place.
 */
Datum
ducto_progress_begin(PG_FUNCTION_ARGS)
{
	arg_require(fcinfo, 0, "name");
	text_to_cstring_buffer(PG_GETARG_TEXT_PP(0), work.name, sizeof(work.name));
	work.steps = arg_int_between(fcinfo, 1, "steps", 1, PG_INT32_MAX, 1);
	work.step = 0;
	progress_begin(&work.progress);
	PG_RETURN_VOID();
}

/*
 * ducto.progress_step begins the next step of that work, and says so where it
 * is time to.
 */
Datum
ducto_progress_step(PG_FUNCTION_ARGS)
{
	arg_require(fcinfo, 0, "step");
	work.step++;
	if (progress_is_due(&work.progress))
		ereport(NOTICE,
				(errmsg("%s: %s (step %d of %d)", work.name, text_to_cstring(PG_GETARG_TEXT_PP(0)), work.step, work.steps)));
	PG_RETURN_VOID();
}
