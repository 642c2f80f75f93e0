/* base64url, as JWTs and JWKs have it: without padding (RFC 7515, 2). */
#include "base64url.h"

/* The six bits of a digit and one; of other bytes 0. A table, since which digit comes next cannot be
** predicted: branches would cost more than half of the time. */
static const unsigned char values[256] = {
    ['A'] = 1,  ['B'] = 2,  ['C'] = 3,  ['D'] = 4,  ['E'] = 5,  ['F'] = 6,  ['G'] = 7,  ['H'] = 8,
    ['I'] = 9,  ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,
    ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,
    ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,
    ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,
    ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,
    ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,
    ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62, ['-'] = 63, ['_'] = 64,
};

/* Four digits stand for three bytes. */
static bool decode_four(const char *digits, char *out) {
  unsigned a = values[(unsigned char)digits[0]], b = values[(unsigned char)digits[1]];
  unsigned c = values[(unsigned char)digits[2]], d = values[(unsigned char)digits[3]];
  if (a == 0 || b == 0 || c == 0 || d == 0) return false;
  unsigned bits = ((a - 1) << 18) | ((b - 1) << 12) | ((c - 1) << 6) | (d - 1);
  out[0] = (char)(unsigned char)(bits >> 16);
  out[1] = (char)(unsigned char)(bits >> 8);
  out[2] = (char)(unsigned char)bits;
  return true;
}

bool clerk_base64url_decode(clerk_text text, char *out, clerk_text *decoded) {
  char *end = out;
  unsigned bits = 0;  /* the latest digits */
  unsigned spare = 0; /* how many bits of them are not written yet */
  size_t fours = text.length / 4 * 4;
  for (size_t i = 0; i < fours; i += 4, end += 3)
    if (!decode_four(text.bytes + i, end)) return false;
  for (size_t i = fours; i < text.length; i++) {
    unsigned value = values[(unsigned char)text.bytes[i]];
    if (value == 0) return false;
    bits = bits << 6 | (value - 1);
    spare += 6;
    if (spare < 8) continue;
    spare -= 8;
    *end++ = (char)(unsigned char)(bits >> spare);
  }
  *decoded = (clerk_text){out, (size_t)(end - out)};
  return spare < 6 && (bits & ((1U << spare) - 1)) == 0;
}
