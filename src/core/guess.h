/* "Did you mean …?": the name that is nearest to an unknown one. Internal to src/. */
#ifndef CLERK_GUESS_H
#define CLERK_GUESS_H

#include "clerk.h"

/* Set `given` and zero the rest before the first name is considered. */
typedef struct clerk_guess {
  clerk_text given;
  const char *name; /* the nearest name so far, of those considered; NULL: none is near */
  size_t distance;
} clerk_guess;

/*
** Considers a name that exists, in lower case; it is not copied and must outlive the guess. It is
** near when few changes turn `given` into its beginning: one, or one for every four letters. Of
** equally near names the first stays. Names above 48 bytes, and a `given` of less than 3, match
** nothing.
*/
void clerk_guess_consider(clerk_guess *guess, const char *name);

#endif
