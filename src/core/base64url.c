/* base64url, as JWTs and JWKs have it: without padding (RFC 7515, 2). */
#include "base64url.h"

/* The six bits of a digit, or -1. */
static int value_of(char digit) {
  if (digit >= 'A' && digit <= 'Z') return digit - 'A';
  if (digit >= 'a' && digit <= 'z') return digit - 'a' + 26;
  if (digit >= '0' && digit <= '9') return digit - '0' + 52;
  if (digit == '-') return 62;
  return digit == '_' ? 63 : -1;
}

bool clerk_base64url_decode(clerk_text text, char *out, clerk_text *decoded) {
  char *end = out;
  unsigned bits = 0;  /* the latest digits */
  unsigned spare = 0; /* how many bits of them are not written yet */
  for (size_t i = 0; i < text.length; i++) {
    int value = value_of(text.bytes[i]);
    if (value < 0) return false;
    bits = bits << 6 | (unsigned)value;
    spare += 6;
    if (spare < 8) continue;
    spare -= 8;
    *end++ = (char)(unsigned char)(bits >> spare);
  }
  *decoded = (clerk_text){out, (size_t)(end - out)};
  return spare < 6 && (bits & ((1U << spare) - 1)) == 0;
}
