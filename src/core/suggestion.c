/* Which name was probably meant by one that is unknown. */
#include "suggestion.h"

#include <string.h>

#include "utf8.h"

enum { SHORTEST = 3, LONGEST = 48 };

/* [i][j]: the changes from the first i letters of one text to the first j of another. */
typedef unsigned char distances[LONGEST + 1][LONGEST + 1];

static void lower(clerk_text given, char *out) {
  for (size_t i = 0; i < given.length; i++) out[i] = clerk_ascii_lower(given.bytes[i]);
}

static int smaller(int a, int b) {
  return a < b ? a : b;
}

/* A change adds, drops or replaces a letter, or swaps two neighbours. */
static void count_changes(distances d, const char *from, const char *to, size_t i, size_t j) {
  int least = smaller(d[i - 1][j], d[i][j - 1]) + 1;
  least = smaller(least, d[i - 1][j - 1] + (from[i - 1] != to[j - 1]));
  if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
    least = smaller(least, d[i - 2][j - 2] + 1);
  d[i][j] = (unsigned char)least;
}

static size_t distance_to_beginning(const char *given, size_t length, const char *name) {
  distances d;
  size_t name_length = strlen(name), least = length;
  for (size_t i = 0; i <= length; i++) d[i][0] = (unsigned char)i;
  for (size_t j = 1; j <= name_length; j++) {
    d[0][j] = (unsigned char)j;
    for (size_t i = 1; i <= length; i++) count_changes(d, given, name, i, j);
    if (d[length][j] < least) least = d[length][j];
  }
  return least;
}

void clerk_suggestion_consider(clerk_suggestion *suggestion, const char *name) {
  char given[LONGEST];
  size_t length = suggestion->given.length;
  if (length < SHORTEST || length > LONGEST || strlen(name) > LONGEST) return;
  lower(suggestion->given, given);
  size_t distance = distance_to_beginning(given, length, name);
  size_t allowed = length < 8 ? 1 : length / 4;
  if (distance > allowed || (suggestion->name && distance >= suggestion->distance)) return;
  suggestion->name = name;
  suggestion->distance = distance;
}
