/* Where the body of a response ends, by its header lines (RFC 9112, 6.3). Internal to src/. */
#ifndef CLERK_HTTP_FRAMING_H
#define CLERK_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero it before the first line. */
typedef struct clerk_http_framing {
  bool has_length;
  uint64_t length; /* UINT64_MAX: or more */
  bool has_coding; /* a Transfer-Encoding */
  bool is_chunked; /* which is nothing but "chunked" */
  bool is_packed;  /* the body is compressed, or encoded otherwise */
  bool is_closing; /* the connection ends after the response */
  bool is_in_one;  /* the latest line is one of these */
} clerk_http_framing;

/*
** Takes note of the next header line, which ends with LF. Returns NULL, or the problem of a line that
** leaves a doubt.
*/
const char *clerk_http_frame(clerk_http_framing *framing, const char *line, size_t length);

#endif
