#ifndef DUCTO_UUID_H
#define DUCTO_UUID_H

#include "postgres.h"

extern bool uuid_has_form(const char *text);

#endif
