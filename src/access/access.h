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

extern bool access_is_changing(void);
extern Datum access_touched(Oid classid, List *objects);
extern Datum access_members(void);
extern bool access_members_new(Datum before, Oid classid, Datum *objects);
extern void access_carry_over(void);
extern Datum access_held(Oid classid, Datum objects);
extern char *access_take_back(const AccessChange *change);
extern bool access_is_open(const AccessChange *change);

#endif
