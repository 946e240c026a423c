/*
 * zone.c
 *		Time zones by their names, as pg_timezone_names has them.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/query.h"
#include "base/zone.h"

/* Asked only for names that may be POSIX's: "UTC+3" is one, and three hours west. */
static KeptQuery zone_name_query = {
	.sql = "SELECT FROM pg_catalog.pg_timezone_names WHERE lower(name) = lower($1)",
	.types = {TEXTOID}
};

/*
 * Find the zone that has a name; NULL when there is none.
 */
static pg_tz *
zone_by_name(const char *name)
{
	pg_tz	   *zone = pg_tzset(name);
	QueryArgs	args = {0};
	bool		named = true;

	if (zone == NULL || !pg_tz_acceptable(zone))
		return NULL;
	if (strpbrk(name, "0123456789<") != NULL)
	{
		query_begin();
		args_text(&args, name);
		named = query_read(&zone_name_query, &args) > 0;
		query_end();
	}
	return named ? zone : NULL;
}

/*
 * zone_find returns the zone that an account has, NULL for UTC.
 */
pg_tz *
zone_find(const char *name)
{
	pg_tz	   *zone;

	if (name == NULL)
		return NULL;
	zone = pg_tzset(name);
	if (zone == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("this server has no time zone \"%s\"", name),
				 errhint("An account's days begin by it: install the time zone data that the account's server had.")));
	return zone;
}

/*
 * arg_zone takes the name of a time zone, NULL for NULL, as the server writes
 * it.
 */
char *
arg_zone(FunctionCallInfo fcinfo, int n, const char *name)
{
	char	   *text = arg_text(fcinfo, n, name);
	pg_tz	   *zone;

	if (text == NULL)
		return NULL;
	zone = zone_by_name(text);
	if (zone == NULL)
		arg_reject(name, psprintf("\"%s\"", text),
				   psprintf("\"%s\" must be a name in pg_timezone_names, such as Europe/Berlin.", name));
	return pstrdup(pg_get_timezone_name(zone));
}
