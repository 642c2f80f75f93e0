/* The head of an HTTP/1.1 response (RFC 9112). */
#include "http_head.h"

#include <string.h>

#include "utf8.h"

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/* Whatever follows the status is for people to read. */
static bool read_status(clerk_http_head *head, const char *line) {
  if (strncmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ')
    return false;
  const char *status = line + 9 + strspn(line + 9, " \t\v\f");
  if (!is_digit(status[0]) || status[0] == '0' || !is_digit(status[1]) || !is_digit(status[2]) ||
      is_digit(status[3]))
    return false;
  head->minor = line[7] - '0';
  head->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + status[2] - '0';
  return true;
}

bool clerk_http_has_body(int status) {
  return status >= 200 && status != 204 && status != 304;
}

static bool is_field(const char *line) {
  return line[strcspn(line, ": \t\v\f\r\n")] == ':';
}

static char *without_line_end(char *end) {
  while (end[-1] == '\n' || end[-1] == '\r') end--;
  return end;
}

/* A CR within a line could be taken for its end (RFC 9112, 2.2). */
static bool has_stray(const char *line, size_t length) {
  const char *cr = memchr(line, '\r', length);
  return memchr(line, '\0', length) || (cr && cr != line + length - 2);
}

/* Adds a header line to those before. One that begins with a blank continues the one before (RFC
** 9112, 5.2). */
static bool add_field(clerk_http_head *head, const char *line, size_t length) {
  char *out = head->fields + head->fields_length;
  bool is_folded = *line == ' ' || *line == '\t';
  if (is_folded ? out == head->fields : !is_field(line)) return false;
  if (is_folded) out = without_line_end(out);
  memmove(out, line, length);
  head->fields_length = (size_t)(out - head->fields) + length;
  return true;
}

static const char *check_body(const clerk_http_head *head) {
  const clerk_http_framing *framing = &head->framing;
  bool is_empty = framing->has_length && framing->length == 0;
  if (!clerk_http_has_body(head->status)) return NULL;
  if (framing->has_coding && !framing->is_chunked) return "an unknown Transfer-Encoding";
  if (framing->is_encoded && !is_empty)
    return "the response is compressed, although the request asked for identity";
  return NULL;
}

/* Returns the problem of a whole line, or NULL. */
static const char *read_line(clerk_http_head *head, char *line, size_t length) {
  const char *problem = NULL;
  if (has_stray(line, length)) return "a line of the response has a NUL or a bare CR";
  if (!head->fields) {
    head->fields = line + length;
    return read_status(head, line) ? NULL : "the response is not HTTP/1.1";
  }
  head->is_complete = *line == '\r' || *line == '\n';
  if (head->is_complete) return check_body(head);
  if (head->status >= 200) problem = clerk_http_frame(&head->framing, line, length);
  if (problem) return problem;
  return add_field(head, line, length) ? NULL
                                       : "a line in the head of the response is not a header";
}

const char *clerk_http_head_read(clerk_http_head *head, char *bytes, size_t length, size_t line_max,
                                 size_t head_max, clerk_failure *failure) {
  const char *problem = NULL;
  *head = (clerk_http_head){0};
  *failure = CLERK_BAD_RESPONSE;
  for (size_t at = 0; at < length && !problem && !head->is_complete;) {
    const char *end = memchr(bytes + at, '\n', length - at);
    size_t line_length = end ? (size_t)(end + 1 - (bytes + at)) : length - at;
    if (line_length > line_max || at + line_length > head_max) {
      *failure = CLERK_RESPONSE_TOO_LARGE;
      return "the head of the response is too large";
    }
    if (!end) break;
    problem = read_line(head, bytes + at, line_length);
    at += line_length;
    head->length = at;
  }
  return problem;
}

static clerk_text trim(const char *start, const char *end) {
  while (start < end && clerk_http_is_blank(*start)) start++;
  while (end > start && clerk_http_is_blank(end[-1])) end--;
  return (clerk_text){start, (size_t)(end - start)};
}

bool clerk_http_next_field(char *fields, size_t length, size_t *position, clerk_text *name,
                           clerk_text *value) {
  while (*position < length) {
    char *line = fields + *position;
    const char *end = memchr(line, '\n', length - *position);
    if (!end) end = fields + length;
    *position = (size_t)(end - fields) + 1;
    const char *colon = memchr(line, ':', (size_t)(end - line));
    if (!colon || colon == line) continue;
    for (char *c = line; c < colon; c++) *c = clerk_ascii_lower(*c);
    *name = (clerk_text){line, (size_t)(colon - line)};
    *value = trim(colon + 1, end);
    return true;
  }
  return false;
}
