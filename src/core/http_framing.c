/* Where the body of a response ends, by its header lines (RFC 9112, 6.3). */
#include "http_framing.h"

#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *at) {
  return at + strspn(at, " \t\r");
}

/* A length that is repeated must be the same each time (RFC 9110, 8.6). */
static bool read_length(clerk_http_framing *framing, const char **at) {
  uint64_t length = 0;
  if (**at < '0' || **at > '9') return false;
  for (; **at >= '0' && **at <= '9'; ++*at)
    length = length < UINT64_MAX / 20 ? length * 10 + (uint64_t)(**at - '0') : UINT64_MAX;
  if (framing->has_length && framing->length != length) return false;
  framing->has_length = true;
  framing->length = length;
  return true;
}

static bool read_lengths(clerk_http_framing *framing, const char *value) {
  for (const char *at = value;; at++) {
    at = skip_blanks(at);
    if (!read_length(framing, &at)) return false;
    at = skip_blanks(at);
    if (*at != ',') return *at == '\n';
  }
}

/* The value of the line if it has that name, which is in lower case. */
static inline const char *value_of(const char *line, size_t length, const char *name) {
  if ((*line | 0x20) != *name) return NULL; /* as it is for most */
  size_t size = strlen(name);
  if (length <= size || strncasecmp(line, name, size) != 0) return NULL;
  const char *colon = skip_blanks(line + size);
  return *colon == ':' ? skip_blanks(colon + 1) : NULL;
}

static bool is_value(const char *value, const char *word) {
  size_t length = strlen(word);
  return strncasecmp(value, word, length) == 0 && *skip_blanks(value + length) == '\n';
}

static bool has_option(const char *value, const char *option) {
  size_t size = strlen(option);
  for (const char *at = value; *at != '\n' && *at != '\0';) {
    size_t length = strcspn(at, ", \t\r\n");
    if (length == size && strncasecmp(at, option, size) == 0) return true;
    at += length;
    at += strspn(at, ", \t\r");
  }
  return false;
}

static bool note_coding(clerk_http_framing *framing, const char *value) {
  framing->is_chunked = !framing->has_coding && is_value(value, "chunked");
  framing->has_coding = true;
  return true;
}

static bool note_encoding(clerk_http_framing *framing, const char *value) {
  bool is_identity = *value == '\n' || is_value(value, "identity") || is_value(value, "none");
  framing->is_encoded |= !is_identity;
  return true;
}

static bool note_connection(clerk_http_framing *framing, const char *value) {
  framing->is_closing |= has_option(value, "close");
  return true;
}

/* The functions return false when the value is malformed. */
static const struct {
  const char *name;
  bool (*note)(clerk_http_framing *framing, const char *value);
} headers[] = {{"content-length", read_lengths},
               {"transfer-encoding", note_coding},
               {"content-encoding", note_encoding},
               {"connection", note_connection}};

/* Returns NULL, or the problem. */
static const char *note(clerk_http_framing *framing, const char *line, size_t length) {
  framing->may_not_fold = false;
  for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
    const char *value = value_of(line, length, headers[i].name);
    if (!value) continue;
    framing->may_not_fold = true;
    if (!headers[i].note(framing, value)) return "a malformed Content-Length, or two that differ";
  }
  return framing->has_length && framing->has_coding
             ? "both a Content-Length and a Transfer-Encoding"
             : NULL;
}

/* One that begins with a blank continues the line before (RFC 9112, 5.2). */
const char *clerk_http_frame(clerk_http_framing *framing, const char *line, size_t length) {
  if (!clerk_http_is_blank(*line)) return note(framing, line, length);
  return framing->may_not_fold ? "a header that says where the body ends goes on in the next line"
                               : NULL;
}
