/* The JSON reader: one pass, token by token, no allocation, no recursion. */
#include <string.h>

#include "clerk.h"
#include "json_number.h"
#include "json_reader.h"
#include "utf8.h"

/* What the grammar allows next. */
enum {
  EXPECTS_VALUE,         /* after a key, and at the start */
  EXPECTS_FIRST_ELEMENT, /* after [ */
  EXPECTS_FIRST_KEY,     /* after { */
  EXPECTS_MORE,          /* after an element or a member: a comma or the end of the container */
  EXPECTS_END,           /* after the outermost value */
  EXPECTS_NOTHING        /* broken: stays so */
};

/* Many programs on Windows begin a text with U+FEFF. */
static const char *skip_byte_order_mark(const char *at, size_t length) {
  static const char mark[] = {'\xEF', '\xBB', '\xBF'};
  return length >= sizeof mark && memcmp(at, mark, sizeof mark) == 0 ? at + sizeof mark : at;
}

void clerk_reader_init(clerk_reader *reader, clerk_text input) {
  const char *start = input.bytes ? input.bytes : "";
  *reader = (clerk_reader){
      .start = start, .at = skip_byte_order_mark(start, input.length), .end = start + input.length};
}

static clerk_json_token broken(clerk_reader *reader, const char *at, const char *problem) {
  reader->at = at;
  reader->problem = problem;
  reader->expects = EXPECTS_NOTHING;
  return CLERK_JSON_BROKEN;
}

const char *clerk_reader_problem(const clerk_reader *reader, size_t *offset) {
  *offset = (size_t)(reader->at - reader->start);
  return reader->problem;
}

/* ------------------------------------------------------------------ containers */

static clerk_json_token open_container(clerk_reader *reader, bool is_object) {
  if (reader->depth == CLERK_DEPTH_MAX) return broken(reader, reader->at, "nested too deep");
  reader->is_object[++reader->depth] = is_object;
  reader->at++;
  reader->expects = is_object ? EXPECTS_FIRST_KEY : EXPECTS_FIRST_ELEMENT;
  return is_object ? CLERK_JSON_OBJECT : CLERK_JSON_ARRAY;
}

static void after_value(clerk_reader *reader) {
  reader->expects = reader->depth > 0 ? EXPECTS_MORE : EXPECTS_END;
}

static clerk_json_token close_container(clerk_reader *reader) {
  clerk_json_token token =
      reader->is_object[reader->depth] ? CLERK_JSON_OBJECT_END : CLERK_JSON_ARRAY_END;
  reader->depth--;
  reader->at++;
  after_value(reader);
  return token;
}

/* ------------------------------------------------------------------ strings */

static bool is_plain(unsigned char byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
}

#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HAS_VECTORS

/* Sixteen bytes at once, by the vectors of gcc and clang, where a byte that is not ASCII is
** negative. */
typedef signed char bytes16 __attribute__((vector_size(16)));
typedef uint64_t words2 __attribute__((vector_size(16)));

/* How many of the sixteen bytes at `at` are plain before the first that is not. */
static unsigned count_plain(const char *at) {
  bytes16 bytes;
  memcpy(&bytes, at, sizeof bytes);
  words2 special = (words2)((bytes < (bytes16){0} + 0x20) | (bytes == (bytes16){0} + '"') |
                            (bytes == (bytes16){0} + '\\'));
  if (special[0]) return (unsigned)__builtin_ctzll(special[0]) / 8;
  return special[1] ? 8 + (unsigned)__builtin_ctzll(special[1]) / 8 : 16;
}

#endif

static inline const char *skip_plain(const char *at, const char *end) {
#ifdef HAS_VECTORS
  while (end - at >= 16) {
    unsigned plain = count_plain(at);
    at += plain;
    if (plain < 16) return at;
  }
#endif
  while (at < end && is_plain((unsigned char)*at)) at++;
  return at;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* The code unit of the four digits at `at`, or -1. */
static int code_unit(const char *at, const char *end) {
  int unit = 0;
  if (end - at < 4) return -1;
  for (int i = 0; i < 4; i++) {
    int digit = hex_digit(at[i]);
    if (digit < 0) return -1;
    unit = unit << 4 | digit;
  }
  return unit;
}

static bool is_high_surrogate(int unit) {
  return unit >= 0xD800 && unit <= 0xDBFF;
}
static bool is_low_surrogate(int unit) {
  return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* The low surrogate of the \u escape at `at`, or -1. */
static int low_surrogate(const char *at, const char *end) {
  if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
  int unit = code_unit(at + 2, end);
  return is_low_surrogate(unit) ? unit : -1;
}

static size_t escape_length(const char *at, const char *end) {
  if (end - at < 2) return 0;
  if (at[1] == 'u') return code_unit(at + 2, end) >= 0 ? 6 : 0;
  return at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) ? 2 : 0;
}

/* How long the escape, or the character that is not ASCII, at `at` is; 0 after broken(). */
static size_t check_special(clerk_reader *reader, const char *at) {
  const char *problem = "malformed UTF-8";
  size_t length = 0;
  if ((unsigned char)*at >= 0x80) {
    length = clerk_utf8_sequence(at, reader->end);
  } else if (*at == '\\') {
    reader->escaped = true;
    length = escape_length(at, reader->end);
    problem = "a malformed escape";
  } else {
    problem = "a control byte in a string";
  }
  if (length == 0) broken(reader, at, problem);
  return length;
}

/* Goes on to the end of the string at its first byte that is not plain; NULL after broken(). */
static const char *skip_special(clerk_reader *reader, const char *at) {
  while (at < reader->end && *at != '"') {
    size_t length = check_special(reader, at);
    if (length == 0) return NULL;
    at = skip_plain(at + length, reader->end);
  }
  if (at < reader->end) return at;
  broken(reader, at, "an unfinished string");
  return NULL;
}

/* Reads the string at the quote; sets `string` and `escaped`; leaves `at` behind it. */
static bool read_string(clerk_reader *reader) {
  const char *start = reader->at + 1, *at = skip_plain(start, reader->end);
  reader->escaped = false;
  if (at == reader->end || *at != '"') at = skip_special(reader, at);
  if (!at) return false;
  reader->string = (clerk_text){start, (size_t)(at - start)};
  reader->at = at + 1;
  return true;
}

/* A surrogate without its other half: one bad name must not make a whole page unreadable. */
enum { REPLACEMENT_CHARACTER = 0xFFFD };

/* The code point of the \u escape (or pair) at the backslash `*at`; moves `*at` past it. */
static unsigned read_code_point(const char **at, const char *end) {
  int unit = code_unit(*at + 2, end);
  *at += 6;
  if (!is_high_surrogate(unit) && !is_low_surrogate(unit)) return (unsigned)unit;
  int low = is_high_surrogate(unit) ? low_surrogate(*at, end) : -1;
  if (low < 0) return REPLACEMENT_CHARACTER;
  *at += 6;
  return 0x10000 + ((unsigned)(unit - 0xD800) << 10) + (unsigned)(low - 0xDC00);
}

/* Writes what the escape at the backslash `*at` stands for, and moves `*at` past it. */
static size_t write_escape(const char **at, const char *end, char *out) {
  static const char letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
  char letter = (*at)[1];
  if (letter == 'u') return clerk_utf8_write(read_code_point(at, end), out);
  const char *found = strchr(letters, letter);
  *out = (char)(found ? controls[found - letters] : letter);
  *at += 2;
  return 1;
}

/* Writes the next byte, or what the escape there stands for, and moves `*at` past it. */
static inline size_t write_next(const char **at, const char *end, char *out) {
  if (**at == '\\') return write_escape(at, end, out);
  *out = *(*at)++;
  return 1;
}

size_t clerk_reader_unescape(const clerk_reader *reader, char *out) {
  const char *at = reader->string.bytes, *end = at + reader->string.length;
  size_t length = 0;
  while (at < end) length += write_next(&at, end, out + length);
  return length;
}

bool clerk_reader_equals(const clerk_reader *reader, const char *text) {
  const char *at = reader->string.bytes, *end = at + reader->string.length;
  char written[4];
  while (at < end) {
    size_t length = write_next(&at, end, written);
    if (*written == '\0' || strncmp(written, text, length) != 0) return false;
    text += length;
  }
  return *text == '\0';
}

/* ------------------------------------------------------------------ values */

static clerk_json_token read_literal(clerk_reader *reader, const char *word,
                                     clerk_json_token token) {
  size_t length = strlen(word);
  if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
    return broken(reader, reader->at, "an unknown word");
  reader->at += length;
  after_value(reader);
  return token;
}

static clerk_json_token read_number(clerk_reader *reader) {
  clerk_number number = clerk_number_scan(reader->at, reader->end);
  if (number.problem) return broken(reader, number.end, number.problem);
  reader->at = number.end;
  after_value(reader);
  if (number.is_integer) {
    reader->integer = number.integer;
    return CLERK_JSON_INTEGER;
  }
  reader->number = clerk_number_to_double(&number);
  return CLERK_JSON_FLOAT;
}

static clerk_json_token read_value(clerk_reader *reader) {
  switch (*reader->at) {
    case '{': return open_container(reader, true);
    case '[': return open_container(reader, false);
    case '"':
      if (!read_string(reader)) return CLERK_JSON_BROKEN;
      after_value(reader);
      return CLERK_JSON_STRING;
    case 'n': return read_literal(reader, "null", CLERK_JSON_NULL);
    case 't': return read_literal(reader, "true", CLERK_JSON_TRUE);
    case 'f': return read_literal(reader, "false", CLERK_JSON_FALSE);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return read_number(reader);
    default: return broken(reader, reader->at, "a value is missing");
  }
}

static bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Usually there is no space. */
static inline void skip_space(clerk_reader *reader) {
  while (reader->at < reader->end && *reader->at <= ' ' && is_space(*reader->at)) reader->at++;
}

static clerk_json_token read_key(clerk_reader *reader) {
  if (*reader->at != '"') return broken(reader, reader->at, "a member's name is missing");
  if (!read_string(reader)) return CLERK_JSON_BROKEN;
  skip_space(reader);
  if (reader->at == reader->end || *reader->at != ':')
    return broken(reader, reader->at, "a colon is missing");
  reader->at++;
  reader->expects = EXPECTS_VALUE;
  return CLERK_JSON_KEY;
}

static clerk_json_token incomplete(clerk_reader *reader) {
  return broken(reader, reader->at, "the document is not complete");
}

/* After an element or a member: the end of the container, or a comma and what follows it. */
static clerk_json_token read_more(clerk_reader *reader) {
  bool object = reader->is_object[reader->depth];
  if (*reader->at == (object ? '}' : ']')) return close_container(reader);
  if (*reader->at != ',') return broken(reader, reader->at, "a comma is missing");
  reader->at++;
  skip_space(reader);
  if (reader->at == reader->end) return incomplete(reader);
  return object ? read_key(reader) : read_value(reader);
}

clerk_json_token clerk_reader_next(clerk_reader *reader) {
  if (reader->expects == EXPECTS_NOTHING) return CLERK_JSON_BROKEN;
  skip_space(reader);
  bool at_end = reader->at == reader->end;
  if (reader->expects == EXPECTS_END)
    return at_end ? CLERK_JSON_END : broken(reader, reader->at, "something follows the document");
  if (at_end) return incomplete(reader);
  switch (reader->expects) {
    case EXPECTS_FIRST_ELEMENT:
      return *reader->at == ']' ? close_container(reader) : read_value(reader);
    case EXPECTS_FIRST_KEY: return *reader->at == '}' ? close_container(reader) : read_key(reader);
    case EXPECTS_MORE: return read_more(reader);
    default: return read_value(reader);
  }
}

/* ------------------------------------------------------------------ tokens that come again */

static uint64_t load8(const char *at) {
  uint64_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

static uint32_t load4(const char *at) {
  uint32_t word;
  memcpy(&word, at, sizeof word);
  return word;
}

/* memcmp for what is as short as most keys: two words, which overlap, are all of it. */
static inline bool is_same(const char *a, const char *b, size_t length) {
  if (length >= 4 && length < 8)
    return load4(a) == load4(b) && load4(a + length - 4) == load4(b + length - 4);
  if (length >= 8 && length <= 16)
    return load8(a) == load8(b) && load8(a + length - 8) == load8(b + length - 8);
  return memcmp(a, b, length) == 0;
}

/* Whether `seen` is at `at`, between quotes, and followed by another byte. */
static inline bool is_quoted(const clerk_reader *reader, const char *at, clerk_text seen) {
  size_t length = seen.length + 2;
  return seen.bytes && (size_t)(reader->end - at) > length && is_same(at, seen.bytes - 1, length);
}

/* The usual way to write it: without spaces. */
bool clerk_reader_repeat_key(clerk_reader *reader, clerk_text seen) {
  const char *at = reader->at;
  bool is_later = reader->expects == EXPECTS_MORE && reader->is_object[reader->depth];
  if (!is_later && reader->expects != EXPECTS_FIRST_KEY) return false;
  if (is_later && (at == reader->end || *at != ',')) return false;
  if (is_later) at++;
  if (!is_quoted(reader, at, seen) || at[seen.length + 2] != ':') return false;
  reader->at = at + seen.length + 3;
  reader->string = seen;
  reader->escaped = false;
  reader->expects = EXPECTS_VALUE;
  return true;
}

bool clerk_reader_repeat_string(clerk_reader *reader, clerk_text seen) {
  if (reader->expects != EXPECTS_VALUE || !is_quoted(reader, reader->at, seen)) return false;
  reader->at += seen.length + 2;
  reader->string = seen;
  reader->escaped = false;
  after_value(reader);
  return true;
}
