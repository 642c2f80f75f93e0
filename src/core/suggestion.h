/* "Did you mean …?": the name that is nearest to an unknown one. Internal to src/. */
#ifndef CLERK_SUGGESTION_H
#define CLERK_SUGGESTION_H

#include "clerk.h"

/* Set `given` and zero the rest before the first name is considered. */
typedef struct clerk_suggestion {
  clerk_text given;
  const char *name; /* the nearest name so far, of those considered; NULL: none is near */
  size_t distance;
} clerk_suggestion;

/*
** Considers a name that exists, in lower case; it is not copied and must outlive the suggestion. It is
** near when few changes turn `given` into its beginning: one, or one for every four letters. Of
** equally near names the first stays. Names above 48 bytes, and a `given` of less than 3, match
** nothing.
*/
void clerk_suggestion_consider(clerk_suggestion *suggestion, const char *name);

#endif
