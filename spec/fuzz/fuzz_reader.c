/*
** The JSON reader against its promises, and against cJSON where both must agree. The input is the
** document, without a NUL behind it: the reader may not look past the end.
*/
#include <cjson/cJSON.h>
#include <errno.h>
#include <math.h>

#include "fuzz.h"

/* ------------------------------------------------------------------ tokens */

/* How many bytes follow the first one of a sequence; 4 when there is no such first byte. */
static unsigned more_bytes(unsigned char first) {
  if (first < 0x80) return 0;
  if (first < 0xC0) return 4;
  return first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF8 ? 3 : 4;
}

/* Decodes, and refuses what is not the one way to write it: not as src/core/utf8.c does. */
static bool is_utf8(const char *bytes, size_t length) {
  static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
  const unsigned char *at = (const unsigned char *)bytes;
  const unsigned char *end = at + length;
  while (at < end) {
    unsigned more = more_bytes(*at);
    if (more == 4 || more >= (size_t)(end - at)) return false;
    uint32_t code = more ? *at & (0x3FU >> more) : *at;
    for (unsigned i = 1; i <= more; i++) {
      if ((at[i] & 0xC0) != 0x80) return false;
      code = code << 6 | (at[i] & 0x3FU);
    }
    if (code < least[more] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
    at += 1 + more;
  }
  return true;
}

/* The latest STRING or KEY, to be freed; a buffer of the promised size shows a byte too many. */
static char *text_of(const clerk_reader *reader, size_t *length) {
  size_t size = reader->string.length;
  char *text = malloc(size ? size : 1);
  assert(text);
  *length = clerk_reader_unescape(reader, text);
  assert(*length <= reader->string.length);
  assert(is_utf8(text, *length));
  return text;
}

static void check_string(const clerk_reader *reader, clerk_text input) {
  const clerk_text raw = reader->string;
  size_t length;
  assert(raw.bytes > input.bytes && raw.bytes + raw.length < input.bytes + input.length);
  assert(reader->escaped == (memchr(raw.bytes, '\\', raw.length) != NULL));
  for (size_t i = 0; i < raw.length; i++) assert((unsigned char)raw.bytes[i] >= 0x20);
  free(text_of(reader, &length));
  assert(reader->escaped || length == raw.length);
}

static const char digits[] = "0123456789";
static const char hex_digits[] = "0123456789abcdefABCDEF";
static const char number_bytes[] = "0123456789+-.eE";

/* RFC 8259, 6. */
static bool is_strict_number(const char *at) {
  at += *at == '-';
  size_t length = strspn(at, digits);
  if (length == 0 || (*at == '0' && length > 1)) return false;
  at += length;
  if (*at == '.') {
    length = strspn(++at, digits);
    if (length == 0) return false;
    at += length;
  }
  if (*at == 'e' || *at == 'E') {
    at += at[1] == '+' || at[1] == '-' ? 2 : 1;
    length = strspn(at, digits);
    if (length == 0) return false;
    at += length;
  }
  return *at == '\0';
}

/* The C library reads the same, in the C locale. */
static void check_number(const clerk_reader *reader, clerk_json_token token, clerk_text input) {
  const char *start = reader->at; /* private: behind the literal */
  while (start > input.bytes && strchr(number_bytes, start[-1])) start--;
  char *literal = strndup(start, (size_t)(reader->at - start));
  assert(literal && is_strict_number(literal));
  double number = strtod(literal, NULL);
  errno = 0;
  int64_t integer = strtoll(literal, NULL, 10);
  bool is_integer = !strpbrk(literal, ".eE") && errno == 0;
  assert(is_integer == (token == CLERK_JSON_INTEGER));
  if (is_integer)
    assert(reader->integer == integer);
  else
    assert(reader->number == number && signbit(reader->number) == signbit(number));
  free(literal);
}

typedef struct nesting {
  bool is_object[CLERK_DEPTH_MAX];
  unsigned depth;
  bool after_key;
} nesting;

static void check_balance(nesting *open, clerk_json_token token) {
  bool in_object = open->depth > 0 && open->is_object[open->depth - 1];
  bool closes = token == CLERK_JSON_ARRAY_END || token == CLERK_JSON_OBJECT_END;
  assert(open->after_key == (in_object && token != CLERK_JSON_KEY && !closes));
  open->after_key = token == CLERK_JSON_KEY;
  if (token == CLERK_JSON_KEY) assert(in_object);
  if (closes) {
    assert(open->depth > 0 && in_object == (token == CLERK_JSON_OBJECT_END));
    open->depth--;
  }
  if (token == CLERK_JSON_ARRAY || token == CLERK_JSON_OBJECT) {
    assert(open->depth < CLERK_DEPTH_MAX);
    open->is_object[open->depth++] = token == CLERK_JSON_OBJECT;
  }
}

/* What holds for every document as a whole: UTF-8, no control bytes but the three of JSON. */
static void check_document(clerk_text input) {
  assert(is_utf8(input.bytes, input.length));
  for (size_t i = 0; i < input.length; i++)
    assert((unsigned char)input.bytes[i] >= 0x20 || memchr("\t\r\n", input.bytes[i], 3));
}

/* Reads the input to its end or problem, which stays what it is. */
static clerk_json_token check_tokens(clerk_text input, clerk_reader *reader) {
  nesting open = {.depth = 0};
  clerk_json_token token;
  size_t offset, count = 0;
  clerk_reader_init(reader, input);
  while ((token = clerk_reader_next(reader)) > CLERK_JSON_END) {
    count++;
    assert(count <= input.length);
    check_balance(&open, token);
    assert(reader->depth == open.depth);
    if (token == CLERK_JSON_STRING || token == CLERK_JSON_KEY) check_string(reader, input);
    if (token == CLERK_JSON_INTEGER || token == CLERK_JSON_FLOAT)
      check_number(reader, token, input);
  }
  assert(clerk_reader_next(reader) == token);
  if (token == CLERK_JSON_END) assert(open.depth == 0 && count > 0);
  if (token == CLERK_JSON_BROKEN) {
    assert(clerk_reader_problem(reader, &offset) != NULL);
    assert(offset <= input.length);
  }
  return token;
}

/* However much is cut off from a container, what is left is no document. */
static void check_cuts(clerk_text document) {
  clerk_reader reader;
  size_t length = document.length;
  while (strchr(" \t\r\n", document.bytes[length - 1])) length--;
  if (!strchr("]}", document.bytes[length - 1])) return;
  for (size_t cut = length > 64 ? length - 64 : 0; cut < length; cut++) {
    clerk_json_token end = check_tokens((clerk_text){document.bytes, cut}, &reader);
    assert(end == CLERK_JSON_BROKEN);
  }
}

/* ------------------------------------------------------------------ cJSON */

/* cJSON cuts strings at \u0000. */
static void compare_text(const clerk_reader *reader, const char *theirs) {
  size_t length;
  char *ours = text_of(reader, &length);
  size_t cut = strnlen(ours, length);
  assert(strlen(theirs) == cut && memcmp(ours, theirs, cut) == 0);
  free(ours);
}

/* NOLINTBEGIN(misc-no-recursion): no deeper than the reader goes, CLERK_DEPTH_MAX */
static void compare_value(clerk_reader *reader, clerk_json_token token, const cJSON *theirs);

static void compare_members(clerk_reader *reader, clerk_json_token end, const cJSON *child) {
  clerk_json_token token;
  while ((token = clerk_reader_next(reader)) != end) {
    assert(child);
    if (token == CLERK_JSON_KEY) {
      compare_text(reader, child->string);
      token = clerk_reader_next(reader);
    }
    compare_value(reader, token, child);
    child = child->next;
  }
  assert(!child);
}

static void compare_value(clerk_reader *reader, clerk_json_token token, const cJSON *theirs) {
  switch (token) {
    case CLERK_JSON_NULL: assert(cJSON_IsNull(theirs)); return;
    case CLERK_JSON_FALSE: assert(cJSON_IsFalse(theirs)); return;
    case CLERK_JSON_TRUE: assert(cJSON_IsTrue(theirs)); return;
    case CLERK_JSON_INTEGER:
      assert(cJSON_IsNumber(theirs) && theirs->valuedouble == (double)reader->integer);
      return;
    case CLERK_JSON_FLOAT:
      assert(cJSON_IsNumber(theirs) && theirs->valuedouble == reader->number);
      assert(signbit(theirs->valuedouble) == signbit(reader->number));
      return;
    case CLERK_JSON_STRING:
      assert(cJSON_IsString(theirs));
      compare_text(reader, theirs->valuestring);
      return;
    case CLERK_JSON_ARRAY:
      assert(cJSON_IsArray(theirs));
      compare_members(reader, CLERK_JSON_ARRAY_END, theirs->child);
      return;
    case CLERK_JSON_OBJECT:
      assert(cJSON_IsObject(theirs));
      compare_members(reader, CLERK_JSON_OBJECT_END, theirs->child);
      return;
    default: assert(false);
  }
}
/* NOLINTEND(misc-no-recursion) */

/* cJSON cuts number literals after 63 characters, and takes the rest for something else. */
static bool has_long_number(const char *text) {
  size_t length;
  for (; *text; text += length + (text[length] != '\0')) {
    length = strspn(text, number_bytes);
    if (length > 63) return true;
  }
  return false;
}

/* After \u, cJSON takes what is no hexadecimal digit for four zeros. */
static bool is_lax_escape(const char *at) {
  return at[1] == 'u' && strspn(at + 2, hex_digits) < 4;
}

/* cJSON takes "1." and "-.5" for numbers. */
static bool is_lax_number(const char *text, size_t offset) {
  return text[offset] == '.' || (offset > 0 && text[offset - 1] == '.');
}

/* cJSON skips every control byte between tokens. */
static bool is_lax_space(const char *text, size_t offset) {
  return (unsigned char)text[offset] < 0x20;
}

/* Whether the first thing that the reader refuses is one that cJSON is known to let pass. */
static bool is_known_difference(const char *text, const clerk_reader *reader) {
  static const char *const ours[] = {"a leading zero", "a control byte in a string",
                                     "malformed UTF-8", "nested too deep"};
  size_t offset;
  const char *problem = clerk_reader_problem(reader, &offset);
  for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
    if (strcmp(problem, ours[i]) == 0) return true;
  if (strcmp(problem, "a malformed escape") == 0) return is_lax_escape(text + offset);
  if (strcmp(problem, "a digit is missing") == 0) return is_lax_number(text, offset);
  return is_lax_space(text, offset);
}

/* Whether `at` is the escape of a surrogate whose second digit is one of these. */
static bool is_surrogate(const char *at, const char *second_digits) {
  return strncmp(at, "\\u", 2) == 0 && strspn(at + 2, hex_digits) >= 4 && (at[2] | 0x20) == 'd' &&
         strchr(second_digits, at[3]);
}

/* cJSON refuses a surrogate without its other half: it gets what the reader takes it for. */
static void replace_lone_surrogates(char *text) {
  static const char replacement[] = {'\\', 'u', 'f', 'f', 'f', 'd'};
  for (char *at = strchr(text, '\\'); at; at = strchr(at, '\\')) {
    bool is_high = is_surrogate(at, "89abAB");
    if (is_high && is_surrogate(at + 6, "cdefCDEF")) {
      at += 12;
    } else if (is_high || is_surrogate(at, "cdefCDEF")) {
      memcpy(at, replacement, sizeof replacement);
    } else {
      at += at[1] ? 2 : 1;
    }
  }
}

/* The document, and a copy of it that cJSON can read. cJSON wants the NUL within the length. */
static void check_differences(clerk_text document, char *text, clerk_json_token end,
                              clerk_reader *reader) {
  replace_lone_surrogates(text);
  cJSON *theirs = cJSON_ParseWithLengthOpts(text, document.length + 1, NULL, true);
  bool is_long = has_long_number(text);
  if (end == CLERK_JSON_END && theirs && !is_long) {
    clerk_reader_init(reader, document);
    clerk_json_token first = clerk_reader_next(reader);
    compare_value(reader, first, theirs);
  }
  if (end == CLERK_JSON_END) assert(theirs || is_long);
  if (end == CLERK_JSON_BROKEN) assert(!theirs || is_long || is_known_difference(text, reader));
  cJSON_Delete(theirs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  clerk_text document = {(const char *)data, size};
  clerk_reader reader;
  clerk_json_token end = check_tokens(document, &reader);
  if (end == CLERK_JSON_END) {
    check_document(document);
    check_cuts(document);
  }
  fuzz_input copy = fuzz_open(data, size);
  check_differences(document, copy.bytes, end, &reader);
  fuzz_close(&copy);
  return 0;
}
