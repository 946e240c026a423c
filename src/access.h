#ifndef DUCTO_ACCESS_H
#define DUCTO_ACCESS_H

/* The functions that manage access, as a list in SQL: for the owner, never granted on. */
#define OWNER_FUNCTIONS "('ducto_setup', 'ducto_grant_access')"

#endif
