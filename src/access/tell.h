#ifndef DUCTO_ACCESS_TELL_H
#define DUCTO_ACCESS_TELL_H

#include "postgres.h"

extern void access_tell(const char *extension, Oid role, const char *what, const char *scope);

#endif
