#ifndef DUCTO_ACCESS_ACCESS_H
#define DUCTO_ACCESS_ACCESS_H

#include "postgres.h"
#include "nodes/pg_list.h"

/* What a GRANT may have opened, and what it may. */
typedef struct AccessChange
{
	Oid			classid;		/* of the objects */
	Datum		objects;		/* oid[], members of ducto and ducto_sdk */
	List	   *grantees;		/* NIL: nobody is to have anything */
	Datum		before;			/* text[]: who could call which of them before */
	bool		named;			/* each object was named */
	bool		restored;		/* by a dump */
} AccessChange;

/* Is called for a role, 0 for PUBLIC, and what it may call of an extension. */
typedef void (*AccessCaller) (const char *extension, Oid role, const char *name, const char *what, void *state);

extern bool access_is_changing(void);
extern void access_lock(const char *function);
extern char *access_change(const char *extension, Oid role, const char *name, const char *what, const char *scope);
extern Datum access_touched(Oid classid, List *objects);
extern Datum access_members(void);
extern bool access_members_new(Datum before, Oid classid, Datum *objects);
extern void access_each_caller(AccessCaller caller, void *state);
extern void access_carry_over(void);
extern Datum access_held(Oid classid, Datum objects);
extern char *access_take_back(const AccessChange *change);
extern bool access_is_open(const AccessChange *change);

#endif
