/*
** Requests of HTTP/1.1 (RFC 9112), whose responses must not be compressed. Internal to src/.
**
** Each function appends a part to `out` and returns CLERK_OK; CLERK_REFUSED, when that part would
** break its line; or CLERK_NO_MEMORY.
*/
#ifndef CLERK_HTTP_REQUEST_H
#define CLERK_HTTP_REQUEST_H

#include "clerk.h"
#include "clerk_memory.h"

/* The request line and the Host of an absolute URL, which has a path. */
clerk_status clerk_http_begin_request(clerk_buffer *out, clerk_text method, clerk_text url);

/* The secret key as Authorization (RFC 6750 bearer), which clerk_check_secret_key let pass. */
clerk_status clerk_http_authorize(clerk_buffer *out, clerk_text key);

clerk_status clerk_http_add_header(clerk_buffer *out, clerk_text name, clerk_text value);

/* The end of the headers, and the body; without one its bytes are NULL. */
clerk_status clerk_http_end_request(clerk_buffer *out, clerk_text body);

#endif
