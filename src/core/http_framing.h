/*
** Where the body of a response ends, by its header lines (RFC 9112, 6.3). Internal to src/; installed
** because a transfer holds one.
*/
#ifndef CLERK_HTTP_FRAMING_H
#define CLERK_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In a header line: a space, tab or CR. */
static inline bool clerk_http_is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/* Zero it before the first line. */
typedef struct clerk_http_framing {
  bool has_length;
  uint64_t length;   /* UINT64_MAX: or more */
  bool has_coding;   /* a Transfer-Encoding */
  bool is_chunked;   /* which is nothing but "chunked" */
  bool is_encoded;   /* the body has a Content-Encoding other than identity */
  bool is_closing;   /* the connection ends after the response */
  bool may_not_fold; /* the latest line is one of these: another one must not continue it */
} clerk_http_framing;

/*
** Takes note of the next header line, which ends with LF. Returns NULL, or the problem of a line that
** leaves a doubt.
*/
const char *clerk_http_frame(clerk_http_framing *framing, const char *line, size_t length);

#endif
