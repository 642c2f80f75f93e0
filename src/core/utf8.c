/* UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing past U+10FFFF. */
#include "utf8.h"

static bool is_continuation(unsigned char byte) {
  return (byte & 0xC0) == 0x80;
}

/* The range of the second byte is what refuses overlong forms, surrogates and what is too large. */
static bool second_byte_fits(unsigned char first, unsigned char second) {
  switch (first) {
    case 0xE0: return second >= 0xA0;
    case 0xED: return second <= 0x9F;
    case 0xF0: return second >= 0x90;
    case 0xF4: return second <= 0x8F;
    default: return true;
  }
}

static size_t length_by_first_byte(unsigned char first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

size_t clerk_utf8_sequence(const char *at, const char *end) {
  const unsigned char *bytes = (const unsigned char *)at;
  if (at == end) return 0;
  size_t length = length_by_first_byte(bytes[0]);
  if (length > (size_t)(end - at)) return 0;
  for (size_t i = 1; i < length; i++)
    if (!is_continuation(bytes[i])) return 0;
  return length < 2 || second_byte_fits(bytes[0], bytes[1]) ? length : 0;
}

static unsigned read_code_point(const char *at, size_t length) {
  static const unsigned first_bits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
  unsigned code_point = (unsigned char)at[0] & first_bits[length];
  for (size_t i = 1; i < length; i++) code_point = code_point << 6 | ((unsigned char)at[i] & 0x3F);
  return code_point;
}

/* Not the joiners U+200C and U+200D: names in several scripts, and emoji, need them. */
static bool is_unsafe(unsigned code_point) {
  static const unsigned ranges[][2] = {{0, 0x1F},        {0x7F, 0x9F},     {0xAD, 0xAD},
                                       {0x61C, 0x61C},   {0x180E, 0x180E}, {0x200B, 0x200B},
                                       {0x200E, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
                                       {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F}};
  for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
    if (code_point >= ranges[i][0] && code_point <= ranges[i][1]) return true;
  return false;
}

size_t clerk_utf8_read(const char *at, const char *end, clerk_character *character) {
  size_t length = clerk_utf8_sequence(at, end);
  character->is_valid = length > 0;
  character->code_point = length > 0 ? read_code_point(at, length) : 0xFFFD;
  character->is_safe = length > 0 && !is_unsafe(character->code_point);
  return length > 0 ? length : 1;
}

bool clerk_utf8_count(clerk_text text, size_t *characters) {
  const char *end = text.bytes + text.length;
  *characters = 0;
  for (const char *at = text.bytes; at < end; ++*characters) {
    size_t length = clerk_utf8_sequence(at, end);
    if (length == 0) return false;
    at += length;
  }
  return true;
}

static char continuation(unsigned bits) {
  return (char)(0x80 | (bits & 0x3F));
}

size_t clerk_utf8_write(unsigned code_point, char *out) {
  if (code_point < 0x80) {
    out[0] = (char)code_point;
    return 1;
  }
  if (code_point < 0x800) {
    out[0] = (char)(0xC0 | code_point >> 6);
    out[1] = continuation(code_point);
    return 2;
  }
  if (code_point < 0x10000) {
    out[0] = (char)(0xE0 | code_point >> 12);
    out[1] = continuation(code_point >> 6);
    out[2] = continuation(code_point);
    return 3;
  }
  out[0] = (char)(0xF0 | code_point >> 18);
  out[1] = continuation(code_point >> 12);
  out[2] = continuation(code_point >> 6);
  out[3] = continuation(code_point);
  return 4;
}

char clerk_ascii_lower(char c) {
  return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}
