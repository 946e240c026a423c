#ifndef DUCTO_BASE_NODETEXT_H
#define DUCTO_BASE_NODETEXT_H

#include "postgres.h"

extern bool texts_are_common(void);
extern void texts_make_common(void);
extern void errors_told_in(int encoding, void (*work) (void *state), void *state);
extern void texts_common_while(void (*work) (void *state), void *state);

#endif
