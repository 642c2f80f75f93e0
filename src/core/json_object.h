/* JSON objects without duplicate members. Internal to src/. */
#ifndef CLERK_JSON_OBJECT_H
#define CLERK_JSON_OBJECT_H

#include "clerk.h"

enum { CLERK_OBJECT_MAX = CLERK_JWT_MAX / 4 * 3 }; /* what a JWT can hold */

/* A member of interest of the outermost object. */
typedef struct clerk_field {
  const char *name;
  clerk_text rest; /* from the member's value to the end of the document; absent like the member */
} clerk_field;

/*
** Reads a document of at most CLERK_OBJECT_MAX bytes and sets `rest` of all the fields. False when
** it is not one object, or when some object in it has two members of one name, however written. A
** byte order mark is refused, too.
*/
bool clerk_object_read(clerk_text document, clerk_field fields[], size_t count);

#endif
