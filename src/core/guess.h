/* Which name was probably meant by one that is unknown. Internal to src/. */
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
** Considers one name that exists. It is near when `given` becomes its beginning by few changes: one,
** or one for every four letters. Of names that are equally near the first stays.
*/
void clerk_guess_consider(clerk_guess *guess, const char *name);

#endif
