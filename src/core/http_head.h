/* The head of an HTTP/1.1 response (RFC 9112). Internal to src/. */
#ifndef CLERK_HTTP_HEAD_H
#define CLERK_HTTP_HEAD_H

#include "clerk.h"
#include "http_framing.h"

typedef struct clerk_http_head {
  bool is_complete; /* the empty line at its end has come; the rest is set then */
  int minor;        /* of HTTP/1.0 or HTTP/1.1 */
  int status;
  char *fields; /* its header lines, within the bytes that were read */
  size_t fields_length;
  size_t length;              /* of all of it */
  clerk_http_framing framing; /* of the final head, not of one with a 1XX */
} clerk_http_head;

/* Whether a response with that status has a body (RFC 9110, 6.4.1). */
bool clerk_http_has_body(int status);

/*
** Reads a head, as far as it has come, line by line; joins folded lines in place. A line may have
** `line_max` bytes, its end included, and the head `head_max`. A body that follows must not be
** compressed. Returns NULL, or the first problem: `failure` is CLERK_RESPONSE_TOO_LARGE then, or
** CLERK_BAD_RESPONSE.
*/
const char *clerk_http_head_read(clerk_http_head *head, char *bytes, size_t length, size_t line_max,
                                 size_t head_max, clerk_failure *failure);

/*
** Iterates over header lines: begin with *position 0. Turns names to lower case in place, and skips
** lines without a name. No NUL follows either text. False after the last.
*/
bool clerk_http_next_field(char *fields, size_t length, size_t *position, clerk_text *name,
                           clerk_text *value);

#endif
