/* UTF-8 (RFC 3629). Internal to src/. */
#ifndef CLERK_UTF8_H
#define CLERK_UTF8_H

#include <stdbool.h>
#include <stddef.h>

#include "clerk.h"

/* The length of the well-formed sequence at `at` (1 to 4), or 0 when there is none before `end`. */
size_t clerk_utf8_sequence(const char *at, const char *end);

/*
** A character is safe to show if it is valid UTF-8 and is no control character, line separator, mark
** that changes the direction of text, or invisible character.
*/
typedef struct clerk_character {
  unsigned code_point; /* U+FFFD for a byte that is not UTF-8 */
  bool is_valid;
  bool is_safe;
} clerk_character;

/* Reads the character at `at`, which is before `end`; returns its length. */
size_t clerk_utf8_read(const char *at, const char *end, clerk_character *character);

/* Counts the characters (code points); false when the text is not well-formed. */
bool clerk_utf8_count(clerk_text text, size_t *characters);

/* Writes a code point other than a surrogate to `out` (at most 4 bytes); returns the length. */
size_t clerk_utf8_write(unsigned code_point, char *out);

/* The lower case of an ASCII letter, in every locale; any other byte as it is. */
char clerk_ascii_lower(char c);

#endif
